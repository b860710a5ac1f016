"""Core ML's classic models, written as specifications: Core ML itself is not needed for that."""

from typing import Any

from tests.converters.case import Case

START = (
    "import numpy as np, coremltools as c; from coremltools.models import datatypes as d; "
    "from coremltools.proto import Model_pb2 as M; r = np.random.default_rng(0); "
    "f = lambda *s: r.standard_normal(s).astype('float32'); "
    "n = lambda s: [float(v) for v in f(s)]; "
    "from coremltools.models.neural_network import NeuralNetworkBuilder as B; "
    "from coremltools.models.tree_ensemble import TreeEnsembleClassifier as T; "
)
SAVE = "c.utils.save_spec({0}, 'm.mlmodel')"
ROWS = (("batch", 4),)
IMAGE = (("batch", 3, 8, 8),)
# A linear model's features, label and probabilities.
LABELS = (
    "m = M.Model(); m.specificationVersion = 1; a = m.description; i = a.input.add(); "
    "i.name = 'x'; i.type.multiArrayType.shape.append(4); i.type.multiArrayType.dataType = 65600; "
    "l = a.output.add(); l.name = a.predictedFeatureName = 'label'; "
    "l.type.int64Type.SetInParent(); "
    "p = a.output.add(); p.name = a.predictedProbabilitiesName = 'p'; "
    "p.type.dictionaryType.int64KeyType.SetInParent(); "
)
CNN = (
    "b.add_convolution('c', 3, 4, 3, 3, 2, 2, 'same', 1, f(3, 3, 3, 4), f(4), True, "
    "input_name='image', output_name='c1'); "
    "b.add_batchnorm('n', 4, f(4), f(4), f(4), abs(f(4)) + 0.5, 'c1', 'c2'); "
    "b.add_activation('l', 'LEAKYRELU', 'c2', 'c3', params=[0.1]); "
    "b.add_pooling('p', 2, 2, 2, 2, 'MAX', 'VALID', 'c3', 'c4'); "
    "b.add_activation('t', 'TANH', 'c4', 'c5'); b.add_elementwise('e', ['c4', 'c5'], 'c6', 'ADD'); "
    "b.add_flatten('f', 0, 'c6', 'v'); b.add_inner_product('i', f(3, 16), f(3), 16, "
    "3, True, 'v', 's'); "
    "b.add_softmax('m', 's', 'y'); "
)
CLASSIFIER = (
    "b = B([('image', d.Array(3, 8, 8))], [('y', d.Array(3))], mode='classifier'); " + CNN
    + "b.set_class_labels(['a', 'b', 'c']); b.set_pre_processing_parameters("
    "image_input_names=['image'], is_bgr=False, image_scale=0.5, red_bias=-0.5); "
)  # fmt: skip
LINEAR = (
    LABELS + "g = m.glmClassifier; g.classEncoding = 1; g.offset.extend(n(3)); "
    "[g.weights.add().value.extend(n(4)) for _ in range(3)]; "
    "g.int64ClassLabels.vector.extend([0, 1, 2]); "
)


def coreml(code: str, model: str, inputs: Any = ROWS, outputs: int = 2, **more: Any) -> Case:
    how = more.pop("how", {})
    code = START + code + SAVE.format(model)
    return Case("coreml-classic", "m.mlmodel", code, how, inputs, outputs, **more)


CASES = {
    "coreml-network": coreml(
        "b = B([('image', d.Array(3, 8, 8))], [('y', d.Array(3))]); " + CNN, "b.spec", IMAGE, 1
    ),
    "coreml-network-opset-9": coreml(
        "b = B([('image', d.Array(3, 8, 8))], [('y', d.Array(3))]); " + CNN,
        "b.spec",
        IMAGE,
        1,
        how={"opset": 9},
    ),
    "coreml-network-opset-8": coreml(
        "b = B([('image', d.Array(3, 8, 8))], [('y', d.Array(3))]); " + CNN,
        "b.spec",
        IMAGE,
        1,
        how={"opset": 8},
    ),
    "coreml-network-opset-7": coreml(
        "b = B([('image', d.Array(3, 8, 8))], [('y', d.Array(3))]); " + CNN,
        "b.spec",
        IMAGE,
        1,
        how={"opset": 7},
    ),
    "coreml-image-classifier": coreml(CLASSIFIER, "b.spec", IMAGE),
    "coreml-image-classifier-opset-8": coreml(CLASSIFIER, "b.spec", IMAGE, how={"opset": 8}),
    "coreml-image-classifier-opset-7": coreml(CLASSIFIER, "b.spec", IMAGE, how={"opset": 7}),
    "coreml-linear-classifier": coreml(LINEAR, "m"),
    "coreml-linear-classifier-opset-7": coreml(LINEAR, "m", how={"opset": 7}),
    "coreml-vectors": coreml(
        LABELS + "v = m.supportVectorClassifier; v.numberOfSupportVectorsPerClass.extend([2, 1, "
        "2]); "
        "[v.coefficients.add().alpha.extend(n(5)) for _ in range(2)]; v.rho.extend(n(3)); "
        "v.probA.extend([-1.0] * 3); v.probB.extend([0.0] * 3); v.kernel.rbfKernel.gamma = 0.3; "
        "v.int64ClassLabels.vector.extend([0, 1, 2]); "
        "[v.denseSupportVectors.vectors.add().values.extend(n(4)) for _ in range(5)]; ",
        "m",
    ),
    "coreml-trees": coreml(
        "t = T([('x', d.Array(4))], ['a', 'b', 'c'], 'label'); "
        "t.set_default_prediction_value([0.0, 0.1, 0.0]); "
        "t.set_post_evaluation_transform('Classification_SoftMax'); "
        "[(t.add_branch_node(k, 0, k, 0.1, 'BranchOnValueLessThan', 1, 2), "
        "t.add_leaf_node(k, 1, {k: 1.0, (k + 1) % 3: 0.3}), t.add_leaf_node(k, 2, "
        "{(k + 2) % 3: 0.7}))"
        " for k in range(3)]; ",
        "t.spec",
    ),
    "coreml-pipeline": coreml(
        "s = M.Model(); o = s.description.output.add(); o.name = 'scaled'; "
        "i = s.description.input.add(); i.name = 'x'; s.specificationVersion = 1; "
        "[(v.type.multiArrayType.shape.append(4), setattr(v.type.multiArrayType, "
        "'dataType', 65600))"
        " for v in (i, o)]; s.scaler.shiftValue.extend(n(4)); s.scaler.scaleValue.extend(n(4)); "
        "g = M.Model(); g.specificationVersion = 1; g.description.input.add().CopyFrom(o); "
        "y = g.description.output.add(); y.name = g.description.predictedFeatureName = 'y'; "
        "y.type.doubleType.SetInParent(); g.glmRegressor.weights.add().value.extend(n(4)); "
        "g.glmRegressor.offset.append(0.5); m = M.Model(); m.specificationVersion = 1; "
        "m.description.input.add().CopyFrom(i); m.description.output.add().CopyFrom(y); "
        "m.description.predictedFeatureName = 'y'; "
        "m.pipelineRegressor.pipeline.models.extend([s, g]); ",
        "m",
        outputs=1,
        labels=False,
    ),
}  # fmt: skip
