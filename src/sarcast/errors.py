"""The errors that a user can act on: what was expected, what came, what to do, on one line."""


class SarcastError(Exception):
    """The work cannot be done as asked; the command line prints it and exits with status 1."""


class UsageError(SarcastError):
    """What was asked contradicts itself; the command line prints it and exits with status 2."""
