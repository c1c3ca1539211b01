"""Training from a plan to a model folder: fitted, calibrated, scored, recorded and written."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from sarcast.prediction.calibration import calibrated, residual_scores
from sarcast.prediction.model import Model
from sarcast.prediction.networks.base import Network
from sarcast.prediction.training.batches import Batches
from sarcast.prediction.training.checkpoint import State
from sarcast.prediction.training.fit import fit, is_first_process
from sarcast.prediction.training.folder import check_model_folder, work_folder, write_finished
from sarcast.prediction.training.options import TrainOptions
from sarcast.windows import Window

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    Attributes
    ----------
    state
        Its steps; ``best_step`` is 0 if the weights of the start were kept.
    gain_percent
        By how many per cent the trained weights lowered the squared error on the validation
        windows; negative if they raised it, None if there was no start to compare with.
    """

    state: State
    gain_percent: float | None = None


@dataclass(frozen=True)
class TrainingPlan:
    """A training run that is ready to start.

    ``plan_from_scratch`` and ``plan_adaptation`` make plans, which ``train`` carries out;
    ``train_recipe`` makes one for each stage.

    Attributes
    ----------
    network
        The network with its initial weights; it is trained in place.
    name
        Name of the model.
    batches
        Batches of the training windows.
    validation
        Windows whose targets are in no batch, for validation, calibration and scores.
    options
        How the network is trained.
    record
        Gives ``training`` of ``model.yaml``.
    start
        The model that is adapted, which is kept if training raises the error; None if the trained
        network is used in any case.
    half
        Store the weights in half precision.
    fabric
        Devices that were needed before the training; None to start them for it.
    about
        As in ``fit``.
    calibration
        Gives the windows by which the deviation is measured, likewise in no batch, and groups of
        windows of one baseline, by several targets; None for the validation windows alone.
    """

    network: Network
    name: str
    batches: Batches
    validation: Sequence[Window]
    options: TrainOptions
    record: Callable[[Outcome], dict[str, Any]]
    start: Model | None = None
    half: bool = False
    fabric: Fabric | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    calibration: Callable[[], tuple[Sequence[Window], Sequence[Sequence[Window]]]] | None = None


def train(plan: TrainingPlan, *, to: Path, overwrite: bool = False) -> Model:
    """Train a network and write its model folder.

    A training that was stopped there resumes from its last checkpoint.

    Parameters
    ----------
    plan
        What is trained.
    to
        The model folder; checkpoints and TensorBoard logs are kept in its ``training``.
    overwrite
        Replace a model, at the end.

    Returns
    -------
    Model
        With the weights of the lowest validation error in dB², its standard deviation calibrated,
        and scores; both by the validation windows.

    Raises
    ------
    SarcastError
        If the folder may not be replaced, or as in ``fit``.
    """
    if is_first_process():
        check_model_folder(to, overwrite=overwrite)
    return finish(plan, fit_plan(plan, work_folder(to)), to)


def fit_plan(plan: TrainingPlan, folder: Path) -> State:
    """Train the network of a plan; ``folder`` keeps the checkpoints and TensorBoard logs."""
    return fit(
        plan.batches,
        plan.validation,
        plan.network,
        plan.options,
        folder=folder,
        fabric=plan.fabric,
        about=plan.about,
    )


def finish(plan: TrainingPlan, state: State, to: Path) -> Model:
    """Calibrate, score and record the trained network of a plan, and write its model folder."""
    model, outcome = _better(plan, state)
    model = replace(model, name=plan.name, training=plan.record(outcome))
    if is_first_process():
        write_finished(model, to, half=plan.half)
    return model


def summary(state: State) -> dict[str, Any]:
    """Steps and seconds of a training run, for ``model.yaml``."""
    return {
        "steps": state.step,
        "best_step": state.best_step,
        "seconds": round(state.seconds, 1),
    }


def _better(plan: TrainingPlan, state: State) -> tuple[Model, Outcome]:
    """Give the trained model, or the one it started from if that has the lower error."""
    network = plan.network.eval()
    if plan.start is None:
        return _scored(Model(network, plan.name), plan), Outcome(state)
    trained = _scored(replace(plan.start, network=network, training={}), plan)
    start = _scored(plan.start, plan)
    gain = 100.0 * (1.0 - _relative_error(trained) / _relative_error(start))
    compared = f"{abs(gain):.1f} % {'lower' if gain >= 0.0 else 'higher'} squared error than"
    kept = "they are" if gain >= 0.0 else f"{plan.start.name} is"
    _log.info(
        f"the adapted weights have a {compared} {plan.start.name} on the validation windows: "
        f"{kept} kept"
    )
    if gain >= 0.0:
        return trained, Outcome(state, gain)
    return start, Outcome(replace(state, best_step=0), gain)


def _scored(model: Model, plan: TrainingPlan) -> Model:
    """Calibrate and score a model; conditions outside its training range raise no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        by = (plan.validation, ()) if plan.calibration is None else plan.calibration()
        model = calibrated(model, *by)
        scores = residual_scores(model, plan.validation)
    return replace(model, scores=scores, warned=set())


def _relative_error(model: Model) -> float:
    assert model.scores is not None
    return model.scores.of_mean
