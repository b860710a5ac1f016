"""What every kind of source speaks of: a file that it lists, and its part file here."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.errors import RemoteError
from onnxzoo.registry.logs import logger
from onnxzoo.registry.settings import Settings
from onnxzoo.registry.transport import without_query

if TYPE_CHECKING:
    import requests

_retries = logger("onnxzoo.retry")  # of its own, so that it can be kept quiet
_MAY_PASS = {408, 425, 429, *range(500, 600)}  # what a download asks again after


@dataclass(frozen=True, slots=True)
class Listed:
    """A file inside a source: its path there, its size and SHA-256 where the source tells."""

    path: str
    bytes: int | None
    sha256: str | None


def part_of(settings: Settings, *words: str | None) -> Path:
    """Return the part file of what these words say: the source, the path, the hash."""
    key = hashlib.sha256("\n".join(word or "" for word in words).encode()).hexdigest()
    return settings.downloads / f"{key[:32]}.part"


def need_network(settings: Settings, url: str) -> None:
    """Raise RemoteError in offline mode."""
    if settings.offline:
        raise RemoteError(
            f"`{url}` cannot be asked in offline mode",
            hint="allow the network: unset ZOO_OFFLINE and HF_HUB_OFFLINE",
        )


@contextmanager
def telling_session() -> Iterator["requests.Session"]:
    """Give a session for `download` that tells once, as a warning, why it asks again."""
    from http.cookiejar import DefaultCookiePolicy

    import requests

    told: list[str] = []

    def tell(url: str, reason: str) -> None:
        if not told:
            told.append(reason)
            _retries.warning("`%s` %s; asking again", without_query(url), reason)

    class Telling(requests.Session):
        def get(self, url: str | bytes, **kwargs: Any) -> requests.Response:
            try:
                response = super().get(url, **kwargs)
            except requests.exceptions.SSLError:  # is not asked again
                raise
            except requests.Timeout:
                tell(str(url), "gave no answer in time")
                raise
            except requests.ConnectionError:
                tell(str(url), "cannot be reached")
                raise
            if response.status_code in _MAY_PASS:
                tell(str(url), f"answered {response.status_code}")
            return response

    with Telling() as session:
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        yield session
