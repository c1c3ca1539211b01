"""Formulas as MathML, which browsers show without a script: converted by docutils at each build."""

import html
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

_log = logging.getLogger(__name__)


def _inline(writer: Any, node: nodes.Element) -> None:
    writer.body.append(_converted(node, as_block=False))
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.Element) -> None:
    start = writer.starttag(node, "div", CLASS="math")
    writer.body.append(f"{start}{_converted(node, as_block=True)}</div>\n")
    raise nodes.SkipNode


def _converted(node: nodes.Element, *, as_block: bool) -> str:
    """Return the MathML of a formula; of one that docutils cannot convert, its source."""
    source = node.astext()
    try:
        return tex2mathml(source, as_block=as_block)
    except MathError as error:
        _log.warning("the formula %s has no MathML: %s", source, error, location=node)
        return html.escape(source)


def setup(sphinx: Sphinx) -> dict[str, Any]:
    """Register the renderer; ``html_math_renderer = "mathml"`` chooses it."""
    sphinx.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
