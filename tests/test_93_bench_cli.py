"""``sarcast bench`` from the command line."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sarcast.cli import main
from sarcast.evaluation.benchmark import benchmark_cases
from sarcast.prediction import load_model
from sarcast.prediction.model import save_model
from sarcast.sensor.conditions import WEATHER
from sarcast.windows.without import window_without

SMALL = "boreal-1-small"


def errors(folder: Path) -> dict[str, float]:
    told = json.loads((folder / "evaluation.json").read_text())
    return {one["method"]: one["mse_db2"] for one in told["results"]}


def test_models_of_one_name_go_by_their_folders(tmp_path: Path) -> None:
    copied = tmp_path / "mine"
    save_model(replace(load_model("base"), std_factor=2.0), copied)
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "--model", "base", "--model", str(copied), "--name", SMALL, "--windows", "4",
              "--fit-windows", "1", "--to", str(tmp_path / "bench")])  # fmt: skip
    assert {"base", str(copied)} <= set(errors(tmp_path / "bench"))


def test_each_model_is_tried_without_weather_too(tmp_path: Path) -> None:
    command = ["bench", "--model", "base", "--name", SMALL, "--windows", "4", "--fit-windows", "1"]
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--without-weather", "--to", str(tmp_path / "bench")])
    model = load_model("base")
    windows = [case.window for case in benchmark_cases(SMALL, range(4))][::2]
    for name, told in (
        ("base", windows),
        ("base without weather", [window_without(one, WEATHER) for one in windows]),
    ):
        squares = [
            np.square(window.target - expected.mean).mean()
            for window, expected in zip(windows, model.expect(told), strict=True)
        ]
        assert errors(tmp_path / "bench")[name] == pytest.approx(np.mean(squares), rel=1e-4)
    told = json.loads((tmp_path / "bench" / "evaluation.json").read_text())["provenance"]["command"]
    asked = [*command, "--without-weather", "--to", str(tmp_path / "bench")]
    given, words = asked[1:], shlex.split(told)
    assert words[:2] == ["sarcast", "bench"]
    assert sorted(words[2:]) == sorted(given)
