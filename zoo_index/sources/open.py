"""Open a source: ``hf://``, ``https://``, ``pkg://`` or a local path."""

import re

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.download.peers import Namer
from onnxzoo.zoo_index.sources.hub import HubSource
from onnxzoo.zoo_index.sources.local import open_local, open_package
from onnxzoo.zoo_index.sources.source import Source
from onnxzoo.zoo_index.sources.web import WebSource
from onnxzoo.zoo_index.sources.zoo_file import ArchiveSource, names_archive

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


def open_source(text: str, settings: Settings, named_by: Namer | None = None) -> Source:
    """Return the source that a text names.

    Args:
        text: ``hf://owner/repo[@revision][/file]``, ``https://…/model.onnx``,
            ``pkg://package/path``, ``file://…`` or a local path; a file or a folder; or a bundle
            in a `.zoo` file, ``https://…/models.zoo#sha256:…``.
        settings: the Hub's endpoint, the folder of downloads, offline or not.
        named_by: what named it in the place of the user, who may name any address and file.

    Raises:
        UsageError: if the text is none of these.
        Refused: for ``http://`` to another machine, a path that climbs out, or what an index or a
            lock may not name.
        NotFound: if a local file or a package is not there.
    """
    if names_archive(text):
        return ArchiveSource(text, settings, named_by)
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else "file"
    if scheme == "hf":
        return HubSource.parse(text, settings)
    if scheme in {"https", "http"}:
        return WebSource(text, settings, named_by)
    if scheme == "pkg":
        return open_package(text)
    if scheme == "file":
        return open_local(text, named_by)
    raise UsageError(
        f"`{scheme}://` is not a kind of source; "
        "expected `hf://`, `https://`, `pkg://` or a local path"
    )
