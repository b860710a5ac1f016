"""What every kind of source speaks of: a file that it lists, and its part file here."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from onnxzoo.registry.errors import RemoteError
from onnxzoo.registry.settings import Settings


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
