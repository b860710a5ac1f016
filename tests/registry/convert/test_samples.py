"""The file in which a converting child, which runs code of others, writes what is to be proven."""

from pathlib import Path

import numpy as np
import pytest

from onnxzoo.registry.convert.interface import Sample
from onnxzoo.registry.convert.samples import read, save
from onnxzoo.registry.core.errors import Refused, UsageError


def test_samples_are_read_as_they_were_written(tmp_path: Path) -> None:
    x, y = np.ones((1, 2), np.float32), np.arange(3)
    save([Sample({"a/in/b": x}, [None, y]), Sample({"a/in/b": x + 1}, [])], tmp_path)
    first, second = read(tmp_path)
    assert np.array_equal(first.inputs["a/in/b"], x)
    assert first.outputs[0] is None
    assert np.array_equal(first.outputs[1], y)
    assert (np.array_equal(second.inputs["a/in/b"], x + 1), list(second.outputs)) == (True, [])


@pytest.mark.parametrize(
    "name",
    [
        "x", "abc/in/x", "0/out/y", "0/out/-1", "-5/in/x", "7/in/x", "00/in/x", "\u0661/in/x",
        "99999999999/in/x", "0/out/99999999999",
    ],
)  # fmt: skip
def test_names_of_arrays_that_are_no_samples_are_refused(tmp_path: Path, name: str) -> None:
    """Counted up to, the large ones would take all memory or all time."""
    np.savez(tmp_path / "samples.npz", **{name: np.zeros(2)})  # type: ignore[arg-type]
    with pytest.raises(Refused, match="what the converter wrote"):
        list(read(tmp_path))


def test_what_is_no_plain_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", **{"0/in/x": np.array([{}], dtype=object)})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Python objects"):
        list(read(tmp_path))
