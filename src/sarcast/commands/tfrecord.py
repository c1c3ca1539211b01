"""``sarcast tfrecord import`` and ``export``: read and write the paper's published data set."""

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
from sarcast.io.images import grid_of_images
from sarcast.io.progress import track
from sarcast.tfrecord import (
    Faults,
    Sample,
    SampleStore,
    fill_store,
    is_store,
    read_samples,
    tfrecord_files,
)
from sarcast.tfrecord import write_samples as write_file
from sarcast.windows import PixelOffset, target_dates, tile_windows

_log = logging.getLogger(__name__)


class ImportConfig(Config):
    """Options of ``sarcast tfrecord import``."""

    to: Path = Field(description="Folder for the imported samples.")
    faults: Faults = Field(
        "fatal", description="A truncated or corrupted record ends the import, or is skipped."
    )
    overwrite: bool = Field(False, description="Replace the folder if it exists.")


class ExportConfig(Config):
    """Options of ``sarcast tfrecord export``."""

    to: Path = Field(description="Folder for the TFRecord files.")
    samples: int = Field(100, ge=1, description="Samples per file.")
    window: int = Field(512, ge=1, description="Side of a window in pixels, for cubes.")
    previous: int = Field(4, ge=1, description="Previous images of a window, for cubes.")
    overwrite: bool = Field(False, description="Replace the folder if it exists.")


def import_samples(files: tuple[Path, ...], *, config: Annotated[ImportConfig, FLAT]) -> None:
    """Import TFRecord files, losslessly, for training and evaluation.

    Parameters
    ----------
    files
        TFRecord files, or folders of them; a file that is named twice is read once.
    """
    by_argument = {argument: tfrecord_files(argument) for argument in files}
    if empty := [str(argument) for argument, paths in by_argument.items() if not paths]:
        raise SarcastError(f"there is no TFRecord file in {', '.join(empty)}")
    unique = {path.resolve(): path for paths in by_argument.values() for path in paths}
    samples = read_samples(track(unique.values(), "importing", len(unique)), config.faults)
    with new_folder(config.to, overwrite=config.overwrite, inputs=files) as folder:
        count = fill_store(folder, samples)
        write_record(folder, "tfrecord import", {"files": list(files)}, config)
    _log.info(f"imported {count} samples of {len(unique)} files: {config.to}")


def export_samples(source: Path, *, config: Annotated[ExportConfig, FLAT]) -> None:
    """Write TFRecord files that the published scripts can read.

    Parameters
    ----------
    source
        Imported samples, or a cube, which is cut into windows side by side; the previous images
        of each are the latest ones.
    """
    with new_folder(config.to, overwrite=config.overwrite, inputs=(source,)) as folder:
        count = 0
        for number, part in enumerate(_chunks(_samples(source, config), config.samples)):
            count += write_file(folder / f"{number:04d}.tfrecord.GZIP", part)
        if count == 0:
            raise SarcastError(
                f"{source} has no window of {config.previous} previous images to export; "
                f"use fewer previous images (--previous), or a cube with more dates"
            )
        write_record(folder, "tfrecord export", {"source": source}, config)
    _log.info(f"exported {count} samples: {config.to}")


def _samples(source: Path, config: ExportConfig) -> Iterator[Sample]:
    if not is_store(source):
        return _windows(open_cube(source), config)
    if ignored := non_default_flags(config, {"window", "previous"}):
        _log.warning(
            f"samples are used as they are: {', '.join(ignored)} have an effect on cubes only"
        )
    store = SampleStore(source)
    return iter(track(store, "exporting", len(store)))


def _chunks(samples: Iterator[Sample], size: int) -> Iterator[list[Sample]]:
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


def _location(cube: xr.Dataset, offset: PixelOffset, size: int) -> str:
    """Centre of a window as well-known text, EPSG:4326."""
    geobox = grid_of_images(cube)
    row, column = (start + size / 2.0 for start in offset)
    centre = point(*(geobox.affine * (column, row)), crs=geobox.crs).to_crs("EPSG:4326")
    x, y = centre.coords[0]
    return f"POINT ({x:.7f} {y:.7f})"
