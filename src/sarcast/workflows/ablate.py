"""``sarcast ablate``: networks trained without each condition in turn, on the same windows."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from sarcast.assess import Assessed, AssessOptions, assess, assess_trials
from sarcast.classifiers import linear_svc
from sarcast.conditions import CONDITIONS
from sarcast.config import FLAT, Config, write_record
from sarcast.cube import open_cube
from sarcast.errors import SarcastError
from sarcast.evaluation import Role
from sarcast.mapping import load_model
from sarcast.mapping.training import TrainOptions
from sarcast.mapping.unet import UNetOptions
from sarcast.paper import ablation_table
from sarcast.progress import say
from sarcast.report import write_report
from sarcast.simulate import Offset
from sarcast.strategies import STRATEGIES
from sarcast.tables import show_paper, show_table
from sarcast.tfrecord import SampleStore, is_store
from sarcast.trials import sample_trials
from sarcast.windows import Predictor
from sarcast.windows.without import Without
from sarcast.workflows.evaluate import (
    EvaluateConfig,
    samples_of,
    target_places,
    windows_of,
)
from sarcast.workflows.train import TrainConfig, train


class AblateConfig(Config):
    """Options of ``sarcast ablate``."""

    to: Path = Field(description="Folder for the models, evaluation.json and report.html.")
    conditions: tuple[str, ...] = Field(
        CONDITIONS, description="Conditions that are kept back, one network each."
    )
    start: str | None = Field(None, description="First target date for training, ISO 8601.")
    end: str | None = Field(
        None, description="Last target date for training; later ones are for evaluation."
    )
    test: Path | None = Field(
        None,
        description="Imported samples or TFRecord files to evaluate on; default: those of the "
        "source that networks were validated on.",
    )
    unet: Annotated[UNetOptions, FLAT] = Field(default_factory=UNetOptions)
    training: Annotated[TrainOptions, FLAT] = Field(default_factory=TrainOptions)
    counting: Annotated[AssessOptions, FLAT] = Field(default_factory=AssessOptions)


def ablate(source: Path, *, config: Annotated[AblateConfig, FLAT]) -> None:
    """Train and evaluate the paper's network without each condition in turn.

    A run that was stopped goes on where it was.

    Parameters
    ----------
    source
        A cube, as ``sarcast cube`` builds it, or a folder of imported samples.
    """
    if unknown := set(config.conditions) - set(CONDITIONS):
        raise SarcastError(
            f"there is no condition {sorted(unknown)[0]!r}; known are {', '.join(CONDITIONS)}"
        )
    networks: list[Predictor] = [_network(source, None, config)]
    networks += [_network(source, name, config) for name in config.conditions]
    found = _assessed(source, networks, config)
    rng = np.random.default_rng(config.training.seed)
    evaluation = found.evaluation(
        f"Without each condition in turn: {source.name}",
        {"command": f"sarcast ablate {source} --to {config.to}"},
        rng=rng,
    )
    evaluation.write(config.to / "evaluation.json")
    write_report(evaluation, found.panels, config.to / "report.html")
    write_record(config.to, "ablate", {"source": source}, config)
    show_table(evaluation)
    show_paper(ablation_table(evaluation, {name: _name(name) for name in config.conditions}))
    say(f"report: {config.to / 'report.html'}")


def _name(condition: str | None) -> str:
    return "all conditions" if condition is None else f"without {condition}"


def _network(source: Path, condition: str | None, config: AblateConfig) -> Predictor:
    """Train a network without a condition, unless it is there."""
    folder = config.to / _name(condition).replace(" ", "-")
    without = () if condition is None else (condition,)
    if not (folder / "model.yaml").is_file():
        say(f"training {_name(condition)}")
        options = TrainConfig(
            to=folder,
            start=config.start,
            end=config.end,
            unet=config.unet,
            training=config.training,
            without=without,
        )
        train((source,), config=options)
    return Without(load_model(folder), without, _name(condition))


def _assessed(source: Path, networks: list[Predictor], config: AblateConfig) -> Assessed:
    rng = np.random.default_rng(config.training.seed)
    predictors: dict[Role, list[Predictor]] = {
        "network": networks,
        "strategy": [STRATEGIES["closest-geometry"]],
    }
    svc = [linear_svc(rng=rng)]
    if is_store(source):
        held = SampleStore(source).split(config.training.validation_share)[1].samples()
        held = held if config.test is None else samples_of(config.test)[1]
        samples = sample_trials(held, [Offset()], rng=rng)
        return assess_trials(samples, predictors, config.counting, svc)
    cube = open_cube(source)
    model = load_model(config.to / "all-conditions")
    targets = target_places(
        cube, model, config.unet.previous, EvaluateConfig(to=config.to, end=None)
    )
    windows = windows_of(cube, targets, config.unet.size, config.unet.previous)
    return assess(windows, predictors, [Offset()], config.counting, svc, rng=rng)
