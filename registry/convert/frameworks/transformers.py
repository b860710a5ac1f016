"""Hugging Face transformers -> ONNX by Optimum's exporter: folders, and models in code.

Source: Optimum's documentation, "Export a model to ONNX"; transformers', "Custom models".
"""

from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from onnxzoo.registry.convert.detect.transformers_folder import pickled, safe
from onnxzoo.registry.convert.frameworks._loading import made_by, names_no_outputs
from onnxzoo.registry.convert.frameworks.transformers_calls import calls_of, depends, samples_of
from onnxzoo.registry.convert.interface import Converter, Job, Made, pinned
from onnxzoo.registry.core.errors import NotFound, Refused, UsageError

# No extra: Optimum's transformers needs huggingface-hub below 1.0, and onnxzoo one above.
CONVERTER = Converter(
    name="transformers",
    module=__name__,
    options=("part", "task"),
    needs=("transformers", "optimum", "torch", "onnx"),
    requirements=pinned("transformers"),
)
_PAST = "-with-past"
_SHOWN = 3  # names of weights that are missing
# Source: the file names of tokenizers, image processors and sentence-transformers on the Hub.
_BESIDE = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "preprocessor_config.json")


class Loaded(NamedTuple):
    """A model, the task that it is exported for, and the weights that it was made without."""

    model: Any
    task: str
    missing: tuple[str, ...] = ()


def convert(job: Job) -> Made:
    """Convert a model for a task; compute its own outputs first."""
    from optimum.exporters.onnx import export

    _check(job)
    loaded = _loaded(job)
    part, config = _part(loaded, job)
    calls = calls_of(part, config, job)
    if depends(part, config, calls[0], loaded.missing):
        raise _untrained(loaded, job)
    opset = job.opset or config.DEFAULT_ONNX_OPSET
    export(part, config, job.model, opset, disable_dynamic_axes_fix=True)
    return Made(samples_of(calls, config, job.model), _notes(job))


def _check(job: Job) -> None:
    names_no_outputs(job)
    if job.inputs or job.dynamic or job.axes:
        raise UsageError("Optimum names the inputs of a transformers model, and opens their axes")


def _loaded(job: Job) -> Loaded:
    if job.source is None:
        made = made_by(job) if job.value is None else job.value
        model = deepcopy(made).eval()  # the exporter changes what it exports
        return Loaded(model, _task(model.config, type(model).__name__, job))
    return _from_folder(job, job.source)


def _from_folder(job: Job, folder: Path) -> Loaded:
    """Load a folder's model: its safetensors, or the pickled weights of one that is trusted."""
    import torch
    from optimum.exporters.tasks import TasksManager
    from transformers import AutoConfig

    how = {"trust_remote_code": job.trust, "local_files_only": True}
    config = AutoConfig.from_pretrained(folder, **how)
    task = _task(config, next(iter(config.architectures or ()), None), job)
    kind = TasksManager.get_model_class_for_task(
        task.removesuffix(_PAST), "pt", model_type=config.model_type
    )
    model, info = kind.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        use_safetensors=_are_safe(folder),
        output_loading_info=True,
        **how,
    )
    return Loaded(model.eval(), task, tuple(info["missing_keys"]))


def _are_safe(folder: Path) -> bool:
    """Tell whether a folder's weights are safetensors; pickles are still loaded by safe names."""
    if not (safe(folder) or pickled(folder)):
        raise NotFound(
            f"`{folder.name}` holds no weights; expected `model.safetensors` or `pytorch_model.bin`"
        )
    return bool(safe(folder))


def _task(config: Any, architecture: str | None, job: Job) -> str:
    """Return the task that was asked for, or that the architecture is for; with a cache if it can.

    Raises:
        UsageError: if there is none, or the exporter does not know it.
    """
    from optimum.exporters.tasks import TasksManager

    known = _known(config)
    said = job.options.get("task")
    task = TasksManager.map_from_synonym(said) if said else _deduced(config, architecture)
    if said is None and f"{task}{_PAST}" in known:
        return f"{task}{_PAST}"
    if task not in known:
        what = f"`{said}` is no task of" if said else "it cannot be told which is the task of"
        raise UsageError(
            f"{what} a `{config.model_type}`; there are {', '.join(known)}",
            hint=f"--option task={known[0]}",
        )
    return str(task)


def _known(config: Any) -> list[str]:
    """Return the tasks for which the exporter knows a type of model."""
    import optimum.exporters.onnx.model_configs  # noqa: F401  (fills the table)
    from optimum.exporters.tasks import TasksManager

    try:
        return list(
            TasksManager.get_supported_tasks_for_model_type(
                config.model_type, "onnx", library_name="transformers"
            )
        )
    except KeyError as error:
        raise Refused(
            f"Optimum exports no models of the type `{config.model_type}`",
            hint="as a PyTorch module: --from torch, with a module:function that loads it",
        ) from error


def _deduced(config: Any, architecture: str | None) -> str | None:
    import transformers
    from optimum.exporters.tasks import TasksManager

    for name in (architecture, *getattr(config, "auto_map", {})):
        kind = getattr(transformers, name or "", None)
        if kind is not None:
            with suppress(ValueError):
                return str(TasksManager.infer_task_from_model(kind))
    return None


def _part(loaded: Loaded, job: Job) -> tuple[Any, Any]:
    """Return the exported part and its configuration: the model, or the requested part.

    Raises:
        UsageError: if the model becomes several files, and none of them was asked for.
    """
    from optimum.exporters.onnx.utils import _get_submodels_and_onnx_configs
    from optimum.exporters.tasks import TasksManager

    TasksManager.standardize_model_attributes(loaded.model, library_name="transformers")
    parts: dict[str, tuple[Any, Any]]
    _, found = _get_submodels_and_onnx_configs(
        model=loaded.model,
        task=loaded.task,
        monolith=False,
        custom_onnx_configs={},
        custom_architecture=False,
        _variant="default",
        library_name="transformers",
    )
    parts = {name.removesuffix("_model").replace("_", "-"): one for name, one in found.items()}
    part = job.options.get("part", "model" if len(parts) == 1 else None)
    if len(parts) == 1 and part == "model":
        return next(iter(parts.values()))
    if part not in parts:
        what = f"has no part `{part}`; it" if part else "is no single model: it"
        raise UsageError(
            f"a `{loaded.model.config.model_type}` for {loaded.task} {what} becomes "
            f"{', '.join(parts)}",
            hint=f"convert each under a name of its own: --option part={next(iter(parts))}",
        )
    return parts[part]


def _untrained(loaded: Loaded, job: Job) -> Refused:
    some = ", ".join(f"`{name}`" for name in loaded.missing[:_SHOWN])
    more = f" and {len(loaded.missing) - _SHOWN} more" if len(loaded.missing) > _SHOWN else ""
    name = job.source.name if job.source else "the model"
    return Refused(
        f"`{name}` holds no {some}{more}; for {loaded.task} they would be random",
        hint="choose another task: --option task=feature-extraction",
    )


def _notes(job: Job) -> tuple[str, ...]:
    if job.source is None:
        return ()
    beside = [name for name in _BESIDE if (job.source / name).is_file()]
    notes = [f"not part of the model, and still needed: {', '.join(beside)}"] if beside else []
    if (job.source / "modules.json").is_file():
        notes.append("sentence-transformers' pooling is not part of the model")
    return tuple(notes)
