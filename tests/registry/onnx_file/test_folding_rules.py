"""What is said of an op's output is what comes of it, in onnx's own examples."""

from math import prod

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.node import collect_testcases

from onnxzoo.registry.onnx_file.folding import Scope
from onnxzoo.registry.onnx_file.folding_rules import FEW, MAKERS, Constant, FoldableOp


def _constant(value: object) -> Constant:
    array = np.asarray(value)
    few = array.size <= FEW and array.dtype.kind in "iuf"
    values = tuple(array.ravel().tolist()) if few else None
    return Constant(array.size, array.itemsize * 8, values, array.shape)


def _attributes(node: onnx.NodeProto) -> dict[str, Constant]:
    """Return those that are whole numbers, as the guard does."""
    held = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    return {
        name: _constant(np.atleast_1d(value))
        for name, value in held.items()
        if np.asarray(value).dtype.kind == "i"
    }


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, while onnx makes the examples
def test_what_is_counted_is_what_comes_out() -> None:
    counted = 0
    for case in collect_testcases(None):
        if case.model is None or not case.data_sets or "_nearest_not_" in case.name:
            continue  # `not_larger` and `not_smaller` make other sizes than they are told
        node, *more = case.model.graph.node
        if more or node.op_type not in MAKERS:
            continue
        inputs, outputs = case.data_sets[0]
        names = [value.name for value in case.model.graph.input]
        scope = Scope(known=dict(zip(names, map(_constant, inputs), strict=True)))
        scope.makers = [FoldableOp(node.op_type, node.input, node.output[0], _attributes(node))]
        scope.fold()
        found = scope.known.get(node.output[0])
        if found is not None and isinstance(outputs[0], np.ndarray):
            assert found.dims in {None, outputs[0].shape}, case.name
            assert found.elements == prod(outputs[0].shape), case.name
            counted += 1
    assert counted > 250
