"""Find the inputs and outputs of a TensorFlow graph: its tensors, and their ONNX names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from onnxzoo.registry.convert.frameworks._names import axis_name, outputs_named
from onnxzoo.registry.convert.interface import Input, Job, Sample
from onnxzoo.registry.core.errors import NotFound, UsageError


class Port(NamedTuple):
    """An input or output.

    Attributes:
        tensor: its name in the graph: ``serving_default_x:0``.
        name: in the ONNX model.
        dtype: as numpy calls it, or ``string``.
        shape: a str is an open axis of that name; None: not even the rank is known.
    """

    tensor: str
    name: str
    dtype: str
    shape: tuple[int | str, ...] | None

    @property
    def input(self) -> Input:
        """The input that it is to who draws values for it."""
        return Input(self.name, self.dtype, self.shape)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, as tf2onnx takes it.

    Attributes:
        inputs: in the order of the ONNX model.
        outputs: likewise.
        samples: what the framework computes.
        graph: a frozen GraphDef; None for TFLite, which is read from its file.
        tables: look-up tables by name.
        notes: what the user should hear.
        within: see `Made`.
    """

    inputs: Sequence[Port]
    outputs: Sequence[Port]
    samples: Sequence[Sample]
    graph: Any = None
    tables: Mapping[bytes, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    within: Mapping[int, float] = field(default_factory=dict)


def port_of(tensor: Any, name: str) -> Port:
    """Return the port that a symbolic tensor is; the first open axis is the batch."""
    axes = None if tensor.shape.rank is None else tensor.shape.as_list()
    return Port(tensor.name, name, tensor.dtype.name, axes and _open(axes, name))


def _open(axes: Sequence[int | None], name: str) -> tuple[int | str, ...]:
    return tuple(
        size if size is not None else axis_name(name, axis) for axis, size in enumerate(axes)
    )


def shaped(ports: Sequence[Port], job: Job) -> list[Port]:
    """Return inputs with the shapes and open axes that the user gives them.

    Raises:
        NotFound: if the user names an input that is not there.
        UsageError: if a shape is of another rank.
    """
    said = {one.name.removesuffix(":0"): one for one in job.inputs}
    _check_there(said, [port.name for port in ports], "input")
    return [_shaped(port, said.get(port.name, Input(port.name)), job) for port in ports]


def _shaped(port: Port, said: Input, job: Job) -> Port:
    shape = port.shape if said.shape is None else said.shape
    if shape is None:
        return port
    if port.shape is not None and len(shape) != len(port.shape):
        raise UsageError(
            f"the input `{port.name}` has {len(port.shape)} axes; {len(shape)} are named",
            hint=f"it is {port.name}={','.join(map(str, port.shape))}",
        )
    words = {**job.dynamic, **job.axes.get(port.name, {})}
    return port._replace(shape=tuple(words.get(axis, size) for axis, size in enumerate(shape)))


def chosen(ports: Sequence[Port], names: Sequence[str]) -> list[Port]:
    """Return the outputs that are named, or all of them.

    Raises:
        NotFound: if there is none of a name.
    """
    by_name = {port.name: port for port in ports}
    wanted = [name.removesuffix(":0") for name in names]
    _check_there(wanted, list(by_name), "output")
    return [by_name[name] for name in wanted] or list(ports)


def _check_there(wanted: Iterable[str], there: Sequence[str], kind: str) -> None:
    for name in wanted:
        if name not in there:
            listed = ", ".join(f"`{one}`" for one in there) or "none"
            raise NotFound(f"the model has no {kind} `{name}`; it has {listed}")


def named(tensors: Sequence[Any], known: Sequence[str], job: Job) -> list[Port]:
    """Return outputs with the user's names, known names, or numbers.

    Raises:
        UsageError: if the user names more or less than there are.
    """
    free = not job.outputs and len(known) == len(tensors)
    names = known if free else outputs_named(job, len(tensors))
    return [port_of(tensor, name) for tensor, name in zip(tensors, names, strict=True)]
