"""Arrays, zips and images of others: bounded memory, no program, one kind of error."""

import os
import stat
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from onnxzoo.registry.convert.detect.formats import recognise
from onnxzoo.registry.core.errors import IntegrityError, InvalidModel, NotFound, UsageError
from onnxzoo.registry.core.records import Tensor
from onnxzoo.registry.core.zips import DIRECTORY, open_zip
from onnxzoo.registry.measure import input_files
from onnxzoo.registry.testdata.archives import members
from onnxzoo.registry.testdata.arrays import is_npz, read_npy, read_npz

POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n(run me) print\nshowpage\n"
)


def head(shape: str, descr: str = "'<f4'") -> bytes:
    """Return the header of a `.npy` file, of format 1.0."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def packed(path: Path, members: dict[str, bytes], *, squeeze: bool = False) -> Path:
    how = zipfile.ZIP_DEFLATED if squeeze else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def directory_of(path: Path, entries: int) -> Path:
    """Write a zip with one empty member, and a directory that names it so many times."""
    packed(path, {"a": b""})
    data = path.read_bytes()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[start:end]
    tail = struct.pack("<4s4HLLH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(entry) * entries, start, 0)
    path.write_bytes(data[:start] + entry * entries + tail)
    return path


HOSTILE = {
    "4 TiB": head("(1099511627776,)"),
    "an axis below zero": head("(-4,)") + bytes(16),
    "cut in its header": head("(4,)")[:20],
    "cut in its values": head("(4,)") + bytes(12),
    "no array": b"hello",
    "nothing": b"",
    "a deep header": head("(" * 900 + ")" * 900),
    "no types": head("(1,)", "'<q99'"),
    "elements of 4 GiB": head("()", "'<U1073741824'"),
    "elements of nothing": head("(1099511627776,)", "'|V0'"),
    "records": head("(1,)", "[('a', '<f4')]") + bytes(4),
    "a pickle": b"\x80\x04\x95.",
    "another version": b"\x93NUMPY\x07\x00" + bytes(64),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_array_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.npy` .*; expected what numpy\.save writes"):
        read_npy(tmp_path / "x.npy")
    with pytest.raises(UsageError, match=r"x\.npz` .*; expected what numpy\.savez writes"):
        read_npz(packed(tmp_path / "x.npz", {"x.npy": content}))


def test_objects_are_named_as_what_can_run_code(tmp_path: Path) -> None:
    objects = np.array([{}], dtype=object)
    np.save(tmp_path / "x.npy", objects)
    np.savez(tmp_path / "x.npz", x=objects)
    with pytest.raises(UsageError, match="holds Python objects, which can run code"):
        read_npy(tmp_path / "x.npy")
    with pytest.raises(UsageError, match="holds Python objects, which can run code"):
        read_npz(tmp_path / "x.npz")


def test_a_small_file_of_large_arrays_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    zeros = head("(50000000,)") + bytes(200_000_000)
    bomb = packed(tmp_path / "bomb.npz", {"x.npy": zeros}, squeeze=True)
    assert bomb.stat().st_size < 250_000
    with pytest.raises(UsageError, match=r"unpacks to 200\.0 MB, more than 100 times its size"):
        read_npz(bomb)
    small = packed(tmp_path / "small.npz", {"x.npy": head("(9,)") + bytes(36)}, squeeze=True)
    assert read_npz(small)["x"].tolist() == [0.0] * 9


def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6, dtype=np.int64).reshape(2, 3),
        "b/c": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "d": np.array(["one", "zwölf"]),
        "e": np.array(2.5, np.float16),
        "f": np.zeros((0, 4), np.float32),
    }
    np.savez_compressed(tmp_path / "all.npz", allow_pickle=False, **arrays)
    assert is_npz(tmp_path / "all.npz")
    found = read_npz(tmp_path / "all.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.save(tmp_path / "one.npy", array)
        assert not is_npz(tmp_path / "one.npy")
        for read in (found[name], read_npy(tmp_path / "one.npy")):
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read, array)
    assert list(read_npz(tmp_path / "all.npz", only="d")) == ["d"]
    with pytest.raises(UsageError, match="holds no `z`; it holds `a`, `b/c`, `d`, `e`, `f`"):
        read_npz(tmp_path / "all.npz", only="z")
    with pytest.raises(NotFound, match="no file"):
        read_npy(tmp_path / "none.npy")
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(UsageError, match="is not a file"):
        read_npy(tmp_path / "pipe.npy")


def test_a_directory_beyond_its_bound_is_refused_wherever_zips_are_read(tmp_path: Path) -> None:
    most = DIRECTORY // 47  # bytes of an entry with a name of one letter
    with directory_of(tmp_path / "long.zip", most).open("rb") as file, open_zip(file) as archive:
        assert len(archive.infolist()) == most
    over = directory_of(tmp_path / "over.zip", most + 1)
    too_long = pytest.raises(ValueError, match="its directory takes more than")
    with over.open("rb") as file, too_long, open_zip(file):
        pass
    with pytest.raises(IntegrityError, match="its directory takes more than 4194304 bytes"):
        next(members(over))
    with pytest.raises(UsageError, match=r"over\.zip` is not an \.npz file"):
        read_npz(over)
    with pytest.raises(InvalidModel, match="its directory takes more than 4194304 bytes"):
        recognise(over)


def images(path: Path) -> list[tuple[int, ...]]:
    tensor = Tensor("x", "float32", (1, 3, 8, 8))
    return [feed["x"].shape for feed in input_files.feeds(str(path), None, [tensor], "0-1")]


def test_no_image_starts_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL.Image")
    tools, called = tmp_path / "bin", tmp_path / "called"
    tools.mkdir()
    (tools / "gs").write_text(f"#!/bin/sh\necho 10.0\necho $1 >> {called}\n")
    (tools / "gs").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    if sys.platform == "win32":
        pytest.skip("a shell script is no program there")
    for name in ("a.png", "a.jpg", "a.bmp", "a.webp", "a.gif", "a.ppm"):
        (tmp_path / name).write_bytes(POSTSCRIPT)
        with pytest.raises(UsageError, match="is not an image that can be read; expected BMP, GIF"):
            images(tmp_path / name)
    assert not called.exists()


def test_an_image_is_taken_whatever_listed_format_it_has(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name, kind in (("a.png", "JPEG"), ("b.jpg", "PNG"), ("c.webp", "WEBP"), ("d.ppm", "PPM")):
        image.new("RGB", (20, 10)).save(tmp_path / name, kind)
        assert images(tmp_path / name) == [(1, 3, 8, 8)]
    image.new("RGB", (20, 10)).save(tmp_path / "e.png", "TIFF")
    with pytest.raises(UsageError, match="is not an image that can be read"):
        images(tmp_path / "e.png")


def test_an_image_for_whole_numbers_is_not_made_zeros(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (20, 10), (200, 100, 0)).save(tmp_path / "a.png")
    tensor = Tensor("x", "uint8", (1, 3, 8, 8))
    with pytest.raises(UsageError, match="the input `x` is uint8; a preprocessing makes fractions"):
        list(input_files.feeds(str(tmp_path / "a.png"), None, [tensor], "0-1"))


@pytest.mark.parametrize(
    ("values", "dtype", "said"),
    [
        (np.full((2, 3), 1j), "float32", "holds complex numbers; the model takes float32"),
        (np.full((2, 3), 0.5), "int64", "holds float64 with other values than int64 has"),
        (np.full((2, 3), 300), "uint8", "holds int64 with other values than uint8 has"),
        (np.full((2, 3), 1e6), "float16", r"holds 1e\+06, which float16 does not reach"),
        (np.full((2, 3), 1e300), "bfloat16", r"holds 1e\+300, which bfloat16 does not reach"),
        (np.full((2, 3), 100_000), "float16", "holds 100000, which float16 does not reach"),
    ],
)
def test_inputs_that_a_cast_would_change_are_refused(
    tmp_path: Path, values: np.ndarray, dtype: str, said: str
) -> None:
    np.save(tmp_path / "x.npy", values)
    tensor = Tensor("x", dtype, ("n", 3))
    with pytest.raises(UsageError, match=said):
        list(input_files.feeds(str(tmp_path / "x.npy"), None, [tensor], None))


def test_whole_numbers_in_floats_are_whole_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    (feed,) = input_files.feeds(
        str(tmp_path / "x.npy"), None, [Tensor("x", "int64", ("n", 3))], None
    )
    assert feed["x"].dtype == np.int64


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([["1", "2"]]), "float32"),
        (np.array([[np.inf, 65504.0]]), "float16"),
        (np.array([[1, 2]]), "int4"),
        (np.array([[1.0, 2.0]]), "bfloat16"),
    ],
)
def test_numbers_that_a_type_reaches_are_cast(
    tmp_path: Path, values: np.ndarray, dtype: str
) -> None:
    np.save(tmp_path / "x.npy", values)
    (feed,) = input_files.feeds(str(tmp_path / "x.npy"), None, [Tensor("x", dtype, ("n", 2))], None)
    assert feed["x"].astype("float64").tolist() == values.astype("float64").tolist()


def test_an_image_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for width in (9_500, 20_000):  # above Pillow's bound: a warning; above twice that: an error
        (tmp_path / "a.ppm").write_bytes(f"P6\n{width} 10000\n255\n".encode())
        with pytest.raises(UsageError, match=f"has more than {image.MAX_IMAGE_PIXELS} pixels"):
            images(tmp_path / "a.ppm")
