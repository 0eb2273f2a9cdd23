"""Zero curtain, thaw and freeze-up dates on series whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xpermafrost import diagnostics as dg
from xpermafrost.diagnostics._runs import close_gaps, runs_of
from xpermafrost.errors import DataError


def series(*parts: tuple[int, float], start: str = "2001-01-01") -> xr.DataArray:
    """Days at a temperature, one part after the other."""
    values = np.concatenate([np.full(n, t) for n, t in parts])
    time = xr.date_range(start, periods=values.size)
    return xr.DataArray(values, {"time": time}, "time", attrs={"units": "degC"})


def planted(seed: int, noise_std: float, years: int = 6) -> tuple[xr.DataArray, np.ndarray]:
    """Ground temperature with plateaus of 6 to 45 days in autumn and 5 to 15 in spring.

    Noise of ``noise_std`` [K] in the plateau and 1 K (persistent) outside, where days come as near
    to 0 as 0.15 K; with the true state of each day.
    """
    rng = np.random.default_rng(seed)
    values: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    for _ in range(years):
        spring, autumn = rng.integers(5, 16), rng.integers(6, 46)
        winter = -rng.uniform(3, 9) * np.sin(np.linspace(0.15, np.pi - 0.15, 190 - spring))
        summer = rng.uniform(3, 9) * np.sin(np.linspace(0.15, np.pi - 0.15, 175 - autumn))
        for wave, length, kind in ((winter, spring, 2), (summer, autumn, 1)):
            noise = np.convolve(rng.normal(0, 1.0, wave.size + 4), np.ones(5) / 5, "valid")
            side = np.sign(wave[wave.size // 2])
            values += [side * np.maximum(side * (wave + noise), 0.15)]
            values += [rng.normal(0, noise_std, length)]
            truth += [np.zeros(wave.size, int), np.full(length, kind)]
    flat = np.concatenate(values)
    time = xr.date_range("2001-01-01", periods=flat.size)
    return (
        xr.DataArray(flat, {"time": time}, "time", attrs={"units": "degC"}),
        np.concatenate(truth),
    )


def score(found: np.ndarray, truth: np.ndarray) -> float:
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


@pytest.mark.parametrize("kind", [1, 2], ids=["autumn", "spring"])
@pytest.mark.parametrize(("noise", "gap"), [(0.05, 0), (0.1, 2)])
def test_planted_plateaus_are_found(kind, noise, gap):
    """Days found and days planted; noise of half the tolerance needs gaps to be closed."""
    found, truth = [], []
    for seed in range(20):
        da, true = planted(seed, noise)
        state = dg.zero_curtain_days(da, tolerance=0.2, gap=gap)
        found.append(state.values == kind)
        truth.append(true == kind)
    assert score(np.concatenate(found), np.concatenate(truth)) >= 0.95


def test_the_score_falls_where_the_settings_are_wrong():
    """The test above can fail: by a tolerance below the noise or above the season."""
    da, true = planted(0, 0.1)
    for options in ({"tolerance": 0.02}, {"tolerance": 6.0}):
        state = dg.zero_curtain_days(da, gap=2, **options)
        assert score(state.values > 0, true > 0) < 0.8


def test_longest_and_total_of_autumn_and_spring():
    da = series((120, -8.0), (9, 0.1), (80, 5.0), (12, -0.2), (10, -1.0), (30, 0.0), (104, -8.0))
    found = dg.zero_curtain(da, tolerance=0.5).sel(year=2001)
    assert found["zero_curtain_longest"].to_series().to_dict() == {"autumn": 30, "spring": 9}
    assert found["zero_curtain_total"].to_series().to_dict() == {"autumn": 42, "spring": 9}


def test_short_passages_do_not_count():
    da = series((150, -8.0), (3, 0.1), (100, 5.0), (112, -8.0))
    assert dg.zero_curtain(da)["zero_curtain_total"].sel(year=2001).sum() == 0
    assert dg.zero_curtain(da, min_days=3)["zero_curtain_total"].sel(year=2001).sum() == 3


def test_gaps_are_closed_on_request_and_count():
    da = series((200, 5.0), (10, 0.1), (2, -0.9), (8, 0.1), (145, -8.0))
    autumn = {
        gap: float(dg.zero_curtain(da, gap=gap)["zero_curtain_longest"].sel(season="autumn")[0])
        for gap in (0, 1, 2)
    }
    assert autumn == {0: 10, 1: 10, 2: 20}


def test_a_missing_day_ends_a_run():
    da = series((200, 5.0), (20, 0.1), (145, -8.0))
    da[208] = np.nan
    found = dg.zero_curtain(da, gap=3)["zero_curtain_longest"].sel(season="autumn")
    assert float(found[0]) == 11
    assert int(dg.zero_curtain_days(da, gap=3)[208]) == 3


def test_a_run_over_new_year_counts_to_the_year_it_begins_in():
    da = series((200, 5.0), (365 - 200 - 10, 3.0), (30, 0.1), (345, -8.0))
    longest = dg.zero_curtain(da)["zero_curtain_longest"].sel(season="autumn")
    assert longest.values.tolist() == [30.0, 0.0]


def test_an_incomplete_year_has_no_duration():
    found = dg.zero_curtain(series((100, 5.0), (20, 0.1), (100, -8.0)))
    assert found["zero_curtain_longest"].isnull().all()


def test_curtain_options_are_checked():
    for options in ({"tolerance": 0.0}, {"min_days": 0}, {"gap": -1}):
        with pytest.raises(DataError, match="tolerance > 0 K, min_days >= 1 and gap >= 0"):
            dg.zero_curtain(series((365, 1.0)), **options)


def test_dates_of_a_plain_year():
    da = series((151, -8.0), (100, 6.0), (114, -8.0))
    assert float(dg.thaw_date(da)[0]) == 152
    assert float(dg.freeze_up_date(da)[0]) == 252
    assert float(dg.season_length(da)[0]) == 100
    assert int(dg.season_length(da)["status"][0]) == 0


def test_short_spells_are_no_thaw_and_no_freeze_up():
    da = series((100, -8.0), (3, 2.0), (48, -8.0), (60, 6.0), (2, -1.0), (60, 5.0), (92, -8.0))
    assert float(dg.thaw_date(da)[0]) == 152
    assert float(dg.freeze_up_date(da)[0]) == 152 + 122
    assert float(dg.thaw_date(da, window=3)[0]) == 101


def test_a_deep_layer_freezes_up_in_the_next_year():
    da = series((220, -2.0), (165, 1.0), (200, -2.0), (145, 1.5))
    found = dg.freeze_up_date(da)
    assert float(found[0]) == 386  # counted on past the end of the year
    assert float(dg.season_length(da)[0]) == 165
    thaw = dg.thaw_date(da)
    assert thaw.values.tolist() == [221.0, 221.0]  # not the first of January of the second year


def test_no_thaw_no_freeze_up_and_no_data():
    frozen, warm = series((1200, -3.0)), series((1200, 3.0))
    for function in (dg.thaw_date, dg.freeze_up_date, dg.season_length):
        found = function(
            xr.concat([frozen, warm, frozen * np.nan], "place").assign_attrs(units="degC")
        )
        assert found.isnull().all()
        assert found["status"].values[:, 1].tolist() == [1, 2, 3]
    # the record ends before it could be known
    assert dg.freeze_up_date(warm)["status"].values.tolist() == [2, 2, 3, 3]


def test_windows_are_checked():
    with pytest.raises(DataError, match="window of at least 1 day"):
        dg.thaw_date(series((365, 1.0)), window=0)


def test_runs():
    mask = np.array([[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 1, 1]], dtype=bool)
    row, begin, end = runs_of(mask)
    assert list(zip(row.tolist(), begin.tolist(), end.tolist(), strict=True)) == [
        (0, 0, 2),
        (1, 3, 4),
        (3, 0, 1),
        (3, 2, 4),
    ]
    known = np.ones_like(mask)
    assert close_gaps(mask, known, 1)[3].all()
    known[3, 1] = False
    assert not close_gaps(mask, known, 1)[3].all()
    assert not close_gaps(mask, known, 2)[0].all()  # a gap has both its sides
