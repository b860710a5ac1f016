"""A process that has imported everything and forks for every command: a start costs 10 ms.

It reads a request a line from stdin, answers with the pid of the child, which stops itself if it
is to be traced, and then with how it ended.
"""

import atexit
import json
import os
import resource
import signal
import sys
import threading
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

_IMPORTS = (
    "alembic.command",
    "alembic.config",
    "alembic.runtime.migration",
    "concurrent.futures.thread",
    "filelock",
    "huggingface_hub.hf_api",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxzoo.cli.app",
    "onnxzoo.registry.api",
    "onnxzoo.registry.convert.api",
    "onnxzoo.registry.derive.quantize_worker",
    "onnxzoo.registry.derive.opset",
    "onnxzoo.registry.archive.export",
    "onnxzoo.registry.archive.unpack",
    "onnxzoo.registry.onnx_file.describe",
    "onnxzoo.zoo_index.lock.lockfile",
    "onnxzoo.registry.sessions.prepare",
    "onnxzoo.registry.archive.merge",
    "onnxzoo.registry.archive.tar",
    "onnxzoo.registry.maintenance.rebuild",
    "onnxzoo.registry.onnx_file.kind",
    "onnxzoo.registry.testdata.sets",
    "onnxzoo.zoo_index.download.response",
    "onnxzoo.registry.maintenance.verify",
    "onnxzoo.registry.database.writes",
    "onnxzoo.zoo_index.lock.update",
    "onnxzoo.zoo_index.lock.sync",
    "onnxzoo.zoo_index.zoo",
    "pooch",
    "requests",
    "rich.progress",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlmodel",
    "tarfile",
    "tempfile",
    "tomllib",
)


def main() -> None:
    """Serve until stdin ends; a child runs its command and ends."""
    for name in _IMPORTS:
        import_module(name)
    import onnxzoo.registry.database.tables  # noqa: F401
    from onnxzoo.registry.runtime.compatibility import installed

    with suppress(Exception):
        installed()
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(request)
            _command()
        if request["stop"]:
            os.waitpid(pid, os.WUNTRACED)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(request: dict[str, Any]) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.path[:0] = filter(None, request["environment"].get("PYTHONPATH", "").split(":"))
    sys.path_importer_cache.clear()
    for number, name in enumerate(("/dev/null", request["out"], request["err"])):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(name, flags, 0o666), number)
    for name, limit in request["limits"].items():
        kind = getattr(resource, name)
        resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))
    if request["uid"]:
        os.setgroups([])
        os.setgid(request["uid"])
        os.setuid(request["uid"])
    sys.argv = ["zoo", *request["words"]]
    if request["stop"]:
        os.kill(os.getpid(), signal.SIGSTOP)


def _command() -> NoReturn:
    """Run it and end as the interpreter would, but for C's exit handlers.

    onnxruntime's wait there for a thread that is only in the parent.
    """
    from onnxzoo.cli import main as zoo

    code: object = 1
    try:
        zoo()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001  (as the interpreter does)
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
