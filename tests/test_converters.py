"""The contract of every converter that is installed: each format in, the same numbers out.

`FORMATS` makes a small model per format, in a process of its own; what is not installed is skipped.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.convert.converters import converter, converter_of, missing
from onnxzoo.registry.convert.offer import convert
from onnxzoo.registry.errors import Refused
from onnxzoo.registry.records import Variant


class Case(NamedTuple):
    """A way in.

    Attributes:
        format: as it is recognised; ``factory`` where there is no file.
        file: what is written.
        code: what writes it, with the framework.
        how: what `convert` is told beside the file.
        inputs: of what comes out.
        outputs: of what comes out.
        labels: whether it classifies.
    """

    format: str
    file: str
    code: str
    how: Mapping[str, Any] = {}
    inputs: tuple[tuple[Any, ...], ...] = (("batch", 4),)
    outputs: int = 2
    labels: bool = True


IRIS = "from sklearn.datasets import load_iris; X, y = load_iris(return_X_y=True); "
NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.linear = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Linear(4, 5)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, image):
        return self.linear(self.drop(torch.relu(self.conv(image)).mean((2, 3))))

def make():
    torch.manual_seed(0)
    return Net()
"""
NETS = f"open('nets.py', 'w').write({NET!r}); import torch, nets; net = nets.make().eval(); "
KERAS = "import os; os.environ['KERAS_BACKEND'] = 'torch'; import keras as k; l = k.layers; "
IMAGE = {"inputs": ["image=batch,3,8,8"]}
NET_IN = (("batch", 3, 8, 8),)


def torch_case(form: str, file: str, code: str, **how: Any) -> Case:
    return Case(form, file, NETS + code, how, NET_IN, 1)


CASES = {
    "sklearn-joblib": Case(
        "sklearn-pickle",
        "m.joblib",
        IRIS + "import joblib; from sklearn.ensemble import RandomForestClassifier as F; "
        "joblib.dump(F(5, random_state=0).fit(X, y), 'm.joblib')",
        {"trust": True},
    ),
    "sklearn-packed-pipeline": Case(
        "sklearn-pickle",
        "m.z",
        IRIS + "import joblib; from sklearn.pipeline import make_pipeline as p; "
        "from sklearn.preprocessing import StandardScaler as S; "
        "from sklearn.linear_model import LogisticRegression as R; "
        "joblib.dump(p(S(), R()).fit(X, y), 'm.z', compress=3)",
        {"trust": True, "opset": 15},
    ),
    "sklearn-columns": Case(
        "sklearn-pickle",
        "m.pkl",
        "import pickle, pandas; from sklearn.compose import make_column_transformer as t; "
        "from sklearn.preprocessing import StandardScaler as S, OneHotEncoder as O; "
        "from sklearn.pipeline import make_pipeline as p; "
        "from sklearn.linear_model import LogisticRegression as R; "
        "X = pandas.DataFrame({'age': [1.0, 2.0, 3.0, 4.0], 'city': ['a', 'b', 'the', 'zoo']}); "
        "c = t((S(), ['age']), (O(handle_unknown='ignore'), ['city'])); "
        "pickle.dump(p(c, R()).fit(X, [0, 0, 1, 1]), open('m.pkl', 'wb'))",
        {"trust": True, "inputs": ["age=n,1", "city=string[n,1]"]},
        (("n", 1), ("n", 1)),
    ),
    "sklearn-regression": Case(
        "sklearn-pickle",
        "m.pkl",
        IRIS + "import pickle; from sklearn.neural_network import MLPRegressor as R; "
        "m = R(hidden_layer_sizes=(4,), max_iter=2000, tol=1, random_state=0).fit(X, y); "
        "pickle.dump(m, open('m.pkl', 'wb'))",
        {"trust": True},
        outputs=1,
        labels=False,
    ),
    "sklearn-histograms": Case(
        "sklearn-pickle",
        "m.pkl",
        IRIS + "import pickle; from sklearn.ensemble import HistGradientBoostingClassifier as H; "
        "pickle.dump(H(max_iter=3).fit(X, y), open('m.pkl', 'wb'))",
        {"trust": True},
    ),
    "sklearn-with-xgboost": Case(
        "sklearn-pickle",
        "m.pkl",
        IRIS + "import pickle; from xgboost import XGBClassifier as C; "
        "from sklearn.pipeline import make_pipeline as p; "
        "from sklearn.preprocessing import StandardScaler as S; "
        "pickle.dump(p(S(), C(n_estimators=3)).fit(X, y), open('m.pkl', 'wb'))",
        {"trust": True},
    ),
    "xgboost-json": Case(
        "xgboost",
        "m.json",
        IRIS + "import xgboost as x; x.train({'objective': 'multi:softprob', 'num_class': 3}, "
        "x.DMatrix(X, y), 3).save_model('m.json')",
    ),
    "xgboost-ubj": Case(
        "xgboost",
        "m.ubj",
        IRIS + "import xgboost as x; x.train({'objective': 'binary:logistic'}, "
        "x.DMatrix(X, y > 0, feature_names=list('abcd')), 3).save_model('m.ubj')",
        {"opset": 15},
    ),
    "xgboost-regression": Case(
        "xgboost",
        "m.json",
        IRIS + "import xgboost as x; "
        "x.train({}, x.DMatrix(X, y), 3).save_model('m.json')",
        outputs=1,
        labels=False,
    ),
    "xgboost-pickle": Case(
        "xgboost-pickle",
        "m.pkl",
        IRIS + "import pickle, xgboost as x; "
        "pickle.dump(x.XGBClassifier(n_estimators=3).fit(X, y), open('m.pkl', 'wb'))",
        {"trust": True},
    ),
    "lightgbm": Case(
        "lightgbm",
        "m.txt",
        IRIS + "import lightgbm as l; l.train({'objective': 'multiclass', 'num_class': 3, "
        "'verbose': -1}, l.Dataset(X, y), 3).save_model('m.txt')",
    ),
    "lightgbm-binary": Case(
        "lightgbm",
        "m.txt",
        IRIS + "import lightgbm as l; l.train({'objective': 'binary', 'verbose': -1}, "
        "l.Dataset(X, y > 0), 3).save_model('m.txt')",
    ),
    "lightgbm-regression": Case(
        "lightgbm",
        "m.txt",
        IRIS + "import lightgbm as l; "
        "l.train({'verbose': -1}, l.Dataset(X, y), 3).save_model('m.txt')",
        outputs=1,
        labels=False,
    ),
    "catboost": Case(
        "catboost",
        "m.cbm",
        IRIS + "import catboost as c; c.CatBoostClassifier(iterations=3, verbose=0, "
        "allow_writing_files=False).fit(X, y).save_model('m.cbm')",
    ),
    "catboost-regression": Case(
        "catboost",
        "m.cbm",
        IRIS + "import catboost as c; c.CatBoostRegressor(iterations=3, verbose=0, "
        "allow_writing_files=False).fit(X, y).save_model('m.cbm')",
        {"opset": 15},
        outputs=1,
        labels=False,
    ),
    "torch-factory": torch_case("factory", "nets:make", "", **IMAGE),
    "torch-factory-opset-17": torch_case("factory", "nets:make", "", **IMAGE, opset=17),
    "torch-state-dict": torch_case(
        "torch-pickle",
        "m.pt",
        "torch.save(net.state_dict(), 'm.pt')",
        **IMAGE,
        factory="nets:make",
        opset=17,
    ),
    "torch-module": torch_case(
        "torch-pickle", "m.pt", "torch.save(net, 'm.pt')", **IMAGE, trust=True, opset=17
    ),
    "torchscript": torch_case(
        "torchscript",
        "m.pt",
        "torch.jit.trace(net, torch.ones(2, 3, 8, 8)).save('m.pt')",
        inputs=["image=2,3,8,8"],
        dynamic={"batch": 0},
        trust=True,
    ),
    "torch-pt2": torch_case(
        "torch-pt2",
        "m.pt2",
        "b = torch.export.Dim('b', max=64); x = torch.ones(2, 3, 8, 8); "
        "torch.export.save(torch.export.export(net, (x,), dynamic_shapes=({0: b},)), 'm.pt2')",
        trust=True,
    ),
    "keras": Case(
        "keras",
        "m.keras",
        KERAS + "k.Sequential([k.Input((8, 8, 3)), l.Conv2D(4, 3, activation='relu'), "
        "l.BatchNormalization(), l.Flatten(), l.Dense(5, activation='softmax')]).save('m.keras')",
        {},
        (("batch", 8, 8, 3),),
        1,
    ),
    "keras-h5": Case(
        "keras",
        "m.h5",
        KERAS + "k.Sequential([k.Input((7, 3)), l.LSTM(4), l.Dense(5)]).save('m.h5')",
        {"opset": 17},
        (("batch", 7, 3),),
        1,
    ),
    "keras-two-inputs": Case(
        "keras",
        "m.keras",
        KERAS + "a, b = k.Input((4,), name='a'), k.Input((4,), name='b'); "
        "k.Model([a, b], l.Dense(3)(l.add([a, b]))).save('m.keras')",
        {"outputs": ["sum"]},
        (("batch", 4), ("batch", 4)),
        1,
    ),
    "keras-lambda": Case(
        "keras-lambda",
        "m.keras",
        KERAS + "k.Sequential([k.Input((4,)), l.Lambda(lambda x: x * 2), l.Dense(3)])"
        ".save('m.keras')",
        {"trust": True},
        outputs=1,
    ),
}  # fmt: skip

FRAMEWORKS = {
    "torch",
    "keras",
    "sklearn",
    "xgboost",
    "lightgbm",
    "catboost",
    "skl2onnx",
    "onnxmltools",
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """A case whose file is there, or a skip."""
    found = CASES[request.param]
    name = request.param.partition("-")[0].replace("torchscript", "torch")
    if absent := missing(converter(name)):
        pytest.skip(f"not installed: {', '.join(absent)}")
    monkeypatch.chdir(tmp_path)
    done = run_apart(f"import sys; sys.path.append('.'); {found.code}", tmp_path)
    if "ModuleNotFoundError" in done:
        pytest.skip(done.splitlines()[-1])
    assert not done, done
    return found


def shapes(variant: Variant) -> tuple[tuple[Any, ...], ...]:
    return tuple(tensor.shape or () for tensor in variant.graph.inputs)


def test_what_comes_out_computes_what_went_in(case: Case) -> None:
    if case.format != "factory":
        assert converter_of(Path(case.file))[1].name == case.format
    if case.how.get("trust"):
        how = {name: value for name, value in case.how.items() if name != "trust"}
        with pytest.raises(Refused, match=r"loading it can run code; it (would import|holds) "):
            convert(case.file, "net", **how)
    before = set(sys.modules)
    check(convert(case.file, "net", **case.how), case)
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not loaded & FRAMEWORKS


def check(variant: Variant, case: Case) -> None:
    assert shapes(variant) == case.inputs
    assert len(variant.graph.outputs) == case.outputs
    assert "opset" not in case.how or variant.opset == case.how["opset"]
    assert variant.lineage is not None
    recipe = variant.lineage.recipe
    assert recipe["format"] == case.format
    assert set(recipe["tools"]) > {"python", "onnx", "onnxruntime", "onnxzoo"}
    drift = recipe["drift"]
    assert drift["max"] < 1e-4
    assert drift["outside"] == 0
    assert drift["labels"] == (1 if case.labels else None)
    assert drift["samples"] >= 2
    assert not drift["unlike"]


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


def run_apart(code: str, folder: Path) -> str:
    """Run code in a process of its own; return what it said if it failed."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return done.stderr or "it failed" if done.returncode else ""
