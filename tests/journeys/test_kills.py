"""A kill at any instant leaves garbage only: never a row without its bytes, never half a bundle."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.settings import Settings, parse_size
from onnxzoo.registry.maintenance.sidecar_claims import read
from onnxzoo.zoo_index.zoo import Zoo
from tests.support import models
from tests.support.hub import Hub

MEGABYTES = 40
HALF = MEGABYTES * 500_000  # bytes
KILLS = 25
ROUNDS = 5  # of the last calls of each kind: those that publish


@pytest.fixture
def environment(settings: Settings, hub: Hub) -> dict[str, str]:
    return {**os.environ, "ZOO_HOME": str(settings.home), "HF_ENDPOINT": hub.url}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub() as running:
        running.add("acme/big", {"model.onnx": models.sized(tmp_path / "m.onnx", MEGABYTES)})
        yield running


def kill(words: list[str], environment: dict[str, str], after: float) -> bool:
    """Run a command and kill it after some seconds; return whether it had ended by itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "onnxzoo", *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(after)
    ended = process.poll() is not None
    os.killpg(process.pid, signal.SIGKILL) if not ended else None
    process.wait()
    return ended


def assert_sound(settings: Settings) -> None:
    """Assert that every row has its bytes and its sidecar, and every bundle hashes to its name."""
    if not (settings.home / "registry.db").exists():
        return
    with Registry(settings=settings) as registry:
        assert all(registry.is_whole(variant) for variant in registry.list())
        assert [found.problems for found in registry.verify() if found.problems] == []
        claims = {digest: read(registry.store, digest) for digest in registry.store.sidecars()}
        for variant in registry.list():  # a sidecar may be ahead of the database, never behind
            assert variant.ref in {claim.ref for claim in claims[variant.digest].variants}
        for digest in registry.store.digests():
            folder = registry.store.path(digest)
            with registry.store.stage() as stage:
                for path in sorted(folder.rglob("*")):
                    stage.copy(path, path.relative_to(folder).as_posix())
                assert stage.manifest.digest == digest


@pytest.mark.parametrize("command", ["pull", "register"])
def test_a_kill_at_any_time_leaves_a_sound_registry(
    command: str, settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    words = {
        "pull": ["pull", "hf://acme/big", "--name", "big"],
        "register": ["register", str(tmp_path / "m.onnx"), "--name", "big"],
    }[command]
    random_times = random.Random(command)
    for _ in range(KILLS):
        if kill(words, environment, random_times.uniform(0.1, 1.6)):
            with Registry(settings=settings) as registry:
                registry.remove("big", force=True)
                registry.gc()
        assert_sound(settings)
    subprocess.run(
        [sys.executable, "-m", "onnxzoo", *words], env=environment, check=True, capture_output=True
    )
    assert_sound(settings)
    with Registry(settings=settings) as registry:
        registry.gc()
        assert list((settings.home / "store" / ".staging").glob("*")) == []


def half_pulled(
    hub: Hub, settings: Settings, environment: dict[str, str]
) -> "subprocess.Popen[str]":
    """Start a pull whose server stops half-way, and wait until it has that half."""
    hub.fault("stall", after=HALF)
    process = subprocess.Popen(
        [sys.executable, "-m", "onnxzoo", "pull", "hf://acme/big"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    downloads = settings.home / "cache" / "downloads"
    while not any(part.stat().st_size >= HALF for part in downloads.glob("*.part")):
        time.sleep(0.05)
    return process


def test_a_killed_pull_goes_on_where_it_stopped(
    hub: Hub, settings: Settings, environment: dict[str, str]
) -> None:
    process = half_pulled(hub, settings, environment)
    time.sleep(1.1)  # the journal is written once a second
    process.kill()
    process.communicate()
    hub.requests.clear()
    with Zoo(Registry(settings=replace(settings, endpoint=hub.url))) as zoo:
        assert zoo.pull("hf://acme/big").new
    (body,) = hub.bodies()
    assert int(body.headers["range"].removeprefix("bytes=").rstrip("-")) >= HALF // 2
    assert_sound(settings)


def test_an_interrupted_pull_says_how_much_is_kept(
    hub: Hub, settings: Settings, environment: dict[str, str]
) -> None:
    process = half_pulled(hub, settings, environment)
    time.sleep(0.5)  # what was written last is counted by then, and more is waited for
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    kept = next(line for line in said.splitlines() if line.endswith(" are kept"))
    size = parse_size("".join(kept.split()[:2]))
    assert (process.returncode, size >= HALF) == (130, True)
    assert "Traceback" not in said


STRACE = "write,pwrite64,rename,renameat2,mkdir,mkdirat,fsync,fdatasync,unlink,unlinkat,link,linkat"


@pytest.mark.skipif(
    subprocess.run(["which", "strace"], capture_output=True, check=False).returncode != 0,
    reason="strace is not installed",
)
def test_a_kill_before_any_mutating_system_call_leaves_a_sound_registry(
    settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    """The calls that publish come last: count them in one whole run, then kill before each."""
    path = models.linear(tmp_path / "small.onnx")
    fresh = models.linear(tmp_path / "fresh.onnx", value=0.5)
    words = [sys.executable, "-m", "onnxzoo", "register", str(path), "--name"]
    subprocess.run([*words, "first"], env=environment, check=True, capture_output=True)
    counted = tmp_path / "calls"
    subprocess.run(
        [
            "strace",
            "-f",
            "-qq",
            "-e",
            f"trace={STRACE}",
            "-o",
            counted,
            *words[:-2],
            str(fresh),
            "--name",
            "second",
        ],
        env=environment,
        check=True,
        capture_output=True,
    )
    calls = counted.read_text().splitlines()
    published = [number for number, call in enumerate(calls, 1) if str(settings.home) in call]
    names = sorted({call.split("(")[0].split()[-1] for call in calls[published[0] - 1 :]})
    values = count(1)  # bytes that were published would not be renamed into place again
    for name in names:
        ended = []
        total = sum(f" {name}(" in call for call in calls)
        for number in range(max(1, total - ROUNDS), total + 1):
            other = models.linear(tmp_path / "other.onnx", value=next(values) + 0.5)
            run = subprocess.run(
                ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}",
                 "-e", f"inject={name}:signal=KILL:when={number}",
                 *words[:-2], str(other), "--name", "third"],
                env=environment, check=False, capture_output=True,
            )  # fmt: skip
            ended.append(run.returncode)
            assert_sound(settings)
        assert -signal.SIGKILL in ended, name
    subprocess.run([*words, "last"], env=environment, check=True, capture_output=True)
