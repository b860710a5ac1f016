"""Lock references: add new entries, update old ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.names import Ref
from onnxzoo.registry.core.recipes import in_words
from onnxzoo.registry.core.text import redact_url
from onnxzoo.zoo_index.lock.lock import Lock, Locked
from onnxzoo.zoo_index.pull.plan import is_source
from onnxzoo.zoo_index.zoo import Zoo


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one reference: `old` is None for a new one, `new` for a removed one."""

    asked: Ref
    old: Locked | None
    new: Locked | None

    @property
    def kind(self) -> str:
        """``added``, ``removed`` or ``changed``."""
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"


def locked(zoo: Zoo, lock: Lock, refs: Sequence[str] = (), *, remove: Sequence[str] = ()) -> Lock:
    """Return a lock with references added or locked anew, the others as they are.

    With nothing to add and nothing to remove every reference that can move is looked up again:
    one without a version, or with an alias. What means the same bytes still stays as it is, so
    that machines that number versions differently do not rewrite each other's lock.

    Args:
        zoo: where the models are held; nothing is fetched.
        lock: the lock as it is, or an empty one.
        refs: what to lock.
        remove: references to take out.

    Raises:
        NotFound: if a model is not held, or what is to be removed is not there.
        UsageError: if there is nothing to lock.
    """
    gone = {lock.find(ref) for ref in remove}
    kept = {lock.key(one.asked): one for one in lock.models if one not in gone}
    if not refs and not remove:
        if not kept:
            raise UsageError(
                f"nothing to lock: `{lock.path}` has no references",
                hint=f"zoo lock NAME[:VARIANT][@VERSION]…{lock.option}",
            )
        kept = {key: _again(zoo, lock, one) for key, one in kept.items()}
    for ref in refs:
        asked = _parsed(ref)
        kept[lock.key(asked)] = _locked(zoo, lock, asked)
    return Lock(lock.path, tuple(kept.values()))


def moved(lock: Lock, path: Path) -> Lock:
    """Return a lock as it is in another file: sources in its folder count from there."""
    return Lock(
        path,
        tuple(replace(one, source=_portable(lock.source_of(one), path)) for one in lock.models),
    )


def changes(old: Lock, new: Lock) -> Iterator[Change]:
    """Yield the differences of two locks, by reference."""
    before = {one.asked: one for one in old.models}
    after = {one.asked: one for one in new.models}
    for asked in sorted(before.keys() | after.keys(), key=str):
        if before.get(asked) != after.get(asked):
            yield Change(asked, before.get(asked), after.get(asked))


def _again(zoo: Zoo, lock: Lock, one: Locked) -> Locked:
    if not one.is_movable:
        return one
    new = _locked(zoo, lock, one.asked)
    same = (new.name, new.digest, new.entry) == (one.name, one.digest, one.entry)
    return one if same else new


def _locked(zoo: Zoo, lock: Lock, asked: Ref) -> Locked:
    variant = zoo.resolve(str(asked))
    zoo.registry.check_there(variant)
    lineage = variant.lineage
    return Locked(
        asked=asked,
        name=variant.name,
        variant=variant.variant,
        version=variant.version,
        precision=variant.precision,
        opset=variant.opset,
        source=_portable(variant.source, lock.path),
        digest=variant.digest,
        entry=variant.entry,
        files=variant.files,
        revision=variant.revision,
        license=variant.license,
        made_from=lineage.called if lineage else None,
        made_by=in_words(lineage) if lineage else None,
    )


def _portable(source: str, path: Path) -> str:
    """Return a source as another checkout of the lock's folder has it: a file in it by its place.

    >>> _portable("/srv/app/models/m.onnx", Path("/srv/app/zoo.lock"))
    './models/m.onnx'
    """
    folder = path.absolute().parent
    if not Path(source).is_absolute() or not Path(source).is_relative_to(folder):
        return source
    return f"./{Path(source).relative_to(folder).as_posix()}"


def _parsed(ref: str) -> Ref:
    if is_source(ref):
        raise UsageError(
            f"`{redact_url(ref)}` is a source; what is locked is a model of the registry",
            hint="zoo pull fetches it; lock it by the name that it has then",
        )
    return Ref.parse(ref)
