"""P-values and thresholds against simulated samples, whose distribution is known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

from sarcast.detection.evidence import Direction, names_of
from sarcast.detection.null import PRIOR_REPLAYS, Null, Prior, summed_counts
from sarcast.detection.null_file import (
    FILE,
    SHIPPED,
    read_null,
    shipped_prior,
    write_null,
    write_shipped,
)
from sarcast.detection.p_values import (
    BINS,
    EVIDENCE_BINS,
    FEWEST_VALUES,
    STATISTIC_BINS,
    combined_table,
    count_values,
    evidence_tables,
    greatest_evidence,
)
from sarcast.detection.regions import LEAST_PEAK
from sarcast.errors import SarcastError

SIDE = 300


def one_stratum(side: int = SIDE) -> np.ndarray:
    return np.zeros((side, side), dtype=np.int16)


def null_of(
    samples: Sequence[dict[str, np.ndarray]],
    strata: np.ndarray | None = None,
    looks: np.ndarray | None = None,
    peaks: Sequence[np.ndarray] = (),
    area_km2: float = 100.0,
) -> Null:
    """Null distributions of samples of unchanged ground, one a replay."""
    strata = one_stratum() if strata is None else strata
    looks = np.ones(strata.shape, dtype=np.uint8) if looks is None else looks
    counts = np.stack(
        [
            count_values(each, strata, looks, (int(strata.max()) + 1, int(looks.max())))
            for each in samples
        ]
    )
    tables = evidence_tables(counts.sum(axis=0))
    combined = []
    for each in samples:
        greatest = greatest_evidence(tables, each, strata, looks)
        bins = EVIDENCE_BINS.of(greatest[np.isfinite(greatest)])
        combined.append(np.bincount(bins, minlength=BINS))
    peaks = tuple(peaks) or (np.zeros(0),) * len(samples)
    names = tuple(samples[0])
    return Null(strata, names, counts, np.stack(combined), tuple(peaks), (area_km2,) * len(samples))


def exponential(seed: int, scale: float = 1.5, shape: tuple[int, ...] = (SIDE, SIDE)) -> np.ndarray:
    return np.random.default_rng(seed).exponential(scale, shape).astype(np.float32)


def evidence_at(null: Null, values: Sequence[float], unchanged: np.ndarray) -> np.ndarray:
    """Evidence of values of one statistic in some pixels of an image that is else unchanged."""
    image = unchanged.copy()
    image.flat[: len(values)] = values
    looks = np.ones(image.shape, dtype=np.uint8)
    return null.evidence({"shift": image}, looks).ravel()[: len(values)]


# --- p-values -------------------------------------------------------------------------------------


def test_p_values_of_exponential_values_are_exact_far_beyond_the_sample() -> None:
    """A sample of 270 000; p-values down to 1 in a thousand million."""
    null = null_of([{"shift": exponential(seed)} for seed in range(3)])
    wanted = np.array([0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0])
    values = stats.expon.isf(10.0**-wanted, scale=1.5)
    found = evidence_at(null, values, exponential(3))
    np.testing.assert_allclose(found, wanted, rtol=0.05, atol=0.02)


def test_p_values_of_gaussian_norms() -> None:
    """Exact where there are values; beyond, the exponential tail never overstates the evidence."""
    rng = np.random.default_rng(0)
    norms = np.hypot(*rng.normal(size=(2, SIDE, SIDE))).astype(np.float32)
    null = null_of([{"shift": norms}])
    wanted = np.array([0.3, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0])
    unchanged = np.hypot(*rng.normal(size=(2, SIDE, SIDE))).astype(np.float32)
    found = evidence_at(null, stats.chi(2).isf(10.0**-wanted), unchanged)
    np.testing.assert_allclose(found[:4], wanted[:4], atol=0.05)
    assert (found[4:] < 1.05 * wanted[4:]).all()
    assert (found[4:] > 0.6 * wanted[4:]).all()
    tail = norms[norms > np.quantile(norms, 0.98)]
    u, beta = tail.min(), stats.expon.fit(tail, floc=tail.min())[1]
    plain = -np.log10(0.02 * np.exp(-(stats.chi(2).isf(1e-5) - u) / beta))
    assert found[5] == pytest.approx(plain, rel=0.1)


@pytest.mark.parametrize("contaminated", [0.0, 0.01, 0.03])
def test_a_few_changes_in_the_past_do_not_hide_others(contaminated: float) -> None:
    """A share of the tail, which is 2 % of all values, are changes of any size."""
    values = exponential(1)
    rng = np.random.default_rng(2)
    tail = np.flatnonzero(values.ravel() > np.quantile(values, 0.98))
    changed = rng.choice(tail, int(contaminated * len(tail)), replace=False)
    values.flat[changed] = rng.uniform(20.0, 60.0, len(changed))
    true = stats.expon.isf([1e-4, 1e-7], scale=1.5)
    found = evidence_at(null_of([{"shift": values}]), true, exponential(3))
    np.testing.assert_allclose(found, [4.0, 7.0], rtol=0.1)


def test_the_greatest_of_several_statistics_is_corrected_for_their_number() -> None:
    """Ten statistics that agree count as one, ten that do not as ten."""
    same, other = exponential(0), {str(k): exponential(k) for k in range(10)}
    alike = null_of([{str(k): same for k in range(10)}])
    independent = null_of([other])
    looks = np.ones((SIDE, SIDE), dtype=np.uint8)
    fresh = exponential(99)
    of_alike = alike.evidence({str(k): fresh for k in range(10)}, looks)
    of_one = null_of([{"0": same}]).evidence({"0": fresh}, looks)
    np.testing.assert_allclose(of_alike, of_one, atol=0.05)
    tested = independent.evidence({str(k): exponential(100 + k) for k in range(10)}, looks)
    for evidence in (1.0, 2.0, 3.0):
        share = (tested > evidence).mean()
        assert share == pytest.approx(10.0**-evidence, rel=0.25)


def test_a_past_full_of_change_gives_finite_evidence() -> None:
    counts = np.zeros(BINS, dtype=np.int64)
    counts[[300, -1]] = 1000, 60
    table = combined_table(counts)
    assert np.isfinite(table).all()
    assert table[-1] == pytest.approx(-np.log10(60 / 1060))


def test_each_stratum_and_number_of_looks_has_its_own_distribution() -> None:
    strata, looks = one_stratum(), np.ones((SIDE, SIDE), dtype=np.uint8)
    strata[:, SIDE // 2 :] = 1
    looks[SIDE // 2 :] = 2
    scale = np.array([[1.0, 4.0], [2.0, 0.5]])[strata, looks - 1]
    null = null_of([{"shift": exponential(0) * scale}], strata, looks)
    found = null.evidence({"shift": (exponential(1) * scale).astype(np.float32)}, looks)
    for stratum, look in np.ndindex(2, 2):
        group = found[(strata == stratum) & (looks == look + 1)]
        assert (group > 2.0).mean() == pytest.approx(0.01, rel=0.3)
        np.testing.assert_allclose(np.quantile(group, 0.9), 1.0, atol=0.05)


def test_small_groups_borrow_from_their_stratum_and_small_strata_from_all() -> None:
    strata, looks = one_stratum(), np.ones((SIDE, SIDE), dtype=np.uint8)
    strata[:, :2] = 1
    strata[:4, 2:100] = 2
    looks[:, 5:7] = 2
    groups = [(strata == 0) & (looks == 2), strata == 1, strata == 2]
    assert max(group.sum() for group in groups) < FEWEST_VALUES
    values = exponential(0)
    counts = count_values({"shift": values}, strata, looks, (int(strata.max()) + 1, 2))
    tables = evidence_tables(counts)
    of_stratum = evidence_tables(counts[:, :1].sum(axis=2, keepdims=True))[0, 0, 0]
    of_all = evidence_tables(counts.sum(axis=(1, 2), keepdims=True))[0, 0, 0]
    np.testing.assert_array_equal(tables[0, 0, 1], of_stratum)
    for stratum in (1, 2):
        np.testing.assert_array_equal(tables[0, stratum, 0], of_all)
    assert not np.array_equal(of_stratum, of_all)


def test_what_is_not_judged_has_no_evidence() -> None:
    strata, looks = one_stratum(), np.ones((SIDE, SIDE), dtype=np.uint8)
    strata[0], looks[1] = -1, 0
    values = exponential(0)
    values[2] = np.nan
    null = null_of([{"shift": values, "spread": values}], strata, looks)
    assert null.counts[0].sum() == 2 * (strata.size - 3 * SIDE)
    found = null.evidence({"shift": values, "spread": exponential(1)}, looks)
    judged = np.isfinite(found)
    assert not judged[:2].any()
    assert judged[2:].all()  # by the spread alone in row 2
    assert np.isnan(null.with_strata(np.full_like(strata, -1)).evidence(
        {"shift": values, "spread": values}, looks
    )).all()  # fmt: skip


def test_distributions_of_other_statistics_are_refused() -> None:
    null = null_of([{"shift": exponential(0)}])
    values, looks = exponential(1), np.ones((SIDE, SIDE), dtype=np.uint8)
    with pytest.raises(SarcastError, match="are those of 1 statistics, but there are 2: another"):
        null.evidence({"shift": values, "spread": values}, looks)


def test_values_are_counted_in_their_bins() -> None:
    rng = np.random.default_rng(0)
    strata = rng.integers(-1, 3, (40, 50)).astype(np.int16)
    looks = rng.integers(0, 4, (40, 50)).astype(np.uint8)
    values = rng.normal(2.0, 30.0, (40, 50)).astype(np.float32)
    values[rng.random((40, 50)) < 0.1] = np.nan
    values[0, 0] = np.inf
    counts = count_values({"a": values}, strata, looks, (int(strata.max()) + 1, 3))
    assert counts.shape == (1, 3, 3, BINS)
    rounded = values.astype(np.float16).astype(np.float64)
    for stratum, look in np.ndindex(3, 3):
        inside = (strata == stratum) & (looks == look + 1) & np.isfinite(values)
        edges = [-np.inf, *STATISTIC_BINS.edges, np.inf]
        wanted, _ = np.histogram(np.minimum(rounded[inside], 1e9), edges)
        np.testing.assert_array_equal(counts[0, stratum, look], wanted)


@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 20.0))
def test_evidence_rises_with_the_statistic(seed: int, scale: float) -> None:
    values = np.random.default_rng(seed).exponential(scale, 3000)
    counts = np.bincount(STATISTIC_BINS.of(values), minlength=BINS)
    table = evidence_tables(counts[np.newaxis, np.newaxis, np.newaxis])[0, 0, 0]
    assert (np.diff(table) >= -1e-9).all()
    assert table[0] >= 0.0
    assert np.isfinite(table).all()


def test_no_values_give_no_evidence() -> None:
    assert (combined_table(np.zeros(BINS, dtype=np.int64)) == 0.0).all()


# --- thresholds -----------------------------------------------------------------------------------

AREA_KM2, REPLAYS, TARGETS = 500.0, 8, 3
EXPOSURE = AREA_KM2 / 1000.0 * TARGETS


def false_peaks(rate: float, scale: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Peaks of false regions: as many a replay as Poisson says, exponential above the least."""
    return tuple(
        LEAST_PEAK + rng.exponential(scale, rng.poisson(rate * EXPOSURE)) for _ in range(REPLAYS)
    )


def with_peaks(peaks: Sequence[np.ndarray], area_km2: float = AREA_KM2) -> Null:
    counts = np.zeros((len(peaks), 1, 1, TARGETS, BINS), dtype=np.int64)
    combined = np.zeros((len(peaks), BINS), dtype=np.int64)
    areas = (area_km2,) * len(peaks)
    return Null(one_stratum(2), ("shift",), counts, combined, tuple(peaks), areas)


@pytest.mark.parametrize("scale", [0.3, 0.45, 0.9])
@pytest.mark.parametrize("asked", [1.0, 10.0, 100.0])
def test_the_rate_that_is_asked_for_comes_true(asked: float, scale: float) -> None:
    """The true rate of regions above the threshold, in the mean of many pasts."""
    rng = np.random.default_rng(3)
    rate, came = 300.0, []
    for _ in range(30):
        threshold = with_peaks(false_peaks(rate, scale, rng)).threshold(asked)
        came.append(rate * np.exp(-(threshold - LEAST_PEAK) / scale))
    assert asked / 2 < np.exp(np.mean(np.log(came))) < asked * 2


@pytest.mark.parametrize("asked", [10.0, 100.0])
def test_what_came_true_in_held_out_replays(asked: float) -> None:
    rng = np.random.default_rng(4)
    found = [with_peaks(false_peaks(300.0, 0.45, rng)).came_true(asked) for _ in range(30)]
    assert asked / 2 < np.mean(found) < asked * 2


def test_a_replay_full_of_change_is_seen_in_what_came_true() -> None:
    quiet = [np.array([3.1, 3.2, 3.4])] * 7
    changed = np.linspace(10.0, 20.0, 40)
    null = with_peaks([*quiet, changed])
    assert with_peaks([*quiet, quiet[0]]).came_true(1.0) < 2.0
    assert null.came_true(1.0) == pytest.approx(40.0 / (8 * EXPOSURE))
    assert np.isnan(with_peaks([changed]).came_true(1.0))


def test_a_few_changes_in_the_past_hardly_move_the_threshold() -> None:
    rng = np.random.default_rng(5)
    peaks = false_peaks(50.0, 0.45, rng)
    changed = (np.append(peaks[0], np.full(5, 25.0)), *peaks[1:])
    plain, moved = (with_peaks(each).threshold(1.0) for each in (peaks, changed))
    assert moved < plain + 1.0


@given(first=st.floats(1e-3, 1e6), second=st.floats(1e-3, 1e6), seed=st.integers(0, 20))
def test_fewer_false_events_ask_for_more_evidence(first: float, second: float, seed: int) -> None:
    null = with_peaks(false_peaks(100.0, 0.5, np.random.default_rng(seed)))
    more, fewer = max(first, second), min(first, second)
    assert LEAST_PEAK <= null.threshold(more) <= null.threshold(fewer)


def test_any_number_of_false_events_can_be_asked_for() -> None:
    """Above what the tail is fitted to, the threshold is the peak of that rank."""
    null = with_peaks(false_peaks(1000.0, 0.5, np.random.default_rng(6)))
    every = np.sort(np.concatenate(null.peaks))[::-1]
    for asked in (50.0, 200.0, 500.0):
        above = int((every > null.threshold(asked)).sum())
        assert above == pytest.approx(asked * EXPOSURE * REPLAYS, rel=0.15)
    assert null.threshold(1e6) == LEAST_PEAK


def test_a_past_without_false_regions() -> None:
    """The threshold is then that of exact p-values, and falls as more area was seen."""
    nothing = [np.zeros(0)] * 4
    small, large = (with_peaks(nothing, area).threshold(1.0) for area in (10.0, 1e4))
    assert LEAST_PEAK <= large < small < 8.0


def test_a_season_that_the_past_has_not_seen_asks_for_more_evidence(tmp_path: Path) -> None:
    known = with_peaks(false_peaks(1000.0, 0.5, np.random.default_rng(6)))
    unknown = replace(known, knows_season=False)
    assert unknown.threshold(3.0) == known.threshold(1.0) > known.threshold(3.0)
    write_null(unknown, tmp_path / "null.npz")
    assert not read_null(tmp_path / "null.npz").knows_season


# --- on disk --------------------------------------------------------------------------------------


def small_null() -> Null:
    rng = np.random.default_rng(0)
    strata = rng.integers(-1, 3, (20, 30)).astype(np.int16)
    looks = rng.integers(1, 4, (20, 30)).astype(np.uint8)
    samples = [
        {name: exponential(seed + 10 * k, shape=(20, 30)) for k, name in enumerate("ab")}
        for seed in range(3)
    ]
    peaks = [np.array([3.5, 4.5]), np.zeros(0), np.array([6.0])]
    made_from = {"predictor": "mean", "within": "('a=b',)", "empty": ""}
    return replace(null_of(samples, strata, looks, peaks), made_from=made_from)


@pytest.mark.parametrize("by_folder", [True, False])
def test_null_distributions_are_read_as_they_were_written(tmp_path: Path, by_folder: bool) -> None:
    null = small_null()
    write_null(null, tmp_path / FILE)
    again = read_null(tmp_path if by_folder else tmp_path / FILE)
    for name in ("strata", "counts", "combined"):
        np.testing.assert_array_equal(getattr(again, name), getattr(null, name))
    for one, other in zip(again.peaks, null.peaks, strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.names == null.names
    assert again.area_km2 == null.area_km2
    assert dict(again.made_from) == dict(null.made_from)
    assert again.threshold(5.0) == null.threshold(5.0)


def test_what_is_no_null_distribution_is_refused(tmp_path: Path) -> None:
    write_null(small_null(), tmp_path / "good.npz")
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:500])
    np.savez(tmp_path / "other.npz", data=np.zeros(3))
    with np.load(tmp_path / "good.npz") as good:
        np.savez(tmp_path / "newer.npz", **{**good, "version": 99})
        np.savez(tmp_path / "torn.npz", **{**good, "combined": np.zeros((1, BINS))})
        objects = np.array([{"a": 1}], dtype=object)
        np.savez(tmp_path / "pickle.npz", **{**good, "version": objects})
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    damaged = bytearray((tmp_path / "good.npz").read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 40] = bytes(40)
    (tmp_path / "damaged.npz").write_bytes(damaged)
    (tmp_path / "empty").mkdir()
    for name, message in {
        "missing.npz": "does not exist: expected the null.npz of a folder",
        "empty": "null.npz does not exist",
        "text.npz": "does not hold null distributions",
        "cut.npz": "does not hold null distributions",
        "other.npz": "does not hold null distributions",
        "newer.npz": "it has version 99, not 3; delete it",
        "torn.npz": "parts do not fit together",
        "pickle.npz": "does not hold null distributions",
        "array.npz": "does not hold null distributions",
        "damaged.npz": "does not hold null distributions",
    }.items():
        with pytest.raises(SarcastError, match=message) as error:
            read_null(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("looks", [1, 2, 3, 4, 5, 8, 30])
def test_the_table_of_the_weights_is_that_of_the_nearest_number_of_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    tables = {}
    for number in (1, 2, 4, 8):
        seen = np.full((SIDE, SIDE), number, dtype=np.uint8)
        tables[number] = Prior.of(null_of([{"shift": exponential(number)}], looks=seen))
    (tmp_path / "weights").mkdir()
    for kind in ("both", "signed"):
        write_shipped(tables, tmp_path / SHIPPED.format(direction=kind), finest_m=30.0)
    monkeypatch.setattr("sarcast.detection.null_file.files", lambda _: tmp_path)
    nearest = min(tables, key=lambda number: abs(number - looks))
    for direction in ("both", "loss", "gain"):
        assert_same_prior(shipped_prior(looks, direction, 30.0), tables[nearest])


def assert_same_prior(one: Prior | None, other: Prior | None) -> None:
    assert one is not None
    assert other is not None
    for name in ("counts", "combined", "peaks"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.exposure_km2 == other.exposure_km2


@pytest.mark.parametrize("direction", ["both", "loss", "gain"])
@pytest.mark.parametrize("targets", [1, 2, 3, 5, 6, 7, 8, 12, 40])
def test_the_table_of_the_weights(direction: Direction, targets: int) -> None:
    prior, names = shipped_prior(targets, direction, 25.0), names_of(targets, direction)
    assert prior.counts.shape == (len(names), BINS)
    strata = np.array([[0, 1, -1]], dtype=np.int8)
    null = Null.without_replays(strata, names, targets, prior)
    assert null.looks == targets
    assert LEAST_PEAK < null.threshold(1.0) < 20.0
    assert np.isnan(null.came_true(1.0))
    rising = [{name: np.full((1, 3), value) for name in names} for value in (1.0, 2.0, 4.0, 7.0)]
    looks = np.full((1, 3), targets, dtype=np.uint8)
    evidence = np.stack([null.evidence(each, looks) for each in rising])
    assert np.isnan(evidence[..., 2]).all()
    assert (np.diff(evidence[..., :2], axis=0) > 0.0).all()
    np.testing.assert_array_equal(evidence[..., 0], evidence[..., 1])


# --- what is counted beside the replays -----------------------------------------------------------


def prior_of(scale: float, peaks: np.ndarray | None = None) -> Prior:
    """What exponential ground of some scale shows elsewhere."""
    found = null_of([{"shift": exponential(50 + seed, scale)} for seed in range(2)])
    return replace(Prior.of(found), peaks=np.zeros(0) if peaks is None else peaks)


def with_prior(null: Null, prior: Prior) -> Null:
    return replace(null, prior=prior)


def test_a_prior_of_the_same_ground_changes_no_p_value() -> None:
    plain = null_of([{"shift": exponential(seed)} for seed in range(3)])
    values = stats.expon.isf([1e-1, 1e-3, 1e-6], scale=1.5)
    found = [
        evidence_at(each, values, exponential(3))
        for each in (plain, with_prior(plain, prior_of(1.5)))
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=0.05)


@pytest.mark.parametrize("replays", [1, 5, 40])
def test_replays_outweigh_the_prior_as_they_become_more(replays: int) -> None:
    """The mixture of both, whose tail lies between theirs, by the number of replays."""
    own = [{"shift": exponential(seed, 1.0)} for seed in range(replays)]
    null = with_prior(null_of(own), prior_of(2.0))
    at = 4.0
    mixed = (replays * np.exp(-at) + PRIOR_REPLAYS * np.exp(-at / 2.0)) / (replays + PRIOR_REPLAYS)
    share = summed_counts(null.counts, null.prior)[0, 0, 0]
    above = share[STATISTIC_BINS.of(np.array(at)) :].sum() / share.sum()
    assert above == pytest.approx(mixed, rel=0.05)
    assert share.sum() == pytest.approx((replays + PRIOR_REPLAYS) * SIDE**2)


def test_every_stratum_and_number_of_looks_has_its_own_share_of_the_prior() -> None:
    strata, looks = one_stratum(), np.ones((SIDE, SIDE), dtype=np.uint8)
    strata[:100], looks[:, :30] = 1, 2
    null = with_prior(null_of([{"shift": exponential(0)}] * 2, strata, looks), prior_of(2.0))
    own, both = null.counts.sum(axis=(0, -1))[0], summed_counts(null.counts, null.prior)
    np.testing.assert_allclose(both.sum(axis=-1)[0], own * (1.0 + PRIOR_REPLAYS / 2.0))


def test_a_replay_is_judged_by_the_others_and_the_prior() -> None:
    null = with_prior(null_of([{"shift": exponential(seed)} for seed in range(2)]), prior_of(2.0))
    beside = null.prior.counts_beside(null.counts)
    without = summed_counts(null.counts, null.prior, but=0)
    np.testing.assert_allclose(without, null.counts[1] + beside)
    alone = replace(null, counts=null.counts[:1], combined=null.combined[:1])
    np.testing.assert_allclose(
        summed_counts(alone.counts, null.prior, but=0), null.prior.counts_beside(alone.counts)
    )
    np.testing.assert_array_equal(summed_counts(alone.counts, None, but=0), alone.counts[0])


@pytest.mark.parametrize("part", ["counts", "combined"])
def test_ground_that_is_more_restless_elsewhere_lowers_evidence(part: str) -> None:
    """By each of both distributions alone."""
    plain = null_of([{"shift": exponential(seed)} for seed in range(2)])
    same, restless = prior_of(1.5), prior_of(1.5)
    if part == "counts":
        restless = replace(restless, counts=prior_of(3.0).counts)
    else:  # evidence that is twice as great as its p-value says
        bins = np.minimum(2 * np.arange(BINS), BINS - 1)
        doubled = np.bincount(bins, weights=same.combined, minlength=BINS).astype(np.int64)
        restless = replace(restless, combined=doubled)
    at = [stats.expon.isf(1e-4, scale=1.5)]
    found = [
        evidence_at(with_prior(plain, each), at, exponential(3))[0] for each in (same, restless)
    ]
    assert found[0] == pytest.approx(4.0, rel=0.05)
    assert found[1] < 3.2


def test_a_table_of_other_statistics_is_refused() -> None:
    null = null_of([{"shift": exponential(0), "another": exponential(1)}])
    with pytest.raises(SarcastError, match="is of 1 statistics, but 2 are computed here") as error:
        summed_counts(null.counts, prior_of(1.5))
    assert "\n" not in str(error.value)


def test_peaks_elsewhere_count_as_those_of_so_many_replays() -> None:
    """The same rate of peaks elsewhere, over an area of any size, moves no threshold."""
    rng = np.random.default_rng(9)
    known = with_peaks(false_peaks(300.0, 0.45, rng))
    for larger in (1, 8):
        peaks = [each for _ in range(larger) for each in false_peaks(300.0, 0.45, rng)]
        exposure_km2 = larger * REPLAYS * EXPOSURE * 1000.0
        prior = replace(prior_of(1.5, np.concatenate(peaks)), exposure_km2=exposure_km2)
        for asked in (1.0, 10.0, 100.0):
            found = with_prior(known, prior).threshold(asked)
            assert found == pytest.approx(known.threshold(asked), abs=0.45)


def test_a_restless_prior_asks_for_more_evidence() -> None:
    rng = np.random.default_rng(10)
    known = with_peaks(false_peaks(30.0, 0.45, rng))
    restless = replace(
        prior_of(1.5, np.concatenate(false_peaks(30.0, 0.9, rng))),
        exposure_km2=REPLAYS * EXPOSURE * 1000.0,
    )
    assert with_prior(known, restless).threshold(1.0) > known.threshold(1.0) + 0.5


def test_a_prior_is_read_as_it_was_written(tmp_path: Path) -> None:
    null = with_prior(small_null(), prior_of(1.5, np.array([3.2, 4.0])))
    write_null(null, tmp_path / FILE)
    again = read_null(tmp_path)
    assert_same_prior(again.prior, null.prior)
    assert again.threshold(5.0) == null.threshold(5.0)
    without = Null.without_replays(null.strata, ("a",), 3, null.prior)
    write_null(without, tmp_path / FILE)
    assert read_null(tmp_path).counts.shape == without.counts.shape
    assert read_null(tmp_path).threshold(2.0) == without.threshold(2.0)


def test_wider_averages_have_fewer_peaks() -> None:
    """As many as the table says when it was measured at another scale: counted in noise."""
    rng = np.random.default_rng(2)
    table_sigma, sigma, level = 3.0, 4.5, 2.5
    counted = {}
    for each in (table_sigma, sigma):
        field = ndimage.gaussian_filter(rng.normal(size=(1500, 1500)), each)
        field /= field.std()
        is_peak = ndimage.maximum_filter(field, 3) == field
        counted[each] = int((is_peak & (field > level)).sum())
    table = replace(prior_of(1.5, np.zeros(counted[table_sigma])), exposure_km2=1000.0)
    beside = table.at_scale(sigma / table_sigma).peaks_beside([1.0])
    assert beside.number.sum() / beside.exposure == pytest.approx(counted[sigma], rel=0.1)
