"""What a Dask cluster must share with this process: the files of a cube, and a scratch folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import xarray as xr

from sarcast.cube.executor import WorkerOptions, Workers, start_workers
from sarcast.errors import SarcastError, first_line
from sarcast.io.scratch import CHUNK_PX, Scratch

MARK = "shared"
"""File in the scratch folder by which workers see that it is the same one."""
ROWS = 5
"""Rows of an image that are searched for a pixel with data."""


@contextmanager
def open_workers(
    cube: xr.Dataset, options: WorkerOptions, scratch: Scratch
) -> Iterator[tuple[xr.Dataset, Workers]]:
    """Start workers for a cube, and stop them at the end.

    Parameters
    ----------
    cube
        What they will read.
    options
        Where they run.
    scratch
        Where results are kept; on disk, if the workers belong to a cluster.

    Yields
    ------
    cube, workers
        The cube in a form that tasks of these workers can carry: without pixels, for a cluster.

    Raises
    ------
    SarcastError
        As ``start_workers``, or if a worker of the cluster does not see the same files.
    """
    with start_workers(options) as workers:
        if workers.cluster is not None and scratch.folder is not None:
            _check_folder(workers, scratch.folder)
            cube = on_disk(cube, scratch)
            _check_cube(workers, cube)
        yield cube, workers


def on_disk(cube: xr.Dataset, scratch: Scratch) -> xr.Dataset:
    """Write images that are in memory to files, from which they are read when they are used."""
    written = {
        name: _written(image.variable, scratch)
        for name, image in cube.data_vars.items()
        if {"y", "x"} <= {*image.dims} and image.variable._in_memory
    }
    return cube.assign(written)


def _written(image: xr.Variable, scratch: Scratch) -> xr.Variable:
    chunk = [min(side, CHUNK_PX) if d in ("y", "x") else 1 for d, side in image.sizes.items()]
    array = scratch.array(image.shape, image.dtype, chunk)
    array[...] = image.values
    # tasks refer to it: it must not keep the folder
    lazy = replace(scratch, owner=None).variable(image.dims, array, image.dtype)
    lazy.attrs.update(image.attrs)
    return lazy


def _check_folder(workers: Workers, folder: Path) -> None:
    """Make sure that all workers read and write a folder as this process does."""
    mark = uuid4().hex
    (folder / MARK).write_text(mark, encoding="ascii")
    for address, found in workers.everywhere(_see_folder, folder).items():
        if isinstance(found, BaseException):
            raise _unseen(address, f"use the folder {folder}", found)
        if found[0] != mark or not (folder / found[1]).exists():
            raise _unseen(address, f"use the folder {folder}", "it has another one of this name")


def _see_folder(folder: Path) -> tuple[str, str]:
    """Read the mark, and write a file; give the mark and the name of the file."""
    name = f"{MARK}-{uuid4().hex}"
    (folder / name).touch()
    return (folder / MARK).read_text(encoding="ascii"), name


def _check_cube(workers: Workers, cube: xr.Dataset) -> None:
    """Make sure that all workers read a cube as this process does.

    A file of pixels that is not found counts as one without data, so that a value is compared.
    """
    pixel = _pixel_with_data(cube["backscatter"].variable)
    if pixel is None:
        return
    by_worker = workers.everywhere(_read, pixel)
    value = _read(pixel)  # not before, since it stays with the pixel
    for address, found in by_worker.items():
        if isinstance(found, BaseException):
            raise _unseen(address, "read the cube", found)
        if found != value:
            raise _unseen(address, "read the cube", f"it finds {found:g} where {value:g} dB stand")


def _pixel_with_data(images: xr.Variable) -> xr.Variable | None:
    """A pixel of the latest image that has data in some rows; None if there is none."""
    rows = np.unique(np.linspace(0, images.sizes["y"] - 1, ROWS).round().astype(int)).tolist()
    for time in reversed(range(images.sizes["time"])):
        for row in rows:
            line = images.isel(time=time, y=row)
            known = np.argwhere(np.isfinite(line.values))
            if len(known):  # from the images anew, since what was read of them stays with the line
                place = dict(zip(line.dims, known[0].tolist(), strict=True))
                return images.isel({"time": time, "y": row, **place})
    return None


def _read(pixel: xr.Variable) -> float:
    return float(pixel.values)


def _unseen(address: str, what: str, why: object) -> SarcastError:
    said = first_line(why) if isinstance(why, BaseException) else str(why)
    return SarcastError(
        f"the Dask worker {address} cannot {what} ({said}): the workers and this process must see "
        f"the same files at the same paths; put cube and result where all of them do"
    )
