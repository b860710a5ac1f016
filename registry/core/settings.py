"""Read the environment, and only here: folders, network, limits."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from onnxzoo.registry.core.errors import StorageError, UsageError
from onnxzoo.registry.core.text import UNIT_STEP

CACHE_SIZE = 20_000_000_000  # bytes of prepared sessions; some hundred models
TIMEOUT = 30  # seconds
ATTEMPTS = 5
_BINARY = 1024
_UNITS = ("", "k", "m", "g", "t")
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}
# Variables that a child gets: of the system, of Python, of numeric libraries and frameworks; none
# under whose names people keep secrets.
_ALLOWED = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|TEMP|TMP|TZ|LANG|LANGUAGE|LC_\w+|TERM|CI|XDG_(CACHE|DATA)_HOME"
    r"|SYSTEMROOT|SYSTEMDRIVE|WINDIR|COMSPEC|PATHEXT|APPDATA|LOCALAPPDATA|USERPROFILE|PROGRAMDATA"
    r"|PROGRAMFILES\S*|NUMBER_OF_PROCESSORS|PROCESSOR_\w+|SOURCE_DATE_EPOCH|HF_(HOME|HUB_CACHE)"
    r"|PYTHON(PATH|HOME|WARNINGS|HASHSEED|UTF8|IOENCODING|UNBUFFERED|DONTWRITEBYTECODE)|VIRTUAL_ENV"
    r"|LD_(LIBRARY_PATH|PRELOAD)|DYLD_\w+|(OMP|MKL|KMP|OPENBLAS|NUMEXPR|TBB|OPENVINO|ORT)_\w+"
    r"|(CUDA|NVIDIA|HIP|ROCR|HSA|TF|XLA|JAX|KERAS|TORCH|PYTORCH|FLAGS|MXNET)_\w+"
    r"|ZOO_(HOME|CACHE_SIZE|FIRST_LOOK|MAX_MEMORY|MAX_SECONDS|ALLOW_DOMAINS|DEBUG)"
)
# What installs packages needs besides.
_NETWORK = re.compile(r"(PIP|UV)_\w+|\w+_PROXY|SSL_CERT_(FILE|DIR)|\w+_CA_BUNDLE|NETRC")
# Source: onnxruntime, docs/Privacy.md; the words that it takes for yes were tried on 1.32.
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
# Source: the documentation of huggingface_hub and transformers.
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the environment, read once.

    Attributes:
        home: the folder of the registry and the store.
        cache: the folder of what can be made again.
        database_url: an SQLAlchemy URL instead of ``home/registry.db``, or None.
        indexes: private indexes, searched before the shipped one: paths or https URLs.
        offline: never touch the network.
        endpoint: another Hugging Face Hub than the public one, or None.
        hub_cache: the folder in which huggingface_hub keeps what it fetched, or None.
        ci: a continuous-integration run, where a moving progress bar is noise.
        debug: show where in the code an unexpected error happened.
        cache_size: bytes of prepared sessions to keep at most; 0: prepare none.
        first_look: open what comes in in a child process first.
        max_memory: bytes that a model may take when it is first opened; None: by its size.
        max_seconds: seconds that this may take; None: by its size.
        allow_domains: whose ops models may hold, beyond those of ONNX and onnxruntime.
        allow_licenses: what may be pulled or imported, see `policy.permits`; empty: anything.
        timeout: seconds that a server may send nothing, or next to nothing.
        attempts: how often a server is asked that gives no whole answer.
        epoch: the time to write into documents instead of now, in seconds since 1970, or None.
        telemetry: onnxruntime may send telemetry, since the user set ``ORT_DISABLE_TELEMETRY=0``.
    """

    home: Path
    cache: Path
    database_url: str | None = None
    indexes: tuple[str, ...] = ()
    offline: bool = False
    endpoint: str | None = None
    hub_cache: Path | None = None
    ci: bool = False
    debug: bool = False
    cache_size: int = CACHE_SIZE
    first_look: bool = True
    max_memory: int | None = None
    max_seconds: int | None = None
    allow_domains: tuple[str, ...] = ()
    allow_licenses: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    attempts: int = ATTEMPTS
    epoch: int | None = None
    telemetry: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Read ``ZOO_HOME``, ``ZOO_DATABASE_URL``, ``ZOO_INDEX``, ``ZOO_OFFLINE`` and kin.

        Raises:
            UsageError: if a switch is neither true nor false, or a size is none.
            StorageError: if there is neither ``ZOO_HOME`` nor a home folder.
        """
        home, cache = _folders(env)
        size = _number(env, "ZOO_CACHE_SIZE")
        return cls(
            home=home,
            cache=cache,
            database_url=env.get("ZOO_DATABASE_URL") or None,
            indexes=_words(env, "ZOO_INDEX"),
            offline=_switch(env, "ZOO_OFFLINE") or _switch(env, "HF_HUB_OFFLINE"),
            endpoint=env.get("HF_ENDPOINT", "").rstrip("/") or None,
            hub_cache=_hub_cache(env),
            ci=env.get("CI", "").lower() not in _FALSE,
            debug=_switch(env, "ZOO_DEBUG"),
            cache_size=CACHE_SIZE if size is None else size,
            first_look=_switch(env, "ZOO_FIRST_LOOK", default=True),
            max_memory=_bound(env, "ZOO_MAX_MEMORY", 1 << 62),
            max_seconds=_count(env, "ZOO_MAX_SECONDS", 10**8, example="600"),
            allow_domains=_words(env, "ZOO_ALLOW_DOMAINS"),
            allow_licenses=_words(env, "ZOO_ALLOW_LICENSES"),
            timeout=_count(env, "ZOO_TIMEOUT", 10**6, example="60") or TIMEOUT,
            attempts=_count(env, "ZOO_ATTEMPTS", 100, example="5") or ATTEMPTS,
            epoch=_epoch(env),
            telemetry=(env.get(_NO_TELEMETRY) or "1").lower() not in _TRUE | {"y"},
        )

    def allowing(self, domains: Iterable[str]) -> "Settings":
        """Return the settings with more domains allowed."""
        return replace(self, allow_domains=(*self.allow_domains, *domains))

    @property
    def downloads(self) -> Path:
        """The folder of partial downloads."""
        return self.cache / "downloads"

    @property
    def sessions(self) -> Path:
        """The folder of prepared sessions."""
        return self.cache / "sessions"

    @property
    def environments(self) -> Path:
        """The folder of environments that frameworks have for themselves."""
        return self.cache / "environments"

    @property
    def copies(self) -> Path:
        """The folder of models with their test data, as `onnxzoo.hub` gives them."""
        return self.cache / "hub"

    @property
    def conversions(self) -> Path:
        """The folder of conversions that are under way."""
        return self.cache / "conversions"


def place(env: Mapping[str, str] = os.environ) -> tuple[str | None, str | None]:
    """Return the key of the registry in force: 4 µs, where all settings take 70."""
    return env.get("ZOO_HOME"), env.get("ZOO_DATABASE_URL")


def wants_debugging(env: Mapping[str, str] = os.environ) -> bool:
    """Tell whether ``ZOO_DEBUG`` is set, where the rest of the settings may not be readable."""
    return env.get("ZOO_DEBUG", "").strip().lower() in _TRUE


def child_environment(
    *, isolated: bool, offline: bool = True, env: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment of a child that runs others' code: an allow-list.

    Args:
        isolated: it has an environment of its own: nothing leads Python elsewhere.
        offline: it has no business with the network; else it installs packages.
        env: the parent's.
    """
    kept = {
        name: value
        for name, value in env.items()
        if (_ALLOWED.fullmatch(name.upper()) or (not offline and _NETWORK.fullmatch(name.upper())))
        and not (isolated and name in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"})
    }
    own = {"PYTHONNOUSERSITE": "1"} if isolated else {}
    return {_NO_TELEMETRY: "1"} | kept | (_OFFLINE if offline else {}) | own


def at(home: Path, settings: Settings) -> Settings:
    """Return the settings with everything below another home, as ``ZOO_HOME`` would put it."""
    home = home.expanduser().absolute()
    return replace(settings, home=home, cache=home / "cache", database_url=None)


def parse_size(text: str) -> int:
    """Return the bytes that a size stands for, in decimal units, or in binary ones (KiB, MiB).

    Raises:
        UsageError: if it is not a size.

    >>> parse_size("50MB"), parse_size("1.5g"), parse_size("12"), parse_size("2MiB")
    (50000000, 1500000000, 12, 2097152)
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?", text.strip().lower())
    if match is None or (match[3] and not match[2]):
        raise UsageError(f"`{text}` is not a size", hint="for example: 50MB, 2GB, 123456")
    power = _UNITS.index(match[2])
    return int(float(match[1]) * (_BINARY if match[3] else UNIT_STEP) ** power)


def _epoch(env: Mapping[str, str]) -> int | None:
    """Return ``SOURCE_DATE_EPOCH``, as reproducible-builds.org specifies it."""
    text = env.get("SOURCE_DATE_EPOCH", "").strip()
    if text and not re.fullmatch(r"[0-9]{1,11}", text):
        raise UsageError(
            f"`SOURCE_DATE_EPOCH={text}` is not a number of seconds", hint="unset SOURCE_DATE_EPOCH"
        )
    return int(text) if text else None


def _folders(env: Mapping[str, str]) -> tuple[Path, Path]:
    try:
        if env.get("ZOO_HOME"):
            home = Path(env["ZOO_HOME"]).expanduser().absolute()
            return home, home / "cache"
        import platformdirs  # costs 20 ms

        return platformdirs.user_data_path("onnxzoo"), platformdirs.user_cache_path("onnxzoo")
    except RuntimeError as error:  # as in a container that runs as a number without a name
        raise StorageError(
            "this user has no home folder, and `ZOO_HOME` names no other place for models",
            hint="export ZOO_HOME=/a/folder",
        ) from error


def _hub_cache(env: Mapping[str, str]) -> Path | None:
    """Return the folder of huggingface_hub's cache; None where there is no home for it.

    Source: huggingface_hub's documentation, "Environment variables".
    """
    if own := env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE"):
        text = own
    elif home := env.get("HF_HOME"):
        text = f"{home}/hub"
    else:
        text = f"{env.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface/hub"
    try:
        return Path(os.path.expandvars(text)).expanduser()
    except RuntimeError:
        return None


def _words(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())


def _switch(env: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    value = env.get(name, "").strip().lower()
    if not value:
        return default
    if value not in _TRUE | _FALSE:
        raise UsageError(f"`{name}={value}` is neither true nor false", hint=f"export {name}=1")
    return value in _TRUE


def _number(env: Mapping[str, str], name: str) -> int | None:
    try:
        return parse_size(env[name]) if env.get(name) else None
    except UsageError as error:
        raise UsageError(f"`{name}={env[name]}` is no size", hint=error.hint) from error


def _count(env: Mapping[str, str], name: str, most: int, *, example: str) -> int | None:
    """Return a whole number above 0, of seconds or tries."""
    text = env.get(name, "").strip()
    if not text:
        return None
    if not (re.fullmatch("[0-9]{1,18}", text) and 0 < int(text) <= most):
        raise UsageError(
            f"`{name}={text}` is not a whole number from 1 to {most}",
            hint=f"for example: export {name}={example}",
        )
    return int(text)


def _bound(env: Mapping[str, str], name: str, most: int) -> int | None:
    """Return a size above 0 that an operating system takes."""
    found = _number(env, name)
    if found is not None and not 0 < found <= most:
        raise UsageError(
            f"`{name}={env[name]}` is no limit; expected 1 to {most}", hint=f"unset {name}"
        )
    return found
