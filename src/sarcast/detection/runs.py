"""A run, as a database keeps it: what was asked, of which data, by which model."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import shapely
import xarray as xr
from shapely.geometry.base import BaseGeometry

from sarcast.catalogue.location import MALFORMED, time_range
from sarcast.catalogue.scene import grid_fields
from sarcast.cube.dates import iso_time
from sarcast.errors import SarcastError
from sarcast.io.documents import parse_json, read_yaml
from sarcast.io.images import grid_of_images
from sarcast.io.results import FILES, RECORD

ITEM = "item.json"
HISTORY = "history.csv"
"""History of the events of a monitor."""
MODEL, MODEL_SHA256, INPUTS = "sarcast:model", "sarcast:model_sha256", "sarcast:inputs"
"""Properties of the item of a run: name of its model, hash of its weights, of what it read."""
MONITOR, STATE = "sarcast:monitor", "sarcast:state"
"""Further ones of a monitor: its id, which all of its runs share, and the id of its state."""
ID_DIGITS = 16
"""Hexadecimal digits of an id: enough for 10 million runs without a collision."""
_ABOUT_THE_OUTPUT = {"cube", "to", "overwrite", "events"}
"""Options that say where the result and the cube are, and so do not tell runs apart."""


@dataclass(frozen=True)
class Run:
    """A run of a verb.

    Attributes
    ----------
    verb
        Its verb.
    cube
        Path of the cube, as given.
    grid
        Grid of the results, in the fields of STAC's projection extension.
    footprint
        Of the grid, degrees.
    model, model_sha256
        Name of the model or strategy, and hash of its weights if it has any.
    options
        Resolved options of the verb.
    inputs
        What was read: hash of the acquisitions and the model, as by ``inputs_hash``; of a monitor,
        the id of its state; of runs that stored neither, the path of the cube.
    first, last
        Acquisition times of the first and last watched acquisition.
    software
        Version of sarcast.
    monitor
        Id of the monitor whose run it is; None for a single detection.
    """

    verb: str
    cube: str
    grid: Mapping[str, Any]
    footprint: BaseGeometry
    model: str
    model_sha256: str | None
    options: Mapping[str, Any]
    inputs: str
    first: np.datetime64
    last: np.datetime64
    software: str
    monitor: str | None = None

    @property
    def run_id(self) -> str:
        """Hash of what was asked of which data: a run that is repeated has the same."""
        asked = {k: v for k, v in self.options.items() if k not in _ABOUT_THE_OUTPUT}
        times = [iso_time(time) for time in (self.first, self.last)]
        return _hash([self.verb, asked, self.inputs, self.grid, times, self.monitor])[:ID_DIGITS]

    @property
    def series_id(self) -> str:
        """Id that the run shares with those that continue it: its monitor's, else its own."""
        return self.monitor or self.run_id


def inputs_hash(cube: xr.Dataset, last: np.datetime64, model: Mapping[str, Any]) -> str:
    """Hash of what a result depends on besides the options of its verb.

    Parameters
    ----------
    cube
        As opened; acquisitions after the last one that was watched do not matter.
    last
        Time of the last watched acquisition.
    model
        What tells the model from others, such as its name and the hash of its weights.
    """
    seen = cube.sel(time=slice(None, last))
    scenes = seen["scene_id"].values if "scene_id" in seen.coords else np.array([])
    return _hash(
        [
            grid_fields(grid_of_images(cube["backscatter"])),
            cube["band"].values.tolist(),
            {name: cube.attrs.get(name) for name in ("resampling", "speckle_filter")},
            [iso_time(time) for time in seen["time"].values],
            [str(scene) for scene in scenes],
            model,
        ]
    )


def read_run(folder: Path) -> Run:
    """Read the run behind a result from its folder.

    Parameters
    ----------
    folder
        With ``item.json`` and ``run.yaml``, as ``sarcast detect`` writes it.

    Raises
    ------
    SarcastError
        If it is another folder, or one of the files was damaged.
    """
    item = read_item(folder)
    verb, options = _read_options(folder)
    first, last = (np.datetime64(time.replace(tzinfo=None), "s") for time in time_range(item))
    try:
        return Run(
            verb=verb,
            cube=str(options["cube"]),
            grid={k: v for k, v in item.properties.items() if k.startswith("proj:")},
            footprint=shapely.geometry.shape(item.geometry),
            model=str(item.properties[MODEL]),
            model_sha256=item.properties.get(MODEL_SHA256),
            options=options,
            inputs=str(item.properties.get(INPUTS, item.properties.get(STATE, options["cube"]))),
            first=first,
            last=last,
            software=str(item.properties["processing:software"]["sarcast"]),
            monitor=item.properties.get(MONITOR),
        )
    except MALFORMED as error:
        raise SarcastError(
            f"{folder} does not say what it was made from ({error!r} in {ITEM} or {RECORD}); "
            f"run sarcast {verb} again"
        ) from error


def read_item(folder: Path) -> pystac.Item:
    """Read the STAC item of a result folder; its hrefs are relative to the folder."""
    path = folder / ITEM
    try:
        item = pystac.Item.from_dict(parse_json(path.read_bytes()))
    except FileNotFoundError as error:
        raise SarcastError(
            f"{path} does not exist: expected a folder that sarcast detect wrote"
        ) from error
    except (OSError, *MALFORMED) as error:
        raise SarcastError(f"{path} is not a STAC item: {error}") from error
    item.set_self_href(path.resolve().as_posix())
    return item


def _read_options(folder: Path) -> tuple[str, dict[str, Any]]:
    """Verb and options of the record of a folder."""
    path = folder / RECORD
    try:
        content = read_yaml(path)
        verb = next(name for name in content if name != FILES)
        return verb, dict(content[verb])
    except (OSError, StopIteration, *MALFORMED) as error:
        raise SarcastError(
            f"{path} is not a record of options as sarcast writes it; run the verb again"
        ) from error


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
