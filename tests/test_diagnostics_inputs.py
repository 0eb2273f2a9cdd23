"""What all diagnostics share: laziness, dims, years, and refusing what cannot be answered."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise

import cftime
import dask
import numpy as np
import pytest
import xarray as xr

from xpermafrost import diagnostics as dg
from xpermafrost.diagnostics import _years
from xpermafrost.errors import (
    DataError,
    DimensionError,
    MissingVariableError,
    PermafrostWarning,
    TimeAxisError,
    UnitsError,
    UnknownNameError,
)
from xpermafrost.schema import layer_coords

EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 1.5, 1.8)
PLACES = {"member": 2, "lat": 2, "lon": 3}


def daily(years: int = 3, *, cold: float = -5.0, start: str = "2001-01-01") -> xr.Dataset:
    """Daily soil and air temperature [degC] of a smooth season, warmer from place to place."""
    time = xr.date_range(start, periods=int(365.25 * years) + 1)
    layers = layer_coords(EDGES)
    depth = layers["depth"].values[:, None]
    rng = np.random.default_rng(1)
    shift = rng.normal(0, 1.5, tuple(PLACES.values()))
    angle = 2 * np.pi * (np.arange(time.size) - 200) / 365.25
    soil = 16 * np.exp(-1.5 * depth) * np.cos(angle - 1.5 * depth)
    soil = cold + shift[..., None, None] + soil
    air = cold - 2 + shift[..., None] + 18 * np.cos(angle) + rng.normal(0, 3, time.size)
    dims = tuple(PLACES)
    return xr.Dataset(
        {
            "tsl": ((*dims, "layer", "time"), soil, {"units": "degC"}),
            "tas": ((*dims, "time"), air, {"units": "degC"}),
        },
        coords={"time": time, "lat": [65.0, 66.0], "lon": [-150.0, -149.0, -148.0], **layers},
    )


SOIL = xr.Dataset(
    {
        name: ((), value, {"units": units})
        for name, value, units in (
            ("conductivity_thawed", 1.0, "W m-1 K-1"),
            ("conductivity_frozen", 1.7, "W m-1 K-1"),
            ("heat_capacity_thawed", 2.8e6, "J m-3 K-1"),
            ("heat_capacity_frozen", 2.0e6, "J m-3 K-1"),
            ("latent_heat", 1.3e8, "J m-3"),
        )
    }
)

CALLS: dict[str, Callable[[xr.Dataset], xr.DataArray | xr.Dataset]] = {
    "alt envelope": lambda ds: dg.active_layer_thickness(ds),
    "alt isotherm": lambda ds: dg.active_layer_thickness(ds, method="isotherm"),
    "alt layer_sum": lambda ds: dg.active_layer_thickness(ds, method="layer_sum"),
    "alt stefan": lambda ds: dg.active_layer_thickness(ds, method="stefan", properties=SOIL),
    "alt kudryavtsev": lambda ds: dg.active_layer_thickness(
        ds, method="kudryavtsev", properties=SOIL
    ),
    "magt": dg.mean_annual_ground_temperature,
    "magst": dg.mean_annual_surface_temperature,
    "maat": dg.mean_annual_air_temperature,
    "surface offset": lambda ds: dg.surface_offset(ds, ds),
    "thermal offset": dg.thermal_offset,
    "ttop": lambda ds: dg.ttop(ds, n_thawing=0.9, n_freezing=0.5, conductivity_ratio=0.6),
    "degree days": dg.degree_days,
    "n factors": lambda ds: dg.n_factors(ds, ds),
    "design index": lambda ds: dg.design_index(ds, years=3, extreme=2),
    "curtain days": dg.zero_curtain_days,
    "curtain": dg.zero_curtain,
    "thaw date": dg.thaw_date,
    "freeze-up": dg.freeze_up_date,
    "season": dg.season_length,
    "presence": dg.permafrost_presence,
    "presence of layers": lambda ds: dg.permafrost_presence(ds, of="layer"),
    "probability": lambda ds: dg.permafrost_probability(dg.permafrost_presence(ds)),
    "zones": lambda ds: dg.permafrost_zones(dg.permafrost_probability(dg.permafrost_presence(ds))),
    "free year": lambda ds: dg.permafrost_free_year(dg.permafrost_presence(ds)),
    "talik": dg.talik_onset,
    "volume": lambda ds: dg.thawed_volume(
        dg.active_layer_thickness(ds),
        area=xr.DataArray([1.0, 2.0], dims="lat", attrs={"units": "km2"}),
    ),
}


def variables(found: xr.DataArray | xr.Dataset) -> list[xr.DataArray]:
    return list(found.data_vars.values()) if isinstance(found, xr.Dataset) else [found]


def refuse(graph: object, keys: object, **options: object) -> None:
    raise AssertionError("computed")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_lazy_and_the_same_on_dask(call, unchanged):
    ds = daily()
    with unchanged(ds):
        eager = call(ds)
    # depths are read; chunk() would make dask arrays of them too
    chunked = ds.chunk(lat=1, lon=2, member=1).assign_coords(ds.coords)
    with dask.config.set(scheduler=refuse):
        lazy = call(chunked)
    assert all(da.chunks is not None for da in variables(lazy))
    with dask.config.set(scheduler="synchronous"):
        xr.testing.assert_allclose(lazy.compute(), eager)
    assert type(lazy.compute()) is type(eager)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_other_dim_is_carried_through_and_results_are_labelled(call):
    found = call(daily())
    for da in variables(found):
        assert "long_name" in da.attrs
        assert "method" in da.attrs
        assert "units" in da.attrs or "flag_meanings" in da.attrs
        assert {"lat", "lon"} & set(da.dims)
        for key in ("lat", "lon"):
            assert key not in da.dims or da[key].values.tolist() == daily()[key].values.tolist()


@pytest.mark.parametrize("name", ["alt isotherm", "magt", "degree days", "season", "talik"])
def test_kelvin_and_degrees_give_the_same(name):
    ds = daily()
    kelvin = ds.assign({n: (ds[n] + 273.15).assign_attrs(units="K") for n in ("tsl", "tas")})
    xr.testing.assert_allclose(CALLS[name](kelvin), CALLS[name](ds))


@pytest.mark.parametrize("name", ["alt isotherm", "degree days", "season", "talik", "presence"])
def test_a_freezing_point_is_a_shift(name):
    calls: dict[str, Callable[..., xr.DataArray | xr.Dataset]] = {
        "alt isotherm": lambda ds, **o: dg.active_layer_thickness(ds, method="isotherm", **o),
        "degree days": dg.degree_days,
        "season": dg.season_length,
        "talik": dg.talik_onset,
        "presence": dg.permafrost_presence,
    }
    ds = daily()
    shifted = ds.assign({n: (ds[n] - 0.5).assign_attrs(units="degC") for n in ("tsl", "tas")})
    found = calls[name](shifted, freezing_point=-0.5)
    xr.testing.assert_allclose(found, calls[name](ds))
    some = found if isinstance(found, xr.DataArray) else found["thawing_degree_days"]
    assert some.attrs["freezing_point"] == "-0.5 degC"


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 1, 2), (0, 3, 1, 2)])
@pytest.mark.parametrize("name", ["mean", "max"])
def test_years_in_one_pass_are_those_of_numpy(name, order):
    """Whatever the order in memory: time last, first, or between."""
    time = xr.date_range("2001-01-01", "2004-12-31", freq="D", use_cftime=False)
    rng = np.random.default_rng(3)
    values = rng.normal(size=(2, 3, 150, time.size)).astype("f4")
    values[rng.random(values.shape) < 0.03] = np.nan
    values[1, 2] = np.nan
    back = np.argsort(order)
    values = np.ascontiguousarray(values.transpose(order)).transpose(back)
    axis = xr.DataArray(np.zeros(time.size), {"time": time}, ("time",))
    years = _years.years_of(axis, "calendar", step="test")
    kernel = {"mean": _years.mean_of_years, "max": _years.max_of_years}[name]
    found = kernel(values, years, 0.97)
    assert found.dtype == {"mean": "f8", "max": "f4"}[name]
    for k, part in enumerate(years.slices):
        now = values[..., part].astype("f8")
        enough = (~np.isnan(now)).sum(-1) >= 0.97 * years.days[k] - 1e-3
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            wanted = {"mean": np.nanmean, "max": np.nanmax}[name](now, axis=-1)
        assert 0.2 < enough.mean() < 0.8
        np.testing.assert_allclose(found[..., k], np.where(enough, wanted, np.nan), rtol=1e-6)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "f2", "longdouble", "i4", "i2"])
def test_years_of_every_kind_of_number(dtype):
    ds = daily()
    whole = ds["tas"].round().astype("f8")
    for call in (dg.mean_annual_air_temperature, dg.degree_days):
        found = variables(call(whole.astype(dtype).assign_attrs(ds["tas"].attrs)))
        wanted = variables(call(whole.assign_attrs(ds["tas"].attrs)))
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-3)


def test_pieces_are_cut_where_all_arrays_are():
    """Two arrays, one without the first dimension: cut together they would be mixed up."""
    rng = np.random.default_rng(0)
    time = xr.date_range("2001-01", periods=24, freq="MS", use_cftime=False)
    coords = {"time": time}
    a = xr.DataArray(rng.random((4, 4, 24)), coords, ("lat", "lon", "time"))
    b = xr.DataArray(rng.random((4, 24)), coords, ("lon", "time"))
    years = _years.years_of(a, "calendar", step="test")

    def product(one, two):
        return _years.mean_of_years(one * two, years, 0.9)

    (whole,) = _years.over_years(product, [a, b], years=years)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_years, "PIECE", 50)
        (cut,) = _years.over_years(product, [a, b], years=years)
    xr.testing.assert_identical(cut, whole)
    np.testing.assert_allclose(whole[2, 1, 0], np.average(
        (a * b)[2, 1, :12], weights=time[:12].days_in_month))  # fmt: skip


@pytest.mark.filterwarnings("ignore::xpermafrost.errors.PermafrostWarning")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_pieces_give_what_the_whole_gives(call, monkeypatch):
    ds = daily()
    whole = variables(call(ds))
    monkeypatch.setattr(_years, "PIECE", 1000)
    for one, other in zip(variables(call(ds)), whole, strict=True):
        xr.testing.assert_identical(one, other)


def test_integers_and_single_precision_are_taken():
    ds = daily().astype("float32")
    ds["tsl"].attrs["units"] = "degC"
    whole = ds.assign(tsl=ds["tsl"].round().astype("int32").assign_attrs(units="degC"))
    single = dg.active_layer_thickness(ds)
    xr.testing.assert_allclose(single, dg.active_layer_thickness(daily()), rtol=1e-5)
    assert dg.mean_annual_ground_temperature(whole).dtype == "float64"
    means = dg.mean_annual_ground_temperature(ds)
    assert means.dtype == "float32"
    xr.testing.assert_allclose(means, dg.mean_annual_ground_temperature(daily()), rtol=1e-5)


# --- years ---------------------------------------------------------------------------------


def test_years_are_named_by_the_year_they_end_in():
    ds = daily(2)
    found = dg.mean_annual_air_temperature(ds, year="hydrological")
    assert found["year"].values.tolist() == [2001, 2002, 2003]
    assert found.notnull().any(["lat", "lon", "member"]).values.tolist() == [False, True, False]
    mean = ds["tas"].sel(time=slice("2001-10-01", "2002-09-30")).mean("time")
    np.testing.assert_allclose(found.sel(year=2002), mean)
    assert found.attrs["year_definition"] == "year from 10-01, named by the year it ends in"


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard", "julian"])
def test_calendars(calendar):
    time = xr.date_range("2000-01-01", "2001-12-30", calendar=calendar, use_cftime=True)
    values = xr.DataArray(
        np.ones(time.size), {"time": time}, "time", attrs={"units": "degC"}, name="tas"
    )
    sums = dg.degree_days(values, coverage=0.9)["thawing_degree_days"]
    first = [cftime.datetime(y, 1, 1, calendar=calendar) for y in (2000, 2001, 2002)]
    length = [(b - a).days for a, b in pairwise(first)]
    assert sums.values.tolist() == length


def test_months_weigh_by_their_length():
    time = xr.date_range("2001-01-01", periods=12, freq="MS")
    tas = xr.DataArray(np.eye(12)[1] * 365.0, {"time": time}, "time", attrs={"units": "degC"})
    assert float(dg.mean_annual_air_temperature(tas)[0]) == pytest.approx(28.0)


def test_an_incomplete_year_is_missing():
    ds = daily(2)
    tas = ds["tas"].copy()
    tas[..., 30:49] = np.nan  # 19 days of 2001, one more than 5 %
    found = dg.mean_annual_air_temperature(tas)
    assert found.sel(year=2001).isnull().all()
    assert found.sel(year=2002).notnull().all()
    tas[..., 30] = 1.0
    assert dg.mean_annual_air_temperature(tas).sel(year=2001).notnull().all()
    strict = dg.mean_annual_air_temperature(tas, coverage=1.0)
    assert strict.sel(year=2001).isnull().all()
    assert strict.attrs["completeness"] == "years with data on 100% of their days or more"


def test_one_missing_month_makes_the_year_missing():
    time = xr.date_range("2001-01-01", periods=24, freq="MS")
    tas = xr.DataArray(np.arange(24.0), {"time": time}, "time", attrs={"units": "degC"})
    tas[3] = np.nan
    assert dg.mean_annual_air_temperature(tas).isnull().values.tolist() == [True, False]


def test_missing_days_scale_the_sum():
    tas = daily(1)["tas"].isel(member=0, lat=0, lon=0) * 0 + 2.0
    tas.attrs["units"] = "degC"
    tas[100:110] = np.nan
    sums = dg.degree_days(tas)["thawing_degree_days"]
    assert float(sums.sel(year=2001)) == pytest.approx(730.0)


def test_step_and_days_of_years():
    years = _years.years_of(daily(3)["tas"], "07-01", step="test")
    assert years.step == "day"
    assert years.days.tolist() == [365, 365, 365, 366]
    assert np.bincount(years.index).tolist() == [181, 365, 365, 185]


# --- bad input -----------------------------------------------------------------------------


def soil(**changes: object) -> xr.DataArray:
    return daily(1)["tsl"].assign_attrs(changes)


def test_layers_without_bounds():
    bare = daily(1)["tsl"].drop_vars(["depth", "depth_top", "depth_bottom"])
    with pytest.raises(DimensionError, match=r"no bounds.*assign_coords\(xp.layer_coords"):
        dg.active_layer_thickness(bare)
    points = daily(1)["tsl"].drop_vars(["depth_top", "depth_bottom"])
    with pytest.raises(DimensionError, match=r"Sensors at points.*layer_coords_from_bounds"):
        dg.mean_annual_ground_temperature(points)


def test_depth_in_centimetres_by_its_units():
    da = soil(units="degC")
    da = da.assign_coords(depth=(100 * da["depth"]).assign_attrs(units="cm"))
    with pytest.raises(UnitsError, match=r"depths in m; 'depth' has units 'cm'.*edges_in_m"):
        dg.active_layer_thickness(da)


def test_depth_in_centimetres_called_metres():
    da = soil(units="degC").assign_coords(
        {n: v for n, v in layer_coords([100 * e for e in EDGES]).items() if n != "depth_bnds"}
    )
    with pytest.raises(DataError, match=r"shallowest depth is 5 m. Are the depths in cm\?"):
        dg.active_layer_thickness(da)


@pytest.mark.parametrize("how", ["attribute", "values"])
def test_depth_positive_up(how):
    da = soil(units="degC")
    if how == "attribute":
        da = da.assign_coords(depth=da["depth"].assign_attrs(positive="up"))
    else:
        turned = {n: -da[n] for n in ("depth", "depth_top", "depth_bottom")}
        da = da.assign_coords({n: v.assign_attrs(units="m") for n, v in turned.items()})
    with pytest.raises(DimensionError, match=r"positive down; .* (Give the bounds so|Turn them)"):
        dg.permafrost_presence(da)


def test_unsorted_depth():
    with pytest.raises(DimensionError, match=r"from the surface down.*sortby\('depth'\)"):
        dg.talik_onset(soil(units="degC").isel(layer=[1, 0, 2, 3, 4, 5, 6, 7]))


def test_sorting_as_the_message_says_helps():
    mixed = daily(2)["tsl"].isel(layer=[1, 0, 2, 3, 4, 5, 6, 7])
    sorted_ = dg.active_layer_thickness(mixed.sortby("depth"))
    xr.testing.assert_allclose(sorted_, dg.active_layer_thickness(daily(2)))


@pytest.mark.parametrize(
    "call", [dg.active_layer_thickness, dg.permafrost_presence, dg.talik_onset, dg.thermal_offset]
)
def test_a_profile_too_shallow(call):
    with pytest.raises(DataError, match=r"down to 1 m or deeper; this one ends at 0.5 m"):
        call(soil(units="degC").isel(layer=slice(3)))


def test_one_depth_is_no_profile():
    with pytest.raises(DataError, match="at least two depths"):
        dg.active_layer_thickness(soil(units="degC").isel(layer=[7]))


def test_a_surface_too_deep():
    with pytest.raises(DataError, match=r"shallowest layer is at 0.4 m, deeper than 0.1 m"):
        dg.mean_annual_surface_temperature(soil(units="degC").isel(layer=slice(2, None)))


def test_without_layers():
    with pytest.raises(DimensionError, match=r"needs dims \('layer',\)"):
        dg.active_layer_thickness(daily(1)["tas"])


@pytest.mark.parametrize(
    "call",
    [dg.zero_curtain, dg.zero_curtain_days, dg.thaw_date, dg.freeze_up_date, dg.season_length],
)
def test_daily_diagnostics_refuse_months(call):
    monthly = daily(2)["tsl"].resample(time="MS").mean().assign_attrs(units="degC")
    with pytest.raises(TimeAxisError, match=r"needs daily data; found monthly means"):
        call(monthly)


@pytest.mark.parametrize(
    ("units", "message"),
    [(None, r"has none. Set them.*attrs\['units'\] = 'K'"), ("m", r"in 'K' or 'degC'.*units 'm'")],
)
def test_units(units, message):
    da = daily(1)["tsl"].assign_attrs(units=units)
    if units is None:
        da = da.drop_attrs(deep=False)
    with pytest.raises(UnitsError, match=message):
        dg.active_layer_thickness(da)


def test_a_dataset_without_the_variable():
    with pytest.raises(MissingVariableError, match="mean_annual_air_temperature needs"):
        dg.mean_annual_air_temperature(daily(1).drop_vars("tas"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda da: da.isel(time=[0, 1, 1, *range(2, 300)]), r"2001-01-02 twice.*drop_duplicates"),
        (lambda da: da.isel(time=[1, 0, *range(2, 300)]), r"after.*sortby"),
        (lambda da: da.isel(time=[*range(50), *range(60, 300)]), r"nothing between.*asfreq"),
        (lambda da: da.isel(time=slice(0, 300, 5)), r"median time step is 5 days"),
        (lambda da: da.isel(time=slice(2)), r"'time' holds 2 step"),
        (lambda da: da.assign_coords(time=np.arange(da.sizes["time"])), r"must hold dates"),
        (
            lambda da: da.isel(time=slice(48)).assign_coords(
                time=xr.date_range("2001-01-01", periods=48, freq="h")
            ),
            r"shorter steps.*resample\(time='D'\).mean",
        ),
    ],
)
def test_time_axes(change, message):
    with pytest.raises(TimeAxisError, match=message):
        dg.mean_annual_air_temperature(change(daily(1)["tas"]))


def test_a_gap_in_the_months():
    monthly = daily(2)["tas"].resample(time="MS").mean().assign_attrs(units="degC")
    with pytest.raises(TimeAxisError, match="no 2001-06"):
        dg.mean_annual_air_temperature(monthly.drop_isel(time=5))


def test_month_years_start_on_the_first():
    monthly = daily(2)["tas"].resample(time="MS").mean().assign_attrs(units="degC")
    with pytest.raises(TimeAxisError, match="Type year='07-01'"):
        dg.mean_annual_air_temperature(monthly, year="07-04")


@pytest.mark.parametrize("year", ["water", "02-30", "13-01", "7-1"])
def test_unknown_years(year):
    with pytest.raises(UnknownNameError, match="unknown year definition"):
        dg.degree_days(daily(1), year=year)


@pytest.mark.parametrize("coverage", [0.0, 1.2, -1.0])
def test_coverage_is_a_share(coverage):
    with pytest.raises(DataError, match="0 < coverage <= 1"):
        dg.degree_days(daily(1), coverage=coverage)


@pytest.mark.parametrize("dim", ["time", "layer"])
def test_time_and_layers_are_one_chunk(dim):
    with pytest.raises(DimensionError, match=rf"Type ds.chunk\({dim}=-1\)"):
        dg.active_layer_thickness(daily(1).chunk({dim: 2 if dim == "layer" else 100}))


def test_series_on_other_days():
    ds = daily(2)
    with pytest.raises(TimeAxisError, match=r"same steps; found 2001-01-01 .*xr.align"):
        dg.n_factors(ds["tas"], ds["tsl"].isel(time=slice(10, None)))
    with pytest.raises(TimeAxisError, match="same steps"):
        dg.surface_offset(ds["tas"].isel(time=slice(10, None)), ds["tsl"])


# --- the package's own objects -------------------------------------------------------------


def test_products_and_experiments():
    from xpermafrost.products import soil_temperature
    from xpermafrost.testing import canonical, experiment

    world = experiment()
    means = dg.mean_annual_air_temperature(world)
    assert means.dims == ("scenario", "band", "year")
    known = means.notnull().all("band")
    assert known.sel(scenario="rcp85").sum() == 12  # missing outside its own period
    assert known.sel(scenario="reference", year=slice(2001, 2008)).all()
    assert not known.sel(scenario="reference", year=2010)
    tsl = canonical(years=2)["tsl"]
    xr.testing.assert_allclose(
        dg.mean_annual_ground_temperature(soil_temperature(tsl)),
        dg.mean_annual_ground_temperature(tsl),
        atol=1e-4,
    )
    with pytest.warns(PermafrostWarning):
        found = dg.active_layer_thickness(soil_temperature(tsl))
    assert found.dims == ("band", "year")


def test_results_go_to_files_and_come_back(tmp_path):
    from xpermafrost.gis import from_cf, to_netcdf

    found = dg.active_layer_thickness(daily().isel(member=0, drop=True))
    path = to_netcdf(found, tmp_path / "alt.nc")
    with xr.open_dataset(path) as ds:
        back = from_cf(ds)[found.name]
        np.testing.assert_allclose(back, found)
        np.testing.assert_array_equal(back["status"], found["status"])
        assert back["status"].attrs["flag_meanings"] == found["status"].attrs["flag_meanings"]


def test_bounds_of_a_dataset_are_found_as_they_are_stored():
    ds = daily()
    bare = ds.drop_vars(["depth_top", "depth_bottom"])
    xr.testing.assert_allclose(dg.active_layer_thickness(bare), dg.active_layer_thickness(ds))
    assert "depth_top" not in bare.coords
    cm = bare.assign_coords(depth=("layer", ds["depth"].values, {"units": "cm"}))
    with pytest.raises(UnitsError, match="depths in m"):
        dg.active_layer_thickness(cm)


def test_soil_is_no_air():
    soil = daily()["tsl"]
    for call in (
        dg.mean_annual_air_temperature,
        lambda da: dg.ttop(da, n_thawing=0.9, n_freezing=0.5, conductivity_ratio=0.6),
        lambda da: dg.surface_offset(da, da),
    ):
        with pytest.raises(DimensionError, match=r"needs air temperature; 'tsl' has the dims"):
            call(soil)
    assert "layer" in dg.degree_days(soil).dims  # of soil there are degree days


def test_places_that_differ_are_not_dropped():
    ds = daily()
    thickness = dg.active_layer_thickness(ds)
    area = xr.DataArray(
        np.full((2, 3), 1e6), coords={"lat": ds["lat"], "lon": ds["lon"]}, dims=("lat", "lon"),
        attrs={"units": "m2"},
    )  # fmt: skip
    near = area.assign_coords(lat=area["lat"] + 1e-6)
    for wrong in (near, area.isel(lat=[1]), area.isel(lat=[1, 0])):
        with pytest.raises(DimensionError, match=r"same places in both; along 'lat' found \[65.0"):
            dg.thawed_volume(thickness, area=wrong)
    moved = ds.assign_coords(lat=ds["lat"] + 1.0)
    for call in (dg.surface_offset, dg.n_factors):
        with pytest.raises(DimensionError, match="same places in both; along 'lat'"):
            call(ds, moved)


def test_a_thickness_is_no_presence():
    thickness = dg.active_layer_thickness(daily())
    for call in (dg.permafrost_free_year, lambda da: dg.permafrost_probability(da, dim="member")):
        with pytest.raises(UnitsError, match=r"needs the presence of permafrost.* has units 'm'"):
            call(thickness)
