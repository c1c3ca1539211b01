"""Errors that a user can act on: one line with what was expected, what was found, what to do.

No message contains credentials: the user part of a URL and the values of its query are removed.
"""

import re

_USER = re.compile(r"(?<=:/)(/?)[^\s'\"]*@")
_BARE = re.compile(r"[^\s'\"/@:]+:[^\s'\"/@:]+@(?=[\w\[])")
_QUERY = re.compile(r"(?<=[?&])([^\s=&#'\"]+)=[^\s&#'\")]*")


def without_credentials(text: str) -> str:
    """Remove user, password and query values from the URLs in a text."""
    return _QUERY.sub(r"\1=***", _BARE.sub("", _USER.sub(r"\1", text)))


class SarcastError(Exception):
    """The work cannot be done; the command line prints the message and exits with status 1."""

    def __init__(self, line: str) -> None:
        super().__init__(without_credentials(line))


class UsageError(SarcastError):
    """The options are wrong or contradictory; printed by the command line, exit status 2."""
