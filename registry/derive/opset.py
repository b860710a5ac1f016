"""The child that converts a model to another opset, with onnx's version converter.

The converter sees the graph without its weights, so that their size does not matter: given whole,
a model over 2 GB cannot even be handed to it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.child import answer
from onnxzoo.registry.derive.frame import MODEL
from onnxzoo.registry.derive.skeleton import (
    copy_external,
    inline_functions,
    put_back,
    read_skeleton,
    restore_notes,
    write,
    write_skeleton,
)
from onnxzoo.registry.errors import Refused
from onnxzoo.registry.graphs import graphs, nodes

if TYPE_CHECKING:
    from onnx import ModelProto

_CONSTANT_SINCE = 4  # the IR version since which an initialiser need not be an input
# What the converter says of an op that it has no step for.
# Source: onnx/version_converter, BaseConverter.h, "adapter_lookup"; no_previous_version.h.
_NO_STEP = re.compile(
    r"No (?:Adapter (?P<way>From|To) Version \$?(?P<version>\d+) for"
    r"|Adapter For|Previous Version of) (?P<op>\w+)"
)
_CONTEXT = re.compile(r"^\S+:\d+: \w+: Assertion `.*?` failed: |\s*==> Context:.*", re.DOTALL)


class Blocked(Exception):
    """No way to an opset: why, and the last one on the way that may be reached."""

    def __init__(self, why: str, limit: int) -> None:
        super().__init__(why)
        self.limit = limit


def main(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the model at another opset; see `frame` for the request."""
    import onnx

    source, into = Path(request["model"]), Path(request["into"])
    target = int(request["options"]["opset"])
    model, taken = read_skeleton(source)
    _check_convertible(model)
    _name_opsets_once(model)
    skeleton = inline_functions(model)
    del model
    excuse = _problem_of_skeleton(skeleton)
    converted = _reached(skeleton, target, excuse)
    put_back(converted, taken)
    del taken
    copy_external(converted, source.parent, into)
    write(converted, into / MODEL)
    problem = problem_of(into / MODEL)
    if problem and not excuse:
        raise Refused(f"it would be no valid model at opset {target}: {problem}")
    return {"tools": {"onnx": onnx.__version__}}


def _reached(skeleton: "ModelProto", target: int, excuse: str | None) -> "ModelProto":
    """Return a model at another opset, or refuse, naming the nearest opset that can be made.

    Args:
        skeleton: the model without weights.
        target: the opset.
        excuse: what onnx's checker finds wrong with the model as it is: what is made of it need
            be no better.
    """
    try:
        return convert(skeleton, target, excuse)
    except Blocked as error:
        hint = _nearest(skeleton, error.limit, excuse)
        raise Refused(str(error), hint=hint) from error


def convert(skeleton: "ModelProto", target: int, excuse: str | None) -> "ModelProto":
    """Return a model without weights at another opset, with all that the converter drops.

    Raises:
        Blocked: naming the op that has no step to that opset.
    """
    import onnx
    from onnx import version_converter

    opset, bare = opset_of(skeleton), onnx.ModelProto()
    bare.CopyFrom(skeleton)
    _drop_defaults(bare, opset, target)
    try:
        converted = version_converter.convert_version(bare, target)
    except Exception as error:
        raise _blocked(str(error), opset, target) from error
    restore_notes(skeleton, converted)
    _raise_ir_version(converted)
    if not excuse and (problem := _problem_of_skeleton(converted)):
        step = 1 if target < opset else -1
        why = f"it would be no valid model at opset {target}: {problem}"
        raise Blocked(why, target + step)
    return converted


def opset_of(model: "ModelProto") -> int:
    """Return the version of the default domain that a model imports; 1 where it names none."""
    return next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 1)


def _check_convertible(model: "ModelProto") -> None:
    if any(graph.sparse_initializer for graph in graphs(model)):
        raise Refused("it holds sparse weights, which onnx's version converter drops")
    if all(entry.domain not in {"", "ai.onnx"} for entry in model.opset_import):
        raise Refused("it has no ops of ai.onnx, so there is no opset to convert")


def _name_opsets_once(model: "ModelProto") -> None:
    """Keep the highest version of each domain: skl2onnx names some twice, onnx converts one."""
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        versions[domain] = max(entry.version, versions.get(domain, 0))
    if len(versions) < len(model.opset_import):
        del model.opset_import[:]
        for domain, version in versions.items():
            model.opset_import.add(domain=domain, version=version)


def _drop_defaults(model: "ModelProto", opset: int, target: int) -> None:
    """Remove attributes at their default that the target has not: the converter would keep some.

    Without this, what exporters write for ReduceMean at 18 (``noop_with_empty_axes=0``) makes an
    invalid model of 17.
    """
    for node in nodes(model):
        now, then = _schema(node, opset), _schema(node, target)
        if now is None or then is None:
            continue
        for attribute in list(node.attribute):
            known = now.attributes.get(attribute.name)
            if known and attribute.name not in then.attributes:
                default = known.default_value
                if default.type == attribute.type and default == _bare(attribute):
                    node.attribute.remove(attribute)


def _bare(attribute: Any) -> Any:
    from onnx import AttributeProto

    bare = AttributeProto()
    bare.CopyFrom(attribute)
    bare.ClearField("doc_string")
    return bare


def _schema(node: Any, opset: int) -> Any:
    from onnx import defs

    if node.domain not in {"", "ai.onnx"}:
        return None
    try:
        return defs.get_schema(node.op_type, opset, "")
    except defs.SchemaError:
        return None


def _raise_ir_version(model: "ModelProto") -> None:
    """Raise the IR version to what the opsets need; weights stay constants where they were."""
    from onnx import helper

    before = model.ir_version
    needed = helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    model.ir_version = max(before, needed)
    if before < _CONSTANT_SINCE <= model.ir_version:
        constant = {tensor.name for tensor in model.graph.initializer}
        kept = [value for value in model.graph.input if value.name not in constant]
        del model.graph.input[:]
        model.graph.input.extend(kept)


def _blocked(said: str, opset: int, target: int) -> Blocked:
    """Return in plain words why the converter gave up.

    >>> said = "Assertion `false` failed: No Adapter From Version $14 for Mul"
    >>> _blocked(said, 17, 11)
    Blocked('`Mul` cannot go below opset 14')
    >>> _blocked("No Previous Version of LayerNormalization exists", 18, 16)
    Blocked('`LayerNormalization` cannot go below opset 17')
    """
    down, found = target < opset, _NO_STEP.search(said)
    if found is None:
        words = " ".join(_CONTEXT.sub("", said).split())
        return Blocked(f"onnx cannot convert it to opset {target}: {words}", target)
    op, version = found["op"], found["version"]
    if version is None:
        limit = _since(op, opset) if down else opset
    else:
        beyond = found["way"] == "To"
        limit = int(version) + (beyond if down else -beyond)
    return Blocked(f"`{op}` cannot go {'below' if down else 'above'} opset {limit}", limit)


def _since(op: str, opset: int) -> int:
    from onnx import defs

    try:
        return int(defs.get_schema(op, opset, "").since_version)
    except defs.SchemaError:
        return opset


def _nearest(skeleton: "ModelProto", limit: int, excuse: str | None) -> str | None:
    """Return the option for the opset nearest to a limit that can be reached, if there is one."""
    from onnx import defs

    opset, start = opset_of(skeleton), min(max(limit, 1), defs.onnx_opset_version())
    for candidate in range(start, opset, 1 if start < opset else -1):
        try:
            convert(skeleton, candidate, excuse)
        except Blocked:
            continue
        return f"--opset {candidate}"
    return None


def problem_of(path: Path) -> str | None:
    """Return what onnx's full check finds wrong with a model, in one line."""
    from onnx import checker

    try:
        checker.check_model(str(path), full_check=True)
    except Exception as error:  # noqa: BLE001  (the checker raises kinds of its own)
        return " ".join(_CONTEXT.sub("", str(error)).split())
    return None


def _problem_of_skeleton(model: "ModelProto") -> str | None:
    with TemporaryDirectory() as folder:
        return problem_of(write_skeleton(model, Path(folder)))


if __name__ == "__main__":
    answer(main)
