"""Many models in one process, inside a budget of bytes."""

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Self
from weakref import ref as weakref

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Busy, Refused
from onnxzoo.registry.core.forks import at_fork

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from onnxzoo.registry.core.records import Variant

_inherited: "list[InferenceSession]" = []  # of a parent: to close one would wait for its threads


class SessionPool:
    """Keeps sessions open until a budget is full; then the least recently used go.

    A session that somebody still holds is never taken away: it counts until it is let go. A pool
    may be shared between threads, and one thread does not wait for a model that another opens. A
    forked child begins with an empty one.

    Args:
        max_bytes: the budget, counted in the bytes of the models' files, which is what their
            weights take in memory.
        registry: where models are held; None for the one that the environment names.
        device: see `onnxzoo.load`.
    """

    def __init__(
        self, max_bytes: int, *, registry: Registry | None = None, device: str = "auto"
    ) -> None:
        self.max_bytes = max_bytes
        self._registry = registry or Registry()
        self._device = device
        self._kept: OrderedDict[str, InferenceSession] = OrderedDict()  # by model, oldest first
        self._sizes: dict[str, int] = {}
        self.after_fork()
        at_fork(self)

    def before_fork(self) -> None:
        """Do nothing: a model may take minutes to open."""

    def after_fork(self) -> None:
        """Begin anew: a session's threads are not in the child, nor is who holds a lock."""
        _inherited.extend(self._kept.values())
        self._kept.clear()
        self._sizes.clear()
        self._lock = Lock()
        self._opening: dict[str, Lock] = {}  # each model is opened once, apart from the others

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def bytes(self) -> int:
        """The bytes of all models that are open in this pool."""
        with self._lock:
            return sum(self._sizes.values())

    def load(self, ref: str) -> "InferenceSession":
        """Return a session on a held model; opened if it is not open.

        Raises:
            NotFound: if no such model is held.
            Refused: if the model alone is larger than the budget.
            Busy: if there is no room, and everything that is open is in use.
        """
        found = self._registry.resolve(ref)
        key = f"{found.digest}/{found.entry}"
        with self._lock:
            opening = self._opening.setdefault(key, Lock())
            if (session := self._used(key)) is not None:
                return session
        with opening:
            with self._lock:
                if (session := self._used(key)) is not None:
                    return session
                self._make_room(found.bytes, found.ref)
                self._sizes[key] = found.bytes
            return self._opened(key, found)

    def close(self) -> None:
        """Release every session; sessions in use stay open until they are returned."""
        with self._lock:
            self._kept.clear()
            self._sizes.clear()

    def _used(self, key: str) -> "InferenceSession | None":
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def _opened(self, key: str, found: "Variant") -> "InferenceSession":
        """Open a model with its bytes already counted, and keep it."""
        try:
            session = self._registry.load(found.ref, device=self._device)
        except BaseException:
            with self._lock:
                self._sizes.pop(key, None)
            raise
        with self._lock:
            self._kept[key], self._sizes[key] = session, found.bytes
        return session

    def _make_room(self, wanted: int, ref: str) -> None:
        if wanted > self.max_bytes:
            raise Refused(f"`{ref}` has {wanted} bytes; the pool's budget is {self.max_bytes}")
        for key in list(self._kept):
            if sum(self._sizes.values()) + wanted <= self.max_bytes:
                return
            self._try_to_close(key)
        if sum(self._sizes.values()) + wanted > self.max_bytes:
            raise Busy(
                f"no room for the {wanted} bytes of `{ref}`: all {len(self._kept)} open models "
                f"are in use, of {self.max_bytes} bytes in all",
                hint="let go of sessions that are no longer needed, or give the pool more bytes",
            )

    def _try_to_close(self, key: str) -> None:
        """Let a session go, and take it back if somebody else holds it still."""
        held = weakref(self._kept.pop(key))
        session = held()
        if session is None:
            del self._sizes[key]
        else:
            self._kept[key] = session
            self._kept.move_to_end(key, last=False)
