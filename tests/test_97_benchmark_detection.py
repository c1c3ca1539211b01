"""The benchmark of detection: rows are pooled over areas, kept, and read again."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from benchmarks import detection
from sarcast.evaluation.detection.simulation import PersistentOptions
from sarcast.evaluation.metrics.detections import DetectionEvaluation
from sarcast.evaluation.simulation.changes import Offset

ROW = "-6 dB, 2 acquisitions"


def series(seed: int) -> xr.Dataset:
    """Noise around a constant image of 48 x 48 pixels of 30 m, until the end of 2024."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0.0, 0.7, (28, 2, 48, 48)).astype(np.float32)
    image += np.array([-10.0, -16.0], dtype=np.float32)[:, None, None]
    start = np.datetime64("2024-05-01T14:00", "ns")
    return xr.Dataset(
        {"backscatter": (("time", "band", "y", "x"), image)},
        coords={
            "time": start + np.arange(28) * np.timedelta64(6, "D"),
            "band": ["VV", "VH"],
            "y": 4_000_000.0 - 30.0 * np.arange(48),
            "x": 400_000.0 + 30.0 * np.arange(48),
            "heading": ("time", np.full(28, -12.0, np.float32)),
        },
    )


@pytest.fixture
def bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    cubes = {"opera-1": series(1), "opera-2": series(2), detection.WATER[0]: series(3)}
    monkeypatch.setattr(detection, "opera", lambda _: cubes)
    monkeypatch.setattr(detection, "worldcereal", lambda _: {})
    monkeypatch.setattr(detection, "BURST_ROWS", {ROW: (2, Offset((-6.0, -6.0)), "first")})
    changes = PersistentOptions(radius_px=(3.0, 4.0), most=2, share=0.05)
    monkeypatch.setattr(detection, "BURST_CHANGES", changes)


@pytest.mark.usefixtures("bursts")
def test_a_row_pools_the_bursts_on_land_and_is_kept(tmp_path: Path) -> None:
    words = ["bursts", "data", "--to", str(tmp_path), "--every", "3", "--rivals", "means"]
    detection.main(words)
    (path,) = tmp_path.glob("*.json")
    evaluation = DetectionEvaluation.read(path)
    network, *means = evaluation.results
    assert [each.detector for each in means] == ["mean", "pass-mean", "season-mean"]
    areas = {watch.watch.split()[0] for watch in evaluation.scores[0].watches}
    assert areas == {"opera-1", "opera-2"}
    assert network.own.recall == 1.0  # 6 dB in noise of 0.7 dB
    table = (tmp_path / "detection.md").read_text()
    assert table.startswith(f"## {ROW}")
    assert "| base |" in table
    written = path.stat().st_mtime_ns
    detection.main(words)
    assert path.stat().st_mtime_ns == written


@pytest.mark.usefixtures("bursts")
def test_shares_of_wet_days_are_of_the_series_that_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = str(series(1)["time"].values[-3])[:10]
    monkeypatch.setattr(detection, "WET_DAYS", {"opera": day, "worldcereal": day})
    detection.main(["wet", "data", "--to", str(tmp_path)])
    text = (tmp_path / "wet.json").read_text()
    assert f"opera-1 {day}, 1 acquisitions" in text
    assert detection.WATER[0] not in text


def test_worlds_are_written_once_and_their_changes_watched(tmp_path: Path) -> None:
    words = ["worlds", "--to", str(tmp_path), "--seeds", "0", "--size-km", "0.64"]
    words += ["--changes-per-km2", "10", "--acquisitions", "2", "--without-cover"]
    words += ["--start", "2020-06-15", "--rivals", "none"]
    detection.main(words)
    (path,) = tmp_path.glob("*.json")
    evaluation = DetectionEvaluation.read(path)
    assert path.stem == "boreal-without-cover-2-acquisitions"
    assert evaluation.watches >= 8
    assert not (tmp_path / "boreal-3" / "world" / "scenes").exists()
