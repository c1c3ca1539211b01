"""Adaptation of a trained network to an area, by a short training run on the area's own images."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sarcast.prediction.calibration import check_bands
from sarcast.prediction.model import Model
from sarcast.prediction.networks.temporal import Temporal
from sarcast.prediction.training.augment import MIRRORED_SHARE, AugmentOptions, mirror_levels
from sarcast.prediction.training.batches import Batches, sampled
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.train import Outcome, TrainingPlan, summary, train
from sarcast.prediction.training_range import condition_ranges, merge_ranges
from sarcast.sensor.conditions import WEATHER, column_indices
from sarcast.sensor.units import YEAR_DAYS
from sarcast.windows import Batch, Sampler, collate

RANGE_WINDOWS = 64
"""Number of windows from which the training range of the area is computed."""
ADAPTATION_DEFAULTS: dict[str, Any] = {
    "minutes": 5.0,
    "batch": 8,
    "learning_rate": 3e-5,
    "schedule": "cosine",
    "warmup": 10,
    "clip": 1.0,
    "average": 0.95,
    "validate_every": 25,
    "validation_windows": 32,
}
"""Options that adapt a network within minutes on a CPU."""
FEWER_IMAGES = AugmentOptions(
    no_condition=0.0,
    no_weather=0.0,
    no_conditions=0.0,
    no_elevation=0.0,
    strips=0.0,
    mirror=False,
)
"""Augmentation by the number of images alone: conditions and terrain of the area stay."""


def adaptation_options(options: TrainOptions, model: Model) -> TrainOptions:
    """Replace the options that are not set by those that suit an adaptation on a CPU.

    For a network that takes any number of previous images, their number then varies.
    """
    defaults = ADAPTATION_DEFAULTS
    if model.previous is None:
        defaults = {**defaults, "augment": FEWER_IMAGES}
    given = options.model_fields_set
    return options.model_copy(
        update={name: value for name, value in defaults.items() if name not in given}
    )


def adapt(
    model: Model, training: Sampler, validation: Sampler, options: TrainOptions, *, to: Path
) -> Model:
    """Adapt a trained network to an area and write its model folder.

    Parameters
    ----------
    model, training, validation, options
        As in ``plan_adaptation``.
    to
        The model folder, as in ``train``.

    Returns
    -------
    Model
        The network with the lower error on the validation windows, trained or unchanged.
    """
    return train(plan_adaptation(model, training, validation, options), to=to)


def plan_adaptation(
    model: Model,
    training: Sampler,
    validation: Sampler,
    options: TrainOptions,
    *,
    record: Mapping[str, Any] | None = None,
) -> TrainingPlan:
    """Plan the adaptation of a trained network to an area.

    Parameters
    ----------
    model
        The model to start from; it is not changed.
    training
        Windows to train on.
    validation
        Windows of later dates, which decide which weights are kept.
    options
        How it is trained; a low learning rate keeps what the network learned before.
    record
        Further entries of ``training`` in ``model.yaml``.

    Raises
    ------
    SarcastError
        If no validation window has a pixel with data in every band.
    """
    seed = options.seed
    windows = validation.draw(options.validation_windows, rng=np.random.default_rng([seed, 1]))
    check_bands(windows)
    examples = training.draw(RANGE_WINDOWS, rng=np.random.default_rng([seed, 2]))
    ranges = condition_ranges([collate(examples + windows)])

    def training_record(outcome: Outcome) -> dict[str, Any]:
        kept = outcome.state.best_step == 0
        before = model.training if kept else _extended(model.training, ranges)
        assert outcome.gain_percent is not None
        adapted = {
            "options": options.model_dump(mode="json"),
            **summary(outcome.state),
            "gain_percent": round(outcome.gain_percent, 2),
        }
        return {**before, "adapted": adapted, **(record or {})}

    batches = sampled(training, batch=options.batch, seed=seed)
    return TrainingPlan(
        network=deepcopy(model.network),
        name=f"{model.name} adapted",
        batches=prevent_date_memorisation(batches, seed=seed),
        validation=windows,
        options=options,
        record=training_record,
        start=model,
        half=isinstance(model.network, Temporal),
    )


def prevent_date_memorisation(batches: Batches, *, seed: int) -> Batches:
    """Hide the dates of an area, which are so few that a network would memorise their weather.

    The day of the year of each window is drawn at random, while the days between its images stay
    true. Of the targets without any weather, half are mirrored in their level: the network would
    otherwise learn the unknown rain of these very dates.
    """

    def batch_of(step: int, rank: int) -> Batch:
        batch = batches(step, rank)
        rng = np.random.default_rng([seed, step, rank, 4])
        days = rng.uniform(0.0, YEAR_DAYS, batch.day_of_year.shape).astype(np.float32)
        chosen = torch.as_tensor(rng.random(days.shape) < MIRRORED_SHARE)
        batch = replace(batch, day_of_year=torch.as_tensor(days, device=batch.day_of_year.device))
        no_weather = batch.conditions[:, -1, column_indices(WEATHER)].isnan().all(dim=1)
        return mirror_levels(batch, chosen.to(no_weather.device) & no_weather)

    return batch_of


def _extended(training: Mapping[str, Any], ranges: Mapping[str, list[float]]) -> dict[str, Any]:
    """Extend the training range of a model's record, if it has one."""
    if (known := training.get("seen_conditions")) is None:
        return dict(training)
    return {**training, "seen_conditions": merge_ranges(known, ranges)}
