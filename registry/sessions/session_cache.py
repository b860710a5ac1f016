"""Prepared sessions on disk: graphs optimised or compiled once for this machine, and their weights.

An entry is a folder of its own, made elsewhere and renamed into place. It is used only while its
files are what they were when it was proven, so a lost, cut or altered one costs time and no more.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from string import hexdigits
from typing import Any

from onnxzoo.registry.core.errors import StorageError
from onnxzoo.registry.core.files import clear, entries, reporting_storage, size_of, sync
from onnxzoo.registry.core.staging import abandoned, staging_folder, staging_name
from onnxzoo.registry.runtime.machine import describe_machine

GRAPH = "model.onnx"
WEIGHTS = "weights.bin"
_ENTRY = "prepared.json"
_FORMAT = 2  # of an entry; another number is another key
_KEY = 40  # hexadecimal digits; 160 bits
_FRESH = 3600  # seconds between two notes that an entry was used


@dataclass(frozen=True, slots=True)
class Look:
    """The result of a trial open.

    Attributes:
        open_seconds: how long onnxruntime took to open the plain file.
        memory: bytes by which the process grew for it, at most.
        prepared_seconds: how long it took to open what was prepared; None where nothing was.
        why_not: why nothing was prepared.
        opens: onnxruntime opens the plain file.
        sizes: sizes of its open axes at which it ran, by `sizes.key`; None where it ran on no
            sample inputs.
    """

    open_seconds: float
    memory: int
    prepared_seconds: float | None = None
    why_not: str | None = None
    opens: bool = True
    sizes: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """An entry: the graph to open, or None where the plain file has to serve."""

    graph: Path | None
    look: Look


class PreparedSessions:
    """A folder of entries.

    Args:
        root: the folder; made when it is first needed.
        limit: bytes to keep at most; 0 keeps none.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self.root = root
        self.limit = limit
        self._staging = root / ".staging"

    def find(self, key: str) -> Prepared | None:
        """Return a sound entry, None if there is none."""
        folder = self.root / key
        try:
            entry = json.loads((folder / _ENTRY).read_bytes())
            look, files = Look(**entry["look"]), entry["files"]
            if not all(_is_sound(folder / name, known) for name, known in files.items()):
                return None
            _renew(folder, entry)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        _note_use(folder / _ENTRY)
        return Prepared(folder / GRAPH if files else None, look)

    @contextmanager
    def stage(self, key: str) -> Iterator[Path]:
        """Give a folder to make an entry in; delete it unless it was kept.

        Raises:
            StorageError: if the folder cannot be made.
        """
        folder = self._staging / f"{staging_name()}{key}"
        with ExitStack() as stack:
            stack.callback(clear, folder)
            with reporting_storage(self.root):
                stack.enter_context(staging_folder(folder))
            yield folder

    def is_being_made(self, key: str) -> bool:
        """Tell whether a living process makes this entry now; not where that may not be read."""
        with suppress(StorageError):
            return any(not abandoned(folder) for folder in self._making(key))
        return False

    def being_made(self, key: str) -> int:
        """Return the bytes that were made so far of an entry."""
        return sum(size_of(folder) for folder in self._making(key))

    def keep(self, staged: Path, key: str) -> None:
        """Rename a sealed entry into place; a sound one of a model that opens stays."""
        there = self.find(key)
        if there is not None and there.look.opens:
            return
        target = self.root / key
        with reporting_storage(self.root):
            if target.exists():
                self.discard(key)
            try:
                staged.rename(target)
            except OSError:
                if self.find(key) is None:  # else another process was quicker
                    raise
        self.trim(spared=key)

    def discard(self, key: str) -> None:
        """Take an entry out; sessions that are open on it go on."""
        trash = self._staging / staging_name()
        with suppress(OSError):
            self._staging.mkdir(parents=True, exist_ok=True)
            (self.root / key).rename(trash)
        clear(trash)

    def trim(self, spared: str | None = None) -> None:
        """Discard entries, least recently used first, until the rest is within the limit.

        What dead processes were making goes too.
        """
        for folder in entries(self._staging):
            if abandoned(folder):
                clear(folder)
        sizes = {folder: size_of(folder) for folder in self._folders()}
        excess = sum(sizes.values()) - self.limit
        for folder in sorted(sizes, key=_used_at):
            if excess <= 0:
                return
            if folder.name != spared or sizes[folder] > self.limit:
                self.discard(folder.name)
                excess -= sizes[folder]

    def usage(self) -> tuple[int, int]:
        """Return how many entries there are, and their bytes."""
        sizes = [size_of(folder) for folder in self._folders()]
        return len(sizes), sum(sizes)

    def garbage(self, held: set[str]) -> list[Path]:
        """Return the entries of removed bundles, and leftovers of dead processes."""
        left = [folder for folder in entries(self._staging) if abandoned(folder)]
        return left + [folder for folder in self._folders() if _digest(folder) not in held]

    def _folders(self) -> list[Path]:
        folders = (folder for folder in entries(self.root) if folder.name[0] in hexdigits)
        return [folder for folder in folders if folder.is_dir()]

    def _making(self, key: str) -> list[Path]:
        return [folder for folder in entries(self._staging) if folder.name.endswith(key)]


def key_of(digest: str, entry: str, runtime: str, providers: Sequence[object]) -> str:
    """Return the key of an entry: everything that can change the prepared files.

    Args:
        digest: the bundle's.
        entry: the model's path in it: a bundle may hold several.
        runtime: onnxruntime's version and build, and the devices; see `session.runtime_build`.
        providers: execution providers with their options, as onnxruntime takes them.
    """
    facts = [_FORMAT, digest, entry, runtime, list(providers), describe_machine().features]
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY]


def seal(folder: Path, digest: str, look: Look) -> None:
    """Make an entry's files durable and record them; without a graph, record the reason."""
    files = {}
    if look.why_not is None:
        for path in sorted(folder.iterdir()):
            path.chmod(0o444)
            sync(path)
            with path.open("rb") as file:
                hashed = hashlib.file_digest(file, "sha256").hexdigest()
            files[path.name] = {"sha256": hashed, "stamp": _stamp(path)}
    entry = {"digest": digest, "look": asdict(look), "files": files}
    (folder / _ENTRY).write_text(json.dumps(entry), encoding="utf-8")
    sync(folder / _ENTRY)
    sync(folder)


def _is_sound(path: Path, known: Mapping[str, object]) -> bool:
    """Return whether a file is unchanged: by its stamp, or by its bytes if it was copied."""
    if _stamp(path) == known["stamp"]:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == known["sha256"]


def _renew(folder: Path, entry: dict[str, Any]) -> None:
    """Write down the stamps of a copied entry, so that it is hashed once and not by everyone."""
    files = {
        name: {**known, "stamp": _stamp(folder / name)} for name, known in entry["files"].items()
    }
    if files == entry["files"]:
        return
    fresh = folder / f"{_ENTRY}.{os.getpid()}"
    with suppress(OSError):  # read-only: then everyone hashes
        fresh.write_text(json.dumps({**entry, "files": files}), encoding="utf-8")
        fresh.replace(folder / _ENTRY)


def _stamp(path: Path) -> list[int]:
    """Return (size, mtime, ctime); ctime cannot be faked from user space."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _note_use(entry: Path) -> None:
    with suppress(OSError):  # read-only: then the order of use is not known
        if time.time() - entry.stat().st_mtime > _FRESH:
            os.utime(entry)


def _used_at(folder: Path) -> float:
    try:
        return (folder / _ENTRY).stat().st_mtime
    except OSError:
        return 0


def _digest(folder: Path) -> str | None:
    try:
        digest = json.loads((folder / _ENTRY).read_bytes())["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(digest)
