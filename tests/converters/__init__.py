"""The contract of every converter: each format in, the same numbers out.

A name begins with the converter's. ``python -m tests.converters --all`` runs every case in the
isolated environment of its converter; the test suite runs those whose frameworks are installed.
"""

from tests.converters import (
    coreml,
    jax,
    keras,
    mxnet,
    paddle,
    tensorflow,
    torch,
    transformers,
    trees,
)
from tests.converters.case import Case

CASES: dict[str, Case] = {
    **trees.CASES,
    **torch.CASES,
    **keras.CASES,
    **tensorflow.CASES,
    **paddle.CASES,
    **coreml.CASES,
    **mxnet.CASES,
    **transformers.CASES,
    **jax.CASES,
}


def converter_in(name: str) -> str:
    """Return the converter that a case is for."""
    return name.partition("-")[0]
