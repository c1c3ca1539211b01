"""``sarcast evaluate``: simulated changes on a cube, every strategy beside the network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr
from pydantic import Field
from rich.console import Console
from rich.table import Table

import sarcast
from sarcast.assess import AssessOptions, assess
from sarcast.config import FLAT, Config, write_record
from sarcast.cube import moment_of, open_cube
from sarcast.errors import SarcastError
from sarcast.evaluate import Evaluation, Role
from sarcast.files import new_folder
from sarcast.mapping import Model, load_model
from sarcast.progress import say, track
from sarcast.report import save_panel_png, write_report
from sarcast.simulate import Offset
from sarcast.strategies import STRATEGIES, Oracle
from sarcast.windows import Predictor, Window, grid, target_dates


class EvaluateConfig(Config):
    """Options of ``sarcast evaluate``."""

    model: Path = Field(description="Model folder.")
    to: Path = Field(description="Folder for evaluation.json and report.html.")
    start: str | None = Field(
        None,
        description="First target date, ISO 8601; default: the one after all dates that the model "
        "was trained and validated on.",
    )
    end: str | None = Field(None, description="Last target date, ISO 8601; default: the last.")
    offset: tuple[float, ...] = Field(
        (-2.5, -2.5), description="Simulated change of each band, dB."
    )
    previous: int = Field(
        4, ge=1, description="Number of previous images, for networks that take any."
    )
    window: int = Field(
        256, ge=16, description="Pixels a side of a window, for networks that take any."
    )
    seed: int = Field(0, ge=0, description="Seed of the simulated changes.")
    counting: Annotated[AssessOptions, FLAT] = Field(default_factory=AssessOptions)
    overwrite: bool = Field(False, description="Replace the folder if it is there.")


def evaluate(cube: Path, *, config: Annotated[EvaluateConfig, FLAT]) -> None:
    """Prove by simulated change how much better the improved difference image is.

    Parameters
    ----------
    cube
        A cube, as ``sarcast cube`` builds it.
    """
    with new_folder(config.to, overwrite=config.overwrite) as folder:
        opened, model = open_cube(cube), load_model(config.model)
        targets = _targets(opened, model, config)
        found = assess(
            _windows(opened, targets, model, config),
            _predictors(opened, model),
            [Offset(config.offset)],
            config.counting,
            rng=np.random.default_rng(config.seed),
        )
        evaluation = found.evaluation(
            f"Simulated change in {cube.name}",
            _provenance(cube, opened, targets, model, config),
            rng=np.random.default_rng(config.seed),
        )
        evaluation.write(folder / "evaluation.json")
        write_report(evaluation, found.panels, folder / "report.html")
        if found.panels:
            save_panel_png(found.panels[0], folder / "panel.png")
        write_record(folder, "evaluate", {"cube": cube}, config)
    show_table(evaluation)
    say(f"report: {config.to / 'report.html'}")


def _targets(cube: xr.Dataset, model: Model, config: EvaluateConfig) -> list[int]:
    start = None if config.start is None else moment_of(config.start)
    last_seen = model.training.get("validation_dates")
    if config.start is None and last_seen:
        start = moment_of(last_seen[-1], last=True)
    end = None if config.end is None else moment_of(config.end, last=True)
    targets = target_dates(cube, model.previous or config.previous, start=start, end=end)
    if len(targets) == 0:
        raise SarcastError(
            f"no date of the cube from {config.start or start or 'the first'} to "
            f"{config.end or 'the last'} has {model.previous or config.previous} previous images; "
            f"give another --start or --end, or a cube with later dates"
        )
    return [int(place) for place in targets]


def _windows(
    cube: xr.Dataset, targets: list[int], model: Model, config: EvaluateConfig
) -> Iterator[Window]:
    size, count = model.size or config.window, model.previous or config.previous
    for target in track(targets, "evaluating", len(targets)):
        yield from grid(cube, target, size, count)


def _predictors(cube: xr.Dataset, model: Model) -> dict[Role, list[Predictor]]:
    predictors: dict[Role, list[Predictor]] = {
        "network": [model],
        "strategy": list(STRATEGIES.values()),
    }
    return {**predictors, "oracle": [Oracle()]} if "expected" in cube else predictors


def _provenance(
    path: Path, cube: xr.Dataset, targets: list[int], model: Model, config: EvaluateConfig
) -> dict[str, Any]:
    times = cube["time"].values[targets]
    first, last = (np.datetime_as_string(one, unit="D") for one in (times.min(), times.max()))
    rows, columns = cube.sizes["y"], cube.sizes["x"]
    return {
        "command": f"sarcast evaluate {path} --model {config.model} --to {config.to}",
        "cube": f"{path}: {cube.sizes['time']} dates, {rows} x {columns} pixels",
        "target dates": f"{len(targets)}, {first} to {last}",
        "network": f"{model.name}, trained on {model.training.get('training_dates')}, "
        f"{model.training.get('best_step')} steps, {model.training.get('seconds')} s",
        "sarcast": sarcast.__version__,
        "seed": config.seed,
    }


def show_table(evaluation: Evaluation) -> None:
    """Print what every method reached, the best last, to standard output."""
    table = Table(title=evaluation.title, title_justify="left")
    for name in ("expected image", "change", "difference image"):
        table.add_column(name)
    for name in ("AUC", "MSE, dB²"):
        table.add_column(name, justify="right")
    for result in sorted(evaluation.results, key=lambda one: one.auc):
        error = "" if result.mse_db2 is None else f"{result.mse_db2:.2f}"
        name = f"{result.method} (network)" if result.role == "network" else result.method
        table.add_row(name, result.change, result.difference, f"{result.auc:.3f}", error)
    Console().print(table)
