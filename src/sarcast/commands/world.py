"""``sarcast world``: write a synthetic area as files like those of real data."""

import logging
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sarcast.commands.config import FLAT, Config, write_record
from sarcast.io.files import new_folder
from sarcast.world.options import WorldOptions
from sarcast.world.writer import write_world

_log = logging.getLogger(__name__)


class WorldConfig(Config):
    """Options of ``sarcast world``."""

    world: Annotated[WorldOptions, FLAT] = Field(default_factory=WorldOptions)
    seed: int = Field(0, ge=0, description="Random seed: the same seed gives the same files.")
    overwrite: bool = Field(False, description="Replace the folder if it exists.")


_DEFAULT = WorldConfig()


def world(folder: Path, *, config: Annotated[WorldConfig, FLAT] = _DEFAULT) -> None:
    """Write a synthetic area: scenes, DEM, weather, land cover, truth and their catalogue.

    Parameters
    ----------
    folder
        Folder to write.
    """
    with new_folder(folder, overwrite=config.overwrite) as partial:
        write_world(partial, config.world, seed=config.seed)
        write_record(partial, "world", {}, config)
    _log.info(f"world: {folder} (continue with: sarcast cube {folder} --to CUBE)")
