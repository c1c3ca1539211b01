"""Imported samples: a folder of arrays with random access, for training and evaluation.

``arrays.zarr`` stores the arrays without loss, one chunk per sample; ``samples.jsonl`` the texts.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from sarcast.errors import SarcastError
from sarcast.io.files import new_folder
from sarcast.tfrecord.samples import Sample
from sarcast.windows import Window

ARRAYS, TEXTS = "arrays.zarr", "samples.jsonl"
FORMAT: dict[str, Any] = {"format": "sarcast samples", "version": 1}
WINDOW_PARTS = ("previous", "target", "conditions", "times", "elevation", "forest")
SAMPLE_PARTS = ("shapes", "simulated", "prediction", "superpixels")
TEXT_PARTS = ("location", "take_ids", "superpixel_sets")


def write_store(folder: Path, samples: Iterable[Sample]) -> int:
    """Write samples of one schema and size to a folder, complete or not at all.

    Parameters
    ----------
    folder
        The new folder.
    samples
        The samples, read one at a time.

    Returns
    -------
    int
        Number of samples.

    Raises
    ------
    SarcastError
        If there is no sample, or schemas or sizes differ.
    """
    with new_folder(folder, overwrite=False) as partial:
        return fill_store(partial, samples)


def fill_store(folder: Path, samples: Iterable[Sample]) -> int:
    """Write samples into an existing, empty folder; as ``write_store``."""
    count = 0
    root = zarr.open_group(folder / ARRAYS, mode="w", attributes=FORMAT)
    with (folder / TEXTS).open("w", encoding="utf-8") as texts:
        for sample in samples:
            _append(root, _arrays(sample), count)
            line = {name: getattr(sample, name) for name in TEXT_PARTS}
            texts.write(json.dumps(line) + "\n")
            count += 1
    if count == 0:
        raise SarcastError("there is no sample to import; name TFRecord files that contain samples")
    return count


class SampleStore(Sequence[Sample]):
    """Samples of a folder written by ``write_store``, read on access.

    Raises
    ------
    SarcastError
        If the folder is not such a store.
    """

    def __init__(self, folder: Path) -> None:
        if not is_store(folder):
            raise SarcastError(
                f"{folder} contains no imported samples; run 'sarcast tfrecord import'"
            )
        root = zarr.open_group(folder / ARRAYS, mode="r")
        if dict(root.attrs) != FORMAT:
            raise SarcastError(f"{folder} was written by another version; import the samples again")
        self._arrays: dict[str, Any] = {name: root[name] for name in root.array_keys()}
        lines = (folder / TEXTS).read_text(encoding="utf-8").splitlines()
        self._texts = [json.loads(line) for line in lines]

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, number: Any) -> Any:
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number = number % len(self)
        parts = {name: array[number] for name, array in self._arrays.items()}
        parts["times"] = parts["times"].view("datetime64[ns]")
        window = Window(**{name: parts.pop(name) for name in WINDOW_PARTS if name in parts})
        texts = dict(self._texts[number])
        return Sample(window, **{**texts, "take_ids": tuple(texts["take_ids"])}, **parts)

    def split(self, validation_share: float) -> tuple["SampleSampler", "SampleSampler"]:
        """Split into samplers for training, of early target dates, and validation, of the latest.

        Parameters
        ----------
        validation_share
            Share of the samples for validation, 0..1, as closely as whole dates allow.

        Raises
        ------
        SarcastError
            If all samples are of the same date.
        """
        times = self._arrays["times"][:, -1].view("datetime64[ns]")
        order = np.argsort(times, kind="stable")
        ends = 1 + np.flatnonzero(np.diff(times[order].astype("datetime64[D]")))
        if len(ends) == 0:
            raise SarcastError(
                f"training needs samples of at least 2 target dates, one to train and one to "
                f"validate, but the store contains {len(self)}, all of one date"
            )
        wanted = len(order) - round(len(order) * validation_share)
        kept = ends[np.abs(ends - wanted).argmin()]
        return SampleSampler(self, order[:kept]), SampleSampler(self, order[kept:])


class SampleSampler:
    """Random windows of some of the samples of a store, for training."""

    def __init__(self, store: SampleStore, indices: np.ndarray) -> None:
        self._store = store
        self._indices = indices

    def draw(self, count: int, *, rng: np.random.Generator) -> list[Window]:
        """Draw ``count`` windows, each sample with equal probability."""
        drawn = rng.choice(self._indices, count)
        return [self._store[int(index)].window for index in drawn]

    def samples(self) -> Iterator[Sample]:
        """Iterate over its samples in the order of their target dates."""
        return (self._store[int(index)] for index in self._indices)

    def dates(self) -> list[str]:
        """Return the first and the last target date, ISO 8601."""
        times = [self._store[int(index)].window.times[-1] for index in self._indices[[0, -1]]]
        return [str(np.datetime_as_string(time, unit="D")) for time in times]


def is_store(folder: Path) -> bool:
    """Return whether a folder contains imported samples."""
    return (folder / ARRAYS).is_dir() and (folder / TEXTS).is_file()


def _arrays(sample: Sample) -> dict[str, np.ndarray]:
    parts = {name: getattr(sample.window, name) for name in WINDOW_PARTS}
    parts |= {name: getattr(sample, name) for name in SAMPLE_PARTS}
    parts["times"] = parts["times"].view(np.int64)
    return {name: np.asarray(array) for name, array in parts.items() if array is not None}


def _append(root: zarr.Group, arrays: dict[str, np.ndarray], count: int) -> None:
    if count == 0:
        for name, array in arrays.items():
            shape = (0, *array.shape)
            root.create_array(name, shape=shape, chunks=(1, *array.shape), dtype=array.dtype)
    stored = dict(root.arrays())
    differ = {name for name in stored.keys() ^ arrays.keys()}
    differ |= {n for n in stored.keys() & arrays.keys() if stored[n].shape[1:] != arrays[n].shape}
    if differ:
        raise SarcastError(
            f"sample {count} differs from the first in {', '.join(sorted(differ))}; "
            f"import samples of different schemas or sizes into separate folders"
        )
    for name, array in arrays.items():
        stored[name].append(array[np.newaxis])
