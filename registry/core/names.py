"""References: how a model, a version and a variant are named, parsed and printed."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from onnxzoo.registry.core.errors import UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?")
_WORD = re.compile(r"[a-z0-9][a-z0-9._-]*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{4,64}")
_MAX = 128  # characters in a name; short enough for any file system and any column
_LONGEST = 1 << 16  # characters of a source, a licence, a task

LATEST = "latest"
LOCK = "zoo.lock"  # the lock that is meant where none is named


@dataclass(frozen=True, slots=True)
class Ref:
    """A parsed reference ``NAME[:VARIANT][@VERSION]``.

    ``version`` is a number (``"3"``), an alias (``"production"``), a bundle's digest
    (``"sha256:ab12…"``, at least four hexadecimal digits) or None for the latest.

    >>> Ref.parse("ResNet50:int8@Production")
    Ref(name='resnet50', variant='int8', version='production')
    >>> str(Ref("acme/ranker", version="2"))
    'acme/ranker@2'
    """

    name: str
    variant: str | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.variant is not None:
            check_word(self.variant, "variant")
        if self.version is not None and not _DIGEST.fullmatch(self.version):
            check_word(self.version, "version")

    @classmethod
    def parse(cls, text: str) -> "Ref":
        """Parse a reference; letters are folded to lower case.

        The variant may follow the version, too: ``net@1:int8`` is ``net:int8@1``.

        Raises:
            UsageError: if it is no text, or not ``NAME[:VARIANT][@VERSION]``.
        """
        if not isinstance(text, str):
            raise _malformed(repr(text))
        if "://" in text:
            raise _no_name(text)
        head, at, version = text.strip().lower().partition("@")
        name, colon, variant = head.partition(":")
        if (at and not version) or (colon and not variant):
            raise _malformed(text)
        if not colon and ":" in version and not version.startswith("sha256:"):
            version, colon, variant = version.partition(":")  # `NAME@VERSION:VARIANT` is as clear
            if not (version and variant):
                raise _malformed(text)
        return cls(name, variant or None, version or None)

    def __str__(self) -> str:
        variant = f":{self.variant}" if self.variant else ""
        version = f"@{self.version}" if self.version else ""
        return f"{self.name}{variant}{version}"


def check_list(values: object, parameter: str) -> None:
    """Raise UsageError for a single text where several are expected: its letters are not meant.

    >>> check_list(["vision"], "tags")
    """
    if isinstance(values, str | bytes):
        raise UsageError(
            f"`{parameter}` is the text `{values!s}`; expected a list of texts",
            hint=f"{parameter}=[{values!r}]",
        )


def fold(name: str) -> str:
    """Return the key under which a name is looked up: ``_`` and ``-`` and case are alike.

    >>> fold("ResNet_50")
    'resnet-50'
    """
    return name.lower().replace("_", "-")


def keys_of(words: Iterable[str]) -> list[str]:
    """Return the keys of words to search for; a phrase is its words, since hyphens join them.

    >>> keys_of(["Image classification", "int8"])
    ['image', 'classification', 'int8']
    """
    return [fold(part) for word in words for part in word.split()]


def slug(text: str) -> str:
    """Return the nearest valid name to any text.

    >>> slug("Emotion FERPlus (v2)")
    'emotion-ferplus-v2'
    >>> slug("Größe é")
    'grosse-e'
    """
    letters = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = re.sub(r"[^a-z0-9._]+", "-", plain).strip("-._")
    return words[:_MAX].rstrip("-._") or "model"


def check_name(name: str) -> str:
    """Return a model's name as given, or raise UsageError if it is not valid."""
    if not _NAME.fullmatch(name) or len(name) > _MAX:
        raise UsageError(
            f"`{name}` is not a model's name; expected `[owner/]name` of lower-case letters, "
            f"digits, `.`, `_` and `-`, {_MAX} characters at most",
            hint=f"for example: {'/'.join(slug(part) for part in name.split('/')[:2])}",
        )
    return name


def check_word(word: str, kind: str) -> str:
    """Return an alias, tag, variant or version as given, or raise UsageError."""
    if not _WORD.fullmatch(word) or len(word) > _MAX:
        raise UsageError(
            f"`{word}` is not a valid {kind}; expected lower-case letters, digits, `.`, `_` and `-`"
        )
    return word


def check_text(text: str | None, kind: str) -> None:
    """Raise UsageError if free text is none that every database takes."""
    if text is None:
        return
    if "\0" in text or len(text) > _LONGEST:
        what = "a zero byte" if "\0" in text else f"more than {_LONGEST} characters"
        raise UsageError(f"the {kind} holds {what}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the {kind} is no Unicode text: {error.reason}") from error


def _no_name(text: str) -> UsageError:
    """Return the error for a source; a source outside the Hub may hold a secret."""
    hub = text.strip().lower().startswith("hf://")
    shown = text.strip() if hub else f"{text.strip().partition('://')[0]}://…"
    return UsageError(
        f"`{shown}` is a source; expected the name of a model",
        hint=f"zoo pull {shown if hub else 'URL'} --dry-run shows what it has and what it would be "
        "called; then: zoo list",
    )


def _malformed(text: str) -> UsageError:
    return UsageError(
        f"`{text}` is not a reference; expected `NAME[:VARIANT][@VERSION]`",
        hint="for example: resnet50, resnet50:int8, resnet50@3, resnet50:int8@production",
    )
