"""The tree of errors is as it is drawn."""

import inspect
import re

from onnxzoo.registry.core import errors


def test_the_drawn_tree_is_the_tree() -> None:
    drawn = re.findall(r"^(\W*)(\w+)(?: \((\d+)\))?", str(errors.__doc__), re.MULTILINE)
    path: dict[int, str] = {}
    found = {}
    for indent, name, code in drawn[1:]:
        depth = len(indent)
        path[depth] = name
        parent = max((other for other in path if other < depth), default=None)
        found[name] = (path[parent] if parent is not None else "Exception", code)
    classes = {
        name: one
        for name, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, errors.ZooError)
    }
    assert {name: parent for name, (parent, _) in found.items()} == {
        name: one.__bases__[0].__name__ for name, one in classes.items()
    }
    for name, (_, code) in found.items():
        assert not code or int(code) == classes[name].exit_code
