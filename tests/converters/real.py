"""Published ONNX models, brought to the newest opset and quantized; only the command has them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import ZooError
from onnxzoo.registry.derive.opset import to_opset
from onnxzoo.registry.derive.quantize import quantize
from onnxzoo.registry.runtime.capabilities import highest_opset


class Real(NamedTuple):
    """A package that holds a model, and where in it."""

    wheel: str
    file: str


REAL = (
    Real("basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp.onnx"),
    Real("magika==1.0.3", "magika/models/standard_v3_3/model.onnx"),
    Real("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"),
    Real("silero-vad==6.2.0", "silero_vad/data/silero_vad.onnx"),
)


def install(wheel: str, folder: Path) -> None:
    """Unpack a published wheel; nothing of it is imported."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--target", str(folder), wheel], check=True)


def derived(one: Real, folder: Path) -> Iterator[str]:
    """Yield a line on each variant that is made of a published model, or why none is."""
    install(one.wheel, folder)
    with Registry() as registry:
        parent = registry.register(folder / one.file, "real").variant
        for what in ("opset", "uint8"):
            try:
                if what == "opset":
                    made = to_opset(registry, parent, highest_opset())
                    proof = made.proof
                else:
                    proof = quantize(registry, parent, what, calibrate="random").derived.proof
            except ZooError as error:
                yield f"{one.wheel}: {what}: refused: {error.message}"
                continue
            if proof is not None:
                yield f"{one.wheel}: {what}: {proof.drift.max:.1e} apart, {proof.size:.2f} in size"
