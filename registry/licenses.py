"""Licences: which of them may come in."""

import re
from collections.abc import Sequence

from onnxzoo.registry.errors import Refused

UNKNOWN = "unknown"  # allows what states no licence
_OR = re.compile(r"\s+or\s+", re.IGNORECASE)
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)


def permits(allowed: Sequence[str], license: str | None) -> bool:  # noqa: A002  (the field's word)
    """Tell whether a licence is among those that are allowed; nothing allowed means anything.

    SPDX identifiers are compared without regard to case. Of ``A OR B`` one must be allowed, of
    ``A AND B`` both; an expression with brackets must be allowed as it stands.

    >>> permits(["mit"], "MIT"), permits(["mit"], None), permits(["mit", "unknown"], None)
    (True, False, True)
    >>> permits(["mit"], "Apache-2.0 OR MIT"), permits(["mit"], "Apache-2.0 AND MIT")
    (True, False)
    """
    known = {word.strip().lower() for word in allowed}
    text = (license or UNKNOWN).strip().lower()
    if not known or text in known:
        return True
    if "(" in text:
        return False
    return any(all(part in known for part in _AND.split(choice)) for choice in _OR.split(text))


def check_license(
    what: str,
    license: str | None,  # noqa: A002  (the field's word)
    allowed: Sequence[str],
) -> None:
    """Raise Refused unless a licence may come in.

    Args:
        what: of which it is, as it is called in the error.
        license: an SPDX identifier or expression; None where it is not known.
        allowed: see `permits`.
    """
    if permits(allowed, license):
        return
    known = ", ".join(f"`{word}`" for word in allowed)
    said = f"is under the licence `{license}`" if license else "has no licence that is known"
    raise Refused(
        f"`{what}` {said}; allowed: {known}",
        hint=f"--allow-license {','.join([*allowed, license or UNKNOWN])}, if that is meant; "
        "the environment's list is ZOO_ALLOW_LICENSES",
    )
