"""Regridding: laws, known answers, CDO and xarray-regrid, laziness, stored weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
import types
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xpermafrost.errors import (
    DataError,
    DimensionError,
    MissingDependencyError,
    RegionError,
    UnknownNameError,
)
from xpermafrost.regions import EARTH_RADIUS, LatitudeBands, reduce
from xpermafrost.regridding import make_grid, regrid, regrid_weights

DATA = Path(__file__).parents[1].parent / "shared" / "data"
NEEDS_CDO = pytest.mark.skipif(shutil.which("cdo") is None, reason="cdo is not installed")


def gridded(lat, lon, *, n_time=2, seed=0, dtype="float64", holes=0.0):
    """A field of noise on cells with edges ``lat`` and ``lon``."""
    rng = np.random.default_rng(seed)
    edges = {"lat": np.asarray(lat, "float64"), "lon": np.asarray(lon, "float64")}
    coords = {}
    for name, values in edges.items():
        coords[name] = (name, (values[:-1] + values[1:]) / 2)
        coords[f"{name}_bnds"] = ((name, "bnds"), np.stack([values[:-1], values[1:]], 1))
    values = rng.normal(265.0, 8.0, (n_time, edges["lat"].size - 1, edges["lon"].size - 1))
    values[rng.random(values.shape) < holes] = np.nan
    tas = (("time", "lat", "lon"), values.astype(dtype), {"units": "K"})
    return xr.Dataset({"tas": tas}, coords={"time": np.arange(n_time), **coords})


def area(ds):
    """Cell areas [m2] written out, apart from the code under test."""
    low, high = np.sort(np.deg2rad(ds["lat_bnds"].values), axis=1).T
    width = np.deg2rad(np.abs(np.diff(ds["lon_bnds"].values, axis=1)[:, 0]))
    return EARTH_RADIUS**2 * np.outer(np.sin(high) - np.sin(low), width)


def dense(ds, target, min_valid):
    """Overlap by overlap, without wrap-around: an oracle for small grids."""
    values = ds["tas"].values
    sy, sx = ds["lat_bnds"].values, ds["lon_bnds"].values
    ty, tx = target["lat_bnds"].values, target["lon_bnds"].values
    out = np.full((len(values), len(ty), len(tx)), np.nan)
    for t in range(len(values)):
        for i, (south, north) in enumerate(ty):
            for j, (west, east) in enumerate(tx):
                total = mass = 0.0
                for k, (s, n) in enumerate(sy):
                    for m, (w, e) in enumerate(sx):
                        high, low = min(n, north), max(s, south)
                        wide = min(e, east) - max(w, west)
                        if high > low and wide > 0 and not np.isnan(values[t, k, m]):
                            part = wide * (np.sin(np.deg2rad(high)) - np.sin(np.deg2rad(low)))
                            total, mass = total + part * values[t, k, m], mass + part
                whole = (east - west) * (np.sin(np.deg2rad(north)) - np.sin(np.deg2rad(south)))
                if mass > 0 and mass / whole >= min_valid - 1e-4:
                    out[t, i, j] = total / mass
    return out


@st.composite
def edges(draw, low, high, most=9):
    """Edges of one to ``most`` cells of any width, from ``low`` to ``high``."""
    cuts = draw(st.lists(st.floats(0.02, 0.98), max_size=most - 1, unique=True))
    kept = [0.0]
    for cut in sorted(cuts):
        if cut - kept[-1] > 0.01:
            kept.append(cut)
    return low + (high - low) * np.array([*kept, 1.0])


# ------------------------------------------------------------------------------- conservative


@settings(max_examples=40, deadline=None)
@given(
    edges(60, 66), edges(-150, -144), edges(59, 67, 6), edges(-151, -143, 6),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.integers(0, 10**6),
)  # fmt: skip
def test_conservative_is_the_mean_over_the_overlap(lat, lon, lat2, lon2, min_valid, seed):
    """Any spacing, holes anywhere, targets partly outside: as the sums written out."""
    ds = gridded(lat, lon, seed=seed, holes=0.3)
    target = gridded(lat2, lon2)
    out = regrid(ds, target, min_valid=min_valid)["tas"]
    np.testing.assert_allclose(out.values, dense(ds, target, min_valid), rtol=1e-11)


@settings(max_examples=25, deadline=None)
@given(edges(-90, 90), edges(0, 360), edges(-90, 90), edges(-180, 180), st.integers(0, 10**6))
def test_the_integral_over_the_globe_is_conserved(lat, lon, lat2, lon2, seed):
    ds, target = gridded(lat, lon, seed=seed), gridded(lat2, lon2)
    out = regrid(ds, target)
    before = (ds["tas"].values * area(ds)).sum((1, 2))
    after = (out["tas"].values * area(out)).sum((1, 2))
    np.testing.assert_allclose(after, before, rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    edges(58, 70), edges(-170, -140), edges(60, 69), edges(-168, -141),
    st.floats(200, 300), st.sampled_from(["conservative", "bilinear", "nearest"]),
    st.integers(0, 10**6),
)  # fmt: skip
def test_a_constant_field_regrids_to_itself_with_holes_in_it(
    lat, lon, lat2, lon2, level, method, seed
):
    ds, target = gridded(lat, lon, holes=0.4, seed=seed), gridded(lat2, lon2)
    if method == "bilinear" and min(ds.sizes["lat"], ds.sizes["lon"]) < 2:
        return
    ds["tas"] = ds["tas"].where(ds["tas"].isnull(), level)
    try:
        out = regrid(ds, target, method=method)["tas"].values
    except RegionError:
        assert method == "bilinear"  # no target centre between those of the source
        return
    np.testing.assert_allclose(out[~np.isnan(out)], level, rtol=1e-12)
    whole = regrid(ds.fillna(level), target, method=method)["tas"]
    assert np.isnan(out[whole.isnull().values]).all()


@settings(max_examples=20, deadline=None)
@given(
    edges(60, 66), edges(-150, -144), edges(60, 66), edges(-150, -144), st.floats(-3, 3),
    st.sampled_from(["conservative", "bilinear"]),
)  # fmt: skip
def test_regridding_is_linear(lat, lon, lat2, lon2, factor, method):
    one, two, target = gridded(lat, lon), gridded(lat, lon, seed=1), gridded(lat2, lon2)
    if method == "bilinear" and min(one.sizes["lat"], one.sizes["lon"]) < 2:
        return
    try:
        both = regrid(one * factor + two, target, method=method)["tas"]
    except RegionError:
        return
    parts = regrid(one, target, method=method)["tas"] * factor
    parts = parts + regrid(two, target, method=method)["tas"]
    np.testing.assert_allclose(both, parts, rtol=1e-10, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(edges(60, 66), edges(170, 190), st.integers(1, 5), st.integers(0, 10**6))
def test_refining_then_coarsening_gives_the_field_back(lat, lon, split, seed):
    ds = gridded(lat, lon, seed=seed, holes=0.2)

    def finer(cut):
        steps = np.arange(split) / split
        return np.append((cut[:-1, None] + np.diff(cut)[:, None] * steps).ravel(), cut[-1])

    fine = regrid(ds, gridded(finer(lat), finer(lon)))
    back = regrid(fine, ds)["tas"]
    np.testing.assert_allclose(back.values, ds["tas"].values, rtol=1e-11)
    xr.testing.assert_equal(back["lat"], ds["lat"])


def alaska(dtype="float32", n_time=12):
    """0.1 degree cells, their centres on 51..72 N and 180..129 W."""
    lat = np.linspace(50.95, 72.05, 212)
    lon = np.linspace(-180.05, -128.95, 512)
    ds = gridded(lat, lon, n_time=n_time, dtype=dtype)
    ocean = (ds["lat"] < 57) & (ds["lon"] < -160)
    lake = (abs(ds["lat"] - 65) < 1.5) & (abs(ds["lon"] + 150) < 3)
    return ds, ocean | lake


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-6), ("float64", 1e-12)])
def test_the_integral_over_alaska_is_conserved(dtype, rtol):
    """To 1.25 x 2.5 degrees, over what the target covers; the other cells are full of it."""
    ds, _ = alaska(dtype)
    target = make_grid((1.25, 2.5), lat=(51.25, 71.25), lon=(-180, -130))
    out = regrid(ds, target)
    assert out["tas"].dtype == dtype
    inside = gridded([51.25, 71.25], [-180, -130])
    want = (dense(ds.isel(time=[0]).astype("float64"), inside, 0) * area(inside)).sum()
    got = (out["tas"][0].values.astype("float64") * area(out)).sum()
    assert abs(got / want - 1) < rtol


def test_holes_stay_missing_and_never_turn_into_zero():
    ds, hole = alaska()
    ds["tas"] = ds["tas"].where(~hole)
    target = make_grid((1.25, 2.5), lat=(50, 72.5), lon=(-180, -130))
    out = regrid(ds, target)["tas"].isel(time=0)
    assert np.isnan(out.sel(lat=64.375, lon=-151.25))  # in the middle of the lake
    assert np.isnan(out.sel(lat=53.125, lon=-171.25))
    low, high = float(ds["tas"].min()), float(ds["tas"].max())
    assert low <= float(out.min()) <= float(out.max()) <= high
    share = regrid(hole.astype("float64").to_dataset(name="hole"), target, min_valid=0)["hole"]
    inside = regrid(ds[["tas"]].isel(time=0) * 0 + 1, target, min_valid=0.9)["tas"].notnull()
    assert bool(out.isnull().where(share > 0.51, True).all())
    assert bool(out.notnull().where(inside, True).all())


def test_min_valid_is_a_share_of_the_target_cell():
    ds = gridded([60, 61, 62], [0, 1, 2], n_time=1)
    ds["tas"][0, 0, 0] = np.nan
    target = make_grid(2, lat=(60, 62), lon=(0, 2))
    assert regrid(ds, target, min_valid=0.7)["tas"].notnull().all()
    assert regrid(ds, target, min_valid=0.8)["tas"].isnull().all()
    wider = make_grid((2, 8), lat=(60, 62), lon=(-3, 5))  # three quarters lie outside
    assert regrid(ds, wider)["tas"].isnull().all()
    assert regrid(ds, wider, min_valid=0)["tas"].notnull().all()
    with pytest.raises(DataError, match=r"share from 0 to 1; got 50"):
        regrid(ds, target, min_valid=50)


# ----------------------------------------------------------------------------------- the circle


@pytest.mark.parametrize("method", ["conservative", "bilinear", "nearest"])
def test_the_cut_of_the_circle_makes_no_difference(method):
    """0-360 and -180-180, sources and targets in any turn, give the same to rounding."""
    ds = gridded(np.linspace(-90, 90, 19), np.linspace(0, 360, 37), holes=0.05)
    turned = ds.assign_coords(lon=(ds["lon"] + 180) % 360 - 180).drop_vars("lon_bnds")
    target = make_grid((7.5, 5.5), lat=(-75, 75), lon=(-176, 154))
    want = regrid(ds, target, method=method)["tas"]
    assert float(want.notnull().mean()) > 0.5
    for other in (turned, turned.sortby("lon"), turned.sortby("lon", ascending=False)):
        np.testing.assert_allclose(regrid(other, target, method=method)["tas"], want, rtol=1e-12)
    east = target.assign_coords(lon=target["lon"] + 360, lon_bnds=target["lon_bnds"] + 360)
    np.testing.assert_allclose(regrid(ds, east, method=method)["tas"], want, rtol=1e-12)


def test_a_domain_across_the_dateline_has_no_giant_cell():
    """Sorted to -180..180, its columns lie at both ends; between them is nothing."""
    ds = gridded(np.arange(50, 61), np.arange(170, 201), n_time=1)
    split = ds.drop_vars("lon_bnds").assign_coords(lon=(ds["lon"] + 180) % 360 - 180)
    target = make_grid(2, lat=(50, 60), lon=(172, -172))
    want = regrid(ds, target)["tas"]
    assert want.notnull().all()
    np.testing.assert_allclose(regrid(split.sortby("lon"), target)["tas"], want, rtol=1e-12)
    far = make_grid(2, lat=(50, 60), lon=(-20, 20))
    with pytest.raises(RegionError, match="outside the source"):
        regrid(split.sortby("lon"), far)


def test_bilinear_crosses_the_seam_and_extrapolates_nothing():
    lat, lon = np.arange(-85.0, 90, 10), np.arange(5.0, 360, 10)
    field = lat[:, None] * 0.1 + np.cos(np.deg2rad(lon))
    ds = xr.Dataset({"x": (("lat", "lon"), field)}, coords={"lat": lat, "lon": lon})
    target = make_grid(5, lat=(-90, 90), lon=(-20, 20))
    out = regrid(ds, target, method="bilinear")["x"]
    at = np.deg2rad(np.abs(out["lon"].values))
    low, high = np.floor((np.rad2deg(at) - 5) / 10) * 10 + 5, None
    high = low + 10
    share = (np.rad2deg(at) - low) / 10
    ring = np.cos(np.deg2rad(low)) * (1 - share) + np.cos(np.deg2rad(high)) * share
    inner = out.sel(lat=slice(-85, 85))
    np.testing.assert_allclose(inner, inner["lat"].values[:, None] * 0.1 + ring, rtol=1e-12)
    assert out.sel(lat=[-87.5, 87.5]).isnull().all()


def test_bilinear_is_exact_for_planes_and_missing_beside_missing():
    ds = gridded([60, 61, 63, 64.5, 66], [-150, -149, -147, -146, -144], n_time=1)
    ds["tas"][:] = 3.0 * ds["lat"] - 2.0 * ds["lon"]
    target = make_grid(0.5, lat=(59, 67), lon=(-151, -143))
    out = regrid(ds, target, method="bilinear")["tas"]
    inside = (out["lat"] >= ds["lat"][0]) & (out["lat"] <= ds["lat"][-1])
    inside = inside & (out["lon"] >= ds["lon"][0]) & (out["lon"] <= ds["lon"][-1])
    assert bool((out.notnull() == inside).all())
    plane = (3.0 * out["lat"] - 2.0 * out["lon"]).where(inside)
    np.testing.assert_allclose(out[0], plane, rtol=1e-12)
    same = xr.Dataset(coords={n: ds[n] for n in ("lat", "lon")})
    ds["tas"][0, 1, 1] = np.nan
    on_centres = regrid(ds, same, method="bilinear")["tas"]
    assert int(on_centres.isnull().sum()) == 1  # neighbours of weight 0 do not matter
    beside = gridded([61, 62], [-148.6, -147.8])
    assert regrid(ds, beside, method="bilinear")["tas"].isnull().all()
    assert regrid(ds, beside, method="bilinear", min_valid=0.3)["tas"].notnull().all()


def test_nearest_takes_classes_of_any_type():
    ds = gridded([60, 61, 62, 64], [0, 1, 3, 4], n_time=1)
    ds["rock"] = ("lat", "lon"), np.arange(9, dtype="int16").reshape(3, 3)
    ds["name"] = ("lat", "lon"), np.array(list("abcdefghi")).reshape(3, 3)
    target = make_grid(0.5, lat=(60, 64), lon=(0, 4))
    out = regrid(ds, target, method="nearest")
    assert out["rock"].dtype == "int16"
    assert str(out["name"].sel(lat=61.75, lon=2.25).values) == "e"
    assert int(out["rock"].sel(lat=63.75, lon=0.25)) == 6
    wider = regrid(ds[["rock"]], make_grid(1, lat=(59, 62), lon=(0, 4)), method="nearest")["rock"]
    assert wider.sel(lat=59.5).isnull().all()
    assert wider.sel(lat=60.5).notnull().all()


# ----------------------------------------------------------------------------------- other tools


def run_cdo(*arguments):
    subprocess.run(["cdo", "-s", *map(str, arguments)], check=True, capture_output=True, text=True)


@pytest.fixture
def on_disk(tmp_path):
    """Alaska with an ocean and a lake, as a file, and a target that overhangs nowhere."""
    ds, hole = alaska("float64", n_time=2)
    ds["tas"] = ds["tas"].where(~hole)
    ds["lat"].attrs = {"units": "degrees_north", "bounds": "lat_bnds"}
    ds["lon"].attrs = {"units": "degrees_east", "bounds": "lon_bnds"}
    ds = ds.assign_coords(time=np.array(["2001-01-01", "2001-02-01"], "datetime64[ns]"))
    ds.to_netcdf(tmp_path / "in.nc", engine="netcdf4", encoding={"tas": {"_FillValue": 1e20}})
    target = make_grid((1.25, 2.5), lat=(51.25, 71.25), lon=(-180, -130))
    (tmp_path / "grid.txt").write_text(
        "gridtype = lonlat\nxsize = 20\nysize = 16\nxfirst = -178.75\nxinc = 2.5\n"
        "yfirst = 51.875\nyinc = 1.25\n"
    )
    return ds, target, tmp_path


@NEEDS_CDO
def test_conservative_agrees_with_cdo(on_disk):
    """CDO divides by the valid area (fracarea), whatever its share: min_valid=0."""
    ds, target, folder = on_disk
    run_cdo(f"remapcon,{folder / 'grid.txt'}", folder / "in.nc", folder / "out.nc")
    with xr.open_dataset(folder / "out.nc", engine="netcdf4") as cdo:
        theirs = cdo["tas"].values
    ours = regrid(ds, target, min_valid=0)["tas"].values
    assert np.isnan(ours).any()
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@NEEDS_CDO
def test_bilinear_agrees_with_cdo(on_disk):
    ds, target, folder = on_disk
    ds["tas"] = ds["tas"].fillna(250.0)
    ds.to_netcdf(folder / "whole.nc")
    run_cdo(f"remapbil,{folder / 'grid.txt'}", folder / "whole.nc", folder / "out.nc")
    with xr.open_dataset(folder / "out.nc", engine="netcdf4") as cdo:
        theirs = cdo["tas"].values
    ours = regrid(ds, target, method="bilinear")["tas"].values
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("method", ["conservative", "bilinear", "nearest"])
def test_xarray_regrid_agrees(method):
    pytest.importorskip("xarray_regrid")
    pytest.importorskip("opt_einsum")
    ds, hole = alaska("float32", n_time=2)
    ds["tas"] = ds["tas"].where(~hole)
    target = make_grid((1.25, 2.5), lat=(52.5, 71.25), lon=(-177.5, -130))
    if method == "nearest":  # a centre between two cells may go either way
        target = make_grid((1.25, 2.5), lat=(52.52, 71.27), lon=(-177.48, -129.98))
    ours = regrid(ds, target, method=method)
    theirs = regrid(ds, target, method=method, engine="xarray-regrid")
    assert ours["tas"].isnull().any()
    # its threshold is applied axis by axis: the rims of holes differ
    both = ours["tas"].notnull() & theirs["tas"].notnull()
    assert float(both.mean()) > 0.95 * float(ours["tas"].notnull().mean())
    np.testing.assert_allclose(ours["tas"].where(both), theirs["tas"].where(both), rtol=1e-4)
    assert "xarray-regrid" in theirs.attrs["history"]
    with pytest.raises(DataError, match="takes no weights"):
        regrid(ds, target, engine="xarray-regrid", weights=regrid_weights(ds, target))


def curvilinear(ds):
    """The same cells with 2-D latitude and longitude."""
    lat, lon = np.meshgrid(ds["lat"], ds["lon"], indexing="ij")
    plain = ds.drop_vars(["lat", "lon", "lat_bnds", "lon_bnds"]).rename(lat="y", lon="x")
    plain["tas"].attrs["grid_mapping"] = "rotated_pole"
    plain["rotated_pole"] = 0
    return plain.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))


def test_a_curvilinear_source_needs_xesmf():
    ds = curvilinear(gridded(np.arange(60, 65), np.arange(0, 5)))
    target = make_grid(2, lat=(60, 64), lon=(0, 4))
    with pytest.raises(DimensionError, match=r"curvilinear.*type engine='xesmf'"):
        regrid(ds, target)
    flat = gridded(np.arange(60, 65), np.arange(0, 5))
    with pytest.raises(DimensionError, match="the target is curvilinear"):
        regrid(flat, ds)


def test_without_esmf_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "xesmf", None)
    ds = curvilinear(gridded(np.arange(60, 65), np.arange(0, 5)))
    target = make_grid(2, lat=(60, 64), lon=(0, 4))
    with pytest.raises(MissingDependencyError, match=r"'xesmf'.*conda-forge xesmf"):
        regrid(ds, target, engine="xesmf", method="bilinear")
    with pytest.raises(DataError, match="got 'nearest'"):
        regrid(ds, target, engine="xesmf", method="nearest")


def test_weights_over_flattened_cells_give_the_same_as_separable_ones(monkeypatch, tmp_path):
    """What xESMF hands over (a sparse matrix, unordered) stands in for it here."""
    ds = gridded(np.arange(60, 65), np.arange(-2, 3), holes=0.2)
    target = make_grid(1.6, lat=(60, 64.8), lon=(-2, 2.8))
    calls = []

    def regridder(source, wanted, method, *, periodic):
        calls.append((source, wanted, method, periodic))
        w = regrid_weights(ds, target, method=method)
        parts = []
        for n in ("lat", "lon"):
            m = np.zeros((target.sizes[n], ds.sizes[n]))
            m[w[f"{n}_target"], w[f"{n}_source"]] = w[f"{n}_weight"]
            parts.append(m)
        whole = np.kron(*parts)
        rows, columns = np.nonzero(whole)
        mixed = np.random.default_rng(0).permutation(rows.size)
        data = types.SimpleNamespace(
            coords=np.stack([rows, columns])[:, mixed], data=whole[rows, columns][mixed]
        )
        return types.SimpleNamespace(weights=types.SimpleNamespace(data=data))

    monkeypatch.setitem(sys.modules, "xesmf", types.SimpleNamespace(Regridder=regridder))
    bent = curvilinear(ds)
    with pytest.raises(DimensionError, match="corners of its cells"):
        regrid(bent, target, engine="xesmf")
    corners = np.meshgrid(np.arange(60.0, 65), np.arange(-2.0, 3), indexing="ij")
    bent = bent.assign(
        lat_b=(("y_b", "x_b"), corners[0]), lon_b=(("y_b", "x_b"), corners[1]), height=2.0
    )
    out = regrid(bent, target, engine="xesmf")
    assert set(calls[0][0].variables) == {"lat", "lon", "lat_b", "lon_b"}
    assert calls[0][1].sizes == {"lat": 3, "lon": 3, "lat_b": 4, "lon_b": 4}
    assert calls[0][2:] == ("conservative", False)
    np.testing.assert_allclose(out["tas"], regrid(ds, target)["tas"], rtol=1e-12)
    assert out["tas"].dims == ("time", "lat", "lon")
    assert "grid_mapping" not in out["tas"].attrs
    assert set(out.data_vars) == {"tas", "height"}
    vertices = np.zeros((4, 4, 4))
    bounds = {f"vertices_{n}": (("y", "x", "v"), vertices) for n in ("lat", "lon")}
    cf = bent.drop_vars(["lat_b", "lon_b"]).assign_coords(bounds)
    for name in ("lat", "lon"):
        cf[name].attrs["bounds"] = f"vertices_{name}"
    assert list(regrid(cf, target, engine="xesmf").data_vars) == ["tas", "height"]
    assert set(calls[-1][0].variables) == {"lat", "lon", *bounds}
    weights = regrid_weights(bent, target, engine="xesmf")
    weights.to_netcdf(tmp_path / "weights.nc")
    with xr.open_dataset(tmp_path / "weights.nc", engine="netcdf4") as stored:
        again = regrid(bent, target, weights=stored)
        xr.testing.assert_identical(again["tas"], out["tas"])
        moved = bent.assign_coords(lat=bent["lat"] + 1)
        with pytest.raises(RegionError, match="made for another source grid"):
            regrid(moved, target, weights=stored)


def test_weights_agree_with_those_of_xesmf():
    """Meridians and great circles differ: ESMF's cells are not ours to about one percent."""
    try:
        import xesmf  # noqa: F401
    except Exception:
        pytest.skip("xesmf cannot be imported (no ESMF)")
    ds = gridded(np.arange(60, 70.5, 0.5), np.arange(-160, -140, 0.5), holes=0.1)
    target = make_grid((1.25, 2.5), lat=(60, 70), lon=(-160, -140))
    for method, rtol in (("conservative", 5e-3), ("bilinear", 1e-3)):
        theirs = regrid(ds, target, method=method, engine="xesmf")["tas"]
        np.testing.assert_allclose(regrid(ds, target, method=method)["tas"], theirs, rtol=rtol)


# ------------------------------------------------------------------------------- whole Datasets


def test_a_whole_dataset_in_one_call(unchanged):
    ds = gridded(np.arange(60, 65), np.arange(0, 5)).assign_attrs(history="made", title="x")
    ds["ts"] = ds["tas"].transpose("lat", "time", "lon").astype(">f4")
    ds["sftlf"] = (("lat", "lon"), np.full((4, 4), 50.0), {"units": "%"})
    ds["co2"] = ("time", [380.0, 390.0])
    ds["areacella"] = (("lat", "lon"), np.ones((4, 4)), {"standard_name": "cell_area"})
    ds = ds.assign_coords(mask=(("lat", "lon"), np.ones((4, 4))), height=2.0)
    target = make_grid(2, lat=(60, 64), lon=(0, 4))
    with unchanged(ds, target):
        out = regrid(ds, target)
    assert list(out.data_vars) == ["tas", "ts", "sftlf", "co2", "areacella"]
    assert out["ts"].dims == ("lat", "time", "lon")
    assert out["ts"].dtype == np.float32
    np.testing.assert_allclose(out["ts"].transpose("time", ...), out["tas"], rtol=1e-6)
    assert out["tas"].attrs == {"units": "K"}
    assert "mask" in out.coords
    xr.testing.assert_identical(out["co2"], ds["co2"])
    np.testing.assert_allclose(out["areacella"], area(out), rtol=1e-12)
    np.testing.assert_allclose(target["cell_area"], area(target), rtol=1e-12)
    np.testing.assert_array_equal(out["lat_bnds"], target["lat_bnds"])
    assert out["lat"].attrs["bounds"] == "lat_bnds"
    assert out.attrs["title"] == "x"
    first, second = out.attrs["history"].split("\n")
    assert first == "made"
    assert second.startswith("xpermafrost.regrid: conservative (native), min_valid 0.5, to 2 x 2")
    with_array = regrid(ds, out["tas"].isel(time=0, drop=True))
    xr.testing.assert_allclose(with_array["tas"], out["tas"])


def test_means_over_bands_do_not_change_on_the_way():
    """Bands whose edges are edges of both grids: regrid then reduce equals reduce."""
    ds = gridded(np.arange(60, 72.1, 0.25), np.arange(-168, -140.9, 0.25))
    bands = LatitudeBands((60, 66, 72), lon=(-168, -141))
    coarse = regrid(ds, make_grid((1.5, 3), lat=(60, 72), lon=(-168, -141)))
    np.testing.assert_allclose(reduce(coarse, bands)["tas"], reduce(ds, bands)["tas"], rtol=1e-12)


@pytest.mark.parametrize("method", ["conservative", "bilinear", "nearest"])
def test_lazy_with_the_chunks_it_came_with(method):
    ds = gridded(np.arange(60, 66), np.arange(0, 6), n_time=12, holes=0.1)
    target = make_grid(2, lat=(60, 64), lon=(0, 4))
    lazy = ds.assign(tas=ds["tas"].chunk(time=4))  # bounds are read at once

    def refuse(graph, keys, **options):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        out = regrid(lazy, target, method=method)
    assert out["tas"].chunksizes["time"] == (4, 4, 4)
    if method != "nearest":
        graph = dask.optimize(out["tas"].data)[0].dask
        own = [key for key in graph if "block" in str(key)]
        assert len(own) == 3  # one task a chunk
    xr.testing.assert_identical(out.compute(), regrid(ds, target, method=method))
    with pytest.raises(DimensionError, match=r"regrid needs 'lat' in one chunk.*chunk\(lat=-1\)"):
        regrid(ds.chunk(lat=2), target, method=method)


def test_threads_give_the_same_bits():
    """Large enough for threads, against field by field."""
    ds, hole = alaska(n_time=6)
    ds["tas"] = ds["tas"].where(~hole)
    target = make_grid((1.25, 2.5), lat=(50, 72.5), lon=(-180, -130))
    whole = regrid(ds, target)["tas"].values
    for t in range(6):
        np.testing.assert_array_equal(regrid(ds.isel(time=[t]), target)["tas"].values[0], whole[t])


# ------------------------------------------------------------------------------- stored weights


@pytest.mark.parametrize("method", ["conservative", "bilinear", "nearest"])
def test_weights_are_data(tmp_path, method):
    ds = gridded(np.arange(60, 71), np.arange(0, 16), holes=0.1)
    target = make_grid((2, 2.5), lat=(60, 70), lon=(0, 15))
    weights = regrid_weights(ds, target, method=method)
    weights.to_netcdf(tmp_path / "weights.nc")
    with xr.open_dataset(tmp_path / "weights.nc", engine="netcdf4") as stored:
        xr.testing.assert_identical(
            regrid(ds, target, method=method, weights=stored), regrid(ds, target, method=method)
        )
        single = ds.assign_coords(lon=ds["lon"].astype("float32") + 360).drop_vars("lon_bnds")
        regrid(single, target, method=method, weights=stored)  # the same grid, in other words
        with pytest.raises(RegionError) as caught:
            regrid(ds.isel(lon=slice(10)), target, method=method, weights=stored)
        message = str(caught.value)
        assert "another source grid" in message
        assert "weights: 10 x 15, lat 60.5 to 69.5, lon 0.5 to 14.5, sha256 " in message
        assert "source: 10 x 10, lat 60.5 to 69.5, lon 0.5 to 9.5, sha256 " in message
        with pytest.raises(RegionError, match="another source grid"):
            regrid(ds.isel(lat=slice(None, None, -1)), target, method=method, weights=stored)
        with pytest.raises(RegionError, match="another target grid"):
            regrid(ds, make_grid(2, lat=(60, 70), lon=(0, 14)), method=method, weights=stored)
        other = "bilinear" if method == "conservative" else "conservative"
        with pytest.raises(DataError, match=f"weights are '{method}', asked for is '{other}'"):
            regrid(ds, target, method=other, weights=stored)
    with pytest.raises(DataError, match=r"has to come from xp\.regrid_weights; found \['tas'\]"):
        regrid(ds, target, weights=ds)


def test_weights_are_sparse():
    ds, _ = alaska(n_time=1)
    weights = regrid_weights(ds, make_grid((1.25, 2.5), lat=(50, 72.5), lon=(-180, -130)))
    assert weights.sizes["lat_entry"] < 2 * 211
    assert weights.sizes["lon_entry"] < 2 * 511


# ----------------------------------------------------------------------------------- bad input


def test_descending_latitudes_two_cells_and_one_cell_with_bounds():
    ds = gridded([60, 61, 62], [0, 1, 2])
    target = make_grid((2, 1), lat=(60, 62), lon=(0, 2))
    want = regrid(ds, target)["tas"]
    for turned in (ds.sortby("lat", ascending=False), ds.drop_vars(["lat_bnds", "lon_bnds"])):
        np.testing.assert_allclose(regrid(turned, target)["tas"], want, rtol=1e-12)
    down = target.sortby("lat", ascending=False)
    np.testing.assert_allclose(regrid(ds, down)["tas"], want, rtol=1e-12)
    one = gridded([60, 62], [0, 2])
    same = regrid(one, target)["tas"]
    np.testing.assert_allclose(same, np.broadcast_to(one["tas"], same.shape), rtol=1e-12)
    with pytest.raises(RegionError, match="no bounds and there is only one centre"):
        regrid(one.drop_vars(["lat_bnds"]), target)
    with pytest.raises(DimensionError, match=r"at least two cells along 'lat'"):
        regrid(one, target, method="bilinear")


@pytest.mark.parametrize("method", ["conservative", "bilinear", "nearest"])
def test_a_target_outside_the_source_is_refused(method):
    ds = gridded(np.arange(60, 65), np.arange(0, 5))
    with pytest.raises(RegionError) as caught:
        regrid(ds, make_grid(2, lat=(20, 24), lon=(0, 4)), method=method)
    assert "target: 2 x 2, lat 21 to 23" in str(caught.value)
    assert "source: 4 x 4, lat 60.5 to 63.5" in str(caught.value)
    with pytest.raises(RegionError, match="nothing overlaps"):
        regrid(ds, make_grid(2, lat=(60, 64), lon=(100, 104)), method=method)


def test_what_has_no_mean_is_refused():
    ds = gridded(np.arange(60, 65), np.arange(0, 5))
    target = make_grid(2, lat=(60, 64), lon=(0, 4))
    for values in (np.ones((4, 4), "int8"), np.ones((4, 4), bool), np.full((4, 4), "a")):
        with pytest.raises(DataError, match=r"'rock'.*method='nearest'.*astype\('float32'\)"):
            regrid(ds.assign(rock=(("lat", "lon"), values)), target)
    flags = ds.assign(rock=(("lat", "lon"), np.ones((4, 4)), {"flag_values": [0, 1]}))
    with pytest.raises(DataError, match="may hold classes"):
        regrid(flags, target, method="bilinear")
    with pytest.raises(DimensionError, match=r"'gw' has the dims \('lat',\).*drop_vars\('gw'\)"):
        regrid(ds.assign(gw=("lat", np.ones(4))), target)


def test_grids_that_are_none():
    ds = gridded(np.arange(60, 65), np.arange(0, 5))
    target = make_grid(2, lat=(60, 64), lon=(0, 4))
    with pytest.raises(DimensionError, match=r"'lat' and 'lon' on the source.*standardize"):
        regrid(ds.rename(lat="latitude"), target)
    with pytest.raises(DimensionError, match=r"on the target; found \['x'\]"):
        regrid(ds, xr.Dataset(coords={"x": [1]}))
    places = xr.Dataset(coords={"lat": ("station", [61.0]), "lon": ("station", [1.0])})
    with pytest.raises(DimensionError, match="sample_points"):
        regrid(ds, places)
    with pytest.raises(DimensionError, match=r"expand_dims\('lat'\)"):
        regrid(ds.isel(lat=0), target)
    with pytest.raises(RegionError, match="none missing; found lat nan"):
        regrid(ds.assign_coords(lat=[60.5, np.nan, 62.5, 63.5]), target)
    with pytest.raises(RegionError, match="lat 100 to 103"):
        regrid(ds.assign_coords(lat=[100.0, 101, 102, 103]), target)
    twice = ds.drop_vars("lon_bnds").assign_coords(lon=[0.5, 1.5, 1.5, 2.5])
    with pytest.raises(RegionError, match="a meridian twice"):
        regrid(twice, target)
    fat = ds["lon_bnds"].values + np.array([-0.3, 0.3])
    with pytest.raises(RegionError, match="cells of the source overlap along 'lon'"):
        regrid(ds.assign_coords(lon_bnds=(("lon", "bnds"), fat)), target)
    with pytest.raises(UnknownNameError, match="unknown method 'conservativ'; did you mean"):
        regrid(ds, target, method="conservativ")
    with pytest.raises(UnknownNameError, match="unknown engine 'esmf'"):
        regrid(ds, target, engine="esmf")


def test_make_grid():
    globe = make_grid((2.5, 3.75))
    assert dict(globe.sizes) == {"lat": 72, "lon": 96, "bnds": 2}
    assert float(globe["cell_area"].sum()) == pytest.approx(4 * np.pi * EARTH_RADIUS**2, rel=1e-12)
    assert globe["lon"].attrs["bounds"] == "lon_bnds"
    across = make_grid(1, lat=(50, 52), lon=(178, -178))
    assert across["lon"].values.tolist() == [178.5, 179.5, 180.5, 181.5]
    with pytest.raises(RegionError, match=r"not a whole number of cells of 0.3.*lat=\(50, 51.2\)"):
        make_grid(0.3, lat=(50, 51.1), lon=(0, 3))
    with pytest.raises(RegionError, match="whole number of cells of -1"):
        make_grid(-1)
    with pytest.raises(RegionError, match="south < north"):
        make_grid(1, lat=(70, 50))
    with pytest.raises(RegionError, match="at most 360 degrees"):
        make_grid(1, lon=(-200, 200))


# ----------------------------------------------------------------------------------- real files


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")
def test_a_real_model_goes_to_another_grid_and_keeps_its_mean():
    """ACCESS-ESM1-5 on 10 degree cells to 2.5 x 3.75 over the globe; sftlf along with it."""
    folder = DATA / "cmip"
    name = "tas_Amon_ACCESS-ESM1-5_historical_r1i1p1f1_gn_200001-201412.nc"
    with xr.open_dataset(folder / name, engine="netcdf4") as ds:
        ds = ds.isel(time=slice(3)).load()
    out = regrid(ds, make_grid((2.5, 3.75)))
    whole = LatitudeBands((-90, 90))
    np.testing.assert_allclose(
        reduce(out[["tas"]], whole)["tas"],
        reduce(ds[["tas"]], whole)["tas"],
        rtol=1e-6,
    )
    assert out["tas"].notnull().all()


def test_arguments_that_are_no_grids():
    ds = gridded(np.arange(60, 65), np.arange(0, 5))
    target = make_grid([2, 1], lat=(60, 64), lon=(0, 4))
    assert dict(target.sizes) == {"lat": 2, "bnds": 2, "lon": 4}
    with pytest.raises(DimensionError, match=r"the target is a Dataset or a DataArray.*got str"):
        regrid(ds, "target.nc")
    with pytest.raises(DataError, match="regrid needs a Dataset; of a DataArray"):
        regrid(ds[next(iter(ds.data_vars))], target)
