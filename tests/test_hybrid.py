"""The hybrid: a column, and a network on what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost._state_archive import pack
from xpermafrost.errors import CheckpointError, DataError, LeakageError, MissingVariableError
from xpermafrost.hybrid import COLUMN, _borne_out, fit_hybrid
from xpermafrost.persistence import learn_damping

SMALL = {
    "length": 12,
    "options": {"hidden": 8},
    "config": xp.TrainingConfig(epochs=3),
    "jobs": 1,
    "progress": False,
}


@pytest.fixture(scope="module")
def world():
    return testing.experiment(locations=["cold", "warm"])


@pytest.fixture(scope="module")
def hybrid(world):
    return fit_hybrid(world, "gru", train=("2001", "2006"), **SMALL)


def test_it_is_the_column_and_the_network(world, hybrid):
    reference = xp.experiment.reference_of(world)
    column = hybrid.column.predict(reference)
    rest = hybrid.net.predict(reference.assign({COLUMN: (column + 273.15).assign_attrs(units="K")}))
    out = hybrid.predict(reference)
    usual = column.sel(time=slice("2001", "2006")).groupby("time.month").mean()
    usual = usual.sel(month=column["time.month"]).drop_vars("month")
    damped = usual + hybrid.share * (column - usual)
    np.testing.assert_allclose(out, damped.transpose(*rest.dims) + rest, atol=1e-4)
    assert out.attrs["model"] == hybrid.id
    assert out.attrs["units"] == "degree_Celsius"
    assert hybrid.name == "column+gru"
    assert COLUMN not in hybrid.spec.features
    assert {"tas", "snd"} <= set(hybrid.spec.features)


def test_departures_of_the_column_count_as_far_as_they_are_observed():
    """Where the soil does half of what the column says, besides noise, the share is a half."""
    rng = np.random.default_rng(0)
    time = xr.date_range("2001-01-01", "2030-12-01", freq="MS")
    season = 10.0 * np.cos(np.arange(360) * np.pi / 6)
    felt = xr.DataArray(
        rng.standard_normal((5, 2, 360)), dims=("band", "layer", "time"), coords={"time": time}
    )
    truth = 0.5 * felt + 0.2 * rng.standard_normal(felt.shape) - 3.0 + season
    truth = truth.where(rng.random(felt.shape) > 0.2)
    truth[:, 1] = np.nan
    course, share = _borne_out(truth, felt + season, slice("2001", "2020"), "month")
    np.testing.assert_allclose(share, [0.5, 1.0], atol=0.03)  # unobserved: the physics as it is
    np.testing.assert_allclose(course.sel(month=1), 10.0, atol=1.0)
    late = truth.copy(deep=True)
    late[..., 240:] = 99.0
    again = _borne_out(late, felt + season, slice("2001", "2020"), "month")
    xr.testing.assert_identical(again[1], share)


def test_no_month_after_training_is_looked_at(world, hybrid):
    reference = xp.experiment.reference_of(world)
    later = reference["time.year"] > 2006
    spoilt = reference.assign(
        tsl=reference["tsl"].where(~later, 300.0).assign_attrs(reference["tsl"].attrs)
    )
    other = fit_hybrid(spoilt, "gru", train=("2001", "2006"), **SMALL)
    np.testing.assert_array_equal(other.predict(reference), hybrid.predict(reference))


def test_it_is_saved_and_loaded_bit_equal(world, hybrid, tmp_path):
    reference = xp.experiment.reference_of(world)
    hybrid.save(tmp_path / "hybrid.xpm")
    again = xp.load_model(tmp_path / "hybrid.xpm")
    with pytest.raises(CheckpointError, match=r"holds a column around a .* xp.load_model\(path\)"):
        xp.fitted.load_model(tmp_path / "hybrid.xpm")
    assert again.id == hybrid.id
    assert again.spec == hybrid.spec
    np.testing.assert_array_equal(again.predict(reference), hybrid.predict(reference))
    with pytest.raises(FileExistsError, match="not overwritten silently"):
        again.save(tmp_path / "hybrid.xpm")
    both = xp.hybrid.PersistenceModel(model=again, damping=learn_damping(
        reference["tsl"] * 0.0 + 1.0, slice("2005", "2006"), step="month"
    ))  # fmt: skip
    both.save(tmp_path / "both.xpm")
    loaded = xp.load_model(tmp_path / "both.xpm")
    assert loaded.name == "column+gru+persistence"
    np.testing.assert_array_equal(loaded.predict(reference), both.predict(reference))


def test_what_is_not_data_is_not_saved():
    with pytest.raises(CheckpointError, match="a function is not saved: fit again"):
        pack({"run": pack}, {}, {})


def test_it_is_projected_and_evaluated_as_a_network(world, hybrid):
    out = world.permafrost.project(hybrid, rcp="8.5")
    assert out.dims == ("scenario", "band", "layer", "time")
    assert bool(out.notnull().all())
    assert float(out["outside_training_range"].max()) > 0
    scores = world.permafrost.evaluate(
        hybrid, baselines=["climatology", "column"], bootstrap=0, changes=["rcp85"]
    )
    assert scores["model"].values.tolist() == ["column+gru", "climatology", "column"]
    assert bool(scores["rmse_pooled"].notnull().all())
    with pytest.raises(LeakageError, match="overlap the training months 2001-01 to 2006-12"):
        world.permafrost.evaluate(hybrid, baselines=[], test=("2005", "2008"))


def test_baselines_are_projected_by_name(world):
    out = world.permafrost.project("ridge", rcp="8.5", train=("2001", "2006"))
    assert out.dims == ("scenario", "band", "layer", "time")
    assert out.attrs["model"] == "ridge"
    assert out.attrs["outside_training_range"] == "unknown"
    with pytest.raises(DataError, match="'ridge' has no members"):
        world.permafrost.project("ridge", rcp="8.5", members="all", train=("2001", "2006"))


def test_it_needs_snow(world):
    reference = xp.experiment.reference_of(world).drop_vars("snd")
    with pytest.raises(MissingVariableError, match="the soil column needs 'ts' or 'tas', and snow"):
        fit_hybrid(reference, "gru", **SMALL)


def test_hybrids_have_names(world):
    quick = {"config": SMALL["config"], "progress": False}
    scores = world.permafrost.evaluate(
        ["column+tcn", "gru"], baselines=[], length=6, bootstrap=0, jobs=1, **quick
    )
    assert scores["model"].values.tolist() == ["column+tcn", "gru"]
    out = world.permafrost.project("column+gru", rcp="8.5", **quick)
    assert out.attrs["model"].startswith("column+gru-")
    with pytest.raises(DataError, match="reads the month that it answers; horizon=1"):
        world.permafrost.evaluate(["column+gru"], horizon=1, **quick)
    with pytest.raises(xp.errors.UnknownNameError, match="unknown model 'gur'; did you mean 'gru'"):
        world.permafrost.evaluate(["column+gur"], **quick)
