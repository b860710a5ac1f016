"""Plan a pull: turn a reference or a source into a list of files, without fetching any."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from onnxzoo.registry.core.errors import InvalidModel, NotFound, UsageError
from onnxzoo.registry.core.names import Ref, check_word
from onnxzoo.registry.core.records import Tensor, Variant
from onnxzoo.registry.core.text import show_size
from onnxzoo.registry.resolve.choose import Constraints, choose, wanted
from onnxzoo.registry.resolve.goals import pick
from onnxzoo.registry.runtime.compatibility import Runtime, judge, runs, runtime_for
from onnxzoo.zoo_index.download.peers import Namer
from onnxzoo.zoo_index.index.entry import Entry
from onnxzoo.zoo_index.index.indexes import Indexes
from onnxzoo.zoo_index.sources.file_names import bases_of, name_of, origin_of, split_path
from onnxzoo.zoo_index.sources.hub import HubSource
from onnxzoo.zoo_index.sources.source import Listed, Source
from onnxzoo.zoo_index.sources.web import WebSource

_PLAIN = "fp32"  # what a file without a suffix is asked for by, until its weights were looked at
_SHOWN = 12  # files listed in an error; more would scroll it away
_SOURCE = re.compile(r"[a-z]+://|[./~\\]|[a-z]:\\", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fit:
    """The prediction whether a variant runs.

    Attributes:
        runtime: where.
        runs: None where too little is known to say so.
        misfits: why it does not.
        nearest: the reference of the nearest variant that runs, where this one does not.
    """

    runtime: Runtime
    runs: bool | None
    misfits: tuple[str, ...] = ()
    nearest: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The files of a pull, their source, and the name for them.

    Attributes:
        name: the model's name in the registry.
        variant: the variant's label; None where only the weights will tell.
        source: where the bytes come from, as `open_source` reads it.
        entry: the `.onnx` file's path inside the source and the bundle.
        files: what is known of the files; a size or a hash is None where nobody pinned it.
        revision: the commit that the source stands at, where it has such a thing.
        origin: whose weights these are; see `Draft.origin`.
        version: to which it belongs; None follows the rule of `Registry.publish`.
        inputs, outputs, ops, parameters: of the graph, where an index recorded them.
        indexed: an index pins it, so that no file without a hash is taken.
        named_by: what named the source in the place of the user; see `open_source`.
        opened: the source that was asked already; it may hold a secret that `source` has not.
        fit: whether it runs, and where; None for a source, whose graph is not known yet.
        why: one sentence on why this variant was chosen, where one was.
    """

    name: str
    variant: str | None
    source: str
    entry: str
    files: tuple[Listed, ...]
    revision: str | None = None
    origin: str | None = None
    version: int | None = None
    precision: str | None = None
    opset: int | None = None
    license: str | None = None
    task: str | None = None
    tags: tuple[str, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    ops: Mapping[str, int] = field(default_factory=dict)
    parameters: int | None = None
    indexed: bool = False
    named_by: Namer | None = field(default=None, compare=False)
    opened: Source | None = field(default=None, repr=False, compare=False)
    fit: "Fit | None" = None
    why: str | None = field(default=None, compare=False)

    @property
    def bytes(self) -> int | None:
        """The size of all files, None where one is not known."""
        sizes = [file.bytes for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)


def is_source(text: str) -> bool:
    """Tell a source (a URL or a path) from the name of a model.

    >>> [is_source(text) for text in ("resnet50:int8", "hf://org/repo", "./m.onnx", "m.onnx")]
    [False, True, True, True]
    """
    if not isinstance(text, str):
        return False
    return bool(_SOURCE.match(text)) or text.lower().endswith(".onnx")


def split_source(text: str) -> tuple[str, str | None]:
    """Split ``hf://org/repo:variant`` into the source and the variant that is asked of it.

    >>> split_source("hf://org/repo@main:q4")
    ('hf://org/repo@main', 'q4')
    """
    head, colon, variant = text.rpartition(":")
    if not text.startswith("hf://") or not colon or head == "hf" or "/" in variant:
        return text, None
    return head, check_word(variant.lower(), "variant")


def from_index(
    indexes: Indexes, ref: Ref, wish: Constraints, held: Callable[[], Iterable[str]] = tuple
) -> Plan:
    """Plan the pull of a name that an index knows, of a variant that runs where one does.

    Args:
        indexes: where to look.
        ref: the name, with or without a variant.
        wish: what else is asked of it.
        held: gives the names that are held, which may have been meant.

    Raises:
        NotFound: if no index has the model, or the model has no such variant.
    """
    entries = indexes.find(ref.name)
    if not entries:
        raise _unknown(ref.name, indexes.suggest(ref.name, held()))
    if ref.version is not None:
        raise NotFound(
            f"no version `{ref.version}` of `{ref.name}` is held, "
            "and an index has no versions: they are numbered in this registry",
            hint=f"zoo pull {Ref(ref.name, ref.variant)}",
        )
    wish, there = {**wish, "variant": ref.variant}, runtime_for(wish.get("runtime"))
    choice = pick(entries, wish, None, {}, fits=lambda entry: runs(entry, there) is not False)
    if choice is None:
        raise _no_variant(ref, wish, entries)
    entry = choice.found
    plan = of_entry(entry, indexes)
    return replace(plan, fit=fit_of(entry, there, entries), why=choice.why)


def fit_of(entry: Entry, runtime: Runtime, entries: Sequence[Entry]) -> Fit:
    """Return whether a variant runs, and where it does not, which of these others does."""
    verdict = judge(entry, runtime)
    nearest = nearest_of(entries, runtime) if verdict.misfits else None
    return Fit(runtime, *verdict, f"{nearest.name}:{nearest.variant}" if nearest else None)


def nearest_of(entries: Sequence[Entry], runtime: Runtime) -> Entry | None:
    """Return the variant that runs and would be chosen if no variant was named."""
    fitting = [entry for entry in entries if runs(entry, runtime)]
    choice = choose(fitting, {}, fits=lambda _: True)
    return choice.found if choice else None


def from_source(source: Source, variant: str | None, name: Ref | None, sha256: str | None) -> Plan:
    """Plan the pull of a file that a source has.

    Args:
        source: where to look.
        variant: which of several files, by its suffix.
        name: what to call it; None derives a name from the source.
        sha256: what the file must hash to; None takes what the source says, if anything.
    """
    listed = [file for file in source.files() if file.path.lower().endswith(".onnx")]
    if not listed:
        raise InvalidModel(f"`{source.url}` holds no `.onnx` file")
    if isinstance(source, WebSource) and not source.says_onnx and name is None:
        raise UsageError(
            f"`{source.url}` does not say that it is a `.onnx` file; a name is needed",
            hint=f"zoo pull {shlex.quote(source.url)} --name NAME",
        )
    file = _pick(source.url, listed, variant)
    base, suffix = split_path(file.path)
    pinned = Listed(file.path, file.bytes, sha256 or file.sha256)
    return Plan(
        name=name.name if name else name_of(source.url, base, bases_of(_all_paths(source))),
        variant=(name.variant if name else None) or suffix,
        source=source.url,
        entry=file.path,
        files=(pinned,),
        revision=source.revision,
        origin=origin_of(source.url, file.path, source.revision) if source.revision else None,
        license=source.license,
        opened=source,
    )


def _all_paths(source: Source) -> Iterable[str]:
    """Return the paths of all files beside the one that is meant, as far as a source tells."""
    files = source.listing() if isinstance(source, HubSource) else source.files()
    return (file.path for file in files)


def of_held(variant: Variant, runtime: str | None = None) -> Plan:
    """Return the plan of a held variant's pull.

    Args:
        variant: the variant.
        runtime: the release that is to run it; None for the installed.
    """
    there = runtime_for(runtime)
    return Plan(
        name=variant.name,
        variant=variant.variant,
        source=variant.source,
        entry=variant.entry,
        files=tuple(Listed(f.path, f.bytes, f.sha256) for f in variant.files),
        revision=variant.revision,
        precision=variant.precision,
        opset=variant.opset,
        license=variant.license,
        task=variant.task,
        tags=variant.tags,
        inputs=variant.graph.inputs,
        outputs=variant.graph.outputs,
        ops=variant.graph.ops,
        parameters=variant.graph.parameters,
        fit=Fit(there, *judge(variant.graph, there)),
    )


def of_entry(entry: Entry, indexes: Indexes) -> Plan:
    """Return the plan of the pull of an index's entry, whether or not it runs."""
    model = next(file.path for file in entry.files if file.path.endswith(".onnx"))
    return Plan(
        name=entry.name,
        variant=entry.variant,
        source=entry.source,
        entry=model,
        files=tuple(Listed(file.path, file.bytes, file.sha256) for file in entry.files),
        revision=entry.revision,
        origin=indexes.origin(entry),
        precision=entry.precision,
        opset=entry.opset,
        license=entry.license,
        task=entry.task,
        tags=entry.tags,
        inputs=entry.inputs,
        outputs=entry.outputs,
        ops=entry.ops,
        parameters=entry.parameters,
        indexed=True,
        named_by=indexes.namer(entry),
    )


def _pick(url: str, listed: Sequence[Listed], variant: str | None) -> Listed:
    if variant is None and len(listed) == 1:
        return listed[0]
    fitting = [file for file in listed if variant == (split_path(file.path)[1] or _PLAIN)]
    plain = [file for file in fitting if split_path(file.path)[1] is None]
    for found in (fitting, plain):
        if len(found) == 1:
            return found[0]
    wanted = f"no one file for `{variant}` among" if variant else "several models:"
    shown = ", ".join(
        f"`{file.path}` (:{split_path(file.path)[1] or _PLAIN})" for file in listed[:_SHOWN]
    )
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    first = fitting[0] if fitting else listed[0]
    labels = [split_path(file.path)[1] or _PLAIN for file in listed]
    label = split_path(first.path)[1] or _PLAIN
    by_label = f"zoo pull {url}:{label}, or name the file: " if labels.count(label) == 1 else ""
    raise UsageError(
        f"`{url}` holds {wanted} {shown}{more}", hint=f"{by_label}zoo pull {url}/{first.path}"
    )


def _unknown(name: str, near: Sequence[str]) -> NotFound:
    if name in near:
        return NotFound(
            f"`{name}` is held, and no index has it to pull",
            hint=f"zoo verify {name} --repair mends what is damaged; zoo versions {name} lists it",
        )
    if near:
        names = ", ".join(f"`{word}`" for word in near)
        return NotFound(
            f"no model `{name}` in the registry or an index; did you mean {names}?",
            hint=f"zoo search {near[0]}",
        )
    return NotFound(
        f"no model `{name}` in the registry or an index",
        hint="zoo search WORD finds models by name, task, tag or op",
    )


def _no_variant(ref: Ref, wish: Constraints, entries: Sequence[Entry]) -> NotFound:
    known = ", ".join(
        f"`{entry.variant}` (opset {entry.opset or '?'}, {show_size(entry.bytes)})"
        for entry in entries
    )
    return NotFound(
        f"no variant{wanted(wish)} of `{ref.name}`; it has {known}", hint=f"zoo opsets {ref.name}"
    )
