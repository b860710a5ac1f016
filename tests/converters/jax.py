"""JAX, Flax and Equinox."""

from typing import Any

from tests.converters.case import Case

NETS = """
import jax, jax.numpy as jnp
from flax import linen, nnx
import equinox

class Net(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.linear = nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, image):
        found = nnx.relu(self.norm(self.conv(image)))
        found = nnx.max_pool(found, window_shape=(2, 2), strides=(2, 2))
        return self.linear(self.drop(found.mean((1, 2))))

def flax():
    return Net(nnx.Rngs(0))

def attention():
    net = nnx.MultiHeadAttention(4, 8, decode=False, rngs=nnx.Rngs(0))
    return lambda tokens: net(tokens), (jax.random.normal(jax.random.key(0), (2, 7, 8)),)

def function():
    table = jax.random.normal(jax.random.key(0), (10, 4))
    return jax.jit(lambda ids, scale: {"a": jnp.tanh(table[ids] * scale), "b": ids + 1})

def eqx():
    net = equinox.nn.MLP(4, 3, 8, 2, key=jax.random.key(0))
    return jax.vmap(net), (jnp.ones((2, 4)),)

def bound():
    net = linen.Sequential([linen.Dense(8), linen.relu, linen.Dense(3)])
    return net.bind(net.init(jax.random.key(0), jnp.ones((1, 4))))
"""


def jax_case(function: str, **rest: Any) -> Case:
    rest = {"outputs": 1, **rest, "how": {"from_": "jax", **rest.get("how", {})}}
    return Case("factory", f"nets:{function}", f"open('nets.py', 'w').write({NETS!r})", **rest)


CASES = {
    "jax-flax": jax_case(
        "flax", how={"inputs": ["image=batch,8,8,3"]}, inputs=(("batch", 8, 8, 3),)
    ),
    "jax-flax-opset-17": jax_case(
        "flax", how={"inputs": ["image=batch,8,8,3"], "opset": 17}, inputs=(("batch", 8, 8, 3),)
    ),
    "jax-attention": jax_case(
        "attention", how={"dynamic": {"batch": 0}}, inputs=(("batch", 7, 8),)
    ),
    "jax-function": jax_case(
        "function",
        how={"inputs": ["ids=int64[n]", "scale=1"]},
        inputs=(("n",), (1,)),
        outputs=2,
    ),
    "jax-linen": jax_case("bound", how={"inputs": ["x=batch,4"], "outputs": ["y"]}),
    "jax-equinox": jax_case("eqx", how={"dynamic_axes": {"x": {0: "batch"}}}),
}  # fmt: skip
