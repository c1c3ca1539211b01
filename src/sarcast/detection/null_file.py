"""Null distributions on disk: ``null.npz`` in a detection folder, and the table of the weights."""

import zlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from sarcast.detection.evidence import Direction
from sarcast.detection.null import Null, Prior
from sarcast.detection.p_values import BINS, Counts
from sarcast.errors import SarcastError
from sarcast.io.files import new_file

FILE = "null.npz"
VERSION = 3
PRIOR = "prior/"
"""Prefix of the names of what is counted beside the replays."""
SHIPPED = "weights/null-{direction}.npz"
"""The table of the weights; loss and gain have one together."""
SHIPPED_LOOKS = (1, 2, 3, 4, 6, 8)
"""Numbers of watched acquisitions of the table."""
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error)


def write_null(null: Null, path: Path) -> None:
    """Write null distributions, without objects that would need a pickle."""
    with new_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **_stored(null))


def write_shipped(tables: Mapping[int, Prior], path: Path, *, finest_m: float) -> None:
    """Write the table of the weights.

    Parameters
    ----------
    tables
        By number of watched acquisitions.
    path
        The file.
    finest_m
        Finest scale that they were measured at, metres.
    """
    parts = {
        f"{looks}/{name}": values
        for looks, table in tables.items()
        for name, values in _stored_prior(table).items()
    }
    with new_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file, looks=np.array(list(tables)), finest_m=np.array(finest_m), **parts
        )


def read_null(path: Path) -> Null:
    """Read what ``write_null`` wrote; a folder stands for the file in it.

    Raises
    ------
    SarcastError
        If it does not exist, or is something else.
    """
    path = path / FILE if path.is_dir() else path
    try:
        # a file that numpy opens itself stays open where it is no archive
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return _null(stored)
    except FileNotFoundError as error:
        raise SarcastError(
            f"{path} does not exist: expected the {FILE} of a folder that sarcast detect wrote"
        ) from error
    except _UNREADABLE as error:
        raise SarcastError(
            f"{path} does not hold null distributions as sarcast detect writes them: {error}; "
            f"delete it, and the past is replayed"
        ) from error


def shipped_prior(looks: int, direction: Direction, finest_m: float) -> Prior:
    """Read the table that ships with the weights.

    Parameters
    ----------
    looks
        Number of watched acquisitions; the table with the nearest number is taken.
    direction
        Of the changes.
    finest_m
        Finest scale of the statistics that it is counted beside, metres.
    """
    kind = "both" if direction == "both" else "signed"
    source = files("sarcast").joinpath(SHIPPED.format(direction=kind))
    with source.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        known = stored["looks"]
        table = _prior(stored, f"{int(known[np.argmin(np.abs(known - looks))])}/")
        return table.at_scale(finest_m / float(stored["finest_m"]))


def _stored(null: Null) -> dict[str, Any]:
    prior = {} if null.prior is None else _stored_prior(null.prior)
    return {
        "version": np.array(VERSION),
        "strata": null.strata,
        "names": np.array(null.names),
        **_stored_counts(null.counts),
        "combined": null.combined,
        "peaks": np.concatenate([np.zeros(0), *null.peaks]),
        "peaks_of": np.array([len(peaks) for peaks in null.peaks], dtype=np.int64),
        "area_km2": np.array(null.area_km2),
        "knows_season": np.array(null.knows_season),
        "made_from": np.array([f"{name}={value}" for name, value in null.made_from.items()]),
        **{f"{PRIOR}{name}": values for name, values in prior.items()},
    }


def _stored_prior(prior: Prior) -> dict[str, Any]:
    return {
        **_stored_counts(prior.counts),
        "combined": prior.combined,
        "peaks": prior.peaks,
        "exposure_km2": np.array(prior.exposure_km2),
    }


def _stored_counts(counts: Counts) -> dict[str, Any]:
    """Histograms, which are mostly empty: their cells, and the counts there."""
    return {
        "cells": np.flatnonzero(counts),
        "values": counts[counts > 0],
        "shape": np.array(counts.shape),
    }


def _null(stored: Mapping[str, Any]) -> Null:
    if int(stored["version"]) != VERSION:
        raise ValueError(f"it has version {int(stored['version'])}, not {VERSION}")
    counts = _counts(stored)
    if stored["combined"].shape != (len(counts), BINS):
        raise ValueError("its parts do not fit together")
    ends = np.cumsum(stored["peaks_of"])[:-1]
    return Null(
        strata=stored["strata"],
        names=tuple(map(str, stored["names"])),
        counts=counts,
        combined=stored["combined"],
        peaks=tuple(np.split(stored["peaks"], ends)) if len(counts) else (),
        area_km2=tuple(map(float, stored["area_km2"])),
        knows_season=bool(stored["knows_season"]),
        made_from=dict(str(entry).split("=", 1) for entry in stored["made_from"]),
        prior=_prior(stored, PRIOR) if f"{PRIOR}combined" in stored else None,
    )


def _prior(stored: Mapping[str, Any], prefix: str) -> Prior:
    counts, combined = _counts(stored, prefix), stored[f"{prefix}combined"]
    if counts.shape[1:] != (BINS,) or combined.shape != (BINS,):
        raise ValueError("its parts do not fit together")
    return Prior(counts, combined, stored[f"{prefix}peaks"], float(stored[f"{prefix}exposure_km2"]))


def _counts(stored: Mapping[str, Any], prefix: str = "") -> Counts:
    counts = np.zeros(tuple(int(side) for side in stored[f"{prefix}shape"]), dtype=np.int64)
    counts.flat[stored[f"{prefix}cells"]] = stored[f"{prefix}values"]
    return counts
