"""A transformers model's seeded calls: its own inputs and outputs, in the words of ONNX."""

import random
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from onnxzoo.registry.convert.frameworks._inputs import example_of
from onnxzoo.registry.convert.interface import BATCH, OTHER_BATCH, Input, Job, Sample
from onnxzoo.registry.core.errors import UsageError

_SIZES = ((BATCH, 16), (BATCH, 16), (OTHER_BATCH, 9))  # examples and tokens of each call


class Call(NamedTuple):
    """Inputs of a model, nested as it takes them, and its outputs by their ONNX names."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


def calls_of(model: Any, config: Any, job: Job) -> list[Call]:
    """Return the calls of a model with Optimum's inputs, or with the user's example.

    Args:
        model: in evaluation mode.
        config: Optimum's, of the export.
        job: whose seed and example are taken.
    """
    return [Call(inputs, outputs_of(model, config, inputs)) for inputs in _inputs(config, job)]


def _inputs(config: Any, job: Job) -> Iterator[Mapping[str, Any]]:
    import torch

    for number, (examples, tokens) in enumerate(_SIZES):
        torch.manual_seed(job.seed + number)
        random.seed(job.seed + number)  # of the lengths of masks
        drawn = config.generate_dummy_inputs(
            framework="pt", batch_size=examples, sequence_length=tokens
        )
        if job.example is not None:
            yield _example(job.example, drawn)
            return
        yield drawn


def _example(path: Path, drawn: Mapping[str, Any]) -> Mapping[str, Any]:
    import torch

    nested = [name for name, value in drawn.items() if not isinstance(value, torch.Tensor)]
    if nested:
        raise UsageError(f"no example can be given of `{nested[0]}`, which is several tensors")
    arrays = example_of(path, [Input(name) for name in drawn])
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def outputs_of(model: Any, config: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs of the model itself, outside of any exporter."""
    import torch
    from optimum.exporters.onnx import model_patcher as forms

    given = deepcopy(dict(inputs))  # some models write into them
    if "past_key_values" in given:
        given["past_key_values"] = forms.preprocess_past_key_values(given["past_key_values"])
    if "encoder_outputs" in given:
        given["encoder_outputs"] = forms.preprocess_encoder_outputs(given["encoder_outputs"])
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = getattr(config, "use_past", False)
    with torch.no_grad():
        found = model(**given)
    named: dict[str, Any] = {}
    for name, value in found.items():
        if name == "past_key_values":
            cache = forms.postprocess_past_key_values(value, list(config.outputs))
            named |= config.flatten_output_collection_property("present", cache)
        elif isinstance(value, Sequence):
            word = config.torch_to_onnx_output_map.get(name, name)
            named |= config.flatten_output_collection_property(word, value)
        else:
            named[config.torch_to_onnx_output_map.get(name, name)] = value
    return named


def depends(model: Any, config: Any, call: Call, weights: Sequence[str]) -> bool:
    """Tell whether a model's outputs depend on some of its weights: they change with them."""
    import torch

    parameters = [value for name, value in model.named_parameters() if name in set(weights)]
    kept = [value.detach().clone() for value in parameters]
    if not parameters:
        return False
    with torch.no_grad():
        for value in parameters:
            value.add_(1)
        changed = outputs_of(model, config, call.inputs)
        for value, before in zip(parameters, kept, strict=True):
            value.copy_(before)
    return any(
        not torch.equal(changed[name], call.outputs[name])
        for name in config.outputs
        if name in changed
    )


def samples_of(calls: Sequence[Call], config: Any, model: Path) -> list[Sample]:
    """Return calls by the names and in the order of the exported model."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    inputs = [value.name for value in graph.input]
    return [
        Sample(
            {name: value for name, value in _flat(call.inputs, config, inputs) if name in inputs},
            [_array(call.outputs.get(value.name)) for value in graph.output],
        )
        for call in calls
    ]


def _flat(
    inputs: Mapping[str, Any], config: Any, names: Sequence[str]
) -> Iterator[tuple[str, Any]]:
    """Yield inputs flattened as in ONNX; Optimum renames those of a decoder."""
    given = config.rename_ambiguous_inputs(dict(inputs))
    for name, value in config.generate_dummy_inputs_for_validation(given, list(names)).items():
        if isinstance(value, list | tuple):
            flat = config.flatten_output_collection_property(name, value)
        else:
            flat = value if isinstance(value, Mapping) else {name: value}
        yield from ((word, _array(tensor)) for word, tensor in flat.items())


def _array(tensor: Any) -> Any:
    return None if tensor is None else tensor.detach().cpu().numpy()
