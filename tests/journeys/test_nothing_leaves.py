"""No look-up, no connection and no file outside `ZOO_HOME`: system calls of whole commands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onnxzoo.registry.core.settings import Settings, child_environment
from tests.support import models
from tests.support.commands import Run

NAME = "ORT_DISABLE_TELEMETRY"
LOAD = """
import numpy, onnxzoo
with onnxzoo.Registry() as registry:
    session = registry.load("light-squeezenet")
    shape = session.get_inputs()[0].shape
    session.run(None, {session.get_inputs()[0].name: numpy.zeros(shape, "float32")})
"""
ZOO = [sys.executable, "-m", "onnxzoo"]
# One life of a model: what comes in, is opened, measured and derived.
COMMANDS = (
    [*ZOO, "pull", "light-squeezenet"],
    [sys.executable, "-c", LOAD],
    [*ZOO, "run", "light-squeezenet"],
    [*ZOO, "bench", "mlp", "--runs", "3"],
    [*ZOO, "convert", "mlp", "--opset", "18"],
    [*ZOO, "quantize", "mlp", "--to", "int8"],
)
# Every call that names an address, and every call that makes or changes a name.
CALLS = (
    "connect,sendto,sendmsg,sendmmsg,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,"
    "link,linkat,symlink,symlinkat,unlink,unlinkat,truncate,chmod,fchmodat,utimensat"
)
ADDRESS = re.compile(r"sa_family=AF_INET6?, |systemd/resolve/")
LOOPBACK = re.compile(r'inet_addr\("127\.|"::1"')
OPENS, ASKS = ("open(", "openat("), ("connect(", "send")
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
NAMED = re.compile(r'(?:\w+<([^>]*)>, )?"([^"]*)"')  # relative to an open folder, or absolute


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user with a home folder, a temporary folder and a registry, none inside another."""
    places = {"HOME": "user", "TMPDIR": "tmp", "ZOO_HOME": "zoo"}
    for name in places.values():
        (tmp_path / name).mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {name: str(tmp_path / place) for name, place in places.items()}


def traced(words: list[str], environment: dict[str, str], log: Path) -> list[str]:
    """Return the system calls of a command and of all its children."""
    watch = ["strace", "-ff", "-qq", "-y", "-s", "4096", "-e", f"trace={CALLS}", "-o", str(log)]
    work = Path(environment["TMPDIR"])
    done = subprocess.run(
        [*watch, *words], env=environment, cwd=work, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"
    files = list(log.parent.glob(f"{log.name}.*"))  # one a process, so that no call is cut in two
    calls = [call for file in files for call in file.read_text(errors="replace").splitlines()]
    for file in files:
        file.unlink()
    return calls


def leaves(calls: list[str]) -> list[str]:
    """Return the calls that ask or tell another machine anything."""
    return [call for call in calls if ADDRESS.search(call) and not LOOPBACK.search(call)]


def written(calls: list[str]) -> set[str]:
    """Return the absolute paths that calls made or changed."""
    found = set()
    for call in calls:
        failed = " = -1 E" in call or call.startswith(ASKS)
        if failed or (call.startswith(OPENS) and not WRITES.search(call)):
            continue
        found |= {str(Path(folder) / name) for folder, name in NAMED.findall(call)}
    return found


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_models_life_stays_on_this_machine_and_in_its_folders(
    environment: dict[str, str], tmp_path: Path
) -> None:
    allowed = (environment["ZOO_HOME"] + "/", environment["TMPDIR"] + "/", "/dev/", "/proc/")
    mlp = models.mlp(tmp_path / "mlp.onnx")
    for words in ([*ZOO, "register", str(mlp), "--name", "mlp"], *COMMANDS):
        calls = traced(words, environment, tmp_path / "calls")
        assert any(str(tmp_path / "zoo") in call for call in calls)  # strace saw it at work
        assert leaves(calls) == [], words
        outside = {path for path in written(calls) if not f"{path}/".startswith(allowed)}
        compiled = {path for path in outside if "__pycache__" in path}
        assert outside - compiled == set(), words
    assert list((tmp_path / "user").rglob("*")) == []


def test_calls_that_leave_are_told_from_those_that_stay() -> None:
    there = 'connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.2")})'
    here = there.replace("10.0.0.2", "127.0.0.1")
    assert leaves([there, here, 'connect(3, {sa_family=AF_UNIX, sun_path="/run/x"})']) == [there]
    opened = 'openat(AT_FDCWD</here>, "{}", {}) = 3'
    failed = opened.format("c", "O_WRONLY|O_CREAT").replace("= 3", "= -1 ENOENT (No such file)")
    calls = [opened.format("/a", "O_RDONLY"), opened.format("b", "O_RDWR|O_CREAT, 0666"), failed]
    assert written(calls) == {"/here/b"}


@pytest.mark.parametrize(("given", "found"), [({}, "1"), ({NAME: ""}, "1"), ({NAME: "0"}, "0")])
def test_telemetry_is_off_before_onnxruntime_is_imported(
    given: dict[str, str], found: str, environment: dict[str, str]
) -> None:
    code = f"import onnxzoo.registry.runtime.session, os; print(os.environ[{NAME!r}])"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=environment | given, capture_output=True, check=True)
    assert done.stdout.decode().strip() == found


def test_children_have_telemetry_off_unless_the_user_wants_it() -> None:
    for env, value in (({}, "1"), ({NAME: "0"}, "0")):
        for isolated in (True, False):
            made = child_environment(isolated=isolated, env=env)
            assert made[NAME] == value


@pytest.mark.parametrize(("value", "sends"), [("1", "no"), ("yes", "no"), ("0", "yes")])
def test_the_doctor_says_whether_onnxruntime_may_send(
    value: str, sends: str, zoo: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAME, value)
    assert Settings.from_env().telemetry == (sends == "yes")
    assert f"onnxruntime telemetry     {sends}\n" in zoo("doctor").out
