"""Presence, probability, zones, disappearance, taliks, thawed volume."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray as xr

from xpermafrost import diagnostics as dg
from xpermafrost.diagnostics.permafrost import _in_runs
from xpermafrost.errors import DataError, DimensionError, UnitsError, UnknownNameError
from xpermafrost.schema import layer_coords


def soil(*layers: list[float]) -> xr.DataArray:
    """Monthly series of layers 0-0.5, 0.5-1, ... m: one temperature a year each."""
    edges = 0.5 * np.arange(len(layers) + 1)
    coords = {n: v for n, v in layer_coords(edges).items() if n != "depth_bnds"}
    values = np.repeat(np.asarray(layers, dtype="float64"), 12, axis=1)
    time = xr.date_range("2001-01-01", periods=values.shape[1], freq="MS")
    return xr.DataArray(
        values, {"time": time, **coords}, ("layer", "time"), attrs={"units": "degC"}
    )


def test_two_frozen_years_in_a_row():
    da = soil([1.0] * 6, [-1.0, -1.0, 1.0, -1.0, 1.0, -1.0], [2.0] * 6)
    found = dg.permafrost_presence(da)
    # the first and last year may have frozen neighbours outside the record
    np.testing.assert_array_equal(found, [1, 1, 0, 0, 0, np.nan])
    by_layer = dg.permafrost_presence(da, of="layer")
    assert by_layer.dims == ("layer", "year")
    assert by_layer["depth"].values.tolist() == [0.25, 0.75, 1.25]
    np.testing.assert_array_equal(by_layer.isel(layer=0), np.zeros(6))


def test_one_frozen_layer_is_enough_and_one_unknown_layer_is_not_none():
    np.testing.assert_array_equal(
        dg.permafrost_presence(soil([1.0] * 3, [np.nan] * 3, [-1.0] * 3)), [1, 1, 1]
    )
    np.testing.assert_array_equal(
        dg.permafrost_presence(soil([1.0] * 3, [np.nan] * 3, [1.0] * 3)), [np.nan] * 3
    )


def test_zero_is_frozen():
    np.testing.assert_array_equal(dg.permafrost_presence(soil([0.0] * 2, [1.0] * 2)), [1, 1])


@pytest.mark.parametrize("length", [1, 2, 3])
def test_runs_against_every_completion_of_the_unknown(length):
    """Sure: true for all ways to fill in what is unknown; possible: true for some."""
    for states in itertools.product((0, 1, None), repeat=5):
        unknown = np.array([s is None for s in states])
        true = np.array([s == 1 for s in states])
        answers = []
        edge = length - 1
        open_ = [*range(edge), *range(edge + 5, 2 * edge + 5)]
        open_ += [edge + k for k in range(5) if unknown[k]]
        for fill in itertools.product((False, True), repeat=len(open_)):
            full = np.zeros(5 + 2 * edge, bool)
            full[edge : edge + 5] = true
            full[open_] = fill
            runs = np.array([full[k : k + length].all() for k in range(5 + edge)])
            answers.append([runs[k : k + length].any() for k in range(5)])
        sure, maybe = _in_runs(true, unknown, length)
        assert sure.tolist() == np.all(answers, axis=0).tolist()
        assert maybe.tolist() == np.any(answers, axis=0).tolist()


def test_probability_over_members():
    members = xr.concat([soil([t] * 4, [t] * 4) for t in (-1.0, -2.0, 1.0, -0.5)], "member")
    presence = dg.permafrost_presence(members.assign_attrs(units="degC"))
    found = dg.permafrost_probability(presence)
    assert found.values.tolist() == [0.75] * 4
    assert found.attrs["units"] == "1"
    unknown = presence.copy()
    unknown[1, 2] = np.nan
    np.testing.assert_array_equal(dg.permafrost_probability(unknown), [0.75, 0.75, np.nan, 0.75])
    both = presence.expand_dims(model=2)
    assert dg.permafrost_probability(both, dim=("model", "member")).values.tolist() == [0.75] * 4
    with pytest.raises(DimensionError, match=r"needs dims \('member',\)"):
        dg.permafrost_probability(presence.isel(member=0))


def test_zones_at_their_limits():
    share = xr.DataArray([np.nan, 0, 0.001, 0.099, 0.1, 0.499, 0.5, 0.899, 0.9, 1], dims="cell")
    share.attrs["units"] = "1"
    found = dg.permafrost_zones(share)
    assert found.values.tolist() == [5, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    names = "none isolated sporadic discontinuous continuous no_data"
    assert found.attrs["flag_meanings"] == names
    percent = (share * 100).assign_attrs(units="%")
    assert dg.permafrost_zones(percent).values.tolist() == found.values.tolist()
    with pytest.raises(UnitsError, match="share in '1' or '%'"):
        dg.permafrost_zones(share.assign_attrs(units="K"))


def test_nine_of_ten_members_are_continuous():
    presence = xr.DataArray([1.0] * 9 + [0.0], dims="member").astype("float32")
    assert int(dg.permafrost_zones(dg.permafrost_probability(presence))) == 4


def test_permafrost_free_year():
    rows = {
        "gone": [1, 1, 0, 0, 0],
        "returns": [1, 0, 1, 0, 0],
        "persists": [0, 1, 1, 1, 1],
        "persists, last unknown": [1, 1, 1, 1, np.nan],
        "gone after an unknown year": [1, 1, np.nan, 0, 0],
        "never": [0, 0, 0, np.nan, 0],
        "no data": [np.nan] * 5,
    }
    presence = xr.DataArray(
        np.array(list(rows.values()), dtype="float64"),
        {"place": list(rows), "year": range(2001, 2006)},
        ("place", "year"),
    )
    found = dg.permafrost_free_year(presence)
    expected = [2003, 2004, np.nan, np.nan, 2004, np.nan, np.nan]
    np.testing.assert_array_equal(found, expected)
    assert found["status"].values.tolist() == [0, 0, 1, 1, 0, 2, 3]
    assert found["status"].attrs["flag_meanings"] == "disappeared persists never_there no_data"


def test_warming_ends_in_a_year_without_permafrost():
    warming = [-1.5, -1.2, -0.8, -0.3, 0.4, 0.9, 1.1, 1.2]
    presence = dg.permafrost_presence(soil([2.0] * 8, warming, warming))
    assert float(dg.permafrost_free_year(presence)) == 2005


def test_talik_onset_and_its_other_answers():
    n = 6
    cases = {
        "above permafrost": soil([1.0, -1.0, 1.0, 1.0, 1.0, 1.0], [-1.0] * n, [-1.0] * n),
        "within permafrost": soil([-1.0] * n, [-1.0, -1.0, -1.0, 0.5, 0.5, 0.5], [-2.0] * n),
        "one year only": soil([-1.0] * n, [-1.0, 0.5, -1.0, 0.5, -1.0, 0.5], [-2.0] * n),
        "nothing frozen below": soil([-1.0] * n, [0.5] * n, [0.5] * n),
        "no data": soil([np.nan] * n, [np.nan] * n, [np.nan] * n),
    }
    da = xr.concat(list(cases.values()), "case").assign_attrs(units="degC")
    found = dg.talik_onset(da)
    np.testing.assert_array_equal(found, [2003, 2004, np.nan, np.nan, np.nan])
    assert found["status"].values.tolist() == [0, 0, 1, 2, 3]
    assert found["status"].attrs["flag_meanings"] == "talik no_talik below_profile no_data"


def test_a_layer_that_freezes_in_winter_is_no_talik():
    da = soil([2.0] * 4, [-1.0] * 4)
    da[0, ::12] = -3.0
    assert int(dg.talik_onset(da)["status"]) == 1


def test_talik_needs_the_years_asked_for():
    da = soil([-1.0, 1.0, 1.0, -1.0], [-1.0] * 4)
    assert float(dg.talik_onset(da)) == 2002
    assert int(dg.talik_onset(da, years=3)["status"]) == 1
    assert int(dg.talik_onset(da, years=9)["status"]) == 1


def test_options_are_checked():
    for call in (dg.permafrost_presence, dg.talik_onset):
        with pytest.raises(DataError, match="years >= 1; got 0"):
            call(soil([1.0] * 2, [1.0] * 2), years=0)
    with pytest.raises(UnknownNameError, match="did you mean 'layer'"):
        dg.permafrost_presence(soil([1.0] * 2, [1.0] * 2), of="layers")


def depth(values: list[float]) -> xr.DataArray:
    return xr.DataArray(values, dims="cell", attrs={"units": "m", "method": "test"})


def test_thawed_volume():
    area = xr.DataArray([4.0, 1.0, 5.0], dims="cell", attrs={"units": "km2"})
    found = dg.thawed_volume(depth([0.5, 1.0, np.nan]), area=area)
    assert float(found) == pytest.approx(3e6)
    assert float(found["area_share"]) == pytest.approx(0.5)
    assert found.attrs["units"] == "m3"
    assert found.attrs["thickness"] == "test"
    nothing = dg.thawed_volume(depth([np.nan] * 3), area=area)
    assert np.isnan(nothing)  # unknown, not empty
    frozen = dg.thawed_volume(depth([0.0] * 3), area=area)
    assert float(frozen) == 0.0


def test_thawed_volume_of_regions_on_a_grid():
    weights = xr.DataArray(
        [[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]], dims=("band", "cell"), attrs={"units": "m2"}
    )
    found = dg.thawed_volume(depth([0.5, 1.0, 2.0]), area=weights)
    assert found.values.tolist() == [6.5, 2.0]


def test_thawed_volume_refusals():
    area = xr.DataArray([1.0], dims="place", attrs={"units": "m2"})
    with pytest.raises(DimensionError, match="area of the places"):
        dg.thawed_volume(depth([1.0]), area=area)
    with pytest.raises(UnitsError, match="area in 'm2' or 'km2'"):
        dg.thawed_volume(depth([1.0]), area=area.assign_attrs(units="ha"))
    with pytest.raises(UnitsError, match="thickness in 'm'"):
        dg.thawed_volume(depth([1.0]).assign_attrs(units="cm"), area=area)
