"""Which of a world's acquisitions are the target of a window and its previous images.

The target is the last acquisition. Those between it and the last previous image are left out, so
that a window can have any horizon; in some windows part of the previous images is of the target's
season in earlier years.
"""

import math
from dataclasses import dataclass

import torch

from sarcast.sensor.units import YEAR_DAYS

HORIZON_DAYS = 200.0
"""Longest horizon of a window whose target does not follow its last previous image at once."""
EARLIER_YEARS = (1, 2)
"""Years before the target from which images of its season are taken."""
SEASON_DAYS = 60.0
"""Farthest from the anniversary of the target that an image is of its season."""
DAYS_PER_IMAGE = 45
"""Days in which one image of the preset with the fewest acquisitions is almost certainly made."""


@dataclass(frozen=True)
class Baseline:
    """How the previous images of a window are chosen.

    Attributes
    ----------
    previous
        Number of previous images.
    horizon
        Most acquisitions that are left out between the last previous image and the target.
    horizon_days
        Most days from which all acquisitions before the target are left out, in all windows if
        ``horizon`` is 0, else in half of them.
    seasons
        Share of windows in which half of the previous images are of the target's season in earlier
        years, 0..1.
    """

    previous: int
    horizon: int = 0
    horizon_days: float = 0.0
    seasons: float = 0.0

    @property
    def days(self) -> int:
        """Days up to the target in which its previous images almost certainly lie."""
        latest = DAYS_PER_IMAGE * (self.previous + 1)
        if self.horizon or self.horizon_days:
            latest += round(HORIZON_DAYS)
        if self.seasons:
            return max(latest, math.ceil(EARLIER_YEARS[-1] * YEAR_DAYS + SEASON_DAYS))
        return latest

    def draw(self, time: torch.Tensor, *, rng: torch.Generator) -> torch.Tensor:
        """Draw the previous images of each world.

        Parameters
        ----------
        time
            Dims (world, acquisition), days, in order of time; infinite for padding, which comes
            last.
        rng
            Random generator.

        Returns
        -------
        Tensor
            Dims (world, previous + 1), int64: indices of the previous images, oldest first, and of
            the target.
        """
        seasonal = torch.zeros(len(time), dtype=torch.bool, device=time.device)
        left_out = self._left_out(time, rng=rng)
        if self.seasons:
            seasonal = torch.rand(len(time), generator=rng, device=rng.device) < self.seasons
        return choose(time, self.previous, left_out, seasonal)

    def _left_out(self, time: torch.Tensor, *, rng: torch.Generator) -> torch.Tensor:
        """Draw the number of acquisitions left out before the target, dims (world)."""
        worlds, device = len(time), time.device
        left_out = torch.zeros(worlds, dtype=torch.int64, device=device)
        if self.horizon:
            left_out = torch.randint(self.horizon + 1, (worlds,), generator=rng, device=device)
        if self.horizon_days:
            chance = torch.rand(2, worlds, generator=rng, device=device)
            _, age = _target_and_age(time)
            recent = (age > 0.0) & (age < (self.horizon_days * chance[0])[:, None])
            by_days = (chance[1] < 0.5) | (self.horizon == 0)
            left_out = torch.where(by_days, recent.sum(1), left_out)
        return left_out


def choose(
    time: torch.Tensor, previous: int, left_out: torch.Tensor, seasonal: torch.Tensor
) -> torch.Tensor:
    """Choose the previous images of each world.

    Parameters
    ----------
    time
        Dims (world, acquisition), days, in order of time; infinite for padding, which comes last.
    previous
        Number of previous images; the oldest is repeated where there are fewer.
    left_out
        Dims (world), int64: acquisitions between the last previous image and the target; fewer
        where the horizon would exceed ``HORIZON_DAYS`` or acquisitions are too few.
    seasonal
        Dims (world), bool: whether half of the previous images, rounded down, are those nearest to
        an anniversary of the target, within ``SEASON_DAYS``; where there are fewer, the latest of
        the others take the rest.

    Returns
    -------
    Tensor
        Dims (world, previous + 1), int64: indices of the previous images, oldest first, and of the
        target.
    """
    target, age = _target_and_age(time)
    rank = _last_previous(age, target, previous, left_out) - torch.arange(
        time.shape[1], device=time.device
    )
    latest = previous - previous // 2
    years = torch.tensor(EARLIER_YEARS, device=time.device) * YEAR_DAYS
    away = (age[..., None] - years).abs().amin(-1)
    of_season = seasonal[:, None] & (rank >= latest) & (away <= SEASON_DAYS)
    # the latest come first, then those of the season, then the others from the latest on
    order = rank + torch.where(rank < latest, 0.0, time.shape[1] + SEASON_DAYS)
    order = torch.where(of_season, latest + away, order)
    order = torch.where(rank < 0, torch.inf, order)
    smallest, indices = order.topk(min(previous, time.shape[1]), largest=False)
    chosen = torch.where(torch.isfinite(smallest), indices, 0)
    chosen = torch.nn.functional.pad(chosen, (previous - chosen.shape[1], 0))
    return torch.cat([chosen.sort(1).values, target.clamp(min=0)], dim=1)


def _target_and_age(time: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Index of the target, dims (world, 1), and days of each acquisition before it."""
    target = torch.isfinite(time).sum(1, keepdim=True) - 1
    return target, time.gather(1, target.clamp(min=0)) - time


def _last_previous(
    age: torch.Tensor, target: torch.Tensor, previous: int, left_out: torch.Tensor
) -> torch.Tensor:
    """Index of the last previous image of each world, dims (world, 1)."""
    near = ((age > 0.0) & (age <= HORIZON_DAYS)).sum(1, keepdim=True)
    most = torch.minimum(near - 1, target - previous).clamp(min=0)
    return target - 1 - torch.minimum(left_out[:, None], most)
