"""One conversion: recognise, convert in a child, prove in another, keep with its lineage."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxzoo.registry.api import Registry
from onnxzoo.registry.convert.detect.formats import Format, code_in
from onnxzoo.registry.convert.discovery import converter, converter_of, require
from onnxzoo.registry.convert.environments import interpreter
from onnxzoo.registry.convert.interface import MODEL, Converter, Input, Job
from onnxzoo.registry.convert.source import Source, sha256_of, source_of
from onnxzoo.registry.convert.workers import Child, checked, limits
from onnxzoo.registry.core.errors import NotFound, Refused, UsageError
from onnxzoo.registry.core.files import clear, reporting_storage
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.names import Ref, check_word
from onnxzoo.registry.core.records import AddResult, Draft, Graph, Lineage, Progress
from onnxzoo.registry.core.sandbox_answer import check_files
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.core.staging import staging_folder, staging_name

_log = logger()
_OTHERS = 0.01  # share of labels that may differ: of two that are equal either may come first
_ROUNDED = 0.1  # of a quantized model, on inputs that are made up
_PROOF = 3 << 30  # bytes that onnx and onnxruntime take themselves


@dataclass(frozen=True, slots=True)
class ConversionRequest:
    """A request for a conversion.

    Attributes:
        from_: the converter to take, whatever the content says.
        factory: ``module:function`` that makes the module for a state dict.
        inputs, outputs, dynamic, axes, opset, options, seed, example, given: see `Job`.
        trust: load what can run code.
        isolated: run in an environment made for the framework.
        accept_drift: keep it although its outputs lie beyond the tolerance.
    """

    from_: str | None = None
    factory: str | None = None
    inputs: Sequence[Input] = ()
    outputs: Sequence[str] = ()
    dynamic: Mapping[int, str] = field(default_factory=dict)
    axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    opset: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    example: Path | None = None
    given: Sequence[Any] | None = None
    trust: bool = False
    isolated: bool = False
    accept_drift: bool = False


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata for the registry; see `Registry.register`."""

    new_version: bool = False
    task: str | None = None
    license: str | None = None
    tags: Sequence[str] = ()


# What makes two conversions of one source the same weights, whatever their opset.
_SAME_WEIGHTS = ("from", "format", "options", "source", "seed")


def convert(
    registry: Registry,
    what: Any,
    name: str,
    order: ConversionRequest,
    labels: Metadata | None = None,
    *,
    progress: Progress | None = None,
) -> AddResult:
    """Convert a model of another framework and keep it.

    Args:
        registry: where it is kept.
        what: a file, a folder, ``module:function``, or a model in code.
        name: ``NAME[:VARIANT][@VERSION]``.
        order: how.
        labels: what else is known of it.
        progress: told of the bytes copied.

    Raises:
        NotFound: if the source or its framework is not there.
        InvalidModel: if its format is not known, or what was made is no valid model.
        Refused: if it can run code and is not trusted; if its format is dead; if the framework
            fails, or passes its limits; if the outputs do not agree.
    """
    draft = _draft(Ref.parse(name), labels or Metadata(), registry)
    _check_example(order.example)
    _check_opset(order.opset)
    source = source_of(what, order.factory, order.options)
    if order.given is not None and source.value is None:
        raise UsageError(
            f"the example for `{source.name}` has to be a file, since a child process reads it",
            hint="numpy.savez('example.npz', x=…), and example='example.npz'",
        )
    one, form = _converter(source, order)
    _check_options(one, order)
    _check_trust(source, form, order)
    with _folder(registry.settings) as folder:
        job = _job(source, one, form, order, folder)
        if one.check is not None:
            one.check(job)
        python = _python(one, source, order, registry.settings, progress)
        told = _converted(job, one, source, python, registry.settings, progress=progress)
        for note in told["notes"]:
            _log.warning("%s", note)
        for note in told["found"]:
            _log.info("%s", note)
        _check_made(job, registry.settings)
        _check_axes(job)
        drift = _proven(job, one, source, told["within"], registry.settings, progress=progress)
        called = told["reference"] or "its framework"
        _check_drift(drift, one, source, called, accept=order.accept_drift)
        recipe = _recipe(job, source, order, told, drift)
        lineage = Lineage(parent=None, called=source.name, recipe=recipe)
        return _keep(registry, job, lambda graph: draft(graph, source.where, lineage), progress)


def _check_example(path: Path | None) -> None:
    if path is not None and not path.expanduser().is_file():
        raise NotFound(f"no file `{path}`")


def _check_opset(opset: int | None) -> None:
    if opset is None:
        return
    from onnx.defs import onnx_opset_version

    if not 1 <= opset <= (highest := onnx_opset_version()):
        raise UsageError(
            f"no opset `{opset}`; the installed onnx knows 1 to {highest}",
            hint="leave --opset (in code: opset) out, and the exporter chooses",
        )


def _converter(source: Source, order: ConversionRequest) -> tuple[Converter, Format]:
    if source.path is not None:
        return converter_of(source.path, order.from_ or ("torch" if order.factory else None))
    if source.factory is None and not (order.from_ or source.framework):
        raise UsageError(
            f"a `{source.name}` is a model of no framework that is known",
            hint='say whose it is, as from_="jax" does; or save it, and convert that',
        )
    name = order.from_ or source.framework or "torch"
    word = "object" if source.factory is None else "factory"
    return converter(name), Format(word, f"a model of {name}", name)


def _check_options(one: Converter, order: ConversionRequest) -> None:
    known = order.options if one.options is None else one.options
    for name in order.options:
        if name not in known:
            listed = ", ".join(f"`{own}`" for own in known) or "none"
            raise UsageError(f"the converter `{one.name}` has no option `{name}`; it has {listed}")


def _check_trust(source: Source, form: Format, order: ConversionRequest) -> None:
    """Refuse sources that can run code; allow a state dict of safe names for a factory."""
    safe = form.name == "torch-pickle" and order.factory is not None
    if source.path is None or not form.runs_code or order.trust or safe:
        return
    hint = "if you trust whoever made it, add --trust (in code: trust=True)"
    if form.name == "torch-pickle":
        hint = (
            "a state dict needs its module only: --factory module:function "
            f'(in code: factory="module:function"); else, {hint}'
        )
    raise Refused(
        f"`{source.name}` is {form.words}: loading it can run code; {code_in(source.path, form)}",
        hint=hint,
    )


@contextmanager
def _folder(settings: Settings) -> Iterator[Path]:
    folder = settings.conversions / staging_name()
    try:
        with reporting_storage(settings.conversions), staging_folder(folder):
            yield folder
    finally:
        clear(folder)


def _job(
    source: Source, one: Converter, form: Format, order: ConversionRequest, folder: Path
) -> Job:
    made = folder / "made"
    made.mkdir()
    return Job(
        converter=one.name,
        module=one.module,
        format=form.name,
        source=source.path,
        folder=made,
        factory=source.factory,
        path=str(Path.cwd()),
        inputs=tuple(order.inputs),
        outputs=tuple(order.outputs),
        dynamic=order.dynamic,
        axes=order.axes,
        opset=order.opset,
        options=order.options,
        trust=order.trust,
        seed=order.seed,
        example=order.example and order.example.expanduser().absolute(),
        value=source.value,
        given=order.given,
    )


def _python(
    one: Converter,
    source: Source,
    order: ConversionRequest,
    settings: Settings,
    progress: Progress | None,
) -> Path | None:
    """Return the interpreter of the framework's own environment, if that is wanted."""
    if source.value is not None:
        return None
    if order.isolated:
        return interpreter(one, settings, progress)
    require(one, source.name)
    return None


def _converted(
    job: Job,
    one: Converter,
    source: Source,
    python: Path | None,
    settings: Settings,
    *,
    progress: Progress | None,
) -> Mapping[str, Any]:
    if job.value is not None:  # the caller's own process holds it, with its framework
        from onnxzoo.registry.convert.convert_worker import perform

        return perform(job, one.needs)
    child = Child(
        module="convert_worker",
        doing=f"converting `{source.name}`",
        limits=limits(one.memory, source.bytes, settings),
        python=python,
        environment=one.environment,
    )
    request = {"job": job.as_json(), "needs": one.needs}
    return checked(child.ask(request, job.folder.parent, settings, progress))


def _check_made(job: Job, settings: Settings) -> None:
    """Check a framework's output for safety, before onnx and onnxruntime read it."""
    from onnxzoo.registry.onnx_file.safety import check_safe

    check_files(job.folder, job.converter)
    try:
        check_safe(job.model, domains=settings.allow_domains)
    except Refused as error:
        raise type(error)(
            f"what was made is no valid ONNX model: {error.message}", hint=error.hint
        ) from error


def _check_axes(job: Job) -> None:
    """Refuse to pass over an axis that was to be open, as exporters do, where nothing has it."""
    from onnxzoo.registry.onnx_file.describe import describe

    graph = describe(job.model)
    names = [tensor.name for tensor in (*graph.inputs, *graph.outputs)]
    for name in job.axes:
        if name not in names:
            raise UsageError(
                f"no input or output `{name}`, whose axis is to be open; "
                f"there are {', '.join(f'`{one}`' for one in names)}"
            )
    shapes = {tensor.name: tensor.shape for tensor in graph.inputs}
    for axis, word in job.dynamic.items():
        if all(shape is not None and axis >= len(shape) for shape in shapes.values()):
            known = ", ".join(f"`{name}` has {len(shape or ())}" for name, shape in shapes.items())
            raise UsageError(
                f"no input has an axis `{axis}`, from 0, to be called `{word}`: {known}"
            )


def _proven(
    job: Job,
    one: Converter,
    source: Source,
    within: Mapping[str, float],
    settings: Settings,
    *,
    progress: Progress | None,
) -> Mapping[str, Any]:
    size = sum(file.stat().st_size for file in job.folder.iterdir())
    child = Child(
        module="compare_worker",
        doing=f"proving what became of `{source.name}`",
        limits=limits(_PROOF, size, settings),
    )
    made: dict[str, Any] = {"model": str(job.model), "samples": str(job.folder), "within": within}
    made |= {"rtol": one.rtol, "atol": one.atol}
    return child.ask(made, job.folder.parent, settings, progress)


def _check_drift(
    drift: Mapping[str, Any], one: Converter, source: Source, called: str, *, accept: bool
) -> None:
    problems = list(drift["unlike"])
    if drift["outside"] > one.outside:
        steps = ", ".join(f"±{within:.3g} in `{name}`" for name, within in drift["within"].items())
        problems.append(
            f"{drift['outside']:.2%} of its elements lie beyond "
            f"{steps or f'rtol {one.rtol:g}, atol {one.atol:g}'}: "
            f"by {drift['max']:.3g} at most, in the output `{drift['worst']}`"
        )
    others = _ROUNDED if drift["within"] else max(one.outside, _OTHERS)
    if drift["labels"] is not None and 1 - drift["labels"] > others:
        problems.append(f"only {drift['labels']:.1%} of its labels agree")
    said = f"what became of `{source.name}` does not agree with {called}: "
    if not (drift["outputs"] or problems):
        said = f"nothing tells whether what became of `{source.name}` is right: "
        problems.append("none of its outputs could be held against any")
    if problems and accept:
        _log.warning("%s%s", said, problems[0])
    elif problems:
        raise Refused(
            said + problems[0],
            hint="keep it all the same: --accept-drift (in code: accept_drift=True)",
        )


def _recipe(
    job: Job,
    source: Source,
    order: ConversionRequest,
    told: Mapping[str, Any],
    drift: Mapping[str, Any],
) -> Mapping[str, Any]:
    from importlib.metadata import version

    ours = {name: version(name) for name in ("onnx", "onnxruntime", "onnxzoo")}
    asked = {
        "factory": job.factory,
        "inputs": [list(one) for one in job.inputs],
        "outputs": list(job.outputs),
        "dynamic": {str(axis): name for axis, name in job.dynamic.items()},
        "axes": {n: {str(a): w for a, w in axes.items()} for n, axes in job.axes.items()},
        "own": dict(job.options),
        "example": job.example and sha256_of(job.example),
        "trust": order.trust,
        "isolated": order.isolated,
        "accept_drift": order.accept_drift,
    }
    return {
        "kind": "convert",
        "from": job.converter,
        "format": job.format,
        "opset": job.opset,
        "options": {name: value for name, value in asked.items() if value},
        "source": {"name": source.name, "sha256": source.sha256},
        "tools": {**ours, **told["tools"]},
        "seed": job.seed,
        "drift": {n: value for n, value in drift.items() if n != "worst" and value != {}},
        **({"reference": told["reference"]} if told["reference"] else {}),
        **({"found": list(told["found"])} if told["found"] else {}),
    }


def _draft(
    ref: Ref, labels: Metadata, registry: Registry
) -> Callable[[Graph, str, Lineage], Draft]:
    """Return a function that makes the draft, after checking name, version and tags."""
    version = registry.number(ref)
    tags = tuple(check_word(tag.lower(), "tag") for tag in labels.tags)

    def draft(graph: Graph, where: str, lineage: Lineage) -> Draft:
        joined = None
        if version is None and not labels.new_version:
            joined = _of_same_source(registry, ref.name, graph, lineage)
        return Draft(
            name=ref.name,
            entry=MODEL,
            graph=graph,
            source=where,
            label=ref.variant,
            version=version if joined is None else joined,
            new_version=labels.new_version,
            license=labels.license,
            task=labels.task,
            tags=tags,
            lineage=lineage,
        )

    return draft


def _of_same_source(registry: Registry, name: str, graph: Graph, lineage: Lineage) -> int | None:
    """Return the version that holds the same source, converted alike but to another opset."""
    for held in registry.list(name=name):
        recipe = held.lineage.recipe if held.lineage else {}
        alike = all(recipe.get(key) == lineage.recipe.get(key) for key in _SAME_WEIGHTS)
        if recipe.get("kind") == "convert" and alike and held.opset != graph.opset:
            return held.version
    return None


def _keep(
    registry: Registry, job: Job, draft: Callable[[Graph], Draft], progress: Progress | None
) -> AddResult:
    from onnxzoo.registry.onnx_file.describe import describe
    from onnxzoo.registry.onnx_file.kind import check

    check(job.model)
    with registry.store.stage() as stage:
        stage.copy(job.model, MODEL, progress)
        graph = describe(stage.folder / MODEL)
        for location in graph.external:
            stage.copy(job.folder / location, location, progress)
        if job.opset not in {None, graph.opset}:
            _log.warning("opset %s was asked for; what was made has %s", job.opset, graph.opset)
        return registry.publish(stage, draft(graph), "convert", must_open=True, progress=progress)
