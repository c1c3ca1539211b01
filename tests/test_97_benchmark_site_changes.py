"""Changes at sites: which acquisitions are watched, and what is told from unchanged times."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import site_changes
from benchmarks.context_horizons import Method
from benchmarks.rival_systems import Baseline
from benchmarks.site_changes import Watched, cases_of, sizes_of, watches_of
from sarcast.prediction.strategies import STRATEGIES

MEAN = Method("mean", Baseline("recent", 16), STRATEGIES["mean"])
DATES = pd.date_range("2021-01-03", "2022-12-30", freq="12D")
CHANGE = 45
"""Index of the first acquisition with the change; the one before it is not known to be without."""


def sites_table(loss: float) -> pd.DataFrame:
    """Four sites, of which the first two lose a share of their backscatter."""
    rng = np.random.default_rng(3)
    frames = []
    for site in range(4):
        factor = np.ones((len(DATES), 1))
        changed = site < 2
        if changed:
            factor[CHANGE:] = 1.0 - loss
        power = 0.05 * factor * rng.gamma(10.0, 0.1, (len(DATES), 18))
        columns = [f"{band}{k}" for band in ("vv", "vh") for k in range(9)]
        dates = {
            "change_time": str(DATES[CHANGE]) if changed else None,
            "last_obs_before": str(DATES[CHANGE - 2]) if changed else None,
        }
        known = {"site": site, "burst": "T1", "datetime": DATES, **dates}
        frame = pd.DataFrame({**known, "lat": 40.0, "orbit": "ascending"})
        frames.append(pd.concat([frame, pd.DataFrame(power, columns=columns)], axis=1))
    return pd.concat(frames, ignore_index=True)


def test_the_baseline_ends_with_the_last_acquisition_without_the_change() -> None:
    times = DATES.to_numpy()
    changed, *others = watches_of(times, str(DATES[CHANGE - 2]), str(DATES[CHANGE]))
    assert changed.is_changed
    assert list(changed.targets) == list(range(CHANGE, CHANGE + 6))
    assert (times < changed.before).sum() == CHANGE - 1
    assert others
    for each in others:
        assert not each.is_changed
        assert each.targets[-1] <= CHANGE - 2
        assert times[each.targets[0]] == each.before
    unchanged = list(watches_of(times, None, None))
    assert len(unchanged) > len(others)
    assert not any(each.is_changed for each in unchanged)


def test_a_change_without_images_before_or_after_it_is_not_watched() -> None:
    times = DATES.to_numpy()
    for index in (4, len(DATES) - 3):
        found: list[Watched] = list(watches_of(times, None, str(DATES[index])))
        assert not any(each.is_changed for each in found)


@pytest.mark.parametrize("loss", [0.5, 0.0])
def test_a_loss_is_told_from_unchanged_times(loss: float) -> None:
    cases = list(cases_of(sites_table(loss), mixed=True))
    is_changed = np.array([case.watched.is_changed for case in cases])
    assert is_changed.sum() == 2
    ranks = sizes_of(cases, MEAN).argsort(axis=1).argsort(axis=1)[:, is_changed]
    highest = len(cases) - 1
    if loss:
        assert (ranks >= highest - 1).all()
    else:
        assert ranks.min() < 0.9 * highest


def test_the_table_has_a_row_for_each_expected_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sites_table(0.5).to_parquet(tmp_path / "sites.parquet")
    monkeypatch.setattr(
        "sys.argv", f"site_changes {tmp_path / 'sites.parquet'} --to {tmp_path / 'rows.md'}".split()
    )
    site_changes.main()
    text = capsys.readouterr().out
    assert (tmp_path / "rows.md").read_text() == text
    heading, _, *rows = text.splitlines()
    assert len(rows) == 8
    assert {row.count("|") for row in rows} == {heading.count("|")}
    assert all("1.000 (1.00 to 1.00)" in row for row in rows)
