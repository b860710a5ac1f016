"""One download: whole or not at all, on the first request and on a resume."""

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from onnxzoo.registry.core.errors import (
    IntegrityError,
    NotAuthorised,
    NotFound,
    RemoteError,
    ZooError,
)
from onnxzoo.zoo_index.download.download import Fetched, download
from onnxzoo.zoo_index.download.response import Limits
from tests.support.hub import SIGNATURE, Hub

BODY = os.urandom(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
HALF = 1_500_000
QUICK = Limits(read=2.0, window=1.0, attempts=3, backoff=0.001, pause=0.01, redirects=3)
CANARY = {"Authorization": "Bearer hf_canary_token"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        running.add("o/r", {"m.onnx": BODY})
        yield running


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "x.part"


def fetch(
    hub: Hub, part: Path, *, sha256: str | None = SHA256, size: int | None = len(BODY),
    limits: Limits = QUICK,
) -> Fetched:  # fmt: skip
    url = f"{hub.url}/o/r/resolve/main/m.onnx"
    return download(url, part, sha256=sha256, size=size, headers=CANARY, limits=limits)


def interrupted(hub: Hub, part: Path) -> None:
    """Leave half of the file behind, as a connection that breaks does."""
    hub.fault("cut", after=HALF)
    with pytest.raises(RemoteError):
        fetch(hub, part, limits=replace(QUICK, attempts=1))
    assert part.stat().st_size == HALF
    hub.requests.clear()


def assert_no_secret(hub: Hub, folder: Path, *errors: ZooError) -> None:
    """Assert that the token went to one host only, and neither it nor a signature stayed."""
    own = hub.url.partition("//")[2]
    assert {r.host for r in hub.requests if "authorization" in r.headers} <= {own}
    said = "".join(f"{error.message} {error.hint} {error.__cause__!r}" for error in errors)
    kept = b"".join(path.read_bytes() for path in folder.glob("*.json"))
    for secret in ("hf_canary_token", SIGNATURE):
        assert secret not in said
        assert secret.encode() not in kept


def test_the_file_arrives_verified_and_synced(hub: Hub, part: Path) -> None:
    fetched = fetch(hub, part)
    assert (fetched.path.read_bytes(), fetched.sha256, fetched.bytes) == (BODY, SHA256, len(BODY))
    assert fetched.owned
    assert fetched.headers["X-Repo-Commit"] == hub.repos["o/r"].refs["main"]
    assert [p.name for p in part.parent.iterdir() if p != fetched.path] in ([], ["x.part.lock"])
    assert_no_secret(hub, part.parent)


def test_without_a_hash_the_bytes_are_taken_as_they_come(hub: Hub, part: Path) -> None:
    assert fetch(hub, part, sha256=None, size=None).sha256 == SHA256


def test_progress_goes_up_to_the_whole(hub: Hub, part: Path) -> None:
    told: list[int] = []
    url = f"{hub.url}/o/r/resolve/main/m.onnx"
    download(
        url, part, sha256=SHA256, size=len(BODY), progress=lambda _, done, __: told.append(done)
    )
    assert told == sorted(told)
    assert told[-1] == len(BODY)


def test_what_was_interrupted_goes_on_where_it_stopped(hub: Hub, part: Path) -> None:
    interrupted(hub, part)
    assert fetch(hub, part).path.read_bytes() == BODY
    (body,) = hub.bodies()
    assert body.headers["range"] == f"bytes={HALF}-"
    assert body.headers["if-range"] == f'"{SHA256}"'


# Faults that pass: the download gets over them by itself.
PASSING = [
    ("cut", 0), ("cut", HALF), ("reset", HALF), ("stall", HALF), ("trickle", HALF), ("changed", 0),
    ("content-range-lies", 0), ("ignores-range", 0),
]  # fmt: skip
# Faults that do not: what is raised, and a word of the message.
LASTING = [
    ("wrong", IntegrityError, "has SHA-256"),
    ("html", IntegrityError, "is an HTML page, not a model"),
    ("gzip", RemoteError, "`gzip` data"),
    ("endless", IntegrityError, "sends more than"),
    ("redirect-to-file", RemoteError, "redirects to `file:`"),
    ("redirect-to-scheme", RemoteError, "redirects to `https:`"),
    ("redirect-loop", RemoteError, "redirects more than 3 times"),
    ("redirect-nowhere", RemoteError, "without saying where"),
    ("429", RemoteError, "answered 429"),
    ("503", RemoteError, "answered 503"),
    ("404", NotFound, "answered 404"),
    ("401", NotAuthorised, "answered 401"),
    ("403", NotAuthorised, "answered 403"),
    ("400", RemoteError, "answered 400"),
]


@pytest.mark.parametrize("request_", ["first", "resume"])
@pytest.mark.parametrize(("fault", "after"), PASSING)
def test_a_fault_that_passes_costs_another_request(
    hub: Hub, part: Path, fault: str, after: int, request_: str
) -> None:
    if request_ == "resume":
        interrupted(hub, part)
    hub.fault(fault, after=after // 3)
    try:
        fetched = fetch(hub, part)
    except IntegrityError:  # other bytes than the hash says: refused, and whole the next time
        assert fault == "changed"
        fetched = fetch(hub, part)
    assert fetched.path.read_bytes() == BODY
    assert_no_secret(hub, part.parent)


@pytest.mark.parametrize("request_", ["first", "resume"])
@pytest.mark.parametrize(("fault", "error", "message"), LASTING)
def test_a_fault_that_lasts_is_named_and_nothing_is_kept_of_it(
    hub: Hub, part: Path, fault: str, error: type[ZooError], message: str, request_: str
) -> None:
    if request_ == "resume":
        interrupted(hub, part)
    hub.fault(fault, times=-1, after=7, Location="x")
    with pytest.raises(error) as caught:
        fetch(hub, part)
    assert message in caught.value.message
    assert not part.with_suffix("").exists()
    assert_no_secret(hub, part.parent, caught.value)


def test_a_page_in_the_way_costs_no_bytes(hub: Hub, part: Path) -> None:
    interrupted(hub, part)
    hub.fault("html")
    with pytest.raises(IntegrityError):
        fetch(hub, part)
    assert fetch(hub, part).path.read_bytes() == BODY
    assert hub.bodies()[-1].headers["range"] == f"bytes={HALF}-"


def test_a_range_that_cannot_be_satisfied_costs_a_restart(hub: Hub, part: Path) -> None:
    interrupted(hub, part)
    hub.fault("not-satisfiable")
    assert fetch(hub, part).path.read_bytes() == BODY


def test_a_body_that_is_complete_too_early_is_refused(hub: Hub, part: Path) -> None:
    hub.fault("short", after=7)
    with pytest.raises(IntegrityError, match=f"has {len(BODY) - 7} bytes; expected {len(BODY)}"):
        fetch(hub, part)


@pytest.mark.parametrize("status", ["408", "425", "429", "500", "502", "503"])
def test_a_status_that_may_pass_is_asked_again(hub: Hub, part: Path, status: str) -> None:
    hub.fault(status, Retry_After="0")
    assert fetch(hub, part).bytes == len(BODY)


def test_a_server_that_asks_to_wait_is_not_waited_for_beyond_the_limit(
    hub: Hub, part: Path
) -> None:
    hub.fault("503", times=-1, Retry_After="86400")
    with pytest.raises(RemoteError, match="asks to wait 86400 s"):
        fetch(hub, part)


def test_a_body_without_a_known_size_is_bounded(hub: Hub, part: Path) -> None:
    hub.fault("endless", times=-1)
    with pytest.raises(RemoteError, match="sends more than 5000000 bytes"):
        fetch(hub, part, sha256=None, size=None, limits=replace(QUICK, bytes=5_000_000))


@pytest.mark.parametrize("damage", [b"", b"garbage", b"{}", b"\xff"])
def test_a_damaged_journal_costs_a_restart(hub: Hub, part: Path, damage: bytes) -> None:
    interrupted(hub, part)
    part.with_name("x.part.json").write_bytes(damage)
    assert fetch(hub, part).path.read_bytes() == BODY


def test_bytes_that_rotted_in_the_part_file_cost_a_restart(hub: Hub, part: Path) -> None:
    interrupted(hub, part)
    content = bytearray(part.read_bytes())
    content[1000] ^= 1
    part.write_bytes(content)
    assert fetch(hub, part).path.read_bytes() == BODY


def test_a_host_that_cannot_be_reached_is_named(part: Path) -> None:
    with pytest.raises(RemoteError, match=r"`http://127.0.0.1:1/m.onnx` cannot be reached"):
        download("http://127.0.0.1:1/m.onnx", part, sha256=None, size=None, limits=QUICK)


def test_threads_that_want_the_same_file_all_get_it(hub: Hub, part: Path) -> None:
    got: list[bytes] = []

    def one() -> None:
        got.append(fetch(hub, part).path.read_bytes())

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [BODY] * 8
    assert len(hub.bodies()) == 1
