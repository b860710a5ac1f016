"""Pull one variant out of a `.zoo` file, here or on a web server."""

import io
import os
import re
from pathlib import Path
from secrets import token_hex

from onnxzoo.registry.archive.snapshot import Contents, Member
from onnxzoo.registry.archive.tar import HEADER, head_size, offsets_of, opened, read_head
from onnxzoo.registry.core.errors import NotFound, Refused
from onnxzoo.registry.core.files import reporting_storage
from onnxzoo.registry.core.manifest import Manifest
from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.download.download import Fetched
from onnxzoo.zoo_index.download.options import partial_path
from onnxzoo.zoo_index.download.peers import Namer
from onnxzoo.zoo_index.sources.local import open_local
from onnxzoo.zoo_index.sources.source import Listed
from onnxzoo.zoo_index.sources.web import WebSource

SUFFIX = ".zoo"
_TEXT = re.compile(r"(?P<where>.+\.zoo(\?[^#]*)?)#(?P<digest>sha256:[0-9a-f]{64})")
_WEB = ("https://", "http://")


def names_archive(text: str) -> bool:
    """Tell whether a source is a bundle in a `.zoo` file.

    >>> names_archive("https://acme.org/m.zoo#sha256:" + 64 * "0"), names_archive("m.zoo")
    (True, False)
    """
    return _TEXT.fullmatch(text) is not None


class ArchiveSource:
    """One bundle in a `.zoo` file, here or on a web server; the rest of the file is not fetched.

    Args:
        text: ``https://…/models.zoo#sha256:…``, or a local path, with a bundle's digest.
        settings: whether the network may be touched, and where part files lie.
        named_by: who named it; None for the user.
    """

    def __init__(self, text: str, settings: Settings, named_by: Namer | None = None) -> None:
        match = _TEXT.fullmatch(text)
        if match is None:
            raise Refused(f"`{text}` names no bundle in a `{SUFFIX}` file")
        where, self._digest = match["where"], match["digest"]
        self._settings = settings
        self._web = WebSource(where, settings, named_by) if where.lower().startswith(_WEB) else None
        local = None if self._web else open_local(where, named_by)
        self._path = local.root / str(local.name) if local else Path()
        self._known: tuple[Contents, int] | None = None

    @property
    def url(self) -> str:
        """The file's URL, and the digest."""
        return f"{self._web.url if self._web else self._path.as_uri()}#{self._digest}"

    @property
    def revision(self) -> None:
        """None: the digest says which bytes are meant."""

    @property
    def license(self) -> str | None:
        """The licence that the file states."""
        if self._known is None:
            return None
        held = self._known[0].variants()
        return next((v.license for _, v, one in held if one.digest == self._digest), None)

    def means(self, path: str, revision: str | None) -> bool:  # noqa: ARG002  (a Source's)
        """Return True: a digest means the same bytes for ever."""
        return True

    def files(self) -> tuple[Listed, ...]:
        """Return the bundle's files with their sizes and hashes."""
        return tuple(Listed(file.path, file.bytes, file.sha256) for file in self._bundle().files)

    def beside(self, path: str) -> Listed:
        """Return a file of the bundle."""
        found = next((file for file in self.files() if file.path == path), None)
        if found is None:
            raise NotFound(f"no file `{path}` in `{self.url}`")
        return found

    def fetch(
        self,
        path: str,
        *,
        sha256: str | None,
        size: int | None,  # noqa: ARG002  (the file says it)
        progress: Progress | None = None,
    ) -> Fetched:
        """Return one verified file; see `Source.fetch`."""
        listed = self.beside(path)
        if sha256 not in {None, listed.sha256}:
            raise NotFound(f"`{path}` in `{self.url}` has another SHA-256 than `{sha256}`")
        contents, start = self._contents()
        member = next(one for one in contents.members if one.sha256 == listed.sha256)
        if self._web is None:
            return self._copied(member)
        at = offsets_of(contents, start)[0][member.sha256]
        return self._web.span(at, member.bytes, sha256=member.sha256, label=path, progress=progress)

    def _copied(self, member: Member) -> Fetched:
        target = partial_path(self._settings, self.url, member.sha256).with_suffix(
            f".{token_hex(4)}"
        )
        with opened(self._path) as packed, reporting_storage(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with target.open("xb") as file:
                    file.writelines(packed.chunks(member))
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                target.unlink(missing_ok=True)
                raise
        return Fetched(target, member.sha256, member.bytes)

    def _bundle(self) -> Manifest:
        found = self._contents()[0].bundles.get(self._digest)
        if found is None:
            raise NotFound(
                f"no bundle `{self._digest}` in `{self.url.partition('#')[0]}`",
                hint="the file is another one now: zoo index update",
            )
        return found

    def _contents(self) -> tuple[Contents, int]:
        if self._known is None:
            if self._web is not None:
                self._known = manifest_of(self._web)
            else:
                with opened(self._path) as packed:
                    self._known = packed.contents, 0
        return self._known


def manifest_of(web: WebSource) -> tuple[Contents, int]:
    """Fetch the first member of a file on a web server, and no more."""
    name = web.url.rpartition("/")[2]
    size = head_size(_bytes(web, 0, HEADER), name)
    return read_head(io.BytesIO(_bytes(web, 0, size)), name)


def _bytes(web: WebSource, start: int, size: int) -> bytes:
    fetched = web.span(start, size)
    try:
        return fetched.path.read_bytes()
    finally:
        fetched.path.unlink(missing_ok=True)
