"""The column against a measured site, driven by the site's own air temperature and snow depth.

The soil before calibration is ``high_arctic``, chosen from the air alone: a July mean of 6 degC has
3-5 cm of moss (Walker et al., 2005). Snow has the density of Sturm et al. (1995) for tundra,
380 kg m-3; sunshine is that of the latitude of northern Alaska.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xpermafrost.physics.calibration import calibrate
from xpermafrost.physics.forcing import Surface, insolation
from xpermafrost.physics.simulation import column_edges, simulate_soil
from xpermafrost.schema import layer_coords_from_bounds

FOLDER = Path("../shared/data/stations")
DEPTHS = (0.001, 0.072, 0.125, 0.2, 0.277, 0.354, 0.424, 0.506, 0.583, 0.741, 0.885, 1.1)
POINTS = [(z, z) for z in DEPTHS]
EDGES = column_edges(30.0, first=0.01, through=(0.04,))
FIRST, SECOND = ("2008-07-05", "2009-07-04"), slice("2009-07-05", None)

pytestmark = pytest.mark.skipif(
    not (FOLDER / "gipl_site_soil_daily.txt").exists(),
    reason="the measured site is not in ../shared/data",
)


@pytest.fixture(scope="module")
def site():
    air, depth = (
        np.loadtxt(FOLDER / f"gipl_site_{name}_daily.txt", skiprows=1)[:, 1]
        for name in ("air", "snow")
    )
    time = xr.date_range("2008-07-05", periods=air.size)
    ds = xr.Dataset(
        {
            "tas": ("time", air + 273.15, {"units": "K"}),
            "snd": ("time", depth, {"units": "m"}),
        },
        coords={"time": time},
    )
    ds["rsds"] = insolation(ds["time"], xr.DataArray(70.0))
    soil = np.loadtxt(FOLDER / "gipl_site_soil_daily.txt").T + 273.15
    ds["tsl"] = (("layer", "time"), soil, {"units": "K"})
    return ds.assign_coords(layer_coords_from_bounds(np.array(POINTS)))


def error_by_depth(out, site):
    """Mean absolute error [K] by depth, down to 1 m."""
    error = np.abs(out["tsl"] - site["tsl"]).mean("time")
    return error.isel(layer=np.asarray(DEPTHS) <= 1.0).values


def run(site, soil, surface):
    forcing = site[["tas", "snd", "rsds"]]
    return simulate_soil(forcing, soil, surface=surface, layers=POINTS, edges=EDGES, average="step")


def test_without_tuning_within_a_degree_and_a_half(site):
    out = run(site, "high_arctic", Surface(snow=380.0))
    assert error_by_depth(out, site).max() <= 1.5


def test_calibrated_on_the_first_year_within_a_degree_in_the_second(site):
    found = calibrate(
        site[["tas", "snd", "rsds"]],
        site["tsl"],
        soil="high_arctic",
        train=FIRST,
        edges=EDGES,
    )
    assert float(found.report["rmse"]) < float(found.report["rmse_before"])
    out = run(site, found.soil, found.surface).sel(time=SECOND)
    assert error_by_depth(out, site.sel(time=SECOND)).max() <= 1.0


def test_the_zero_curtain_is_as_long_as_measured(site):
    """Days of |T| < 0.5 degC at 0.2 m: measured 26 and 12, in one run of them."""
    out = run(site, "high_arctic", Surface(snow=380.0))["tsl"].isel(layer=3) - 273.15
    autumn = out.sel(time=slice("2008-09-01", "2008-12-31"))
    assert 10 <= int((np.abs(autumn) < 0.5).sum()) <= 40
