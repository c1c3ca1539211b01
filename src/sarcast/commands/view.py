"""``sarcast view``: a map of a cube, a detection or alerts in the browser."""

import logging
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from sarcast.commands.config import FLAT, Config
from sarcast.commands.options import Computed, Context, ModelOrStrategy, load_predictor
from sarcast.prediction import DEFAULT_CONTEXT, DEFAULT_PRECISION
from sarcast.viewer.server import DEFAULT_PORT, Address, serve
from sarcast.viewer.view import Shown, open_path
from sarcast.windows import PreviousOptions

_log = logging.getLogger(__name__)


class ViewConfig(Config):
    """Options of ``sarcast view``."""

    model: ModelOrStrategy | None = None
    baseline: Annotated[PreviousOptions, FLAT] = Field(default_factory=PreviousOptions)
    cube: Path | None = Field(
        None,
        description="Cube of a detection or of alerts, for series and images of single dates; "
        "default: the one that it was made from, if it is still there.",
    )
    host: str = Field(
        "127.0.0.1",
        description="Address to listen at. Any but one of this machine alone lets others see the "
        "data: the page then needs the token in the address that is shown.",
    )
    port: int = Field(
        DEFAULT_PORT,
        ge=0,
        le=65535,
        description="Port to listen at, or the next free one after it; 0 for any that is free.",
    )
    browser: Annotated[bool, Parameter(negative="--no-browser")] = Field(
        True, description="Open the page in the browser of this machine."
    )
    precision: Computed = DEFAULT_PRECISION
    context: Context = DEFAULT_CONTEXT


_DEFAULT = ViewConfig()


def view(path: Path, *, config: Annotated[ViewConfig, FLAT] = _DEFAULT) -> None:
    """Show a cube, a detection or alerts as a map in the browser, without the internet.

    Parameters
    ----------
    path
        A cube, or a folder that ``sarcast detect`` or ``sarcast monitor`` wrote.
    """
    predictor = None
    if config.model is not None:
        predictor = load_predictor(config.model, precision=config.precision, context=config.context)
    given = (
        "previous" in config.baseline.model_fields_set
        or "chooser" in config.baseline.model_fields_set
    )
    how = Shown(predictor, config.baseline if given else None, config.cube)
    opened = open_path(path, how)
    address = Address(host=config.host, port=config.port)
    serve(opened, address, show=config.browser, on_start=lambda url: _log.info(f"{path}: {url}"))
