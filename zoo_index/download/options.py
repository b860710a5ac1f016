"""Set the options of downloads: partial files, limits, the session."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from onnxzoo.registry.core.errors import RemoteError
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.core.text import redact_url
from onnxzoo.zoo_index.download.http_session import new_session
from onnxzoo.zoo_index.download.peers import Namer
from onnxzoo.zoo_index.download.response import Limits

if TYPE_CHECKING:
    import requests

_retries = logger("onnxzoo.retry")  # of its own, so that it can be kept quiet


def partial_path(settings: Settings, *words: str | None) -> Path:
    """Return the partial file for a source, a path and a hash."""
    key = hashlib.sha256("\n".join(word or "" for word in words).encode()).hexdigest()
    return settings.downloads / f"{key[:32]}.part"


def download_limits(settings: Settings, *, most: int = 1 << 40) -> Limits:
    """Return how long and how often a server is asked, and how many bytes are taken at most."""
    return Limits(
        connect=min(10.0, settings.timeout),
        read=settings.timeout,
        window=settings.timeout,
        attempts=settings.attempts,
        bytes=most,
    )


def require_network(settings: Settings, url: str) -> None:
    """Raise RemoteError in offline mode."""
    if settings.offline:
        raise RemoteError(
            f"`{url}` cannot be asked in offline mode",
            hint="allow the network: unset ZOO_OFFLINE and HF_HUB_OFFLINE",
        )


@contextmanager
def session_with_retry_warning(named_by: Namer | None = None) -> Iterator["requests.Session"]:
    """Give a session for `download` that tells once, as a warning, why it asks again.

    Args:
        named_by: who named the address that is asked; None for the user.
    """
    told: list[str] = []

    def tell(url: str, reason: str) -> None:
        if not told:
            told.append(reason)
            _retries.warning("`%s` %s; asking again", redact_url(url), reason)

    with new_session(tell, named_by) as session:
        yield session
