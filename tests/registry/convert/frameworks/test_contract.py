"""The contract of every converter that is installed, and models in code."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.convert.api import convert
from onnxzoo.registry.convert.discovery import converter, missing
from onnxzoo.registry.core.errors import Refused, ZooError
from tests.converters import CASES, converter_in
from tests.converters.case import Case, NotInstalled, check, make, recognised, run_apart
from tests.converters.jax import NETS as JAX
from tests.converters.keras import KERAS
from tests.converters.tensorflow import NET as TF_NET
from tests.converters.torch import NET
from tests.converters.trees import IRIS

FRAMEWORKS = {
    "torch",
    "keras",
    "tensorflow",
    "tf2onnx",
    "sklearn",
    "xgboost",
    "lightgbm",
    "catboost",
    "coremltools",
    "mxnet",
    "paddle",
    "skl2onnx",
    "onnxmltools",
    "transformers",
    "optimum",
    "jax",
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """A case whose file is there, or a skip."""
    found = CASES[request.param]
    if found.wheel or (absent := missing(converter(converter_in(request.param)))):
        pytest.skip(f"not installed: {found.wheel or ', '.join(absent)}")
    monkeypatch.chdir(tmp_path)
    try:
        make(found, tmp_path)
    except NotInstalled as error:
        pytest.skip(str(error))
    return found


def test_what_comes_out_computes_what_went_in(case: Case) -> None:
    assert recognised(case) == case.format
    if case.how.get("trust"):
        how = {name: value for name, value in case.how.items() if name != "trust"}
        with pytest.raises(Refused, match=r"loading it can run code; it (would import|holds) "):
            convert(case.file, "net", **how)
    before = set(sys.modules)
    check(convert(case.file, "net", **case.how), case)
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not loaded & FRAMEWORKS


def test_a_model_in_code_is_registered_in_the_words_of_its_framework(tmp_path: Path) -> None:
    """Run where the framework may be imported: in a process of its own."""
    if missing(converter("torch")):
        pytest.skip("not installed: torch")
    code = NET + (
        "import onnxzoo\n"
        "net = make().train()\n"
        "v = onnxzoo.register(net, 'net', example=(torch.ones(2, 3, 8, 8),), "
        "input_names=['x'], output_names=['y'], dynamic_axes={'x': {0: 'n'}, 'y': {0: 'n'}}, "
        "opset_version=17)\n"
        "assert net.training and net.drop.training\n"
        "assert [(t.name, t.shape) for t in v.graph.inputs] == [('x', ('n', 3, 8, 8))]\n"
        "assert [(t.name, t.shape) for t in v.graph.outputs] == [('y', ('n', 5))]\n"
        "assert v.opset == 17 and v.lineage.recipe['drift']['samples'] == 2\n"
    )
    assert not (said := run_apart(code, tmp_path)), said


@pytest.mark.parametrize(
    ("saved", "factory", "message"),
    [
        (
            "{f'module.{k}': v for k, v in make().state_dict().items()}",
            "make",
            r"`m.pt` does not fit what `nets:make` makes: Missing .*: \"conv.weight\", .*; "
            r"Unexpected .*: \"module.conv.weight\", ",
        ),
        (
            "torch.nn.ModuleDict({'conv': torch.nn.Conv2d(3, 7, 3)}).state_dict()",
            "make",
            r"Missing .*; size mismatch for conv.weight: .*\(\[7, 3, 3, 3\]\)",
        ),
        ("torch.ones(3)", "make", "`m.pt` holds a `Tensor`; expected a state dict"),
        ("make().state_dict()", "number", "`nets:number` makes a `int`; expected a torch.nn.Mod"),
    ],
)
def test_what_a_factory_cannot_take_is_said(
    saved: str, factory: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing(converter("torch")):
        pytest.skip("not installed: torch")
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NET + "def number(): return 5\n")
    said = run_apart(NET + f"torch.save({saved}, 'm.pt')", tmp_path)
    assert not said, said
    with pytest.raises(ZooError, match=message):
        convert("m.pt", "net", factory=f"nets:{factory}", inputs=["image=batch,3,8,8"])


def test_an_example_file_gives_the_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing(converter("torch")):
        pytest.skip("not installed: torch")
    monkeypatch.chdir(tmp_path)
    two = (
        "def two():\n    net = make()\n    net.forward = lambda a, b: a + b.sum()\n    return net\n"
    )
    Path("nets.py").write_text(NET + two)
    image = np.ones((2, 3, 8, 8), "float32")
    np.savez("named.npz", b=np.ones(4, "float32"), a=image)
    np.save("only.npy", image)
    how: dict[str, Any] = {"opset": 17}
    found = convert("nets:two", "two", example="named.npz", **how).graph.inputs
    assert [(one.name, one.shape) for one in found] == [("a", (2, 3, 8, 8)), ("b", (4,))]
    found = convert("nets:make", "net", example="only.npy", dynamic={"n": 0}, **how).graph.inputs
    assert [(one.name, one.shape) for one in found] == [("image", ("n", 3, 8, 8))]


def test_a_module_with_fake_quantization_is_registered_as_qdq(tmp_path: Path) -> None:
    if missing(converter("torch")):
        pytest.skip("not installed: torch")
    code = NET + (
        "import onnxzoo\n"
        "class Rounded(Net):\n"
        "    def forward(self, image):\n"
        "        q = torch.fake_quantize_per_tensor_affine\n"
        "        return q(super().forward(q(image, 0.02, 128, 0, 255)), 0.02, 128, 0, 255)\n"
        "v = onnxzoo.register(Rounded(), 'net', example=(torch.rand(2, 3, 8, 8),), "
        "exporter='torchscript', opset_version=17)\n"
        "drift = v.lineage.recipe['drift']\n"
        "assert v.precision == 'qdq' and 0 < drift['within']['output'] < 0.1, drift\n"
        "v = onnxzoo.register(make(), 'net', example=(torch.rand(2, 3, 8, 8),))\n"
        "assert 'within' not in v.lineage.recipe['drift']\n"
    )
    assert not (said := run_apart(code, tmp_path)), said


def test_an_exported_module_in_code_is_registered_and_stays_as_it_was(tmp_path: Path) -> None:
    """One that torch.export made, as quantization-aware training does, refuses to change modes."""
    if missing(converter("torch")):
        pytest.skip("not installed: torch")
    code = NET + (
        "import onnxzoo\n"
        "x = torch.ones(2, 3, 8, 8)\n"
        "shapes = ({0: torch.export.Dim('n', max=64)},)\n"
        "net = torch.export.export(make().eval(), (x,), dynamic_shapes=shapes).module()\n"
        "own = net.train\n"
        "v = onnxzoo.register(net, 'net', example=(x,), dynamic_axes={'image': {0: 'n'}})\n"
        "assert v.graph.inputs[0].shape == ('n', 3, 8, 8), v.graph.inputs\n"
        "assert net.train == own\n"
    )
    assert not (said := run_apart(code, tmp_path)), said


def test_a_keras_model_on_tensorflow_in_code_goes_through_tensorflow(tmp_path: Path) -> None:
    if missing(converter("tensorflow")):
        pytest.skip("not installed: tensorflow")
    code = TF_NET + (
        "import onnxzoo\n"
        "v = onnxzoo.register(net, 'net', output_names=['scores'], opset_version=17)\n"
        "assert [(t.name, t.shape) for t in v.graph.inputs] == [('image', ('batch', 8, 8, 3))]\n"
        "assert [(t.name, t.shape) for t in v.graph.outputs] == [('scores', ('batch', 5))]\n"
        "assert v.opset == 17 and v.lineage.recipe['from'] == 'tensorflow'\n"
        "v = onnxzoo.register(tf.function(lambda x: x * 2), 'twice', input_names=['x'], "
        "example=(np.ones((3, 4), 'float32'),), dynamic_axes={'x': {0: 'n'}})\n"
        "assert [(t.name, t.shape) for t in v.graph.inputs] == [('x', ('n', 4))]\n"
    )
    assert not (said := run_apart(code, tmp_path)), said


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sklearn", "from sklearn.svm import SVC; m = SVC(probability=False).fit(X, y)"),
        ("xgboost", "import xgboost; m = xgboost.XGBClassifier(n_estimators=3).fit(X, y)"),
        ("lightgbm", "import lightgbm; m = lightgbm.LGBMClassifier(n_estimators=3).fit(X, y)"),
        ("catboost", "import catboost; m = catboost.CatBoostClassifier(iterations=3, verbose=0, "
         "allow_writing_files=False).fit(X, y)"),
    ],
)  # fmt: skip
def test_an_estimator_in_code_is_registered(name: str, make: str, tmp_path: Path) -> None:
    if missing(converter(name)):
        pytest.skip(f"not installed: {name}")
    code = (
        f"{IRIS}\n{make}\nimport onnxzoo\n"
        "v = onnxzoo.register(m, 'net', example=X.astype('float32'), input_names=['rows'])\n"
        "assert v.graph.inputs[0].name == 'rows'\n"
        "assert v.lineage.recipe['drift']['labels'] == 1, v.lineage.recipe['drift']\n"
    )
    assert not (said := run_apart(code, tmp_path)), said


def test_a_ranker_in_code_gives_its_scores(tmp_path: Path) -> None:
    if missing(converter("xgboost")):
        pytest.skip("not installed: xgboost")
    code = (
        f"{IRIS}\nimport onnxzoo, xgboost\n"
        "m = xgboost.XGBRanker(objective='rank:ndcg', n_estimators=3).fit(X, y, group=[150])\n"
        "v = onnxzoo.register(m, 'net', example=X)\n"
        "assert len(v.graph.outputs) == 1 and m.objective == 'rank:ndcg'\n"
    )
    assert not (said := run_apart(code, tmp_path)), said


def test_an_example_file_of_rows_gives_what_a_pipeline_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing(converter("sklearn")):
        pytest.skip("not installed: sklearn")
    monkeypatch.chdir(tmp_path)
    code = (
        f"{IRIS}\nimport joblib, numpy\n"
        "from sklearn.compose import make_column_transformer as t\n"
        "from sklearn.preprocessing import MinMaxScaler as M, StandardScaler as S\n"
        "joblib.dump(t((S(), [0, 1]), (M(), [2, 3])).fit(X), 'm.joblib')\n"
        "numpy.savez('rows.npz', rows=X[:9])\n"
    )
    assert not (said := run_apart(code, tmp_path)), said
    made = convert("m.joblib", "net", trust=True, example="rows.npz")
    assert [(one.name, one.shape) for one in made.graph.inputs] == [("rows", ("batch", 4))]


def test_columns_of_several_types_are_named_with_the_way_out(tmp_path: Path) -> None:
    if absent := missing(converter("sklearn")) or [n for n in ("pandas",) if not find_spec(n)]:
        pytest.skip(f"not installed: {', '.join(absent)}")
    code = (
        "import numpy, onnxzoo, pandas\n"
        "from sklearn.compose import make_column_transformer as t\n"
        "from sklearn.preprocessing import StandardScaler as S\n"
        "rows = pandas.DataFrame({'age': [20, 30, 40], 'pay': [1.5, 2.5, 9.5]})\n"
        "m = t((S(), ['age', 'pay'])).fit(rows)\n"
        "try: onnxzoo.convert(m, 'net', example=rows)\n"
        "except onnxzoo.ZooError as error:\n"
        "    assert '`age` is int64' in str(error), error\n"
        "    assert 'inputs=[\"age=float32[n,1]\"]' in error.hint, error.hint\n"
        "v = onnxzoo.convert(m, 'net', example=rows, inputs=['age=float32[n,1]'])\n"
        "assert [t.dtype for t in v.graph.inputs] == ['float32', 'float32']\n"
    )
    assert not (said := run_apart(code, tmp_path)), said


def test_a_keras_model_in_code_is_registered(tmp_path: Path) -> None:
    if missing(converter("keras")):
        pytest.skip("not installed: keras")
    code = KERAS + (
        "m = k.Sequential([k.Input((4,), name='rows'), l.Dense(3, activation='softmax')])\n"
        "import onnxzoo\n"
        "v = onnxzoo.register(m, 'net', output_names=['scores'])\n"
        "assert [(t.name, t.shape) for t in v.graph.inputs] == [('rows', ('batch', 4))]\n"
        "assert [(t.name, t.shape) for t in v.graph.outputs] == [('scores', ('batch', 3))]\n"
        "assert v.lineage.recipe['drift']['labels'] == 1, v.lineage.recipe['drift']\n"
    )
    assert not (said := run_apart(code, tmp_path)), said


@pytest.mark.parametrize(
    ("made", "example", "axes"),
    [
        ("flax()", "jnp.ones((2, 8, 8, 3))", "{'image': {0: 'n'}}"),
        ("function()", "jnp.arange(3), jnp.ones((1,))", "{'ids': {0: 'n'}}"),
        ("bound()", "jnp.ones((2, 4))", "{'input_0': {0: 'n'}}"),
        ("eqx()[0].__wrapped__", "jnp.ones((4,))", "{}"),
    ],
)
def test_a_jax_model_in_code_is_registered(
    made: str, example: str, axes: str, tmp_path: Path
) -> None:
    """It is told from its type; a module goes on training as it was."""
    if missing(converter("jax")):
        pytest.skip("not installed: jax")
    code = JAX + (
        f"import onnxzoo\nm = {made}\n"
        f"v = onnxzoo.register(m, 'net', example=({example},), dynamic_axes={axes})\n"
        f"assert [t.shape[0] for t in v.graph.inputs][0] == ('n' if {axes} else 4)\n"
        "assert v.lineage.recipe['from'] == 'jax'\n"
        "assert v.lineage.recipe['drift']['max'] < 1e-4, v.lineage.recipe['drift']\n"
        "assert not (made := getattr(m, 'drop', None)) or not made.deterministic\n"
    )
    assert not (said := run_apart(code, tmp_path)), said


@pytest.mark.parametrize("name", ["sklearn-regression", "xgboost-json", "lightgbm"])
def test_the_same_model_converted_again_is_held_already(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing(converter(converter_in(name))):
        pytest.skip(f"not installed: {name}")
    monkeypatch.chdir(tmp_path)
    make(CASES[name], tmp_path)
    refs = {convert(CASES[name].file, "net", **CASES[name].how).ref for _ in range(2)}
    assert refs == {"net:fp32@1"}


def test_a_checkpoint_that_would_run_code_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a factory a state dict needs no trust, and a planted command finds none."""
    if missing(converter("torch")):
        pytest.skip("not installed: torch")
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NET)
    planted = (
        "import os, torch\n"
        "class Evil:\n    def __reduce__(self): return os.system, ('touch planted',)\n"
        "torch.save({'conv.weight': Evil()}, 'evil.pt')\n"
    )
    assert not (said := run_apart(planted, tmp_path)), said
    with pytest.raises(Refused, match="torch could not convert it: UnpicklingError"):
        convert("evil.pt", "net", factory="nets:make", inputs=["image=batch,3,8,8"])
    assert not Path("planted").exists()
    with Registry() as registry:
        assert not registry.list()
