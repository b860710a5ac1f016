"""Check a model with our own reader, before onnx and onnxruntime open it.

They trust what they read: `onnx.load` accepts an empty file, `onnx.checker` functions that expand
without bound, and onnxruntime folds constants into any size while it opens a model. A healthy model
passes in time and memory that depend on its graph, whatever its weights take.

Source: onnx.proto; ONNX IR specification.
"""

from collections.abc import Collection
from itertools import islice
from pathlib import Path
from shlex import quote

from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.core.files import reading
from onnxzoo.registry.core.text import cut, show_size
from onnxzoo.registry.onnx_file.cost import Body, Op, shown, total
from onnxzoo.registry.onnx_file.external_data import Neighbours, Where, check_location
from onnxzoo.registry.onnx_file.folding import Scope
from onnxzoo.registry.onnx_file.folding_rules import FEW, MAKERS, TAKE_ALL, Constant, FoldableOp
from onnxzoo.registry.onnx_file.schema import Walk, signed
from onnxzoo.registry.onnx_file.tensors import read, read_sparse
from onnxzoo.registry.onnx_file.wire import Field, Reader

NODES = 1_000_000  # in all graphs, functions expanded; large language models have some 10,000
# What folding may make of constants. The onnx wheel's light models hold only the shapes of their
# weights, and become what they stand for: vgg19 575 MB. A larger model may fold as much again.
FOLDED = 800_000_000  # bytes
_OPSET = 1000  # of a domain of ONNX's or onnxruntime's: the highest is 26, and grows by two a year
_IR_VERSION = 1000
_SUB_GRAPH = "a sub-graph"
_MOST = (1 << 31) - 1  # any other domain's version
# What execution providers compile a graph into, in the node or in a file that it names.
_COMPILED = ("com.microsoft", "EPContext")
# The domains that onnxruntime knows, or that what comes with it fills.
# Source: onnxruntime, core/graph/constants.h; onnxruntime-extensions.
DOMAINS = frozenset({
    "", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training",
    "ai.onnx.contrib", "com.microsoft", "com.microsoft.dml", "com.microsoft.experimental",
    "com.microsoft.extensions", "com.microsoft.nchwc", "com.ms.internal.nhwc", "org.pytorch.aten",
})  # fmt: skip


def check_safe(path: Path, *, domains: Collection[str] = (), beside: bool = True) -> None:
    """Raise unless a model is sound, and safe to be opened.

    Args:
        path: a `.onnx` file.
        domains: whose ops are allowed, beyond those of ONNX and onnxruntime.
        beside: look at its external data too; it has to be there then.

    Raises:
        Refused: if it names what is not its own, wants ops of a foreign domain, or would take more
            than it may.
        InvalidModel: if it is damaged, or not what its own words say.
        StorageError: if it cannot be read.
    """
    with reading(path), path.open("rb", buffering=0) as file:
        reader = Reader(file, path.name)
        walk = Walk(reader, path.name)
        _Guard(walk, Neighbours(path) if beside else None).model(reader.size, domains)


class _Guard:
    """A walk through a model, with its counters."""

    def __init__(self, walk: Walk, beside: Neighbours | None) -> None:
        self._walk, self._beside = walk, beside
        self._functions: dict[Op, Body] = {}
        self._examples: dict[Op, str] = {}  # a node's name, by what it calls
        self._nodes = 0

    def model(self, size: int, domains: Collection[str]) -> None:
        main, graphs = Body(), 0
        for spec, found, _ in self._walk.fields("Model", Field(0, None, 0, size), 0):
            match spec.kind:
                case "Graph":
                    graphs += 1
                    self._graph(found, 1, Where("the graph"), main, None)
                case "Opset":
                    self._opset(found, 1)
                case "Training":
                    self._training(found, 1, main)
                case "Function":
                    self._function(found, 1)
                case "Entry" | "Device":
                    self._walk.skim(spec.kind, found, 1)
                case _ if spec.name == "ir_version" and not 0 < (found.value or 0) <= _IR_VERSION:
                    raise self._walk.invalid(f"its IR version is {found.value}")
        if not graphs:
            raise self._walk.invalid("it has no graph")
        self._check_domains(main, domains)
        self._check_cost(main, size)

    def _graph(
        self, within: Field, depth: int, where: Where, body: Body, outer: Scope | None
    ) -> None:
        scope = Scope(outer)
        body.scopes.append(scope)
        for spec, found, _ in self._walk.fields("Graph", within, depth):
            match spec.kind:
                case "Node":
                    self._node(found, depth + 1, where, body, scope)
                case "Tensor":
                    name, known = read(self._walk, found, depth + 1, where, self._beside)
                    scope.known[name] = known
                case "Sparse":
                    name, known = self._sparse(found, depth + 1, where, body)
                    scope.known[name] = known
                case "Value" | "Annotation" | "Entry":
                    self._walk.skim(spec.kind, found, depth + 1)

    def _node(self, within: Field, depth: int, where: Where, body: Body, scope: Scope) -> None:
        self._nodes += 1
        if self._nodes > NODES:
            raise self._walk.invalid(f"it has more than {NODES:,} nodes")
        inputs: list[str] = []
        outputs: list[str] = []
        attributes: list[Field] = []
        words = {"name": "", "op_type": "", "domain": "", "overload": ""}
        constants: dict[str, Constant] = {}
        for spec, found, text in self._walk.fields("Node", within, depth):
            match spec.name:
                case "input":
                    inputs.append(text)
                case "output":
                    outputs.append(text)
                case "attribute":
                    node = Where("the node", words["name"] or words["op_type"], "in", where)
                    constants |= self._attribute(found, depth + 1, node, body, scope)
                    attributes.append(found)
                case name if name in words:
                    words[name] = text
                case _ if spec.kind in {"Entry", "NodeDevice"}:
                    self._walk.skim(spec.kind, found, depth + 1)
        domain = _plain(words["domain"])
        op = (domain, words["op_type"], words["overload"])
        body.calls[op] += 1
        self._examples.setdefault(op, words["name"])
        if op[:2] == _COMPILED:
            node = Where("the node", words["name"] or words["op_type"], "in", where)
            self._compiled(attributes, depth + 1, Where("the compiled graph", around=node))
        if not domain and outputs:
            self._remember(words["op_type"], inputs, outputs[0], constants, scope)

    @staticmethod
    def _remember(
        op: str, inputs: list[str], output: str, constants: dict[str, Constant], scope: Scope
    ) -> None:
        if op == "Constant" and constants:
            scope.known[output] = constants.popitem()[1]
        elif op in MAKERS:
            taken = inputs if op in TAKE_ALL else inputs[:4]
            scope.makers.append(FoldableOp(op, taken, output, constants))

    def _attribute(
        self, within: Field, depth: int, where: Where, body: Body, scope: Scope
    ) -> dict[str, Constant]:
        """Return the constant that an attribute holds, by its name, if it can be a tensor."""
        name, known = "", None
        ints: list[int] = []
        for spec, found, text in self._walk.fields("Attribute", within, depth):
            match spec.kind:
                case "Tensor":
                    _, known = read(self._walk, found, depth + 1, where, self._beside)
                case "Sparse":
                    _, known = self._sparse(found, depth + 1, where, body)
                case "Graph":
                    self._graph(found, depth + 1, _within(where), body, scope)
                case "Type":
                    self._walk.skim(spec.kind, found, depth + 1)
                case "bytes":
                    self._walk.string()
                case _ if spec.name == "name":
                    name = text
                case "int" if spec.name != "type" and len(ints) <= FEW:
                    ints += islice(map(signed, self._walk.reader.varints(found)), FEW + 1)
        if known is None and 0 < len(ints) <= FEW:
            known = Constant(len(ints), 64, tuple(ints), (len(ints),))
        return {} if known is None else {name: known}

    def _compiled(self, attributes: list[Field], depth: int, who: Where) -> None:
        """Hold the file in which a compiled graph may lie to the rules of external data.

        Source: onnxruntime's documentation, "EP Context Design", "EPContext Op Schema".
        """
        embedded, places = True, list[Field]()
        for within in attributes:
            found = {
                spec.name: (field, text)
                for spec, field, text in self._walk.fields("Attribute", within, depth)
            }
            name = found["name"][1] if "name" in found else ""
            if name == "embed_mode":
                embedded = embedded and "i" in found and found["i"][0].value != 0
            elif name == "ep_cache_context" and "s" in found:
                places.append(found["s"][0])
            if name in {"embed_mode", "ep_cache_context"} and "ref_attr_name" in found:
                raise Refused(f"{who} lies where a function's caller says")
        for place in places if not embedded else ():
            if place.start == place.end:  # it shares the context of another node
                continue
            location = check_location(self._walk.short(place), who)
            if self._beside:
                self._beside.size_of(location, who)

    def _sparse(self, within: Field, depth: int, where: Where, body: Body) -> tuple[str, Constant]:
        name, known = read_sparse(self._walk, within, depth, where, self._beside)
        body.dense += known.bytes
        return name, known

    def _training(self, within: Field, depth: int, main: Body) -> None:
        for spec, found, _ in self._walk.fields("Training", within, depth):
            if spec.kind == "Graph":
                self._graph(found, depth + 1, Where("the training information"), main, None)
            else:
                self._walk.skim(spec.kind, found, depth + 1)

    def _function(self, within: Field, depth: int) -> None:
        body, scope = Body(), Scope()
        body.scopes.append(scope)
        words = {"name": "", "domain": "", "overload": ""}
        for spec, found, text in self._walk.fields("Function", within, depth):
            match spec.kind:
                case "Node":
                    where = Where("the function", words["name"] or "?")
                    self._node(found, depth + 1, where, body, scope)
                case "Attribute":
                    self._attribute(found, depth + 1, Where("a function's defaults"), body, scope)
                case "Opset":
                    self._opset(found, depth + 1)
                case "Value" | "Entry":
                    self._walk.skim(spec.kind, found, depth + 1)
                case _ if spec.name in words:
                    words[spec.name] = text
        op = (_plain(words["domain"]), words["name"], words["overload"])
        if op in self._functions:
            raise self._walk.invalid(f"it defines the function `{shown(op)}` twice")
        self._functions[op] = body

    def _opset(self, within: Field, depth: int) -> None:
        domain, version = "", 0
        for spec, found, text in self._walk.fields("Opset", within, depth):
            if spec.name == "domain":
                domain = text
            else:
                version = signed(found.value or 0)
        if not 0 <= version <= (_OPSET if domain in DOMAINS else _MOST):
            raise self._walk.invalid(f"it wants opset {version} of {cut(domain) or 'ai.onnx'}")

    def _check_domains(self, main: Body, domains: Collection[str]) -> None:
        """Refuse ops that only a library of custom ops has, unless their domain is allowed."""
        allowed = DOMAINS | set(domains)
        defined = {op[:2] for op in self._functions}
        for body in (main, *self._functions.values()):
            for op in body.calls:
                if op[0] not in allowed and op[:2] not in defined:
                    raise self._foreign(op)

    def _foreign(self, op: Op) -> Refused:
        node, domain = self._examples[op], quote(cut(op[0]))
        return Refused(
            f"`{self._walk.name}` wants an op of the domain `{cut(op[0])}`, `{cut(op[1])}`"
            + (f" (the node `{cut(node)}`)" if node else "")
            + ": nothing here defines it, only a library of custom ops can",
            hint=f"if you mean to run it with one: export ZOO_ALLOW_DOMAINS={domain}; "
            f"for this model alone: zoo register FILE --allow-domain {domain} "
            "(zoo pull and zoo import take it too)",
        )

    def _check_cost(self, main: Body, size: int) -> None:
        cost = total(main, self._functions)
        most = max(FOLDED, size + (self._beside.size if self._beside else 0))
        if cost.nodes > NODES:
            raise self._walk.invalid(f"its functions expand to more than {NODES:,} nodes")
        if cost.bytes > most:
            raise Refused(
                f"the constants of `{self._walk.name}` become {show_size(cost.bytes)} when it is "
                f"opened; at most {show_size(most)} are expected of a file of {show_size(size)}"
            )
        if cost.largest > most:
            raise Refused(
                f"a node of `{self._walk.name}` makes {show_size(cost.largest)} whenever it runs; "
                f"at most {show_size(most)} are expected of a file of {show_size(size)}"
            )


def _within(node: Where) -> Where:
    """Return the sub-graph that a node holds; one in another is that of the outermost node."""
    if node.around and node.around.kind == _SUB_GRAPH:
        return node.around
    return Where(_SUB_GRAPH, around=node)


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
