"""PaddlePaddle."""

from tests.converters.case import Case

NET = """
import paddle
from paddle import nn

def make():
    paddle.seed(0)
    return nn.Sequential(
        nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.ReLU(), nn.AdaptiveAvgPool2D(1), nn.Flatten(),
        nn.Dropout(), nn.Linear(4, 5), nn.Softmax())

class Two(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embed, self.lstm = nn.Embedding(2, 4), nn.LSTM(4, 5)

    def forward(self, ids, x):
        return self.lstm(self.embed(ids))[0].mean(1) + x, x.argmax(-1)
"""
NETS = f"open('nets.py', 'w').write({NET!r}); import nets; "
SAVE = (
    "net = nets.make(); net.eval(); nets.paddle.jit.save(net, '{0}', input_spec=["
    "nets.paddle.static.InputSpec([None, 3, 8, 8], 'float32', 'image')]); "
)
# Paddle 3 writes the older format under a flag, which is read when it is imported.
OLD = "import os; os.environ['FLAGS_enable_pir_api'] = '0'; "
IMAGE_IN = (("batch", 3, 8, 8),)
CASES = {
    "paddle-json": Case("paddle", "m.json", NETS + SAVE.format("m"), {}, IMAGE_IN, 1),
    "paddle-opset-21": Case(
        "paddle", "m.json", NETS + SAVE.format("m"), {"opset": 21}, IMAGE_IN, 1
    ),
    "paddle-pdmodel": Case(
        "paddle", "m.pdmodel", OLD + NETS + SAVE.format("m"), {"opset": 11}, IMAGE_IN, 1
    ),
    "paddle-folder": Case("paddle", "m", NETS + SAVE.format("m/inference"), {}, IMAGE_IN, 1),
    "paddle-fluid-folder": Case(
        "paddle",
        "m",
        OLD + NETS + SAVE.format("m/x")
        + "os.rename('m/x.pdmodel', 'm/__model__'); os.rename('m/x.pdiparams', 'm/__params__')",
        {},
        IMAGE_IN,
        1,
    ),
    "paddle-factory": Case(
        "factory",
        "nets:make",
        NETS,
        {"from_": "paddle", "inputs": ["image=batch,3,8,8"]},
        IMAGE_IN,
        1,
    ),
    "paddle-two-inputs": Case(
        "factory",
        "nets:Two",
        NETS,
        {"from_": "paddle", "inputs": ["ids=int64[batch,7]", "x=batch,5"]},
        (("batch", 7), ("batch", 5)),
        2,
    ),
}  # fmt: skip
