"""Servers that do wrong: every behaviour, on a first request and on one that goes on."""

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from tests.faults.cases import Effort, Tried, copy
from tests.faults.invariants import broken, state
from tests.faults.kills import unclear
from tests.faults.runner import Ended, Runner
from tests.support import models
from tests.support.servers import BEHAVIOURS, OF_API, OF_LIST, Behaviour, Server, cut

_HANGS = 20.0  # seconds after which a server gives up that a command should have left
_PASSWORD = "canary-password"
_TOKEN = "hf_canary_token"
# What must be nowhere afterwards: every secret of these commands has this word in it.
_CANARIES = (b"canary", base64.b64encode(f"me:{_PASSWORD}".encode()))
# Framing passes for content, under an ETag that is right: only a hash can tell.
_UNSEEN = {"chunk of a negative size"}
_MORE = "/api/more"  # the second page of the list
_DISK = {"RLIMIT_FSIZE": 64 << 20}  # bytes of a file: what a body without end runs into
_ENVIRONMENT = {
    "HF_TOKEN": _TOKEN, "ZOO_DEBUG": "1", "ZOO_TIMEOUT": "1", "ZOO_ATTEMPTS": "1",
    "NO_PROXY": "*",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """A command that asks a server for something.

    Attributes:
        name: what it is called in reports.
        words: after ``zoo``.
        where: a pattern of the paths that are struck.
        rows: what strikes.
        resumes: it goes on with what an earlier run began.
        environment: beside that of all.
        exact: it ends with the codes of the table; else any that is clear will do.
    """

    name: str
    words: Sequence[str]
    where: str
    rows: Sequence[Behaviour] = BEHAVIOURS
    resumes: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    exact: bool = True


def servers(runner: Runner, folder: Path, effort: Effort) -> Tried:
    """Meet every behaviour in every scene; the effort says how many of each."""
    template = folder / "template"
    template.mkdir(parents=True)
    runner.run(["list"], template / "home")
    broke, count, until = list[str](), 0, time.monotonic() + effort.seconds
    content = _content(runner, folder)
    with Server(content) as here, Server(content) as other:
        here.other, here.next = f"http://localhost:{other.port}", {"/api/models": _MORE}
        for number, (scene, row, resume) in enumerate(_cases(here, content)):
            if number % effort.stride == 0 and time.monotonic() < until:
                case = _Case(runner, folder, here, other, scene, row, resume=resume)
                broke += case.broke()
                count += 1
    return Tried("behaviours of servers", count, broke)


def _cases(here: Server, content: dict[str, bytes]) -> Iterator[tuple[Scene, Behaviour, bool]]:
    for scene in _scenes(here, content):
        for row in scene.rows:
            if row.name in _UNSEEN and not scene.exact:
                continue
            yield scene, row, False
            if scene.resumes:
                yield scene, row, True


def _content(runner: Runner, folder: Path) -> dict[str, bytes]:
    """Return what a sound server holds: a model, the Hub's answer about it, a `.zoo` file."""
    path = models.sized(folder / "m.onnx", 1)
    body = path.read_bytes()
    home = folder / "source" / "home"
    home.parent.mkdir()
    for words in (["register", path, "--name", "m"], ["export", "m", "-o", folder / "x.zoo"]):
        ended = runner.run(words, home)
        if ended.code:
            raise RuntimeError(f"zoo {words}: {ended}")
    digest = sha256(body).hexdigest()
    lfs = {"sha256": digest, "size": len(body), "pointerSize": 134}
    sibling = {"rfilename": "m.onnx", "size": len(body), "blobId": "0" * 40, "lfs": lfs}
    info = {"id": "o/r", "sha": "1" * 40, "siblings": [sibling], "tags": ["license:mit"]}
    return {
        "/m.onnx": body,
        f"/o/r/resolve/{'1' * 40}/m.onnx": body,
        "/api/models/o/r": json.dumps(info).encode(),
        "/x.zoo": (folder / "x.zoo").read_bytes(),
        "/api/models": json.dumps([{"id": "onnxmodelzoo/m", "sha": "1" * 40}]).encode(),
        _MORE: b"[]",
        "/api/models/onnxmodelzoo/m": json.dumps({**info, "id": "onnxmodelzoo/m"}).encode(),
    }


def _scenes(here: Server, content: dict[str, bytes]) -> tuple[Scene, ...]:
    body = content["/m.onnx"]
    digest = sha256(body).hexdigest()
    host = f"127.0.0.1:{here.port}"
    url = f"http://me:{_PASSWORD}@{host}"
    line = {
        "name": "m", "variant": "fp32", "precision": "fp32", "opset": 17,
        "source": f"http://{host}/m.onnx",
        "files": [{"path": "m.onnx", "sha256": digest, "bytes": len(body)}],
    }  # fmt: skip
    content["/index.jsonl"] = here.content["/index.jsonl"] = (json.dumps(line) + "\n").encode()
    bundle = content["/x.zoo"]
    at = bundle.index(b"sha256:")
    archive = f"{url}/x.zoo?token=canary-query#{bundle[at : at + 71].decode()}"
    hub, secret = {"HF_ENDPOINT": here.url}, {"HF_ENDPOINT": url}
    update, listed, told = (
        ("index", "update", "--force"),
        (*BEHAVIOURS, *OF_LIST),
        (*BEHAVIOURS, *OF_API),
    )
    with_files = tuple(row for row in told if row.name != "no files")  # an update takes none
    not_empty = tuple(row for row in BEHAVIOURS if row.name != "empty body")  # an index may be
    return (
        Scene("web", ("pull", f"{url}/m.onnx?token=canary-query", "--sha256", digest), "/m.onnx"),
        Scene("hub", ("pull", "hf://o/r/m.onnx", "--name", "m"), "/resolve/", environment=hub),
        Scene("archive", ("pull", archive, "--name", "m"), "/x.zoo", exact=False),
        Scene("api", ("pull", "hf://o/r", "--name", "m"), "/api/", told,
              resumes=False, environment=secret, exact=False),
        Scene("list", update, r"/models\?", listed, resumes=False, environment=secret, exact=False),
        Scene("next page", update, _MORE, listed, resumes=False, environment=hub, exact=False),
        Scene("one of a list", update, "/onnxmodelzoo/", with_files,
              resumes=False, environment=hub, exact=False),
        Scene("index", ("pull", "m"), "/index.jsonl", not_empty, resumes=False, exact=False,
              environment={"ZOO_INDEX": f"{url}/index.jsonl?sig=canary-query"}),
    )  # fmt: skip


class _Case:
    """A home, a server that does wrong, a command, and the same command at a sound server."""

    def __init__(
        self, runner: Runner, folder: Path, here: Server, other: Server, scene: Scene,
        row: Behaviour, *, resume: bool,
    ) -> None:  # fmt: skip
        self._runner, self._here, self._other = runner, here, other
        self._scene, self._row, self._resume = scene, row, resume
        self._home = folder / "case" / "home"
        copy(folder / "template", self._home.parent)

    def broke(self) -> list[str]:
        """Play the case; return what is wrong, a line each."""
        self._other.requests.clear()
        if self._resume:
            self._here.strike(cut, self._scene.where)
            self._run()
        before = state(self._home)
        self._here.strike(self._row.answer, self._scene.where)
        hung = threading.Timer(_HANGS, self._here.strike, [None])
        hung.start()
        ended = self._run()
        found = [] if hung.is_alive() else ["it hangs"]
        hung.cancel()
        found += unclear(ended, {*self._codes()})
        if ended.code and state(self._home) != before:
            found.append(f"half done: {state(self._home) ^ before}")
        found += broken(self._home) + self._told(ended)
        self._here.strike(None)
        again = self._run()
        found += [] if again.code == 0 else [f"again: {again}"]
        found += [f"again: {line}" for line in broken(self._home) + self._told(again)]
        when = "on a resume" if self._resume else "at first"
        return [f"{self._scene.name}, {self._row.name}, {when}: {line}" for line in found]

    def _run(self) -> Ended:
        environment = {**_ENVIRONMENT, **self._scene.environment}
        return self._runner.run(
            self._scene.words, self._home, environment=environment, limits=_DISK
        )

    def _codes(self) -> frozenset[int]:
        codes = self._row.resumed if self._resume else self._row.first
        if self._scene.exact or self._row not in BEHAVIOURS:
            return codes
        return codes | {0, 3, 4, 5, 6} if 10 not in codes else codes

    def _told(self, ended: Ended) -> list[str]:
        """Return where a secret is that should be in no such place."""
        places = {"stdout": ended.out.encode(), "stderr": ended.err.encode()}
        places |= {str(p): p.read_bytes() for p in self._home.rglob("*") if p.is_file()}
        places |= {f"other host {r.path}": r.raw for r in self._other.requests}
        return [
            f"a secret in {place}: {text[-300:]!r}"
            for place, text in places.items()
            if any(canary in text for canary in _CANARIES)
        ]
