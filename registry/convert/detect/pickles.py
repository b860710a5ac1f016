"""List a pickle's imports from its opcodes, without loading it.

Source: CPython, `pickletools`; PyTorch's and joblib's ways of wrapping pickles.
"""

import pickletools
import re
import string
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO
from zipfile import BadZipFile

from onnxzoo.registry.convert.detect.bounded_read import member_of
from onnxzoo.registry.core.zips import open_zip

_MOST = 64 << 20  # bytes of a pickle that are read: names stand among the weights
_DEEPEST = 2  # zips in zips; PyTorch's programs hold one
_LONGEST = 255  # characters of a name
_OF_NAMES = (string.ascii_letters + string.digits + "_.").encode()
_MARK = pickletools.markobject
_ZIP = b"PK\x03\x04"
_TEXT = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE")
_ZLIB = (b"x\x01", b"x^", b"x\x9c", b"x\xda")
_PACKED = (b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"]\0", b'\x04"M\x18')  # joblib's other ways


@dataclass(slots=True)
class _Left:
    """The number of bytes of a file that may still be scanned, over all its pickles."""

    bytes: int = 2 * _MOST
    opcodes: int = 1 << 20


def is_pickle(head: bytes) -> bool:
    r"""Tell whether the first bytes are a pickle's, packed by joblib or not.

    >>> is_pickle(b"\x80\x04\x95"), is_pickle(b"\x80\x09"), is_pickle(b"PK")
    (True, False, False)
    """
    head = unpacked(head)
    return len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5  # noqa: PLR2004  (PROTO)


def may_be_pickle(path: Path) -> bool:
    """Tell whether a file of no known format may be a pickle: packed, or of protocol 0 or 1."""
    with path.open("rb") as file:
        head = file.read(8)
        file.seek(max(0, path.stat().st_size - 1))
        return head.startswith(_PACKED) or file.read() == b"."


def unpacked(content: bytes) -> bytes:
    """Return bytes without joblib's zlib, as far as they go."""
    if not content.startswith(_ZLIB):
        return content
    try:
        return zlib.decompressobj().decompress(content, _MOST)
    except zlib.error:
        return content


def imports(path: Path) -> list[str]:
    """Return the names that loading a file, or a zip of pickles, would import, sorted.

    Arrays between the opcodes, as joblib writes them, end the reading early: then names that
    look like a module's are added from the rest.
    """
    left = _Left()
    found = {name for content in _pickles(path, left) for name in _imports(content, left)}
    return sorted(found)


def _pickles(path: Path, left: _Left) -> Iterator[bytes]:
    """Yield the pickles of a file: itself, or those in a zip, nested zips included."""
    with path.open("rb") as file:
        if file.read(len(_ZIP)) == _ZIP:
            yield from _zipped(file, left, _DEEPEST)
        else:
            file.seek(0)
            yield unpacked(file.read(_MOST))


def _zipped(file: IO[bytes], left: _Left, deeper: int) -> Iterator[bytes]:
    with open_zip(file) as archive:
        for info in archive.infolist():
            if not info.filename.endswith((".pkl", ".pt")) or left.bytes <= 0:
                continue
            content = member_of(archive, info, min(_MOST, left.bytes))
            left.bytes -= len(content)
            if not content.startswith(_ZIP):
                yield content
            elif deeper:
                with suppress(BadZipFile):
                    yield from _zipped(BytesIO(content), left, deeper - 1)


def _imports(content: bytes, left: _Left) -> Iterator[str]:
    stream, start = BytesIO(content), 0
    while content[start : start + 1] == b"\x80" and left.opcodes > 0:
        machine, broken = _Machine(), False
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "GLOBAL":
                    yield str(argument)[:_LONGEST].replace(" ", ".")
                elif opcode.name == "STACK_GLOBAL":
                    yield ".".join(text or "?" for text in machine.top())
                machine.step(opcode, argument)
                left.opcodes -= 1
                if left.opcodes <= 0:
                    break
        except (ValueError, IndexError, UnicodeDecodeError, EOFError, OverflowError):
            broken = True
        if broken or left.opcodes <= 0:
            yield from _beyond(content[start:])
            return
        start = stream.tell()


class _Machine:
    """A pickle's stack and memo, of which only the texts are known: names lie in both."""

    def __init__(self) -> None:
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}

    def top(self) -> list[str | None]:
        """Return the two topmost texts; None in the place of anything else."""
        two = [None, None, *self._stack][-2:]
        return [one if isinstance(one, str) else None for one in two]

    def step(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        """Apply an opcode to the stack, without making any value."""
        name, last = opcode.name, self._stack[-1] if self._stack else None
        if name == "MEMOIZE":
            self._memo[len(self._memo)] = last
        elif name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            self._memo[int(str(argument))] = last
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            self._stack.append(self._memo.get(int(str(argument))))
        elif name == "DUP":
            self._stack.append(last)
        elif name in _TEXT:
            self._stack.append(str(argument)[:_LONGEST])
        else:
            self._pop(opcode.stack_before)
            self._stack += [_MARK if o is _MARK else None for o in opcode.stack_after]

    def _pop(self, before: list[pickletools.StackObject]) -> None:
        if _MARK in before:
            while self._stack and self._stack.pop() is not _MARK:
                pass
            before = before[: before.index(_MARK)]
        if before:
            del self._stack[-len(before) :]


def _beyond(content: bytes) -> Iterator[str]:
    r"""Yield the texts after protocol 4's two short strings or protocol 2's GLOBAL.

    Line feeds are found first: to try every byte as the start of a name would take far longer.
    """
    for match in re.finditer(rb"\n([A-Za-z_]\w*+)(?=\n)", content):
        before = content[max(0, match.start() - _LONGEST) : match.start()]
        run = before[len(before.rstrip(_OF_NAMES)) :]
        if found := re.search(rb"c([A-Za-z_][\w.]*)\Z", run):
            yield f"{found[1].decode()}.{match[1][:_LONGEST].decode()}"
    for match in re.finditer(
        rb"(?s)\x8c(.)([A-Za-z_][\w.]++)\x94\x8c(.)([A-Za-z_]\w*+)\x94\x93", content
    ):
        module, name = match[2], match[4]
        if len(module) == match[1][0] and len(name) == match[3][0]:
            yield f"{module.decode()}.{name.decode()}"
