"""Protobuf's wire format, read from a file without the payloads that are skipped.

Source: protobuf's documentation, "Encoding".
"""

import os
from collections.abc import Iterator
from io import FileIO
from typing import NamedTuple

from onnxzoo.registry.core.errors import InvalidModel

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_BLOCK = 1 << 16  # bytes read at once; small fields lie close together
_MOST = 10  # bytes in a varint of 64 bits
_CONTINUES = 0x80
# The highest tag and length, of 32 bits. Protobuf's own parsers cut off what is above: a field that
# is unknown here, and skipped, would be another one there.
_TAG = _LENGTH = (1 << 32) - 1


class CutOff(InvalidModel):
    """The bytes end where a message goes on."""


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: its number in the `.proto` file.
        value: a varint's value; None for the other types.
        start: where its payload starts in the file.
        end: where it ends.
        kind: its wire type.
    """

    number: int
    value: int | None
    start: int
    end: int
    kind: int = BYTES


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it.

    >>> varint(1), varint(300)
    (b'\\x01', b'\\xac\\x02')
    """
    written = bytearray()
    while number > 0x7F:  # noqa: PLR2004  (seven bits a byte)
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


class Reader:
    """A file of protobuf messages, read in blocks; a skipped payload costs nothing.

    Args:
        file: open for reading, unbuffered.
        name: what errors call it.
    """

    def __init__(self, file: FileIO, name: str) -> None:
        self._descriptor = file.fileno()
        self._name = name
        self.size = os.fstat(self._descriptor).st_size
        self._block = b""
        self._block_start = 0

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """Yield the fields of the message between two offsets.

        Raises:
            InvalidModel: if the bytes are no message, or the message ends early.
        """
        at = start
        while at < end:
            tag, at = self._varint(at, end)
            number, kind = tag >> 3, tag & 7
            if number == 0 or tag > _TAG:
                raise self.malformed(f"no field has number {number} (at byte {at})")
            value = None
            first = at
            if kind == VARINT:
                value, at = self._varint(at, end)
            elif kind == BYTES:
                length, first = self._varint(at, end)
                if length > _LENGTH:
                    raise self.malformed(f"no field has {length} bytes (at byte {at})")
                at = first + length
            elif kind in {FIXED64, FIXED32}:
                at += 8 if kind == FIXED64 else 4
            else:
                raise self.malformed(f"wire type {kind} does not exist (at byte {at})")
            if at > end:
                raise CutOff(self._said(f"a field goes on to byte {at}, its message ends at {end}"))
            yield Field(number, value, first, at, kind)

    def varints(self, field: Field) -> Iterator[int]:
        """Yield the numbers of a repeated field, packed or not."""
        if field.value is not None:
            yield field.value
            return
        at = field.start
        while at < field.end:
            value, at = self._varint(at, field.end)
            yield value

    def text(self, field: Field) -> str:
        """Return a string field; bytes that are not UTF-8 become escapes."""
        return self.payload(field).decode("utf-8", "backslashreplace")

    def payload(self, field: Field) -> bytes:
        """Return a field's payload."""
        return self._read(field.start, field.end)

    def malformed(self, reason: str) -> InvalidModel:
        """Return the error for a malformed file."""
        return InvalidModel(self._said(reason))

    def _said(self, reason: str) -> str:
        return f"`{self._name}` is not an ONNX model: {reason}"

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        offset = at - self._block_start
        if not 0 <= offset < len(self._block) - _MOST:
            self._load(at)
            offset = at - self._block_start
        if at < end and offset < len(self._block) and self._block[offset] < _CONTINUES:
            return self._block[offset], at + 1  # nearly all numbers are tags, lengths and counts
        value = shift = 0
        for byte in self._block[offset : offset + min(_MOST, end - at)]:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < _CONTINUES:
                return value & 0xFFFFFFFFFFFFFFFF, at + shift // 7
        raise CutOff(self._said(f"a number breaks off at byte {at}"))

    def _read(self, start: int, end: int) -> bytes:
        offset = start - self._block_start
        if offset < 0 or offset + end - start > len(self._block):
            if end - start > _BLOCK:
                return os.pread(self._descriptor, end - start, start)
            self._load(start)
            offset = 0
        return self._block[offset : offset + end - start]

    def _load(self, at: int) -> None:
        self._block = os.pread(self._descriptor, _BLOCK, at)
        self._block_start = at
