"""Search the indexes in force: private ones, the updated one, the shipped one."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzoo.registry.core.names import fold, keys_of
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.download.peers import Namer
from onnxzoo.zoo_index.index.entry import Entry
from onnxzoo.zoo_index.index.index import Index, Status, normalised
from onnxzoo.zoo_index.index.private import open_private

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

ZOO = "onnxmodelzoo"  # the organisation on the Hub, and the name of its index
SHIPPED = Path(__file__).parent / "data" / "onnx_model_zoo.jsonl"
SHIPPED_AS_OF = datetime(2026, 11, 24, tzinfo=UTC)  # when its facts were compiled
_NEAR = 0.7  # how alike a suggestion must be, of 1


class Indexes:
    """The indexes in the order in which they are searched; the first that has a name wins."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self._indexes = indexes

    @classmethod
    def from_settings(cls, settings: Settings) -> "Indexes":
        """Return the private indexes, and the zoo's: as last updated, else as shipped."""
        private = [open_private(where, settings) for where in settings.indexes]
        return cls([*private, zoo_index(settings)])

    def find(self, name: str) -> list[Entry]:
        """Return the entries that a name or another name means; none if nobody knows it."""
        return next(
            (found for index in self._indexes if (found := index.find(normalised(name)))), []
        )

    def origin(self, entry: Entry) -> str:
        """Return an entry's provenance: ``<index>:<model>``."""
        return f"{self._of(entry).name}:{entry.name}"

    def namer(self, entry: Entry) -> Namer | None:
        """Return the namer of an entry's source; see `Index.namer`."""
        return self._of(entry).namer

    def _of(self, entry: Entry) -> Index:
        key = fold(entry.name)
        return next(index for index in self._indexes if index.find(key))

    def search(
        self,
        words: Sequence[str] = (),
        *,
        task: str | None = None,
        opset: "SpecifierSet | None" = None,
        max_bytes: int | None = None,
        license: str | None = None,  # noqa: A002  (the field's word, and a keyword here)
    ) -> list[Entry]:
        """Return the entries that match everything, best first.

        Args:
            words: each must occur in the name, another name, the task, a tag, an op type, the
                exporter or the precision. Names that begin with the first word come first.
            task: such as ``image-classification``.
            opset: a constraint; what has no recorded opset does not match one.
            max_bytes: the size of all files.
            license: an SPDX identifier, upper and lower case alike.
        """
        keys = keys_of(words)
        found = [
            entry
            for entry in self._entries()
            if (task is None or fold(task) == fold(entry.task or ""))
            and (opset is None or _within(entry.opset, opset))
            and (max_bytes is None or entry.bytes <= max_bytes)
            and (license is None or license.lower() == (entry.license or "").lower())
            and _mentions(entry, keys)
        ]
        return sorted(found, key=lambda entry: _rank(entry, keys))

    def names(self) -> set[str]:
        """Return the names of all models."""
        return {entry.name for entry in self._entries()}

    def suggest(self, name: str, held: Iterable[str] = ()) -> list[str]:
        """Return at most three names, of these indexes or held, that are near to an unknown one."""
        names = {fold(entry.name): entry.name for entry in self._entries()}
        names |= {fold(known): known for known in held}
        key = normalised(name)
        near = get_close_matches(key, names, n=3, cutoff=_NEAR)
        near += sorted(known for known in names if known.startswith(key))
        return [names[known] for known in list(dict.fromkeys(near))[:3]]

    def status(self) -> list[Status]:
        """Return every index's size and age, in the order in which they are searched."""
        return [index.status() for index in self._indexes]

    def _entries(self) -> Iterator[Entry]:
        """Yield every entry of a name that no earlier index has."""
        seen: set[str] = set()
        for index in self._indexes:
            names = {fold(entry.name) for entry in index.entries}
            yield from (entry for entry in index.entries if fold(entry.name) not in seen)
            seen |= names


def zoo_index(settings: Settings) -> Index:
    """Return the zoo's index in force: as last updated, unless a newer one was shipped since."""
    updated = updated_path(settings)
    try:
        newer = updated.stat().st_mtime > SHIPPED_AS_OF.timestamp()
    except OSError:
        newer = False
    return Index(updated if newer else SHIPPED, ZOO, trusted=True)


def updated_path(settings: Settings) -> Path:
    """Return the path of the index that ``zoo index update`` writes."""
    return settings.home / "indexes" / f"{ZOO}.jsonl"


def _within(opset: int | None, constraint: "SpecifierSet") -> bool:
    return opset is not None and constraint.contains(str(opset))


def _mentions(entry: Entry, keys: Sequence[str]) -> bool:
    if not keys:
        return True
    words = (entry.name, *entry.aliases, entry.task or "", *entry.tags, *entry.ops)
    text = fold("\n".join((*words, entry.exporter or "", entry.precision)))
    return all(key in text for key in keys)


def _rank(entry: Entry, keys: Sequence[str]) -> tuple[bool, bool, str, int]:
    name = fold(entry.name)
    first = keys[0] if keys else ""
    return name != first, not name.startswith(first), name, -(entry.opset or 0)
