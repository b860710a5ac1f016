"""Find the converters, choose the one for a source, and check its dependencies."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from onnxzoo.registry.convert.detect.formats import FORMATS, Format, recognise
from onnxzoo.registry.convert.detect.pickles import may_be_pickle
from onnxzoo.registry.convert.interface import Converter
from onnxzoo.registry.core.errors import InvalidModel, NotFound, Refused, UsageError
from onnxzoo.registry.core.logs import logger

_log = logger()
GROUP = "onnxzoo.converters"
_OURS = (
    "catboost", "coreml", "jax", "keras", "lightgbm", "mxnet", "paddle", "sklearn", "tensorflow",
    "torch", "transformers", "xgboost",
)  # fmt: skip
_PICKLED = {"catboost", "lightgbm", "sklearn", "xgboost"}  # whose models are pickled by joblib too
_TAKEN = {"weights", "pickle", "unknown"}  # of no converter, unless the user names one
_MODULES = "onnxzoo.registry.convert.frameworks"


def converters() -> Mapping[str, Converter]:
    """Return all converters by name: other packages', then ours."""
    return _others() | {name: import_module(f"{_MODULES}.{name}").CONVERTER for name in _OURS}


def converter(name: str) -> Converter:
    """Return the converter that ``--from`` names.

    Raises:
        UsageError: if there is none of that name.
    """
    if name in _OURS:
        found: Converter = import_module(f"{_MODULES}.{name}").CONVERTER
        return found
    every = converters()
    if name not in every:
        raise UsageError(
            f"no converter is called `{name}`; there are {', '.join(sorted(every))}",
            hint="zoo doctor says which of them are ready",
        )
    return every[name]


def converter_of(path: Path, asked: str | None = None) -> tuple[Converter, Format]:
    """Return the converter for a file or folder, and the detected format.

    Args:
        path: nothing of it is loaded.
        asked: the converter to take, whatever the content says.

    Raises:
        NotFound: if nothing is there.
        InvalidModel: if it is of no format that is known.
        UsageError: if the converter that was asked for does not read it.
        Refused: if it is of one from which nothing converts.
    """
    for one in _others().values():
        if asked in {None, one.name} and _recognises(one, path):
            return one, Format(one.name, f"a model of {one.name}", one.name, one.runs_code)
    try:
        form = recognise(path)
    except InvalidModel:
        if asked is None:
            raise
        if asked in _PICKLED and not (path.is_file() and may_be_pickle(path)):
            raise InvalidModel(
                f"`{path.name}` is neither a pickle nor of another format that `{asked}` reads"
            ) from None
        form = FORMATS["pickle"]._replace(name="unknown", words="of no format that is known")
    name = asked or form.converter
    dead = form.converter is None and form.name not in _TAKEN
    if name is None or (asked and dead):
        raise Refused(f"`{path.name}` is {form.words}", hint=form.way_out)
    _check_reads(name, form, path)
    return converter(name), form


def _check_reads(name: str, form: Format, path: Path) -> None:
    """Refuse an explicitly chosen converter that cannot read the detected format.

    Pickles are anyone's: what they hold is known once they are loaded. PyTorch has its own kind.
    """
    readers = {form.converter, "tensorflow" if form.converter == "keras" else None}
    anyones = form.runs_code and name != "torch"
    if form.converter is None or anyones or name in readers or name not in _OURS:
        return
    raise UsageError(
        f"`{path.name}` is {form.words}, which the converter `{name}` does not read",
        hint="leave --from and --factory (in code: from_ and factory) out",
    )


def missing(one: Converter) -> list[str]:
    """Return the packages that a converter needs and that are not installed beside us."""
    return [name for name in one.needs if find_spec(name) is None]


def require(one: Converter, source: str) -> None:
    """Raise NotFound, with the ways to have it, if a converter's framework is not installed."""
    absent = missing(one)
    if not absent:
        return
    ways = [f"pip install 'onnxzoo[{one.extra}]'"] if one.extra else []
    if one.requirements:
        ways.append("in an environment of its own: add --isolated (in code: isolated=True)")
    raise NotFound(
        f"converting `{source}` needs {', '.join(f'`{name}`' for name in absent)}, not here",
        hint="; or ".join(ways) or f"pip install {' '.join(absent)}",
    )


def _recognises(one: Converter, path: Path) -> bool:
    try:
        return one.recognises is not None and one.recognises(path)
    except Exception as error:  # noqa: BLE001  (another package's code; ours has to go on)
        _log.warning("the converter `%s` cannot look at `%s`: %s", one.name, path.name, error)
        return False


def _others() -> dict[str, Converter]:
    """Return the converters of other packages; a broken one is told and left out."""
    found = {}
    for point in entry_points(group=GROUP):
        try:
            found[point.name] = point.load()
        except Exception as error:  # noqa: BLE001  (another package's code; ours has to go on)
            package = point.dist.name if point.dist else "a package"
            _log.warning("the converter `%s` of `%s` is broken: %s", point.name, package, error)
    return found
