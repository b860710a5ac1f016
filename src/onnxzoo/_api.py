"""The functions that `onnxzoo` offers: load, pull, search, list, quantize, register, resolve.

A model that is held is loaded without importing what knows of indexes and sources.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Misfit, NotFound, UsageError
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.names import Ref
from onnxzoo.registry.core.progress_bars import reporting
from onnxzoo.registry.core.records import Progress, Variant
from onnxzoo.registry.core.settings import place
from onnxzoo.registry.core.text import show_size
from onnxzoo.registry.sessions.loader import EXACT

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable

    from onnx import ModelProto
    from onnxruntime import InferenceSession, SessionOptions

    from onnxzoo.registry.convert.api import ExportOptions
    from onnxzoo.registry.derive.quantize import Data
    from onnxzoo.registry.resolve.choose import Constraints
    from onnxzoo.registry.runtime.providers import Provider
    from onnxzoo.zoo_index.search import SearchHit
    from onnxzoo.zoo_index.zoo import Zoo


_SOURCE = re.compile(r"(hf|https?|pkg)://|hf\.co/|huggingface\.co/", re.IGNORECASE)
_log = logger()
_OPEN: dict[tuple[str | None, str | None], Registry] = {}


def load(
    ref: str | Variant,
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
    lock: str | Path | None = None,
    progress: Progress | None = None,
) -> "InferenceSession":
    """Return an onnxruntime session on a model, pulling it first where an index pins its bytes.

    A model that is held never touches the network. What was loaded with the same arguments, and
    is in use still, is returned again: sessions are safe to share between threads.

    Args:
        ref: ``NAME[:VARIANT][@VERSION]``, such as ``"resnet50"`` or ``"mine:int8@production"``,
            or what `resolve`, `pull` and `register` return.
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
        session_options: onnxruntime's own; without them onnxruntime logs nothing.
        offline: never touch the network; None for what the environment says.
        open: ``"exact"`` opens what was prepared of the model, with the outputs of the plain file
            to the bit; ``"fastest"`` leaves matrices as they are in the file: it opens in
            milliseconds whatever the size, runs up to a quarter slower where matrix products
            dominate, and outputs may differ in the last bits.
        lock: a lock file, such as ``"zoo.lock"``: load the bytes that it has for the reference, as
            it was locked, and nothing else. They are fetched from where they came from if they
            are not held.
        progress: called with ``(label, done, total)`` in bytes while it is pulled; None: a bar on
            a terminal or in a notebook. The logger ``onnxzoo`` says at INFO what is pulled.

    Raises:
        NotFound: if neither the registry nor an index has it, or the lock does not.
        IntegrityError: if the bytes are not, or no longer, what they should be.
        Misfit: if it does not run on the installed onnxruntime; it says why, and what does.
        Refused: if a provider that was asked for is not there, or the model does not open.
    """
    ref = _reference(ref)
    registry = _of_process(place())
    wish: Constraints = {
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
            meant = ref if lock is None else _locked(registry, lock, ref, wish)
            return how(meant, **(wish if lock is None else {"device": device}))
        except NotFound:
            from onnxzoo.zoo_index.zoo import Zoo

            with Zoo(offline=offline) as zoo, reporting(zoo.settings, progress) as report:
                found = _obtained(zoo, ref, wish, lock, report)
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
    test_data: bool = False,
    allow_licenses: Sequence[str] | None = None,
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Variant:
    """Fetch a model, verify it, keep it and return it; a held one is left alone.

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
        test_data: fetch the reference inputs and outputs too, where an index knows of some; that
            they are not there is only a warning.
        allow_licenses: refuse others: SPDX identifiers, case ignored, and ``"unknown"``; None for
            what the environment says (``ZOO_ALLOW_LICENSES``).
        offline: never touch the network; None for what the environment says.
        progress: called with ``(label, done, total)`` in bytes.

    Raises:
        NotFound, NotAuthorised, RemoteError: if it cannot be had.
        Misfit: if it does not run; nothing was fetched.
        Refused: if its licence is not allowed; nothing was fetched.
        IntegrityError, InvalidModel: if what arrived is not what it should be.
    """
    from onnxzoo.zoo_index.zoo import Zoo

    with Zoo(offline=offline, allow_licenses=allow_licenses) as zoo:
        found = zoo.pull(
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
        if test_data:
            zoo.pull_test_data(found, progress)
        return found


def quantize(
    ref: str,
    to: str | None = None,
    *,
    method: str | None = None,
    calibrate: "Data | None" = None,
    preprocess: str | None = None,
    inputs: str | Path | None = None,
    ops: Sequence[str] = (),
    exclude: Sequence[str] = (),
    min_cosine: float = 0.9,
    max_drift: float | None = None,
    min_labels: float | None = None,
    min_correlation: float = 0.5,
    search: bool = False,
    label: str | None = None,
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Variant:
    """Make a variant of another precision, compare it with its parent, keep it if it is fit.

    Args:
        ref: what it is made from: any model, pulled if it is not held.
        to: ``"int8"``, ``"uint8"``, ``"int4"``, ``"fp16"``, ``"bf16"`` or ``"qdq"``; None, with a
            search, for whichever serves best.
        method: ``"dynamic"``, ``"static"`` or ``"weight-only"``; None for the one that fits the
            model and the processor.
        calibrate: for static quantization: a `.npz`, a folder of `.npy`, `.npz` or images,
            ``"random"``, or an iterable of inputs by name.
        preprocess: how images become inputs: ``"imagenet"``, ``"0-1"`` or ``"-1-1"``.
        inputs: what to compare on, a path as above or ``"random"``; None for the calibration
            data, else for seeded random ones.
        ops: op types to quantize, instead of those that fit.
        exclude: op types and nodes that stay as they are.
        min_cosine: of its outputs with its parent's.
        max_drift: the largest absolute difference of an output.
        min_labels: the share of equal labels; None for 0.5 of classifiers, 0 for none.
        min_correlation: how well its outputs follow its parent's as the inputs change.
        search: try a handful of recipes and keep the smallest that is fit; of those of one size
            the fastest, of those of one speed the nearest.
        label: the variant's; None for what was asked for.
        offline: never touch the network; None for what the environment says.
        progress: called with ``(label, done, total)``.

    Raises:
        UsageError, NotFound: if what was asked for does not go together, or data is missing.
        Refused: if it cannot be made, or is not fit; nothing is kept then.
    """
    from onnxzoo.registry.derive import acceptance
    from onnxzoo.registry.derive import quantize as precision
    from onnxzoo.zoo_index.zoo import Zoo

    with Zoo(offline=offline) as zoo:
        return precision.quantize(
            zoo.registry,
            zoo.obtain(ref),
            to,
            method=method,
            calibrate=calibrate,
            preprocess=preprocess,
            inputs=inputs,
            ops=ops,
            exclude=exclude,
            bounds=acceptance.Bounds(min_cosine, max_drift, min_labels, min_correlation),
            search=search,
            label=label,
            progress=progress,
        ).derived.added.variant


def convert(
    source: str | Path | object, name: str | None = None, *, opset: int | None = None, **how: Any
) -> Variant:
    """Make ONNX of another framework's model, or another opset of a model of the registry.

    Args:
        source: a file, a folder, ``module:function`` or a model in code, with a name to keep it
            under: see `onnxzoo.registry.convert.api.convert`. Without a name it is
            ``NAME[:VARIANT][@VERSION]``: see `onnxzoo.zoo_index.derive.convert`.
        name: what to call the model of a framework.
        opset: the opset of ``ai.onnx``; of a framework's model None is the exporter's choice.
        how: the further arguments of these two. Of a framework's model: ``example`` (``(x,)``,
            rows, or an `.npz` or `.npy` file), ``inputs`` (``["x=batch,3,224,224"]``), ``outputs``,
            ``dynamic``, ``dynamic_axes``, ``factory`` (``"module:function"``, of a state dict),
            ``from_``, ``trust``, ``isolated``, ``options``, ``seed``, ``accept_drift``,
            ``new_version``, ``task``, ``license``, ``tags``. Of a model of the registry:
            ``runtime`` (``"onnxruntime==1.17"``, a release that is to run it), ``label``.

    Raises:
        NotFound: if the source, the model or the framework is not there.
        Refused: if it cannot be converted, or its outputs are others than the original's.
    """
    if name is not None:
        from onnxzoo.registry.convert.api import convert as of_framework

        _check_keywords("convert", how, _keywords(of_framework))
        return of_framework(source, name, opset=opset, **how)
    if opset is None and how.get("runtime") is None:
        raise UsageError(
            f"`{source}` is to become what? expected a name to keep it under, or an opset",
            hint='onnxzoo.convert("net.pt", "mine"), onnxzoo.convert("mine", opset=17)',
        )
    from onnxzoo.zoo_index.derive import convert as at_opset

    _check_keywords("convert", how, _keywords(at_opset))
    return at_opset(str(source), opset=opset, **how)


def register(
    path: "str | Path | object",
    name: str,
    *,
    new_version: bool = False,
    task: str | None = None,
    license: str | None = None,  # noqa: A002  (the field's word, and a keyword here)
    tags: Sequence[str] = (),
    test_data: str | Path | None = None,
    force: bool = False,
    **how: "Unpack[ExportOptions]",
) -> Variant:
    """Keep an ONNX file with its external data, or a model in code, which is converted first.

    Args:
        path: a `.onnx` file, an `onnx.ModelProto` or its bytes; or a model of a framework: a
            `torch.nn.Module`, a scikit-learn estimator, a booster.
        name: see `Registry.register`, as are the next four.
        new_version: start a new version whatever is held.
        task: what the model does.
        license: an SPDX identifier.
        tags: words to find the model by.
        test_data: reference inputs and outputs, of a file.
        force: see `Registry.register`.
        how: of a model in code, in `torch.onnx.export`'s words: ``example=(x,)``,
            ``input_names``, ``output_names``, ``dynamic_axes``, ``dynamic_shapes``,
            ``opset_version``, ``dynamo``, ``export_params``, ``do_constant_folding``; see
            `onnxzoo.registry.convert.api.ExportOptions`.

    Raises:
        UsageError: for any other argument.
    """
    from onnxzoo.registry.onnx_file.given_model import is_in_memory

    in_code = not isinstance(path, str | Path)
    if how:
        from onnxzoo.registry.convert.api import ExportOptions

        _check_keywords("register", how, ExportOptions.__annotations__)
    if in_code and not is_in_memory(path):
        from onnxzoo.registry.convert.api import register_model

        if test_data is not None:
            raise UsageError(
                "`test_data` goes with an ONNX file",
                hint=f"register the model, then: zoo test {name} --data {test_data}",
            )
        return register_model(
            path, name, new_version=new_version, task=task, license=license, tags=tags, **how
        )
    if how:
        shown = "an ONNX model" if in_code else f"`{path}`, a file,"
        raise UsageError(
            f"`{next(iter(how))}` says how a framework's model is converted; "
            f"{shown} is kept as it is",
            hint="onnxzoo.convert converts files",
        )
    with Registry() as registry:
        return registry.register(
            cast("str | Path | ModelProto", path),
            name,
            new_version=new_version,
            task=task,
            license=license,
            tags=tags,
            test_data=test_data,
            force=force,
        ).variant


def resolve(
    ref: str | Variant,
    *,
    variant: str | None = None,
    opset: str | int | None = None,
    max_bytes: int | None = None,
    prefer: str | None = None,
    max_drift: float | None = None,
    device: str = "auto",
    runtime: str | None = None,
    lock: str | Path | None = None,
) -> Variant:
    """Return the held variant that a reference means: its path, digest, graph, source.

    What a reference leaves open is chosen so that it runs on the installed onnxruntime, or on the
    release that ``runtime`` names (``"onnxruntime==1.17"``). The other arguments are `load`'s. The
    answer's `why` is one sentence on what decided.

    Raises:
        NotFound: if no such model, version or variant is held.
    """
    from onnxzoo.zoo_index.zoo import Zoo

    wish: Constraints = {
        "variant": variant,
        "opset": opset,
        "max_bytes": max_bytes,
        "prefer": prefer,
        "max_drift": max_drift,
        "device": device,
        "runtime": runtime,
    }
    ref = _reference(ref)
    with Zoo() as zoo:
        if lock is None:
            return zoo.resolve(ref, **wish)
        from onnxzoo.zoo_index.lock.sync import held_by_lock

        return held_by_lock(zoo, lock, ref, **wish)


def search(
    words: str = "",
    *,
    task: str | None = None,
    opset: str | int | None = None,
    max_bytes: int | None = None,
    license: str | None = None,  # noqa: A002  (the field's word)
) -> "builtins.list[SearchHit]":
    """Return the models that are held or can be pulled and match every word and condition.

    Args:
        words: such as ``"resnet 50"``; each must occur in the name, task, tags, precision, ops or
            exporter. Without words, all models.
        task: such as ``"image-classification"``.
        opset: a number or a constraint such as ``"<=13"``.
        max_bytes: of all the variant's files together.
        license: an SPDX identifier, upper and lower case alike.
    """
    from onnxzoo.registry.resolve.choose import parse_opset
    from onnxzoo.zoo_index import search as catalogue
    from onnxzoo.zoo_index.zoo import Zoo

    with Zoo() as zoo:
        return catalogue.search(
            zoo,
            words.split(),
            task=task,
            opset=parse_opset(opset),
            max_bytes=max_bytes,
            license=license,
        )


def list(name: str | None = None) -> Sequence[Variant]:  # noqa: A001  (`onnxzoo.list`)
    """Return the variants that are held, by name, newest version first.

    Args:
        name: of this model only: its versions, and the variants of each.
    """
    with Registry() as registry:
        return registry.list(name=name and Ref.parse(name).name)


def _keywords(function: "Callable[..., object]") -> "builtins.list[str]":
    import inspect

    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.name != "opset"]


def _check_keywords(function: str, given: Iterable[str], known: Collection[str]) -> None:
    """Raise UsageError for an argument that a function does not take."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f"; did you mean `{near[0]}`?" if near else ""
            raise UsageError(
                f"`{function}` takes no `{name}`{meant}",
                hint=f"it takes {', '.join(f'`{word}`' for word in known)}",
            )


def _locked(registry: Registry, lock: str | Path, ref: str, wish: "Constraints") -> str:
    """Return the reference here of a locked bundle; one digest may belong to several models."""
    from onnxzoo.zoo_index.lock.lockfile import read

    locked = read(lock).find(ref, wish)
    held = locked.among(registry.holding(locked.digest))
    if held is None:
        raise NotFound(f"`{locked.ref}` is not held")
    return held.ref


def _obtained(
    zoo: "Zoo", ref: str, wish: "Constraints", lock: str | Path | None, progress: Progress | None
) -> Variant:
    _log.info("`%s` is not held: pulling it", ref)
    if lock is None:
        found = zoo.obtain(ref, progress=progress, **wish)
    else:
        from onnxzoo.zoo_index.lock.sync import from_lock

        found = from_lock(zoo, lock, ref, progress, **wish)
    _log.info("pulled `%s`: %s from %s", found.ref, show_size(found.bytes), found.source)
    return found


def _reference(ref: str | Variant) -> str:
    """Return a reference as text.

    Raises:
        UsageError: if it is a file or a source, which other functions take.
    """
    if isinstance(ref, Variant):
        return ref.ref
    if isinstance(ref, Path) or (isinstance(ref, str) and _is_file(ref)):
        raise UsageError(
            f"`{ref}` is a file; expected NAME[:VARIANT][@VERSION]",
            hint=f'onnxzoo.load(onnxzoo.register("{ref}", "NAME"))',
        )
    if isinstance(ref, str) and _SOURCE.match(ref):
        raise UsageError(
            f"`{ref}` is a source; expected NAME[:VARIANT][@VERSION]",
            hint=f'onnxzoo.load(onnxzoo.pull("{ref}"))',
        )
    return ref


def _is_file(text: str) -> bool:
    return text.lower().endswith(".onnx") or text.startswith(("/", "./", "../", "~", "\\"))


def _of_process(key: tuple[str | None, str | None]) -> Registry:
    """Return the registry that this process loads from; it stays open for the next load."""
    found = _OPEN.get(key)
    if found is None:  # one step: two threads get one registry, and so one session
        found = _OPEN.setdefault(key, Registry())
    return found
