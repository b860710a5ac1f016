"""Keras on its torch backend."""

from tests.converters.case import Case

KERAS = "import os; os.environ['KERAS_BACKEND'] = 'torch'; import keras as k; l = k.layers; "
CASES = {
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
