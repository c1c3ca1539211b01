"""A report for people who help: the installation, the machine, a cube and a model, checked."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from odc.geo.geobox import GeoBox

from sarcast.cube import open_cube
from sarcast.cube.check.report import check_cube
from sarcast.cube.executor import WorkerOptions
from sarcast.diagnosis.installation import Installation, describe_installation
from sarcast.diagnosis.machine import Machine, Part, describe_machine
from sarcast.errors import SarcastError, first_line
from sarcast.io.images import grid_of_images
from sarcast.prediction import Model, load_model
from sarcast.prediction.model_folder import SHIPPED
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import Predictor, Window
from sarcast.windows.batch import to_windows
from sarcast.windows.synthetic import reference_windows, synthetic
from sarcast.world.reference_windows import find_reference_set

REFERENCE, LARGE_REFERENCE = "boreal-2-small", "boreal-2"
"""Reference sets whose first windows, of 64 and 256 pixels, a model is tried on."""
_SMALL = 64


class CubeCheck(Part):
    """What a cube holds; size in bytes."""

    path: str
    dates: int
    first: str
    last: str
    rows: int
    columns: int
    bands: tuple[str, ...]
    crs: str
    size_bytes: int


class ModelCheck(Part):
    """A model, tried on synthetic windows.

    Attributes
    ----------
    name, network
        Name of the model and kind of its network.
    device, precision
        Where and in which number format it computes.
    windows, size
        Number of windows and their side, pixels.
    error_db, mean_error_db
        Root mean square error against the expected image of the synthetic world, dB; of the model,
        and of the mean of the previous images.
    seconds
        Time to predict the windows.
    """

    name: str
    network: str
    device: str
    precision: str
    windows: int
    size: int
    error_db: float
    mean_error_db: float
    seconds: float


class Diagnosis(Part):
    """Result of ``diagnose``.

    Attributes
    ----------
    installation, machine
        What is installed, and on what.
    cube, model
        What was checked; None where nothing was given or nothing could be read.
    warnings, faults
        What may go wrong, and what will; one line each.
    """

    installation: Installation
    machine: Machine
    cube: CubeCheck | None
    model: ModelCheck | None
    warnings: tuple[str, ...]
    faults: tuple[str, ...]


def diagnose(
    cube: Path | str | None = None,
    model: Path | str | None = None,
    *,
    workers: WorkerOptions = WorkerOptions(),  # noqa: B008 - frozen
) -> Diagnosis:
    """Check the installation and this machine, a cube and a model, and describe them.

    Parameters
    ----------
    cube
        A cube, of which every chunk is read.
    model
        A model folder, or ``"base"``; it predicts a few synthetic windows.
    workers
        Threads of this machine, or a Dask cluster, that read the cube.

    Returns
    -------
    Diagnosis
        It contains paths of this machine, but no credentials. Whatever is wrong is a line in it.

    Examples
    --------
    >>> from sarcast.diagnosis import diagnose
    >>> diagnose().faults
    ()
    """
    installation, faults = describe_installation()
    path = None if cube is None else Path(cube)
    machine, warnings = describe_machine([path] if path is not None and path.exists() else [])
    cube_check, model_check = None, None
    try:
        if path is not None:
            cube_check = _check_cube(path, workers, warnings, faults)
    except (SarcastError, OSError) as error:
        faults.append(f"the cube: {first_line(error)}")
    try:
        if model is not None:
            model_check = _check_model(model, cube_check, warnings, faults)
    except (SarcastError, OSError) as error:
        faults.append(f"the model: {first_line(error)}")
    return Diagnosis(
        installation=installation,
        machine=machine,
        cube=cube_check,
        model=model_check,
        warnings=tuple(warnings),
        faults=tuple(faults),
    )


# --- cube -----------------------------------------------------------------------------------------


def _check_cube(
    path: Path, workers: WorkerOptions, warnings: list[str], faults: list[str]
) -> CubeCheck:
    """Check a cube, add to the warnings and faults, and describe it."""
    report = check_cube(path, workers=workers)
    warnings += [f"the cube: {line}" for line in report.warnings]
    faults += [f"the cube: {line}" for line in report.faults]
    cube = open_cube(path)
    times = [str(time.astype("datetime64[D]")) for time in cube["time"].values]
    if not times:
        raise SarcastError(f"{path} holds no date yet; run the sarcast cube that builds it again")
    return CubeCheck(
        path=str(path.resolve()),
        dates=len(times),
        first=times[0],
        last=times[-1],
        rows=cube.sizes["y"],
        columns=cube.sizes["x"],
        bands=report.bands,
        crs=_crs_name(grid_of_images(cube)),
        size_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
    )


def _crs_name(grid: GeoBox | None) -> str:
    """EPSG code of the CRS of a grid, or its definition where it has none."""
    if grid is None or grid.crs is None:
        return "unknown CRS"
    return f"EPSG:{grid.crs.epsg}" if grid.crs.epsg else str(grid.crs)


# --- model ----------------------------------------------------------------------------------------


def _check_model(
    folder: Path | str, cube: CubeCheck | None, warnings: list[str], faults: list[str]
) -> ModelCheck:
    """Try a model, add to the warnings and faults, and describe it."""
    model = load_model(folder)
    if cube is not None and cube.dates <= (model.previous or 1):
        faults.append(
            f"the model needs {model.previous or 1} previous images and a target, but the cube has "
            f"{cube.dates} dates: add scenes to it"
        )
    windows = _windows_for(model)
    error, mean_error = (_error_db(each, windows) for each in (model, STRATEGIES["mean"]))
    started = perf_counter()
    model.expect(windows)
    seconds = perf_counter() - started
    if not np.isfinite(error):
        faults.append(
            f"the model {model.name} gives values that are no numbers in {model.precision} on this "
            f"machine: try --precision float32, and report it"
        )
    elif error >= mean_error:
        found = (
            f"the model {model.name} predicts synthetic windows with an error of {error:.2f} dB, "
            f"no better than the mean of the previous images ({mean_error:.2f} dB)"
        )
        if str(folder) in SHIPPED:
            faults.append(f"{found}: its weights are damaged, or this machine computes wrongly")
        else:
            warnings.append(f"{found}; it may still suit its own area: see sarcast evaluate")
    return ModelCheck(
        name=model.name,
        network=model.network.kind,
        device=str(next(model.network.parameters()).device),
        precision=model.precision,
        windows=len(windows),
        size=windows[0].target.shape[-1],
        error_db=error,
        mean_error_db=mean_error,
        seconds=seconds,
    )


def _windows_for(model: Model) -> list[Window]:
    """Windows of the size and with the previous images that a model takes.

    They are of a reference set, or drawn like these if those have too few previous images.
    """
    size = model.size or _SMALL
    name = REFERENCE if size <= _SMALL else LARGE_REFERENCE
    drawn = [window for window, _, _ in reference_windows(name, range(1))]
    previous = model.previous or len(drawn[0].previous)
    if previous > len(drawn[0].previous):
        options = find_reference_set(name).options.model_copy(update={"previous": previous})
        drawn = to_windows(synthetic(options, seed=0)(0, 0))
    return [_cut(window, size, previous) for window in drawn]


def _cut(window: Window, size: int, previous: int) -> Window:
    """The upper left corner of a window, with the last of its previous images."""
    corner = (..., slice(size), slice(size))
    assert window.expected is not None
    return replace(
        window,
        previous=window.previous[-previous:][corner],
        conditions=window.conditions[-previous - 1 :],
        times=window.times[-previous - 1 :],
        target=window.target[corner],
        elevation=window.elevation[corner],
        expected=window.expected[corner],
        forest=None,
        open_land=None,
        context=None,
    )


def _error_db(predictor: Predictor, windows: Sequence[Window]) -> float:
    """Root mean square error of expected images, dB; NaN if any is not finite."""
    expected = [each.mean for each in predictor.expect(windows)]
    truth = [window.expected for window in windows if window.expected is not None]
    return float(np.sqrt(np.mean(np.square(np.subtract(expected, truth, dtype=np.float64)))))
