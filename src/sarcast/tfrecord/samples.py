"""Samples of the paper's published data set: a window with its conditions and simulated change.

Both published schemas are supported: before simulation, and with a simulated change, with or
without a network's prediction. Features are written with the dtypes of the published scripts, so
that these can read them.
"""

import datetime as dt
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Bool, Float, Times
from sarcast.errors import SarcastError
from sarcast.sensor.conditions import COLUMNS, LAGS, PLATFORM, PRECIPITATION
from sarcast.tfrecord.records import Faults, read_records, write_records
from sarcast.tfrecord.wire import (
    Feature,
    Tensor,
    read_example,
    read_tensor,
    write_example,
    write_tensor,
)
from sarcast.windows import Window

_log = logging.getLogger(__name__)


BANDS = 2
MISSIONS = ("S1A", "S1B", "S1C", "S1D")
"""Name in the data set of each of ``conditions.PLATFORMS``."""

SCALARS = ("temperature", "snow_depth", "incidence_angle", "platform_heading")
"""Conditions with one value per date, by the names of the features."""
_COLUMN = {
    "temperature": "temperature",
    "snow_depth": "snow_depth",
    "incidence_angle": "incidence",
    "platform_heading": "heading",
}


@dataclass(frozen=True)
class Sample:
    """One sample of the data set.

    Attributes
    ----------
    window
        Images, conditions, times, elevation and forest.
    location
        Centre of the window as well-known text, EPSG:4326.
    take_ids
        Data-take identifiers of the images, the target's last.
    shapes
        Dims (y, x), int32: number of the simulated shape, 0 where nothing changed; None if no
        change was simulated.
    simulated
        Dims (band, y, x), dB: the target with statistical change.
    prediction
        Dims (band, y, x), dB: expected image of a network.
    superpixels, superpixel_sets
        As written by the published scripts: labels of pixels that come from one original pixel
        before resampling, dims (y, x), and their coordinates as JSON.
    """

    window: Window
    location: str = ""
    take_ids: tuple[str, ...] = ()
    shapes: npt.NDArray[np.int32] | None = None
    simulated: Float | None = None
    prediction: Float | None = None
    superpixels: npt.NDArray[np.int64] | None = None
    superpixel_sets: str = "{}"

    @property
    def changed(self) -> Bool:
        """Mask of simulated change, dims (y, x)."""
        if self.shapes is None:
            return np.zeros(self.window.target.shape[1:], dtype=bool)
        return np.asarray(self.shapes != 0)


def read_samples(paths: Iterable[Path], faults: Faults = "fatal") -> Iterator[Sample]:
    """Read samples from TFRecord files, one at a time.

    Parameters
    ----------
    paths
        The files, in order.
    faults
        ``"fatal"`` raises at a corrupted record; ``"skip"`` leaves it out and logs it.

    Raises
    ------
    SarcastError
        With file and offset of the corrupted record.
    """
    for path in paths:
        for offset, record in read_records(path, faults):
            try:
                yield decode(record)
            except SarcastError as error:
                line = f"{path}, record at byte {offset}: {error}"
                if faults == "fatal":
                    raise SarcastError(line) from error
                _log.info(f"skipped: {line}")


def write_samples(path: Path, samples: Iterable[Sample]) -> int:
    """Write samples to a GZIP TFRecord file, complete or not at all; return their number."""
    return write_records(path, (encode(sample) for sample in samples))


def decode(record: bytes) -> Sample:
    """Decode a record to a sample.

    Raises
    ------
    SarcastError
        If a feature is missing, of another type or shape, or a time cannot be read.
    """
    features = _Features(read_example(memoryview(record)))
    target = features.tensor("target_image", "f4", (BANDS, None, None))
    size = target.shape[1:]
    stack = features.tensor("input_image_stack", "f4", (None, *size))
    count = stack.shape[0] // BANDS
    if count == 0 or stack.shape[0] % BANDS:
        raise SarcastError(
            f"input_image_stack must have {BANDS} bands per image, but has {stack.shape[0]} in all"
        )
    forest = features.tensor("forestmask", "f4", None, absent=np.empty(0, np.float32))
    if forest.size and forest.shape != size:
        raise SarcastError(
            f"forestmask must have the shape of the images, {size}, but has {forest.shape}"
        )
    window = Window(
        previous=stack.reshape(count, BANDS, *size),
        target=target,
        conditions=_conditions(features, count),
        times=_times(features, count),
        elevation=features.tensor("dem_rast", "f4", size),
        forest=forest != 0.0 if forest.size else None,
    )
    return Sample(
        window,
        location=features.text("image_location"),
        take_ids=(
            *features.texts("input_image_data_take_ids", count),
            features.text("target_image_data_take_id"),
        ),
        **_simulation(features, size),
    )


def encode(sample: Sample) -> bytes:
    """Encode a sample as a record, in the schema that has all of its parts."""
    window = sample.window
    count, size = window.previous.shape[0], window.target.shape[1:]
    forest = np.empty(0) if window.forest is None else window.forest
    times = [_iso_time(time) for time in window.times]
    takes = sample.take_ids or ("",) * (count + 1)
    missions = [_mission(number) for number in window.conditions[:, PLATFORM]]
    features: dict[str, Feature] = {
        "image_location": [sample.location.encode()],
        "dem_rast": _tensor(window.elevation, "f4"),
        "forestmask": _tensor(forest, "f4"),
        "target_image": _tensor(window.target, "f4"),
        "input_image_stack": _tensor(window.previous.reshape(-1, *size), "f4"),
        "target_image_start_time": [times[-1].encode()],
        "input_image_start_times": _tensor(times[:-1], "O"),
        "target_image_data_take_id": [takes[-1].encode()],
        "input_image_data_take_ids": _tensor(takes[:-1], "O"),
        "target_image_mission_id": [missions[-1].encode()],
        "input_image_mission_ids": _tensor(missions[:-1], "O"),
        "target_image_precipitations": _tensor(window.conditions[-1, PRECIPITATION], "f8"),
        "input_image_precipitations": _tensor(window.conditions[:-1, PRECIPITATION], "f8"),
    }
    for name in SCALARS:
        values = window.conditions[:, COLUMNS.index(_COLUMN[name])]
        features[f"target_image_{name}"] = values[-1:].astype("<f4")
        features[f"input_image_{name}s"] = _tensor(values[:-1], "f8")
    return write_example(features | _simulation_features(sample))


class _Features:
    """Features of one record, each checked when it is read."""

    def __init__(self, features: Mapping[str, Feature]) -> None:
        self._features = features

    def __contains__(self, name: str) -> bool:
        return name in self._features

    def number(self, name: str) -> float:
        values = self._get(name)
        if not isinstance(values, np.ndarray) or values.size != 1:
            raise SarcastError(f"{name} must be a single number")
        return float(values[0])

    def text(self, name: str, absent: str | None = None) -> str:
        if absent is not None and name not in self:
            return absent
        return self._bytes(name).tobytes().decode("utf-8", errors="replace")

    def texts(self, name: str, count: int, absent: bool = False) -> list[str]:
        if absent and name not in self:
            return [""] * count
        texts = self.tensor(name, "O", None)
        if absent and texts.size == 0:
            return [""] * count
        if texts.shape != (count,):
            raise SarcastError(f"{name} must have shape ({count},), but has {texts.shape}")
        return [bytes(text).decode("utf-8", errors="replace") for text in texts.tolist()]

    def tensor(
        self,
        name: str,
        dtype: str,
        shape: Sequence[int | None] | None,
        absent: Tensor | None = None,
    ) -> Tensor:
        """Return a tensor; None in ``shape`` allows any size, None for ``shape`` any shape."""
        if absent is not None and name not in self:
            return absent
        tensor = read_tensor(self._bytes(name))
        if tensor.dtype != np.dtype(dtype):
            raise SarcastError(f"{name} must be of type {np.dtype(dtype)}, but is {tensor.dtype}")
        fits = shape is None or (
            len(tensor.shape) == len(shape)
            and all(want in (None, has) for has, want in zip(tensor.shape, shape, strict=True))
        )
        if not fits:
            raise SarcastError(f"{name} must have shape {shape}, but has {tensor.shape}")
        return tensor

    def _bytes(self, name: str) -> memoryview:
        values = self._get(name)
        if isinstance(values, np.ndarray) or len(values) != 1:
            raise SarcastError(f"{name} must be a single byte string")
        return memoryview(values[0])

    def _get(self, name: str) -> Feature:
        if name not in self._features:
            raise SarcastError(f"the sample has no feature {name!r}")
        return self._features[name]


def _conditions(features: _Features, count: int) -> Float:
    rows = np.full((count + 1, len(COLUMNS)), np.nan, dtype=np.float64)
    for name in SCALARS:
        column = COLUMNS.index(_COLUMN[name])
        rows[:-1, column] = features.tensor(f"input_image_{name}s", "f8", (count,))
        rows[-1, column] = features.number(f"target_image_{name}")
    rows[:-1, PRECIPITATION] = features.tensor("input_image_precipitations", "f8", (count, LAGS))
    rows[-1, PRECIPITATION] = features.tensor("target_image_precipitations", "f8", (LAGS,))
    missions = features.texts("input_image_mission_ids", count, absent=True)
    missions.append(features.text("target_image_mission_id", absent=""))
    rows[:, PLATFORM] = [MISSIONS.index(m) if m in MISSIONS else np.nan for m in missions]
    possible = np.abs(rows) < np.finfo(np.float32).max
    return np.where(possible, rows, np.nan).astype(np.float32)


def _times(features: _Features, count: int) -> Times:
    texts = features.texts("input_image_start_times", count)
    texts.append(features.text("target_image_start_time"))
    try:
        moments = [dt.datetime.fromisoformat(text) for text in texts]
        plain = [m.astimezone(dt.UTC).replace(tzinfo=None) if m.tzinfo else m for m in moments]
        return np.array(plain, dtype="datetime64[ns]")
    except (ValueError, OverflowError) as error:
        raise SarcastError(f"a start time cannot be read: {error}") from error


def _simulation(features: _Features, size: tuple[int, ...]) -> dict[str, Any]:
    """Parts of the schema with simulated change, whose images are channels last."""
    if "simulated_change_mask" not in features:
        return {}
    parts: dict[str, Any] = {
        "shapes": features.tensor("simulated_change_mask", "i4", size),
        "simulated": _channels_first(features, "simulated_change_image", size),
        "superpixels": features.tensor("img_superpixel_map", "i8", size),
        "superpixel_sets": features.text("img_superpixel_sets"),
    }
    if "target_image_prediction" in features:
        parts["prediction"] = _channels_first(features, "target_image_prediction", size)
    return parts


def _channels_first(features: _Features, name: str, size: tuple[int, ...]) -> Tensor:
    return np.moveaxis(features.tensor(name, "f4", (*size, BANDS)), -1, 0)


def _simulation_features(sample: Sample) -> dict[str, Feature]:
    if sample.shapes is None:
        return {}
    if sample.simulated is None:
        raise SarcastError("a sample with simulated shapes must have the simulated image as well")
    pixels = np.arange(sample.shapes.size).reshape(sample.shapes.shape)
    superpixels = pixels if sample.superpixels is None else sample.superpixels
    features: dict[str, Feature] = {
        "simulated_change_mask": _tensor(sample.shapes, "i4"),
        "num_simulated_changes": np.array([sample.shapes.max(initial=0)], dtype=np.int64),
        "img_superpixel_map": _tensor(superpixels, "i8"),
        "img_superpixel_sets": [sample.superpixel_sets.encode()],
        "simulated_change_image": _tensor(np.moveaxis(sample.simulated, 0, -1), "f4"),
    }
    if sample.prediction is not None:
        features["target_image_prediction"] = _tensor(np.moveaxis(sample.prediction, 0, -1), "f4")
    return features


def _tensor(values: npt.ArrayLike, dtype: str) -> list[bytes]:
    return [write_tensor(np.asarray(values, dtype=dtype))]


def _mission(number: float) -> str:
    return MISSIONS[int(number)] if np.isfinite(number) else ""


def _iso_time(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, unit="us"))
