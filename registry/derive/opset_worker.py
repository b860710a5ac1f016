"""The child that converts a model to another opset, with onnx's version converter.

The converter sees the graph without its weights, so that their size does not matter: given whole,
a model over 2 GB cannot even be handed to it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.core.sandbox import answer
from onnxzoo.registry.derive.declared_shapes import correct_shapes, fit_ir_version
from onnxzoo.registry.derive.derive import MODEL
from onnxzoo.registry.derive.lower_opset import NoStep, drop_defaults, lower, type_misfit
from onnxzoo.registry.derive.strip_weights import (
    copy_external,
    inline_functions,
    put_back,
    read_skeleton,
    restore_metadata,
    write,
    write_skeleton,
)
from onnxzoo.registry.onnx_file.op_versions import since
from onnxzoo.registry.onnx_file.protos import graphs, nodes

if TYPE_CHECKING:
    from onnx import ModelProto

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
    """Write the model at another opset; see `derive` for the request."""
    import onnx

    source, into = Path(request["model"]), Path(request["into"])
    target = int(request["options"]["opset"])
    model, taken = read_skeleton(source)
    _check_convertible(model)
    _name_opsets_once(model)
    skeleton = inline_functions(model)
    del model
    excuse = _problem_of_skeleton(skeleton)
    converted = _reached(skeleton, target, excuse, request["options"].get("ir_version"))
    put_back(converted, taken)
    del taken
    copy_external(converted, source.parent, into)
    write(converted, into / MODEL)
    problem = problem_of(into / MODEL)
    if problem and not excuse:
        raise Refused(f"it would be no valid model at opset {target}: {problem}")
    return {"tools": {"onnx": onnx.__version__}}


def _reached(
    skeleton: "ModelProto", target: int, excuse: str | None, most: int | None
) -> "ModelProto":
    """Return a model at another opset, or refuse, naming the nearest opset that can be made.

    Args:
        skeleton: the model without weights.
        target: the opset.
        excuse: what onnx's checker finds wrong with the model as it is: what is made of it need
            be no better.
        most: the highest IR version to keep; None for that of the opset.
    """
    try:
        return convert(skeleton, target, excuse, most)
    except Blocked as error:
        hint = _nearest(skeleton, error.limit, excuse)
        raise Refused(str(error), hint=hint) from error


def convert(
    skeleton: "ModelProto", target: int, excuse: str | None, most: int | None = None
) -> "ModelProto":
    """Return a model without weights at another opset, with all that the converter drops.

    Raises:
        Blocked: naming the op that has no step to that opset.
    """
    opset = opset_of(skeleton)
    converted = _at(skeleton, opset, target)
    restore_metadata(skeleton, converted)
    fit_ir_version(converted, skeleton.ir_version, most)
    if excuse or not _problem_of_skeleton(converted):
        return converted
    converted = correct_shapes(converted)
    if problem := _problem_of_skeleton(converted):
        step = 1 if target < opset else -1
        why = f"it would be no valid model at opset {target}: {problem}"
        raise Blocked(why, target + step)
    return converted


def _at(skeleton: "ModelProto", opset: int, target: int) -> "ModelProto":
    import onnx
    from onnx import version_converter

    bare = onnx.ModelProto()
    bare.CopyFrom(skeleton)
    if target == opset:
        return bare
    # Without this, what exporters write for ReduceMean at 18 (``noop_with_empty_axes=0``) makes an
    # invalid model of 17.
    drop_defaults(list(nodes(bare)), opset, target)
    try:
        return version_converter.convert_version(bare, target)
    except Exception as error:
        if target > opset:
            raise _blocked(str(error), opset, target) from error
        return _lowered(skeleton, opset, target)


def _lowered(skeleton: "ModelProto", opset: int, target: int) -> "ModelProto":
    """Return a model at a lower opset, where the converter cannot go there in one leap."""
    try:
        return lower(skeleton, opset, target)
    except NoStep as error:
        blocked = _blocked(str(error), error.opset, target)
        op = str(blocked).split("`")[1] if "`" in str(blocked) else ""
        if kind := type_misfit(skeleton, op, blocked.limit):
            blocked = Blocked(
                f"`{op}` of {kind} cannot go below opset {blocked.limit}", blocked.limit
            )
        raise blocked from error


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
        limit = (since(op, opset) or opset) if down else opset
    else:
        beyond = found["way"] == "To"
        limit = int(version) + (beyond if down else -beyond)
    return Blocked(f"`{op}` cannot go {'below' if down else 'above'} opset {limit}", limit)


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
    """Return the finding of onnx's full check, in one line."""
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
