"""Run reference inputs on a variant, and compare its outputs with the reference ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import NotFound, UsageError
from onnxzoo.registry.core.records import Context, Measurement, Variant
from onnxzoo.registry.onnx_file.dtypes import WIDTHS
from onnxzoo.registry.runtime.machine import here
from onnxzoo.registry.runtime.session import infer
from onnxzoo.registry.testdata.held_inputs import fitted
from onnxzoo.registry.testdata.sets import Case, gather, read, sets

# What onnx's own backend tests allow where a model states nothing else.
# Source: onnx 1.23, onnx/backend/test/loader/__init__.py, "load_model_tests".
RTOL, ATOL = 1e-3, 1e-7
# Source: onnx 1.23, onnx/backend/test/runner/__init__.py, "assert_similar_outputs": two units in
# the last place of bfloat16.
_RTOL_BF16 = 2**-6
_FLOATS = {"bfloat16", *WIDTHS}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one set.

    Attributes:
        max_difference: the largest absolute difference of an output's element; None where outputs
            could not be compared, or hold no numbers.
        outside: the share of elements that lie outside of the tolerance.
        why: one line on the first thing that is wrong; None if it passed.
    """

    name: str
    max_difference: float | None
    outside: float
    why: str | None

    @property
    def passed(self) -> bool:
        """True if everything lies within the tolerance."""
        return self.why is None


@dataclass(frozen=True, slots=True)
class Replay:
    """The results of all sets on one variant.

    Attributes:
        data: the digest of the sets.
        label: the variant that brought them.
        context: what the figures hold under.
    """

    variant: Variant
    data: str
    label: str
    rtol: float
    atol: float
    context: Context
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        """True if every set passed."""
        return all(outcome.passed for outcome in self.outcomes)

    @property
    def max_difference(self) -> float | None:
        """The largest difference of all sets; None if one could not be compared."""
        found = [outcome.max_difference for outcome in self.outcomes]
        known = [value for value in found if value is not None]
        return max(known) if len(known) == len(found) else None


def replay(
    registry: Registry,
    variant: Variant,
    *,
    rtol: float = RTOL,
    atol: float = ATOL,
    device: str = "auto",
    data: Path | None = None,
) -> Replay:
    """Run a variant on its version's reference inputs, hold its outputs against the reference ones.

    An element passes if ``|found - expected| <= atol + rtol * |expected|``. A float of another
    width than the reference's is compared as a number; everything else must have the same dtype.
    The figures are kept as measurements, ``test_max_difference`` and ``test_failed``.

    Args:
        registry: where it is held.
        variant: what is tested.
        rtol: relative tolerance.
        atol: absolute tolerance.
        device: see `onnxzoo.load`.
        data: sets to test with instead of those that are held, which stay; see
            `Registry.add_test_data`.

    Raises:
        NotFound: if the version has no reference data.
        Refused: if the data cannot be read, or the model does not run on them.
    """
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not 0 <= value < float("inf"):
            raise UsageError(f"the tolerance {name} is `{value}`; expected a number from 0 on")
    if data is not None:
        with registry.store.stage() as stage:
            gather(data.expanduser(), stage, variant.graph)
            ground = _Ground(stage.folder, stage.manifest.digest, variant.variant)
            return _replayed(registry, variant, ground, (rtol, atol), device)
    held = registry.test_data(variant.ref)
    if held is None:
        raise NotFound(
            f"no test data of `{variant.name}@{variant.version}` are held",
            hint=f"zoo test {variant.ref} --data FOLDER",
        )
    label = held.label_for(variant, registry.list(name=variant.name))
    ground = _Ground(held.folder / label, held.digest_of(label), label)
    return _replayed(registry, variant, ground, (rtol, atol), device)


class _Ground(NamedTuple):
    """Sets to test with: their folder, their digest, and the variant that brought them."""

    folder: Path
    digest: str
    label: str


def _replayed(
    registry: Registry,
    variant: Variant,
    ground: _Ground,
    tolerance: tuple[float, float],
    device: str,
) -> Replay:
    (rtol, atol), data, label = tolerance, ground.digest, ground.label
    session = registry.load(variant.ref, device=device)
    provider = session.get_providers()[0]
    outcomes = []
    for folder in sets(ground.folder):
        case = read(folder, variant.graph)
        try:
            got = infer(session, fitted(case.inputs, variant.graph.inputs))
        except UsageError as error:  # the set is at fault, or the variant: either fails the test
            outcomes.append(Outcome(case.name, None, 1.0, error.message))
            continue
        outcomes.append(_outcome(case, got, rtol, atol))
    context = {**here(provider), "data": data, "rtol": rtol, "atol": atol}
    found = Replay(variant, data, label, rtol, atol, context, tuple(outcomes))
    registry.keep_figures([(variant.digest, _measurements(found))])
    return found


class _Held(NamedTuple):
    """One output compared with the expected one."""

    difference: float | None = None
    outside: int = 0
    size: int = 0
    why: str | None = None


def _outcome(case: Case, got: dict[str, Any], rtol: float, atol: float) -> Outcome:
    held = [
        found
        for name, expected in case.outputs.items()
        for found in _against(f"`{name}`", expected, got[name], rtol, atol)
    ]
    known = [one.difference for one in held if one.difference is not None]
    unlike = any(one.why and one.difference is None for one in held)
    size = sum(one.size for one in held)
    return Outcome(
        case.name,
        None if unlike or not known else max(known),
        sum(one.outside for one in held) / size if size else float(unlike),
        next((one.why for one in held if one.why), None),
    )


def _against(name: str, expected: Any, got: Any, rtol: float, atol: float) -> list[_Held]:
    """Hold one output against the reference, a list item by item."""
    import numpy as np

    if isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple) or len(got) != len(expected):
            return [_Held(why=f"{name} is not a list of {len(expected)}")]
        return [
            found
            for number, (one, other) in enumerate(zip(expected, got, strict=True))
            for found in _against(f"{name}[{number}]", one, other, rtol, atol)
        ]
    if expected is None or got is None:
        same = expected is None and got is None
        return [_Held(why=None if same else f"{name} is there in one of them only")]
    if not isinstance(got, np.ndarray):
        return [_Held(why=f"{name} is no tensor")]
    return [_tensors(name, expected, got, rtol, atol)]


def _tensors(name: str, expected: Any, got: Any, rtol: float, atol: float) -> _Held:
    import numpy as np

    if got.shape != expected.shape:
        return _Held(why=f"{name} is {list(got.shape)}; expected {list(expected.shape)}")
    dtypes = {str(got.dtype), str(expected.dtype)}
    if len(dtypes) > 1 and not dtypes <= _FLOATS:
        return _Held(why=f"{name} is {got.dtype}; expected {expected.dtype}")
    if got.dtype == object:
        outside = int((got != expected).sum())
        why = f"{name} has {outside} other texts" if outside else None
        return _Held(None if outside else 0.0, outside, got.size, why)
    a, b = got.astype(np.float64), expected.astype(np.float64)
    rtol = max(rtol, _RTOL_BF16) if "bfloat16" in dtypes else rtol
    bad = ~np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
    finite = np.isfinite(a) & np.isfinite(b)
    difference = float(np.max(np.abs(a[finite] - b[finite]), initial=0.0))
    outside = int(bad.sum())
    if not outside:
        return _Held(difference, 0, got.size)
    if (bad & ~finite).any():
        return _Held(None, outside, got.size, f"{name} is not finite in one of them")
    why = f"{name} differs by up to {difference:.3g} in {outside} of {got.size} elements"
    return _Held(difference, outside, got.size, why)


def _measurements(found: Replay) -> list[Measurement]:
    failed = sum(not outcome.passed for outcome in found.outcomes)
    measured = [Measurement("test_failed", failed, "", found.context)]
    if found.max_difference is not None:
        measured.append(Measurement("test_max_difference", found.max_difference, "", found.context))
    return measured
