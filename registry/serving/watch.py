"""A handle on a model that follows its alias: moving the alias swaps the session between runs."""

from collections.abc import Mapping, Sequence
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Self

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Refused, ZooError
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.onnx_file.signature import differences

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from onnxzoo.registry.core.records import Variant

_EVERY = 0.25  # seconds between two looks; one costs some ten microseconds while nothing changed
_LONGEST = 10.0  # seconds between two tries after many that failed
_log = logger()


class Watched:
    """A session that follows a reference; see `onnxzoo.watch`.

    A run that has begun ends on the session on which it began; the next one takes the new session.
    Where the new version does not open, or has other inputs or outputs, the old one stays, `error`
    and the log say why, and other tries are made, ever less often. Make one in each process, after
    a fork.

    Attributes:
        session: the session of the moment.
        variant: what it was opened on.
        error: why the last swap failed; None after one that did not.
    """

    def __init__(self, ref: str, registry: Registry, *, device: str = "auto") -> None:
        self._ref = ref
        self._registry = registry
        self._device = device
        self.variant: Variant = registry.resolve(ref)
        self.session: InferenceSession = registry.load(self.variant.ref, device=device)
        self.error: ZooError | None = None
        self._closing = Event()
        self._thread = Thread(target=self._follow, name=f"onnxzoo watch {ref}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self, outputs: Sequence[str] | None, feeds: Mapping[str, Any], run_options: Any = None
    ) -> list[Any]:
        """Run the session of the moment, as `onnxruntime.InferenceSession.run` does."""
        results: list[Any] = self.session.run(outputs, feeds, run_options)
        return results

    def close(self) -> None:
        """Stop following; the session stays usable."""
        self._closing.set()
        self._thread.join()

    def _follow(self) -> None:
        stamp = None  # of this thread's own connection: the first look counts as a change
        pause = _EVERY
        while not self._closing.wait(pause):
            try:
                before, stamp = stamp, self._registry.stamp()
                if stamp is None or stamp != before or self.error is not None:
                    self._swap()
                pause = _EVERY
            except Exception as error:  # noqa: BLE001  (nobody else would follow the alias)
                self._tell(error)
                pause = min(2 * pause, _LONGEST)
        self._registry.close()

    def _tell(self, error: Exception) -> None:
        """Say in the log and in `error` why the session stays as it is."""
        said = error if isinstance(error, ZooError) else ZooError(_words(error))
        if str(said) != str(self.error):
            _log.warning("`%s` stays at `%s`: %s", self._ref, self.variant.ref, said)
        self.error = said

    def _swap(self) -> None:
        found = self._registry.resolve(self._ref)
        if found.digest != self.variant.digest:
            unlike = differences(self.variant.graph, found.graph)
            if unlike:
                raise Refused(
                    f"`{found.ref}` takes other calls: {'; '.join(unlike)}",
                    hint="move the alias back, or watch it anew for callers that expect this",
                )
            self.session = self._registry.load(found.ref, device=self._device)
        self.variant, self.error = found, None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def watch(ref: str, *, device: str = "auto", registry: Registry | None = None) -> Watched:
    """Return a handle with a session that follows an alias within a second, without failed calls.

    Args:
        ref: a held model, such as ``"resnet50@production"``; without an alias it follows the
            latest version.
        device: see `onnxzoo.load`.
        registry: where it is held; None for the one that the environment names.

    Raises:
        NotFound: if no such model is held.

    Example:
        ``with onnxzoo.watch("resnet50@production") as model: model.run(None, {"data": x})``
    """
    return Watched(ref, registry or Registry(), device=device)
