"""Train a small network on scikit-learn's digits; keep it as fp32, post-training int8 and QAT int8.

    pip install onnxzoo torch scikit-learn
    python examples/quantize_digits.py

The three stand side by side as `digits:fp32`, `digits:int8` and `digits:qat-int8`. For QAT the
network is trained on with fake quantization (torch.fake_quantize_per_tensor_affine) around its
convolutions; the exporter writes that as QuantizeLinear and DequantizeLinear, and
`quantize(…, to="qdq")` folds the weights to int8.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

import onnxzoo

NAME = sys.argv[1] if len(sys.argv) > 1 else "digits"
SEVEN_BITS = 63  # processors without VNNI saturate when weights use all eight


class FakeQuantized(nn.Module):
    """A layer whose weights and inputs are rounded to int8 and uint8, and stay float."""

    def __init__(self, layer: nn.Conv2d | nn.Linear, low: float, high: float) -> None:
        super().__init__()
        self.layer = layer
        low, high = min(low, 0.0), max(high, 0.0)
        self.scale = max((high - low) / 255, 1e-8)
        self.zero = round(-low / self.scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, 255)
        weight, bias = self.layer.weight, self.layer.bias
        scale = float(weight.detach().abs().max()) / SEVEN_BITS
        weight = torch.fake_quantize_per_tensor_affine(weight, scale, 0, -128, 127)
        if isinstance(self.layer, nn.Linear):
            return functional.linear(x, weight, bias)
        return functional.conv2d(x, weight, bias, padding=self.layer.padding)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def train(net: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int, rate: float) -> None:
    optimiser = torch.optim.Adam(net.parameters(), rate)
    net.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(net(x[chosen]), y[chosen]).backward()
            optimiser.step()
    net.eval()


def fake_quantized(net: nn.Sequential, x: torch.Tensor) -> nn.Sequential:
    """Wrap layers, each with the range of its inputs on some examples."""
    layers = []
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layers.append(FakeQuantized(layer, float(x.min()), float(x.max())))
            else:
                layers.append(layer)
            x = layer(x)
    return nn.Sequential(*layers)


def export(net: nn.Module, path: Path) -> Path:
    """Write ONNX with the exporter that knows fake quantization; torch calls it deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (torch.zeros(1, 1, 8, 8),), str(path), input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
    return path


def accuracy(ref: str, x: np.ndarray, y: np.ndarray) -> float:
    (scores,) = onnxzoo.load(ref).run(None, {"x": x})
    return float((scores.argmax(1) == y).mean())


def main() -> None:
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).reshape(-1, 1, 8, 8).astype(np.float32)
    x, test_x, y, test_y = train_test_split(images, labels, test_size=400, random_state=0)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)

    net = network()
    train(net, inputs, targets, epochs=20, rate=4e-3)
    with tempfile.TemporaryDirectory() as folder:
        fp32 = onnxzoo.register(export(net, Path(folder) / "fp32.onnx"), NAME)
        calibration = [{"x": batch} for batch in np.array_split(x[:256], 8)]
        int8 = onnxzoo.quantize(fp32.ref, to="int8", calibrate=calibration)

        aware = fake_quantized(net, inputs[:256])
        train(aware, inputs, targets, epochs=2, rate=3e-4)
        version = f"@{fp32.version}"
        raw = onnxzoo.register(export(aware, Path(folder) / "qat.onnx"), f"{NAME}:qat{version}")
        np.savez(Path(folder) / "inputs.npz", x=test_x)
        qat = onnxzoo.quantize(
            raw.ref, to="qdq", label="qat-int8", inputs=Path(folder) / "inputs.npz"
        )
    for variant in (fp32, int8, raw, qat):
        share = accuracy(variant.ref, test_x, test_y)
        size = variant.bytes / fp32.bytes
        print(f"{variant.ref:20} {variant.precision:5} size {size:.2f}  accuracy {share:.4f}")


if __name__ == "__main__":
    main()
