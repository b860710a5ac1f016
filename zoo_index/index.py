"""The indexes in force: private ones, then what the Hub said last, then the shipped one."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from onnxzoo.registry.errors import (
    IntegrityError,
    NotFound,
    Refused,
    RemoteError,
    StorageError,
    ZooError,
)
from onnxzoo.registry.fetch import WebPage, download
from onnxzoo.registry.names import fold, keys_of, slug
from onnxzoo.registry.peers import GLOBAL, Namer
from onnxzoo.registry.settings import Settings
from onnxzoo.registry.store import reporting_storage
from onnxzoo.registry.transport import without_query
from onnxzoo.registry.web_session import hops_of
from onnxzoo.zoo_index.archives import SUFFIX, entries_at, entries_below
from onnxzoo.zoo_index.entries import Entry, dump, entry_of, parse
from onnxzoo.zoo_index.listed import limits_of, part_of, telling_session
from onnxzoo.zoo_index.web import authorization, is_loopback

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

ZOO = "onnxmodelzoo"  # the organisation on the Hub, and the name of its index
SHIPPED = Path(__file__).parent / "data" / "onnx_model_zoo.jsonl"
SHIPPED_AS_OF = datetime(2026, 11, 24, tzinfo=UTC)  # when its facts were compiled
_LARGEST = 256 << 20  # bytes of an index that is fetched
_NETWORK = ".network"  # beside an index that was fetched: from which kind of network
_MEND = "mend ZOO_INDEX, or unset it"
_NEAR = 0.7  # how alike a suggestion must be, of 1


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
            found = found or [row for row in rows if key in map(_key, row.get("aliases", ()))]
            return [entry_of(row) for row in found]
        named = [entry for entry in self.entries if fold(entry.name) == key]
        return named or [entry for entry in self.entries if key in map(_key, entry.aliases)]

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
        """Where it comes from, as it may be shown: a URL has its secrets taken out."""
        return without_query(self.url) if self.url else str(self.path)

    @property
    def namer(self) -> Namer | None:
        """What names its sources; None where they are the user's own, or this project's."""
        if self._trusted or self._read is not None or self._is_archive:
            return None
        shown = f"the index `{self.where}`"
        return Namer(shown, _network(self.path)) if self.url else Namer(shown)

    @property
    def _is_archive(self) -> bool:
        """Whether it lists a `.zoo` file at the URL that the user named, which is every source."""
        return self.url is not None and urlsplit(self.url).path.endswith(SUFFIX)

    @cached_property
    def _text(self) -> str:
        try:
            if self._fetch and not self.path.exists():
                self._fetch()
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise NotFound(f"no index `{self.path}`", hint=_MEND) from error
        except PermissionError as error:
            raise StorageError(f"no right to read the index `{self.path}`", hint=_MEND) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Refused(
                f"cannot read the index `{self.path}`: {reason.lower()}", hint=_MEND
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


class Indexes:
    """The indexes in the order in which they are searched; the first that has a name wins."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self._indexes = indexes

    @classmethod
    def from_settings(cls, settings: Settings) -> "Indexes":
        """Return the private indexes, and the zoo's: as last updated, else as shipped."""
        private = [_private(where, settings) for where in settings.indexes]
        return cls([*private, zoo_index(settings)])

    def find(self, name: str) -> list[Entry]:
        """Return the entries that a name or another name means; none if nobody knows it."""
        return next((found for index in self._indexes if (found := index.find(_key(name)))), [])

    def origin(self, entry: Entry) -> str:
        """Return whose weights an entry's are: ``<index>:<model>``."""
        return f"{self._of(entry).name}:{entry.name}"

    def namer(self, entry: Entry) -> Namer | None:
        """Return what names an entry's source; see `Index.namer`."""
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
        key = _key(name)
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
    """Return where ``zoo index update`` keeps what the Hub said."""
    return settings.home / "indexes" / f"{ZOO}.jsonl"


def _key(name: str) -> str:
    return "/".join(fold(slug(part)) for part in name.split("/"))


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


def _private(where: str, settings: Settings) -> Index:
    if "://" not in where:
        path = Path(where).expanduser()
        if path.suffix != SUFFIX and not path.is_dir():
            return Index(path, slug(path.stem), trusted=False)
        return Index(path, slug(path.stem), trusted=False, read=partial(entries_below, path))
    name = slug(Path(urlsplit(where).path).stem)
    fetch = partial(fetch_index, where, settings)
    return Index(cached_path(where, settings), name, trusted=False, url=where, fetch=fetch)


def cached_path(url: str, settings: Settings) -> Path:
    """Return where an index that has a URL is kept."""
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    return settings.cache / "indexes" / f"{digest}.jsonl"


def _network(path: Path) -> str:
    """Return the kind of network that a kept index was fetched from; where nobody knows, GLOBAL."""
    try:
        return path.with_suffix(_NETWORK).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return GLOBAL


def fetch_index(url: str, settings: Settings) -> None:
    """Fetch a private index again and keep it, if every line of it is sound.

    Raises:
        RemoteError: if it cannot be had; what was kept before stays.
        IntegrityError: if it is a page for people, such as the listing of a folder.
        Refused: if the URL is not https, or a line is malformed.
    """
    parts, shown = urlsplit(url), without_query(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise Refused(f"the index `{shown}` is not an https URL", hint=_MEND)
    if settings.offline:
        raise RemoteError(
            f"the index `{shown}` is not here yet, and offline mode forbids asking",
            hint="allow the network once, or take the index out of ZOO_INDEX",
        )
    path = cached_path(url, settings)
    try:
        if parts.path.endswith(SUFFIX):
            _write_lines(entries_at(url, settings), path)
            return
        with telling_session() as session:
            fetched = download(
                parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl(),
                part_of(settings, "index", url),
                sha256=None,
                size=None,
                headers=authorization(parts.username, parts.password),
                limits=limits_of(settings, most=_LARGEST),
                session=session,
            )
            network = hops_of(session).first
    except StorageError:
        raise
    except WebPage as error:
        raise IntegrityError(
            f"cannot fetch the index: `{shown}` is an HTML page",
            hint="if it is a folder, name its .zoo files one by one in ZOO_INDEX; "
            "else open it in a browser: it may want a login",
        ) from error
    except ZooError as error:
        raise type(error)(
            f"cannot fetch the index: {error.message}", hint=error.hint or _MEND
        ) from error
    with reporting_storage(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            Index(fetched.path, path.stem, trusted=False, url=url).status()
            path.with_suffix(_NETWORK).write_text(network or GLOBAL, encoding="utf-8")
            fetched.path.replace(path)
        finally:
            fetched.path.unlink(missing_ok=True)


def _write_lines(entries: Iterable[Entry], path: Path) -> None:
    """Keep entries as an index, in one step."""
    with reporting_storage(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{token_hex(4)}")
        part.write_text("".join(f"{dump(entry)}\n" for entry in entries), encoding="utf-8")
        part.replace(path)
