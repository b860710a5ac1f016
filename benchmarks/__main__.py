"""Print the table of ratios: ``python -m benchmarks [PART]``, where PART begins a part's name."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.fill import fill
from benchmarks.measure import Row, calls, peak_memory, processes, seconds_to_import, timed
from benchmarks.sessions import sessions
from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.manifest import File
from onnxzoo.zoo_index.index.entry import Entry, dump
from tests.support import models

_BIN = Path(sys.executable).parent
_MEGABYTES = 500
_VARIANTS = 100_000
_RUNS = 7

# Each pulls a small model first, so that what is timed is the pull and not the imports.
_TIMED = "import time; {small}; t = time.perf_counter(); {big}; print(time.perf_counter() - t)"
_POOCH = "import pooch; pooch.retrieve({url!r}, {hash!r}, path='pooch', fname={name!r})"
_HUB = "import huggingface_hub as h; h.hf_hub_download('bench/{name}', 'model.onnx')"
_ZOO = "import onnxzoo; onnxzoo.pull({name!r})"
_SCAN = (
    "SELECT m.name, r.label FROM model m JOIN version v ON v.model_id = m.id "
    "JOIN variant r ON r.version_id = v.id "
    "WHERE m.name LIKE '%model-0123%' AND r.precision LIKE '%int8%'"
)
_CURL = 'curl -sSL -o model.onnx "$0" && sha256sum model.onnx'


def main() -> None:
    chosen = sys.argv[1] if len(sys.argv) > 1 else ""
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} cores, medians of runs in turns\n")
    print("| what | ours | peer | theirs | ratio | to reach |")
    print("| --- | --- | --- | --- | --- | --- |")
    for part in (start, imports, pull, registry, verify, inspect, memory, sessions):
        if part.__name__.startswith(chosen):
            with tempfile.TemporaryDirectory() as folder:
                for row in part(Path(folder)):
                    print(row, flush=True)


def start(folder: Path) -> Iterator[Row]:
    """Time whole processes that look and leave."""
    env = {"ZOO_HOME": str(folder), "HF_HOME": str(folder / "hf")}
    zoo, hf = str(_BIN / "zoo"), str(_BIN / "hf")
    subprocess.run([zoo, "pull", "light-squeezenet"], env={**os.environ, **env}, check=True,
                   capture_output=True)  # fmt: skip
    (folder / "hf" / "hub").mkdir(parents=True)
    taken = processes(
        {
            "zoo --help": [zoo, "--help"],
            "import typer": [sys.executable, "-c", "import typer"],
            "hf --help": [hf, "--help"],
            "zoo list": [zoo, "list"],
            "hf cache ls": [hf, "cache", "ls"],
        },
        runs=_RUNS,
        env=env,
    )
    for ours, peer, target in (
        ("zoo --help", "import typer", "≤ 2"),
        ("zoo --help", "hf --help", ""),
        ("zoo list", "hf cache ls", ""),
    ):
        yield Row(f"`{ours}`", taken[ours], f"`{peer}`", taken[peer], target)


def imports(_: Path) -> Iterator[Row]:
    """Time imports alone."""
    yield Row(
        "`import onnxzoo`",
        seconds_to_import("onnxzoo", runs=_RUNS),
        "`import onnxruntime`",
        seconds_to_import("onnxruntime", runs=_RUNS),
        "≤ 0.1",
    )


def pull(folder: Path) -> Iterator[Row]:
    """Time the download of one model from a loopback Hub: whole processes, then calls alone."""
    digests = {}
    for name, megabytes in (("big", _MEGABYTES), ("small", 1)):
        path = folder / "served" / "bench" / name / "model.onnx"
        digests[name] = hashlib.sha256(models.sized(path, megabytes).read_bytes()).hexdigest()
    (folder / "index.jsonl").write_text(
        "".join(_line(folder, name, digest) for name, digest in digests.items())
    )
    work = folder / "work"
    with _served(folder / "served") as url:
        env = {
            "ZOO_HOME": str(work / "zoo"),
            "ZOO_INDEX": str(folder / "index.jsonl"),
            "ZOO_FIRST_LOOK": "0",  # the download alone: peers neither open nor prepare a model
            "HF_HOME": str(work / "hf"),
            "HF_ENDPOINT": url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        codes = {
            name: {
                "zoo": _ZOO.format(name=name),
                "hf_hub_download": _HUB.format(name=name),
                "pooch": _POOCH.format(
                    url=f"{url}/bench/{name}/resolve/main/model.onnx",
                    hash=f"sha256:{digest}",
                    name=name,
                ),
            }
            for name, digest in digests.items()
        }
        big = codes["big"]
        whole = processes(
            {
                "zoo": [str(_BIN / "zoo"), "pull", "big", "-q"],
                "curl": ["bash", "-c", _CURL, f"{url}/bench/big/resolve/main/model.onnx"],
                **{name: [sys.executable, "-c", big[name]] for name in big if name != "zoo"},
            },
            runs=5,
            env=env,
            cwd=work,
            before=_cleared(work, env),
        )
        alone = timed(
            {
                name: _TIMED.format(small=small, big=big[name])
                for name, small in codes["small"].items()
            },
            runs=5,
            env=env,
            cwd=work,
            before=_cleared(work, env),
        )
    peers = (
        ("curl", "curl and sha256sum", ""),
        ("hf_hub_download", "hf_hub_download, no hash", "≤ 1"),
        ("pooch", "pooch.retrieve with its hash", "≤ 0.2"),
    )
    for what, taken in (("`zoo pull`, whole process", whole), ("`onnxzoo.pull`, call", alone)):
        for peer, name, target in peers:
            if peer in taken:
                what_of = f"{what}, {_MEGABYTES} MB, hashed and synced"
                yield Row(what_of, taken["zoo"], name, taken[peer], target)


def _line(folder: Path, name: str, digest: str) -> str:
    path = folder / "served" / "bench" / name / "model.onnx"
    file = File("model.onnx", digest, path.stat().st_size)
    source = f"hf://bench/{name}"
    return (
        dump(Entry(name=name, variant="fp32", precision="fp32", source=source, files=(file,)))
        + "\n"
    )


def registry(folder: Path) -> Iterator[Row]:
    """Time look-ups among many variants."""
    for name in ("large", "empty"):
        (folder / name).mkdir()
    fill(folder / "large", _VARIANTS)
    fill(folder / "empty", 0)
    plain = sqlite3.connect(folder / "large" / "registry.db")
    with Registry(folder / "large") as large:
        large.resolve("model-000007:int8")
        name = f"among {_VARIANTS:,} variants"
        yield Row(
            f"resolve a name {name}",
            calls(lambda: large.resolve("model-012345:int8"), runs=300),
            "the work it may take",
            0.001,
            "≤ 1",
        )
        yield Row(
            f"search {name}",
            calls(lambda: large.list(["model-0123", "int8"], limit=50), runs=20),
            "LIKE over the same rows in sqlite3",
            calls(lambda: plain.execute(_SCAN).fetchall(), runs=20),
        )
    taken = {
        home: processes(
            {home: [str(_BIN / "zoo"), "list", "--limit", "50"]},
            runs=_RUNS,
            env={"ZOO_HOME": str(folder / home)},
        )[home]
        for home in ("large", "empty")
    }
    yield Row(f"`zoo list --limit 50` {name}", taken["large"], "of none", taken["empty"], "≤ 1.3")


def verify(folder: Path) -> Iterator[Row]:
    """Time the verification of 1 GB against SHA-256 itself."""
    model = models.sized(folder / "big.onnx", 1000)
    with Registry(folder / "home") as opened:
        path = opened.register(model, "big").variant.path
        model.unlink()
        yield Row(
            "verify 1 GB",
            calls(lambda: list(opened.verify()), runs=3),
            "hashlib.file_digest",
            calls(lambda: hashlib.file_digest(path.open("rb"), "sha256"), runs=3),
            "≈ 1",
        )


def inspect(folder: Path) -> Iterator[Row]:
    """Time the reading of a model's structure, and of many nodes, against onnx.load."""
    import onnx

    from onnxzoo.registry.onnx_file.describe import describe

    big = models.sized(folder / "big.onnx", 575)
    nodes = models.chain(folder / "nodes.onnx", 3000)
    for what, path in (("a model of 575 MB", big), ("3,000 nodes", nodes)):
        yield Row(
            f"describe {what}",
            calls(partial(describe, path), runs=9),
            "onnx.load",
            calls(partial(onnx.load, path), runs=3),
        )


def memory(folder: Path) -> Iterator[Row]:
    """Compare the peak memory of a pull of 500 MB with that of 5 MB (megabytes, not time)."""
    for name, megabytes in (("big", _MEGABYTES), ("small", _MEGABYTES // 100)):
        models.sized(folder / "served" / "bench" / name / "model.onnx", megabytes)
    with _served(folder / "served") as url:
        env = {"ZOO_HOME": str(folder / "home"), "HF_ENDPOINT": url, "ZOO_FIRST_LOOK": "0"}
        peak = {
            name: peak_memory([str(_BIN / "zoo"), "pull", f"hf://bench/{name}", "-q"], env)
            for name in ("small", "big")
        }
    yield Row(
        f"peak memory of a pull of {_MEGABYTES} MB",
        peak["big"], f"of {_MEGABYTES // 100} MB", peak["small"], "flat", unit="MB",
    )  # fmt: skip


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.hub", str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


def _cleared(work: Path, env: Mapping[str, str]) -> Callable[[], None]:
    """Return what empties every cache, and makes the registry that a user has already."""

    def clear() -> None:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        subprocess.run(
            [_BIN / "zoo", "list"], env={**os.environ, **env}, capture_output=True, check=True
        )
        os.sync()

    return clear


if __name__ == "__main__":
    main()
