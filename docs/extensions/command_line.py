"""The directives ``shared-options`` and ``verbs``: every flag, from the one definition of them.

The text is what Cyclopts writes of the application itself, so that a flag is never described twice.
Options that all verbs share are listed once, above the verbs.
"""

import re
from functools import cache
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from sarcast.cli import app

_SHARED = re.compile(r"^\* `--(?:config|quiet|log) ?[^`]*`:.*\n(?:    .*\n)*", re.MULTILINE)
_EMPTY = re.compile(r"\*\*Parameters\*\*:\n\n(?=#|\Z)")
_CONTENTS = re.compile(r"## Table of Contents\n.*?(?=\*\*Parameters\*\*)", re.DOTALL)


@cache
def reference() -> tuple[str, str]:
    """Return what all verbs share, and the verbs under headings of level 2, as Markdown."""
    app["tfrecord"].default_parameter = app.default_parameter  # as when a command line is parsed
    text = app.generate_docs(output_format="markdown", recursive=True)
    head, *sections = re.split(r"^(?=## sarcast )", text, flags=re.MULTILINE)
    shared = _CONTENTS.sub("", head.partition("\n")[2])
    return shared, "".join(_EMPTY.sub("", _SHARED.sub("", section)) for section in sections)


class SharedOptions(SphinxDirective):
    """Inserts how verbs are called, and the options that all of them share."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """Parse the part before the verbs as MyST."""
        return self.parse_text_to_nodes(reference()[0])


class Verbs(SphinxDirective):
    """Inserts the reference of all verbs."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """Parse the verbs as MyST, which puts their sections into the page itself."""
        return self.parse_text_to_nodes(reference()[1], allow_section_headings=True)


def setup(sphinx: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    sphinx.add_directive("shared-options", SharedOptions)
    sphinx.add_directive("verbs", Verbs)
    return {"parallel_read_safe": True}
