"""Detection evaluated on small cubes whose changes are known."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from shapely.geometry import box

from sarcast.detection.detect import DetectOptions
from sarcast.errors import SarcastError
from sarcast.evaluation.detection.detectors import EvidenceDetector
from sarcast.evaluation.detection.evaluate import (
    Dates,
    DetectionTestOptions,
    evaluate_detection,
)
from sarcast.evaluation.detection.experiment import run_detectors
from sarcast.evaluation.detection.simulation import PersistentOptions
from sarcast.evaluation.detection.truth import rasterized, truth_frame
from sarcast.evaluation.detection.watches import simulated_watches
from sarcast.evaluation.metrics.events import operating
from sarcast.evaluation.simulation.changes import Offset
from sarcast.prediction.strategies import STRATEGIES, Strategy

GRID = GeoBox((90, 90), Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 6_900_000.0), "EPSG:32635")
DATES = 44
DETECT = DetectOptions(previous=6, false_events=10.0, strata=1, replays=6)
FEW = PersistentOptions(radius_px=(4.5, 6), most=2)


def cube(dates: int = DATES) -> xr.Dataset:
    """Noise of 1 dB around a constant image, every six days."""
    rng = np.random.default_rng(0)
    image = rng.normal(0.0, 1.0, (dates, 2, *GRID.shape.yx)).astype(np.float32)
    image += np.array([-10.0, -16.0], dtype=np.float32)[:, None, None]
    return xr.Dataset(
        {"backscatter": (("time", "band", "y", "x"), image)},
        coords={
            "time": np.datetime64("2020-01-01T05:00", "ns")
            + np.arange(dates) * np.timedelta64(6, "D"),
            "band": ["VV", "VH"],
            **xr_coords(GRID),
        },
    )


def square(left: float, down: float, side: float):
    left, top = 500_000.0 + left, 6_900_000.0 - down
    return box(left, top - side, left + side, top)


def test_detection_finds_what_was_simulated() -> None:
    detector = EvidenceDetector(STRATEGIES["mean"], "strategy", DETECT)
    watches = simulated_watches(
        cube(), [33, 43], 3, [Offset((-1.0, -1.0))], FEW, rng=np.random.default_rng(0)
    )
    (scores,) = run_detectors(watches, [detector]).scores
    own = operating(scores, 0.0)
    assert own.truths >= 3
    assert own.recall == 1.0
    assert own.precision == 1.0
    assert all(truth.overlap > 0.5 for truth in scores.truths)
    assert all(truth.date_error == 0 for truth in scores.truths)
    assert all(watch.auc > 0.99 for watch in scores.watches)


class Spy(Strategy):
    """The mean, which keeps the targets that it was shown."""

    uses_target = True

    def __init__(self) -> None:
        super().__init__("spy", lambda window: window.previous.mean(axis=0))
        self.seen: list[tuple[np.datetime64, np.ndarray]] = []

    def expect(self, windows):
        self.seen += [(window.times[-1], window.target) for window in windows]
        return super().expect(windows)


def test_the_changed_cube_is_what_is_detected_on() -> None:
    """A predictor that sees its target sees the change in it, and in no replay."""
    data, spy = cube(), Spy()
    (watch,) = simulated_watches(
        data, [43], 3, [Offset((-20.0, -20.0))], FEW, rng=np.random.default_rng(0)
    )
    EvidenceDetector(spy, "network", DETECT).find(watch)
    inside = rasterized(watch.truth.geometry, GRID)
    shown = {time: target[0][inside].mean() < -20.0 for time, target in spy.seen}
    watched = {time for time, is_changed in shown.items() if is_changed}
    assert watched == set(watch.watched)
    assert len(shown) > 3 * len(watched)  # replays


@pytest.mark.parametrize(
    ("renew_days", "replayed"),
    [(0, 3), (17, 3), (18, 3), (19, 2), (36, 2), (37, 1)],
)
def test_the_past_is_replayed_anew_after_some_days(renew_days: int, replayed: int) -> None:
    spy = Spy()
    detector = EvidenceDetector(spy, "network", DETECT, renew_days=renew_days)
    # watches that begin 18 days after one another
    for watch in simulated_watches(
        cube(), [37, 40, 43], 3, [Offset()], FEW, rng=np.random.default_rng(0)
    ):
        detector.find(watch)
    assert len(spy.seen) == replayed * 6 * 3 + 3 * 3


def test_the_past_of_an_earlier_watch_is_replayed() -> None:
    spy = Spy()
    detector = EvidenceDetector(spy, "network", DETECT)
    rng = np.random.default_rng(0)
    for watch in simulated_watches(cube(), [43, 37], 3, [Offset()], FEW, rng=rng):
        detector.find(watch)
    assert len(spy.seen) == 2 * 6 * 3 + 2 * 3


def test_true_changes_are_found_after_their_date() -> None:
    data = cube()
    data["backscatter"][38:, :, 20:32, 20:32] -= 4.0
    outlines = [square(200, 200, 120), square(600, 600, 100), square(20, 600, 30)]
    # the second happened long before, the third is too small
    dates = [str(data["time"].values[index] - np.timedelta64(1, "D"))[:10] for index in (38, 5, 38)]
    truth = truth_frame(
        gpd.GeoDataFrame({"date": dates}, geometry=outlines, crs=GRID.crs.to_wkt()), GRID
    )
    options = DetectionTestOptions(rivals=False)
    result = evaluate_detection(
        data, None, options, DETECT, truth=truth, rng=np.random.default_rng(0)
    )
    (scores,) = result.scores
    assert [watch.watch[:10] for watch in scores.watches] == [str(data["time"].values[40])[:10]]
    (change,) = scores.truths
    assert change.magnitude_db == pytest.approx(4.0, abs=0.3)
    assert change.level >= 0.0
    assert change.date_error == 0
    (shown,) = result.maps
    assert [len(shown.outlines[name]) for name in ("found", "missed", "not counted")] == [1, 0, 2]


def test_rivals_are_evaluated_on_the_same_watches() -> None:
    options = DetectionTestOptions(watches=2, persistent=FEW)
    result = evaluate_detection(cube(), None, options, DETECT, rng=np.random.default_rng(0))
    names = [scores.name for scores in result.scores]
    assert names == ["mean", "pass-mean", "season-mean", "one date", "PWTT"]
    assert len({tuple(w.watch for w in scores.watches) for scores in result.scores}) == 1
    assert len({tuple(t.area_ha for t in scores.truths) for scores in result.scores}) == 1


def test_dates_and_number_of_watches() -> None:
    data = cube()
    times = data["time"].values
    dates = Dates(str(times[30])[:10], str(times[40])[:10])
    options = DetectionTestOptions(watches=3, rivals=False, persistent=FEW)
    result = evaluate_detection(
        data, None, options, DETECT, dates=dates, rng=np.random.default_rng(0)
    )
    until = [watch.watch[:10] for watch in result.scores[0].watches]
    assert until == [str(times[index])[:10] for index in (32, 36, 40)]


def test_an_area_is_cut_out_first() -> None:
    left, bottom, right, top = GRID.geographic_extent.boundingbox.bbox
    area = f"{left},{bottom},{(left + right) / 2},{top}"
    options = DetectionTestOptions(watches=1, rivals=False, persistent=FEW)
    detect = DETECT.model_copy(update={"area": area})
    result = evaluate_detection(cube(), None, options, detect, rng=np.random.default_rng(0))
    assert result.scores[0].watches[0].km2 == pytest.approx(0.81 / 2, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"until": "2020-05-01"}, "chooses its own dates, but until"),
        ({"acquisitions": 60}, "no date|only"),
        ({"outside": ("forest",)}, "no forest"),
    ],
)
def test_clear_errors(changes: dict, message: str) -> None:
    detect = DETECT.model_copy(update=changes)
    with pytest.raises(SarcastError, match=message):
        evaluate_detection(cube(), None, None, detect, rng=np.random.default_rng(0))


def test_true_changes_of_other_dates() -> None:
    given = gpd.GeoDataFrame(
        {"date": ["2015-01-01"]}, geometry=[square(100, 100, 100)], crs=GRID.crs.to_wkt()
    )
    with pytest.raises(SarcastError, match="no change of the 1 is followed by 3 acquisitions"):
        evaluate_detection(
            cube(), None, None, DETECT, truth=truth_frame(given, GRID), rng=np.random.default_rng(0)
        )


def run(*words: object) -> int:
    from sarcast.cli import main

    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of 0.64 km with many changes, and its cube."""
    folder = tmp_path_factory.mktemp("area")
    size = ("--size-km", "0.64", "--tracks", "1", "--changes-per-km2", "10")
    assert run("--quiet", "world", folder / "world", *size, "--seed", "3") == 0
    assert run("--quiet", "cube", folder / "world", "--to", folder / "cube.zarr") == 0
    return folder


SHORT = ("--detect.previous", 4, "--detect.acquisitions", 2, "--watches", 1)
CHANGES = ("--persistent.most", 2, "--persistent.radius-px", 4, 8)


def test_the_command_writes_the_evaluation_and_its_report(
    area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sarcast.evaluation.metrics.detections import DetectionEvaluation

    out = tmp_path / "out"
    words = ("evaluate", area / "cube.zarr", "--detection", "--to", out, *SHORT, *CHANGES)
    assert run(*words) == 0
    evaluation = DetectionEvaluation.read(out / "detection.json")
    assert evaluation.results[0].detector == "mean"
    assert "--detection" in evaluation.provenance["command"]
    assert (out / "report.html").read_text().count("<img") == 1
    assert "mean finds" in capsys.readouterr().err
    # the record asks for the same again
    assert run("evaluate", "--config", out / "run.yaml", "--to", tmp_path / "again") == 0
    again = DetectionEvaluation.read(tmp_path / "again" / "detection.json")
    assert again.scores == evaluation.scores


def test_the_command_takes_true_changes(area: Path, tmp_path: Path) -> None:
    truth = area / "world" / "truth" / "changes.gpkg"
    words = (
        "evaluate",
        area / "cube.zarr",
        "--detection",
        "--truth",
        truth,
        "--to",
        tmp_path / "out",
    )
    assert run(*words, *SHORT, "--min-magnitude", 0, "--min-change", 0.01, "--rivals=false") == 0


def test_options_of_detection_need_it(area: Path, tmp_path: Path, capsys) -> None:
    assert run("evaluate", area / "cube.zarr", "--watches", 3, "--to", tmp_path / "out") == 2
    assert "--watches takes effect with --detection only" in capsys.readouterr().err
