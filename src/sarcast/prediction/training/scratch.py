"""Training of a network from random weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sarcast.prediction.calibration import check_bands
from sarcast.prediction.networks.base import Network
from sarcast.prediction.networks.temporal import Temporal
from sarcast.prediction.training.batches import sampled
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.train import Outcome, TrainingPlan, summary
from sarcast.prediction.training_range import condition_ranges
from sarcast.windows import Sampler, Window, collate

SCALING_WINDOWS = 64
"""Number of windows from which the scaling of images and conditions is computed."""


def plan_from_scratch(
    build: Callable[[Sequence[Window]], Network],
    training: Sampler,
    validation: Sampler,
    options: TrainOptions,
    *,
    record: Mapping[str, Any] | None = None,
) -> TrainingPlan:
    """Plan the training of a network from random weights.

    Parameters
    ----------
    build
        Makes the network; given are some of the training windows, from which the scaling of images
        and conditions can be computed.
    training
        Windows to train on.
    validation
        Windows of later dates.
    options
        How it is trained.
    record
        Further entries of ``training`` in ``model.yaml``.

    Raises
    ------
    SarcastError
        If no validation window has a pixel with data in every band.

    Examples
    --------
    >>> samplers = split_by_date([cube], size=128, previous=4, share=0.2, chooser="nearest")
    >>> plan = plan_from_scratch(lambda _: Temporal(TemporalOptions()), *samplers, TrainOptions())
    >>> model = train(plan, to=Path("model"))
    """
    seed = options.seed
    windows = validation.draw(options.validation_windows, rng=np.random.default_rng([seed, 1]))
    check_bands(windows)
    examples = training.draw(SCALING_WINDOWS, rng=np.random.default_rng([seed, 2]))
    torch.manual_seed(seed)
    network = build(examples)

    def training_record(outcome: Outcome) -> dict[str, Any]:
        return {
            **summary(outcome.state),
            "options": options.model_dump(mode="json"),
            "seen_conditions": condition_ranges([collate([*examples, *windows])]),
            **(record or {}),
        }

    return TrainingPlan(
        network=network,
        name=network.kind,
        batches=sampled(training, batch=options.batch, seed=seed),
        validation=windows,
        options=options,
        record=training_record,
        half=isinstance(network, Temporal),
    )
