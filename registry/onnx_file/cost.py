"""Estimate node count and memory after function inlining and constant folding.

Found by counting each function once and multiplying, never by expanding.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxzoo.registry.core.errors import InvalidModel
from onnxzoo.registry.core.text import cut
from onnxzoo.registry.onnx_file.folding import Scope

Op = tuple[str, str, str]  # domain, name, overload
_DEEPEST = 100  # calls within calls; an exporter nests a module's classes, some ten of them


@dataclass(slots=True)
class Body:
    """The nodes of the main graph or of a function, with all sub-graphs.

    Attributes:
        calls: its nodes, by what they call.
        scopes: its graphs' constants, outer ones first.
        dense: bytes that what is sparse in the file takes in memory.
    """

    calls: Counter[Op] = field(default_factory=Counter)
    scopes: list[Scope] = field(default_factory=list)
    dense: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a body.

    Attributes:
        nodes: with every function in its place.
        bytes: that its constants become.
        largest: bytes of the largest output that one node surely makes when it runs.
        height: calls within calls.
    """

    nodes: int = 0
    bytes: int = 0
    largest: int = 0
    height: int = 0


def total(main: Body, functions: Mapping[Op, Body]) -> Cost:
    """Return the cost of the main graph.

    Raises:
        InvalidModel: if a function calls itself, or functions call each other too deep.
    """
    return _cost(main, functions, {}, [])


def shown(op: Op) -> str:
    """Return an op as people write it.

    >>> shown(("acme", "Twice", "")), shown(("", "Add", ""))
    ('acme.Twice', 'Add')
    """
    return ".".join(cut(word) for word in op[:2] if word)


def _cost(body: Body, functions: Mapping[Op, Body], known: dict[Op, Cost], above: list[Op]) -> Cost:
    nodes, made, largest, height = 0, body.dense, 0, 0
    for scope in body.scopes:
        folded, running = scope.fold()
        made, largest = made + folded, max(largest, running)
    for op, times in body.calls.items():
        cost = _called(op, functions, known, above)
        nodes += times * max(cost.nodes, 1)
        made += times * cost.bytes
        largest, height = max(largest, cost.largest), max(height, cost.height)
    return Cost(nodes, made, largest, height + 1)


def _called(op: Op, functions: Mapping[Op, Body], known: dict[Op, Cost], above: list[Op]) -> Cost:
    if op not in functions:
        return Cost()
    if op in above:
        raise InvalidModel(f"the function `{shown(op)}` calls itself")
    if op not in known:
        _check_depth(len(above), op)
        above.append(op)
        known[op] = _cost(functions[op], functions, known, above)
        above.pop()
    _check_depth(len(above) + known[op].height, op)
    return known[op]


def _check_depth(depth: int, op: Op) -> None:
    if depth > _DEEPEST:
        raise InvalidModel(f"the function `{shown(op)}` is called more than {_DEEPEST} calls deep")
