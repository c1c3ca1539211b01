"""The state of monitoring on disk: what is known after an acquisition, one folder each.

    ALERTS/state/000012/record.json    number, acquisition, id of the run before, hash of all of it
                        layers.zarr    layers, baselines and event of each pixel
                        events.parquet
    ALERTS/state/null-000009.npz       null distributions since acquisition 9
    ALERTS/history.csv                 rows of events; a record states how many bytes are valid

A state is written to a hidden folder and renamed: a run that is killed leaves the state before an
acquisition or after it. Kept are the last states and the last one of each month.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import zarr

from sarcast.errors import SarcastError
from sarcast.io.files import explain_full_disk
from sarcast.monitoring.baselines import Baselines
from sarcast.monitoring.events import Tracked
from sarcast.monitoring.layers import LAYERS, Layers

VERSION = 1
FOLDER = "state"
KEPT = 4
"""States kept besides the last one of each month."""
CHUNK = 512
"""Side of a chunk of the layers, pixels."""
_WRITING, _REMOVED = ".writing", ".removed"
_RECORD, _LAYERS, _EVENTS = "record.json", "layers.zarr", "events.parquet"


def seconds_of(time: str) -> np.datetime64:
    """Read a time as ``iso_time`` writes it."""
    return np.datetime64(time.removesuffix("Z"), "s")


@dataclass(frozen=True)
class Known:
    """An acquisition that was processed.

    Attributes
    ----------
    time
        ISO 8601, UTC.
    scene_id
        Of its scene; empty if the cube has none.
    view
        Platform, direction and relative orbit, which tell acquisitions of about one time apart.
    """

    time: str
    scene_id: str
    view: str


@dataclass(frozen=True)
class Record:
    """What a state is of.

    Attributes
    ----------
    number
        Of the acquisition, from 1 on.
    known
        All acquisitions so far, in order.
    made_from
        What must not change between runs: grid, bands, model, options, by name.
    null_number, null_time
        Acquisition since which the null distributions hold, and its time.
    history_bytes
        Valid bytes of ``history.csv``.
    notices
        Notifications of this acquisition.
    previous
        Id of the state before; empty for the first.
    hash
        SHA-256 of layers, baselines and events.
    version
        Of this format.
    """

    number: int
    known: tuple[Known, ...]
    made_from: Mapping[str, str]
    null_number: int
    null_time: str
    history_bytes: int
    notices: tuple[dict[str, Any], ...] = ()
    previous: str = ""
    hash: str = ""
    version: int = VERSION

    @property
    def time(self) -> np.datetime64:
        """Time of the acquisition, UTC."""
        return seconds_of(self.known[-1].time)

    @property
    def monitor(self) -> str:
        """Id of the monitor, which all of its states share: digest of what it was begun with."""
        begun = {**self.made_from, "first acquisition": self.known[0].time}
        return hashlib.sha256(_json(begun).encode()).hexdigest()[:16]

    @property
    def id(self) -> str:
        """Digest of all of it, and so of every state before."""
        return hashlib.sha256(_json(asdict(self)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class State:
    """What is known after an acquisition."""

    layers: Layers
    baselines: Baselines
    tracked: Tracked
    record: Record = field(repr=False)

    @classmethod
    def initial(
        cls, shape: tuple[int, int], bands: tuple[str, ...], made_from: Mapping[str, str]
    ) -> Self:
        """Return what is known before the first acquisition."""
        record = Record(0, (), made_from, 0, "", 0)
        layers = Layers.empty(shape, len(bands))
        return cls(layers, Baselines.moving(shape), Tracked.none(shape, bands), record)

    def sealed(self, previous: str) -> Self:
        """Return the state with its hash and the id of the one before."""
        return replace(self, record=replace(self.record, previous=previous, hash=self.digest()))

    def digest(self) -> str:
        """SHA-256 of layers, baselines and events."""
        digest = hashlib.sha256()
        for name, values in sorted(self._arrays().items()):
            digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        digest.update(self.tracked.table.to_csv().encode())
        return digest.hexdigest()

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        baselines = self.baselines
        return {
            **self.layers.arrays(),
            "baseline": baselines.code,
            "renewed_day": baselines.renewed_day,
            "baseline_end": baselines.ends.astype(np.int64),
            "baseline_latest": baselines.latest,
            "event": self.tracked.labels,
        }


@dataclass(frozen=True)
class StateFolder:
    """The states of a monitoring folder, which must be locked to write or remove one."""

    alerts: Path

    @property
    def path(self) -> Path:
        """Where the states are."""
        return self.alerts / FOLDER

    def numbers(self) -> list[int]:
        """Numbers of the kept states, ascending."""
        if not self.path.is_dir():
            return []
        names = (path.name for path in self.path.iterdir() if path.is_dir())
        return sorted(int(name) for name in names if name.isdecimal())

    def check(self) -> None:
        """Raise if the folder is of something else than monitoring."""
        if self.alerts.is_file():
            raise SarcastError(f"{self.alerts} is a file, expected a folder; name another (--to)")
        if not self.path.is_dir() and self.alerts.is_dir() and any(self.alerts.iterdir()):
            raise SarcastError(
                f"{self.alerts} is not empty and has no folder {FOLDER} of sarcast monitor; name "
                f"another folder (--to)"
            )

    def clean(self) -> None:
        """Remove what a killed run left."""
        for path in self.path.glob(".*") if self.path.is_dir() else ():
            shutil.rmtree(path, ignore_errors=True)

    def record(self, number: int) -> Record:
        """Read the record of a state.

        Raises
        ------
        SarcastError
            If it cannot be read, or a newer version wrote it.
        """
        path = self._of(number) / _RECORD
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            version = read["version"]
            if version == VERSION:
                known = tuple(Known(**each) for each in read.pop("known"))
                return Record(known=known, notices=tuple(read.pop("notices")), **read)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise self._damaged(number, str(error)) from error
        raise SarcastError(
            f"{path} is of version {version}, this sarcast reads {VERSION}: use the version of "
            f"sarcast that wrote it, or name another folder (--to)"
        )

    def read(self, number: int, bands: tuple[str, ...]) -> State:
        """Read a state.

        Raises
        ------
        SarcastError
            If it is damaged, or a newer version wrote it.
        """
        record = self.record(number)
        try:
            group = zarr.open_group(self._of(number) / _LAYERS, mode="r")
            arrays = {name: np.asarray(array[...]) for name, array in group.arrays()}
            table = pd.read_parquet(self._of(number) / _EVENTS)
            state = _state(arrays, table, bands, record)
            digest = state.digest()
        except SarcastError:
            raise
        except Exception as error:  # a codec may raise anything on damaged bytes
            raise self._damaged(number, str(error)) from error
        if digest != record.hash:
            raise self._damaged(number, "its content is not what was written")
        return state

    def write(self, state: State) -> None:
        """Write a state; it is there once this returns, and not at all before.

        Raises
        ------
        SarcastError
            If the disk is full.
        """
        partial = self.path / _WRITING
        shutil.rmtree(partial, ignore_errors=True)
        with explain_full_disk(self.alerts):
            partial.mkdir(parents=True)
            _write_arrays(partial / _LAYERS, state._arrays())
            state.tracked.table.to_parquet(partial / _EVENTS)
            (partial / _RECORD).write_text(_json(asdict(state.record)) + "\n", encoding="utf-8")
            partial.rename(self._of(state.record.number))

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove states, the latest first."""
        for number in sorted(numbers, reverse=True):
            removed = self.path / f"{_REMOVED}-{number}"
            self._of(number).rename(removed)
            shutil.rmtree(removed, ignore_errors=True)

    def prune(self) -> None:
        """Remove states that need not be kept, and null distributions that no state needs."""
        records = {number: self.record(number) for number in self.numbers()}
        months = {str(each.time.astype("datetime64[M]")): n for n, each in records.items()}
        kept = {*list(records)[-KEPT:], *months.values()}
        self.remove(set(records) - kept)
        needed = {self.null_path(records[number].null_number) for number in kept}
        for path in self.path.glob("null-*.npz"):
            if path not in needed:
                path.unlink()

    def null_path(self, number: int) -> Path:
        """Path of the null distributions since an acquisition."""
        return self.path / f"null-{number:06d}.npz"

    def _of(self, number: int) -> Path:
        return self.path / f"{number:06d}"

    def _damaged(self, number: int, reason: str) -> SarcastError:
        first = (reason.splitlines() or ["unreadable"])[0]
        return SarcastError(
            f"{self._of(number)} is damaged ({first}): remove this folder, and monitoring goes on "
            f"from the state before it"
        )


def _state(
    arrays: dict[str, npt.NDArray[Any]], table: pd.DataFrame, bands: tuple[str, ...], record: Record
) -> State:
    baselines = Baselines(
        arrays.pop("baseline"),
        arrays.pop("renewed_day"),
        arrays.pop("baseline_end").astype("datetime64[s]"),
        arrays.pop("baseline_latest"),
    )
    tracked = Tracked(arrays.pop("event"), table, tuple(band.lower() for band in bands))
    return State(Layers.from_arrays(arrays), baselines, tracked, record)


def _write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    group = zarr.create_group(path)
    for name, values in arrays.items():
        blank = LAYERS[name].blank if name in LAYERS else 0
        chunks = tuple(min(CHUNK, max(size, 1)) for size in values.shape)
        group.create_array(name, data=values, chunks=chunks, fill_value=blank)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
