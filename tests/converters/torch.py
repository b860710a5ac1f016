"""PyTorch."""

from typing import Any

from tests.converters.case import Case

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
IMAGE = {"inputs": ["image=batch,3,8,8"]}
NET_IN = (("batch", 3, 8, 8),)


def torch_case(form: str, file: str, code: str, **how: Any) -> Case:
    return Case(form, file, NETS + code, how, NET_IN, 1)


CASES = {
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
    "torch-safetensors": torch_case(
        "weights",
        "m.safetensors",
        "from safetensors.torch import save_file; save_file(net.state_dict(), 'm.safetensors')",
        **IMAGE,
        factory="nets:make",
    ),
    "torch-module": torch_case(
        "torch-pickle", "m.pt", "torch.save(net, 'm.pt')", **IMAGE, trust=True, opset=17
    ),
    "torch-script": torch_case(
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
}  # fmt: skip
