"""Sync a registry with a lock, and compare them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import (
    IntegrityError,
    NotAuthorised,
    NotFound,
    RemoteError,
    ZooError,
)
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.manifest import Manifest
from onnxzoo.registry.core.names import Ref, fold
from onnxzoo.registry.core.records import AddResult, Progress, Variant
from onnxzoo.registry.licenses.policy import check_license
from onnxzoo.registry.resolve.choose import Constraints
from onnxzoo.zoo_index.download.peers import Namer
from onnxzoo.zoo_index.index.entry import Entry
from onnxzoo.zoo_index.lock.lock import Lock, Locked
from onnxzoo.zoo_index.lock.lockfile import read
from onnxzoo.zoo_index.pull.plan import Plan, of_entry
from onnxzoo.zoo_index.pull.pull import at_revision, fetch_and_publish, pull_lock
from onnxzoo.zoo_index.sources.file_names import origin_of
from onnxzoo.zoo_index.sources.open import open_source
from onnxzoo.zoo_index.sources.source import Listed
from onnxzoo.zoo_index.zoo import Zoo

_log = logger()
_ELSEWHERE = (IntegrityError, NotAuthorised, NotFound, RemoteError)  # another place may have it


@dataclass(frozen=True, slots=True)
class State:
    """The state of one entry of a lock in a registry.

    Attributes:
        held: the variant that has the locked bytes; None where nothing of them is here.
        problems: what is wrong with its files.
        other: what the reference means here instead, though the locked bytes are held.
    """

    locked: Locked
    held: Variant | None
    problems: tuple[str, ...] = ()
    other: Variant | None = None

    @property
    def kind(self) -> str:
        """``missing``, ``damaged``, ``other`` or ``held``."""
        if self.held is None:
            return "missing"
        if self.problems:
            return "damaged"
        return "other" if self.other else "held"


def state(zoo: Zoo, locked: Locked, progress: Progress | None = None, *, hashed: bool) -> State:
    """Return how a registry stands to an entry; nothing is changed, nobody is asked.

    Args:
        zoo: the registry.
        locked: the entry.
        progress: told of the bytes that are hashed.
        hashed: read every byte again; else only sizes are looked at.
    """
    held = _held(zoo.registry, locked)
    if held is None or zoo.registry.store.is_absent(held.digest):
        return State(locked, None)
    problems: tuple[str, ...] = ()
    if hashed:
        problems = tuple(zoo.registry.store.damage(Manifest(held.files), progress))
    elif not zoo.registry.is_whole(held):
        problems = ("files are missing or were changed",)
    return State(locked, held, problems, _other(zoo.registry, locked))


def check_in_step(lock: Lock, states: Iterable[State]) -> None:
    """Raise IntegrityError if a reference means something else here than the lock says."""
    moved = [state for state in states if state.other]
    if moved:
        raise IntegrityError(
            f"`{lock.path}` is out of step: {'; '.join(map(in_words, moved))}",
            hint=way_out(lock, moved),
        )


def way_out(lock: Lock, moved: Sequence[State]) -> str:
    """Return a command for references with another meaning here than in the lock."""
    again = f"zoo lock{lock.option} locks what they mean now"
    alias, held = moved[0].locked.asked.version, moved[0].held
    if held is None or alias is None or not moved[0].locked.is_movable:
        return again
    return f"zoo alias {held.ref} {alias} goes back to what is locked; {again}"


def in_words(state: State) -> str:
    """Return a reference's meaning here and in the lock, in words."""
    locked, held = state.locked, state.held.ref if state.held else state.locked.ref
    now = f"`{state.other.ref}`" if state.other else "nothing"
    return f"`{locked.asked}` is {now} here, and `{held}` is locked"


def obtain(zoo: Zoo, lock: Lock, locked: Locked, progress: Progress | None = None) -> AddResult:
    """Return the variant that an entry means, fetched and verified first if it is not held whole.

    Its bytes are copied from another model that has them, or come from where they came from when
    they were locked, or from where an index has them. What arrives under any other hash is thrown
    away, and the model is kept whether or not it runs here.

    Raises:
        NotFound: if it was made from another model, or its source is gone.
        Refused: if its licence is not allowed.
        IntegrityError: if its source has other bytes now.
        RemoteError, NotAuthorised: if its source cannot be asked.
    """
    if (whole := _whole(zoo.registry, locked)) is not None:
        return AddResult(whole, new=False)
    entry = _entry(zoo, locked)
    check_license(str(locked.asked), _license(locked, entry), zoo.settings.allow_licenses)
    plan = _plan(zoo, lock, locked, entry)
    with pull_lock(plan, zoo.settings.downloads):
        if (whole := _whole(zoo.registry, locked)) is not None:
            return AddResult(whole, new=False)
        first: ZooError | None = None
        for source, namer in _sources(zoo, lock, plan, locked, entry):
            try:
                there = replace(plan, opened=open_source(source, zoo.settings, namer))
                fetch_and_publish(zoo.registry, there, zoo.settings, progress, must_open=False)
                return AddResult(held_as(zoo, lock, locked), new=True)
            except _ELSEWHERE as error:
                first = first or error
    raise _not_had(locked, first)


def from_lock(
    zoo: Zoo,
    path: str | Path,
    ref: str,
    progress: Progress | None = None,
    **wish: Unpack[Constraints],
) -> Variant:
    """Return the variant that a lock file says a reference means, fetched if need be.

    Raises:
        NotFound: if the lock does not have the reference, or the bytes cannot be had.
    """
    lock = read(path)
    return obtain(zoo, lock, lock.find(ref, wish), progress).variant


def held_by_lock(zoo: Zoo, path: str | Path, ref: str, **wish: Unpack[Constraints]) -> Variant:
    """Return the held variant that a lock file says a reference means; nothing is fetched.

    Raises:
        NotFound: if the lock does not have the reference, or its bytes are not held.
    """
    lock = read(path)
    return held_as(zoo, lock, lock.find(ref, wish))


def held_as(zoo: Zoo, lock: Lock, locked: Locked) -> Variant:
    """Return the held variant that an entry means.

    Raises:
        NotFound: if its bytes are not held.
    """
    held = _held(zoo.registry, locked)
    if held is None:
        raise NotFound(
            f"`{locked.asked}` is locked to `{locked.ref}`, which is not held",
            hint=f"zoo sync{lock.option}",
        )
    return replace(held, why=f"`{lock.path}` says so")


def _held(registry: Registry, locked: Locked) -> Variant | None:
    return locked.among(registry.holding(locked.digest))


def _whole(registry: Registry, locked: Locked) -> Variant | None:
    held = _held(registry, locked)
    return held if held is not None and registry.is_whole(held) else None


def _other(registry: Registry, locked: Locked) -> Variant | None:
    """Return a movable reference's meaning here, if it differs from the locked one."""
    if not locked.is_movable:
        return None
    asked = locked.asked
    renamed = fold(asked.name) != fold(locked.name)  # it was asked for by an index's other name
    variant = asked.variant or (locked.variant if renamed else None)
    try:
        found = registry.resolve(str(Ref(locked.name, variant, asked.version)))
    except NotFound:  # an alias that only the other registry has
        return None
    same = (found.digest, found.entry) == (locked.digest, locked.entry)
    return None if same else found


def _entry(zoo: Zoo, locked: Locked) -> Entry | None:
    """Return an index's entry of the same bytes."""
    try:
        entries = zoo.indexes.find(locked.name)
    except ZooError as error:  # an index that fails does not block the lock's own source
        _log.warning("%s", error.message)
        return None
    return next((entry for entry in entries if entry.digest == locked.digest), None)


def _license(locked: Locked, entry: Entry | None) -> str | None:
    """Return the licence from an index, else from the lock, a file that anyone may edit."""
    return (entry.license if entry else None) or locked.license


def _plan(zoo: Zoo, lock: Lock, locked: Locked, entry: Entry | None) -> Plan:
    """Plan how an entry is kept: beside the locked variants of its version, where one is held."""
    known = of_entry(entry, zoo.indexes) if entry else None
    held = _held(zoo.registry, locked)
    version = held.version if held else _version(zoo.registry, lock, locked)
    at = origin_of(locked.source, locked.entry, locked.revision or "")
    return Plan(
        name=held.name if held else locked.name,
        variant=held.variant if held else locked.variant,
        version=version,
        origin=known.origin if known else at if locked.revision else locked.digest,
        source=lock.source_of(locked),
        entry=locked.entry,
        files=tuple(Listed(file.path, file.bytes, file.sha256) for file in locked.files),
        revision=locked.revision,
        license=_license(locked, entry),
        task=known.task if known else None,
        tags=known.tags if known else (),
        indexed=True,
    )


def _version(registry: Registry, lock: Lock, locked: Locked) -> int | None:
    """Return the version here of the locked version, if its label is free."""
    together = {
        one.digest
        for one in lock.models
        if (one.name, one.version) == (locked.name, locked.version)
    }
    held = registry.list(name=locked.name)
    taken = {variant.version for variant in held if variant.variant == locked.variant}
    there = [v.version for v in held if v.digest in together and v.version not in taken]
    return next(iter(there), None)


def _sources(
    zoo: Zoo, lock: Lock, plan: Plan, locked: Locked, entry: Entry | None
) -> Iterator[tuple[str, Namer | None]]:
    """Yield the sources of the bytes, nearest first, with their namers."""
    registry = zoo.registry
    if any(registry.is_whole(variant) for variant in registry.holding(locked.digest)):
        yield str(registry.store.path(locked.digest)), None
    if locked.made_from is None:
        yield at_revision(plan.source, plan.revision), Namer(f"the lock `{lock.path}`")
    if entry is not None:
        yield at_revision(entry.source, entry.revision), zoo.indexes.namer(entry)


def _not_had(locked: Locked, error: ZooError | None) -> ZooError:
    """Return why the bytes of an entry cannot be had, and the way out."""
    ref = f"{locked.name}:{locked.variant}@{locked.version}"
    by_hand = f"where it is held: zoo export {ref} -o m.zoo; here: zoo import m.zoo"
    if error is not None:
        hint = error.hint or (by_hand if isinstance(error, NotFound) else None)
        return type(error)(f"`{locked.asked}` cannot be fetched: {error.message}", hint=hint)
    how = f" ({locked.made_by})" if locked.made_by else ""
    return NotFound(
        f"`{locked.asked}` is not held and has no source to fetch it from: "
        f"`{ref}` was made from `{locked.made_from}`{how}",
        hint=by_hand,
    )
