"""The direction of imports, and what only one module may do."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the bottom up; modules of one layer may import each other, without a cycle.
LAYERS = (
    {"registry.errors", "registry.visible", "registry.dtypes", "registry.graphs",
      "registry.staging", "registry.forks"},
    {"registry.names", "registry.manifest", "registry.settings", "registry.machine",
      "registry.releases", "registry.licenses", "registry.op_versions", "registry.builds"},
    {"registry.records"},
    {"registry.store", "registry.tables", "registry.wire", "registry.choose", "registry.precisions",
     "registry.external", "registry.folding", "registry.logs", "registry.exported",
     "registry.makers", "registry.peers", "registry.signature",
     "registry.told", "registry.zips"},
    {"registry.answers"},
    {"registry.child", "registry.cost", "registry.messages", "registry.exported_text",
     "registry.ort_values"},
    {"registry.connect", "registry.web_session"},
    {"registry.schema"},
    {"registry.db", "registry.transport", "registry.part", "registry.plugins",
     "registry.archive", "registry.bare", "registry.claims", "registry.input_kinds",
     "registry.packed", "registry.sizes", "registry.tensors"},
    {"registry.arrays"},
    {"registry.fetch", "registry.guard", "registry.inspect", "registry.sniff",
     "registry.sessions", "registry.providers",
     "registry.runtime", "registry.op_functions", "registry.fit",
     "registry.queries", "registry.reach", "registry.goal", "registry.lookup", "registry.writes",
     "registry.ownership", "registry.testdata", "registry.migrations.env", "registry.exporting",
     "registry.importing", "registry.merge", "registry.touched"},
    {"registry.bars", "registry.sample_values", "registry.values"},
    {"registry.prepared", "registry.feeds", "registry.held_inputs", "registry.sample_inputs",
     "registry.spread", "registry.variation", "registry.leftovers", "registry.outputs",
     "registry.given", "registry.reference", "registry.sidecars", "registry.locked"},
    {"registry.looker", "registry.lockfile"},
    {"registry.look", "registry.upkeep", "registry.rebuild", "registry.unknown"},
    {"registry.loading"},
    {"registry.convert.job"},
    {"registry.convert.axes", "registry.convert.coreml_layers", "registry.convert.maps",
     "registry.convert.export_arguments",
     "registry.convert.glance", "registry.convert.naming", "registry.convert.traces",
     "registry.convert.weights"},
    {"registry.convert.coreml_models",
     "registry.convert.pickles", "registry.convert.protobufs", "registry.convert.draw",
     "registry.convert.samples", "registry.convert.children", "registry.convert.factory",
     "registry.convert.environments", "registry.convert.source",
     "registry.convert.ports", "registry.convert.tensorflow_ops"},
    {"registry.convert.hub_folder", "registry.convert.again"},
    {"registry.convert.formats", "registry.convert.boosters", "registry.convert.torch_inputs",
     "registry.convert.torch_files",
     "registry.convert.worker", "registry.convert.prove", "registry.convert.tensorflow_graphs",
     "registry.convert.tflite", "registry.convert.transformers_calls"},
    {"registry.convert.catboost", "registry.convert.coreml", "registry.convert.jax",
     "registry.convert.lightgbm", "registry.convert.mxnet", "registry.convert.paddle",
     "registry.convert.sklearn", "registry.convert.tensorflow", "registry.convert.torch",
     "registry.convert.transformers", "registry.convert.xgboost"},
    {"registry.convert.keras"},
    {"registry.convert.converters"},
    {"registry.api"},
    {"registry.lineage", "registry.notice", "registry.bom", "registry.pool", "registry.watch"},
    {"registry.derive.pictures"},
    {"registry.derive.calibrate"},
    {"registry.derive.ground"},
    {"registry.bench", "registry.bench_inputs", "registry.bench_worker", "registry.drift",
     "registry.replay"},
    {"registry.convert.run"},
    {"registry.convert.offer"},
    {"registry.compare"},
    {"registry.derive.prove", "registry.derive.frame", "registry.derive.recipes"},
    {"registry.derive.skeleton", "registry.derive.lower",
     "registry.derive.widen"},
    {"registry.derive.declared"},
    {"registry.derive.opset", "registry.derive.to_opset", "registry.derive.prepare"},
    {"registry.derive.fold", "registry.derive.half", "registry.derive.judge",
     "registry.derive.classes"},
    {"registry.derive.search", "registry.derive.again"},
    {"registry.derive.quantize", "registry.derive.precision"},
    {"zoo_index.addresses", "zoo_index.entries", "zoo_index.file_names", "zoo_index.listed",
     "zoo_index.composite"},
    {"zoo_index.hub_answers", "zoo_index.hub_cache"},
    {"zoo_index.index", "zoo_index.hub", "zoo_index.web", "zoo_index.local",
     "zoo_index.archives"},
    {"zoo_index.build", "zoo_index.update", "zoo_index.sources", "zoo_index.hub_info",
     "zoo_index.carried"},
    {"zoo_index.plan"},
    {"zoo_index.bring", "zoo_index.bring_data", "zoo_index.held"},
    {"zoo_index.zoo"},
    {"zoo_index.locks", "zoo_index.sync"},
    {"zoo_index.catalogue", "zoo_index.derived", "zoo_index.surface", "zoo_index.hub_compat"},
    {"cli.completion", "cli.help"},
    {"cli.output", "cli.options"},
    {"cli.look", "cli.progress", "cli.figures"},
    {"cli.plot"},
    {"cli.bundles", "cli.derive", "cli.doctor", "cli.find", "cli.indexes", "cli.keep",
     "cli.licenses", "cli.lock", "cli.measure", "cli.opsets", "cli.pull", "cli.quantize",
     "cli.replay", "cli.sync", "cli.upkeep", "cli.use"},
    {"cli.convert"},
    {"cli.app"},
)  # fmt: skip
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
QUANTIZERS = ("onnxruntime.quantization", "onnxruntime.transformers")
FRAMEWORKS = {
    "catboost", "coremltools", "equinox", "flax", "jax", "jax2onnx", "joblib", "keras", "lightgbm",
    "mxnet", "onnxconverter_common", "onnxmltools", "optimum", "paddle", "paddle2onnx", "pandas",
    "safetensors", "skl2onnx", "sklearn", "tensorflow", "tf2onnx", "torch", "transformers",
    "xgboost",
}  # fmt: skip
HEAVY = FRAMEWORKS | {
    "alembic", "cyclonedx", "filelock", "huggingface_hub", "matplotlib", "netron", "numpy", "onnx",
    "onnxruntime", "PIL", "packageurl", "packaging", "platformdirs", "pooch", "requests", "rich",
    "sqlalchemy", "sqlmodel", "urllib3",
}  # fmt: skip
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for folder in ("registry", "zoo_index", "cli")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "__init__.py" and "versions" not in path.parts
}


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node, node.module
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def ours(tree: ast.AST) -> set[str]:
    names = {name.removeprefix("onnxzoo.") for _, name in imports(tree)}
    return names & set(MODULES)


def test_every_package_is_named_to_the_build() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    told = project["tool"]["setuptools"]
    folders = {
        ".".join(("onnxzoo", *path.parent.relative_to(ROOT).parts)): path.parent
        for top in ("registry", "zoo_index", "cli")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert set(told["packages"]) == {"onnxzoo", *folders}
    assert {name: ROOT / place for name, place in told["package-dir"].items()} == {
        "onnxzoo": ROOT / "src" / "onnxzoo",
        **{name: folder for name, folder in folders.items() if name.count(".") == 1},
    }


def test_every_module_has_its_layer() -> None:
    assert set(MODULES) == set(LAYER)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    for name in ours(ast.parse(MODULES[module].read_text())):
        assert LAYER[name] <= LAYER[module], f"{module} imports {name}"


def test_modules_of_a_layer_do_not_import_each_other_in_a_circle() -> None:
    graph = {name: ours(ast.parse(path.read_text())) for name, path in MODULES.items()}
    done: set[str] = set()
    while ready := {name for name, needs in graph.items() if needs <= done} - done:
        done |= ready
    assert set(graph) - done == set()


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"registry.tables", "cli.options"}))
def test_heavy_packages_are_imported_where_they_are_used(module: str) -> None:
    if module.startswith("registry.migrations"):
        return
    tree = ast.parse(MODULES[module].read_text())
    at_start = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in at_start:
        for _, name in imports(ast.Module([node], [])):
            assert name.partition(".")[0] not in HEAVY, f"{module} imports {name} at its start"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_a_converter_asks_its_framework(module: str) -> None:
    names = {name.partition(".")[0] for _, name in imports(ast.parse(MODULES[module].read_text()))}
    assert module.startswith("registry.convert.") or not names & FRAMEWORKS


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_command_line_prints(module: str) -> None:
    calls = [n for n in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(n, ast.Call)]
    prints = [n for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"]
    assert module.startswith("cli.") or not prints


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"registry.settings", "cli.completion"}))
def test_only_the_settings_read_the_environment(module: str) -> None:
    text = MODULES[module].read_text()
    assert "os.environ" not in text
    assert "getenv" not in text


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"registry.builds"}))
def test_one_module_imports_onnxruntime(module: str) -> None:
    nodes = [
        n for n in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(n, ast.Import)
    ]
    names = {alias.name.partition(".")[0] for node in nodes for alias in node.names}
    assert "onnxruntime" not in names, "take registry.builds.runtime(), which says what is missing"


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"registry.builds", "registry.runtime"}))
def test_only_two_modules_ask_onnxruntime(module: str) -> None:
    names = {
        name
        for node, name in imports(ast.parse(MODULES[module].read_text()))
        if name.partition(".")[0] == "onnxruntime"
    }
    if module.startswith("registry.derive."):  # its quantizers are no sessions
        names = {name for name in names if not name.startswith(QUANTIZERS)}
    assert names <= {
        "onnxruntime",
        "onnxruntime.InferenceSession",
        "onnxruntime.SessionOptions",
    }
