"""``sarcast evaluate``: simulated changes on a cube or samples, strategies beside the network."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field, field_validator

import sarcast
from sarcast.api import WindowOptions, roles, windows_to_evaluate
from sarcast.commands.config import FLAT, Config, command, non_default_flags, write_record
from sarcast.cube import open_cube
from sarcast.detection.classifiers import Classifier, linear_svc
from sarcast.errors import SarcastError
from sarcast.evaluation.cases import PREDICTION, sample_cases
from sarcast.evaluation.experiment import (
    ExperimentOptions,
    ExperimentResult,
    evaluate_cases,
    run_experiment,
)
from sarcast.evaluation.fitting import every_classifier
from sarcast.evaluation.metrics import Evaluation, Role
from sarcast.evaluation.paper import paper_tables
from sarcast.evaluation.report.html import save_panel_png, write_report
from sarcast.evaluation.report.scenarios import views_of
from sarcast.evaluation.report.tables import show_paper, show_table
from sarcast.evaluation.simulation.changes import (
    Change,
    Deterministic,
    Gaussian,
    Offset,
    Statistical,
)
from sarcast.io.files import new_folder
from sarcast.io.progress import track
from sarcast.prediction import Model, load_model
from sarcast.sensor.conditions import WEATHER
from sarcast.tfrecord import Faults, Sample, SampleStore, is_store, read_samples
from sarcast.windows import BANDS, Predictor
from sarcast.windows.without import Without

_log = logging.getLogger(__name__)


ChangeName = Literal["offset", "statistical", "gaussian", "deterministic"]


class EvaluateConfig(Config):
    """Options of ``sarcast evaluate``."""

    model: Path | None = Field(
        None,
        description="Model folder, or 'base' for the shipped weights; without one strategies, "
        "oracle and recorded predictions.",
    )
    to: Path = Field(description="Folder for evaluation.json and report.html.")
    windows: Annotated[WindowOptions, FLAT] = Field(default_factory=WindowOptions)
    changes: tuple[ChangeName, ...] = Field(
        ("offset",), description="Kinds of simulated change, all put into the same shapes."
    )
    offset: tuple[float, ...] = Field((-2.5, -2.5), description="Offset change of each band, dB.")
    gaussian: float = Field(2.5, gt=0, description="Standard deviation of Gaussian change, dB.")
    classifiers: bool = Field(
        False,
        description="Also learn every classifier on the first windows and try it on the rest.",
    )
    paper: bool = Field(
        False,
        description="Repeat the paper: its changes, its filter, the linear SVC and the network "
        "without weather; its tables are printed beside ours.",
    )
    faults: Faults = Field(
        "fatal", description="A damaged TFRecord ends the evaluation, or is skipped."
    )
    seed: int = Field(0, ge=0, description="Seed of the simulated changes.")
    counting: Annotated[ExperimentOptions, FLAT] = Field(default_factory=ExperimentOptions)
    overwrite: bool = Field(False, description="Replace the folder if it is there.")

    @field_validator("offset")
    @classmethod
    def _each_band(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(values) != len(BANDS):
            raise ValueError(f"one value a band is needed, {' and '.join(BANDS)}")
        return values


def evaluate(source: Path, *, config: Annotated[EvaluateConfig, FLAT]) -> None:
    """Prove by simulated change how much better the improved difference image is.

    Parameters
    ----------
    source
        A cube, as ``sarcast cube`` builds it, a TFRecord file or a folder of them,
        or what ``sarcast tfrecord import`` wrote.
    """
    if config.paper and (ignored := non_default_flags(config, {"changes", "offset"})):
        _log.warning(f"--paper makes the paper's changes: {', '.join(ignored)} count without it")
    read = [path for path in (source, config.model) if path is not None]
    with new_folder(config.to, overwrite=config.overwrite, inputs=read) as folder:
        model = None if config.model is None else load_model(config.model)
        held = is_store(source) or tfrecords(source)
        found, data = (_of_samples if held else _of_cube)(source, model, config)
        evaluation = found.evaluation(
            f"Simulated change in {source.name}",
            {**_provenance(source, model, config), **data},
            rng=np.random.default_rng(config.seed),
        )
        evaluation.write(folder / "evaluation.json")
        tables = paper_tables(evaluation) if config.paper else []
        views = views_of(model, found.example) if model and found.example else []
        path = folder / "report.html"
        write_report(evaluation, found.panels, path, views=views, beside=tables)
        if found.panels:
            save_panel_png(found.panels[0], folder / "panel.png")
        write_record(folder, "evaluate", {"source": source}, config)
    _tell_what_is_missing(evaluation, config)
    show_table(evaluation)
    for table in tables:
        show_paper(table)
    _log.info(f"report: {config.to / 'report.html'}")


def _tell_what_is_missing(evaluation: Evaluation, config: EvaluateConfig) -> None:
    for change in _changes(config):
        if change.name not in evaluation.changes:
            _log.warning(f"no window has what the change {change.name!r} takes, so none was made")


def tfrecords(source: Path) -> list[Path]:
    """TFRecord files that a path names: itself, or those in the folder; none for a cube."""
    named = sorted(source.glob("*.tfrecord*")) if source.is_dir() else [source]
    return [path for path in named if ".tfrecord" in path.name and path.is_file()]


def samples_of(source: Path, faults: Faults = "fatal") -> tuple[Sample, Iterator[Sample]]:
    """Give the first sample of TFRecord files or of an import, and all of them, one at a time.

    Parameters
    ----------
    source
        What ``sarcast tfrecord import`` wrote, a TFRecord file or a folder of them.
    faults
        What is done with a damaged record, as in ``read_samples``.

    Raises
    ------
    SarcastError
        If there is none.
    """
    if is_store(source):
        store = SampleStore(source)
        return store[0], iter(track(store, "samples", len(store)))
    files = tfrecords(source)
    first = next(read_samples(files, faults), None)
    if first is None:
        raise SarcastError(f"{source} holds no sample; name TFRecord files that hold some")
    return first, read_samples(track(files, "files", len(files)), faults)


def _of_cube(
    path: Path, model: Model | None, config: EvaluateConfig
) -> tuple[ExperimentResult, dict[str, Any]]:
    cube = open_cube(path)
    targets, windows = windows_to_evaluate(cube, [model] if model else [], config.windows)
    found = run_experiment(
        windows,
        _predictors(model, config, oracle="expected" in cube),
        _changes(config),
        _counting(config),
        _classifiers(config),
        rng=np.random.default_rng(config.seed),
    )
    return found, _span(path, cube, targets)


def _of_samples(
    path: Path, model: Model | None, config: EvaluateConfig
) -> tuple[ExperimentResult, dict[str, Any]]:
    if ignored := non_default_flags(config.windows):
        _log.warning(f"samples are taken as they are: {', '.join(ignored)} count for cubes alone")
    if model is not None and str(path) in model.training.get("cubes", ()):
        _log.warning(
            f"the network was trained on samples of {path} up to "
            f"{model.training['seen_until']}: its figures on these are too good"
        )
    rng, (first, samples) = np.random.default_rng(config.seed), samples_of(path, config.faults)
    counting = _counting(config)
    recorded: dict[str, Role] = {} if first.prediction is None else {PREDICTION: "network"}
    kept = [c for c in _changes(config) if first.shapes is None or c.name != "statistical"]
    found = evaluate_cases(
        sample_cases(samples, kept, counting.shapes, counting.within, rng=rng),
        _predictors(model, config, oracle=False),
        counting,
        _classifiers(config),
        recorded,
    )
    return found, {"samples": str(path)}


def _changes(config: EvaluateConfig) -> list[Change]:
    if config.paper:
        return [Offset(), Statistical()]
    kinds: dict[str, Change] = {
        "offset": Offset(config.offset),
        "statistical": Statistical(),
        "gaussian": Gaussian(config.gaussian),
        "deterministic": Deterministic(),
    }
    return [kinds[name] for name in config.changes]


def _counting(config: EvaluateConfig) -> ExperimentOptions:
    return config.counting.model_copy(update={"paper_filter": True} if config.paper else {})


def _classifiers(config: EvaluateConfig) -> list[Classifier]:
    (rng,) = np.random.default_rng(config.seed).spawn(1)
    if config.classifiers:
        return every_classifier(rng=rng)
    return [linear_svc(rng=rng)] if config.paper else []


def _predictors(
    model: Model | None, config: EvaluateConfig, *, oracle: bool
) -> dict[Role, list[Predictor]]:
    networks: list[Predictor] = [] if model is None else [model]
    if model is not None and config.paper:
        networks.append(Without(model, WEATHER, f"{model.name} without weather"))
    return roles(networks, oracle=oracle)


def _span(path: Path, cube: xr.Dataset, targets: list[int]) -> dict[str, Any]:
    times = cube["time"].values[targets]
    first, last = (np.datetime_as_string(one, unit="D") for one in (times.min(), times.max()))
    rows, columns = cube.sizes["y"], cube.sizes["x"]
    return {
        "cube": f"{path}: {cube.sizes['time']} dates, {rows} x {columns} pixels",
        "target dates": f"{len(targets)}, {first} to {last}",
    }


def _provenance(path: Path, model: Model | None, config: EvaluateConfig) -> dict[str, Any]:
    told = {"command": command("evaluate", [path], config)}
    if model is not None:
        told["network"] = _network(model)
    return {**told, "sarcast": sarcast.__version__, "seed": config.seed}


def _network(model: Model) -> str:
    """Name of a network, and what its folder tells of its training, the last one if adapted."""
    made = {**model.training, **model.training.get("adapted", {})}
    dates = made.get("training_dates")
    told = {
        "trained on {}": " to ".join(dates) if dates else None,
        "{} steps": made.get("best_step"),
        "{} s": made.get("seconds"),
    }
    return ", ".join(
        [model.name, *(form.format(it) for form, it in told.items() if it is not None)]
    )
