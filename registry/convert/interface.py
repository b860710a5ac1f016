"""Define a converter: its description, its job, its result.

Third parties offer a `Converter` under the entry-point group ``onnxzoo.converters``. This module
is imported in the child too, which may lack everything but the framework and the standard library.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from onnxzoo.registry.core.errors import UsageError

MODEL = "model.onnx"  # in the job's folder
BATCH = 2  # examples in the first sample, where that is open: exporters may fix an axis of 1
OTHER_BATCH = 5  # in the second


@dataclass(frozen=True, slots=True)
class Converter:
    """A converter of one framework's models to ONNX.

    Attributes:
        name: what ``--from`` says.
        module: what the child imports; its ``convert(job)`` returns `Made`.
        needs: the packages that it imports, by their import names; nothing of them is imported
            in the parent.
        extra: what ``pip install 'onnxzoo[…]'`` calls them; None where there is no such extra.
        requirements: a file of them, pinned by hash, for an environment of its own; None where it
            has none.
        recognises: tells whether a file or folder is its format, without loading it; None where
            `onnxzoo.registry.convert.detect.formats` knows.
        options: what ``--option`` may name; None for anything.
        check: refuses, in the parent, what the framework would not take; called with the job before
            an environment is made or a child started.
        python: the newest Python that the requirements are for; None for any.
        runs_code: whether loading what `recognises` finds can run code from the file.
        rtol: relative tolerance of an output's element.
        atol: absolute tolerance.
        outside: the share of elements that may lie beyond: a tree's threshold that one rounding
            flips moves a whole row.
        memory: bytes of address space that the framework itself takes.
        environment: variables that the framework reads.
    """

    name: str
    module: str
    needs: tuple[str, ...]
    extra: str | None = None
    requirements: Path | None = None
    recognises: Callable[[Path], bool] | None = None
    check: "Callable[[Job], None] | None" = None
    options: tuple[str, ...] | None = None
    python: tuple[int, int] | None = None
    runs_code: bool = False
    rtol: float = 1e-3
    atol: float = 1e-4
    outside: float = 0.0
    memory: int = 6 << 30
    environment: Mapping[str, str] = field(default_factory=dict)


def pinned(name: str) -> Path:
    """Return the file of requirements that the project keeps for a framework."""
    return Path(__file__).with_name("requirements") / f"{name}.txt"


class Input(NamedTuple):
    """An input as the user names it: a dtype (None: float32) and a shape (None: unknown).

    A str in a shape is an open axis of that name.
    """

    name: str
    dtype: str | None = None
    shape: tuple[int | str, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> "Input":
        """Return the input that ``NAME[=[DTYPE]SHAPE]`` stands for.

        Raises:
            UsageError: if it stands for none.

        >>> Input.parse("x=batch,3,224,224")
        Input(name='x', dtype=None, shape=('batch', 3, 224, 224))
        >>> Input.parse("ids=int64[1,16]")
        Input(name='ids', dtype='int64', shape=(1, 16))
        >>> Input.parse("input:0")
        Input(name='input:0', dtype=None, shape=None)
        """
        name, sign, said = text.partition("=")
        found = _SHAPE.fullmatch(said.replace(" ", ""))
        if not name or "," in name or (sign and not found):
            raise UsageError(
                f"`{text}` is no input",
                hint="for example: --input x=batch,3,224,224 or --input ids=int64[batch,16] "
                '(in code: inputs=["x=batch,3,224,224"])',
            )
        if not sign or found is None:
            return cls(name)
        axes = (found["list"] if found["plain"] is None else found["plain"]) or ""
        shape = tuple(int(axis) if axis.isdecimal() else axis for axis in axes.split(",") if axis)
        return cls(name, found["dtype"], shape)


_AXES = r"(?:\w+(?:,\w+)*)?"
_SHAPE = re.compile(rf"(?P<dtype>[a-z]+\d*)\[(?P<list>{_AXES})\]|(?P<plain>{_AXES})")


@dataclass(frozen=True, slots=True)
class Job:
    """One conversion.

    Attributes:
        converter: its name.
        module: its module.
        format: of the source, as `formats` calls it; ``object`` for a value in code.
        source: the file or folder; None for a value in code or a factory's.
        folder: an empty one for the model and all that belongs to it.
        factory: ``module:function`` that makes the model.
        path: where the factory's module is found.
        inputs: what the user says of the inputs.
        outputs: names of the outputs.
        dynamic: open axes: their names by the number of the axis of every input.
        axes: open axes by input or output, as ``torch.onnx.export`` has them.
        opset: the wanted one; None for the exporter's choice.
        options: the converter's own, such as ``exporter``.
        trust: load what can run code.
        seed: of the inputs that are made up.
        example: an ``.npz`` of inputs by name, or an ``.npy`` of the only one.
        value: the model itself, in code.
        given: example inputs, in code.
    """

    converter: str
    module: str
    format: str
    source: Path | None
    folder: Path
    factory: str | None = None
    path: str | None = None
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ()
    dynamic: Mapping[int, str] = field(default_factory=dict)
    axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    opset: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    trust: bool = False
    seed: int = 0
    example: Path | None = None
    value: Any = None
    given: Sequence[Any] | None = None

    @property
    def model(self) -> Path:
        """The `.onnx` file to write."""
        return self.folder / MODEL

    def as_json(self) -> dict[str, Any]:
        """Return the request for the child process."""
        names = set(self.__slots__) - {"value", "given"}
        values = {name: getattr(self, name) for name in names}
        for name in ("source", "folder", "example"):
            values[name] = values[name] and str(values[name])
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Job":
        """Return the job that `as_json` sent."""
        read = {name: values[name] for name in values if name in cls.__slots__}
        for name in ("source", "folder", "example"):
            read[name] = read[name] and Path(read[name])
        read["inputs"] = tuple(
            Input(name, dtype, None if shape is None else tuple(shape))
            for name, dtype, shape in read["inputs"]
        )
        read["outputs"] = tuple(read["outputs"])
        read["dynamic"] = {int(axis): name for axis, name in read["dynamic"].items()}
        read["axes"] = {
            name: {int(axis): word for axis, word in axes.items()}
            for name, axes in read["axes"].items()
        }
        return cls(**read)


class Sample(NamedTuple):
    """Inputs by their names in the ONNX model, and the framework's own outputs, in order.

    An output is None where the framework has nothing to hold against it.
    """

    inputs: Mapping[str, Any]
    outputs: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Made:
    """The result of a converter; the model lies in the job's folder.

    Attributes:
        samples: what the framework itself computes, before or beside the conversion.
        notes: warnings to the user, a line each.
        found: information on the source, a line each; kept in the lineage.
        reference: what computed the samples, where the framework could not.
        within: absolute tolerances of outputs that quantization rounds, by their places.
    """

    samples: Sequence[Sample]
    notes: tuple[str, ...] = ()
    reference: str | None = None
    within: Mapping[int, float] = field(default_factory=dict)
    found: tuple[str, ...] = ()
