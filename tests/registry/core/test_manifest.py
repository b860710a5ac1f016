"""Manifests and the paths that they accept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxzoo.registry.core.errors import Refused, UsageError
from onnxzoo.registry.core.manifest import File, Manifest, check_path

A = File("a.onnx", "a" * 64, 1)
B = File("b/w.bin", "b" * 64, 2)


def test_the_digest_is_what_it_always_was() -> None:
    digest = "sha256:1d809abe6a375ac1dab167e8528b2c50a0383e358e00262f01f5c3a630a5d7d1"
    assert Manifest.of([A, B]).digest == Manifest.of([B, A]).digest == digest


def test_every_fact_of_a_file_is_in_the_digest() -> None:
    others = [File("c.onnx", "a" * 64, 1), File("a.onnx", "c" * 64, 1), File("a.onnx", "a" * 64, 2)]
    assert len({Manifest.of([f]).digest for f in (A, *others)}) == 4


@pytest.mark.parametrize(
    "path",
    ["../a", "/a", "a/../b", "./a", "a//b", "a\\b", "C:a", "a\0b", "con", "a/NUL.bin", "a.", "a ",
     "", "~/a", "a\nb", "lpt1.onnx", "a" * 256, "é" * 128, "/".join(["a"] * 513)],
)  # fmt: skip
def test_a_path_that_could_leave_the_bundle_is_refused(path: str) -> None:
    with pytest.raises(Refused):
        check_path(path)


@given(st.lists(st.from_regex(r"[a-z0-9_-]{1,8}x", fullmatch=True), min_size=1, max_size=4))
def test_plain_paths_pass(parts: list[str]) -> None:
    assert check_path("/".join(parts)) == "/".join(parts)


def test_two_files_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(Refused, match="upper and lower case"):
        Manifest.of([A, File("A.onnx", "a" * 64, 1)])


@pytest.mark.parametrize("path", ["a.onnx/w.bin", "A.ONNX/d/w.bin"])
def test_a_file_that_is_the_folder_of_another_is_refused(path: str) -> None:
    with pytest.raises(Refused, match=r"`a\.onnx` is a file of the bundle, and the folder"):
        Manifest.of([A, File(path, "a" * 64, 1)])


@pytest.mark.parametrize("files", [[], [A, A]])
def test_a_manifest_has_a_file_and_none_twice(files: list[File]) -> None:
    with pytest.raises(UsageError):
        Manifest.of(files)
