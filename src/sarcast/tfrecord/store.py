"""Imported samples: a folder of arrays with random access, for training and evaluation.

``arrays.zarr`` holds one chunk a sample and array, without loss; ``samples.jsonl`` their texts.
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
OF_WINDOW = ("previous", "target", "conditions", "times", "elevation", "forest")
OF_SAMPLE = ("shapes", "simulated", "prediction", "superpixels")
OF_TEXTS = ("location", "take_ids", "superpixel_sets")


def write_store(folder: Path, samples: Iterable[Sample]) -> int:
    """Write samples of one schema and size to a folder that is whole or absent.

    Parameters
    ----------
    folder
        The folder to make.
    samples
        Read one at a time.

    Returns
    -------
    int
        Number of samples.

    Raises
    ------
    SarcastError
        If there is none, or their schemas or sizes differ.
    """
    count = 0
    with new_folder(folder, overwrite=False) as partial:
        root = zarr.open_group(partial / ARRAYS, mode="w", attributes=FORMAT)
        with (partial / TEXTS).open("w", encoding="utf-8") as texts:
            for sample in samples:
                _append(root, _arrays(sample), count)
                line = {name: getattr(sample, name) for name in OF_TEXTS}
                texts.write(json.dumps(line) + "\n")
                count += 1
        if count == 0:
            raise SarcastError("there is no sample to import; name TFRecord files that hold some")
    return count


class SampleStore(Sequence[Sample]):
    """Samples of a folder that ``write_store`` wrote, read as they are asked for.

    Raises
    ------
    SarcastError
        If the folder is no such store.
    """

    def __init__(self, folder: Path) -> None:
        if not is_store(folder):
            raise SarcastError(f"{folder} holds no imported samples; run 'sarcast tfrecord import'")
        root = zarr.open_group(folder / ARRAYS, mode="r")
        if dict(root.attrs) != FORMAT:
            raise SarcastError(f"{folder} was written by another version; import the samples anew")
        self._arrays: dict[str, Any] = {name: root[name] for name in root.array_keys()}
        lines = (folder / TEXTS).read_text(encoding="utf-8").splitlines()
        self._texts = [json.loads(line) for line in lines]

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, number: Any) -> Any:
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number = number % len(self)
        held = {name: array[number] for name, array in self._arrays.items()}
        held["times"] = held["times"].view("datetime64[ns]")
        window = Window(**{name: held.pop(name) for name in OF_WINDOW if name in held})
        texts = dict(self._texts[number])
        return Sample(window, **{**texts, "take_ids": tuple(texts["take_ids"])}, **held)

    def split(self, validation_share: float) -> tuple["SampleSampler", "SampleSampler"]:
        """Samplers for training and validation, of the early and of the latest target dates.

        Parameters
        ----------
        validation_share
            Share of the samples that validate, 0..1, as nearly as whole dates allow.

        Raises
        ------
        SarcastError
            If all samples are of one date.
        """
        times = self._arrays["times"][:, -1].view("datetime64[ns]")
        order = np.argsort(times, kind="stable")
        ends = 1 + np.flatnonzero(np.diff(times[order].astype("datetime64[D]")))
        if len(ends) == 0:
            raise SarcastError(
                f"training needs samples of at least 2 target dates, one to train and one to "
                f"validate, but the store holds {len(self)}, all of one date"
            )
        wanted = len(order) - round(len(order) * validation_share)
        kept = ends[np.abs(ends - wanted).argmin()]
        return SampleSampler(self, order[:kept]), SampleSampler(self, order[kept:])


class SampleSampler:
    """Windows drawn from some of the samples of a store, for training."""

    def __init__(self, store: SampleStore, places: np.ndarray) -> None:
        self._store = store
        self._places = places

    def draw(self, count: int, *, rng: np.random.Generator) -> list[Window]:
        """So many windows, drawn with equal chance."""
        drawn = rng.choice(self._places, count)
        return [self._store[int(place)].window for place in drawn]

    def samples(self) -> Iterator[Sample]:
        """Each of its samples once, in the order of their target dates."""
        return (self._store[int(place)] for place in self._places)

    def dates(self) -> list[str]:
        """First and last target date."""
        times = [self._store[int(place)].window.times[-1] for place in self._places[[0, -1]]]
        return [str(np.datetime_as_string(time, unit="D")) for time in times]


def is_store(folder: Path) -> bool:
    """Tell whether a folder holds imported samples."""
    return (folder / ARRAYS).is_dir() and (folder / TEXTS).is_file()


def _arrays(sample: Sample) -> dict[str, np.ndarray]:
    held = {name: getattr(sample.window, name) for name in OF_WINDOW}
    held |= {name: getattr(sample, name) for name in OF_SAMPLE}
    held["times"] = held["times"].view(np.int64)
    return {name: np.asarray(array) for name, array in held.items() if array is not None}


def _append(root: zarr.Group, arrays: dict[str, np.ndarray], count: int) -> None:
    if count == 0:
        for name, array in arrays.items():
            shape = (0, *array.shape)
            root.create_array(name, shape=shape, chunks=(1, *array.shape), dtype=array.dtype)
    known = dict(root.arrays())
    differ = {name for name in known.keys() ^ arrays.keys()}
    differ |= {n for n in known.keys() & arrays.keys() if known[n].shape[1:] != arrays[n].shape}
    if differ:
        raise SarcastError(
            f"sample {count} differs from the first in {', '.join(sorted(differ))}; "
            f"import samples of another schema or size into a folder of their own"
        )
    for name, array in arrays.items():
        known[name].append(array[np.newaxis])
