"""Archives: what is read, and what is refused."""

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxzoo.registry.core.errors import IntegrityError, Refused, ZooError
from onnxzoo.registry.testdata.archives import Bounds, members
from tests.support.archives import header, tar, zipped

FILES = [("m/test_data_set_0/input_0.pb", b"in" * 5000), ("m/a.onnx", b"model"), ("b", b"")]


def read(path: Path, bounds: Bounds = Bounds()) -> list[tuple[str, bytes]]:  # noqa: B008
    return [(member.path, b"".join(member.chunks)) for member in members(path, bounds)]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_archive_gives_its_files(tmp_path: Path, mode: str, style: int) -> None:
    path, long = tmp_path / "a.tar", ("d" * 60 + "/") * 2 + "x" * 90
    with tarfile.open(path, mode, format=style) as archive:  # type: ignore[call-overload]
        archive.addfile(header("m/", tarfile.DIRTYPE))
        for name, content in [*FILES, (long, b"long")]:
            info = tarfile.TarInfo(f"./{name}" if name == "b" else name)
            info.size, info.mtime = len(content), 1.5 if style == tarfile.PAX_FORMAT else 1
            archive.addfile(info, io.BytesIO(content))
    assert read(path) == [*FILES, (long, b"long")]


def test_a_zip_archive_gives_its_files(tmp_path: Path) -> None:
    members_ = [("m/", b""), *FILES]
    assert read(zipped(tmp_path / "a.zip", members_)) == FILES
    assert read(zipped(tmp_path / "b.zip", FILES, mode=stat.S_IFREG | 0o644)) == FILES


@pytest.mark.parametrize("make", [tar, zipped])
def test_files_that_nobody_reads_are_passed_over(tmp_path: Path, make: Callable[..., Path]) -> None:
    path = make(tmp_path / "a", FILES)
    assert [member.path for member in members(path)] == [name for name, _ in FILES]


@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/etc/x", "C:\\x", "C:/x", "a\\..\\..\\x", "\\\\host\\x"]
)
@pytest.mark.parametrize("make", [tar, zipped])
def test_a_path_that_leads_out_is_refused(
    tmp_path: Path, make: Callable[..., Path], name: str
) -> None:
    path = make(tmp_path / "a", [("fine", b"x"), (name, b"x")])
    with pytest.raises(Refused, match="leads out of its folder"):
        read(path)


def test_a_long_path_that_leads_out_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("../" + "x" * 200))
    with pytest.raises(Refused, match="leads out of its folder"):
        read(tmp_path / "a")


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (b"Z", "an entry of type"),
    ],
)
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes, what: str) -> None:
    path = tar(tmp_path / "a", [("fine", b"x"), header("link", kind, "/etc/passwd")])
    with pytest.raises(Refused, match=f"`link`, {what}"):
        read(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_what_is_no_plain_file_in_a_zip_is_refused(tmp_path: Path, kind: int) -> None:
    path = zipped(tmp_path / "a", [("link", b"/etc/passwd")], mode=kind | 0o777)
    with pytest.raises(Refused, match="holds `link`, a "):
        read(path)


@pytest.mark.parametrize("make", [tar, zipped])
def test_a_bomb_is_refused_before_it_has_unpacked(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    path = make(tmp_path / "a", [("zeros", bytes(4 << 20))])
    assert read(path, Bounds(ratio=2000))
    with pytest.raises(Refused, match="more than 100 times its size"):
        read(path, Bounds(free=1 << 20))
    if make is tar:  # what nobody reads is unpacked there too
        with pytest.raises(Refused, match="more than 100 times its size"):
            list(members(path, Bounds(free=1 << 20)))


@pytest.mark.parametrize("make", [tar, zipped])
def test_more_than_it_may_hold_is_refused(tmp_path: Path, make: Callable[..., Path]) -> None:
    path = make(tmp_path / "a", [(f"f{number}", b"x" * 100) for number in range(20)])
    with pytest.raises(Refused, match="holds more than 19 files"):
        read(path, Bounds(members=19))
    with pytest.raises(Refused, match=r"unpacks to more than 1\.0 kB"):
        read(path, Bounds(bytes=1000))


def test_a_header_cannot_claim_memory(tmp_path: Path) -> None:
    info = header("x", tarfile.XHDTYPE)
    info.size = 1 << 40
    (tmp_path / "a").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(Refused, match="has a header of 1099511627776 bytes"):
        read(tmp_path / "a")


def test_a_file_without_end_is_cut_off(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.size = 1 << 40
    (tmp_path / "a").write_bytes(info.tobuf() + bytes(1024))
    with pytest.raises(IntegrityError, match="is cut off"):
        read(tmp_path / "a")


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    with pytest.raises(Refused, match="a sparse file"):
        read(tar(tmp_path / "a", [info]))


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped(tmp_path / "a", [("x", b"secret")]).read_bytes())
    content[content.find(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(Refused, match="an encrypted file"):
        read(tmp_path / "a")


@pytest.mark.parametrize("make", [tar, zipped])
def test_a_damaged_archive_is_no_traceback(tmp_path: Path, make: Callable[..., Path]) -> None:
    whole = make(tmp_path / "a", [("x", os.urandom(20_000))]).read_bytes()
    for damaged in (whole[:10_000], whole[:5000] + b"\xff" * 5000 + whole[10_000:]):
        (tmp_path / "b").write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"`b` is (damaged|cut off)"):
            read(tmp_path / "b")


@pytest.mark.parametrize("content", [b"", b"text", gzip.compress(b"no tar" * 200, mtime=0)])
def test_what_is_no_archive_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises((Refused, IntegrityError), match="`"):
        read(tmp_path / "a")


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8), st.sampled_from(["zip", "tar"]))
@settings(max_examples=150, deadline=None)
def test_no_bytes_make_it_crash(at: int, junk: bytes, kind: str) -> None:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a/b", b"x" * 1000)
    else:
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tape:
            info = tarfile.TarInfo("a/" + "b" * 150)
            info.size = 1000
            tape.addfile(info, io.BytesIO(b"x" * 1000))
    content = bytearray(buffer.getvalue())
    content[at : at + len(junk)] = junk
    path = Path(os.environ["ZOO_HOME"] + ".fuzz")
    path.write_bytes(content)
    with suppress(ZooError):
        read(path)
