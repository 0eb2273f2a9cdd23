"""The main job on the sample world, and on real stations where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xpermafrost as xp
from benchmarks.bench_projection import NAMES, divergence, spectra
from xpermafrost.errors import PermafrostWarning

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def sample():
    return xp.datasets.alaska_sample()


@pytest.fixture(scope="module")
def gru(sample):
    return sample.permafrost.fit("gru", members=2)


@pytest.fixture(scope="module")
def projection(sample, gru):
    return sample.permafrost.project(gru, rcp="all")


def test_projection_has_the_promised_labels(projection):
    assert projection.dims == ("scenario", "band", "layer", "time")
    assert dict(projection.sizes) == {"scenario": 4, "band": 6, "layer": 4, "time": 924}
    assert projection.attrs["units"] == "degree_Celsius"
    assert str(projection.time.values[0])[:7] == "2024-01"
    assert str(projection.time.values[-1])[:7] == "2100-12"
    assert bool(projection.notnull().all())
    assert "simulated" in projection.attrs


def test_seasons_are_twelve_months_long(projection):
    periods, ratios = spectra(projection)
    np.testing.assert_allclose(periods, 12.0, atol=0.5)
    assert ratios.max() < 0.05  # no season of two years


def test_scenarios_come_out_in_the_order_of_the_truth(sample, projection):
    """Averaged over the bands; in single bands the truth itself is not in order everywhere."""
    late = {"time": slice("2081", "2100")}
    three = ["rcp26", "rcp45", "rcp85"]
    for da in (projection, sample["tsl_truth"]):
        mean = da.sel(scenario=three, **late).mean(("band", "time"))
        assert bool((mean.diff("scenario") > 0).all())


def test_the_network_beats_climatology_and_ridge_at_every_layer(sample, gru):
    scores = sample.permafrost.evaluate(gru, baselines=["climatology", "ridge"], changes=["rcp85"])
    rmse = scores["rmse_layer"]
    assert bool((rmse.sel(model="gru") < rmse.sel(model=["climatology", "ridge"])).all())
    assert bool((scores["rmse_difference_high"].sel(model="gru", baseline="climatology") < 0).all())
    assert set(NAMES) > {str(s) for s in scores["scenario"].values}
    truth, found = scores["change_truth"].mean("band"), scores["change"].mean("band")
    assert bool((truth > 3.0).all())
    assert bool((abs(found.sel(model="climatology")) < 0.1).all())
    assert "truth" in xp.scoreboard(scores).index


def test_quantile_delta_mapping_keeps_the_scenarios_apart(sample):
    kept = divergence(sample, "qdm")["tas"]
    assert bool(((kept > 0.95) & (kept < 1.05)).all())
    late = {"horizon": "2081/2100"}
    with pytest.warns(PermafrostWarning, match=r"keeps 0\.\d+ of the difference"):
        squeezed = divergence(sample, "eqm")["tas"].sel(late)
    assert float(squeezed.mean()) < float(kept.sel(late).mean())


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")
def test_real_stations_are_beaten_by_the_network():
    """Two GRUs on Yakutia: ahead of climatology, ridge and boosting at every depth."""
    from benchmarks.bench_yakutia import FEATURES, TEST, TRAIN

    with xr.open_dataset(DATA / "stations" / "yakutia_monthly.nc") as raw:
        ds = raw.load().permafrost.standardize()
    ds = ds.sel(layer=ds.depth.isin([0.2, 0.8, 1.6]))
    config = xp.TrainingConfig(
        epochs=25, learning_rate=7e-3, batch_size=256, target="residual", recency_years=8.0
    )
    scores = ds.permafrost.evaluate(
        ["gru"],
        baselines=["climatology", "ridge", "boosting"],
        train=TRAIN,
        test=TEST,
        features=FEATURES,
        members=2,
        config=config,
        bootstrap=0,
    )
    rmse = scores["rmse_layer"]
    others = rmse.sel(model=["climatology", "ridge", "boosting"])
    assert bool((rmse.sel(model="gru") < others).all())
    assert float(scores["rmse_pooled"].sel(model="gru")) < 1.70
