"""Inputs and outputs of two graphs compared: whether calls that suit one suit the other."""

from collections.abc import Iterator, Sequence

from onnxzoo.registry.core.records import Graph, Tensor


def differences(old: Graph, new: Graph) -> tuple[str, ...]:
    """Return why calls that suit a graph do not suit another, a line each; none if they do.

    Names, dtypes, ranks and fixed axes count. An input's axis may open, and an output's axis may
    open or become fixed; the order of outputs counts, as positions do where all are asked for.
    """
    found = [
        *_unlike("input", old.inputs, new.inputs),
        *_unlike("output", old.outputs, new.outputs),
    ]
    names = [tensor.name for tensor in old.outputs]
    others = [tensor.name for tensor in new.outputs]
    if not found and names != others:
        found.append(f"the outputs are in the order {_listed(others)} instead of {_listed(names)}")
    return tuple(found)


def _unlike(kind: str, old: Sequence[Tensor], new: Sequence[Tensor]) -> Iterator[str]:
    before, after = {t.name: t for t in old}, {t.name: t for t in new}
    yield from (f"{kind} `{name}` is gone" for name in before if name not in after)
    yield from (f"{kind} `{name}` is new" for name in after if name not in before)
    for name in (name for name in before if name in after):
        was, now = before[name], after[name]
        if was.dtype != now.dtype or not _fits(was, now, narrowing=kind == "output"):
            yield f"{kind} `{name}` is {_shown(now)} instead of {_shown(was)}"


def _fits(was: Tensor, now: Tensor, *, narrowing: bool) -> bool:
    if was.shape is None or now.shape is None:
        return True
    return len(was.shape) == len(now.shape) and all(
        not isinstance(b, int) or a == b or (narrowing and not isinstance(a, int))
        for a, b in zip(was.shape, now.shape, strict=True)
    )


def _shown(tensor: Tensor) -> str:
    if tensor.shape is None:
        return tensor.dtype
    axes = ["?" if axis is None else str(axis) for axis in tensor.shape]
    return f"{tensor.dtype} [{', '.join(axes)}]"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
