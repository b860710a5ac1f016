"""MXNet."""

from tests.converters.case import Case

NET = """
from mxnet import init, nd, random
from mxnet.gluon import nn

def make():
    random.seed(0)
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, activation="relu"), nn.BatchNorm(), nn.MaxPool2D(), nn.Flatten(),
            nn.Dense(5), nn.LayerNorm())
    net.initialize(init.Xavier())
    return net
"""
NETS = f"open('nets.py', 'w').write({NET!r}); import nets; net = nets.make(); "
EXPORT = "net.hybridize(); net(nets.nd.ones((2, 3, 8, 8))); net.export('m', epoch=3); "
IMAGE = {"inputs": ["data=batch,3,8,8"]}
IMAGE_IN = (("batch", 3, 8, 8),)
CASES = {
    "mxnet-gluon": Case("mxnet", "m-symbol.json", NETS + EXPORT, IMAGE, IMAGE_IN, 1),
    "mxnet-folder": Case(
        "mxnet",
        "m",
        NETS + "import os; os.mkdir('m'); os.chdir('m'); " + EXPORT,
        IMAGE | {"opset": 12},
        IMAGE_IN,
        1,
    ),
    "mxnet-module": Case(
        "mxnet",
        "m-symbol.json",
        "import mxnet as x; s = x.sym; c = s.Convolution(s.var('data'), num_filter=4, "
        "kernel=(3, 3)); n = s.SoftmaxOutput(s.FullyConnected(c, num_hidden=5), name='softmax'); "
        "m = x.mod.Module(n); m.bind([('data', (2, 3, 8, 8))], [('softmax_label', (2,))]); "
        "m.init_params(x.init.Xavier()); m.save_checkpoint('m', 0); m.save_checkpoint('m', 10)",
        {"inputs": ["data=2,3,8,8"], "dynamic": {"batch": 0}},
        IMAGE_IN,
        1,
    ),
    "mxnet-factory": Case(
        "factory", "nets:make", NETS, IMAGE | {"from_": "mxnet"}, IMAGE_IN, 1
    ),
}  # fmt: skip
