"""Read one index: its entries, its age, and who may name its sources."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from onnxzoo.registry.core.errors import NotFound, Refused, StorageError
from onnxzoo.registry.core.names import fold, slug
from onnxzoo.registry.core.text import redact_url
from onnxzoo.zoo_index.download.peers import GLOBAL, Namer
from onnxzoo.zoo_index.index.entry import Entry, entry_of, parse
from onnxzoo.zoo_index.sources.zoo_file import SUFFIX

NETWORK = ".network"  # beside an index that was fetched: from which kind of network
MEND = "mend ZOO_INDEX, or unset it"


@dataclass(frozen=True, slots=True)
class Status:
    """An index in force.

    Attributes:
        updated_at: when its file was written here.
        where: the file, and the URL that it came from.
    """

    name: str
    models: int
    variants: int
    bytes: int
    updated_at: datetime
    where: str


class Index:
    """One JSON Lines file of entries, read when it is first asked.

    Args:
        path: the file.
        name: what it is called, also in `Draft.origin`.
        trusted: made by this project and proven by its tests, so that a look-up need not check
            every line.
        url: where it came from, None for a file of the user's own.
        fetch: gets the file where it is not there yet.
        read: gives the entries, where the path is no file of lines.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        trusted: bool,
        url: str | None = None,
        fetch: Callable[[], None] | None = None,
        read: Callable[[], list[Entry]] | None = None,
    ) -> None:
        self.path = path
        self.name = name
        self.url = url
        self._trusted = trusted
        self._fetch = fetch
        self._read = read

    def find(self, key: str) -> list[Entry]:
        """Return a model's entries by its folded name; by another name, the entries it names."""
        if self._trusted:
            rows = self._rows(key)
            found = [row for row in rows if fold(row["name"]) == key]
            found = found or [row for row in rows if key in map(normalised, row.get("aliases", ()))]
            return [entry_of(row) for row in found]
        named = [entry for entry in self.entries if fold(entry.name) == key]
        return named or [entry for entry in self.entries if key in map(normalised, entry.aliases)]

    @cached_property
    def entries(self) -> list[Entry]:
        """Every entry.

        Raises:
            Refused: if a line is malformed, or two lines are the same variant.
        """
        if self._read is not None:
            return self._read()
        entries: list[Entry] = []
        seen: set[tuple[str, str]] = set()
        for number, line in enumerate(self._text.splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{self.where}, line {number}"
            entry = parse(line, where)
            if (entry.name, entry.variant) in seen:
                raise Refused(f"{where}: `{entry.name}:{entry.variant}` is there twice")
            seen.add((entry.name, entry.variant))
            entries.append(entry)
        return entries

    def status(self) -> Status:
        """Return its size and age."""
        models = {entry.name for entry in self.entries}
        stat = self.path.stat()
        return Status(
            name=self.name,
            models=len(models),
            variants=len(self.entries),
            bytes=stat.st_size,
            updated_at=datetime.fromtimestamp(stat.st_mtime, UTC),
            where=self.where,
        )

    @property
    def where(self) -> str:
        """Its address, fit to be shown: secrets in a URL removed."""
        return redact_url(self.url) if self.url else str(self.path)

    @property
    def namer(self) -> Namer | None:
        """The namer of its sources; None for the user's own and the shipped ones."""
        if self._trusted or self._read is not None or self._is_archive:
            return None
        shown = f"the index `{self.where}`"
        return Namer(shown, _network(self.path)) if self.url else Namer(shown)

    @property
    def _is_archive(self) -> bool:
        """True if it lists a `.zoo` file at the URL that the user named, its only source."""
        return self.url is not None and urlsplit(self.url).path.endswith(SUFFIX)

    @cached_property
    def _text(self) -> str:
        try:
            if self._fetch and not self.path.exists():
                self._fetch()
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise NotFound(f"no index `{self.path}`", hint=MEND) from error
        except PermissionError as error:
            raise StorageError(f"no right to read the index `{self.path}`", hint=MEND) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Refused(
                f"cannot read the index `{self.path}`: {reason.lower()}", hint=MEND
            ) from error

    def _rows(self, key: str) -> list[dict[str, Any]]:
        """Return the lines that may mean a key, decoded: decoding all of them costs 25 ms."""
        longest = max(key.replace("/", "-").split("-"), key=len)
        lowered, rows, at = self._text.lower(), [], 0
        while (at := lowered.find(longest, at)) >= 0:
            end = lowered.find("\n", at)
            rows.append(self._decoded(lowered.rfind("\n", 0, at) + 1, end))
            at = end
        return rows

    def _decoded(self, start: int, end: int) -> dict[str, Any]:
        try:
            row: dict[str, Any] = json.loads(self._text[start : end if end >= 0 else None])
        except ValueError as error:
            raise Refused(
                f"the index `{self.path}` is damaged", hint="zoo index update makes it again"
            ) from error
        return row


def normalised(name: str) -> str:
    """Return the form in which names are compared."""
    return "/".join(fold(slug(part)) for part in name.split("/"))


def _network(path: Path) -> str:
    """Return the kind of network that a kept index was fetched from; where nobody knows, GLOBAL."""
    try:
        return path.with_suffix(NETWORK).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return GLOBAL
