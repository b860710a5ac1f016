"""Estimate the size of a graph's constants after folding.

onnxruntime evaluates what is constant while it opens a model, so that 75 bytes can cost a gigabyte
there. Only what is certain is counted: outputs of the ops in `MAKERS`, whose sizes constants say.
What other ops make, such as products of matrices and `Gather`, and what then becomes of it, is left
to the first look's bounds on memory.
"""

from dataclasses import dataclass, field

from onnxzoo.registry.onnx_file.folding_rules import FEW, GROW, MAKERS, RANDOM, Constant, FoldableOp


@dataclass(slots=True)
class Scope:
    """The constants and makers of a graph; a sub-graph sees those of the outer one."""

    outer: "Scope | None" = None
    known: dict[str, Constant] = field(default_factory=dict)
    makers: list[FoldableOp] = field(default_factory=list)

    def find(self, name: str) -> Constant | None:
        """Return a constant by name, from here outwards."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.known:
                return scope.known[name]
            scope = scope.outer
        return None

    def fold(self) -> tuple[int, int]:
        """Return the bytes that folding makes here, and those of the largest output of a run.

        Nodes may stand in any order, since onnxruntime sorts them. Scopes around this one must
        have been folded before.
        """
        total = largest = 0
        waiting: dict[str, list[tuple[FoldableOp, int]]] = {}
        ready = [(maker, 0) for maker in reversed(self.makers)]
        while ready:
            maker, first = ready.pop()
            missing = self._missing(maker, first)
            made, inputs = None, list[Constant | None]()
            if missing is None or len(maker.inputs) < FEW:
                inputs = [self.find(name) for name in maker.inputs]
                made = MAKERS[maker.op](maker, inputs)
            largest = max(largest, made.bytes if made else 0)
            if missing is not None:
                waiting.setdefault(maker.inputs[missing], []).append((maker, missing))
            elif made is not None and maker.output not in self.known and maker.op not in RANDOM:
                self.known[maker.output] = made
                total += made.bytes
                if maker.op in GROW:  # a chain of them is freed as it goes, unless it grows
                    total -= min(made.bytes, max(one.bytes for one in inputs if one is not None))
                ready.extend(waiting.pop(maker.output, ()))
        return total, largest

    def _missing(self, maker: FoldableOp, first: int) -> int | None:
        """Return the place of the first input, from one on, that is there and not known."""
        for at in range(first, len(maker.inputs)):
            if maker.inputs[at] and self.find(maker.inputs[at]) is None:
                return at
        return None
