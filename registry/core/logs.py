"""Log through Python's logging, with records made safe for terminals."""

import logging

from onnxzoo.registry.core.text import visible


def logger(name: str = "onnxzoo") -> logging.Logger:
    """Return a logger of ours: names from models and servers cannot forge a line of its log."""
    found = logging.getLogger(name)
    if _made_visible not in found.filters:
        found.addFilter(_made_visible)
    return found


def _made_visible(record: logging.LogRecord) -> bool:
    record.msg, record.args = visible(record.getMessage()), None
    return True
