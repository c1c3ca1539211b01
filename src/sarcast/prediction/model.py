"""Models: a trained network as a predictor."""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from hashlib import sha256
from itertools import groupby
from typing import Any

import numpy as np
import torch

from sarcast.arrays import Bool, Float
from sarcast.cache import Cache
from sarcast.errors import SarcastError
from sarcast.prediction import (
    DEFAULT_CONTEXT,
    ContextSource,
    NumberFormat,
    bands,
)
from sarcast.prediction.compilation import COMPILE_PIXELS, Compiler, tolerant
from sarcast.prediction.deviation import Deviation
from sarcast.prediction.engine import Encoded, Engine
from sarcast.prediction.networks.base import Network, Prediction
from sarcast.prediction.networks.context import MOST_DEPARTURE_DB, Blocks
from sarcast.prediction.networks.temporal import Temporal
from sarcast.prediction.scores import ValidationScores
from sarcast.prediction.training_range import (
    far_beyond,
    far_outside,
    names_of_unknown,
    unknown_conditions,
)
from sarcast.prediction.transfer import download, upload_batch
from sarcast.windows import Batch, Expected, Window, collate, group_by_shape

_log = logging.getLogger(__name__)

ENGINE_PIXELS = 2**14
"""Pixels from which a window takes less time in the engine than in the network itself, on a CPU."""
MAX_PIXELS_PER_PASS = 2**20
"""Pixels of previous images, padding included, that one forward pass takes at most."""


@dataclass(frozen=True)
class Remembered:
    """An encoded baseline, and its arrays, so that no others get the ``id`` that it is found by."""

    arrays: tuple[Float, Float]
    encoded: Encoded

    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        return self.encoded.nbytes + sum(array.nbytes for array in self.arrays)


@dataclass(frozen=True)
class Model:
    """A trained network as a ``windows.Predictor``.

    Attributes
    ----------
    network
        The network, in evaluation mode.
    name
        Name in tables.
    training
        How it was trained and on what: ``seen_conditions`` is its training range, ``seen_until``
        the last date that it was trained or validated on.
    scores
        Scores on the validation windows; None if there were none.
    deviation
        Correction of the network's standard deviation, and the correlation of its errors, as
        measured on validation windows.
    precision
        Number format of the convolutions: ``bfloat16`` is faster on processors with bfloat16
        arithmetic (AVX512-BF16, AMX, GPUs), and moves the expected image by less than its noise.
    context
        ``"scene"`` lets a network that uses scene context read it from the target; ``"none"``
        hides the target from it, as forecasts and counterfactual conditions need.
    compile_after
        On a GPU, pixels of previous images of one shape after which the network is compiled for it.
    memory
        Encoded baselines that are kept on a CPU while the conditions of one target change; None
        keeps none.
    warned
        Warnings already given: each comes once, however many windows it concerns.
    """

    network: Network
    name: str
    training: dict[str, Any] = field(default_factory=dict)
    scores: ValidationScores | None = None
    deviation: Deviation = field(default_factory=Deviation)
    precision: NumberFormat = "float32"
    context: ContextSource = DEFAULT_CONTEXT
    compile_after: float = COMPILE_PIXELS
    memory: Cache[Remembered] | None = field(default=None, repr=False, compare=False)
    warned: set[str] = field(default_factory=set, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Give what another process needs: not what is prepared for the device of this one."""
        state = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**state, "network": deepcopy(self.network).cpu(), "memory": None, "warned": set()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Use a GPU where this process has one."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.__dict__.update(state, network=state["network"].to(device))

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights, by which a result says which model made it."""
        digest = sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def size(self) -> int | None:
        """The one window size in pixels that it takes; None for any."""
        return self.network.size

    @property
    def previous(self) -> int | None:
        """Number of previous images that it needs; None for any."""
        return self.network.previous

    @property
    def uses_target(self) -> bool:
        """Whether the expected image depends on the target itself, by its scene context."""
        return self.network.uses_context and self.context == "scene"

    def without_context(self, memory: Cache[Remembered] | None = None) -> "Model":
        """Give the same model, prepared once for both, to which the target is hidden."""
        hidden = replace(self, context="none", memory=memory)
        vars(hidden).update(_engine=self._engine, _compiler=self._compiler)
        return hidden

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        """Predict the expected image of each window under the conditions of its target.

        Raises
        ------
        SarcastError
            If a window's size, bands or number of previous images are not the network's.
        """
        for window in windows:
            self._check(window)
        for band in bands.absent_in_any(windows):
            self._warn(
                f"the previous images have no {band}: the network {self.name} predicts without it, "
                f"less precisely, and gives no {band}"
            )
        inputs = self._within_training([bands.with_both_bands(window) for window in windows])
        outputs = [output for part in self._parts(inputs) for output in self._expect(part)]
        pairs = zip(windows, outputs, strict=True)
        return [bands.in_bands_of(window, *output) for window, output in pairs]

    def _check(self, window: Window) -> None:
        bands.check_bands_of(window, self.name)
        images, _, *size = window.previous.shape
        if self.size is not None and size != [self.size, self.size]:
            raise SarcastError(
                f"the network {self.name} takes windows of {self.size} x {self.size} pixels, "
                f"not of {size[0]} x {size[1]}; cut windows of its size"
            )
        if self.previous is not None and images != self.previous:
            raise SarcastError(
                f"the network {self.name} needs {self.previous} previous images, not {images}"
            )

    def _within_training(self, windows: Sequence[Window]) -> Sequence[Window]:
        """Warn of what lies far outside the training range; remove conditions that are unknown."""
        ranges = self.training.get("seen_conditions")
        if ranges is None or not windows:
            return windows
        rows = np.concatenate([window.conditions for window in windows])
        horizons = [window.horizon_days for window in windows]
        for description in (*far_outside(rows, ranges), *far_beyond(horizons, ranges)):
            self._warn(f"{description} that the network {self.name} was trained on")
        unknown = unknown_conditions(rows, ranges)
        if not unknown.any():
            return windows
        names = ", ".join(names_of_unknown(rows, unknown))
        self._warn(
            f"the network {self.name} was not trained on {names}: "
            f"what training did not cover counts as missing"
        )
        return [_without_unknown(window, ranges) for window in windows]

    def _warn(self, line: str) -> None:
        if line not in self.warned:
            self.warned.add(line)
            warnings.warn(line, stacklevel=4)

    def _parts(self, windows: Sequence[Window]) -> Iterator[Sequence[Window]]:
        """Split windows into runs of one shape, or of one baseline, for one forward pass each."""
        largest = max((self._pixels(window) for window in windows), default=1)
        runs = list(_runs(windows))
        for alone, group in groupby(runs, key=lambda run: len(run) == 1):
            if alone:
                singles = [window for run in group for window in run]
                yield from group_by_shape(singles, max(1, MAX_PIXELS_PER_PASS // largest))
            else:
                yield from group

    def _pixels(self, window: Window) -> int:
        """Number of pixels of previous images in a forward pass, padding included."""
        multiple = self.network.multiple
        images, _, *shape = window.previous.shape
        pixels: int = images * math.prod(-(-side // multiple) * multiple for side in shape)
        return pixels

    @torch.inference_mode()
    def _expect(self, windows: Sequence[Window]) -> list[tuple[Float, Float | None]]:
        """Mean and standard deviation of each window, NaN where no previous image has data."""
        targets = len(windows) // len(list(_runs(windows)))
        batch = self._with_context(self._on_device(windows, targets), targets)
        prediction = self._predict(batch, targets, windows[::targets])
        self._say_context(batch)
        empty = ~batch.every(targets).previous.isfinite().any(dim=1)
        empty = empty.repeat_interleave(targets, dim=0)
        mean = download(prediction.mean.float().masked_fill(empty, torch.nan))
        std: Sequence[Float | None] = [None] * len(windows)
        if prediction.log_variance is not None:
            deviation = prediction.log_variance.float().mul(0.5).exp().masked_fill(empty, torch.nan)
            factors = torch.from_numpy(self._std_factors(batch)).to(self._device)
            std = list(download(factors[:, None, None, None] * deviation))
        return list(zip(mean, std, strict=True))

    def _on_device(self, windows: Sequence[Window], targets: int) -> Batch:
        """Stack windows, of which each run of ``targets`` has the same baseline, on the device.

        A GPU gets the previous images in 16 bits, 0.01 dB apart at most, if it computes in them.
        """
        batch = replace(collate(windows), expected=None, forest=None, open_land=None)
        if self._device.type != "cuda":
            return batch.to(self._device)
        half = self.precision == "bfloat16"
        dtype = torch.float16 if half else torch.float32
        return upload_batch(batch, targets, self._device, dtype)

    def _predict(self, batch: Batch, targets: int, firsts: Sequence[Window]) -> Prediction:
        """Predict windows of which each run of ``targets`` has the baseline of its first one."""
        large = math.prod(batch.target.shape[-2:]) >= ENGINE_PIXELS
        if large and self._engine is not None:
            return self._engine.predict_targets(batch, targets, partial(self._encoded, firsts))
        network = self.network
        if self._device.type == "cuda":
            network = self._compiler.network_for(batch, targets)
        bfloat16 = self.precision == "bfloat16"
        autocast = torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=bfloat16)
        with autocast, tolerant() if network is not self.network else nullcontext():
            return network.predict_targets(batch, targets)

    def _encoded(
        self, firsts: Sequence[Window], run: int, encode: Callable[[], Encoded]
    ) -> Encoded:
        """The encoded baseline of a run of windows."""
        if self.memory is None:
            return encode()
        window = firsts[run]
        key = *_baseline_key(window), window.times[-1:].tobytes()
        arrays = window.previous, window.elevation
        return self.memory.get(key, lambda: Remembered(arrays, encode())).encoded

    @cached_property
    def _compiler(self) -> Compiler:
        return Compiler(self.network, self.compile_after)

    @cached_property
    def _engine(self) -> Engine | None:
        """The network prepared for inference on a CPU; None elsewhere, and for other networks."""
        if self._device.type != "cpu" or not isinstance(self.network, Temporal):
            return None
        return Engine(self.network, getattr(torch, self.precision))

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _with_context(self, batch: Batch, targets: int = 1) -> Batch:
        """Add the scene context of the targets; none if the model does not use it."""
        if not self.uses_target:
            return replace(batch, context=None)
        if batch.context is None:
            batch = replace(batch, context=self.network.scene_context(batch, targets))
        return batch

    def _say_context(self, batch: Batch) -> None:
        """Say where scene context is missing or bounded."""
        if batch.context is None:
            return
        if not torch.isfinite(batch.context).all():
            self._say(
                "a scene shows too little of its weather (fewer than 32 x 32 pixels with data, or "
                f"most of it changed): the network {self.name} predicts it without scene context"
            )
        if (batch.context[:, -1, 0, 1:].abs() >= MOST_DEPARTURE_DB).any():
            self._say(
                f"a scene departs from its baseline by {MOST_DEPARTURE_DB:g} dB or more: its "
                f"context is bounded there; check units and calibration of the acquisitions"
            )

    @torch.inference_mode()
    def scene_blocks(self, window: Window) -> Blocks:
        """Compute the blocks of a window that scene context is fitted to."""
        self._check(window)
        batch = collate([bands.with_both_bands(window)])
        return self.network.scene_blocks(batch.to(self._device))

    def shows_context(self, window: Window) -> bool:
        """Whether the expected image of a window knows the scene context of its target."""
        batch = self._with_context(collate([bands.with_both_bands(window)]).to(self._device))
        return bool(_shown(batch).any())

    def _std_factors(self, batch: Batch) -> Float:
        """Factors of the standard deviation, dims (window)."""
        horizons = -batch.days[:, -2].cpu().numpy()
        return self.deviation.factors(horizons, _shown(batch)).astype(np.float32)

    def _say(self, line: str) -> None:
        """Log a line once."""
        if line not in self.warned:
            self.warned.add(line)
            _log.info(line)


def _runs(windows: Sequence[Window]) -> Iterator[list[Window]]:
    """Split windows into runs that share their baseline."""
    return (list(run) for _, run in groupby(windows, key=_baseline_key))


def _baseline_key(window: Window) -> tuple[int, int, bytes, bytes]:
    """Give what windows of one baseline have in common; arrays of pixels must be shared."""
    rows, times = window.conditions[:-1], window.times[:-1]
    return id(window.previous), id(window.elevation), rows.tobytes(), times.tobytes()


def _shown(batch: Batch) -> Bool:
    """Whether the scene context of each window is known, dims (window)."""
    if batch.context is None:
        return np.zeros(len(batch.target), dtype=bool)
    shown: Bool = batch.context.flatten(1).isfinite().any(dim=1).cpu().numpy()
    return shown


def _without_unknown(window: Window, ranges: Mapping[str, Sequence[float]]) -> Window:
    rows = window.conditions
    unknown = unknown_conditions(rows, ranges)
    return replace(window, conditions=np.where(unknown, np.float32(np.nan), rows))
