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
        Dims (window, image, band, y, x), dB, oldest first, NaN where nothing was seen.
    target
        Dims (window, band, y, x), dB, NaN where nothing was seen.
    elevation
        Dims (window, y, x), m, NaN where unknown.
    conditions
        Dims (window, image + 1, column), as ``conditions.COLUMNS``, NaN where missing.
    days
        Dims (window, image + 1), days after the target's acquisition: 0 for the target, last.
    day_of_year
        Dims (window), 0..366, of the target.
    expected
        Dims (window, band, y, x), dB: the oracle, None outside a synthetic world.
    forest, open_land, changed
        Dims (window, y, x), bool, None if unknown; ``changed`` marks true changes of the ground.
    goal
        Dims (window, band, y, x), dB: what the mean is drawn to in training, None for the target.
    counterfactual_conditions, counterfactual_expected
        Dims (window, column) and (window, band, y, x), dB: the oracle of the target under other
        conditions, None where nobody looked.
    """

    previous: "torch.Tensor"
    target: "torch.Tensor"
    elevation: "torch.Tensor"
    conditions: "torch.Tensor"
    days: "torch.Tensor"
    day_of_year: "torch.Tensor"
    expected: "torch.Tensor | None" = None
    forest: "torch.Tensor | None" = None
    open_land: "torch.Tensor | None" = None
    changed: "torch.Tensor | None" = None
    goal: "torch.Tensor | None" = None
    counterfactual_conditions: "torch.Tensor | None" = None
    counterfactual_expected: "torch.Tensor | None" = None

    def each(self, change: "Callable[[torch.Tensor], torch.Tensor]") -> Self:
        """Give a batch of what a function makes of each of the tensors."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        known = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        return replace(self, **{name: change(tensor) for name, tensor in known.items()})

    def to(self, device: "torch.device | str") -> Self:
        """Give the same batch on a device."""
        return self.each(lambda tensor: tensor.to(device))

    def inputs(self) -> "tuple[torch.Tensor, ...]":
        """Give what a network may see: previous, elevation, conditions, days, day_of_year."""
        return self.previous, self.elevation, self.conditions, self.days, self.day_of_year

    def counterfactual(self) -> Self:
        """Give the same windows with the target under its other conditions."""
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
        return torch.from_numpy(np.stack(list(parts)))

    def stack_if_all(name: str) -> torch.Tensor | None:
        parts = [getattr(window, name) for window in windows]
        return None if any(part is None for part in parts) else stack(parts)

    return Batch(
        previous=stack(window.previous for window in windows),
        target=stack(window.target for window in windows),
        elevation=stack(window.elevation for window in windows),
        conditions=stack(window.conditions for window in windows),
        days=stack(_days(window.times) for window in windows),
        day_of_year=stack(_day_of_year(window.times) for window in windows),
        expected=stack_if_all("expected"),
        forest=stack_if_all("forest"),
        open_land=stack_if_all("open_land"),
    )


def joined(batches: Sequence[Batch]) -> Batch:
    """Put batches whose windows have one shape and the same parts into one, in their order."""
    import torch

    def put(name: str) -> Any:
        parts = [getattr(batch, name) for batch in batches]
        return None if parts[0] is None else torch.cat(parts)

    return Batch(**{field.name: put(field.name) for field in fields(Batch)})


def in_shapes(windows: Sequence[Window], most: int) -> Iterator[Sequence[Window]]:
    """Split windows, in their order, into runs of one shape that are no longer than ``most``."""
    start = 0
    for end in range(1, len(windows) + 1):
        whole = end == len(windows) or end - start == most
        if whole or windows[end].previous.shape != windows[start].previous.shape:
            yield windows[start:end]
            start = end


def _days(times: Times) -> Float:
    return np.asarray((times - times[-1]) / np.timedelta64(1, "D"), dtype=np.float32)


def _day_of_year(times: Times) -> Float:
    target = times[-1]
    since = (target - target.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    return np.asarray(since, dtype=np.float32)


def separate(batch: Batch, *, year: int = 2021) -> list[Window]:
    """Take a batch apart into windows.

    Parameters
    ----------
    batch
        The windows; what truly changed on the ground becomes unseen in their targets.
    year
        Year of the targets, which a batch does not tell.
    """
    tensors = {field.name: getattr(batch, field.name) for field in fields(batch)}
    parts = {name: tensor.cpu().numpy() for name, tensor in tensors.items() if tensor is not None}
    target = parts["target"]
    if "changed" in parts:
        target = np.where(parts["changed"][:, None], np.float32(np.nan), target)
    hours = np.round(24.0 * (parts["day_of_year"][:, None] + parts["days"]))
    times = np.datetime64(f"{year}-01-01", "ns") + hours.astype("timedelta64[h]")

    def optional(name: str, place: int) -> npt.NDArray[Any] | None:
        return parts[name][place] if name in parts else None

    return [
        Window(
            previous=parts["previous"][place],
            target=target[place],
            conditions=parts["conditions"][place],
            times=times[place],
            elevation=parts["elevation"][place],
            expected=optional("expected", place),
            forest=optional("forest", place),
            open_land=optional("open_land", place),
        )
        for place in range(len(target))
    ]
