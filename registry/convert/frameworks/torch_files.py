"""PyTorch's modules from files and factories: checkpoints, TorchScript, ExportedPrograms.

Source: PyTorch's documentation, "Serialization semantics".
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

from onnxzoo.registry.convert.detect.weight_files import is_safetensors
from onnxzoo.registry.convert.frameworks._loading import made_by
from onnxzoo.registry.convert.interface import Job
from onnxzoo.registry.core.errors import Refused, UsageError

# Under which training scripts, Lightning and timm keep the weights, the likeliest first.
_KEYS = (
    "state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params",
    "model_state", "state", "ema_state_dict", "state_dict_ema", "ema",
)  # fmt: skip
_SHOWN = 200  # characters of each way in which a state dict does not fit


class Loaded(NamedTuple):
    """A module or program, example inputs where it has some, and where in the file it was found."""

    model: Any
    given: Sequence[Any] | None = None
    found: tuple[str, ...] = ()


def load(job: Job) -> Loaded:
    """Return a module or program, and example inputs where it has some.

    Raises:
        UsageError: if what a factory makes is no module, or a file holds no state dict for it.
        Refused: if the state dict is of another module.
    """
    import torch

    if job.value is not None:
        return Loaded(job.value)
    if job.source is None:
        return Loaded(*_made(job))
    if job.format == "torchscript":
        return Loaded(torch.jit.load(str(job.source), map_location="cpu"))
    if job.format == "torch-pt2":
        program = torch.export.load(str(job.source))
        example = program.example_inputs
        return Loaded(program, example and example[0])
    return _checkpoint(job, job.source)


def _made(job: Job) -> tuple[Any, Sequence[Any] | None]:
    import torch

    made = made_by(job)
    model, given = made if isinstance(made, tuple) else (made, None)
    if not (isinstance(model, torch.nn.Module) or is_program(model)):
        found = type(model).__name__
        raise UsageError(f"`{job.factory}` makes a `{found}`; expected a torch.nn.Module")
    return model, given


def _checkpoint(job: Job, source: Path) -> Loaded:
    import torch

    if is_safetensors(source):
        from safetensors.torch import load_file

        found: Any = load_file(source)
    else:
        found = torch.load(source, map_location="cpu", weights_only=not job.trust)
    if job.factory is None:
        for where, module in _places(found):
            if isinstance(module, torch.nn.Module):
                return Loaded(module, found=_found_in(where))
        raise UsageError(
            f"`{source.name}` holds weights without a module",
            hint="say what makes the module: --factory module:function "
            '(in code: factory="module:function")',
        )
    module, given = _made(job)
    filled = _fill(module, found, f"`{source.name}`", f"`{job.factory}`")
    return Loaded(module, given, filled)


def _fill(module: Any, found: Any, source: str, factory: str) -> tuple[str, ...]:
    """Load the weights that a file holds into a module; return where they were found."""
    states = [(where, state) for where, state in _places(found) if _is_state(state)]
    if not states:
        raise UsageError(
            f"{source} holds a `{type(found).__name__}`; expected a state dict",
            hint="torch.save(module.state_dict(), FILE)",
        )
    wanted = set(module.state_dict())
    for where, state in states:
        prefix = _prefix(wanted, state)
        if prefix is not None:
            below = {key: value for key, value in state.items() if key.startswith(prefix)}
            _load(module, {k[len(prefix) :]: v for k, v in below.items()}, source, factory)
            return _found_in(where, prefix, len(state) - len(below))
    where, state = states[0]
    _load(module, state, f"{source}{f', `{where}`,' if where else ''}", factory)
    return _found_in(where)


def _places(found: Any) -> Iterator[tuple[str, Any]]:
    """Yield a file's content, then the content under the usual keys, with names."""
    yield "", found
    if isinstance(found, Mapping) and not _is_state(found):
        yield from ((key, found[key]) for key in _KEYS if key in found)


def _is_state(value: Any) -> bool:
    import torch

    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(key, str) for key in value)
        and any(isinstance(one, torch.Tensor) for one in value.values())
        and not any(isinstance(one, Mapping) for one in value.values())
    )


def _prefix(wanted: Set[str], state: Mapping[str, Any]) -> str | None:
    """Return the prefix below which a state dict has all that is wanted; None if there is none.

    ``module.`` is DataParallel's, ``_orig_mod.`` torch.compile's; Lightning prepends the name of
    an attribute.
    """
    if wanted <= state.keys():
        return ""
    first = min(wanted, key=len, default="")
    ends = sorted((key[: -len(first)] for key in state if key.endswith(f".{first}")), key=len)
    return next((one for one in ends if all(one + key in state for key in wanted)), None)


def _found_in(where: str, prefix: str = "", others: int = 0) -> tuple[str, ...]:
    said = [f"under `{where}`"] if where else []
    if prefix:
        said.append(f"with the prefix `{prefix}`, which was taken off")
    if others:
        said.append(f"beside {others} other tensors, which were left out")
    return (f"the weights were found {', '.join(said)}",) if said else ()


def _load(module: Any, state: Mapping[str, Any], source: str, factory: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        unlike = [line.strip(" .\t") for line in str(error).splitlines()[1:]]
        shown = "; ".join(line[:_SHOWN] + "…" * (len(line) > _SHOWN) for line in unlike[:3])
        raise Refused(
            f"{source} does not fit what {factory} makes: {shown or error}",
            hint="--factory names what makes the module that was trained, with the same sizes",
        ) from error


def is_program(model: Any) -> bool:
    """Tell whether it is an ExportedProgram."""
    return hasattr(model, "graph_signature")
