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
from sarcast.prediction.deviation import ByDays, Deviation
from sarcast.prediction.model_folder import save_model
from sarcast.sensor.conditions import WEATHER
from sarcast.windows.masking import mask_conditions

SMALL = "boreal-1-small"


def errors(folder: Path) -> dict[str, float]:
    evaluation = json.loads((folder / "evaluation.json").read_text())
    return {result["method"]: result["mse_db2"] for result in evaluation["results"]}


def test_models_of_the_same_name_are_named_by_their_folders(tmp_path: Path) -> None:
    copied = tmp_path / "mine"
    save_model(replace(load_model("base"), deviation=Deviation(ByDays.constant(2.0))), copied)
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "--model", "base", "--model", str(copied), "--name", SMALL, "--windows", "4",
              "--fit-windows", "1", "--to", str(tmp_path / "bench")])  # fmt: skip
    assert {"base", str(copied)} <= set(errors(tmp_path / "bench"))


def test_each_model_is_also_evaluated_without_weather(tmp_path: Path) -> None:
    command = ["bench", "--model", "base", "--name", SMALL, "--windows", "4", "--fit-windows", "1"]
    command += ["--precision", "float32"]
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--without-weather", "--to", str(tmp_path / "bench")])
    model = load_model("base", precision="float32")
    windows = [case.window for case in benchmark_cases(SMALL, range(4))][::2]
    for name, given in (
        ("base", windows),
        ("base without weather", [mask_conditions(window, WEATHER) for window in windows]),
    ):
        squares = [
            np.square(window.target - expected.mean).mean()
            for window, expected in zip(windows, model.expect(given), strict=True)
        ]
        assert errors(tmp_path / "bench")[name] == pytest.approx(np.mean(squares), rel=1e-4)
    evaluation = json.loads((tmp_path / "bench" / "evaluation.json").read_text())
    words = shlex.split(evaluation["provenance"]["command"])
    assert words[:2] == ["sarcast", "bench"]
    given_words = [*command[1:], "--without-weather", "--to", str(tmp_path / "bench")]
    assert sorted(words[2:]) == sorted(given_words)
