"""``sarcast tfrecord import`` and ``export``: the paper's published data set, in and out."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from odc.geo.geom import point
from pydantic import Field

from sarcast.commands.config import FLAT, Config, non_default_flags, write_record
from sarcast.cube import open_cube
from sarcast.errors import SarcastError
from sarcast.io.files import new_folder
from sarcast.io.progress import track
from sarcast.tfrecord import (
    Faults,
    Sample,
    SampleStore,
    is_store,
    read_samples,
    tfrecord_files,
    write_store,
)
from sarcast.tfrecord import write_samples as write_file
from sarcast.windows import target_dates, tile_windows

_log = logging.getLogger(__name__)


class ImportConfig(Config):
    """Options of ``sarcast tfrecord import``."""

    to: Path = Field(description="Folder for the imported samples.")
    faults: Faults = Field(
        "fatal", description="A truncated or corrupted record ends the import, or is skipped."
    )
    overwrite: bool = Field(False, description="Replace the folder if it is there.")


class ExportConfig(Config):
    """Options of ``sarcast tfrecord export``."""

    to: Path = Field(description="Folder for the TFRecord files.")
    samples: int = Field(100, ge=1, description="Samples in a file.")
    window: int = Field(512, ge=1, description="Pixels a side of a window, for cubes.")
    previous: int = Field(4, ge=1, description="Previous images of a window, for cubes.")
    overwrite: bool = Field(False, description="Replace the folder if it is there.")


def import_samples(files: tuple[Path, ...], *, config: Annotated[ImportConfig, FLAT]) -> None:
    """Import TFRecord files, losslessly, for training and evaluation.

    Parameters
    ----------
    files
        TFRecord files, or folders of them; one that is named twice counts once.
    """
    held = {named: tfrecord_files(named) for named in files}
    if empty := [str(named) for named, paths in held.items() if not paths]:
        raise SarcastError(f"there is no TFRecord file in {', '.join(empty)}")
    found = list({path.resolve(): path for paths in held.values() for path in paths}.values())
    samples = read_samples(track(found, "importing", len(found)), config.faults)
    with new_folder(config.to, overwrite=config.overwrite, inputs=files) as folder:
        count = write_store(folder, samples)
        write_record(folder, "tfrecord import", {"files": list(files)}, config)
    _log.info(f"imported {count} samples of {len(found)} files: {config.to}")


def export_samples(source: Path, *, config: Annotated[ExportConfig, FLAT]) -> None:
    """Write TFRecord files that the published scripts read.

    Parameters
    ----------
    source
        Imported samples, or a cube, whose windows are cut side by side.
    """
    with new_folder(config.to, overwrite=config.overwrite, inputs=(source,)) as folder:
        count = 0
        for number, part in enumerate(_parts(_samples(source, config), config.samples)):
            count += write_file(folder / f"{number:04d}.tfrecord.GZIP", part)
        if count == 0:
            raise SarcastError(
                f"{source} has no window of {config.previous} previous images to export; "
                f"take fewer, or a cube with more dates"
            )
        write_record(folder, "tfrecord export", {"source": source}, config)
    _log.info(f"exported {count} samples: {config.to}")


def _samples(source: Path, config: ExportConfig) -> Iterator[Sample]:
    if not is_store(source):
        return _windows(open_cube(source), config)
    if ignored := non_default_flags(config, {"window", "previous"}):
        _log.warning(f"samples are taken as they are: {', '.join(ignored)} count for cubes alone")
    store = SampleStore(source)
    return iter(track(store, "exporting", len(store)))


def _parts(samples: Iterator[Sample], size: int) -> Iterator[list[Sample]]:
    part: list[Sample] = []
    for sample in samples:
        part.append(sample)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _windows(cube: xr.Dataset, config: ExportConfig) -> Iterator[Sample]:
    targets = target_dates(cube, config.previous)
    names = np.array(cube["scene_id"].values.tolist()) if "scene_id" in cube.coords else None
    times = cube["time"].values
    for target in track(targets.tolist(), "exporting", len(targets)):
        for window in tile_windows(cube, target, config.window, config.previous, chooser="recent"):
            ids = () if names is None else tuple(names[times.searchsorted(window.times)].tolist())
            yield Sample(window, _location(cube, window.offset, config.window), ids)


def _location(cube: xr.Dataset, place: tuple[int, int], size: int) -> str:
    """Centre of a window as well-known text, EPSG:4326."""
    geobox = cube.odc.geobox
    row, column = (start + size / 2.0 for start in place)
    centre = point(*(geobox.affine * (column, row)), crs=geobox.crs).to_crs("EPSG:4326")
    x, y = centre.coords[0]
    return f"POINT ({x:.7f} {y:.7f})"
