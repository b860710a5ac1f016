"""Open sessions on held variants: prepared ones, else the plain file; each once."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from onnxzoo.registry.core.errors import NotFound, UsageError, ZooError
from onnxzoo.registry.core.forks import at_fork
from onnxzoo.registry.core.records import Progress, Variant
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.core.staging import alone
from onnxzoo.registry.runtime.providers import Provider, wanted_providers
from onnxzoo.registry.runtime.session import (
    open_prepared,
    open_session,
    runtime_build,
    suits_prepared,
)
from onnxzoo.registry.sessions.session_cache import Prepared, PreparedSessions, key_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

    from onnxzoo.registry.runtime.compatibility import Runtime, Verdict
    from onnxzoo.registry.sample_inputs.sizes import Sizes

EXACT, FASTEST = "exact", "fastest"


class Loader:
    """Opens held variants; one that is open already, with the same options, is handed out again.

    Sessions are safe to share between threads. They are held weakly: one that nobody uses closes.

    Args:
        settings: limits, and where prepared sessions lie.
        held: returns the folder of a variant's reference data, None without any.
    """

    def __init__(
        self, settings: Settings, held: Callable[[Variant], Path | None] = lambda _: None
    ) -> None:
        self.prepared = PreparedSessions(settings.sessions, settings.cache_size)
        self._settings, self._held = settings, held
        self._open: WeakValueDictionary[object, InferenceSession] = WeakValueDictionary()
        self._tried: set[str] = set()  # keys that this process has begun to prepare
        self.after_fork()
        at_fork(self)

    def before_fork(self) -> None:
        """Do nothing: a model may take minutes to open."""

    def after_fork(self) -> None:
        """Make the locks anew: a thread that is not in the child may hold one."""
        self._guard, self._with_options = Lock(), Lock()
        self._opening: dict[object, Lock] = {}  # by the same keys: each is opened once

    def session(
        self,
        variant: Variant,
        *,
        device: str = "auto",
        providers: Sequence[Provider] | None = None,
        session_options: "SessionOptions | None" = None,
        open: str = EXACT,  # noqa: A002  (what is asked: how to open)
    ) -> "InferenceSession":
        """Return a session on a variant; see `onnxzoo.load` for the arguments."""
        if open not in {EXACT, FASTEST}:
            raise UsageError(f"`{open}` is no way to open; expected `{EXACT}` or `{FASTEST}`")
        wanted = wanted_providers(device, providers)
        strict = providers is not None or device != "auto"
        if session_options is not None:  # two objects may differ in ways that nobody can read
            with self._with_options:  # one object is changed, and comes back as it was
                return self._opened(variant, wanted, session_options, how=open, strict=strict)
        # A forked child must not use its parent's sessions: their threads are not there.
        key = os.getpid(), variant.digest, variant.entry, repr(wanted), strict, open
        with self._guard:
            opening = self._opening.setdefault(key, Lock())
        with opening:
            session = self._open.get(key)
            if session is None:
                session = self._opened(variant, wanted, how=open, strict=strict)
                self._open[key] = session
        return session

    def look(self, variant: Variant, *, device: str = "auto") -> Prepared | None:
        """Prepare a variant now, or return its entry.

        Raises:
            InvalidModel, Refused, StorageError: see `prepare.look`.
        """
        folder = variant.path.parents[variant.entry.count("/")]
        return self.look_at(
            folder,
            variant.entry,
            variant.digest,
            device=device,
            held=self._held(variant),
            ops=sum(variant.graph.ops.values()),
        )

    def look_at(
        self,
        folder: Path,
        entry: str,
        digest: str,
        progress: Progress | None = None,
        *,
        device: str = "auto",
        held: Path | None = None,
        ops: int = 0,
    ) -> Prepared | None:
        """Look at a model that is not held yet, with its reference data; see `look`."""
        from onnxzoo.registry.sessions.prepare import look

        if not self._settings.first_look:
            return None
        providers = wanted_providers(device)
        key = key_of(digest, entry, runtime_build(providers), providers)
        found = self.prepared.find(key)
        if found is not None and found.look.opens:
            return found
        return look(
            folder / entry,
            digest,
            key,
            self.prepared,
            providers=providers,
            settings=self._settings,
            progress=progress,
            held=held,
            ops=ops,
        )

    def look_again(self, variant: Variant) -> None:
        """Prepare a variant again, now that it has reference data."""
        found = self.found(variant)
        if found is not None and found.graph is None:
            self.prepared.discard(_key(variant, wanted_providers("auto", None)))
            self.look(variant)

    def found(self, variant: Variant) -> Prepared | None:
        """Return a variant's prepared entry for this machine's default device."""
        try:
            providers = wanted_providers("auto", None)
        except NotFound:  # no onnxruntime is installed, for which something could be prepared
            return None
        return self.prepared.find(_key(variant, providers))

    def recorded_sizes(self, variant: Variant) -> "Sizes | None":
        """Return sizes of the open axes at which the first look ran a variant, by `sizes.key`.

        None where there was no first look, or no sample inputs on which it ran.
        """
        found = self.found(variant)
        return found.look.sizes if found else None

    def judge(self, variant: Variant, runtime: "Runtime") -> "Verdict":
        """Return whether a variant runs: `compatibility.judge`, and the trial open's result."""
        from onnxzoo.registry.runtime.compatibility import Verdict, judge

        verdict = judge(variant.graph, runtime)
        if verdict.runs is False or runtime.operators is None:  # another release than the installed
            return verdict
        found = self.found(variant)
        if found is None or found.look.opens:
            return verdict
        return Verdict(runs=False, misfits=(found.look.why_not or "it does not open",))

    def _opened(
        self,
        variant: Variant,
        wanted: list[Provider],
        options: "SessionOptions | None" = None,
        *,
        how: str,
        strict: bool,
    ) -> "InferenceSession":
        prepared = self._entry(variant, wanted) if suits_prepared(options) else None
        if prepared is not None and prepared.graph is not None:
            try:
                return open_prepared(
                    prepared.graph, wanted, options, prepack=how == EXACT, strict=strict
                )
            except ZooError:  # the plain file serves, and says what is wrong if it is the model
                self.prepared.discard(prepared.graph.parent.name)
        return open_session(variant.path, wanted, options, strict=strict)

    def _entry(self, variant: Variant, wanted: list[Provider]) -> Prepared | None:
        """Return the prepared entry; without one, have it made for the next time."""
        if not self.prepared.limit:
            return None
        key = _key(variant, wanted)
        found = self.prepared.find(key)
        if found is None and key not in self._tried and not self.prepared.is_being_made(key):
            self._tried.add(key)
            Thread(
                target=self._prepare,
                args=(variant, wanted, key),
                name=f"onnxzoo prepares {variant.ref}",
                daemon=True,
            ).start()
        return found

    def _prepare(self, variant: Variant, wanted: list[Provider], key: str) -> None:
        """Prepare in the background; a failure costs speed only."""
        from onnxzoo.registry.sessions.prepare import look

        lock = self.prepared.root / ".locks" / key
        try:
            with alone(lock) as mine:  # of processes that start together, one prepares
                if not mine or self.prepared.find(key) is not None:
                    return
                look(
                    variant.path,
                    variant.digest,
                    key,
                    self.prepared,
                    providers=wanted,
                    settings=self._settings,
                    outlives=True,
                    held=self._held(variant),
                )
        except ZooError as error:
            warn(f"`{variant.ref}` opens from its plain file: {error.message}")


def _key(variant: Variant, providers: Sequence[Provider]) -> str:
    return key_of(variant.digest, variant.entry, runtime_build(providers), providers)


def warn(text: str) -> None:
    """Log a non-fatal problem as a warning."""
    from onnxzoo.registry.core.logs import logger  # costs 5 ms, which opening a session has not got

    logger().warning("%s", text)
