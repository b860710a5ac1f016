"""Build an index of the zoo's current models from the Hub."""

import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from onnxzoo.registry.core.errors import Refused, RemoteError, ZooError
from onnxzoo.registry.core.files import reporting_storage
from onnxzoo.registry.core.manifest import File
from onnxzoo.registry.core.names import fold, slug
from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.core.text import redact_url
from onnxzoo.zoo_index.download.options import require_network
from onnxzoo.zoo_index.index.entry import Entry, dump, entry_of
from onnxzoo.zoo_index.index.indexes import SHIPPED_AS_OF, ZOO, updated_path, zoo_index
from onnxzoo.zoo_index.index.private import fetch_index
from onnxzoo.zoo_index.sources.hub_api import (
    TransientError,
    endpoint_of,
    list_models,
    model_info,
    retry,
)

# The Hub lets an address without a token call its API 500 times in five minutes.
# Source: Hugging Face's documentation, "Hub rate limits".
_FREE_CALLS = 400
_PACE = 0.7  # seconds between calls where there are more of them
_LONGEST_WAIT = 300  # seconds; the length of the Hub's window
_LOSS = 0.1  # share of the known repositories that may go in one update
_LOSS_AT_LEAST = 1  # may always go
_LONGEST_NAME = 120  # characters, which leaves room for a number at the end
_OPSET = re.compile(r"[_-]opset([0-9]+)", re.IGNORECASE)
_PRECISION = re.compile(r"[_-](fp16|int8|uint8|int4|qdq)$", re.IGNORECASE)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Updated:
    """The result of an update: repositories' names, and the path of the index."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]
    same: int
    path: Path


def update(
    settings: Settings,
    *,
    force: bool = False,
    progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Updated:
    """Compare the index with the organisation's list and ask about each repository that differs.

    Private indexes that have a URL are fetched again first.

    One call lists every repository with its commit; one more is made for each whose commit is not
    the recorded one (for the shipped index: that was changed after it was compiled). What was
    learnt before an interruption is kept and not asked for again.

    Args:
        settings: where the index is kept, and which Hub to ask.
        force: keep a list that lacks more than a tenth of the known repositories, too.
        progress: told of the repositories asked about.
        sleep: waits a number of seconds.

    Raises:
        RemoteError: if the Hub cannot be asked, or asks to wait for too long.
        Refused: if its list loses more than a tenth of what is known, without ``force``; the index
            is left as it is.
    """
    require_network(settings, f"hf://{ZOO}")
    for where in settings.indexes:
        if "://" in where:
            fetch_index(where, settings)
    known = _known(settings)
    asked = partial(_calling, settings=settings, sleep=sleep)
    listed = {repo.id: repo for repo in asked(partial(list_models, ZOO, settings))}
    if not listed:
        raise RemoteError(f"the Hub lists no models of `{ZOO}`; the index is left as it is")
    if not force:
        _check_loss(settings, known, listed)
    learnt = _Learnt(settings)
    todo = [name for name, repo in listed.items() if _differs(known.get(name), repo)]
    for number, name in enumerate(todo):
        if progress:
            progress("repositories", number, len(todo))
        if learnt.get(name, listed[name].sha) is None:
            info = asked(partial(model_info, name, settings))
            learnt.keep(name, _entries(info, known | learnt.entries))
            sleep(_PACE if len(todo) > _FREE_CALLS else 0)
    if progress:
        progress("repositories", len(todo), len(todo))
    kept = {name: entries for name, entries in known.items() if name in listed}
    path = _write(settings, [*_not_on_hub(settings), *_flat(kept | learnt.entries)])
    learnt.forget()
    return Updated(
        new=tuple(sorted(set(todo) - set(known))),
        changed=tuple(sorted(set(todo) & set(known))),
        gone=tuple(sorted(set(known) - set(listed))),
        same=len(listed) - len(todo),
        path=path,
    )


def _check_loss(settings: Settings, known: Collection[str], listed: Collection[str]) -> None:
    """Refuse the list of a mirror that holds a part of the organisation only."""
    gone = [name for name in known if name not in listed]
    if len(gone) > max(_LOSS * len(known), _LOSS_AT_LEAST):
        raise Refused(
            f"the Hub at `{redact_url(endpoint_of(settings))}` lists {len(listed)} repositories "
            f"and lacks {len(gone)} of {len(known)} that are known; the index is left as it is",
            hint="if HF_ENDPOINT is a mirror, unset it; zoo index update --force keeps the shorter "
            f"list, and the shipped index is back once {updated_path(settings)} is deleted",
        )


class _Learnt:
    """The progress of an update, a line a repository: an interrupted one is resumed."""

    def __init__(self, settings: Settings) -> None:
        self._path = updated_path(settings).with_suffix(".part.jsonl")
        self.entries: dict[str, list[Entry]] = {}
        if self._path.exists():
            with reporting_storage(self._path.parent):
                self._read(self._path.read_bytes())

    def _read(self, content: bytes) -> None:
        """Read the valid lines and cut off the rest: a kill may have left half a line."""
        sound = 0
        for line in content.splitlines(keepends=True):
            try:
                entries = [entry_of(values) for values in json.loads(line)]
            except (ValueError, TypeError, ZooError):
                break
            if not line.endswith(b"\n"):
                break
            sound += len(line)
            self.entries[_repo(entries[0])] = entries
        if sound < len(content):
            os.truncate(self._path, sound)

    def get(self, name: str, revision: str | None) -> list[Entry] | None:
        entries = self.entries.get(name, [])
        return entries if entries and all(e.revision == revision for e in entries) else None

    def keep(self, name: str, entries: list[Entry]) -> None:
        self.entries[name] = entries
        if not entries:
            return
        with reporting_storage(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"[{','.join(map(dump, entries))}]\n")

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


def _known(settings: Settings) -> dict[str, list[Entry]]:
    """Return the entries of the index in force by their repository."""
    known: dict[str, list[Entry]] = {}
    for entry in zoo_index(settings).entries:
        if entry.source.startswith("hf://"):
            known.setdefault(_repo(entry), []).append(entry)
    return known


def _not_on_hub(settings: Settings) -> Iterator[Entry]:
    return (e for e in zoo_index(settings).entries if not e.source.startswith("hf://"))


def _repo(entry: Entry) -> str:
    return entry.source.removeprefix("hf://")


def _flat(entries: Mapping[str, Sequence[Entry]]) -> list[Entry]:
    return [entry for _, found in sorted(entries.items()) for entry in found]


def _differs(known: list[Entry] | None, repo: Any) -> bool:
    if known is None:
        return True
    if known[0].revision is not None:
        return bool(known[0].revision != repo.sha)
    return repo.last_modified is None or repo.last_modified > SHIPPED_AS_OF


def _calling(call: Callable[[], T], settings: Settings, sleep: Callable[[float], None]) -> T:
    try:
        return retry(call, settings, longest=_LONGEST_WAIT, sleep=sleep)
    except TransientError as error:
        raise RemoteError(
            error.message, hint="run it again later: what was learnt so far is kept"
        ) from error


def _entries(info: Any, known: Mapping[str, list[Entry]]) -> list[Entry]:
    """Return a repository's entries, without files of unknown SHA-256."""
    files = [
        File(sibling.rfilename, sibling.lfs.sha256, sibling.size)
        for sibling in info.siblings or []
        if sibling.rfilename.lower().endswith(".onnx") and sibling.lfs
    ]
    before = known.get(info.id, [])
    if before and len(files) == 1:
        return [_renewed(before[0], files[0], info.sha)]
    by_path = {file.path: entry for entry in before for file in entry.files}
    taken = {
        fold(slug(word))
        for entries in known.values()
        for entry in entries
        for word in (entry.name, *entry.aliases)
    }
    found = []
    for file in files:
        old = by_path.get(file.path)
        found.append(_renewed(old, file, info.sha) if old else _new(file, info, taken))
        taken.add(fold(found[-1].name))
    return found


def _renewed(entry: Entry, file: File, revision: str) -> Entry:
    """Return an entry at another commit, without the facts of its old bytes."""
    if entry.files == (file,):
        return replace(entry, revision=revision)
    return replace(
        entry,
        files=(file,),
        revision=revision,
        inputs=(),
        outputs=(),
        parameters=None,
        ops={},
        test_data=None,
    )


def _new(file: File, info: Any, taken: set[str]) -> Entry:
    stem = Path(file.path).stem
    opset, precision = _OPSET.search(stem), _PRECISION.search(stem)
    label = precision[1].lower() if precision else "fp32"
    return Entry(
        name=next(name for name in _names(file, info) if fold(name) not in taken),
        variant=label,
        precision=label,
        source=f"hf://{info.id}",
        files=(file,),
        opset=int(opset[1]) if opset else None,
        revision=info.sha,
        task=info.pipeline_tag,
        collection="hub",
    )


def _names(file: File, info: Any) -> Iterator[str]:
    """Yield names for a new file, the best first; without end."""
    stem, repo = slug(Path(file.path).stem), slug(info.id.partition("/")[2])
    yield from (stem, repo, f"{repo}-{slug(str(Path(file.path).with_suffix('')))}"[:_LONGEST_NAME])
    yield from (f"{stem[:_LONGEST_NAME]}-{number}" for number in count(2))


def _write(settings: Settings, entries: Sequence[Entry]) -> Path:
    path = updated_path(settings)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with reporting_storage(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        ordered = sorted(entries, key=lambda e: (e.name, -(e.opset or 0), e.variant))
        fresh.write_text("".join(f"{dump(entry)}\n" for entry in ordered), encoding="utf-8")
        fresh.replace(path)
    return path
