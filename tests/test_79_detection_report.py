"""The result of an evaluation of detection, and its page: a map first, tables, the curve."""

import re
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, box

from sarcast.errors import SarcastError
from sarcast.evaluation.metrics.detections import DetectionEvaluation
from sarcast.evaluation.metrics.events import DetectorScores, TruthScore, WatchScore
from sarcast.evaluation.report.detection import (
    ChangeMap,
    conventional_ahead,
    detection_headline,
    map_figure,
    recall_figure,
    write_detection_report,
)
from sarcast.evaluation.report.figures import svg

LEVELS = (-1.0, 0.0, 1.0)
WATCHES = 6


def detector(name: str, role: str, found: int, false: tuple[int, int, int]) -> DetectorScores:
    """Six watches of 100 km² and two acquisitions; in each, some of four changes are found."""
    truths = tuple(
        TruthScore(
            kind="offset",
            area_ha=0.6 + 3.0 * number,
            magnitude_db=2.5,
            level=0.0 if number < found else None,
            overlap=0.5 if number < found else None,
            date_error=number if number < found else None,
        )
        for number in range(4)
    )
    events = tuple(n + (found if level <= 0 else 0) for n, level in zip(false, LEVELS, strict=True))
    watches = tuple(
        WatchScore(
            watch=f"2020-{month:02d}",
            km2=100.0,
            acquisitions=2,
            events=events,
            false_events=false,
            truths=truths,
            auc=0.75,
        )
        for month in range(1, WATCHES + 1)
    )
    own = None if role == "rule" else 0.0
    return DetectorScores(name=name, role=role, levels=LEVELS, own_level=own, watches=watches)


def evaluation(network: int = 3, strategy: int = 2) -> DetectionEvaluation:
    scores = [
        detector("base <1>", "network", network, (9, 1, 0)),
        detector("season-mean", "strategy", strategy, (9, 1, 0)),
        detector("PWTT", "rule", 1, (9, 9, 0)),
    ]
    return DetectionEvaluation.of(
        scores, "Detection & more", 10.0, {"command": "x"}, rng=np.random.default_rng(0)
    )


def test_measures_of_each_detector() -> None:
    result = evaluation()
    network, _, rule = result.results
    assert result.km2_acquisitions == pytest.approx(1200.0)
    assert (network.own.recall, network.own.precision) == (0.75, 0.75)
    assert network.own.false_events == pytest.approx(5.0)  # one in each watch of 0.2 · 1 000 km²
    assert network.overlap == 0.5
    assert network.dated == pytest.approx(2 / 3)
    assert network.date_error == pytest.approx(1.0)
    assert network.auc == 0.75
    assert rule.own is None
    assert rule.equal.level == 1.0
    assert rule.equal.recall == 0.0
    # of seven rates from 3.3 to 30, the five above 5 allow the level that has one false event
    gains = {gain.than: gain.gain for gain in result.paired}
    assert gains == pytest.approx({"season-mean": 0.25 * 5 / 7, "PWTT": 0.75 * 5 / 7})


def test_it_is_written_and_read_back(tmp_path: Path) -> None:
    result = evaluation()
    result.write(tmp_path / "detection.json")
    assert DetectionEvaluation.read(tmp_path / "detection.json") == result
    with pytest.raises(SarcastError, match="cannot be read"):
        DetectionEvaluation.read(tmp_path / "absent.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(SarcastError, match="not an evaluation of detection"):
        DetectionEvaluation.read(tmp_path / "other.json")


def test_the_headline_has_the_figures_of_the_network() -> None:
    (sentence,) = detection_headline(evaluation())
    assert "base <1> finds 18 of 24 changes (75%), precision 0.75" in sentence
    assert "5.0 false events" in sentence
    assert "where 10 were asked" in sentence


def test_a_strategy_that_is_ahead_is_named() -> None:
    assert conventional_ahead(evaluation(network=3, strategy=3)) is None
    sentence = conventional_ahead(evaluation(network=2, strategy=3))
    assert "season-mean is ahead of base <1>: it finds 0.18 more" in sentence
    assert "interval +0.18 to +0.18" in sentence
    assert "chance" not in sentence
    assert "detect --model season-mean" in sentence


def change_map() -> ChangeMap:
    image = np.random.default_rng(0).normal(-12, 2, (2, 30, 40)).astype(np.float32)
    hole = box(100, 100, 200, 200).difference(box(140, 140, 160, 160))
    outlines = {
        "found": [hole],
        "missed": [MultiPolygon([box(0, 0, 10, 10), box(20, 20, 30, 30)])],
        "false": [],
    }
    return ChangeMap("base <1>, until 2020-06", image, (0.0, 400.0, 0.0, 300.0), outlines)


def test_the_map_draws_every_ring_in_the_colour_of_what_it_is() -> None:
    (axes,) = map_figure(change_map()).axes
    colours = [line.get_color() for line in axes.lines]
    assert colours == ["#16a34a"] * 2 + ["#f97316"] * 2
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["found (1)", "missed (1)", "false (0)", "not counted (0)"]


def test_the_curve_is_the_same_to_the_byte() -> None:
    assert svg(recall_figure(evaluation())) == svg(recall_figure(evaluation()))


def test_the_page_begins_with_the_map_and_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_detection_report(evaluation(), [change_map()], path)
    page = path.read_text()
    assert page.index("<img") < page.index("<h2>")
    assert "Detection &amp; more" in page
    assert "base &lt;1&gt;" in page
    assert "<1>" not in page
    assert all(a.startswith("data:") for a in re.findall(r'src="([^"]*)"', page))
    assert "0.75 (18 of 24)" in page  # by kind, at equally many false events
    assert "1.00 (6 of 6)" in page  # by area
    assert "<a " not in page
    write_detection_report(evaluation(), [change_map()], path, '../"map".html')
    (link,) = re.findall(r'<a href="([^"]*)">', path.read_text())
    assert link == "../&#34;map&#34;.html"
