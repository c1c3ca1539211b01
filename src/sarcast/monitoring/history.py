"""The history of events: one row per event and acquisition, appended to ``history.csv``.

A state knows how many bytes of the file are valid. What a killed run has appended beyond them is
cut off by the next one.
"""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from sarcast.detection.runs import HISTORY
from sarcast.errors import SarcastError
from sarcast.io.files import explain_full_disk
from sarcast.monitoring.alerts import AREAS
from sarcast.monitoring.events import Step


def rows_of(step: Step, time: str, pixel_ha: float) -> pd.DataFrame:
    """Rows of an acquisition: date, event, state, areas in hectares, evidence, mean by band."""
    touched = step.touched
    areas = {name.replace("_px", "_ha"): (touched[name] * pixel_ha).round(4) for name in AREAS}
    means = {name: touched[name].round(3) for name in map(str, touched) if name.startswith("mean_")}
    rows: dict[str, Any] = {
        "date": time,
        "id": touched.index,
        "state": touched["state"],
        **areas,
        "evidence": touched["evidence"].round(3),
        **means,
        "merged_into": touched["merged_into"],
    }
    return pd.DataFrame(rows)


def append(folder: Path, valid_bytes: int, rows: pd.DataFrame) -> int:
    """Append rows after the valid bytes of the file, and return how many it then has.

    Raises
    ------
    SarcastError
        If the file is shorter than that: somebody changed it; or if the disk is full.
    """
    path = folder / HISTORY
    length = path.stat().st_size if path.exists() else 0
    if length < valid_bytes:
        raise SarcastError(
            f"{path} has {length} bytes, expected at least {valid_bytes}: it was changed; put it "
            f"back, or begin anew with --replay-from and the first date"
        )
    text = rows.to_csv(index=False, header=valid_bytes == 0, lineterminator="\n")
    with explain_full_disk(folder), path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(valid_bytes)
        file.seek(valid_bytes)
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    return valid_bytes + len(text.encode())
