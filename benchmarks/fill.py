"""A registry of many variants, written straight into its tables."""

from pathlib import Path

from onnxzoo.registry.core.records import Graph, Tensor
from onnxzoo.registry.database.database import Database
from onnxzoo.registry.database.queries import graph_text
from onnxzoo.registry.database.tables import Bundle, BundleFile, Model, VariantRow, Version

_PER_MODEL = 4
_WHEN = "2026-01-01T00:00:00+00:00"
_GRAPH = Graph(
    ir_version=8,
    opset=17,
    opsets={"": 17},
    producer="benchmark",
    inputs=(Tensor("x", "float32", ("batch", 3, 224, 224)),),
    outputs=(Tensor("y", "float32", ("batch", 1000)),),
    ops={"Conv": 53, "Relu": 49, "Add": 16, "Gemm": 1},
    parameters=25_557_032,
    precision="fp32",
    external=(),
    metadata={},
)


def fill(home: Path, variants: int) -> None:
    """Fill a fresh registry with models of four variants each; there are no bytes behind them."""
    text = graph_text(_GRAPH)
    with Database(home / "registry.db").write() as session:
        for number in range(variants // _PER_MODEL):
            name = f"model-{number:06d}"
            session.add(Model(id=number, name=name, key=name, created_at=_WHEN))
            session.add(Version(id=number, model_id=number, number=1, created_at=_WHEN))
        session.flush()
        for number in range(variants):
            digest = f"sha256:{number:064x}"
            session.add(Bundle(digest=digest, bytes=1))
        session.flush()
        for number in range(variants):
            digest = f"sha256:{number:064x}"
            session.add(
                BundleFile(digest=digest, path="model.onnx", sha256=f"{number:064x}", bytes=1)
            )
            session.add(
                VariantRow(
                    version_id=number // _PER_MODEL,
                    label=("fp32", "fp16", "int8", "qdq")[number % _PER_MODEL],
                    precision=("fp32", "fp16", "int8", "qdq")[number % _PER_MODEL],
                    opset=17,
                    digest=digest,
                    entry="model.onnx",
                    source="hf://benchmark/model",
                    graph=text,
                    created_at=_WHEN,
                )
            )
