"""``sarcast ablate``: networks trained without each condition in turn, on the same windows."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from cyclopts import Group, Parameter
from pydantic import Field

import sarcast
from sarcast.commands.config import FLAT, command, differing_options, write_record
from sarcast.commands.training_options import WINDOW_PX, CubeTrainingConfig, train_on_cubes
from sarcast.cube import open_cube
from sarcast.detection.classifiers import linear_svc
from sarcast.errors import SarcastError
from sarcast.evaluation.cases import sample_cases
from sarcast.evaluation.experiment import (
    ExperimentOptions,
    ExperimentResult,
    evaluate_cases,
    run_experiment,
)
from sarcast.evaluation.metrics import Role
from sarcast.evaluation.paper import ablation_table
from sarcast.evaluation.report.html import write_report
from sarcast.evaluation.report.scenarios import expected_scenarios
from sarcast.evaluation.report.tables import show_comparison, show_table
from sarcast.evaluation.simulation.changes import Offset
from sarcast.evaluation.targets import WindowOptions, windows_to_evaluate
from sarcast.io.files import check_target, exclusive
from sarcast.io.results import RECORD
from sarcast.prediction import Model, load_model
from sarcast.prediction.strategies import STRATEGIES, Oracle
from sarcast.prediction.training.folder import discard_model, is_finished
from sarcast.sensor.conditions import CONDITIONS
from sarcast.tfrecord import Sample, SampleStore, is_store, open_samples
from sarcast.windows import Predictor
from sarcast.windows.masking import MaskedPredictor

_log = logging.getLogger(__name__)

EVALUATION = Parameter(group=Group("Evaluation", sort_key=5))


class AblateConfig(CubeTrainingConfig):
    """Options of ``sarcast ablate``: those of a training run, and more."""

    to: Path = Field(
        description="Folder for the models, evaluation.json and report.html; an interrupted run "
        "there resumes."
    )
    network: Literal["temporal", "unet"] = Field(
        "unet",
        description="The network: unet, the paper's; or temporal, which takes any number of "
        "previous images and any size.",
    )
    without: tuple[str, ...] = Field(
        (), description="Conditions that no network uses, in addition to the one left out in turn."
    )
    conditions: tuple[str, ...] = Field(
        CONDITIONS, description="Conditions that are left out, one network for each."
    )
    test: Path | None = Field(
        None,
        description="Imported samples or TFRecord files to evaluate on. Default: dates of the "
        "source after --end, or without --end the validation dates.",
    )
    counting: Annotated[ExperimentOptions, FLAT, EVALUATION] = Field(
        default_factory=ExperimentOptions
    )


def ablate(source: Path, *, config: Annotated[AblateConfig, FLAT]) -> None:
    """Train and evaluate a network without each condition in turn.

    A run that was stopped resumes.

    Parameters
    ----------
    source
        A cube, as ``sarcast cube`` builds it, or a folder of imported samples.
    """
    if unknown := set(config.conditions) - set(CONDITIONS):
        raise SarcastError(
            f"there is no condition {sorted(unknown)[0]!r}; known are {', '.join(CONDITIONS)}"
        )
    with exclusive(config.to):
        _prepare_folder(source, config)
        models = {n: _model_without(n, source, config) for n in (None, *config.conditions)}
        _evaluate(source, models, config)


def _evaluate(source: Path, models: dict[str | None, Model], config: AblateConfig) -> None:
    """Evaluate the networks, and write and show the results."""
    rng = np.random.default_rng(config.training.seed)
    on_samples = config.test is not None or is_store(source)
    evaluate = _evaluate_samples if on_samples else _evaluate_cube
    result = evaluate(source, models, config, rng)
    evaluation = result.evaluation(
        f"Without each condition in turn: {source.name}",
        {"command": command("ablate", [source], config), "sarcast": sarcast.__version__},
        rng=rng,
    )
    evaluation.write(config.to / "evaluation.json")
    table = ablation_table(evaluation, {name: _label(name) for name in config.conditions})
    scenarios = expected_scenarios(models[None], result.example) if result.example else []
    path = config.to / "report.html"
    write_report(evaluation, result.panels, path, scenarios=scenarios, comparisons=[table])
    show_table(evaluation)
    show_comparison(table)
    _log.info(f"report: {config.to / 'report.html'}")


def _prepare_folder(source: Path, config: AblateConfig) -> None:
    """Make the folder with the record of the options, or keep that of a stopped ablation."""
    if not is_store(source):
        open_cube(source)
    record = config.to / RECORD
    stopped = record.is_file() and record.read_text().startswith("ablate:")
    if config.overwrite or not stopped:
        inputs = [path for path in (source, config.test, config.start_from) if path is not None]
        check_target(config.to, overwrite=config.overwrite, inputs=inputs)
    elif any(config.to.glob("*/model.yaml")):
        _check_same_training(source, config)
    if config.test is not None:
        open_samples(config.test)
    if config.overwrite:
        for condition in (None, *CONDITIONS):
            discard_model(_model_folder(condition, config))
    config.to.mkdir(parents=True, exist_ok=True)
    write_record(config.to, "ablate", {"source": source}, config)


def _check_same_training(source: Path, config: AblateConfig) -> None:
    inputs = {"source": source}
    if others := differing_options(config.to, "ablate", inputs, _training_config(config)):
        raise SarcastError(
            f"{config.to} holds networks that were trained with other options, by their record: "
            f"{', '.join(sorted(others))}; give the same, another --to, or --overwrite"
        )


def _label(condition: str | None) -> str:
    return "all conditions" if condition is None else f"without {condition}"


def _model_folder(condition: str | None, config: AblateConfig) -> Path:
    return config.to / _label(condition).replace(" ", "-")


def _model_without(condition: str | None, source: Path, config: AblateConfig) -> Model:
    """Train a network without a condition, unless an earlier run did."""
    folder = _model_folder(condition, config)
    if not is_finished(folder):
        _log.info(f"training {_label(condition)}")
        update = {"to": folder, "without": _left_out(condition, config), "overwrite": False}
        train_on_cubes([source], _training_config(config).model_copy(update=update))
    return load_model(folder)


def _training_config(config: AblateConfig) -> CubeTrainingConfig:
    """Give the training options alone; those that were set stay distinct from defaults."""
    shared = {name: getattr(config, name) for name in CubeTrainingConfig.model_fields}
    return CubeTrainingConfig.model_construct(config.model_fields_set & shared.keys(), **shared)


def _left_out(condition: str | None, config: AblateConfig) -> tuple[str, ...]:
    return config.without if condition is None else (*config.without, condition)


def _predictors(
    models: dict[str | None, Model], config: AblateConfig, *, oracle: bool
) -> dict[Role, list[Predictor]]:
    networks: list[Predictor] = [
        MaskedPredictor(model, _left_out(condition, config), _label(condition))
        for condition, model in models.items()
    ]
    strategies: list[Predictor] = [STRATEGIES["closest-geometry"]]
    predictors: dict[Role, list[Predictor]] = {"network": networks, "strategy": strategies}
    return {**predictors, "oracle": [Oracle()]} if oracle else predictors


def _evaluate_samples(
    source: Path, models: dict[str | None, Model], config: AblateConfig, rng: np.random.Generator
) -> ExperimentResult:
    samples: Iterator[Sample]
    if config.test is not None:
        _, samples = open_samples(config.test)
    else:
        samples = SampleStore(source).split(config.training.validation_share)[1].samples()
    cases = sample_cases(
        samples, [Offset()], config.counting.shapes, config.counting.within, rng=rng
    )
    predictors = _predictors(models, config, oracle=False)
    return evaluate_cases(cases, predictors, config.counting, [linear_svc(rng=rng)])


def _evaluate_cube(
    source: Path, models: dict[str | None, Model], config: AblateConfig, rng: np.random.Generator
) -> ExperimentResult:
    cube, model = open_cube(source), models[None]
    options = WindowOptions(
        **config.previous_images.model_dump(),
        window=config.window or WINDOW_PX,
        start=model.training["validation_dates"][0] if config.end is None else None,
    )
    _, windows = windows_to_evaluate(cube, [model], options)
    predictors = _predictors(models, config, oracle="expected" in cube)
    return run_experiment(
        windows, predictors, [Offset()], config.counting, [linear_svc(rng=rng)], rng=rng
    )
