"""Find `.zoo` files: one here, a folder of them, or one on a web server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.core.files import reading
from onnxzoo.registry.core.records import Progress
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.sources.local import FolderSource, open_local
from onnxzoo.zoo_index.sources.source import Listed
from onnxzoo.zoo_index.sources.web import WebSource
from onnxzoo.zoo_index.sources.zoo_file import SUFFIX

_PIN = re.compile(r"sha256=([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class ZooFile:
    """A `.zoo` file in its source, with the hash that it must have, where one was given."""

    source: FolderSource | WebSource
    file: Listed

    @property
    def shown(self) -> str:
        """Its address, fit to be shown."""
        if isinstance(self.source, WebSource):
            return self.source.url
        return str(self.source.root / self.file.path)

    @property
    def name(self) -> str | None:
        """Its URL, where its file here has a name that nobody knows."""
        return self.source.url if isinstance(self.source, WebSource) else None

    @contextmanager
    def here(self, progress: Progress | None = None) -> Iterator[Path]:
        """Give the file on this machine; one that is fetched is gone after the block.

        Raises:
            IntegrityError: if it has not the hash that it must have.
            NotFound, NotAuthorised, RemoteError: if it cannot be had.
        """
        if isinstance(self.source, FolderSource) and self.file.sha256 is None:
            yield self.source.root / self.file.path
            return
        fetched = self.source.fetch(
            self.file.path, sha256=self.file.sha256, size=None, progress=progress
        )
        try:
            yield fetched.path
        finally:
            if fetched.owned:
                fetched.path.unlink(missing_ok=True)


def find_zoo_files(text: str, settings: Settings) -> list[ZooFile]:
    """Return the `.zoo` files that a text means; none of them is read yet.

    Args:
        text: a path, a folder of `.zoo` files, or an https URL; ``#sha256=HEX`` pins a file.
        settings: whether the network may be touched, and where downloads lie.

    Raises:
        NotFound: if there is none.
        UsageError: if it pins what is no one file.
    """
    where, sign, pin = text.partition("#")
    match = _PIN.fullmatch(pin)
    if sign and match is None:
        raise UsageError(f"`#{pin}` is no pin", hint="expected #sha256= and 64 hexadecimal digits")
    sha256 = match[1].lower() if match else None
    if where.lower().startswith(("https://", "http://")):
        web = WebSource(where, settings)
        return [ZooFile(web, Listed(web.files()[0].path, None, sha256))]
    source = open_local(where)
    if source.name is not None:
        return [ZooFile(source, Listed(source.name, None, sha256))]
    with reading(source.root):
        names = sorted(p.name for p in source.root.iterdir() if p.suffix == SUFFIX and p.is_file())
    if not names:
        raise NotFound(f"no `{SUFFIX}` file in `{source.root}`", hint="zoo export writes them")
    if sha256 is not None:
        raise UsageError(f"`{source.root}` is a folder; a SHA-256 goes with one file")
    return [ZooFile(source, Listed(name, None, None)) for name in names]
