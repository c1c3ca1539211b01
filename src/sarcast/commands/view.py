"""``sarcast view``: a map of a cube, a detection or alerts in the browser."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from pydantic import Field

from sarcast.commands.config import FLAT, Config, non_default_flags, write_record
from sarcast.commands.model_options import MODEL_OR_STRATEGY, Computed, Context
from sarcast.errors import SarcastError, UsageError
from sarcast.prediction import DEFAULT_CONTEXT, DEFAULT_PRECISION
from sarcast.viewer.address import DEFAULT_PORT, Address, Listening, show
from sarcast.viewer.base_map import BaseMap, TileUrl
from sarcast.windows import PreviousOptions

if TYPE_CHECKING:
    from sarcast.viewer.view import Opened

_log = logging.getLogger(__name__)

_OF_THE_SERVER = (
    *("model", "previous", "chooser", "host", "port", "browser", "precision", "context"),
    *("base_map", "base_map_credit"),
)
"""Options without a meaning for a page that is written."""
_ONE_FILE = (".html", ".htm")


class ViewConfig(Config):
    """Options of ``sarcast view``."""

    model: Path | None = Field(
        None,
        description=f"{MODEL_OR_STRATEGY}, for the expected images of single dates.",
    )
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
    base_map: TileUrl | None = Field(
        None,
        description="Address of the tiles of a base map in the projection of the web, such as "
        "https://tiles.example.org/{z}/{x}/{y}.png, which the browser loads from there; without "
        "it, nothing is loaded from elsewhere.",
    )
    base_map_credit: str = Field(
        "", description="Whose the base map is, as it is shown; default: the name of its server."
    )
    export: Path | None = Field(
        None,
        description="Write a page that needs no server instead, for a detection or alerts: one "
        "file if it ends with .html, else a folder.",
    )
    overwrite: bool = Field(False, description="Replace the exported page if it exists.")


_DEFAULT = ViewConfig()


def view(path: Path, *, config: Annotated[ViewConfig, FLAT] = _DEFAULT) -> None:
    """Show a cube, a detection or alerts as a map in the browser, without the internet.

    Parameters
    ----------
    path
        A cube, or a folder that ``sarcast detect`` or ``sarcast monitor`` wrote.
    """
    base_map = _check(config)
    if config.export is not None:
        _export(path, config.export, config)
        return
    if not path.is_dir():
        from sarcast.viewer.requests import NothingToShowError

        raise NothingToShowError(path)
    listening = Listening.at(Address(host=config.host, port=config.port))
    _log.info(f"{path}: {listening.url}")
    if config.browser:
        show(listening.url)
    from sarcast.viewer.server import Service  # while the browser opens the page

    Service(lambda: _open(path, config), listening, base_map).run()


def _check(config: ViewConfig) -> BaseMap | None:
    """Refuse options that would be ignored; give the base map that is asked for."""
    if config.export is None and config.overwrite:
        raise UsageError("--overwrite can be given with --export only")
    if config.export is not None and (flags := non_default_flags(config, _OF_THE_SERVER)):
        raise UsageError(f"{', '.join(flags)} cannot be given with --export")
    if config.base_map is None:
        if config.base_map_credit:
            raise UsageError("--base-map-credit can be given with --base-map only")
        return None
    return BaseMap(config.base_map, config.base_map_credit)


def _open(path: Path, config: ViewConfig) -> "Opened":
    """Open what is shown; what reads cubes and models is imported here, where it is needed."""
    from sarcast.viewer.view import Shown, open_path

    predictor = None
    if config.model is not None:
        from sarcast.prediction.predictors import load_predictor

        predictor = load_predictor(config.model, precision=config.precision, context=config.context)
    is_given = bool(non_default_flags(config.baseline))
    return open_path(path, Shown(predictor, config.baseline if is_given else None, config.cube))


def _export(path: Path, to: Path, config: ViewConfig) -> None:
    """Write the page atomically."""
    from sarcast.io.files import new_file, new_folder
    from sarcast.viewer.export import write_folder, write_page

    view = _open(path, config).current()
    if to.suffix.lower() in _ONE_FILE:
        if to.exists() and not (config.overwrite and to.is_file()):
            raise SarcastError(f"{to} exists; add --overwrite to replace it, or name another file")
        to.parent.mkdir(parents=True, exist_ok=True)
        with new_file(to) as partial:
            write_page(view, partial)
        _log.info(f"page: {to}")
        return
    with new_folder(to, overwrite=config.overwrite, inputs=[path]) as folder:
        write_folder(view, folder)
        write_record(folder, "view", {"path": path}, config)
    _log.info(f"page: {to / 'index.html'}")
