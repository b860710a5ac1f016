"""Walk the messages of an ONNX file field by field; refuse anything malformed.

A walk bounds what a parser would be made to do: depth, fields, strings, unknown bytes.

Source: onnx.proto (IR version 13); protobuf's documentation, "Encoding".
"""

from collections.abc import Iterator
from typing import NamedTuple

from onnxzoo.registry.core.errors import InvalidModel
from onnxzoo.registry.onnx_file.wire import BYTES, FIXED32, FIXED64, VARINT, Field, Reader

DEEPEST = 100  # messages within messages. Source: protobuf's default recursion limit
FIELDS = 100_000_000  # a forest of some million trees' nodes; two minutes of walking
STRINGS = 20_000_000  # names, and strings in tensors: some ten vocabularies of a million words
_LONGEST = 1 << 20  # bytes in a name; a longer one is an attack or an accident
_UNKNOWN = (
    1 << 16
)  # bytes in fields that onnx.proto has not got: a later version's, no hiding-place
_CHUNK = 1 << 20  # bytes of packed numbers counted at once
_LAST_BYTES = bytes(range(0x80))  # of a varint: without the mark that more follow

# Each field's number, name and kind; `*` marks a repeated one. Names must be UTF-8; prose (what
# only people read) may be anything, and is not read at all.
_MESSAGES = {
    "Model": "1 ir_version int, 2 producer_name prose, 3 producer_version prose, 4 domain prose, "
    "5 model_version int, 6 doc_string prose, 7 graph Graph, 8 opset_import Opset*, "
    "14 metadata_props Entry*, 20 training_info Training*, 25 functions Function*, "
    "26 configuration Device*",
    "Graph": "1 node Node*, 2 name name, 5 initializer Tensor*, 10 doc_string prose, "
    "11 input Value*, 12 output Value*, 13 value_info Value*, 14 quantization_annotation "
    "Annotation*, 15 sparse_initializer Sparse*, 16 metadata_props Entry*",
    "Node": "1 input name*, 2 output name*, 3 name name, 4 op_type name, 5 attribute Attribute*, "
    "6 doc_string prose, 7 domain name, 8 overload name, 9 metadata_props Entry*, "
    "10 device_configurations NodeDevice*",
    "Attribute": "1 name name, 2 f float, 3 i int, 4 s bytes, 5 t Tensor, 6 g Graph, "
    "7 floats float*, 8 ints int*, 9 strings bytes*, 10 tensors Tensor*, 11 graphs Graph*, "
    "13 doc_string prose, 14 tp Type, 15 type_protos Type*, 20 type int, 21 ref_attr_name name, "
    "22 sparse_tensor Sparse, 23 sparse_tensors Sparse*",
    "Tensor": "1 dims int*, 2 data_type int, 3 segment Segment, 4 float_data float*, "
    "5 int32_data int*, 6 string_data bytes*, 7 int64_data int*, 8 name name, 9 raw_data bytes, "
    "10 double_data double*, 11 uint64_data int*, 12 doc_string prose, 13 external_data Entry*, "
    "14 data_location int, 16 metadata_props Entry*",
    "Sparse": "1 values Tensor, 2 indices Tensor, 3 dims int*",
    "Function": "1 name name, 4 input name*, 5 output name*, 6 attribute name*, 7 node Node*, "
    "8 doc_string prose, 9 opset_import Opset*, 10 domain name, 11 attribute_proto Attribute*, "
    "12 value_info Value*, 13 overload name, 14 metadata_props Entry*",
    "Training": "1 initialization Graph, 2 algorithm Graph, 3 initialization_binding Entry*, "
    "4 update_binding Entry*",
    "Value": "1 name name, 2 type Type, 3 doc_string prose, 4 metadata_props Entry*",
    "Type": "1 tensor_type TensorType, 4 sequence_type Element, 5 map_type Map, 6 denotation name, "
    "7 opaque_type Opaque, 8 sparse_tensor_type TensorType, 9 optional_type Element",
    "TensorType": "1 elem_type int, 2 shape Shape",
    "Shape": "1 dim Axis*",
    "Axis": "1 dim_value int, 2 dim_param name, 3 denotation name",
    "Element": "1 elem_type Type",
    "Map": "1 key_type int, 2 value_type Type",
    "Opaque": "1 domain name, 2 name name",
    "Annotation": "1 tensor_name name, 2 quant_parameter_tensor_names Entry*",
    "Opset": "1 domain name, 2 version int",
    "Entry": "1 key name, 2 value prose",
    "Segment": "1 begin int, 2 end int",
    "Device": "1 name name, 2 num_devices int, 3 device name*",
    "NodeDevice": "1 configuration_id name, 2 sharding_spec Sharding*, 3 pipeline_stage int",
    "Sharding": "1 tensor_name name, 2 device int*, 3 index_to_device_group_map IntEntry*, "
    "4 sharded_dim SharedDim*",
    "IntEntry": "1 key int, 2 value int*",
    "SharedDim": "1 axis int, 2 simple_sharding SimpleShard*",
    "SimpleShard": "1 dim_value int, 2 dim_param name, 3 num_shards int",
}
_WIRES = {"int": VARINT, "float": FIXED32, "double": FIXED64}


class Spec(NamedTuple):
    """The definition of a field in onnx.proto: its name, its kind, whether it repeats."""

    name: str
    kind: str
    repeated: bool

    @property
    def wires(self) -> set[int]:
        """The wire types it may have; numbers that repeat may be packed."""
        wire = _WIRES.get(self.kind, BYTES)
        return {wire, BYTES} if self.repeated else {wire}


def _specs(text: str) -> dict[int, tuple[Spec, set[int]]]:
    found = {}
    for line in text.split(", "):
        number, name, kind = line.split()
        spec = Spec(name, kind.rstrip("*"), kind.endswith("*"))
        found[int(number)] = (spec, spec.wires)
    return found


_SPECS = {message: _specs(text) for message, text in _MESSAGES.items()}


def signed(value: int) -> int:
    """Return a varint as the signed number that it stands for.

    >>> signed(3), signed((1 << 64) - 1)
    (3, -1)
    """
    return value - (1 << 64) if value >> 63 else value


class Walk:
    """A walk through one file's messages, with its counters.

    Args:
        reader: the file.
        name: what errors call it.
    """

    def __init__(self, reader: Reader, name: str) -> None:
        self.reader = reader
        self.name = name
        self._fields = self._strings = self._unknown = 0

    def fields(self, message: str, within: Field, depth: int) -> Iterator[tuple[Spec, Field, str]]:
        """Yield a message's fields; with a name its text, with anything else an empty one.

        Args:
            message: its name in the table above.
            within: where it lies.
            depth: of how many messages it is a part.

        Raises:
            InvalidModel: if a field is not what onnx.proto says, or a bound is passed.
        """
        if depth > DEEPEST:
            raise self.invalid(f"its messages nest deeper than {DEEPEST}, which no parser takes")
        specs, seen = _SPECS[message], set()
        for found in self.reader.fields(within.start, within.end):
            self._count()
            if found.number not in specs:
                self._skip(found)
                continue
            spec, wires = specs[found.number]
            if found.kind not in wires:
                raise self.invalid(f"`{message}.{spec.name}` has wire type {found.kind}")
            if not spec.repeated:
                if found.number in seen:  # a parser takes the last, or merges the two
                    raise self.invalid(
                        f"`{message}.{spec.name}` is there twice: these are two models, or one "
                        "that means different things to different readers"
                    )
                seen.add(found.number)
            yield spec, found, self._text(spec, found) if spec.kind == "name" else ""

    def skim(self, message: str, within: Field, depth: int) -> None:
        """Walk a message of which only its form matters, and all that it holds."""
        for spec, found, _ in self.fields(message, within, depth):
            if spec.kind in _SPECS:
                self.skim(spec.kind, found, depth + 1)

    def string(self) -> None:
        """Count a string."""
        self._strings += 1
        if self._strings > STRINGS:
            raise self.invalid(f"it has more than {STRINGS:,} strings")

    def count(self, found: Field) -> int:
        """Return how many varints a field holds, packed or not."""
        if found.kind == VARINT:
            return 1
        count = 0
        for at in range(found.start, found.end, _CHUNK):
            part = found._replace(start=at, end=min(at + _CHUNK, found.end))
            payload = self.reader.payload(part)
            count += len(payload) - len(payload.translate(None, _LAST_BYTES))
        return count

    def short(self, found: Field) -> str:
        """Return a text of any kind, if it is not too long to be one."""
        if found.end - found.start > _LONGEST:
            raise self.invalid(f"a text of {found.end - found.start:,} bytes is none")
        return self.reader.text(found)

    def invalid(self, reason: str) -> InvalidModel:
        """Return the error for an invalid file."""
        return InvalidModel(f"`{self.name}` is not a sound ONNX model: {reason}")

    def _count(self) -> None:
        self._fields += 1
        if self._fields > FIELDS:
            raise self.invalid(f"it has more than {FIELDS:,} fields")

    def _text(self, spec: Spec, found: Field) -> str:
        self.string()
        if found.end - found.start > _LONGEST:
            raise self.invalid(f"a {spec.name} of {found.end - found.start:,} bytes is none")
        payload = self.reader.payload(found)
        try:
            return payload.decode()
        except UnicodeDecodeError:
            shown = payload[:40].decode("utf-8", "backslashreplace")
            raise self.invalid(f"the {spec.name} `{shown}` is not UTF-8") from None

    def _skip(self, found: Field) -> None:
        self._unknown += found.end - found.start + 1
        if self._unknown > _UNKNOWN:
            raise self.invalid(
                f"more than {_UNKNOWN:,} of its bytes lie in fields that ONNX has not got"
            )
