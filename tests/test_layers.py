"""The direction of imports, and what only one module may do."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the bottom up; what a room's modules import lies below, or in the room itself.
ROOMS = (
    {"cli.help", "registry.core"},
    {"registry.licenses", "registry.onnx_file", "registry.store", "zoo_index.download"},
    {"registry.convert.detect", "registry.database", "registry.runtime", "registry.testdata"},
    {"registry.database.migrations", "registry.resolve", "registry.sample_inputs"},
    {"registry.archive", "registry.reference_data", "registry.sessions"},
    {"registry.maintenance", "zoo_index.sources"},
    {"registry.api", "zoo_index.index"},
    {"registry.measure", "registry.serving"},
    {"registry.convert", "registry.derive"},
    {"registry.convert.frameworks", "zoo_index.pull"},
    {"zoo_index.zoo"},
    {"cli.completion", "zoo_index.derive", "zoo_index.lock", "zoo_index.onnx_hub",
     "zoo_index.search"},
    {"_api", "cli.options", "cli.output", "hub"},
    {"cli.format", "cli.progress"},
    {"cli.plot"},
    {"cli.commands"},
    {"cli.app"},
)  # fmt: skip
FLOOR = {name: number for number, names in enumerate(ROOMS) for name in names}
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
# Each module of these packages is a room of its own.
NO_ROOMS = {"", "cli", "registry", "zoo_index"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for folder in ("registry", "zoo_index", "cli")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "__init__.py" and "versions" not in path.parts
} | {name: ROOT / "src" / "onnxzoo" / f"{name}.py" for name in ("_api", "hub")}


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


def test_the_map_shows_every_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((\.\./[^)]+)\)", text)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
    packages = {name.replace(".", "/") for name in map(room, MODULES) if name not in MODULES}
    shown = {link.removeprefix("../") for link in links}
    assert packages - shown == {"registry/database/migrations"}


def room(module: str) -> str:
    """Return a module's package; a module that lies in none of them is a room of its own."""
    package = module.rpartition(".")[0]
    return module if package in NO_ROOMS else package


def test_every_room_has_its_floor() -> None:
    assert {room(module) for module in MODULES} == set(FLOOR)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    """Those in functions and for type checkers too: below, or within the room."""
    own = room(module)
    for name in ours(ast.parse(MODULES[module].read_text())):
        other = room(name)
        assert other == own or FLOOR[other] < FLOOR[own], f"{module} imports {name}"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {name: ours(ast.parse(path.read_text())) for name, path in MODULES.items()}
    done: set[str] = set()
    while ready := {name for name, needs in graph.items() if needs <= done} - done:
        done |= ready
    assert set(graph) - done == set()


@pytest.mark.parametrize(
    "module", sorted(set(MODULES) - {"registry.database.tables", "cli.options"})
)
def test_heavy_packages_are_imported_where_they_are_used(module: str) -> None:
    if module.startswith("registry.database.migrations"):
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


@pytest.mark.parametrize(
    "module", sorted(set(MODULES) - {"registry.core.settings", "cli.completion"})
)
def test_only_the_settings_read_the_environment(module: str) -> None:
    text = MODULES[module].read_text()
    assert "os.environ" not in text
    assert "getenv" not in text


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"registry.runtime.builds"}))
def test_one_module_imports_onnxruntime(module: str) -> None:
    nodes = [
        n for n in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(n, ast.Import)
    ]
    names = {alias.name.partition(".")[0] for node in nodes for alias in node.names}
    assert "onnxruntime" not in names, (
        "take registry.runtime.builds.runtime(), which says what is missing"
    )


@pytest.mark.parametrize(
    "module", sorted(set(MODULES) - {"registry.runtime.builds", "registry.runtime.capabilities"})
)
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
