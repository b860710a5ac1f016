"""Parse the addresses that users paste: pages of the Hub, and URLs with a pin."""

import re
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.core.text import redact_url

_HUB_HOSTS = {"huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"}
_NO_SCHEME = re.compile(r"(www\.)?(huggingface\.co|hf\.co)/[^/]+/[^/]+", re.IGNORECASE)
_PIN = re.compile(r"(?P<where>.*)#sha256=(?P<sha256>[^#]*)", re.DOTALL)
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_NOT_MODELS = {"api", "collections", "datasets", "docs", "models", "papers", "spaces"}
_WITH_FILE = {"blob", "resolve", "raw"}  # …/blob/REVISION/PATH
_DEFAULT = "main"  # the branch that a repository without a revision means


class Address(NamedTuple):
    """A source as `open_source` reads it, and the SHA-256 that its file must have, if any."""

    text: str
    sha256: str | None = None


def parse_address(text: str, settings: Settings) -> Address:
    """Parse a pasted address; anything but a URL is returned as it is.

    ``#sha256=HEX`` at the end is a pin, as pip reads it. A page of the Hub (``huggingface.co``,
    ``hf.co`` or the host of ``HF_ENDPOINT``) stands for its repository, revision and file.

    Raises:
        UsageError: if a fragment is no pin, or a page of the Hub is none of a model.

    Source: the Hub's URLs, ``/OWNER/REPO[/blob|resolve|raw|tree|commit/REVISION[/PATH]]``.
    """
    if not isinstance(text, str):
        return Address(text)
    where, sha256 = _split_pin(text.strip())
    if _NO_SCHEME.match(where):
        where = f"https://{where}"
    if not where.lower().startswith(("https://", "http://")):
        return Address(where if sha256 else text, sha256)
    where = _without_fragment(where)
    return Address(_repository(where, settings) or where, sha256)


def hub_repository(text: str) -> str | None:
    """Return the source of the Hub's repository that a bare name may mean.

    >>> hub_repository("Acme/Small:int8"), hub_repository("resnet50")
    ('hf://Acme/Small:int8', None)
    """
    name = text.strip().partition("@")[0].partition(":")[0]
    return f"hf://{text.strip()}" if _REPOSITORY.fullmatch(name) else None


def _split_pin(text: str) -> tuple[str, str | None]:
    match = _PIN.fullmatch(text)
    if match is None:
        return text, None
    if not _HEX.fullmatch(match["sha256"]):
        raise UsageError(
            f"`#sha256={match['sha256']}` is no pin",
            hint="expected #sha256= and 64 hexadecimal digits",
        )
    return match["where"], match["sha256"].lower()


def _without_fragment(url: str) -> str:
    where, sign, fragment = url.partition("#")
    if sign and not where.lower().partition("?")[0].endswith(".zoo"):  # there it names a bundle
        raise UsageError(
            f"`#{fragment}` at the end of `{redact_url(where)}` is no pin",
            hint="expected #sha256= and 64 hexadecimal digits",
        )
    return url


def _repository(url: str, settings: Settings) -> str | None:
    """Return the ``hf://`` source that a page of the Hub shows; None for another host's URL."""
    try:
        parts = urlsplit(url)
        public = parts.hostname in _HUB_HOSTS and parts.username is None
    except ValueError:  # `open_source` says what is wrong with it
        return None
    path = parts.path if public else _path_at_endpoint(parts, settings)
    if path is None:
        return None
    words = [word for word in path.split("/") if word]
    found = _source_of(words)
    if found is None and public:
        raise UsageError(
            f"`{redact_url(url)}` is no page of a model; "
            "expected `https://huggingface.co/owner/repo[/blob/revision/file]`",
            hint="zoo pull hf://owner/repo",
        )
    if not public and (len(words) == 2 and words[1].lower().endswith(".onnx")):  # noqa: PLR2004
        return None  # a file in a folder of that server
    return found


def _path_at_endpoint(parts: SplitResult, settings: Settings) -> str | None:
    """Return the path below ``HF_ENDPOINT``; None for a URL that is not below it."""
    if settings.endpoint is None or parts.username is not None:
        return None
    hub = urlsplit(settings.endpoint)
    if (parts.scheme, parts.netloc) != (hub.scheme, hub.netloc.rpartition("@")[2]):
        return None
    base = hub.path.rstrip("/") + "/"
    return parts.path.removeprefix(base) if parts.path.startswith(base) else None


def _source_of(words: list[str]) -> str | None:
    if len(words) < 2 or words[0] in _NOT_MODELS:  # noqa: PLR2004
        return None
    repo, kind, rest = "/".join(words[:2]), "".join(words[2:3]), words[3:]
    if not _REPOSITORY.fullmatch(repo):
        return None
    if not kind:
        return f"hf://{repo}"
    if kind not in {*_WITH_FILE, "tree", "commit"} or not rest:
        return None
    size = 3 if rest[0] == "refs" and len(rest) > 2 else 1  # noqa: PLR2004  (refs/pr/1)
    revision, file = "%2F".join(rest[:size]), unquote("/".join(rest[size:]))
    if kind in _WITH_FILE and not file:
        return None
    at = "" if revision == _DEFAULT else f"@{revision}"
    return f"hf://{repo}{at}" + (f"/{file}" if file else "")
