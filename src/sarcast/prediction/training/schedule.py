"""The progress of training, when it ends, and the learning rate that follows."""

import math

from sarcast.prediction.training.options import TrainOptions


def share_done(options: TrainOptions, step: int, seconds: float) -> float:
    """Compute the share of a training run that is done, 0..1: by steps or time, the larger one."""
    share = step / options.steps
    if options.minutes is not None:
        share = max(share, seconds / (options.minutes * 60.0))
    return min(share, 1.0)


def learning_rate_factor(options: TrainOptions, step: int, seconds: float) -> float:
    """Compute the learning rate of a step relative to the highest one, 0..1.

    The rate rises linearly over ``options.warmup`` steps. With the schedule ``"cosine"`` it also
    falls with the share s of the training that is done, by (1 + cos πs) / 2.
    """
    rising = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
    if options.schedule == "constant":
        return rising
    return rising * 0.5 * (1.0 + math.cos(math.pi * share_done(options, step, seconds)))


def is_over(
    options: TrainOptions, step: int, seconds: float, validations_without_gain: int
) -> bool:
    """Whether the steps, the time or the patience of a training run are used up."""
    late = options.minutes is not None and seconds >= options.minutes * 60.0
    stalled = options.patience is not None and validations_without_gain >= options.patience
    return late or stalled or step >= options.steps


def progress_text(options: TrainOptions, step: int, seconds: float) -> tuple[float, str]:
    """Give the share done and a label in steps or minutes, whichever will end the training."""
    share = share_done(options, step, seconds)
    if options.minutes is None or share == step / options.steps:
        return share, f"{step} of {options.steps}"
    return share, f"{seconds / 60.0:.1f} of {options.minutes:g} minutes, step {step}"
