"""Errors that a user can act on: one line with what was expected, what was found, what to do.

No message contains credentials: user and password of URLs, the values of their queries, the values
of settings such as ``password=`` and of headers are removed.
"""

import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

LONGEST = 1500
"""Most characters of a message."""

_CONSIDERED = 4000
"""Characters at each end of a text that a message is made of."""
_HIDDEN = "***"
_NAME = (
    r"(?:[\w-]*(?:password|passwd|passphrase|passfile|secret|token|signature|credential"
    r"|(?:api|access|account|private)[_-]?key)[\w-]*|sig)"
)
_USER = re.compile(
    r"(?<=:/)(/?)(?:[^\s/:@?#]*:(?!\d+(?:[/\s?#'\"),]|$))(?:(?!://).)*@|\S*@)", re.DOTALL
)
_EITHER = re.compile(r"(?<=:/)(/?)[^\s@]*\?[^\s@]*=\S*@\S*")
"""A URL whose @ ends a password with a ``?`` and a ``=``, or lies in the query."""
_BARE = re.compile(r"(?<![^\s'\"/@:])[^\s'\"/@:]+:[^\s'\"/@:]+@(?=[\w\[])")
_QUERY = re.compile(r"\?([^\s?=]*=\S*)")
_END = re.compile(r"[]\"'),;:.>}]*$")
_SETTING = re.compile(
    rf"(?i)(?<![\w?&-])({_NAME}[\"']?\s*(?:=\s*|:\s+|:(?=[\"'])))"
    r"(?!\*\*\*)(?:(\\*[\"'])(?:\\.|(?!\2).)*(?:\2|$)|[^\s&]+)",
    re.DOTALL,
)
_HEADER = re.compile(
    r"(?i)((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?|\bbearer\s+)"
    r"(?:(?:bearer|basic|token|apikey)\s+)?[^\s'\",]+"
)
_SHORTEST_PART = 4


def without_credentials(text: str) -> str:
    """Remove from a text all that is known by its form to be a credential.

    User, password and query values of URLs, values of settings as in ``password='a b'``, and
    headers of authorisation. ``hide`` also finds what has no such form.
    """
    text = _HEADER.sub(rf"\1{_HIDDEN}", text)
    text = _EITHER.sub(rf"\1{_HIDDEN}", text)
    text = _BARE.sub("", _USER.sub(r"\1", text))
    return _SETTING.sub(rf"\1{_HIDDEN}", _QUERY.sub(_without_values, text))


def _without_values(query: re.Match[str]) -> str:
    end = _END.search(query[1])
    tail = end[0] if end else ""
    parts = (part.partition("=") for part in query[1].removesuffix(tail).split("&"))
    shown = (f"{name}={_HIDDEN}" if divider else _HIDDEN for name, divider, _ in parts)
    return f"?{'&'.join(shown)}{tail}"


def hide(text: str, *addresses: str) -> str:
    """Remove from a text the credentials of addresses, in whatever form or part it repeats them.

    Parameters
    ----------
    text
        For example a message of a library.
    addresses
        URLs and connection strings that the text may be about.

    Returns
    -------
    str
        Of a text of many thousand characters only the start and the end.
    """
    known = (_ends(address) for address in addresses)
    forms = {form for address in known for secret in _secrets(address) for form in _forms(secret)}
    text = without_credentials(_ends(text))  # while a URL still has its @
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, _HIDDEN)
    return without_credentials(text)


def _secrets(address: str) -> Iterator[str]:
    """Password, query values and values of secret settings of a URL or connection string."""
    _, divider, rest = address.partition("://")
    if divider:
        user = rest.rpartition("@")[0]
        yield user.partition(":")[2] or user
        query = rest.partition("?")[2]  # also where a password has the @
        yield from (part.partition("=")[2] or part for part in query.split("&"))
    for setting in _SETTING.finditer(address):
        yield setting[0][len(setting[1]) :].strip("'\"")


def _forms(secret: str) -> Iterator[str]:
    """A secret as it may be written or quoted, and its parts between dividers of URLs."""
    for plain in {secret, unquote(secret), unquote_plus(secret), secret.replace("\\", "")}:
        forms = [plain, quote(plain), quote(plain, safe=""), quote_plus(plain), repr(plain)[1:-1]]
        forms += [json.dumps(plain)[1:-1], plain.replace("'", "''"), plain.replace("'", "\\'")]
        for form in (*forms, *re.split(r"[\s/@?#:&=\[\]'\"\\]+", plain)):
            if len(form) >= _SHORTEST_PART:
                yield form


def one_line(text: str) -> str:
    """A text as a message: on one line, without credentials, and of ``LONGEST`` characters at most.

    Of a longer text the start and the end are kept.
    """
    considered = _ends(text)
    lines = considered.splitlines()
    joined = considered if len(lines) == 1 else " ".join(filter(None, map(str.strip, lines)))
    shown = without_credentials(joined)
    if len(shown) <= LONGEST and considered is text:
        return shown
    mark = f"[... {len(text)} characters ...]"
    half, odd = divmod(LONGEST - len(mark), 2)
    if len(shown) <= 2 * half + odd:
        return f"{shown} {mark}"[:LONGEST]
    return f"{shown[: half + odd]}{mark}{shown[-half:]}"


def first_line(error: BaseException) -> str:
    """First line of the message of an error; its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _ends(text: str) -> str:
    """A text, or the start and the end of a long one, which could take long to search.

    Words that were cut are dropped, since half of a URL shows its password.
    """
    if len(text) <= 2 * _CONSIDERED:
        return text
    start = text[:_CONSIDERED].rpartition(" ")[0]
    return f"{start} {text[-_CONSIDERED:].partition(' ')[2]}"


class SarcastError(Exception):
    """The work cannot be done; the command line prints the message and exits with status 1.

    Examples
    --------
    >>> try:
    ...     cube = sarcast.open_cube("nowhere.zarr")
    ... except sarcast.SarcastError as error:
    ...     print(error)
    nowhere.zarr is not a cube; build one with: sarcast cube CATALOGUE --to nowhere.zarr
    """

    def __init__(self, line: str) -> None:
        super().__init__(one_line(line))


class UsageError(SarcastError):
    """The options are wrong or contradictory; printed by the command line, exit status 2."""
