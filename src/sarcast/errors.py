"""The errors that a user can act on: what was expected, what came, what to do, on one line.

No line tells a credential: what stands in a URL before the host, or in its query, is taken out.
"""

import re

_USER = re.compile(r"(?<=:/)(/?)[^\s'\"]*@")
_BARE = re.compile(r"[^\s'\"/@:]+:[^\s'\"/@:]+@(?=[\w\[])")
_QUERY = re.compile(r"(?<=[?&])([^\s=&#'\"]+)=[^\s&#'\")]*")


def without_credentials(text: str) -> str:
    """Take user, password and the values of queries out of the URLs in a text."""
    return _QUERY.sub(r"\1=***", _BARE.sub("", _USER.sub(r"\1", text)))


class SarcastError(Exception):
    """The work cannot be done as asked; the command line prints it and exits with status 1."""

    def __init__(self, line: str) -> None:
        super().__init__(without_credentials(line))


class UsageError(SarcastError):
    """What was asked contradicts itself; the command line prints it and exits with status 2."""
