"""Checks of a site once it is built: what they find are warnings, which fail the build."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

_log = logging.getLogger(__name__)


def check_after_build(
    sphinx: Sphinx, find: Callable[[Path], Iterable[tuple[str, str]]], message: str
) -> dict[str, Any]:
    """Check a site of HTML when its build is finished; give what ``setup`` returns.

    Parameters
    ----------
    find
        Gives two texts for each fault in a folder of HTML.
    message
        With a place for each of the two.
    """

    def check(_sphinx: Sphinx, error: Exception | None) -> None:
        if error is None and sphinx.builder.format == "html":
            for fault in find(Path(sphinx.outdir)):
                _log.warning(message, *fault)

    sphinx.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
