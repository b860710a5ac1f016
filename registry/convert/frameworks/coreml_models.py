"""Compute Core ML's classic models in NumPy, from the weights in the file.

Written from Core ML's format reference, apart from any converter: it is what conversions are held
against where Core ML itself does not run. What is not known here raises `Unknown`.
"""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.convert.frameworks.coreml_layers import Unknown, network, sigmoid, softmax

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Values = dict[str, Array]

__all__ = ["Unknown", "outputs"]
_LEAF = 6  # a TreeNode's behaviour
_SOFTMAX, _LOGISTIC, _SOFTMAX_AND_ZERO = 1, 2, 3  # transforms after trees


def outputs(spec: Any, feed: "Mapping[str, Array]") -> "Values":
    """Return a model's outputs by name, a row an example; a classifier's scores as a matrix.

    Args:
        spec: a ``Model`` of Core ML.
        feed: inputs by name, examples along the first axis.

    Raises:
        Unknown: if it has a part that is not known here.
    """
    import numpy as np

    given = {
        name: value if value.dtype.kind not in "fiu" else value.astype(np.float64)
        for name, value in feed.items()
    }
    found = _outputs(spec, given)
    return {
        name: value.astype(np.float32) if value.dtype.kind == "f" else value
        for name, value in found.items()
    }


def _outputs(spec: Any, given: "Values") -> "Values":
    kind = spec.WhichOneof("Type")
    if kind in {"pipeline", "pipelineClassifier", "pipelineRegressor"}:
        return _pipeline(spec, kind, given)
    if kind not in _KINDS:
        raise Unknown(f"Core ML's `{kind}`")
    return _KINDS[kind](spec, given)


def _pipeline(spec: Any, kind: str, given: "Values") -> "Values":
    body = getattr(spec, kind)
    values = dict(given)
    for model in (body if kind == "pipeline" else body.pipeline).models:
        values |= _outputs(model, values)
    return {one.name: values[one.name] for one in spec.description.output if one.name in values}


def _rows(spec: Any, given: "Values") -> "Array":
    """Return the features of a model as a matrix."""
    import numpy as np

    columns = [given[one.name] for one in spec.description.input]
    return np.concatenate([column.reshape(len(column), -1) for column in columns], axis=1)


def _number(spec: Any, values: "Array") -> "Values":
    name = spec.description.predictedFeatureName or spec.description.output[0].name
    return {name: values.reshape(len(values), -1)}


def _classes(spec: Any, model: Any, scores: "Array") -> "Values":
    """Return labels, and scores in the order of the classes."""
    import numpy as np

    words = model.stringClassLabels.vector or model.int64ClassLabels.vector
    about = spec.description
    found = {about.predictedFeatureName: np.asarray(list(words))[scores.argmax(axis=1)]}
    if about.predictedProbabilitiesName:
        found[about.predictedProbabilitiesName] = scores
    return found


def _linear(model: Any, rows: "Array") -> "Array":
    import numpy as np

    weights = np.asarray([list(one.value) for one in model.weights])
    return np.asarray(rows @ weights.T + np.asarray(list(model.offset) or 0.0))


def _glm_regressor(spec: Any, given: "Values") -> "Values":
    model = spec.glmRegressor
    values = _linear(model, _rows(spec, given))
    return _number(spec, _link(values, model.postEvaluationTransform, none=0))


def _link(values: "Array", transform: int, *, none: int | None) -> "Array":
    if transform == none:
        return values
    if transform != (0 if none is None else 1):
        raise Unknown("a linear model's probit transform")
    return sigmoid(values)


def _glm_classifier(spec: Any, given: "Values") -> "Values":
    import numpy as np

    model = spec.glmClassifier
    values = _linear(model, _rows(spec, given))
    if model.classEncoding == 1:  # one against the rest
        scores = _link(values, model.postEvaluationTransform, none=None)
        return _classes(spec, model, scores / scores.sum(axis=1, keepdims=True))
    if values.shape[1] > 1:
        raise Unknown("a linear model of several classes against one of reference")
    second = _link(values, model.postEvaluationTransform, none=None)
    return _classes(spec, model, np.concatenate([1 - second, second], axis=1))


def _trees(ensemble: Any, rows: "Array") -> "Array":
    """Return the sums of the leaves that each row falls into."""
    import numpy as np

    forest: dict[int, dict[int, Any]] = {}
    for node in ensemble.nodes:
        forest.setdefault(node.treeId, {})[node.nodeId] = node
    sums = np.zeros((len(rows), max(1, ensemble.numPredictionDimensions)))
    sums += np.asarray(list(ensemble.basePredictionValue) or 0.0)
    for tree in forest.values():
        children = {n.trueChildNodeId for n in tree.values()} | {
            n.falseChildNodeId for n in tree.values()
        }
        root = next((n for n in tree if n not in children), 0)
        for place, row in enumerate(rows):
            for leaf in _leaf(tree, root, row).evaluationInfo:
                sums[place, leaf.evaluationIndex] += leaf.evaluationValue
    return sums


def _leaf(tree: Mapping[int, Any], root: int, row: "Array") -> Any:
    import operator

    tests = (operator.le, operator.lt, operator.ge, operator.gt, operator.eq, operator.ne)
    node = tree[root]
    while node.nodeBehavior != _LEAF:
        feature = row[node.branchFeatureIndex]
        passes = (
            node.missingValueTracksTrueChild
            if feature != feature  # noqa: PLR0124  (not a number)
            else tests[node.nodeBehavior](feature, node.branchFeatureValue)
        )
        node = tree[node.trueChildNodeId if passes else node.falseChildNodeId]
    return node


def _after_trees(sums: "Array", transform: int) -> "Array":
    import numpy as np

    if transform == _SOFTMAX:
        return softmax(sums, 1)
    if transform == _LOGISTIC:
        return sigmoid(sums)
    if transform == _SOFTMAX_AND_ZERO:
        zero = np.zeros((len(sums), 1))
        return softmax(np.concatenate([zero, sums], axis=1), 1)
    return sums


def _tree_regressor(spec: Any, given: "Values") -> "Values":
    model = spec.treeEnsembleRegressor
    sums = _trees(model.treeEnsemble, _rows(spec, given))
    return _number(spec, _after_trees(sums, model.postEvaluationTransform))


def _tree_classifier(spec: Any, given: "Values") -> "Values":
    import numpy as np

    model = spec.treeEnsembleClassifier
    sums = _trees(model.treeEnsemble, _rows(spec, given))
    scores = _after_trees(sums, model.postEvaluationTransform)
    if scores.shape[1] == 1:
        scores = np.concatenate([1 - scores, scores], axis=1)
    return _classes(spec, model, scores)


def _kernel(model: Any, rows: "Array") -> "Array":
    """Return the kernel of each row with each support vector."""
    import numpy as np

    if not model.denseSupportVectors.vectors:
        raise Unknown("sparse support vectors")
    vectors = np.asarray([list(one.values) for one in model.denseSupportVectors.vectors])
    kind = model.kernel.WhichOneof("kernel")
    how, dots = getattr(model.kernel, kind), rows @ vectors.T
    if kind == "linearKernel":
        return np.asarray(dots)
    if kind == "rbfKernel":
        apart = (rows**2).sum(1)[:, None] + (vectors**2).sum(1) - 2 * dots
        return np.asarray(np.exp(-how.gamma * apart))
    if kind == "polyKernel":
        return np.asarray((how.gamma * dots + how.c) ** how.degree)
    return np.asarray(np.tanh(how.gamma * dots + how.c))


def _support_regressor(spec: Any, given: "Values") -> "Values":
    import numpy as np

    model = spec.supportVectorRegressor
    alpha = np.asarray(list(model.coefficients.alpha))
    return _number(spec, _kernel(model, _rows(spec, given)) @ alpha - model.rho)


def _support_classifier(spec: Any, given: "Values") -> "Values":
    """Return the labels that get most votes of the pairs of classes.

    Probabilities come of an iteration whose end is another in every libsvm: they are left out.
    """
    import numpy as np

    model = spec.supportVectorClassifier
    kernel = _kernel(model, _rows(spec, given))
    alpha = [np.asarray(list(one.alpha)) for one in model.coefficients]
    ends = np.cumsum([0, *model.numberOfSupportVectorsPerClass])
    votes = np.zeros((len(kernel), len(ends) - 1))
    pairs = combinations(range(len(ends) - 1), 2)
    for (one, two), rho in zip(pairs, model.rho, strict=True):
        first, second = slice(*ends[one : one + 2]), slice(*ends[two : two + 2])
        decision = kernel[:, first] @ alpha[two - 1][first] + kernel[:, second] @ alpha[one][second]
        votes[:, one] += decision > rho
        votes[:, two] += decision <= rho
    found = _classes(spec, model, votes)
    return {name: found[name] for name in list(found)[:1]}


def _scaler(spec: Any, given: "Values") -> "Values":
    import numpy as np

    model = spec.scaler
    shift, scale = list(model.shiftValue) or [0.0], list(model.scaleValue) or [1.0]
    return _number(spec, (_rows(spec, given) + np.asarray(shift)) * np.asarray(scale))


def _normalizer(spec: Any, given: "Values") -> "Values":
    import numpy as np

    rows = _rows(spec, given)
    order = (np.inf, 1, 2)[spec.normalizer.normType]
    return _number(spec, rows / np.linalg.norm(rows, ord=order, axis=1, keepdims=True))


def _vectorizer(spec: Any, given: "Values") -> "Values":
    import numpy as np

    columns = [given[one.inputColumn] for one in spec.featureVectorizer.inputList]
    return _number(spec, np.concatenate([c.reshape(len(c), -1) for c in columns], axis=1))


def _extractor(spec: Any, given: "Values") -> "Values":
    return _number(spec, _rows(spec, given)[:, list(spec.arrayFeatureExtractor.extractIndex)])


def _identity(spec: Any, given: "Values") -> "Values":
    return {spec.description.output[0].name: given[spec.description.input[0].name]}


def _network(spec: Any, given: "Values") -> "Values":
    values = network(spec.neuralNetwork, given)
    return {one.name: values[one.name] for one in spec.description.output}


def _network_regressor(spec: Any, given: "Values") -> "Values":
    values = network(spec.neuralNetworkRegressor, given)
    return _number(spec, values[spec.neuralNetworkRegressor.layers[-1].output[0]])


def _network_classifier(spec: Any, given: "Values") -> "Values":
    model = spec.neuralNetworkClassifier
    values = network(model, given)
    scores = values[model.labelProbabilityLayerName or model.layers[-1].output[0]]
    return _classes(spec, model, scores.reshape(len(scores), -1))


_KINDS: "Mapping[str, Callable[[Any, Values], Values]]" = {
    "arrayFeatureExtractor": _extractor,
    "featureVectorizer": _vectorizer,
    "glmClassifier": _glm_classifier,
    "glmRegressor": _glm_regressor,
    "identity": _identity,
    "neuralNetwork": _network,
    "neuralNetworkClassifier": _network_classifier,
    "neuralNetworkRegressor": _network_regressor,
    "normalizer": _normalizer,
    "scaler": _scaler,
    "supportVectorClassifier": _support_classifier,
    "supportVectorRegressor": _support_regressor,
    "treeEnsembleClassifier": _tree_classifier,
    "treeEnsembleRegressor": _tree_regressor,
}
