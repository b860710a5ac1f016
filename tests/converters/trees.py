"""scikit-learn and the boosters."""

from tests.converters.case import Case

IRIS = "from sklearn.datasets import load_iris; X, y = load_iris(return_X_y=True); "
ROWS = (  # where scikit-learn is not installed beside
    "import numpy as n; X = n.random.default_rng(0).normal(size=(150, 4)); "
    "y = (X[:, 0] > 0) * 1 + (X[:, 1] > 0); "
)
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
    "xgboost-ranker": Case(
        "xgboost",
        "m.json",
        IRIS + "import xgboost as x; "
        "x.XGBRanker(n_estimators=3).fit(X, y, group=[150]).save_model('m.json')",
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
        ROWS + "import catboost as c; c.CatBoostClassifier(iterations=3, verbose=0, "
        "allow_writing_files=False).fit(X, y).save_model('m.cbm')",
    ),
    "catboost-regression": Case(
        "catboost",
        "m.cbm",
        ROWS + "import catboost as c; c.CatBoostRegressor(iterations=3, verbose=0, "
        "allow_writing_files=False).fit(X, y).save_model('m.cbm')",
        {"opset": 15},
        outputs=1,
        labels=False,
    ),
}  # fmt: skip
