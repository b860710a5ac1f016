"""What a pickle would import, read from its opcodes without loading it.

Source: CPython, `pickletools`; PyTorch's and joblib's ways of wrapping pickles.
"""

import pickletools
import re
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

_MOST = 64 << 20  # bytes of a pickle that are read: names stand among the weights
_TEXT = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE")
_ZLIB = (b"x\x01", b"x^", b"x\x9c", b"x\xda")


def is_pickle(head: bytes) -> bool:
    r"""Tell whether the first bytes are a pickle's, packed by joblib or not.

    >>> is_pickle(b"\x80\x04\x95"), is_pickle(b"\x80\x09"), is_pickle(b"PK")
    (True, False, False)
    """
    head = unpacked(head)
    return len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5  # noqa: PLR2004  (PROTO)


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
    found: set[str] = set()
    for content in _pickles(path):
        found.update(_imports(content))
    return sorted(found)


def _pickles(file: Path | BytesIO) -> Iterator[bytes]:
    """Yield the pickles of a file: itself, or those in a zip, and in the zips in that."""
    try:
        with ZipFile(file) as archive:
            for info in archive.infolist():
                if info.filename.endswith((".pkl", ".pt")):
                    with archive.open(info) as member:
                        content = member.read(_MOST)
                    if content.startswith(b"PK"):
                        yield from _pickles(BytesIO(content))
                    else:
                        yield content
    except BadZipFile:
        if isinstance(file, Path):
            with file.open("rb") as opened:
                yield unpacked(opened.read(_MOST))


def _imports(content: bytes) -> Iterator[str]:
    start = 0
    while content[start : start + 1] == b"\x80":
        texts: list[str] = []
        end: int | None = None
        try:
            for opcode, argument, at in pickletools.genops(content[start:]):
                if opcode.name == "GLOBAL":
                    yield str(argument).replace(" ", ".")
                elif opcode.name == "STACK_GLOBAL":
                    yield ".".join(texts[-2:])
                elif opcode.name in _TEXT:
                    texts.append(str(argument))
                elif opcode.name == "STOP":
                    end = start + (at or 0) + 1
        except (ValueError, IndexError, UnicodeDecodeError, EOFError, OverflowError):
            yield from _beyond(content[start:])
        if end is None:
            return
        start = end


def _beyond(content: bytes) -> Iterator[str]:
    r"""Yield what follows protocol 4's two short strings or protocol 2's GLOBAL."""
    for match in re.finditer(rb"c([A-Za-z_][\w.]*)\n([A-Za-z_]\w*)\n", content):
        yield f"{match[1].decode()}.{match[2].decode()}"
    for match in re.finditer(
        rb"\x8c(.)([A-Za-z_][\w.]+)\x94\x8c(.)([A-Za-z_]\w*)\x94\x93", content
    ):
        module, name = match[2], match[4]
        if len(module) == match[1][0] and len(name) == match[3][0]:
            yield f"{module.decode()}.{name.decode()}"
