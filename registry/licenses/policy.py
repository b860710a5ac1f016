"""Licences: which of them may come in."""

import re
from collections.abc import Sequence

from onnxzoo.registry.core.errors import Refused

# Identifiers of the SPDX License List that models come under, as it writes them.
_SPDX = (
    *("AFL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "BSD-2-Clause"),
    *("BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0", "CC-BY-4.0", "CC-BY-NC-4.0"),
    *("CC-BY-NC-ND-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-4.0", "CC0-1.0", "ECL-2.0"),
    *("EPL-2.0", "EUPL-1.2", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only"),
    *("GPL-3.0-or-later", "ISC", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only"),
    *("LGPL-3.0-or-later", "MIT", "MPL-2.0", "MS-PL", "NCSA", "OFL-1.1", "OSL-3.0", "Unlicense"),
    *("WTFPL", "Zlib"),
)
_WRITTEN = {identifier.lower(): identifier for identifier in _SPDX}
_JOINING = {"or", "and", "with"}
UNKNOWN = "unknown"  # allows what states no licence
_OR = re.compile(r"\s+or\s+", re.IGNORECASE)
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)


def spdx(license: str | None) -> str | None:  # noqa: A002  (the field's word)
    """Return a well-known SPDX identifier as SPDX writes it; None for anything else.

    >>> spdx("apache-2.0"), spdx("llama2")
    ('Apache-2.0', None)
    """
    return _WRITTEN.get((license or "").strip().lower())


def spelled(license: str | None) -> str | None:  # noqa: A002  (the field's word)
    """Return a licence with each SPDX identifier as SPDX writes it; other words as they are.

    The Hub writes them in small letters, and one licence is to be one line of a listing.

    >>> spelled("apache-2.0 or mit"), spelled("llama2"), spelled(None)
    ('Apache-2.0 OR MIT', 'llama2', None)
    """
    if license is None:
        return None
    words = (_WRITTEN.get(word.lower(), word) for word in license.split())
    return " ".join(word.upper() if word.lower() in _JOINING else word for word in words)


def permits(allowed: Sequence[str], license: str | None) -> bool:  # noqa: A002  (the field's word)
    """Return whether a licence is allowed; an empty list allows all.

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
