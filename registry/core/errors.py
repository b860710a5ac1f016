"""Define the tree of errors that callers catch, with the exit code of each.

ZooError (1)
├── UsageError (2)           the request is malformed
├── NotFound (3)             no such model, version, variant, file, source or package
├── IntegrityError (4)       checksum mismatch
├── Refused (5)              the model is unsafe, invalid or does not fit
│   ├── InvalidModel         it is not a readable ONNX model
│   └── Misfit               it does not run on this onnxruntime
├── RemoteError (6)          the network or a server failed, or offline mode forbids it
├── StorageError (7)         the disk is full or read-only
├── Busy (8)                 a lock was not released in time
├── DatabaseError (9)        the registry's database cannot be used as it is
│   └── Damaged              it is damaged or gone, and can be rebuilt
└── NotAuthorised (10)       credentials are missing or were rejected
"""

from typing import ClassVar

from onnxzoo.registry.core.text import visible


class ZooError(Exception):
    """Anything that went wrong in a way the caller can act on.

    What a message quotes may come from a model, an index or a server: it is made harmless, since it
    ends in terminals and logs.

    Args:
        message: what happened: lower case, no full stop, the offending value in back-ticks.
        hint: the next command or step, or None where there is none.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = visible(message)
        self.hint = hint and visible(hint)
        super().__init__(self.message)


class UsageError(ZooError):
    """The request itself is malformed: a bad reference, name, option or value."""

    exit_code = 2


class NotFound(ZooError):
    """No such model, version, variant, file, alias, source or optional package."""

    exit_code = 3


class IntegrityError(ZooError):
    """Checksum mismatch, or another damage of bytes."""

    exit_code = 4


class Refused(ZooError):
    """The model is unsafe, invalid or does not fit."""

    exit_code = 5


class InvalidModel(Refused):
    """The file is not a readable ONNX model."""


class Misfit(Refused):
    """The model does not run on the onnxruntime it is meant for."""


class RemoteError(ZooError):
    """The network or a remote server failed, or offline mode forbids asking."""

    exit_code = 6


class StorageError(ZooError):
    """The disk refused: full, read-only, no rights."""

    exit_code = 7


class Busy(ZooError):
    """A lock is held by another process, and was not released in time."""

    exit_code = 8


class DatabaseError(ZooError):
    """The registry's database cannot be used as it is."""

    exit_code = 9


class Damaged(DatabaseError):
    """The registry's database is damaged or gone; it can be rebuilt."""


class NotAuthorised(ZooError):
    """Credentials are missing or were rejected."""

    exit_code = 10
