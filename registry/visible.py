"""Text of others made harmless: what would move, hide or forge other text becomes visible."""

import re

# Control characters, line and paragraph separators, what sets direction or has no width, and the
# surrogates that stand for undecodable bytes.
# Source: Unicode Character Database, DerivedCoreProperties, "Default_Ignorable_Code_Point", with
# categories Cc, Zl, Zp and Cs, interlinear annotation, and Braille's blank.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def visible(text: object) -> str:
    r"""Return text with everything that could move, hide or forge output written out.

    >>> visible("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))
