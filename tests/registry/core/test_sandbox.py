"""Child processes: an answer, an error of ours, or which limit was passed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from onnxzoo.registry.convert.workers import checked
from onnxzoo.registry.core.errors import InvalidModel, Refused, StorageError
from onnxzoo.registry.core.sandbox import Limits, ask
from onnxzoo.registry.core.sandbox_answer import check_files

PLENTY = 2 << 30
WRITE = "open(request['folder'] + '/answer.json', 'w').write({!r}); os._exit(0)"


def child(folder: Path, body: str, *, memory: int = PLENTY, seconds: int = 30) -> dict[str, Any]:
    module = folder / "work.py"
    module.write_text(
        "import os, time\n"
        "from onnxzoo.registry.core.sandbox import answer\n"
        "from onnxzoo.registry.core.errors import InvalidModel\n"
        f"def main(request):\n    {body}\nanswer(main)\n"
    )
    (folder / "child").mkdir()
    return ask(
        [sys.executable, str(module)],
        {"x": 20},
        folder / "child",
        doing="converting `m`",
        limits=Limits(memory, seconds),
    )


def test_the_answer_comes_back(tmp_path: Path) -> None:
    assert child(tmp_path, "print('noise'); return {'y': request['x'] + 1}") == {"y": 21}


def test_an_error_of_ours_comes_back_whole(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="it is broken") as caught:
        child(tmp_path, "raise InvalidModel('it is broken', hint='mend it')")
    assert caught.value.hint == "mend it"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "raise RuntimeError('it')",
            r"crashed \(exit 1\).*`m`: RuntimeError: it",
        ),
        ("os.abort()", r"crashed \(exit -6\) while converting `m`"),
        ("os._exit(0)", r"crashed \(exit 0\) while converting `m`: it said nothing"),
        ("return {'y': len(bytes(1 << 40))}", "2.1 GB of memory were not enough while converting"),
    ],
)
def test_a_crash_is_one_clear_error(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        child(tmp_path, body)


def test_of_what_a_child_said_the_end_is_read(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"crashed \(exit 3\) while converting `m`: last words$"):
        child(tmp_path, "os.write(1, b'x\\n' * 300_000 + b'last words'); os._exit(3)")


def test_a_child_that_prints_for_ever_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="a process printed over 64 MiB while converting `m`"):
        child(
            tmp_path, "\n    while True: os.write(1, bytes(1 << 20)); time.sleep(0.01)", seconds=20
        )


def test_half_an_answer_of_a_crash_counts_as_none(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"crashed \(exit 3\) while converting `m`"):
        child(tmp_path, WRITE.format('{"answer": {').replace("_exit(0)", "_exit(3)"))


def test_a_full_disk_in_a_child_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no space left on device") as caught:
        child(tmp_path, "import errno; raise OSError(errno.ENOSPC, 'No space left on device')")
    assert caught.value.hint == "free some space"


def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    start = "__import__('subprocess').Popen(['sleep', '600']).pid"
    pid = child(tmp_path, f"return {{'pid': {start}}}")["pid"]
    until = time.monotonic() + 10
    while _runs(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return "(sleep) Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_child_that_hangs_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    marker = tmp_path / "alive"
    body = (
        "import subprocess; "
        f"subprocess.Popen(['sh', '-c', 'sleep 2; touch {marker}']); time.sleep(60)"
    )
    with pytest.raises(Refused, match="1 s were not enough") as caught:
        child(tmp_path, body, seconds=1)
    assert "ZOO_MAX_SECONDS=2" in (caught.value.hint or "")
    time.sleep(2)
    assert not marker.exists()


LINK = "os.symlink({!r}, request['folder'] + '/answer.json'); os._exit(0)"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (WRITE.format("not JSON"), "Expecting value"),
        (WRITE.format("[1]"), "expected an object"),
        (WRITE.format("{}"), "`answer` is missing"),
        (WRITE.format('{"answer": 7, "bounded": true}'), "expected an object, found 7"),
        (WRITE.format('{"answer": {}, "bounded": 7}'), "expected true or false"),
        (WRITE.format('{"answer": {}}'), "`bounded` is missing"),
        (WRITE.format('{"answer": {"x": "a\\u0000"}, "bounded": true}'), "a zero byte"),
        (WRITE.format('{"answer": {"x": "\\ud800"}, "bounded": true}'), "surrogates"),
        (WRITE.format('{"error": 7}'), "`error` is malformed"),
        (WRITE.format('{"error": {"type": "Path"}}'), "no error of ours"),
        (WRITE.format('{"error": {"type": "ClassVar"}}'), "no error of ours"),
        (WRITE.format('{"error": {"type": "NotFound", "message": 7}}'), "`message` is malformed"),
        (WRITE.format('{"error": {"type": "NotFound", "message": "m"}}'), "`hint` is missing"),
        ("open(request['folder'] + '/answer.json', 'wb').write(b'[' * 100_000); os._exit(0)", ""),
        ("open(request['folder'] + '/answer.json', 'wb').truncate(1 << 40); os._exit(0)", "16 MiB"),
        (LINK.format("/dev/zero"), "[Ss]ymbolic link"),
        (LINK.format("/etc/hostname"), "[Ss]ymbolic link"),
        ("os.mkfifo(request['folder'] + '/answer.json'); os._exit(0)", "no plain file"),
        ("os.mkdir(request['folder'] + '/answer.json'); os._exit(0)", "Is a directory"),
    ],
)
def test_an_answer_that_is_none_is_refused(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(Refused, match=f"an answer that is none while converting `m`:.*{message}"):
        child(tmp_path, body)


@pytest.mark.parametrize("other", ["os.mkfifo(log)", "os.symlink('/dev/zero', log)", "0"])
def test_another_log_in_its_place_is_not_read(tmp_path: Path, other: str) -> None:
    put = f"log = request['folder'] + '/log'; os.write(1, b'said'); os.remove(log); {other}"
    with pytest.raises(Refused, match=r"crashed \(exit 3\) while converting `m`: said$"):
        child(tmp_path, f"{put}; os._exit(3)")


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_a_child_leaves_is_plain_files(tmp_path: Path, kind: str) -> None:
    (tmp_path / "made" / "below").mkdir(parents=True)
    path = tmp_path / "made" / "below" / "weights"
    if kind == "link":
        path.symlink_to("/etc/hostname")
    else:
        os.mkfifo(path)
    with pytest.raises(Refused, match="what torch wrote holds `weights`, which is no plain file"):
        check_files(tmp_path / "made", "torch")


def test_a_folder_that_is_a_link_is_not_what_a_child_was_given(tmp_path: Path) -> None:
    (tmp_path / "made" / "below").mkdir(parents=True)
    (tmp_path / "made" / "below" / "weights").touch()
    check_files(tmp_path / "made", "torch")
    (tmp_path / "link").symlink_to(tmp_path / "made")
    with pytest.raises(Refused, match="what torch wrote holds `link`, which is no plain file"):
        check_files(tmp_path / "link", "torch")


SOUND: dict[str, Any] = {
    "notes": ["n"], "found": ["f"], "tools": {"python": "3.11"}, "reference": None,
    "within": {"0": 0.5},
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("notes", "n"), ("notes", [7]), ("found", {"a": 1}),
        ("tools", []), ("tools", {"a": 7}), ("reference", 7),
        ("within", {"x": 1.0}), ("within", {"0": "1"}), ("notes", ["n" * (1 << 20)]),
        ("tools", {"a": "n" * (1 << 20)}),
    ],
)  # fmt: skip
def test_the_answer_of_a_converter_is_checked(key: str, value: Any) -> None:
    assert checked(SOUND) == SOUND | {"notes": ("n",), "found": ("f",)}
    for told in (SOUND | {key: value}, {k: v for k, v in SOUND.items() if k != key}):
        with pytest.raises(Refused, match="the converter gave an answer that is none"):
            checked(told)


NO_LIMITS = """
import errno, resource
def refuse(kind, limits): raise ValueError("current limit exceeds maximum limit")
resource.setrlimit = refuse
"""  # what macOS answers


def test_limits_that_the_system_refuses_are_left_out_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_LIMITS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        assert child(tmp_path / name, "return {'y': 1}") == {"y": 1}
    assert caplog.text.count("does not bound the memory of child processes") == 1
    with pytest.raises(Refused, match="1 s were not enough"):
        child(tmp_path / "c", "time.sleep(60)", seconds=1)


PARENT = """
import sys
from pathlib import Path
from tests.registry.core.test_sandbox import child
child(Path(sys.argv[1]), "open('child/pid', 'w').write(str(os.getpid())); time.sleep(60)")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_goes_with_its_parent(tmp_path: Path, number: int) -> None:
    root = Path(__file__).parents[3]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    said = tmp_path / "child" / "pid"
    while not (said.exists() and said.read_text()):
        time.sleep(0.01)
    parent.send_signal(number)
    parent.wait()
    process = Path("/proc", said.read_text())
    while process.exists() and "\nState:\tZ" not in (process / "status").read_text():
        time.sleep(0.01)  # a zombie has ended, and waits for whoever adopted it
