"""The functions that `onnxzoo` offers: load, pull, register, resolve.

A model that is held is loaded without importing what knows of indexes and sources.
"""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from onnxzoo.registry.api import Registry
from onnxzoo.registry.errors import Misfit, NotFound, UsageError
from onnxzoo.registry.loading import EXACT
from onnxzoo.registry.names import Ref
from onnxzoo.registry.records import Progress, Variant
from onnxzoo.registry.settings import place

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

    from onnxzoo.registry.choose import Wish
    from onnxzoo.registry.convert.offer import How
    from onnxzoo.registry.sessions import Provider


def load(
    ref: str,
    *,
    variant: str | None = None,
    opset: str | int | None = None,
    max_bytes: int | None = None,
    prefer: str | None = None,
    max_drift: float | None = None,
    device: str = "auto",
    providers: "Sequence[Provider] | None" = None,
    session_options: "SessionOptions | None" = None,
    offline: bool | None = None,
    open: str = EXACT,  # noqa: A002  (what is asked: how to open)
) -> "InferenceSession":
    """Return an onnxruntime session on a model, pulling it first where an index pins its bytes.

    A model that is held never touches the network. What was loaded with the same arguments, and
    is in use still, is returned again: sessions are safe to share between threads.

    Args:
        ref: ``NAME[:VARIANT][@VERSION]``, such as ``"resnet50"`` or ``"mine:int8@production"``.
        variant: a label or a precision, instead of the reference's.
        opset: a number or a constraint such as ``"<=13"``.
        max_bytes: of all the variant's files together.
        prefer: which of the variants that are left: ``"speed"``, ``"size"``, ``"memory"`` or
            ``"accuracy"``, by what was measured on this machine (`zoo bench`, `zoo compare`) where
            all of them were, else by a written order of precisions; None: the one nearest to full
            precision at the highest opset that runs. `resolve` says in one sentence what decided.
        max_drift: the largest absolute difference of an output from full precision's, as
            `zoo compare` measured it here; a variant that was not measured is not taken.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"tensorrt"``, ``"openvino"``, ``"coreml"``…
        providers: onnxruntime's execution providers instead of a device, with their options.
        session_options: onnxruntime's own; without them only errors are logged.
        offline: never touch the network; None for what the environment says.
        open: ``"exact"`` opens what was prepared of the model, with the outputs of the plain file
            to the bit; ``"fastest"`` leaves matrices as they are in the file: it opens in
            milliseconds whatever the size, runs up to a quarter slower where matrix products
            dominate, and outputs may differ in the last bits.

    Raises:
        NotFound: if neither the registry nor an index has it.
        IntegrityError: if the bytes are not, or no longer, what they should be.
        Misfit: if it does not run on the installed onnxruntime; it says why, and what does.
        Refused: if a provider that was asked for is not there, or the model does not open.
    """
    registry = _of_process(place())
    wish: Wish = {
        "variant": variant,
        "opset": opset,
        "max_bytes": max_bytes,
        "prefer": prefer,
        "max_drift": max_drift,
        "device": device,
    }
    how = partial(registry.load, providers=providers, session_options=session_options, open=open)
    try:
        try:
            return how(ref, **wish)
        except NotFound:
            from onnxzoo.zoo_index.zoo import Zoo

            with Zoo(offline=offline) as zoo:
                found = zoo.obtain(ref, **wish)
        return how(found.ref, device=device)
    except Misfit as error:
        from onnxzoo.zoo_index.zoo import Zoo

        with Zoo(offline=offline) as zoo:
            zoo.hint(error, Ref.parse(ref).name)
        raise


def pull(
    ref: str,
    *,
    opset: str | int | None = None,
    max_bytes: int | None = None,
    prefer: str | None = None,
    name: str | None = None,
    sha256: str | None = None,
    runtime: str | None = None,
    force: bool = False,
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Variant:
    """Fetch a model, verify it, keep it and return it; what is held already is left alone.

    Args:
        ref: a name in an index, ``hf://org/repo[@revision][/file][:variant]``,
            ``https://…/model.onnx``, ``pkg://package/path`` or a local path.
        opset: a number or a constraint, for a name, as are the next two.
        max_bytes: of all the variant's files together.
        prefer: a goal; see `load`.
        name: what to call it here: ``NAME[:VARIANT]``.
        sha256: what the file of a source must hash to, in hexadecimal.
        runtime: choose what this release runs, such as ``"onnxruntime==1.17"``; None for the
            installed onnxruntime.
        force: keep a model of an index although it does not run there.
        offline: never touch the network; None for what the environment says.
        progress: called with ``(label, done, total)`` in bytes.

    Raises:
        NotFound, NotAuthorised, RemoteError: if it cannot be had.
        Misfit: if it does not run; nothing was fetched.
        IntegrityError, InvalidModel: if what arrived is not what it should be.
    """
    from onnxzoo.zoo_index.zoo import Zoo

    with Zoo(offline=offline) as zoo:
        return zoo.pull(
            ref,
            opset=opset,
            max_bytes=max_bytes,
            prefer=prefer,
            name=name,
            sha256=sha256,
            runtime=runtime,
            force=force,
            progress=progress,
        ).variant


def register(
    path: "str | Path | object",
    name: str,
    *,
    new_version: bool = False,
    task: str | None = None,
    license: str | None = None,  # noqa: A002  (the field's word, and a keyword here)
    tags: Sequence[str] = (),
    **how: "Unpack[How]",
) -> Variant:
    """Keep an ONNX file with its external data, or a model in code, which is converted first.

    Args:
        path: a `.onnx` file, or a model: a `torch.nn.Module`, a scikit-learn estimator, a booster.
        name: see `Registry.register`, as are the next four.
        new_version: start a new version whatever is held.
        task: what the model does.
        license: an SPDX identifier.
        tags: words to find the model by.
        how: of a model in code, in `torch.onnx.export`'s words: ``example=(x,)``,
            ``input_names``, ``output_names``, ``dynamic_axes``, ``opset_version``; see
            `onnxzoo.registry.convert.offer.How`.
    """
    if not isinstance(path, str | Path):
        from onnxzoo.registry.convert.offer import register_model

        return register_model(
            path, name, new_version=new_version, task=task, license=license, tags=tags, **how
        )
    if how:
        raise UsageError(
            f"`{next(iter(how))}` is said of a model in code, and `{path}` is a file",
            hint="onnxzoo.convert converts files",
        )
    with Registry() as registry:
        return registry.register(
            path, name, new_version=new_version, task=task, license=license, tags=tags
        ).variant


def resolve(
    ref: str,
    *,
    variant: str | None = None,
    opset: str | int | None = None,
    max_bytes: int | None = None,
    prefer: str | None = None,
    max_drift: float | None = None,
    device: str = "auto",
    runtime: str | None = None,
) -> Variant:
    """Return the held variant that a reference means: its path, digest, graph, source.

    What a reference leaves open is chosen so that it runs on the installed onnxruntime, or on the
    release that ``runtime`` names (``"onnxruntime==1.17"``). The other arguments are `load`'s. The
    answer's `why` is one sentence on what decided.

    Raises:
        NotFound: if no such model, version or variant is held.
    """
    from onnxzoo.zoo_index.zoo import Zoo

    with Zoo() as zoo:
        return zoo.resolve(
            ref,
            variant=variant,
            opset=opset,
            max_bytes=max_bytes,
            prefer=prefer,
            max_drift=max_drift,
            device=device,
            runtime=runtime,
        )


@cache
def _of_process(_: tuple[str | None, str | None]) -> Registry:
    """Return the registry that this process loads from; it stays open for the next load."""
    return Registry()
