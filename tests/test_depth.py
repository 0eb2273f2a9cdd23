"""Layers to other layers: mass, means, profiles of sensors, what the source does not reach."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from xpermafrost.depth import remap_layers
from xpermafrost.errors import DataError, DimensionError, UnitsError, UnknownNameError
from xpermafrost.schema import (
    ERA5LAND_EDGES,
    VARIABLES,
    layer_bounds,
    layer_coords,
    layer_coords_from_bounds,
)
from xpermafrost.testing import canonical

DATA = Path(__file__).parents[1].parent / "shared" / "data"

#: Layers of some climate models [m].
IPSL = (0, 0.001, 0.004, 0.01, 0.022, 0.045, 0.092, 0.186, 0.374, 0.75, 1.5, 2.0)
CLM = (0, 0.0175, 0.0451, 0.0906, 0.1655, 0.2891, 0.4929, 0.8289, 1.3828, 2.2961, 3.8019)


def soil(edges, *, n_time=3, seed=0, holes=0.0, dtype="float64"):
    """Temperature and water of layers with those edges, at two places."""
    rng = np.random.default_rng(seed)
    shape = (2, len(edges) - 1, n_time)
    tsl = rng.normal(270.0, 5.0, shape)
    mrsol = rng.uniform(50, 400, shape) * np.diff(edges)[:, None]
    if holes:
        tsl[rng.random(shape) < holes] = np.nan
        mrsol[rng.random(shape) < holes] = np.nan
    dims = ("band", "layer", "time")
    return xr.Dataset(
        {
            "tsl": (dims, tsl.astype(dtype), VARIABLES["tsl"].attrs),
            "mrsol": (dims, mrsol.astype(dtype), VARIABLES["mrsol"].attrs),
        },
        coords={"time": np.arange(n_time), "band": ["a", "b"], **layer_coords(edges)},
    )


def sensors(depths, values, **attrs):
    """Profiles ``(time, layer)`` at points."""
    bounds = np.stack([depths, depths], axis=1)
    tsl = (("time", "layer"), np.asarray(values, "float64"), {"units": "K", **attrs})
    return xr.Dataset({"tsl": tsl}, coords=layer_coords_from_bounds(bounds))


@st.composite
def edges(draw, deepest=4.0, most=8):
    steps = draw(st.lists(st.floats(0.005, 1.0), min_size=1, max_size=most))
    cuts = np.concatenate([[0.0], np.cumsum(steps)])
    return tuple((cuts * min(1.0, deepest / cuts[-1])).tolist())


# ------------------------------------------------------------------------------ amounts and means


@settings(max_examples=60, deadline=None)
@given(edges(), edges(), st.integers(0, 10**6))
def test_water_over_the_common_depth_is_conserved(one, two, seed):
    """Before and after to 1e-10, whatever the layers; nothing comes from below the source."""
    ds = soil(one, seed=seed)
    out = remap_layers(ds, two)
    common = min(one[-1], two[-1])
    share = np.clip((common - np.array(one[:-1])) / np.diff(one), 0.0, 1.0)
    before = (ds["mrsol"].values * share[:, None]).sum(axis=1)
    np.testing.assert_allclose(out["mrsol"].sum("layer").values, before, rtol=1e-10)
    reached = np.array(two[:-1]) < one[-1] - 1e-6
    assert bool((out["mrsol"].notnull().all(("band", "time")) == reached).all())
    assert bool((out["tsl"].notnull().all(("band", "time")) == reached).all())
    share = np.clip((one[-1] - np.array(two[:-1])) / np.diff(two), 0.0, 1.0)
    np.testing.assert_allclose(out["depth_covered"], share, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(edges(), edges(), st.integers(0, 10**6))
def test_heat_content_over_the_common_depth_is_conserved_too(one, two, seed):
    """Thickness-weighted means keep the integral of the temperature."""
    ds = soil(one, seed=seed)
    out = remap_layers(ds, two)
    common = min(one[-1], two[-1])

    def integral(da, cuts):
        part = np.clip(common - np.array(cuts[:-1]), 0.0, np.diff(cuts))
        return (da.fillna(0.0).transpose("band", "time", "layer").values * part).sum(axis=-1)

    np.testing.assert_allclose(
        integral(out["tsl"], two), integral(ds["tsl"], one), rtol=1e-5 if common < 0.01 else 1e-9
    )


@settings(max_examples=30, deadline=None)
@given(edges(), edges(), st.floats(200, 300), st.integers(0, 10**6))
def test_a_constant_profile_stays_constant_with_holes_in_it(one, two, level, seed):
    ds = soil(one, holes=0.3, seed=seed)
    ds["tsl"] = ds["tsl"].where(ds["tsl"].isnull(), level)
    out = remap_layers(ds, two, min_valid=0.0)["tsl"]
    np.testing.assert_allclose(out.values[out.notnull().values], level, rtol=1e-12)
    gone = ds["tsl"].isnull().all("layer")
    assert bool(out.isnull().all("layer").where(gone, True).all())


def test_the_same_layers_give_the_same_values_and_splitting_goes_back():
    ds = soil(ERA5LAND_EDGES, holes=0.1)
    same = remap_layers(ds, ds)
    np.testing.assert_allclose(same["tsl"], ds["tsl"], rtol=1e-14)
    np.testing.assert_allclose(same["mrsol"], ds["mrsol"], rtol=1e-14)
    assert same["depth_covered"].values.tolist() == [1.0] * 4
    fine = remap_layers(ds, np.union1d(ERA5LAND_EDGES, np.linspace(0, 2.89, 30)))
    back = remap_layers(fine, ds)
    np.testing.assert_allclose(back["tsl"], ds["tsl"], rtol=1e-12)
    np.testing.assert_allclose(back["mrsol"], ds["mrsol"], rtol=1e-12)


def test_known_answers():
    ds = soil((0, 0.1, 0.5), n_time=1)
    ds["tsl"][:] = np.array([270.0, 274.0])[:, None]
    ds["mrsol"][:] = np.array([30.0, 40.0])[:, None]
    out = remap_layers(ds, [[0.0, 0.2], [0.3, 0.6], [2.0, 3.0]]).isel(band=0, time=0)
    np.testing.assert_allclose(out["tsl"], [272.0, 274.0, np.nan], rtol=1e-12)
    np.testing.assert_allclose(out["mrsol"], [40.0, 20.0, np.nan], rtol=1e-12)
    np.testing.assert_allclose(out["depth_covered"], [1.0, 2 / 3, 0.0], rtol=1e-12)
    assert out["mrsol"].attrs["depth_left_out"] == "0.2 to 0.3 m of the source"
    assert "depth_left_out" not in out["tsl"].attrs
    deepest = remap_layers(ds, [[0.3, 0.6], [2.0, 3.0]], below="deepest").isel(band=0, time=0)
    np.testing.assert_allclose(deepest["tsl"], [274.0, 274.0], rtol=1e-12)
    np.testing.assert_allclose(deepest["mrsol"], [30.0, 100.0], rtol=1e-12)  # 100 kg m-3
    np.testing.assert_allclose(deepest["depth_covered"], [2 / 3, 0.0], rtol=1e-12)
    assert deepest["tsl"].attrs["depth_method"].endswith("; below it as its deepest")
    late = ds.isel(layer=[1])
    assert remap_layers(late, (0, 0.1))["tsl"].isnull().all()
    np.testing.assert_allclose(remap_layers(late, (0, 0.1), above="shallowest")["tsl"], 274.0)


def test_what_is_missing_at_a_time():
    """Means renormalise over what is there; an amount needs the whole of it."""
    ds = soil((0, 0.1, 0.5, 1.0), n_time=2)
    ds["tsl"][:, 0, 0] = np.nan
    ds["mrsol"][:, 0, 0] = np.nan
    out = remap_layers(ds, (0, 0.5, 1.0))
    np.testing.assert_allclose(out["tsl"][:, 0, 0], ds["tsl"][:, 1, 0], rtol=1e-12)  # 0.8 of it
    assert out["mrsol"][:, 0, 0].isnull().all()
    assert out["mrsol"][:, 0, 1].notnull().all()
    assert out["mrsol"][:, 1].notnull().all()
    strict = remap_layers(ds, (0, 0.5, 1.0), min_valid=0.9)
    assert strict["tsl"][:, 0, 0].isnull().all()
    assert strict["tsl"][:, 0, 1].notnull().all()


def test_bounds_in_single_precision_are_the_same_layers():
    """No sliver of a neighbour's layer: the hole stays where it is, and no mass is lost."""
    ds = soil(ERA5LAND_EDGES)
    ds["mrsol"][:, 1] = np.nan
    edges32 = np.asarray(ERA5LAND_EDGES, "float32").astype("float64")
    out = remap_layers(ds, edges32)
    np.testing.assert_array_equal(out["mrsol"], ds["mrsol"])
    assert layer_bounds(out)[0, 1] == edges32[1]


@pytest.mark.parametrize("model", [IPSL, CLM], ids=["IPSL-CM6A", "CLM"])
def test_a_climate_models_layers_to_those_of_era5_land(model):
    """A linear profile keeps its means; where the model ends is flagged."""
    ds = soil(model)
    depth = xr.DataArray(np.convolve(model, [0.5, 0.5], "valid"), dims="layer")
    ds["tsl"] = (275.0 - 2.0 * depth + 0 * ds["tsl"]).assign_attrs(units="K")
    reference = canonical(years=1)
    out = remap_layers(ds, reference)
    want = 275.0 - 2.0 * layer_bounds(reference).mean(axis=1)
    # piecewise constant layers: off by the slope times less than a model layer
    np.testing.assert_allclose(out["tsl"].isel(band=0, time=0)[:3], want[:3], atol=0.35)
    np.testing.assert_array_equal(out["layer"], reference["layer"])
    assert bool((out["depth_covered"][:3] > 1 - 1e-12).all())
    share = min(1.0, (model[-1] - 1.0) / 1.89)
    assert float(out["depth_covered"][3]) == pytest.approx(share)
    left = out["mrsol"].attrs.get("depth_left_out", "")
    assert left == ("2.89 to 3.802 m of the source" if model is CLM else "")


# --------------------------------------------------------------------------------------- points


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.01, 3.9), min_size=2, max_size=8, unique=True),
    edges(), st.integers(0, 10**6),
)  # fmt: skip
def test_the_mean_of_an_interpolated_profile_is_exact(depths, layers, seed):
    """Against the mean of np.interp on a fine grid of each layer."""
    z = np.sort(np.round(depths, 3))
    assume(np.diff(z).min() > 1e-3)
    values = np.random.default_rng(seed).normal(270, 5, (2, z.size))
    out = remap_layers(sensors(z, values), layers, max_gap=10.0)
    for k, (low, high) in enumerate(pairwise(layers)):
        a, b = max(low, z[0]), min(high, z[-1])
        if b - a < 1e-5:
            continue
        fine = np.unique(np.concatenate([np.linspace(a, b, 5), z[(z > a) & (z < b)]]))
        for t in range(2):
            want = np.trapezoid(np.interp(fine, z, values[t]), fine) / (b - a)
            assert float(out["tsl"][t, k]) == pytest.approx(want, rel=1e-9)
        assert float(out["depth_covered"][k]) == pytest.approx((b - a) / (high - low), abs=1e-4)


def test_nothing_is_extrapolated_above_the_first_or_below_the_last_sensor():
    ds = sensors([0.2, 0.4, 0.8, 1.2, 1.6, 2.4, 3.2], [np.arange(7.0) + 270])
    out = remap_layers(ds, ERA5LAND_EDGES)
    assert out["tsl"].isnull().values.tolist() == [[True, False, False, False]]
    np.testing.assert_allclose(out["depth_covered"], [0, 0.08 / 0.21, 1, 1], rtol=1e-12)
    assert out["tsl"].attrs["depth_method"] == (
        "layer mean of the profile, linear between sensors at most 1 m apart"
    )
    asked = remap_layers(ds, ERA5LAND_EDGES, above="shallowest")
    assert float(asked["tsl"][0, 0]) == 270.0
    assert "above it as its shallowest" in asked["tsl"].attrs["depth_method"]
    np.testing.assert_array_equal(asked["depth_covered"], out["depth_covered"])
    np.testing.assert_array_equal(asked["tsl"][:, 2:], out["tsl"][:, 2:])
    deep = remap_layers(ds, (3.0, 4.0), below="deepest")["tsl"]
    assert float(deep[0, 0]) == pytest.approx(0.2 * (275 + 7 / 8) + 0.8 * 276)
    assert remap_layers(ds, (3.2, 4.0))["tsl"].isnull().all()
    silent = sensors([0.2, 0.4], [[np.nan, 272.0]])
    assert remap_layers(silent, (0, 0.1), above="shallowest")["tsl"].isnull().all()
    one = sensors([0.5], [[271.0]])
    assert remap_layers(one, (0, 1.0))["tsl"].isnull().all()
    both = remap_layers(one, (0, 1.0), above="shallowest", below="deepest")
    assert float(both["tsl"][0, 0]) == 271.0
    assert float(both["depth_covered"][0]) == 0.0


def test_a_missing_sensor_is_bridged_if_its_neighbours_are_near():
    z = np.array([0.2, 0.4, 0.8, 1.2, 2.4])
    line = 270 + 2 * z
    holes = np.stack([line, line, line])
    holes[1, 2] = np.nan  # 0.4 to 1.2: 0.8 m
    holes[2, [1, 2]] = np.nan  # 0.2 to 1.2: 1.0 m
    out = remap_layers(sensors(z, holes), (0.28, 1.0))["tsl"]
    np.testing.assert_allclose(out, 270 + 2 * 0.64, rtol=1e-12)  # at most a metre
    near = remap_layers(sensors(z, holes), (0.28, 1.0), max_gap=0.8)["tsl"]
    assert near.notnull().values.ravel().tolist() == [True, True, False]
    # 1.2 to 2.4 is too far without any sensor missing
    assert remap_layers(sensors(z, holes), (1.2, 2.4))["tsl"].isnull().all()
    wide = remap_layers(sensors(z, holes), (1.2, 2.4), max_gap=1.2)["tsl"]
    np.testing.assert_allclose(wide, 270 + 2 * 1.8, rtol=1e-12)
    # half of the layer is not a mean of it
    holes[0, 0] = np.nan
    part = remap_layers(sensors(z, holes), (0.2, 0.6))
    assert part["tsl"].isnull().values.ravel().tolist() == [True, False, False]
    loose = remap_layers(sensors(z, holes), (0.2, 0.6), min_valid=0.5)["tsl"]
    np.testing.assert_allclose(loose[:, 0], [271.0, 270.8, 270.8], rtol=1e-12)


def test_many_sensors():
    """More than there are bits in a word, each profile with holes of its own."""
    rng = np.random.default_rng(0)
    z = np.linspace(0.05, 4.0, 80)
    line = 270 + np.outer(rng.normal(size=30), z)
    holed = np.where(rng.random(line.shape) < 0.3, np.nan, line)
    out = remap_layers(sensors(z, holed), (0.5, 1.0, 3.0))["tsl"]
    np.testing.assert_allclose(out, 270 + (line - 270) @ np.eye(80)[:, [0]] / 0.05 * [0.75, 2.0])


def test_the_order_of_sensors_and_of_profiles_does_not_matter():
    rng = np.random.default_rng(0)
    z = np.array([0.1, 0.3, 0.7, 1.1, 1.9])
    values = rng.normal(270, 4, (40, 5))
    values[rng.random(values.shape) < 0.3] = np.nan
    ds = sensors(z, values)
    whole = remap_layers(ds, ERA5LAND_EDGES)["tsl"]
    mixed = ds.isel(layer=[3, 0, 4, 1, 2])
    np.testing.assert_allclose(remap_layers(mixed, ERA5LAND_EDGES)["tsl"], whole, rtol=1e-12)
    for t in range(40):
        alone = remap_layers(ds.isel(time=[t]), ERA5LAND_EDGES)["tsl"]
        np.testing.assert_allclose(alone, whole[[t]], rtol=1e-12)
    assert 0.1 < float(whole.isnull().mean()) < 0.9


# ------------------------------------------------------------------------------------ the Dataset


def test_the_rest_of_the_dataset_is_kept(unchanged):
    ds = canonical(years=1).assign_attrs(history="made")
    ds["soc"] = ("layer", [300.0, 200.0, 40.0, 10.0], VARIABLES["soc"].attrs)
    with unchanged(ds):
        out = remap_layers(ds, (0, 0.2, 1.0, 2.0))
    assert list(out.data_vars) == list(ds.data_vars)
    assert out["tsl"].dims == ds["tsl"].dims == ("band", "layer", "time")
    assert out["tsl"].dtype == "float32"
    assert out["tsl"].attrs["standard_name"] == "soil_temperature"
    np.testing.assert_allclose(out["soc"][0], (300 * 0.07 + 200 * 0.13) / 0.2)
    for name in ("tas", "elevation"):
        xr.testing.assert_identical(out[name].variable, ds[name].variable)
    assert layer_bounds(out).tolist() == [[0, 0.2], [0.2, 1.0], [1.0, 2.0]]
    assert out["layer"].values.tolist() == [1, 2, 3]
    assert out.attrs["history"] == "made\nxpermafrost.remap_layers: to 0-0.2, 0.2-1, 1-2 m"
    data_bounds = ds.reset_coords(["depth_bnds", "depth"])
    again = remap_layers(data_bounds, (0, 0.2, 1.0, 2.0))
    assert "depth_bnds" in again.coords
    picked = remap_layers(ds, ds.isel(layer=[2]))
    assert picked["layer"].values.tolist() == [3]
    np.testing.assert_allclose(picked["tsl"], ds["tsl"].isel(layer=[2]))
    array = remap_layers(ds, ds["tsl"].isel(layer=[2], band=0))
    assert array["layer"].values.tolist() == [3]


def test_other_amounts_are_known_by_their_units():
    ds = soil((0, 1.0, 2.0), n_time=1)
    ds["mrlsl"] = ds["mrsol"].assign_attrs(units="kg m**-2", standard_name="x")
    ds["theta"] = ds["mrsol"].assign_attrs(units="m3 m-3")
    out = remap_layers(ds, (0, 0.5, 2.0))
    np.testing.assert_allclose(out["mrlsl"], out["mrsol"])
    np.testing.assert_allclose(out["theta"][:, 0], ds["theta"][:, 0])
    np.testing.assert_allclose(out["mrsol"][:, 0], ds["mrsol"][:, 0] / 2)
    with pytest.raises(UnitsError, match=r"'x' has no units.*attrs\['units'\] = 'kg m-2'"):
        remap_layers(ds.assign(x=ds["tsl"].drop_attrs()), (0, 1.0))


@pytest.mark.parametrize("points", [False, True])
def test_lazy_with_the_chunks_it_came_with(points):
    if points:
        values = np.random.default_rng(1).normal(270, 4, (12, 5))
        values[values > 275] = np.nan
        ds = sensors(np.array([0.1, 0.3, 0.7, 1.1, 1.9]), values)
    else:
        ds = soil(CLM, n_time=12, holes=0.1)
    lazy = ds.assign({name: da.chunk(time=5) for name, da in ds.data_vars.items()})

    def refuse(graph, keys, **options):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        out = remap_layers(lazy, ERA5LAND_EDGES)
    assert out["tsl"].chunksizes["time"] == (5, 5, 2)
    xr.testing.assert_allclose(out.compute(), remap_layers(ds, ERA5LAND_EDGES))
    with pytest.raises(DimensionError, match=r"needs 'layer' in one chunk.*chunk\(layer=-1\)"):
        remap_layers(lazy.chunk(layer=2), ERA5LAND_EDGES)


# -------------------------------------------------------------------------------------- bad input


def test_what_cannot_be_remapped_says_why():
    ds = soil((0, 0.5, 1.0))
    with pytest.raises(DimensionError, match=r"remap_layers needs dims \('layer',\)"):
        remap_layers(ds.isel(layer=0), (0, 1.0))
    with pytest.raises(DimensionError, match="known by its bounds"):
        remap_layers(ds.drop_vars(["depth_bnds", "depth_top", "depth_bottom"]), (0, 1.0))
    with pytest.raises(DimensionError, match=r"target's layers need an upper and a lower bound"):
        remap_layers(ds, (1.0, 0.5))
    with pytest.raises(DimensionError, match=r"upper and a lower bound.*found \[\]"):
        remap_layers(ds, (1.0,))
    with pytest.raises(DimensionError, match=r"positive down; the target has \[\[-1.0, 0.0\]\]"):
        remap_layers(ds, (-1.0, 0.0))
    with pytest.raises(DimensionError, match=r"needs thickness; .*\[\[0.2, 0.2\]\] m.*Give edges"):
        remap_layers(ds, [[0.2, 0.2]])
    points = sensors(np.array([0.2, 0.4]), np.ones((2, 2)))
    with pytest.raises(DimensionError, match=r"'tsl' is an amount per layer.*points"):
        remap_layers(points.assign(tsl=points["tsl"].assign_attrs(units="kg m-2")), (0, 1.0))
    mixed = soil((0, 0.5, 1.0)).assign_coords(layer_coords_from_bounds([[0, 0.5], [1.0, 1.0]]))
    with pytest.raises(DimensionError, match=r"mixes layers and points.*isel\(layer=\[1\]\)"):
        remap_layers(mixed, (0, 1.0))
    twice = soil((0, 0.5, 1.0)).assign_coords(layer_coords_from_bounds([[0, 0.5], [0.4, 1.0]]))
    with pytest.raises(DimensionError, match="overlap or repeat"):
        remap_layers(twice, (0, 1.0))
    with pytest.raises(DimensionError, match="overlap or repeat"):
        remap_layers(sensors(np.array([0.2, 0.2]), np.ones((2, 2))), (0, 1.0))
    kinds = ds.assign(rock=("layer", np.array([1, 2], "int8"), {"units": "1"}))
    with pytest.raises(DataError, match=r"'rock' \(int8\).*drop_vars\('rock'\)"):
        remap_layers(kinds, (0, 1.0))
    with pytest.raises(UnknownNameError, match="unknown rule below the source 'deep'"):
        remap_layers(ds, (0, 1.0), below="deep")
    with pytest.raises(DataError, match=r"got 80, 1\.0"):
        remap_layers(ds, (0, 1.0), min_valid=80)


# -------------------------------------------------------------------------------------- real data


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")
def test_stations_of_yakutia_on_the_layers_of_era5_land():
    """Sensors from 0.2 to 3.2 m, 62 % missing: monthly means of two whole layers."""
    from xpermafrost.sources import standardize

    with xr.open_dataset(DATA / "stations" / "yakutia_monthly.nc", engine="netcdf4") as raw:
        ds = standardize(raw.load())
    out = remap_layers(ds, ERA5LAND_EDGES)["tsl"]
    assert out.isel(layer=0).isnull().all()
    third, fourth = (out.isel(layer=k) for k in (2, 3))
    assert float(third.notnull().mean()) > 0.2
    profile = ds["tsl"]
    low, high = profile.min("layer"), profile.max("layer")
    assert bool(((third >= low - 1e-3) & (third <= high + 1e-3)).where(third.notnull(), True).all())
    # deeper is damped: the yearly range shrinks
    both = third.notnull() & fourth.notnull()
    spread = [float(layer.where(both).std()) for layer in (third, fourth)]
    assert spread[1] < spread[0]


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")
def test_a_dense_borehole_thinned_out_keeps_its_layer_means():
    """Alaskan site, twelve sensors to 1.1 m: leaving out every other one changes little."""
    table = np.loadtxt(DATA / "stations" / "gipl_site_soil_daily.txt")
    z = np.array([0.001, 0.072, 0.125, 0.2, 0.277, 0.354, 0.424, 0.506, 0.583, 0.741, 0.885, 1.1])
    values = table[:, -z.size :] + 273.15
    ds = sensors(z, values)
    edges = (0.072, 0.28, 0.5, 1.0)
    whole = remap_layers(ds, edges)["tsl"]
    thin = remap_layers(ds.isel(layer=[1, 3, 5, 7, 9, 11]), edges)["tsl"]
    assert whole.notnull().mean() > 0.9
    assert float(abs(whole - thin).mean()) < 0.25


@pytest.mark.parametrize(
    ("units", "amount"),
    [
        ("kg m-2", True), ("g m-2", True), ("kg C m-2", True), ("gC/m2", True), ("Mg ha-1", True),
        ("mm", True), ("m of water equivalent", True), ("J m-2", True), ("mol m-2", True),
        ("K", False), ("degC", False), ("1", False), ("%", False), ("g kg-1", False),
        ("kg m-3", False), ("(0 - 1)", False), ("m3 m-3", False), ("W m-2", False),
    ],
)  # fmt: skip
def test_units_tell_amounts_from_means(units, amount):
    ds = xr.Dataset(
        {"x": ("layer", [1.0, 4.0, 15.0], {"units": units})}, layer_coords((0, 0.1, 0.5, 2.0))
    )
    found = remap_layers(ds, (0, 0.3, 2.0))["x"].values
    expected = [3.0, 17.0] if amount else [3.0, (0.2 * 4 + 1.5 * 15) / 1.7]
    if not amount:
        expected[0] = (0.1 * 1 + 0.2 * 4) / 0.3
    np.testing.assert_allclose(found, expected)


def test_units_that_cannot_be_read_and_depths_in_cm_are_refused():
    ds = xr.Dataset({"x": ("layer", [1.0, 4.0], {"units": "moss"})}, layer_coords((0, 0.1, 0.5)))
    with pytest.raises(UnitsError, match=r"'x' has no units that can be read \('moss'\)"):
        remap_layers(ds, (0, 0.3))
    cm = xr.Dataset({"x": ("layer", [1.0, 4.0], {"units": "K"})}, layer_coords((0, 10, 50)))
    for name in ("depth", "depth_top", "depth_bottom"):
        cm[name].attrs["units"] = "cm"
    with pytest.raises(UnitsError, match="remap_layers needs depths in m; 'depth' has units 'cm'"):
        remap_layers(cm, (0, 0.3))
    with pytest.raises(UnitsError, match="depths in m"):
        remap_layers(ds.assign(x=ds["x"].assign_attrs(units="K")), cm)


def test_arguments_that_are_no_layers():
    ds = xr.Dataset({"x": ("layer", [1.0, 4.0], {"units": "K"})}, layer_coords((0, 0.1, 0.5)))
    with pytest.raises(DimensionError, match="remap_layers needs a Dataset; of a DataArray"):
        remap_layers(ds["x"], (0, 0.3))
    with pytest.raises(DimensionError, match=r"the target needs edges .* got 'era5'"):
        remap_layers(ds, "era5")
