"""The state of monitoring on disk: what is known after an acquisition, one folder each.

    ALERTS/state/000012/record.json    number, acquisition, id of the run before, hash of all of it
                        layers.zarr    layers, baseline and event of each pixel, read by parts
                        events.parquet
    ALERTS/state/null-000009.npz       null distributions since acquisition 9
    ALERTS/history.csv                 rows of events; a record states how many bytes are valid

A state is written to a hidden folder, part by part, and renamed: a run that is killed leaves the
state before an acquisition or after it. Kept are the last states and the last one of each month.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import zarr

from sarcast.detection.blocks import Each, each_in_turn
from sarcast.errors import SarcastError
from sarcast.io.files import explain_full_disk, scratch_folder
from sarcast.io.scratch import Array
from sarcast.monitoring.baselines import Fixed
from sarcast.monitoring.events import Tracked
from sarcast.monitoring.pixels import KINDS, Pixels, chunk_of

VERSION = 2
FOLDER = "state"
KEPT = 4
"""States kept besides the last one of each month."""
_WRITING, _REMOVED, _SCRATCH = ".writing", ".removed", ".scratch"
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
        SHA-256 of pixels and events.
    version
        Of this format.
    fixed
        Fixed baselines, as ``Fixed`` stores them.
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
    fixed: tuple[tuple[str, bool], ...] = ()

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
    """What is known after an acquisition.

    Attributes
    ----------
    pixels
        What is known of each pixel, read by parts.
    tracked
        The events; their labels are those of the pixels.
    record
        What it is a state of.
    """

    pixels: Pixels
    tracked: Tracked
    record: Record = field(repr=False)

    @classmethod
    def initial(
        cls, shape: tuple[int, int], bands: tuple[str, ...], made_from: Mapping[str, str]
    ) -> Self:
        """Return what is known before the first acquisition."""
        record = Record(0, (), made_from, 0, "", 0)
        return cls(Pixels.blank(shape, len(bands)), Tracked.none(shape, bands), record)

    @property
    def fixed(self) -> Fixed:
        """The fixed baselines."""
        return Fixed.of(self.record.fixed)

    def sealed(self, previous: str, each: Each = each_in_turn) -> Self:
        """Return the state with its hash and the id of the one before."""
        return replace(self, record=replace(self.record, previous=previous, hash=self.digest(each)))

    def digest(self, each: Each = each_in_turn) -> str:
        """SHA-256 of pixels and events."""
        text = self.pixels.digest(each) + self.tracked.table.to_csv()
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def is_in_memory(self) -> bool:
        """Whether the state does not need its folder."""
        return isinstance(self.tracked.labels, np.ndarray)

    def in_memory(self) -> Self:
        """Read all pixels, which must fit: the state no longer needs its folder."""
        pixels = self.pixels.in_memory()
        return replace(
            self, pixels=pixels, tracked=replace(self.tracked, labels=pixels.arrays["event"])
        )


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
                return Record(**{**read, **_listed(read)})
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise self._damaged(number, str(error)) from error
        raise SarcastError(
            f"{path} is of version {version}, this sarcast reads {VERSION}: use the version of "
            f"sarcast that wrote it, or name another folder (--to)"
        )

    def read(self, number: int, bands: tuple[str, ...]) -> State:
        """Open a state, whose pixels are read by parts, and check its hash.

        Raises
        ------
        SarcastError
            If it is damaged, or a newer version wrote it.
        """
        record = self.record(number)
        try:
            state = self._open(record, bands)
            digest = state.digest()
        except Exception as error:  # a codec may raise anything on damaged bytes
            raise self._damaged(number, str(error)) from error
        if digest != record.hash:
            raise self._damaged(number, "its content is not what was written")
        return state

    @contextmanager
    def draft(self, shape: tuple[int, int], bands: int) -> Iterator[Mapping[str, Array]]:
        """Give the arrays of a new state, to be filled by parts and then written by ``write``.

        Parameters
        ----------
        shape
            Rows and columns of the area.
        bands
            Number of bands.

        Yields
        ------
        dict
            By name, as in ``Pixels``. They are removed unless ``write`` is called before the end.

        Raises
        ------
        SarcastError
            If the disk is full.
        """
        partial = self.path / _WRITING
        shutil.rmtree(partial, ignore_errors=True)
        try:
            with explain_full_disk(self.alerts):
                partial.mkdir(parents=True)
                yield _new_arrays(partial / _LAYERS, shape, bands)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def write(self, state: State) -> State:
        """Write a state whose pixels are those of ``draft``.

        It is there once this returns, and not at all before.

        Returns
        -------
        State
            The same, with its pixels where they are now.
        """
        partial = self.path / _WRITING
        state.tracked.table.to_parquet(partial / _EVENTS)
        (partial / _RECORD).write_text(_json(asdict(state.record)) + "\n", encoding="utf-8")
        partial.rename(self._of(state.record.number))
        pixels = Pixels(_arrays(self._of(state.record.number)))
        return State(pixels, replace(state.tracked, labels=pixels.arrays["event"]), state.record)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder for intermediate results, which is deleted at the end."""
        with scratch_folder(self.path / _SCRATCH) as folder:
            yield folder
        with suppress(OSError):
            self.path.rmdir()  # of a first run that failed

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

    def _open(self, record: Record, bands: tuple[str, ...]) -> State:
        folder = self._of(record.number)
        pixels = Pixels(_arrays(folder))
        pixels.check(pixels.shape, len(bands))
        names = tuple(band.lower() for band in bands)
        tracked = Tracked(pixels.arrays["event"], pd.read_parquet(folder / _EVENTS), names)
        return State(pixels, tracked, record)

    def _damaged(self, number: int, reason: str) -> SarcastError:
        first = (reason.splitlines() or ["unreadable"])[0]
        return SarcastError(
            f"{self._of(number)} is damaged ({first}): remove this folder, and monitoring goes on "
            f"from the state before it"
        )


def _listed(read: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of a record as read from JSON, as a record has them."""
    return {
        "known": tuple(Known(**each) for each in read["known"]),
        "fixed": tuple((str(end), bool(latest)) for end, latest in read["fixed"]),
        "notices": tuple(read["notices"]),
    }


def _arrays(folder: Path) -> dict[str, Array]:
    group = zarr.open_group((folder / _LAYERS).absolute(), mode="r")
    return dict(group.arrays())


def _new_arrays(path: Path, shape: tuple[int, int], bands: int) -> dict[str, Array]:
    """Arrays on disk whose chunks are the parts: of several parts written at a time, none tears."""
    group = zarr.create_group(path.absolute())
    made: dict[str, Array] = {}
    for name, kind in KINDS.items():
        sides = kind.shape(shape, bands)
        made[name] = group.create_array(
            name,
            shape=sides,
            dtype=np.dtype(kind.dtype),
            chunks=chunk_of(sides),
            fill_value=kind.blank,
        )
    return made


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
