"""Find cache folders that can be deleted: left by dead processes or removed models."""

import re
from collections.abc import Iterator, Set
from pathlib import Path

from onnxzoo.registry.core.files import entries
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.core.staging import abandoned

# A model's copy for `onnxzoo.hub`: its name, its data's digest and its own; then who is making it.
_COPY = re.compile(r"(?P<copy>.+-[0-9a-f]{12}-(?P<digest>[0-9a-f]{12}))(?P<making>-.+)?")


def leftovers(settings: Settings, used: Set[str], *, environments: bool) -> list[Path]:
    """Return the folders of the cache that can go.

    Args:
        settings: where the cache is.
        used: digests of the bundles that are held.
        environments: those that converters have for themselves too, unless a conversion runs.
            They are made again when they are needed.
    """
    conversions = entries(settings.conversions)
    dead = [folder for folder in conversions if abandoned(folder)]
    idle = len(dead) == len(conversions)
    return [
        *dead,
        *_copies(settings.copies, used),
        *_environments(settings.environments, whole=environments and idle),
    ]


def _copies(root: Path, used: Set[str]) -> Iterator[Path]:
    held = {digest.removeprefix("sha256:")[:12] for digest in used}
    for folder in entries(root):
        match = _COPY.fullmatch(folder.name)
        if match is None:
            continue
        if match["making"]:
            if abandoned(folder, f"{match['copy']}-"):
                yield folder
        elif match["digest"] not in held:
            yield folder


def _environments(root: Path, *, whole: bool) -> Iterator[Path]:
    for folder in entries(root):
        half_made = folder.name.startswith(".")
        if abandoned(folder, ".") if half_made else whole:
            yield folder
