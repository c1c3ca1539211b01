"""A trained network adapted to an area by a short training on its own images."""

import logging
import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sarcast.prediction.calibration import calibrated, check_bands, residual_scores
from sarcast.prediction.model import Model
from sarcast.prediction.training.augment import MIRRORED_SHARE, AugmentOptions, mirror_levels
from sarcast.prediction.training.batches import Batches, sampled
from sarcast.prediction.training.fit import fit
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training_range import condition_ranges, merge_ranges
from sarcast.sensor.conditions import WEATHER, column_indices
from sarcast.sensor.units import YEAR_DAYS
from sarcast.windows import Batch, Sampler, Window, collate

_log = logging.getLogger(__name__)


WINDOWS_LOOKED_AT = 64
"""Windows from which the range of the conditions of the area is found."""
SUITED: dict[str, Any] = {
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
"""Options of a training that adapts a network within minutes on a CPU."""
FEWER_IMAGES = AugmentOptions(
    no_condition=0.0,
    no_weather=0.0,
    no_conditions=0.0,
    no_elevation=0.0,
    strips=0.0,
    mirror=False,
)
"""How windows of an area are varied: what is known of it stays known, and its slopes stay."""


def suited(options: TrainOptions, model: Model) -> TrainOptions:
    """Give options that suit adapting a model on a CPU, wherever none were given.

    A network that takes any number of previous images is given now more, now fewer of them.
    """
    suits = SUITED if model.previous else {**SUITED, "augment": FEWER_IMAGES}
    given = options.model_fields_set
    return options.model_copy(
        update={name: value for name, value in suits.items() if name not in given}
    )


def adapt(
    model: Model,
    training: Sampler,
    held: Sampler,
    options: TrainOptions,
    *,
    folder: Path,
) -> Model:
    """Adapt a trained network to an area; where that does not help, only its deviation.

    Parameters
    ----------
    model
        The model to start from; it is not changed.
    training
        Windows to train on.
    held
        Windows of later dates, by which it is seen whether training helped.
    options
        How it is trained; a low learning rate keeps what the network knows.
    folder
        Where checkpoints and logs are kept, as in ``training.fit``.

    Returns
    -------
    Model
        Of the network with the lower error on the held windows, calibrated and scored on these;
        its name tells that it is adapted.
    """
    seed = options.seed
    validation = held.draw(options.validation_windows, rng=np.random.default_rng([seed, 1]))
    check_bands(validation)
    looked_at = training.draw(WINDOWS_LOOKED_AT, rng=np.random.default_rng([seed, 2]))
    seen = condition_ranges([collate(looked_at + validation)])
    network = deepcopy(model.network)
    batches = nothing_by_heart(sampled(training, batch=options.batch, seed=seed), seed=seed)
    state = fit(batches, validation, network, options, folder=folder)
    models = {
        state.best_step: replace(_knowing(model, seen), network=network.eval()),
        0: model,
    }
    scored = {step: _scored(each, validation) for step, each in models.items()}
    best = min(scored, key=lambda step: scored[step].scores.of_mean)  # type: ignore[union-attr]
    if best == 0:
        _log.info(
            "the network predicts the held dates no better after training: its weights are kept"
        )
    adapted = {
        "options": options.model_dump(mode="json"),
        "steps": state.step,
        "best_step": best,
        "seconds": round(state.seconds, 1),
    }
    chosen = scored[best]
    name, told = f"{model.name} adapted", {**chosen.training, "adapted": adapted}
    return replace(chosen, name=name, training=told)


def nothing_by_heart(batches: Batches, *, seed: int) -> Batches:
    """Hide from a network what it would learn by heart of the few dates of an area.

    With each window a random day of the year is told, while the days between its images stay true.
    Of the targets of which no weather is told, half are mirrored in their level: rain that nobody
    tells of would be learned as that of those dates.
    """

    def batch_of(step: int, rank: int) -> Batch:
        batch = batches(step, rank)
        rng = np.random.default_rng([seed, step, rank, 4])
        days = rng.uniform(0.0, YEAR_DAYS, batch.day_of_year.shape).astype(np.float32)
        chosen = torch.as_tensor(rng.random(days.shape) < MIRRORED_SHARE)
        told = replace(batch, day_of_year=torch.as_tensor(days, device=batch.day_of_year.device))
        untold = batch.conditions[:, -1, column_indices(WEATHER)].isnan().all(dim=1)
        return mirror_levels(told, chosen.to(untold.device) & untold)

    return batch_of


def _scored(model: Model, validation: Sequence[Window]) -> Model:
    """Calibrate and score; that the area is new to the weights as they were is no news here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        honest = calibrated(model, validation)
        scores = residual_scores(honest, validation)
    return replace(honest, scores=scores, warned=set())


def _knowing(model: Model, seen: dict[str, list[float]]) -> Model:
    """Count conditions as known besides those that a model was trained on, if it tells these."""
    if (known := model.training.get("seen_conditions")) is None:
        return model
    merged = merge_ranges(known, seen)
    return replace(model, training={**model.training, "seen_conditions": merged})
