"""Many models in one process, inside a budget of bytes."""

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Self
from weakref import ref as weakref

from onnxzoo.registry.api import Registry
from onnxzoo.registry.errors import Busy, Refused

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class SessionPool:
    """Keeps sessions open until a budget is full; then the least recently used go.

    A session that somebody still holds is never taken away: it counts until it is let go. A pool
    may be shared between threads; each process needs its own.

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
        self._lock = Lock()

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
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            if found.bytes > self.max_bytes:
                raise Refused(
                    f"`{found.ref}` has {found.bytes} bytes; the pool's budget is {self.max_bytes}"
                )
            self._make_room(found.bytes, found.ref)
            session = self._registry.load(found.ref, device=self._device)
            self._kept[key] = session
            self._sizes[key] = found.bytes
            return session

    def close(self) -> None:
        """Let go of every session; those that somebody holds stay open until they are let go."""
        with self._lock:
            self._kept.clear()
            self._sizes.clear()

    def _make_room(self, wanted: int, ref: str) -> None:
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
