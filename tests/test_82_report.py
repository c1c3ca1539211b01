import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from sarcast.errors import SarcastError
from sarcast.evaluation.metrics import (
    Evaluation,
    Evaluator,
    MapKey,
    ScoreKey,
    count_calibration,
    count_closer,
    count_confusion,
    count_errors,
    count_scores,
)
from sarcast.evaluation.report.figures import (
    composite,
    groups_figure,
    panel_figure,
    roc_figure,
    scenarios_figure,
)
from sarcast.evaluation.report.html import (
    ComparisonTable,
    Panel,
    Scenario,
    best_by_role,
    headline,
    save_panel_png,
    write_report,
)
from sarcast.evaluation.report.tables import markdown

ROLES = {"unet": "network", "latest": "strategy", "oracle": "oracle"}


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    rng = np.random.default_rng(0)
    evaluator = Evaluator(ROLES)
    for number in range(6):
        changed = rng.random((20, 20)) < 0.2
        for rank, method in enumerate(ROLES):
            for change in ("offset", "statistical <b>"):
                scores = rng.random((20, 20), dtype=np.float32) + (0.9 - 0.3 * rank) * changed
                key = ScoreKey(method, change, "norm")
                state = count_scores(scores.astype(np.float32), changed)
                evaluator.add_scores(key, state, str(number), [("pass", "ascending")])
                called = count_confusion(scores > 1, changed)
                evaluator.add_map(MapKey(method, change, "otsu"), called, str(number))
            evaluator.add_errors(method, count_errors(scores[None], np.zeros((1, 20, 20))))
            images = scores[None], np.full((1, 20, 20), 0.5), np.full((1, 20, 20), 0.2 * rank)
            evaluator.add_closer(method, count_closer(*images, ["VH"]))
        evaluator.add_calibration("unet", count_calibration(rng.normal(size=(2, 20, 20))))
    return evaluator.result(
        "A <title> & more", {"command": "sarcast x", "versions": {"numpy": "2"}}, rng=rng
    )


@pytest.fixture
def panel() -> Panel:
    rng = np.random.default_rng(1)
    actual, expected, conventional, improved = rng.normal(-10, 3, (4, 2, 24, 30)).astype(np.float32)
    actual[:, :3] = np.nan
    changed = expected[0] > -9
    return Panel("2024-06-01", actual, changed, conventional, improved, "latest", "unet")


class Page(HTMLParser):
    """The addresses that a browser would load, and the text that it shows."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.words, self.tags = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "srcset", "data"):
                self.loaded.append(value)

    def handle_data(self, data):
        self.words += data


def test_page_is_self_contained_and_shows_the_figures(evaluation, panel, tmp_path):
    write_report(evaluation, [panel, panel], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert all(address.startswith(("data:", "#")) for address in page.loaded)
    assert not re.search(r"@import|url\(\s*['\"]?http", text)
    assert page.tags.count("img") == 2
    assert page.tags.count("svg") == 4
    assert "script" not in page.tags
    for result in evaluation.results:
        assert f"{result.auc:.3f}" in page.words
        assert f"{result.mse_db2:.2f}" in page.words
    assert "A <title> & more" in page.words
    assert "b" not in page.tags
    for sentence in headline(evaluation):
        assert sentence in page.words
    assert "sarcast x" in page.words
    assert "offset, otsu: unet against latest +" in page.words
    assert "Calibration of the standard deviation" in page.words
    assert "Published for a comparable network: 86 %" in page.words
    for result in evaluation.closer:
        assert f"{100 * result.shares['VH']:.1f} %" in page.words
        assert f"{100 * result.windows:.1f} %" in page.words


def test_tables_show_the_shares_that_are_closer(evaluation):
    lines = markdown(evaluation).splitlines()
    start = lines.index("| expected image | VH | norm | windows |")
    assert lines[start - 2].endswith("(published for a comparable network: 0.86):")
    rows = [line.strip("| ").split(" | ") for line in lines[start + 2 : start + 5]]
    assert [row[0] for row in rows] == list(ROLES)
    for row, result in zip(rows, evaluation.closer, strict=True):
        known = [result.shares["VH"], result.shares["norm"], result.windows]
        assert [float(cell) for cell in row[1:]] == pytest.approx(known, abs=5e-4)
    assert "| VH |" not in markdown(evaluation.model_copy(update={"closer": ()}))


def test_page_shows_set_conditions_and_the_papers_figures(evaluation, tmp_path):
    image = np.random.default_rng(2).normal(-12, 2, (2, 8, 9)).astype(np.float32)
    scenarios = [
        Scenario("actual conditions", "3 °C, ascending", image),
        Scenario("frost", "-15 °C", image - 2.0),
    ]
    comparisons = [ComparisonTable("Table II", (("latest", 0.71, 0.6949), ("mean", 0.5, None)))]
    path = tmp_path / "report.html"
    write_report(evaluation, [], path, scenarios=scenarios, comparisons=comparisons)
    page = Page(path.read_text())
    assert page.tags.count("img") == 1
    assert "The same window under other conditions" in page.words
    for word in ("Table II", "0.71", "0.695", "0.50", "–"):
        assert word in page.words


def test_scenarios_show_the_change_from_the_first_in_decibels():
    image = np.random.default_rng(2).normal(-12, 2, (2, 8, 9)).astype(np.float32)
    gain = np.array([-2.0, 1.0], dtype=np.float32)[:, None, None]
    scenarios = [
        Scenario("actual conditions", "3 °C, ascending", image),
        Scenario("frost", "-15 °C", image + gain),
    ]
    axes = np.array(scenarios_figure(scenarios).axes[:6]).reshape(3, 2)
    titles = [plot.get_title() for plot in axes[0]]
    assert titles == ["actual conditions\n3 °C\nascending", "frost\n-15 °C"]
    for row, band in enumerate(("VV", "VH"), start=1):
        first, other = (plot.images[0].get_array() for plot in axes[row])
        assert (first == 0.0).all()
        np.testing.assert_allclose(other, gain[row - 1, 0, 0], atol=1e-5)
        assert axes[row, 0].get_ylabel() == f"change of {band}, dB"
    assert len({plot.images[0].get_clim() for plot in axes[1:].ravel()}) == 1


def test_same_evaluation_same_bytes(evaluation, panel, tmp_path):
    for name in ("a.html", "b.html"):
        write_report(evaluation, [panel], tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_page_of_little_has_no_empty_sections(evaluation, tmp_path):
    sections = ("paired", "groups", "classifiers", "calibration", "closer")
    bare = evaluation.model_copy(update={**dict.fromkeys(sections, ()), "provenance": {}})
    write_report(bare, [], tmp_path / "report.html")
    headings = re.findall(r"<h2>(.*?)</h2>", (tmp_path / "report.html").read_text())
    assert headings == ["Area under the ROC curve", "ROC curves"]


def test_best_of_each_role(evaluation):
    best = best_by_role(evaluation, "offset")
    assert {role: result.method for role, result in best.items()} == {
        "network": "unet",
        "strategy": "latest",
        "oracle": "oracle",
    }
    for change in evaluation.changes:
        assert {r.change for r in best_by_role(evaluation, change).values()} == {change}
    assert headline(evaluation)[0].startswith("offset: the improved difference image reaches")


def test_a_conventional_strategy_that_is_ahead_is_named(evaluation):
    assert "ahead" not in headline(evaluation)[0]
    swapped = [
        result.model_copy(update={"auc": 0.9 if result.role == "strategy" else 0.8})
        for result in evaluation.results
    ]
    behind = evaluation.model_copy(update={"results": tuple(swapped)})
    assert headline(behind)[0].endswith("Here the conventional latest is ahead of the network.")


def test_the_page_says_why_a_network_may_pass_the_oracle(evaluation, tmp_path):
    write_report(evaluation, [], tmp_path / "both.html")
    assert "A network may pass the oracle" in (tmp_path / "both.html").read_text()
    alone = [result for result in evaluation.results if result.role != "oracle"]
    write_report(
        evaluation.model_copy(update={"results": tuple(alone)}), [], tmp_path / "alone.html"
    )
    assert "A network may pass the oracle" not in (tmp_path / "alone.html").read_text()


def test_roc_figure_draws_each_method(evaluation):
    (axes,) = roc_figure(evaluation, "offset").axes
    labels = [line.get_label() for line in axes.lines[1:]]
    assert [label.split()[0] for label in labels] == ["unet", "latest", "oracle"]
    drawn = axes.lines[1].get_xydata()
    (unet,) = (r for r in evaluation.results if (r.method, r.change) == ("unet", "offset"))
    np.testing.assert_array_equal(drawn[:, 0], unet.curve.false_alarm_rate)
    np.testing.assert_array_equal(drawn[:, 1], unet.curve.detection_rate)
    with pytest.raises(SarcastError, match="no result for the change 'rain'; known are offset"):
        roc_figure(evaluation, "rain")


def test_groups_figure_draws_each_condition(evaluation):
    (axes,) = groups_figure(evaluation, "offset").axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["pass: ascending"]
    assert len(axes.collections) == 3
    assert groups_figure(evaluation.model_copy(update={"groups": ()}), "offset") is None


def test_difference_images_share_one_scale(panel):
    axes = panel_figure(panel).axes
    limits = {axes[column].images[0].get_clim() for column in (4, 5)}
    assert len(limits) == 1
    assert [plot.get_title() for plot in axes[:6]] == [
        "Actual",
        "Simulated change",
        "Expected: latest",
        "Expected: unet",
        "Difference: latest",
        "Difference: unet",
    ]
    for column, expected in ((4, panel.conventional), (5, panel.improved)):
        drawn = axes[column].images[0].get_array()
        np.testing.assert_allclose(drawn, np.hypot(*(panel.actual - expected)), rtol=1e-5)


def test_composite_by_hand():
    image = np.array([[[-10.0, -20.0, np.nan]], [[-16.0, -30.0, -16.0]]], dtype=np.float32)
    low, high = np.array([-20.0, -26.0, 0.0]), np.array([0.0, -6.0, 10.0])
    colours = composite(image, low, high)
    np.testing.assert_allclose(colours[0, 0], [0.5, 0.5, 0.6])
    np.testing.assert_allclose(colours[0, 1], [0.0, 0.0, 1.0])
    np.testing.assert_allclose(colours[0, 2], 0.92)
    one_band = composite(image[:1], low, high)
    assert one_band.shape == (1, 3, 3)


def test_panel_png_is_an_image(panel, tmp_path):
    save_panel_png(panel, tmp_path / "panel.png", dpi=50)
    with Image.open(tmp_path / "panel.png") as image:
        assert image.size == (875, 175)
        assert np.asarray(image).std() > 10


@pytest.mark.parametrize("bands", [1, 2])
def test_panels_without_data_and_mask(bands, tmp_path):
    empty = np.full((bands, 8, 8), np.nan, dtype=np.float32)
    save_panel_png(Panel("x", empty, None, empty, empty), tmp_path / "x.png", dpi=40)
    assert (tmp_path / "x.png").stat().st_size > 0
