"""Judge a recipe's result: fit or not, better or worse, and the next recipe to try."""

from dataclasses import dataclass

from onnxzoo.registry.derive.derive import Proof
from onnxzoo.registry.derive.quantization import Options
from onnxzoo.registry.measure import input_files
from onnxzoo.registry.measure.drift import Drift

# Below this cosine of all outputs a model fell apart: sentence embeddings by recipes that kept
# what they are for were at .94 and above, by those that did not between .38 and .44.
MIN_COSINE = 0.9
# Of classifiers, below this share of equal labels: a direction classifier in qdq kept 91.7 %.
MIN_LABELS = 0.5
# Below this correlation the outputs follow something else than the inputs.
MIN_CORRELATION = 0.5
_SAME_SIZE = 0.05  # of the smaller one: of two so near in size, time decides
_SAME_TIME = 0.1  # of the shorter one: ratios of one recipe repeat within about that


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds that a variant has to keep.

    Attributes:
        min_cosine: of its outputs with its parent's.
        max_drift: the largest absolute difference of an output.
        min_labels: the share of equal labels, see `Drift`; 0 for none. None for `MIN_LABELS` of
            classifiers: the greatest of a curve's or map's values moves by itself.
        min_correlation: how well its outputs follow the parent's, see `Drift`; where that could
            not be told it bounds nothing.
    """

    min_cosine: float = MIN_COSINE
    max_drift: float | None = None
    min_labels: float | None = None
    min_correlation: float = MIN_CORRELATION


USUAL = Bounds()


@dataclass(frozen=True, slots=True)
class Trial:
    """A tried recipe: its result, or the reason of its failure."""

    options: Options
    proof: Proof | None
    why: str | None


def unfit(proof: Proof, bounds: Bounds) -> str | None:
    """Return why a variant is not fit to be kept, None if it is."""
    drift = proof.drift
    if drift.cosine is None or drift.max is None:
        return f"its outputs cannot be compared with its parent's: {drift.why}"
    if drift.unproven:
        return f"whether it is fit cannot be told: {drift.unproven} ({drift.shapes})"
    if apart := _apart(drift, bounds):
        return apart
    if bounds.max_drift is not None and drift.max > bounds.max_drift:
        return (
            f"its outputs lie up to `{_beside(drift.max, bounds.max_drift)}` from its parent's; "
            f"expected at most `{bounds.max_drift}`"
        )
    if bounds.min_labels:
        return _unlike(drift, bounds.min_labels)
    return None


def _apart(drift: Drift, bounds: Bounds) -> str | None:
    """Return why outputs are too unlike the parent's as vectors, None if they are near enough."""
    if drift.cosine is not None and drift.cosine < bounds.min_cosine:
        apart = "it fell apart: " if drift.cosine < MIN_COSINE else ""
        return (
            f"{apart}the cosine of its outputs with its parent's is "
            f"`{_beside(drift.cosine, bounds.min_cosine)}`; expected at least `{bounds.min_cosine}`"
        )
    if drift.correlation is not None and drift.correlation < bounds.min_correlation:
        return (
            "its outputs do not follow its parent's as the inputs change: their correlation is "
            f"`{_beside(drift.correlation, bounds.min_correlation)}`; expected at least "
            f"`{bounds.min_correlation}`"
        )
    return None


def _unlike(drift: Drift, least: float) -> str | None:
    """Return why too few labels agree, None if enough do."""
    if drift.labels is None:
        return f"its outputs have no labels, of which at least `{least}` are to agree"
    if drift.labels < least:
        where = drift.shapes or "inputs of unknown sizes"
        return (
            f"only `{_beside(drift.labels, least)}` of its labels are its parent's "
            f"({where}); expected at least `{least}` (--min-labels)"
        )
    return None


def _beside(value: float, bound: float) -> str:
    """Return a figure in as many digits as it takes to see on which side of a bound it lies.

    >>> _beside(0.912345, 0.95), _beside(0.9999812, 0.99999), _beside(0.20004, 0.2)
    ('0.912', '0.99998', '0.20004')
    """
    texts = (f"{value:.{digits}g}" for digits in range(3, 18))
    return next((text for text in texts if (float(text) - bound) * (value - bound) > 0), str(value))


def better(one: Proof, two: Proof) -> bool:
    """Tell whether one variant is to be kept rather than another; both are fit."""
    times = one.latency or 0, two.latency or 0
    if abs(one.size - two.size) > _SAME_SIZE * min(one.size, two.size):
        return one.size < two.size
    if abs(times[0] - times[1]) > _SAME_TIME * min(times):
        return times[0] < times[1]
    return (one.drift.cosine or 0) > (two.drift.cosine or 0)


def advice(options: Options) -> str:
    """Return the next recipe to try after one that failed."""
    match options.method:
        case "dynamic":
            first = "--method static --calibrate DATA, or --method weight-only"
        case "static" if options.calibrate == input_files.RANDOM:
            first = "inputs as the model will see them: --calibrate DATA"
        case "static":
            first = "--exclude OP|NODE for what is sensitive, more calibration data, --to uint8"
        case "weight-only":
            first = "--to int8" if options.to == "int4" else "--exclude NODE"
        case _:
            first = "--exclude OP|NODE for what overflows"
            first += ", or --to bf16" if options.to == "fp16" else ""
    return f"{first}; real inputs to compare on: --inputs DATA; or --search"
