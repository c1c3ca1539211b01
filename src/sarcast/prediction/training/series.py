"""Batches from real series that fit on the device, so that no loop has to cut windows."""

import itertools

import numpy as np
import numpy.typing as npt
import torch

from sarcast.arrays import Double, Times
from sarcast.prediction.training.augment import MIRRORED_SHARE, mirror_levels
from sarcast.sensor.units import YEAR_DAYS
from sarcast.windows import Batch, CubeReader, WindowSampler, concatenate, rank_previous

CHOSEN_SHARE = 0.5
"""Share of the windows with the previous images of the chooser; others have any earlier ones."""

CUBES_PER_BATCH = 16
"""Largest number of cubes in one batch."""

Indices = npt.NDArray[np.intp]


class SeriesBatches:
    """Batches of windows of cubes, each from several cubes: a ``batches.Batches``.

    Half of the windows have the previous images of the sampler's chooser, the others any earlier
    ones, so that a network also learns from long gaps and other seasons. If the sampler has a
    horizon, the latest images before a target are left out first, a number drawn for each window.
    The day of the year is drawn at random, while the days between images are true: in a few years,
    a network would memorise the days on which it rained.

    If there are few dates it memorises them even so, since it can recognise them by their previous
    images. Half of the targets can then be mirrored in their level, as in ``mirror_levels``.

    Parameters
    ----------
    sampler
        Cubes, which are read whole and kept on the device, their targets, and the shape of a
        window.
    batch
        Windows per batch.
    seed
        Seed of the draw; the same step and device number always give the same batch.
    device
        Device of the series and the batches.
    mirror_levels
        Mirror the level of half of the targets.
    """

    def __init__(
        self,
        sampler: WindowSampler,
        *,
        batch: int,
        seed: int,
        device: str,
        mirror_levels: bool = False,
    ) -> None:
        pairs = zip(sampler.sources, sampler.targets, strict=True)
        used = [(source, targets) for source, targets in pairs if len(targets)]
        self._series = [_Series(source, device) for source, _ in used]
        self._targets = [_ranks(source.times)[targets] for source, targets in used]
        self._chosen = [
            _chosen_previous(source.times, targets, sampler)
            for (source, _), targets in zip(used, self._targets, strict=True)
        ]
        self._size, self._batch, self._seed = sampler.size, batch, seed
        self._mirror_levels = mirror_levels
        drawn_from = zip(self._targets, self._series, strict=True)
        sizes = np.array([len(targets) * series.pixels for targets, series in drawn_from])
        self._shares = sizes / sizes.sum()

    def __call__(self, step: int, rank: int) -> Batch:
        """Draw the batch of a step on a device."""
        rng = np.random.default_rng([self._seed, step, rank, 3])
        count = min(len(self._series), CUBES_PER_BATCH, self._batch)
        numbers = rng.choice(len(self._series), count, p=self._shares)
        ends = np.arange(1, count + 1) * self._batch // count
        windows = np.diff(ends, prepend=0)
        return concatenate(
            [
                self._draw(int(number), int(share), rng=rng)
                for number, share in zip(numbers, windows, strict=True)
            ]
        )

    def _draw(self, number: int, windows: int, *, rng: np.random.Generator) -> Batch:
        """Draw windows of the cube with a number."""
        series = self._series[number]
        target = rng.choice(self._targets[number], windows)
        left_out = _draw_left_out(target, self._chosen[number], rng=rng)
        previous = _draw_previous(target, left_out, self._chosen[number], rng=rng)
        images = np.concatenate([previous, target[:, np.newaxis]], axis=1)
        rows, columns = (
            rng.integers(max(pixels - self._size, 0) + 1, size=windows) for pixels in series.shape
        )
        days_of_year = rng.uniform(0.0, YEAR_DAYS, windows)
        batch = series.cut(images, rows, columns, self._size, days_of_year)
        if not self._mirror_levels:
            return batch
        which = series.tensor(rng.random(windows) < MIRRORED_SHARE)
        return mirror_levels(batch, which)


class _Series:
    """One cube on the device, in the order of time."""

    def __init__(self, source: CubeReader, device: str) -> None:
        order = np.argsort(source.times)
        times = source.times[order]
        self.shape = source.shape
        self.pixels = source.shape[0] * source.shape[1]
        self._device = device
        self._images = torch.as_tensor(source.backscatter.values[order], device=device)
        elevation = np.full(source.shape, np.nan, dtype=np.float32)
        if source.elevation is not None:
            elevation = source.elevation.values.astype(np.float32)
        self._elevation = torch.as_tensor(elevation, device=device)
        self._conditions = source.conditions[order]
        self._rows, self._columns = source.rows, source.columns
        self._times = times.astype("datetime64[ns]").view(np.int64)
        self._days = (times - times[0]) / np.timedelta64(1, "D")

    def cut(
        self, images: Indices, rows: Indices, columns: Indices, size: int, days_of_year: Double
    ) -> Batch:
        """Cut windows.

        Parameters
        ----------
        images
            Dims (window, image + 1): time indices, the target last.
        rows, columns
            Dims (window): offset of the first pixel.
        size
            Pixels a side.
        days_of_year
            Dims (window), 0..366.
        """
        height, width = (min(size, pixels) for pixels in self.shape)
        y = self.tensor(rows)[:, None] + torch.arange(height, device=self._device)
        x = self.tensor(columns)[:, None] + torch.arange(width, device=self._device)
        stack = self._images[
            self.tensor(images)[:, :, None, None, None],
            torch.arange(self._images.shape[1], device=self._device)[None, None, :, None, None],
            y[:, None, None, :, None],
            x[:, None, None, None, :],
        ]
        stack = _pad(stack, size)
        cells = self._rows[rows + height // 2], self._columns[columns + width // 2]
        conditions = self._conditions[images, :, cells[0][:, None], cells[1][:, None]]
        days = self._days[images]
        return Batch(
            previous=stack[:, :-1],
            target=stack[:, -1],
            elevation=_pad(self._elevation[y[:, :, None], x[:, None, :]], size),
            conditions=self.tensor(conditions.astype(np.float32)),
            times=self.tensor(self._times[images]),
            days=self.tensor((days - days[:, -1:]).astype(np.float32)),
            day_of_year=self.tensor(days_of_year.astype(np.float32)),
        )

    def tensor(self, values: npt.NDArray[np.generic]) -> torch.Tensor:
        """Copy an array to the device."""
        return torch.as_tensor(values, device=self._device)


def _pad(images: torch.Tensor, size: int) -> torch.Tensor:
    """Pad images of a cube that is smaller than a window with NaN."""
    missing = (0, size - images.shape[-1], 0, size - images.shape[-2])
    return torch.nn.functional.pad(images, missing, value=torch.nan)


def _ranks(times: Times) -> Indices:
    """Index of each time in the order of time."""
    return np.argsort(np.argsort(times))


def _chosen_previous(times: Times, targets: Indices, sampler: WindowSampler) -> Indices:
    """Time indices of the chooser's previous images, oldest first; 0 where a date is no target.

    Dims (left out, date, image), where ``left out`` is the number of images that lie between the
    last previous image and the date, 0 to the sampler's horizon.
    """
    ordered, count = np.sort(times), sampler.previous
    chosen = np.zeros((sampler.horizon + 1, len(ordered), count), dtype=np.intp)
    for left_out, date in itertools.product(range(len(chosen)), targets):
        end = ordered[max(date - left_out, 0)]
        ranked = rank_previous(ordered, date, chooser=sampler.chooser, before=end)
        chosen[left_out, date] = np.resize(np.sort(ranked[:count]), count)
    return chosen


def _draw_left_out(target: Indices, chosen: Indices, *, rng: np.random.Generator) -> Indices:
    """Draw how many of the latest images before each target are left out, dims (window).

    Uniform from 0 to the horizon, or to the number that leaves enough images.
    """
    horizon, images = len(chosen) - 1, chosen.shape[2]
    if horizon == 0:
        return np.zeros_like(target)
    drawn: Indices = rng.integers(np.clip(target - images, 0, horizon) + 1)
    return drawn


def _draw_previous(
    target: Indices, left_out: Indices, chosen: Indices, *, rng: np.random.Generator
) -> Indices:
    """Draw time indices of previous images, oldest first, dims (window, image)."""
    end = target - left_out
    keys = rng.random((len(target), int(end.max())))
    keys[np.arange(keys.shape[1]) >= end[:, np.newaxis]] = np.inf
    any_earlier = np.sort(np.argsort(keys, axis=1)[:, : chosen.shape[2]], axis=1)
    by_chooser = rng.random((len(target), 1)) < CHOSEN_SHARE
    return np.where(by_chooser, chosen[left_out, target], any_earlier)
