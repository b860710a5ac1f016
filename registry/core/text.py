"""Make text fit to be shown: harmless, short, without passwords, sizes for people."""

import re
from urllib.parse import urlsplit

# Control characters, line and paragraph separators, what sets direction or has no width, and the
# surrogates that stand for undecodable bytes.
# Source: Unicode Character Database, DerivedCoreProperties, "Default_Ignorable_Code_Point", with
# categories Cc, Zl, Zp and Cs, interlinear annotation, and Braille's blank.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SHOWN_UNITS = ("B", "kB", "MB", "GB", "TB")
UNIT_STEP = 1000  # decimal units, as the Hub and disks are labelled
_SECRET_PARAMETER = re.compile(r"pass|pwd|secret|token|credential|key|odbc_connect", re.IGNORECASE)
# A password goes to the last `@`: where that is not encoded, more is hidden than need be.
_PASSWORD = re.compile(r"(://[^/@:?]*:)(.*)@")
_PARAMETER = re.compile(r"([^=?&;\s]+)=([^&;\s]*)")
_SHOWN = 80  # characters of a name in a message


def visible(text: object) -> str:
    r"""Return text with everything that could move, hide or forge output written out.

    >>> visible("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def show_size(count: int | None) -> str:
    """Return bytes for people.

    >>> show_size(102576593), show_size(999_999), show_size(12), show_size(None)
    ('102.6 MB', '1.0 MB', '12 B', '?')
    """
    if count is None:
        return "?"
    value, unit = float(count), 0
    while round(value, 1) >= UNIT_STEP and unit < len(_SHOWN_UNITS) - 1:
        value, unit = value / UNIT_STEP, unit + 1
    return f"{value:.1f} {_SHOWN_UNITS[unit]}" if unit else f"{count} B"


def without_password(url: str) -> str:
    """Return a database's URL as it may be shown.

    >>> without_password("postgresql://me:secret@host/zoo?sslmode=require&password=hidden")
    'postgresql://me:***@host/zoo?sslmode=require&password=***'
    """
    shown = _PASSWORD.sub(r"\1***@", url)
    return _PARAMETER.sub(
        lambda found: f"{found[1]}=***" if _is_secret(found[1]) else found[0], shown
    )


def hide_password(text: str, url: str) -> str:
    """Return a text, such as a driver's error, without a database's URL's passwords in it.

    As they are written in the URL, and decoded.
    """
    from urllib.parse import unquote, unquote_plus

    secrets = {found[2] for found in _PASSWORD.finditer(url)}
    secrets |= {found[2].strip("'\"") for found in _PARAMETER.finditer(url) if _is_secret(found[1])}
    secrets |= {how(secret) for secret in secrets for how in (unquote, unquote_plus)}
    text = text.replace(url, without_password(url))
    for secret in sorted(secrets - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _is_secret(parameter: str) -> bool:
    from urllib.parse import unquote

    return bool(_SECRET_PARAMETER.search(unquote(parameter)))


def redact_url(url: str) -> str:
    """Return scheme, host and path of a URL: its user and query may be secrets.

    >>> redact_url("https://me:secret@host:8443/a/b?X-Amz-Signature=1#c")
    'https://host:8443/a/b'
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # such as an IPv6 address without its bracket
        return f"{url.partition(':')[0]}://…"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def cut(text: str) -> str:
    """Return a text short enough for a message.

    >>> cut("conv1"), len(cut("a" * 1000))
    ('conv1', 80)
    """
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
