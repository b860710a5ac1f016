"""Ask the Hub what the zoo holds today, and keep the answer as an index of its own."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.errors import RemoteError
from onnxzoo.registry.manifest import File
from onnxzoo.registry.names import fold, slug
from onnxzoo.registry.records import Progress
from onnxzoo.registry.settings import Settings
from onnxzoo.registry.store import reporting_storage
from onnxzoo.registry.transport import asked_wait
from onnxzoo.zoo_index.entries import Entry, dump
from onnxzoo.zoo_index.index import SHIPPED, ZOO, Index, fetch_index, updated_path

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_SHIPPED_AS_OF = datetime(2026, 11, 24, tzinfo=UTC)  # when the shipped index's facts were compiled
# The Hub lets an address without a token call its API 500 times in five minutes.
# Source: Hugging Face's documentation, "Hub rate limits".
_FREE_CALLS = 400
_PACE = 0.7  # seconds between calls where there are more of them
_LONGEST_WAIT = 300  # seconds; the length of the Hub's window
_PAUSE = 60  # seconds to wait where the Hub does not say how long
_WAITS = 3
_TOO_MANY = 429
_OPSET = re.compile(r"[_-]opset([0-9]+)", re.IGNORECASE)
_PRECISION = re.compile(r"[_-](fp16|int8|uint8|int4|qdq)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update found: repositories' names, and where the index lies now."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]
    same: int
    path: Path


def update(
    settings: Settings,
    *,
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
        progress: told of the repositories asked about.
        sleep: waits a number of seconds.

    Raises:
        RemoteError: if the Hub cannot be asked, or asks to wait for too long.
    """
    if settings.offline:
        raise RemoteError("offline mode forbids asking the Hub", hint="unset ZOO_OFFLINE")
    for where in settings.indexes:
        if "://" in where:
            fetch_index(where, settings)
    known = _known(settings)
    api = _api(settings)
    listed = {repo.id: repo for repo in _calling(partial(_list, api), sleep)}
    if not listed:
        raise RemoteError(f"the Hub lists no models of `{ZOO}`; the index is left as it is")
    learnt = _Learnt(settings)
    todo = [name for name, repo in listed.items() if _differs(known.get(name), repo)]
    for number, name in enumerate(todo):
        if progress:
            progress("repositories", number, len(todo))
        if learnt.get(name, listed[name].sha) is None:
            info = _calling(partial(api.model_info, name, files_metadata=True), sleep)
            learnt.keep(name, _entries(info, known))
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


class _Learnt:
    """What was learnt so far, a line an entry: an interrupted update goes on from there."""

    def __init__(self, settings: Settings) -> None:
        self._path = updated_path(settings).with_suffix(".part.jsonl")
        self.entries: dict[str, list[Entry]] = {}
        if self._path.exists():
            for entry in Index(self._path, ZOO, trusted=False).entries:
                self.entries.setdefault(_repo(entry), []).append(entry)

    def get(self, name: str, revision: str) -> list[Entry] | None:
        entries = self.entries.get(name, [])
        return entries if entries and all(e.revision == revision for e in entries) else None

    def keep(self, name: str, entries: list[Entry]) -> None:
        self.entries[name] = entries
        with reporting_storage(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            text = "".join(f"{dump(entry)}\n" for entry in _flat(self.entries))
            self._path.write_text(text, encoding="utf-8")

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


def _current(settings: Settings) -> Index:
    path = updated_path(settings)
    return Index(path if path.exists() else SHIPPED, ZOO, trusted=True)


def _known(settings: Settings) -> dict[str, list[Entry]]:
    """Return the entries of the index in force by their repository."""
    known: dict[str, list[Entry]] = {}
    for entry in _current(settings).entries:
        if entry.source.startswith("hf://"):
            known.setdefault(_repo(entry), []).append(entry)
    return known


def _not_on_hub(settings: Settings) -> Iterator[Entry]:
    return (e for e in _current(settings).entries if not e.source.startswith("hf://"))


def _repo(entry: Entry) -> str:
    return entry.source.removeprefix("hf://")


def _flat(entries: Mapping[str, Sequence[Entry]]) -> list[Entry]:
    return [entry for _, found in sorted(entries.items()) for entry in found]


def _api(settings: Settings) -> "HfApi":
    from huggingface_hub import HfApi

    logging.getLogger("huggingface_hub").setLevel("ERROR")  # it tells every retry on stderr
    return HfApi(endpoint=settings.endpoint)


def _list(api: "HfApi") -> list[Any]:
    return list(api.list_models(author=ZOO, expand=["sha", "lastModified"]))


def _differs(known: list[Entry] | None, repo: Any) -> bool:
    if known is None:
        return True
    if known[0].revision is not None:
        return bool(known[0].revision != repo.sha)
    return repo.last_modified is None or repo.last_modified > _SHIPPED_AS_OF


def _calling(call: Callable[[], Any], sleep: Callable[[float], None]) -> Any:
    """Call the Hub; wait as long as it asks for, a few times."""
    from huggingface_hub.errors import HfHubHTTPError

    for attempt in range(_WAITS + 1):
        try:
            return call()
        except HfHubHTTPError as error:
            response = error.response
            limited = response is not None and response.status_code == _TOO_MANY
            if not limited or attempt == _WAITS:
                status = response.status_code if response is not None else "no status"
                raise RemoteError(
                    f"the Hub answered {status}: {error.server_message or error}",
                    hint="run it again later: what was learnt so far is kept",
                ) from error
            sleep(min(asked_wait(response.headers) or _PAUSE, _LONGEST_WAIT))
        except Exception as error:
            raise RemoteError(
                f"cannot ask the Hub: {error}", hint="zoo doctor shows which Hub is asked"
            ) from error
    raise AssertionError  # the last attempt returns or raises


def _entries(info: Any, known: Mapping[str, list[Entry]]) -> list[Entry]:
    """Return a repository's entries; files whose SHA-256 the Hub does not give are left out."""
    files = [
        File(sibling.rfilename, sibling.lfs.sha256, sibling.size)
        for sibling in info.siblings or []
        if sibling.rfilename.lower().endswith(".onnx") and sibling.lfs
    ]
    before = known.get(info.id, [])
    if before and len(files) == 1:
        return [_renewed(before[0], files[0], info.sha)]
    taken = {fold(entry.name) for entries in known.values() for entry in entries}
    return [_new(file, info, taken) for file in files]


def _renewed(entry: Entry, file: File, revision: str) -> Entry:
    """Return an entry at another commit; what described other bytes is not known any more."""
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
    name = slug(stem)
    return Entry(
        name=f"{name}-hub" if fold(name) in taken else name,
        variant=label,
        precision=label,
        source=f"hf://{info.id}",
        files=(file,),
        opset=int(opset[1]) if opset else None,
        revision=info.sha,
        task=info.pipeline_tag,
        collection="hub",
    )


def _write(settings: Settings, entries: Sequence[Entry]) -> Path:
    path = updated_path(settings)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with reporting_storage(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        ordered = sorted(entries, key=lambda e: (e.name, -(e.opset or 0), e.variant))
        fresh.write_text("".join(f"{dump(entry)}\n" for entry in ordered), encoding="utf-8")
        fresh.replace(path)
    return path
