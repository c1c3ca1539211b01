"""``sarcast evaluate``: simulated change in a cube or samples, by strategies and network."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import numpy as np
import xarray as xr
from pydantic import Field, field_validator

import sarcast
from sarcast.commands.config import FLAT, Config, command, non_default_flags, write_record
from sarcast.commands.model_options import Computed, Context
from sarcast.cube import open_cube
from sarcast.detection.classifiers import Classifier, linear_svc
from sarcast.detection.detect import DetectOptions
from sarcast.errors import SarcastError, UsageError
from sarcast.evaluation.cases import PREDICTION, sample_cases
from sarcast.evaluation.detection.evaluate import Dates, DetectionTestOptions, evaluate_detection
from sarcast.evaluation.detection.truth import read_truth
from sarcast.evaluation.experiment import (
    ExperimentOptions,
    ExperimentResult,
    evaluate_cases,
    run_experiment,
)
from sarcast.evaluation.fitting import every_classifier
from sarcast.evaluation.metrics import Evaluation, Role
from sarcast.evaluation.metrics.detections import DetectionEvaluation
from sarcast.evaluation.paper import paper_tables
from sarcast.evaluation.report.detection import detection_headline, write_detection_report
from sarcast.evaluation.report.html import save_panel_png, write_report
from sarcast.evaluation.report.scenarios import expected_scenarios
from sarcast.evaluation.report.tables import show_comparison, show_detection, show_table
from sarcast.evaluation.simulation.changes import (
    Change,
    Deterministic,
    Gaussian,
    Offset,
    Statistical,
)
from sarcast.evaluation.targets import WindowOptions, predictors_by_role, windows_to_evaluate
from sarcast.io.files import new_folder
from sarcast.io.images import grid_of_images
from sarcast.prediction import DEFAULT_CONTEXT, DEFAULT_PRECISION, Model, load_model
from sarcast.sensor.conditions import WEATHER
from sarcast.tfrecord import Faults, is_store, open_samples, tfrecord_files
from sarcast.windows import BANDS, Predictor, bands_of, join_names
from sarcast.windows.masking import MaskedPredictor

_log = logging.getLogger(__name__)


ChangeName = Literal["offset", "statistical", "gaussian", "deterministic"]


class EvaluateConfig(Config):
    """Options of ``sarcast evaluate``."""

    model: Path | None = Field(
        None,
        description="Model folder, or 'base' for the shipped weights; without a model, "
        "strategies, oracle and recorded predictions are evaluated.",
    )
    precision: Computed = DEFAULT_PRECISION
    context: Context = DEFAULT_CONTEXT
    to: Path = Field(description="Folder for evaluation.json and report.html.")
    windows: Annotated[WindowOptions, FLAT] = Field(default_factory=WindowOptions)
    changes: tuple[ChangeName, ...] = Field(
        ("offset",), description="Kinds of simulated change, all in the same shapes."
    )
    offset: tuple[float, ...] = Field(
        (-2.5, -2.5), description="Offset change of VV or HH and of VH or HV, dB."
    )
    gaussian: float = Field(2.5, gt=0, description="Standard deviation of Gaussian change, dB.")
    detection: bool = Field(
        False,
        description="Evaluate detection over several acquisitions in place of single dates: which "
        "changes are found, and how many events are false.",
    )
    truth: Path | None = Field(
        None,
        description="With --detection: polygons of true changes with a column 'date', in any "
        "format and CRS; default: changes are simulated.",
    )
    map: Path | None = Field(
        None,
        description="With --detection: page that sarcast view --export wrote, to which the report "
        "links.",
    )
    testing: Annotated[DetectionTestOptions, FLAT] = Field(default_factory=DetectionTestOptions)
    detect: DetectOptions = Field(
        default_factory=DetectOptions,
        description="With --detection: how change is found, as by sarcast detect.",
    )
    classifiers: bool = Field(
        False,
        description="Also fit every classifier on the first windows and evaluate it on the rest.",
    )
    paper: bool = Field(
        False,
        description="Repeat the paper's experiment: its changes, its filter, the linear SVC and "
        "the network without weather; its tables are printed beside the results.",
    )
    faults: Faults = Field(
        "fatal", description="A damaged TFRecord ends the evaluation, or is skipped."
    )
    seed: int = Field(0, ge=0, description="Seed of the simulated changes.")
    counting: Annotated[ExperimentOptions, FLAT] = Field(default_factory=ExperimentOptions)
    overwrite: bool = Field(False, description="Replace the folder if it exists.")

    @field_validator("offset")
    @classmethod
    def _check_bands(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(values) != len(BANDS):
            raise ValueError(f"one value per band is needed, {' and '.join(BANDS)}")
        return values


def evaluate(source: Path, *, config: Annotated[EvaluateConfig, FLAT]) -> None:
    """Measure by simulated change how much better the improved difference image is.

    Parameters
    ----------
    source
        A cube built by ``sarcast cube``, a TFRecord file or a folder of them, or samples imported
        by ``sarcast tfrecord import``.
    """
    if config.paper and (ignored := non_default_flags(config, {"changes", "offset"})):
        _log.warning(f"--paper simulates the paper's changes: {', '.join(ignored)} have no effect")
    inputs = [path for path in (source, config.model) if path is not None]
    _check_detection(source, config)
    with new_folder(config.to, overwrite=config.overwrite, inputs=inputs) as folder:
        model = None
        if config.model is not None:
            model = load_model(config.model, precision=config.precision, context=config.context)
            config = config.model_copy(update={"precision": model.precision})
        if config.detection:
            _evaluate_detection(source, model, config, folder)
            write_record(folder, "evaluate", {"source": source}, config)
            return
        has_samples = is_store(source) or tfrecord_files(source)
        run = _evaluate_samples if has_samples else _evaluate_cube
        result, changes, data = run(source, model, config)
        evaluation = result.evaluation(
            f"Simulated change in {source.name}",
            {**_provenance(source, model, config), **data},
            rng=np.random.default_rng(config.seed),
        )
        evaluation.write(folder / "evaluation.json")
        tables = paper_tables(evaluation) if config.paper else []
        example = result.example
        scenarios = expected_scenarios(model, example) if model and example else []
        path = folder / "report.html"
        write_report(evaluation, result.panels, path, scenarios=scenarios, comparisons=tables)
        if result.panels:
            save_panel_png(result.panels[0], folder / "panel.png")
        write_record(folder, "evaluate", {"source": source}, config)
    _warn_of_missing_changes(evaluation, changes)
    show_table(evaluation)
    for table in tables:
        show_comparison(table)
    _log.info(f"report: {config.to / 'report.html'}")


def _check_detection(source: Path, config: EvaluateConfig) -> None:
    """Refuse samples and options that have no meaning with, or without, ``--detection``."""
    flags = {"truth", "map", *DetectionTestOptions.model_fields, "detect"}
    if not config.detection:
        if given := non_default_flags(config, flags):
            raise UsageError(f"{', '.join(given)} takes effect with --detection only")
    elif is_store(source) or tfrecord_files(source):
        raise SarcastError(
            f"{source} holds samples of single dates; detection over acquisitions needs a cube"
        )
    if config.map is not None and not config.map.exists():
        raise SarcastError(f"{config.map} does not exist; write it with sarcast view --export")


def _evaluate_detection(
    source: Path, model: Model | None, config: EvaluateConfig, folder: Path
) -> None:
    """Write ``detection.json`` and the report of an evaluation of detection."""
    cube = open_cube(source)
    truth = None if config.truth is None else read_truth(config.truth, grid_of_images(cube))
    simulated, resampled = np.random.default_rng(config.seed).spawn(2)
    result = evaluate_detection(
        cube,
        model,
        config.testing,
        config.detect,
        truth=truth,
        dates=Dates(config.windows.start, config.windows.end),
        rng=simulated,
    )
    what = "Simulated changes" if truth is None else f"Changes of {config.truth.name}"  # type: ignore[union-attr]
    evaluation = DetectionEvaluation.of(
        result.scores,
        f"{what} found in {source.name}",
        config.detect.false_events,
        {**_provenance(source, model, config), "cube": str(source)},
        rng=resampled,
    )
    evaluation.write(folder / "detection.json")
    write_detection_report(evaluation, result.maps, folder / "report.html", _link(config))
    show_detection(evaluation)
    for sentence in detection_headline(evaluation):
        _log.info(sentence)
    _log.info(f"report: {config.to / 'report.html'}")


def _link(config: EvaluateConfig) -> str:
    """Address of the map, from the folder of the report; empty without a map."""
    if config.map is None:
        return ""
    return quote(Path(os.path.relpath(config.map, config.to)).as_posix())


def _warn_of_missing_changes(evaluation: Evaluation, changes: Sequence[Change]) -> None:
    for change in changes:
        if change.name not in evaluation.changes:
            _log.warning(
                f"the change {change.name!r} was not simulated: no window has what it needs"
            )


def _evaluate_cube(
    path: Path, model: Model | None, config: EvaluateConfig
) -> tuple[ExperimentResult, list[Change], dict[str, Any]]:
    cube = open_cube(path)
    targets, windows = windows_to_evaluate(cube, [model] if model else [], config.windows)
    changes = _changes(config, bands_of(cube.isel(time=targets)))
    result = run_experiment(
        windows,
        _predictors(model, config, oracle="expected" in cube),
        changes,
        _counting(config),
        _classifiers(config),
        rng=np.random.default_rng(config.seed),
    )
    return result, changes, _cube_provenance(path, cube, targets)


def _evaluate_samples(
    path: Path, model: Model | None, config: EvaluateConfig
) -> tuple[ExperimentResult, list[Change], dict[str, Any]]:
    if ignored := non_default_flags(config.windows):
        _log.warning(
            f"samples are used as they are: {', '.join(ignored)} have an effect on cubes only"
        )
    if model is not None and str(path) in model.training.get("cubes", ()):
        _log.warning(
            f"the network was trained on samples of {path} up to "
            f"{model.training['seen_until']}; its results on these are too optimistic"
        )
    rng, (first, samples) = np.random.default_rng(config.seed), open_samples(path, config.faults)
    counting = _counting(config)
    recorded: dict[str, Role] = {} if first.prediction is None else {PREDICTION: "network"}
    changes = [c for c in _changes(config) if first.shapes is None or c.name != "statistical"]
    result = evaluate_cases(
        sample_cases(samples, changes, counting.shapes, counting.within, rng=rng),
        _predictors(model, config, oracle=False),
        counting,
        _classifiers(config),
        recorded,
    )
    return result, _changes(config), {"samples": str(path)}


def _changes(config: EvaluateConfig, bands: Sequence[str] = BANDS) -> list[Change]:
    """Give the changes to simulate in images of some bands, co- or cross-polarised."""
    if config.paper:
        return [Offset(), Statistical()]
    copolarised, cross = config.offset
    kinds: dict[str, Change] = {
        "offset": Offset(tuple(copolarised if b[0] == b[1] else cross for b in bands)),
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
        networks.append(MaskedPredictor(model, WEATHER, f"{model.name} without weather"))
    return predictors_by_role(networks, oracle=oracle)


def _cube_provenance(path: Path, cube: xr.Dataset, targets: list[int]) -> dict[str, Any]:
    times = cube["time"].values[targets]
    first, last = (np.datetime_as_string(time, unit="D") for time in (times.min(), times.max()))
    rows, columns = cube.sizes["y"], cube.sizes["x"]
    bands = join_names(bands_of(cube.isel(time=targets)))
    return {
        "cube": f"{path}: {cube.sizes['time']} dates, {rows} x {columns} pixels, {bands}",
        "target dates": f"{len(targets)}, {first} to {last}",
    }


def _provenance(path: Path, model: Model | None, config: EvaluateConfig) -> dict[str, Any]:
    provenance = {"command": command("evaluate", [path], config)}
    if model is not None:
        provenance["network"] = _describe_network(model)
    return {**provenance, "sarcast": sarcast.__version__, "seed": config.seed}


def _describe_network(model: Model) -> str:
    """Name, training dates, steps and seconds of a network; of its adaptation if it has one."""
    training = {**model.training, **model.training.get("adapted", {})}
    dates = training.get("training_dates")
    facts = {
        "trained on {}": " to ".join(dates) if dates else None,
        "{} steps": training.get("best_step"),
        "{} s": training.get("seconds"),
    }
    known = [form.format(value) for form, value in facts.items() if value is not None]
    return ", ".join([model.name, *known])
