"""``sarcast monitor`` on a tiny cube: its folder, its record, its summary, its errors."""

import json
from pathlib import Path

import geopandas
import pytest
import yaml

from small_alerts import DATES, FIRST, SETTINGS, START, alert_cube, day
from test_90_cli import fails, run

FLAGS = [
    word
    for name, value in {**SETTINGS, "start": day(START)}.items()
    for word in ([f"--{name.replace('_', '-')}", str(value)] if name != "outside" else [])
]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A path that opens as the cube of so many dates as its name says."""
    monkeypatch.setattr(
        "sarcast.commands.monitor.open_cube", lambda path: alert_cube(int(path.stem))
    )
    for dates in (FIRST, DATES):
        (tmp_path / f"{dates}.zarr").mkdir()
    return tmp_path / f"{FIRST}.zarr"


def test_two_nights(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alerts, notes = tmp_path / "alerts", tmp_path / "notes.jsonl"
    run("monitor", store, "--model", "mean", "--to", alerts, *FLAGS, "--notify", notes)
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith(f"{FIRST - START} acquisitions, {day(START)} to {day(FIRST - 1)}; ")
    later = store.with_name(f"{DATES}.zarr")
    run("--quiet", "monitor", later, "--config", alerts / "run.yaml", "--json",
        "--replay-from", "2030-01-01")  # fmt: skip
    summary = json.loads(capsys.readouterr().out)
    assert len(summary["acquisitions"]) == DATES - FIRST
    assert summary["events"] == {"confirmed": 1}
    assert summary["undelivered_notifications"] == 0
    assert geopandas.read_file(alerts / "events.gpkg")["state"].tolist() == ["confirmed"]
    assert len(notes.read_text().splitlines()) == 2
    record = yaml.safe_load((alerts / "run.yaml").read_text())["monitor"]
    assert (record["model"], record["misses"]) == ("mean", SETTINGS["misses"])
    assert "replay_from" not in record
    assert record["renew_null"] is False
    run("monitor", later, "--config", alerts / "run.yaml")
    assert f"nothing new since {day(DATES - 1)}" in capsys.readouterr().err


def test_errors_are_one_line(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails(capsys, 1, "monitor", store, "--model", "mean", "--to", store / "inside")
    assert "is, contains or lies in" in line
    line = fails(capsys, 1, "monitor", store, "--model", "none", "--to", tmp_path / "alerts")
    assert "none does not exist" in line
    line = fails(capsys, 2, "monitor", store, "--model", "mean", "--to", tmp_path / "alerts",
                 "--rule", "cusum")  # fmt: skip
    assert "--rule" in line
    line = fails(capsys, 1, "monitor", store, "--model", "mean", "--to", tmp_path / "alerts",
                 "--notify", "ftp://example.com")  # fmt: skip
    assert "takes an http:// or https:// URL or a file" in line
    assert not (tmp_path / "alerts").exists()
