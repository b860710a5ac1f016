"""Opening sessions: what was prepared against onnxruntime on the same file, in fresh processes."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.measure import Row
from benchmarks.networks import makers
from onnxzoo.registry.api import Registry

_SMALL = 110_000_000  # bytes; what counts as a network up to 100 MB
_WORKERS = 8
_RUNS = 5
# Run in a fresh process: opens, runs, and prints seconds and bytes as JSON.
_CHILD = """
import hashlib, json, re, sys, time
way, what, runs, wait = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "wait"
import numpy as np
import onnxruntime
def private():
    text = open("/proc/self/smaps_rollup").read()
    return 1024 * int(re.search(r"Private_Dirty: +(\\d+)", text)[1])
before = private()
if way == "plain":
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    t = time.perf_counter()
    session = onnxruntime.InferenceSession(what, options, providers=["CPUExecutionProvider"])
else:
    import onnxzoo
    onnxzoo.load  # imported, as onnxruntime is
    t = time.perf_counter()
    session = onnxzoo.load(what, open=way)
opened = time.perf_counter() - t
x = session.get_inputs()[0]
shape = [axis if isinstance(axis, int) else 1 for axis in x.shape]
random = np.random.default_rng(0)
value = random.standard_normal(shape).astype("float32") if "float" in x.type else (
    random.integers(0, 1000, shape))
outputs = session.run(None, {x.name: value})
memory = private() - before
taken = []
for _ in range(runs):
    t = time.perf_counter()
    session.run(None, {x.name: value})
    taken.append(time.perf_counter() - t)
again = []
if way != "plain" and runs:
    for _ in range(1000):
        t = time.perf_counter()
        onnxzoo.load(what, open=way)
        again.append(time.perf_counter() - t)
print(json.dumps({"open": opened, "memory": memory, "run": sorted(taken)[len(taken) // 2] if taken
    else 0, "again": sorted(again)[500] if again else 0,
    "outputs": hashlib.sha256(outputs[0].tobytes()).hexdigest()}), flush=True)
if wait:
    sys.stdin.read()
"""


def sessions(folder: Path) -> Iterator[Row]:
    """Compare opening, running, whole processes and memory for networks of real size."""
    home = folder / "home"
    env = {**os.environ, "ZOO_HOME": str(home)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled once, ours too
    for name, make in makers().items():
        with Registry(home) as registry:
            made = make(folder / f"{name}.onnx")
            held = registry.register(made, name).variant
            made.unlink()
        os.sync()
        yield from _network(name, str(held.path), held.bytes, env)


def _network(name: str, path: str, size: int, env: Mapping[str, str]) -> Iterator[Row]:
    ways = {"plain": path, "exact": name, "fastest": name}
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    whole: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(_RUNS):
        for way, what in ways.items():
            started = time.perf_counter()
            _child(way, what, env, runs=0)
            whole[way].append(time.perf_counter() - started)
    for _ in range(3):
        for way, what in ways.items():
            found[way].append(_child(way, what, env, runs=7))
    got = {
        way: {key: statistics.median(one[key] for one in all_) for key in ("open", "memory", "run")}
        for way, all_ in found.items()
    }
    equal = {one["outputs"] for way in ("plain", "exact") for one in found[way]}
    bound = "≤ 0.1" if size < _SMALL else "≤ 0.2"
    peer = "onnxruntime on the file"
    same = "outputs equal to the bit" if len(equal) == 1 else "OUTPUTS DIFFER"
    yield Row(f"{name}: open ({same})", got["exact"]["open"], peer, got["plain"]["open"], bound)
    yield Row(f"{name}: open, fastest", got["fastest"]["open"], peer, got["plain"]["open"])
    yield Row(f"{name}: one run", got["exact"]["run"], peer, got["plain"]["run"], "≤ 1.03")
    yield Row(f"{name}: one run, fastest", got["fastest"]["run"], peer, got["plain"]["run"])
    targets = {"resnet50": "≤ 0.6", "squeezenet": "≤ 1.1"}
    times = {way: statistics.median(taken) for way, taken in whole.items()}
    yield Row(
        f"{name}: whole process to the first result",
        times["exact"], peer, times["plain"], targets.get(name, ""),
    )  # fmt: skip
    memory = "≤ 0.2" if name == "resnet50" else ""
    yield Row(
        f"{name}: private memory after one run",
        got["exact"]["memory"], peer, got["plain"]["memory"], memory, unit="MB",
    )  # fmt: skip
    if name == "resnet50":
        yield Row(
            f"{name}: memory of {_WORKERS} workers",
            _workers("exact", name, env), peer, _workers("plain", path, env), "≤ 0.33", unit="MB",
        )  # fmt: skip
        again = statistics.median(one["again"] for one in found["exact"])
        yield Row(f"{name}: second load", again, "what it may take", 50e-6, "≤ 1")


def _child(way: str, what: str, env: Mapping[str, str], *, runs: int) -> dict[str, float]:
    command = [sys.executable, "-c", _CHILD, way, what, str(runs), "go"]
    done = subprocess.run(command, env=env, capture_output=True, check=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _workers(way: str, what: str, env: Mapping[str, str]) -> float:
    """Return the bytes that several workers take together: proportional set sizes, summed."""
    command = [sys.executable, "-c", _CHILD, way, what, "0", "wait"]
    workers = [
        subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(_WORKERS)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    total = sum(_pss(worker.pid) for worker in workers)
    for worker in workers:
        worker.communicate()
    return float(total)


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("no proportional set size: this needs Linux")
