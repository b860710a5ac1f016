"""Represent a lock: references, and the bundle pinned for each."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from onnxzoo.registry.core.errors import IntegrityError, NotFound, UsageError
from onnxzoo.registry.core.manifest import File, Manifest
from onnxzoo.registry.core.names import LATEST, LOCK, Ref, check_name, check_word, fold
from onnxzoo.registry.core.records import Variant
from onnxzoo.registry.resolve.choose import Constraints, wanted
from onnxzoo.registry.resolve.lookup import with_variant

_SHOWN = 5  # references named in an error


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A reference, and the bundle that it means.

    Attributes:
        asked: the reference as it was asked for.
        version: the number that it had in the registry where it was locked.
        source: where its bytes came from; a relative path counts from the lock's folder.
        made_from: what it was made from, where it was: then its source does not have its bytes.
        made_by: by which recipe, in words.
    """

    asked: Ref
    name: str
    variant: str
    version: int
    precision: str
    opset: int
    source: str
    digest: str
    entry: str
    files: tuple[File, ...]
    revision: str | None = None
    license: str | None = None
    made_from: str | None = None
    made_by: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_word(self.variant, "variant")
        check_word(self.precision, "precision")
        for what, number, least in (("version", self.version, 1), ("opset", self.opset, 0)):
            if number < least:
                raise UsageError(
                    f"the {what} of `{self.asked}` is {number}; expected {least} or more"
                )
        found = Manifest.of(self.files).digest
        if found != self.digest:
            raise IntegrityError(
                f"the files of `{self.asked}` make the digest {found}; `digest` says {self.digest}"
            )
        if self.entry not in {file.path for file in self.files}:
            raise UsageError(f"the entry `{self.entry}` of `{self.asked}` is none of its files")
        self._check_asked()

    @property
    def ref(self) -> str:
        """``NAME@sha256:…``, which means the same bytes in every registry."""
        return f"{self.name}@{self.digest}"

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files)

    def among(self, held: Iterable[Variant]) -> Variant | None:
        """Return the variant of its name, bytes and entry; of several the one of its label."""
        mine = fold(self.name), self.digest, self.entry
        found = [one for one in held if (fold(one.name), one.digest, one.entry) == mine]
        same = [one for one in found if one.variant == self.variant]
        return next(iter([*same, *found]), None)

    @property
    def is_movable(self) -> bool:
        """True if the reference can change its meaning: an alias, or the latest."""
        version = self.asked.version or LATEST
        return not (version.isdecimal() or version.startswith("sha256:"))

    def _check_asked(self) -> None:
        """Refuse a reference that says something else than the rest, as when one is edited."""
        asked = self.asked
        version = asked.version or LATEST
        if asked.variant not in {None, self.variant, self.precision}:
            other = f"`{self.variant}`"
        elif version.isdecimal() and int(version) != self.version:
            other = f"version {self.version}"
        elif version.startswith("sha256:") and not self.digest.startswith(version):
            other = self.digest
        else:
            return
        raise UsageError(f"what is locked for `{asked}` is {other}")


@dataclass(frozen=True, slots=True)
class Lock:
    """The entries of a lock file, by reference, none twice.

    Attributes:
        path: the file, whether it is there or not.
        models: its entries.
    """

    path: Path
    models: tuple[Locked, ...] = ()

    def __post_init__(self) -> None:
        keys = [self.key(locked.asked) for locked in self.models]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                asked = self.models[number].asked
                raise UsageError(f"`{self.path}` has `{asked}` twice", hint="delete one of the two")
        ordered = sorted(self.models, key=lambda locked: str(locked.asked))
        object.__setattr__(self, "models", tuple(ordered))

    @staticmethod
    def key(asked: Ref) -> tuple[str, str | None, str]:
        """Return a key, equal for references with the same meaning: ``net`` and ``NET@latest``."""
        return fold(asked.name), asked.variant, asked.version or LATEST

    @property
    def option(self) -> str:
        """The option that selects this lock; empty for ``zoo.lock``."""
        from shlex import quote

        return "" if self.path == Path(LOCK) else f" --lock {quote(str(self.path))}"

    def source_of(self, locked: Locked) -> str:
        """Return the source of an entry; a file's path counts from the lock's folder."""
        if locked.made_from is None and locked.source.startswith("./"):
            return str(self.path.absolute().parent / locked.source)
        return locked.source

    def find(self, ref: str, wish: Constraints | None = None) -> Locked:
        """Return the entry of a reference that was asked for when it was locked.

        Args:
            ref: the reference, as it was locked.
            wish: a variant beside it; bounds and goals have no say where a lock has.

        Raises:
            NotFound: if the lock does not have it.
        """
        wish = wish or {}
        bounds: Constraints = {**wish, "variant": None}
        if wanted(bounds) or wish.get("prefer") or wish.get("runtime"):
            raise UsageError(
                "an opset, a bound or a goal chooses among variants, and a lock has chosen",
                hint=f"leave it out, or leave `{self.path}` out",
            )
        asked = with_variant(ref, wish.get("variant"))
        found = next((one for one in self.models if self.key(one.asked) == self.key(asked)), None)
        if found is None:
            raise self._missing(asked)
        return found

    def _missing(self, asked: Ref) -> NotFound:
        named = [one for one in self.models if fold(one.asked.name) == fold(asked.name)]
        shown = [f"`{one.asked}`" for one in (named or self.models)]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        there = f"; it has {', '.join(shown[:_SHOWN])}{more}" if shown else "; it is empty"
        return NotFound(
            f"`{asked}` is not in `{self.path}`{there}", hint=f"zoo lock {asked}{self.option}"
        )
