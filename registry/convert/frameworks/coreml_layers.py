"""Compute the layers of Core ML's neural networks in NumPy.

Written from Core ML's format reference (``NeuralNetwork.proto``), apart from any converter. Arrays
are ``[examples, channels]`` or ``[examples, channels, height, width]``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Layer = Callable[[Any, Sequence[Array]], Array]


class Unknown(Exception):
    """A layer that is not computed here, by name."""


def network(model: Any, given: "Mapping[str, Array]") -> "dict[str, Array]":
    """Return every value of a network by its name.

    Args:
        model: with ``layers`` and ``preprocessing``.
        given: inputs by name.

    Raises:
        Unknown: if it has a layer that is not known here.
    """
    values = dict(given)
    for step in model.preprocessing:
        name = step.featureName or next(iter(given))
        values[name] = _prepared(step, values[name])
    for layer in model.layers:
        kind = layer.WhichOneof("layer")
        if kind not in _LAYERS or len(layer.output) > 1:
            raise Unknown(f"the layer `{kind}`")
        parameters = getattr(layer, kind)
        values[layer.output[0]] = _LAYERS[kind](parameters, [values[n] for n in layer.input])
    return values


def sigmoid(x: "Array") -> "Array":
    """Return the logistic function of each element."""
    import numpy as np

    return np.asarray(1 / (1 + np.exp(-x)))


def softmax(x: "Array", axis: int) -> "Array":
    """Return exponentials that add up to one along an axis."""
    import numpy as np

    raised = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(raised / raised.sum(axis=axis, keepdims=True))


def weights(one: Any, *shape: int) -> "Array":
    """Return stored weights in a shape.

    Raises:
        Unknown: if they are quantized.
    """
    import numpy as np

    if one.float16Value:
        return np.frombuffer(one.float16Value, np.float16).astype(np.float64).reshape(shape)
    if not one.floatValue:
        raise Unknown("quantized weights")
    return np.asarray(one.floatValue, np.float64).reshape(shape)


def _prepared(step: Any, image: "Array") -> "Array":
    import numpy as np

    if step.WhichOneof("preprocessor") != "scaler":
        raise Unknown("a mean image")
    scaler = step.scaler
    colors = (scaler.redBias, scaler.greenBias, scaler.blueBias)
    bias = np.asarray(colors if image.shape[1] > 1 else (scaler.grayBias,))
    return np.asarray(image * scaler.channelScale + bias[:, None, None])


def _inner_product(p: Any, inputs: "Sequence[Array]") -> "Array":
    rows = inputs[0].reshape(len(inputs[0]), -1)
    y = rows @ weights(p.weights, p.outputChannels, p.inputChannels).T
    return y + weights(p.bias, p.outputChannels) if p.hasBias else y


def _activation(p: Any, inputs: "Sequence[Array]") -> "Array":
    kind = p.WhichOneof("NonlinearityType")
    if kind not in _ACTIVATIONS:
        raise Unknown(f"the activation `{kind}`")
    return _ACTIVATIONS[kind](getattr(p, kind), inputs[0])


def _slopes(p: Any, x: "Array") -> "Array":
    import numpy as np

    slope = weights(p.alpha, -1).reshape(-1, *(1,) * (x.ndim - 2))
    return np.where(x >= 0, x, x * slope)


def _elu(p: Any, x: "Array") -> "Array":
    import numpy as np

    return np.where(x >= 0, x, p.alpha * np.expm1(np.minimum(x, 0)))


_ACTIVATIONS: "Mapping[str, Callable[[Any, Array], Array]]" = {
    "linear": lambda p, x: p.alpha * x + p.beta,
    "ReLU": lambda _, x: x.clip(0),
    "leakyReLU": lambda p, x: x.clip(0) + p.alpha * x.clip(None, 0),
    "thresholdedReLU": lambda p, x: x * (x >= p.alpha),
    "PReLU": _slopes,
    "tanh": lambda _, x: 2 * sigmoid(2 * x) - 1,
    "scaledTanh": lambda p, x: p.alpha * (2 * sigmoid(2 * p.beta * x) - 1),
    "sigmoid": lambda _, x: sigmoid(x),
    "sigmoidHard": lambda p, x: (p.alpha * x + p.beta).clip(0, 1),
    "ELU": _elu,
    "softsign": lambda _, x: x / (1 + abs(x)),
}


def _borders(p: Any, sizes: Sequence[int], kernel: Sequence[int], step: Sequence[int]) -> Any:
    """Return the padding of height and width, before and after."""
    if p.WhichOneof(p.DESCRIPTOR.oneofs[0].name) != "same":
        amounts = [
            (one.startEdgeSize, one.endEdgeSize) for one in p.valid.paddingAmounts.borderAmounts
        ]
        return amounts or [(0, 0), (0, 0)]
    borders = []
    for size, length, stride in zip(sizes, kernel, step, strict=True):
        whole = max((-(-size // stride) - 1) * stride + length - size, 0)
        less, more = whole // 2, whole - whole // 2
        borders.append((more, less) if p.same.asymmetryMode else (less, more))
    return borders


def _windows(x: "Array", kernel: Sequence[int], step: Sequence[int], apart: Sequence[int]) -> Any:
    """Return the windows that a kernel sees, as ``[n, c, height, width, kernel, kernel]``."""
    import numpy as np

    reach = [(size - 1) * gap + 1 for size, gap in zip(kernel, apart, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    return seen[:, :, :: step[0], :: step[1], :: apart[0], :: apart[1]]


def _padded(x: "Array", borders: Any, value: float) -> "Array":
    import numpy as np

    return np.pad(x, [(0, 0), (0, 0), *borders], constant_values=value)


def _convolution(p: Any, inputs: "Sequence[Array]") -> "Array":
    import numpy as np

    if p.isDeconvolution or len(inputs) > 1:
        raise Unknown("a deconvolution, or weights that are an input")
    kernel = list(p.kernelSize) or [3, 3]
    step, apart = list(p.stride) or [1, 1], list(p.dilationFactor) or [1, 1]
    reach = [(size - 1) * gap + 1 for size, gap in zip(kernel, apart, strict=True)]
    x, groups = inputs[0], p.nGroups or 1
    x = _padded(x, _borders(p, x.shape[2:], reach, step), 0.0)
    w = weights(p.weights, groups, p.outputChannels // groups, p.kernelChannels, *kernel)
    seen = _windows(x, kernel, step, apart)
    seen = seen.reshape(len(x), groups, p.kernelChannels, *seen.shape[2:])
    y = np.einsum("ngchwij,gocij->ngohw", seen, w, optimize=True)
    y = y.reshape(len(x), p.outputChannels, *y.shape[3:])
    return np.asarray(y + weights(p.bias, -1, 1, 1) if p.hasBias else y)


def _pooling(p: Any, inputs: "Sequence[Array]") -> "Array":
    import numpy as np

    x = inputs[0]
    if p.globalPooling:
        kernel, step, borders = list(x.shape[2:]), [1, 1], [(0, 0), (0, 0)]
    elif p.WhichOneof("PoolingPaddingType") == "includeLastPixel":
        raise Unknown("pooling that includes the last pixel")
    else:
        kernel, step = list(p.kernelSize) or [3, 3], list(p.stride) or [1, 1]
        borders = _borders(p, x.shape[2:], kernel, step)

    def seen(values: "Array", beyond: float) -> Any:
        return _windows(_padded(values, borders, beyond), kernel, step, [1, 1])

    if p.type == 0:
        return np.asarray(seen(x, -np.inf).max((4, 5)))
    if p.type == 2:  # noqa: PLR2004  (L2)
        return np.asarray(np.sqrt(seen(x**2, 0.0).sum((4, 5))))
    count = seen(np.ones_like(x), 0.0 if p.avgPoolExcludePadding else 1.0).sum((4, 5))
    return np.asarray(seen(x, 0.0).sum((4, 5)) / count)


def _batchnorm(p: Any, inputs: "Sequence[Array]") -> "Array":
    import numpy as np

    if p.computeMeanVar or p.instanceNormalization:
        raise Unknown("a normalisation by the example's own mean")
    x = inputs[0]
    gamma, beta, mean, variance = (
        weights(one, -1, *(1,) * (x.ndim - 2)) for one in (p.gamma, p.beta, p.mean, p.variance)
    )
    return np.asarray((x - mean) / np.sqrt(variance + (p.epsilon or 1e-5)) * gamma + beta)


def _flatten(p: Any, inputs: "Sequence[Array]") -> "Array":
    x = inputs[0]
    return (x.transpose(0, 2, 3, 1) if p.mode == 1 else x).reshape(len(x), -1)


def _reshape(p: Any, inputs: "Sequence[Array]") -> "Array":
    if p.mode == 1:
        raise Unknown("a reshape with the channels last")
    return inputs[0].reshape(len(inputs[0]), *list(p.targetShape)[-3:])


def _permute(p: Any, inputs: "Sequence[Array]") -> "Array":
    if p.axis[0] != 0:
        raise Unknown("a permutation of the sequence")
    return inputs[0].transpose(list(p.axis))


def _unary(p: Any, inputs: "Sequence[Array]") -> "Array":
    import numpy as np

    x = inputs[0] * (p.scale or 1.0) + p.shift
    kinds: Sequence[Callable[[], Any]] = (
        lambda: np.sqrt(x),
        lambda: 1 / np.sqrt(x + (p.epsilon or 1e-6)),
        lambda: 1 / (x + (p.epsilon or 1e-6)),
        lambda: x ** (p.alpha or 1.0),
        lambda: np.exp(x),
        lambda: np.log(x),
        lambda: abs(x),
        lambda: np.maximum(x, p.alpha),
    )
    return np.asarray(kinds[p.type]())


def _scale(p: Any, inputs: "Sequence[Array]") -> "Array":
    scaled = inputs[0] * weights(p.scale, *p.shapeScale)
    return scaled + weights(p.bias, *p.shapeBias) if p.hasBias else scaled


def _padding(p: Any, inputs: "Sequence[Array]") -> "Array":
    if p.WhichOneof("PaddingType") not in {None, "constant"}:
        raise Unknown("a padding with the picture's own pixels")
    amounts = [(one.startEdgeSize, one.endEdgeSize) for one in p.paddingAmounts.borderAmounts]
    return _padded(inputs[0], amounts, p.constant.value)


def _upsample(p: Any, inputs: "Sequence[Array]") -> "Array":
    if p.mode or p.fractionalScalingFactor:
        raise Unknown("a bilinear upsampling")
    down, across = list(p.scalingFactor) or [1, 1]
    return inputs[0].repeat(down, axis=2).repeat(across, axis=3)


def _sum(p: Any, inputs: "Sequence[Array]") -> "Array":
    return inputs[0] + (inputs[1] if len(inputs) > 1 else p.alpha)


def _product(p: Any, inputs: "Sequence[Array]") -> "Array":
    return inputs[0] * (inputs[1] if len(inputs) > 1 else p.alpha)


def _concat(p: Any, inputs: "Sequence[Array]") -> "Array":
    import numpy as np

    if p.sequenceConcat:
        raise Unknown("a concatenation of sequences")
    return np.concatenate(inputs, axis=1)


def _softmax(_: Any, inputs: "Sequence[Array]") -> "Array":
    return softmax(inputs[0], 1)


_LAYERS: "Mapping[str, Layer]" = {
    "activation": _activation,
    "add": _sum,
    "average": lambda _, inputs: sum(inputs[1:], inputs[0]) / len(inputs),
    "batchnorm": _batchnorm,
    "bias": lambda p, inputs: inputs[0] + weights(p.bias, *p.shape),
    "concat": _concat,
    "convolution": _convolution,
    "flatten": _flatten,
    "innerProduct": _inner_product,
    "multiply": _product,
    "padding": _padding,
    "permute": _permute,
    "pooling": _pooling,
    "reshape": _reshape,
    "scale": _scale,
    "softmax": _softmax,
    "unary": _unary,
    "upsample": _upsample,
}
