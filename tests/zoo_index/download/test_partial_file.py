"""What an interrupted download leaves is resumed only as far as it can be trusted."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from onnxzoo.registry.core.errors import RemoteError, StorageError
from onnxzoo.registry.core.text import show_size
from onnxzoo.zoo_index.download.download import Fetched, download
from onnxzoo.zoo_index.download.response import Limits
from tests.faults.runner import traces
from tests.support.hub import Hub, sha256

BODY = random.Random(7).randbytes(1_500_000)
NEW = BODY[::-1]
HALF = 700_000
QUICK = Limits(read=2, attempts=3, backoff=0.001, pause=0.01)
FETCH = """
import sys
from pathlib import Path
from onnxzoo.zoo_index.download.download import download
from onnxzoo.zoo_index.download.response import Limits
url, part, sha256 = sys.argv[1:]
download(url, Path(part), sha256=sha256, size=None, limits=Limits(read=60))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture
def url(hub: Hub) -> str:
    return hub.put("/model", BODY)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "key.part"


def unpinned(url: str, part: Path) -> Fetched:
    return download(url, part, sha256=None, size=None, limits=QUICK)


def pinned(url: str, part: Path, limits: Limits = QUICK) -> Fetched:
    return download(url, part, sha256=sha256(BODY), size=len(BODY), limits=limits)


def leave_half(hub: Hub, url: str, part: Path, etag: str | None = None) -> None:
    """Leave a part file of `HALF` bytes and its journal, as an earlier run would."""
    if etag is None:
        hub.fault("cut", after=HALF)
    else:
        hub.fault("cut", after=HALF, ETag=etag)
    with pytest.raises(RemoteError, match=f"{re.escape(show_size(HALF))} are kept"):
        download(url, part, sha256=None, size=None, limits=Limits(attempts=1))
    hub.requests.clear()


def ranges(hub: Hub) -> list[str | None]:
    return [request.headers.get("range") for request in hub.bodies()]


def test_without_a_hash_a_resumption_rests_on_the_validator(hub: Hub, url: str, part: Path) -> None:
    leave_half(hub, url, part)
    assert unpinned(url, part).path.read_bytes() == BODY
    assert ranges(hub) == [f"bytes={HALF}-"]


def test_without_hash_and_validator_nothing_is_resumed(hub: Hub, url: str, part: Path) -> None:
    leave_half(hub, url, part, etag="")
    assert unpinned(url, part).path.read_bytes() == BODY
    assert ranges(hub) == [None]


def test_what_changed_between_two_runs_is_fetched_anew(hub: Hub, url: str, part: Path) -> None:
    leave_half(hub, url, part)
    hub.put("/model", NEW)
    assert unpinned(url, part).path.read_bytes() == NEW


def test_a_part_of_another_address_is_not_resumed(hub: Hub, url: str, part: Path) -> None:
    leave_half(hub, url, part)
    unpinned(hub.put("/elsewhere", BODY), part)
    assert ranges(hub) == [None]


def test_a_wrong_piece_is_fetched_anew_whichever_it_was(hub: Hub, url: str, part: Path) -> None:
    leave_half(hub, url, part)
    hub.fault("wrong")
    assert pinned(url, part).path.read_bytes() == BODY
    assert ranges(hub) == [f"bytes={HALF}-", None]


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        (BODY[: HALF // 2], None),  # the journal reached the disk, the bytes did not
        (bytes(HALF), None),  # the file's size reached the disk, its blocks did not
        (BODY[:HALF] + bytes(len(BODY)), f"bytes={HALF}-"),  # bytes that nobody noted
    ],
)
def test_a_part_file_is_held_against_its_journal(
    hub: Hub, url: str, part: Path, content: bytes, asked: str | None
) -> None:
    leave_half(hub, url, part)
    part.write_bytes(content)
    assert unpinned(url, part).path.read_bytes() == BODY
    assert ranges(hub) == [asked]


def test_a_killed_download_goes_on_where_it_was(hub: Hub, part: Path) -> None:
    body, enough = BODY * 20, 16 << 20
    url = hub.put("/large", body)
    hub.fault("stall", after=len(body) - 1000)
    child = subprocess.Popen([sys.executable, "-c", FETCH, url, str(part), sha256(body)])
    journal = part.with_name("key.part.json")
    while not journal.exists() or json.loads(journal.read_bytes())["bytes"] < enough:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    hub.requests.clear()
    fetched = download(url, part, sha256=sha256(body), size=len(body), limits=QUICK)
    assert fetched.path.read_bytes() == body
    (asked,) = ranges(hub)
    assert int((asked or "bytes=0-").removeprefix("bytes=").removesuffix("-")) >= enough


def test_processes_that_want_the_same_file_fetch_one_body(hub: Hub, url: str, part: Path) -> None:
    command = [sys.executable, "-c", FETCH, url, str(part), sha256(BODY)]
    children = [subprocess.Popen(command) for _ in range(6)]
    assert [child.wait() for child in children] == [0] * 6
    assert len(hub.bodies()) == 1


def test_everyone_who_waited_gets_a_file_of_their_own(hub: Hub, url: str, part: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        fetched = list(pool.map(lambda _: pinned(url, part), range(20)))
    assert len({found.path for found in fetched}) == 20
    assert len(hub.bodies()) == 1


def test_a_finished_file_that_was_taken_away_is_fetched_again(
    hub: Hub, url: str, part: Path
) -> None:
    pinned(url, part).path.unlink()
    assert pinned(url, part).path.read_bytes() == BODY
    assert len(hub.bodies()) == 2


def test_a_finished_file_that_was_left_is_handed_out_itself(hub: Hub, url: str, part: Path) -> None:
    left = pinned(url, part).path
    os.utime(left, (0, 0))
    assert pinned(url, part).path == left
    assert [path for path in part.parent.iterdir() if path.suffix != ".lock"] == [left]
    assert len(hub.bodies()) == 1


def test_bytes_that_are_all_there_still_tell_the_headers(hub: Hub, url: str, part: Path) -> None:
    leave_half(hub, url, part)
    journal = part.with_name("key.part.json")
    noted = json.loads(journal.read_bytes()) | {"bytes": len(BODY), "sha256": sha256(BODY)}
    journal.write_text(json.dumps(noted))
    part.write_bytes(BODY)
    fetched = pinned(url, part)
    assert fetched.path.read_bytes() == BODY
    assert fetched.headers["ETag"] == f'"{sha256(BODY)}"'
    assert ranges(hub) == [f"bytes={len(BODY) - 1}-"]


def test_a_finished_file_that_rotted_is_not_handed_out(url: str, part: Path) -> None:
    pinned(url, part).path.write_bytes(NEW)
    assert pinned(url, part).path.read_bytes() == BODY


def test_where_locks_do_not_hold_everyone_writes_a_part_of_their_own(
    url: str, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # as some network file systems do
    with ThreadPoolExecutor(8) as pool:
        fetched = list(pool.map(lambda _: pinned(url, part), range(8)))
    assert len({found.path for found in fetched}) == 8
    assert all(found.path.read_bytes() == BODY for found in fetched)
    assert part.with_suffix("") not in {found.path for found in fetched}


def test_a_lock_that_is_not_let_go_is_not_waited_for_for_ever(url: str, part: Path) -> None:
    from filelock import FileLock

    part.parent.mkdir()
    with ThreadPoolExecutor(1) as pool, FileLock(f"{part}.lock"):
        fetched = pool.submit(pinned, url, part, Limits(lock=0.05)).result()
    assert fetched.path.read_bytes() == BODY


def test_a_disk_that_takes_no_more_is_a_storage_error(url: str, part: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, before[1]))
    try:
        with pytest.raises(StorageError, match="no space left"):
            unpinned(url, part)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert unpinned(url, part).path.read_bytes() == BODY


def test_a_folder_that_cannot_be_made_is_a_storage_error(
    hub: Hub, url: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        unpinned(url, tmp_path / "file" / "key.part")
    assert not hub.requests


def test_a_part_that_is_no_file_is_a_storage_error(url: str, part: Path) -> None:
    part.mkdir(parents=True)
    with pytest.raises(StorageError):
        unpinned(url, part)


@pytest.mark.skipif(not traces(), reason="strace is not here, or not allowed")
def test_a_part_that_could_not_be_synced_is_thrown_away(hub: Hub, url: str, part: Path) -> None:
    """A second sync would succeed, whatever the first one lost."""
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=1"]
    fetch = [sys.executable, "-c", FETCH, url, str(part), sha256(BODY)]
    done = subprocess.run([*words, *fetch], capture_output=True, text=True, check=False)
    assert "StorageError" in done.stderr
    assert [path.name for path in part.parent.iterdir()] == [f"{part.name}.lock"]
    assert unpinned(url, part).path.read_bytes() == BODY
