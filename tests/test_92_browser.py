"""The report as a browser shows it."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from sarcast.evaluation.metrics import Evaluator, ScoreKey, count_scores
from sarcast.evaluation.report.html import Panel, write_report

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of one method whose scores separate changed from unchanged pixels perfectly."""
    evaluator = Evaluator({"mean": "strategy"})
    scores = np.linspace(0.0, 1.0, 400, dtype=np.float32).reshape(20, 20)
    key = ScoreKey("mean", "offset -2.5 dB", "norm")
    evaluator.add_scores(key, count_scores(scores, scores > 0.5), "a window")
    image = np.stack([10.0 * scores - 15.0, 10.0 * scores - 22.0])
    panel = Panel("a window", image, scores > 0.5, image, image)
    path = tmp_path_factory.mktemp("report") / "report.html"
    evaluation = evaluator.result("A title", {}, rng=np.random.default_rng(0))
    write_report(evaluation, [panel], path)
    return path


def run_browser(chromium: str, folder: Path, *words: str) -> str:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command = [chromium, *flags, f"--user-data-dir={folder / 'profile'}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def test_the_browser_finds_table_and_figures(chromium: str, page: Path, tmp_path: Path) -> None:
    dom = run_browser(chromium, tmp_path, "--dump-dom", page.as_uri())
    assert "A title" in dom
    assert "1.000" in dom
    assert dom.count("<svg") >= 1
    assert "data:image/png;base64," in dom


def test_the_page_is_painted(chromium: str, page: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    words = (f"--screenshot={picture}", "--window-size=1000,1600", page.as_uri())
    run_browser(chromium, tmp_path, *words)
    painted = imread(picture)
    colours = np.unique(painted.reshape(-1, painted.shape[-1]), axis=0)
    assert len(colours) > 50
