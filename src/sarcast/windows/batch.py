"""Windows as tensors: stacked into batches, and taken apart again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Float, Times
from sarcast.errors import SarcastError
from sarcast.windows.window import Window

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Batch:
    """Windows of one size and one number of previous images, as tensors.

    Attributes
    ----------
    previous
        Dims (window, image, band, y, x), dB, oldest first, NaN where there is no data.
    target
        Dims (window, band, y, x), dB, NaN where there is no data.
    elevation
        Dims (window, y, x), m, NaN where unknown.
    conditions
        Dims (window, image + 1, column), as ``conditions.COLUMNS``, NaN where missing.
    times
        Dims (window, image + 1), int64: acquisition times, nanoseconds since 1970-01-01 UTC, as
        the integers of datetime64[ns]; the target is last.
    days
        Dims (window, image + 1), days after the target's acquisition: 0 for the target, last.
    day_of_year
        Dims (window), 0..366, of the target; a training may replace it by a random day.
    expected
        Dims (window, band, y, x), dB: the oracle, None outside a synthetic world.
    forest, open_land, changed
        Dims (window, y, x), bool, None if unknown; ``changed`` marks true changes of the ground.
    context
        Dims (window, property, knot, value): scene context of the targets, as
        ``prediction.networks.context.TABLE_SHAPE``, NaN where it is hidden; None if it is not
        computed.
    goal
        Dims (window, band, y, x), dB: the image that the mean is fitted to in training; None if it
        is the target.
    counterfactual_conditions, counterfactual_expected
        Dims (window, column) and (window, band, y, x), dB: other conditions of the target, and its
        oracle under them; None if none were simulated.
    """

    previous: "torch.Tensor"
    target: "torch.Tensor"
    elevation: "torch.Tensor"
    conditions: "torch.Tensor"
    times: "torch.Tensor"
    days: "torch.Tensor"
    day_of_year: "torch.Tensor"
    expected: "torch.Tensor | None" = None
    forest: "torch.Tensor | None" = None
    open_land: "torch.Tensor | None" = None
    changed: "torch.Tensor | None" = None
    context: "torch.Tensor | None" = None
    goal: "torch.Tensor | None" = None
    counterfactual_conditions: "torch.Tensor | None" = None
    counterfactual_expected: "torch.Tensor | None" = None

    def each(self, function: "Callable[[torch.Tensor], torch.Tensor]") -> Self:
        """Return a batch with a function applied to each of the tensors."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        known = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        return replace(self, **{name: function(tensor) for name, tensor in known.items()})

    def every(self, step: int, *, start: int = 0) -> Self:
        """Return a batch of every ``step``-th window, from number ``start`` on."""
        return self.each(lambda tensor: tensor[start::step])

    def to(self, device: "torch.device | str") -> Self:
        """Return the same batch on a device."""
        return self.each(lambda tensor: tensor.to(device))

    def inputs(self) -> "tuple[torch.Tensor | None, ...]":
        """Return what a network is given: all that its ``forward`` takes, in that order."""
        baseline = self.previous, self.elevation, self.conditions, self.days, self.day_of_year
        return *baseline, self.context

    def keep_images(self, kept: "torch.Tensor") -> Self:
        """Return a batch with some of its previous images; ``kept`` are indices, oldest first."""
        import torch

        kept = kept.to(self.previous.device)
        rows = torch.cat([kept, kept.new_tensor([self.previous.shape[1]])])
        return replace(
            self,
            previous=self.previous[:, kept],
            conditions=self.conditions[:, rows],
            times=self.times[:, rows],
            days=self.days[:, rows],
        )

    def mask_changes(self) -> Self:
        """Return a batch whose targets have no data where the ground truly changed."""
        if self.changed is None:
            return self
        return replace(self, target=self.target.masked_fill(self.changed[:, None], np.nan))

    def counterfactual(self) -> Self:
        """Return the same windows with the target under its counterfactual conditions."""
        assert self.counterfactual_conditions is not None
        conditions = self.conditions.clone()
        conditions[:, -1] = self.counterfactual_conditions
        return replace(self, conditions=conditions, expected=self.counterfactual_expected)


def collate(windows: Sequence[Window]) -> Batch:
    """Stack windows of one size and one number of previous images.

    An optional part is kept where every window has it.

    Raises
    ------
    SarcastError
        If there is no window, or sizes or numbers of previous images differ.
    """
    import torch

    shapes = {window.previous.shape for window in windows}
    if len(shapes) != 1:
        raise SarcastError(
            f"a batch holds windows of one shape (image, band, y, x), but {sorted(shapes)} came; "
            f"batch windows of each shape apart"
        )

    def stack(parts: Iterable[npt.NDArray[Any]]) -> torch.Tensor:
        first, *others = parts
        if any(part is not first for part in others) or not first.flags.writeable:
            return torch.from_numpy(np.stack([first, *others]))
        shared = torch.from_numpy(first[np.newaxis])  # no network writes its inputs
        return shared.expand(1 + len(others), *first.shape)

    def stack_if_all(name: str) -> torch.Tensor | None:
        parts = [getattr(window, name) for window in windows]
        return None if any(part is None for part in parts) else stack(parts)

    return Batch(
        previous=stack(window.previous for window in windows),
        target=stack(window.target for window in windows),
        elevation=stack(window.elevation for window in windows),
        conditions=stack(window.conditions for window in windows),
        times=stack(_nanoseconds(window.times) for window in windows),
        days=stack(_days(window.times) for window in windows),
        day_of_year=stack(_day_of_year(window.times) for window in windows),
        expected=stack_if_all("expected"),
        forest=stack_if_all("forest"),
        open_land=stack_if_all("open_land"),
        context=stack_if_all("context"),
    )


def to_windows(batch: Batch) -> list[Window]:
    """Take a batch apart into windows, the inverse of ``collate``."""
    names = ("previous", "target", "conditions", "elevation", "expected", "forest", "open_land")
    tensors = {name: getattr(batch, name) for name in names}
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items() if tensor is not None}
    times = batch.times.cpu().numpy().view("datetime64[ns]")
    return [
        Window(times=times[index], **{name: array[index] for name, array in arrays.items()})
        for index in range(len(times))
    ]


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Concatenate batches whose windows have one shape and the same parts."""
    import torch

    def concatenated(name: str) -> Any:
        parts = [getattr(batch, name) for batch in batches]
        return None if parts[0] is None else torch.cat(parts)

    return Batch(**{field.name: concatenated(field.name) for field in fields(Batch)})


def group_by_shape(windows: Sequence[Window], most: int) -> Iterator[Sequence[Window]]:
    """Split windows, in their order, into runs of one shape that are no longer than ``most``."""
    start = 0
    for end in range(1, len(windows) + 1):
        full = end == len(windows) or end - start == most
        if full or windows[end].previous.shape != windows[start].previous.shape:
            yield windows[start:end]
            start = end


def _nanoseconds(times: Times) -> npt.NDArray[np.int64]:
    return times.astype("datetime64[ns]").view(np.int64)


def _days(times: Times) -> Float:
    return np.asarray((times - times[-1]) / np.timedelta64(1, "D"), dtype=np.float32)


def _day_of_year(times: Times) -> Float:
    target = times[-1]
    since = (target - target.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    return np.asarray(since, dtype=np.float32)
