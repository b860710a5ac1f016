"""Sessions in a long-lived process: shared, pooled, following an alias."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import onnxzoo
from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Busy, NotFound, Refused, UsageError
from tests.support import models

X = np.ones((1, 4), np.float32)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as opened:
        yield opened


def hold(registry: Registry, folder: Path, name: str, value: float, megabytes: int = 0) -> None:
    path = folder / f"{name}-{value}.onnx"
    if megabytes:
        models.sized(path, megabytes, value=value)
    else:
        models.linear(path, value=value)
    registry.register(path, name)


def first(session: object) -> float:
    return float(session.run(None, {"x": X})[0][0, 0])  # type: ignore[attr-defined]


def test_loading_twice_gives_the_same_session(registry: Registry, tmp_path: Path) -> None:
    hold(registry, tmp_path, "net", 2)
    one = onnxzoo.load("net")
    assert onnxzoo.load("net") is one
    assert onnxzoo.load("net:fp32@1") is one
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(onnxzoo.load("net")))
    thread.start()
    thread.join()
    assert found == [one]


def test_threads_that_load_at_once_get_one_session(registry: Registry, tmp_path: Path) -> None:
    hold(registry, tmp_path, "large", 1, megabytes=20)  # takes long enough to open
    together = threading.Barrier(8)
    found: list[object] = []

    def load() -> None:
        together.wait()
        found.append(registry.load("large"))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_other_options_give_another_session(registry: Registry, tmp_path: Path) -> None:
    import onnxruntime

    hold(registry, tmp_path, "net", 2)
    one = onnxzoo.load("net")
    options = onnxruntime.SessionOptions()
    assert onnxzoo.load("net", session_options=options) is not one
    assert onnxzoo.load("net", open="fastest") is not one
    assert onnxzoo.load("net", providers=["CPUExecutionProvider"]) is not one
    with pytest.raises(UsageError, match="`quick` is no way to open"):
        onnxzoo.load("net", open="quick")


def test_the_options_come_back_as_they_were(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    monkeypatch.setenv("ZOO_CACHE_SIZE", "1GB")

    monkeypatch.setenv("ZOO_FIRST_LOOK", "1")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with Registry() as prepared:
        hold(prepared, tmp_path, "net", 2)
        session = prepared.load("net", session_options=options)
    assert ".onnx" in session._model_path
    assert "sessions" in session._model_path
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert session.get_session_options().intra_op_num_threads == 1


def test_a_session_that_nobody_uses_closes(registry: Registry, tmp_path: Path) -> None:
    from weakref import ref

    hold(registry, tmp_path, "net", 2)
    session = ref(onnxzoo.load("net"))
    gc.collect()
    assert session() is None


def test_a_new_version_is_seen_by_the_next_load(registry: Registry, tmp_path: Path) -> None:
    hold(registry, tmp_path, "net", 2)
    one = onnxzoo.load("net")
    hold(registry, tmp_path, "net", 3)
    assert first(onnxzoo.load("net")) == 3
    assert first(onnxzoo.load("net@1")) == 2
    assert onnxzoo.load("net@1") is one


def test_a_removed_model_is_not_found_although_its_session_is_open(
    registry: Registry, tmp_path: Path
) -> None:
    hold(registry, tmp_path, "net", 2)
    one = onnxzoo.load("net")
    registry.remove("net")
    with pytest.raises(NotFound):
        onnxzoo.load("net")
    assert first(one) == 2


def test_a_pool_closes_the_least_recently_used(registry: Registry, tmp_path: Path) -> None:
    for value, name in enumerate(("one", "two", "three"), start=1):
        hold(registry, tmp_path, name, value, megabytes=1)
    large = registry.resolve("one").bytes
    with onnxzoo.SessionPool(max_bytes=2 * large + 100, registry=registry) as pool:
        one = id(pool.load("one"))
        pool.load("two")
        assert id(pool.load("one")) == one
        pool.load("three")
        assert pool.bytes <= pool.max_bytes
        assert [ref for ref in ("one", "two", "three") if is_kept(pool, registry, ref)] == [
            "one",
            "three",
        ]


def is_kept(pool: onnxzoo.SessionPool, registry: Registry, ref: str) -> bool:
    variant = registry.resolve(ref)
    return f"{variant.digest}/{variant.entry}" in pool._kept


def test_a_pool_takes_nothing_from_who_holds_it(registry: Registry, tmp_path: Path) -> None:
    for value, name in enumerate(("one", "two"), start=1):
        hold(registry, tmp_path, name, value, megabytes=1)
    size = registry.resolve("one").bytes
    pool = onnxzoo.SessionPool(max_bytes=size + 100, registry=registry)
    held = pool.load("one")
    with pytest.raises(Busy, match="all 1 open models are in use"):
        pool.load("two")
    assert pool.load("one") is held
    del held
    assert pool.load("two").get_inputs()


def test_a_model_larger_than_the_pool_is_refused(registry: Registry, tmp_path: Path) -> None:
    hold(registry, tmp_path, "one", 1)
    with pytest.raises(Refused, match="the pool's budget is 10"):
        onnxzoo.SessionPool(max_bytes=10, registry=registry).load("one")


def test_a_watched_alias_is_followed_with_no_failed_call(
    registry: Registry, tmp_path: Path, home: Path
) -> None:
    hold(registry, tmp_path, "net", 1)
    hold(registry, tmp_path, "net", 2)
    registry.alias("net@1", "production")
    seen: list[float] = []
    stop = threading.Event()
    with onnxzoo.watch("net@production") as model:
        caller = threading.Thread(target=lambda: call_until(stop, model, seen))
        caller.start()
        for version in (2, 1, 2):
            move = ["-m", "onnxzoo", "alias", f"net@{version}", "production"]
            subprocess.run([sys.executable, *move], check=True, capture_output=True)
            until = time.monotonic() + 20
            while seen[-1:] != [version] and time.monotonic() < until:
                time.sleep(0.01)
            assert (seen[-1], model.variant.version) == (version, version)
        stop.set()
        caller.join()
    assert set(seen) == {1.0, 2.0}
    assert os.environ["ZOO_HOME"] == str(home)


def call_until(stop: threading.Event, model: object, seen: list[float]) -> None:
    while not stop.is_set():
        seen.append(first(model))


def test_a_watched_model_stays_where_the_new_version_does_not_open(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from onnx import helper

    hold(registry, tmp_path, "net", 1)
    bad = models.save(tmp_path / "bad.onnx", [helper.make_node("NoSuchOp", ["x"], ["y"])], [])
    with onnxzoo.watch("net") as model:
        registry.register(bad, "net")
        until = time.monotonic() + 20
        while model.error is None and time.monotonic() < until:
            time.sleep(0.01)
        assert "`net:fp32@2` does not run on onnxruntime" in str(model.error)
        assert (first(model), model.variant.version) == (1.0, 1)
        hold(registry, tmp_path, "net", 3)
        while model.error is not None and time.monotonic() < until:
            time.sleep(0.01)
        assert first(model) == 3
    assert caplog.text.count("stays at") == 1


SHORT_OF_FILES = """
import os, resource, sys, time
import onnxzoo
with onnxzoo.watch("net@prod") as model:
    print("ready", flush=True)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, most[1]))
    sys.stdin.readline()
    until = time.monotonic() + 60
    while model.error is None and time.monotonic() < until:
        time.sleep(0.05)
    print(model.error is not None, flush=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, most)
    while model.variant.version == 1 and time.monotonic() < until:
        time.sleep(0.05)
    print(model.variant.version, model.error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_watch_outlives_a_shortage_of_files(registry: Registry, tmp_path: Path) -> None:
    for value in (2, 3):
        hold(registry, tmp_path, "net", value)
    registry.alias("net@1", "prod")
    with subprocess.Popen([sys.executable, "-c", SHORT_OF_FILES], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as service:  # fmt: skip
        assert service.stdout is not None
        assert service.stdout.readline() == "ready\n"
        registry.alias("net@2", "prod")
        out, _ = service.communicate("\n", timeout=150)
    assert out == "True\n2 None\n"
