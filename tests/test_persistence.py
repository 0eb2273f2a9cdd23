"""Models that know their own last error: no leakage, known answers, projections, files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost.errors import (
    CheckpointError,
    DataError,
    LeakageError,
    MissingVariableError,
    UnknownNameError,
)
from xpermafrost.hybrid import fit_named
from xpermafrost.persistence import (
    MONTHS,
    PersistenceModel,
    expected_error,
    learn_damping,
    rehearsal,
)

SMALL = {
    "length": 12,
    "options": {"hidden": 8},
    "config": xp.TrainingConfig(epochs=3),
    "jobs": 1,
    "progress": False,
}
TRAIN = ("2001", "2006")


@pytest.fixture(scope="module")
def data():
    return testing.canonical(years=8, locations=["cold", "warm"])


@pytest.fixture(scope="module")
def model(data):
    return xp.fit_persistence(data, "gru", train=TRAIN, **SMALL)


def damping(month, year):
    return xr.Dataset({"month": ("layer", [month]), "year": ("layer", [year])})


def series(values, freq="MS"):
    time = pd.date_range("2001-01-01", periods=len(values), freq=freq)
    return xr.DataArray([np.asarray(values, "float64")], {"layer": [1], "time": time})


def test_the_answer_of_a_month_reads_no_soil_temperature_of_it_or_later(data, model):
    """Whatever the soil does from t on, and where it is missing, what is said of t stays."""
    out = model.predict(data)
    for cut in (40, 73, 90):
        for later in (310.0, np.nan):
            changed = data.copy(deep=True)
            changed["tsl"][..., cut:] = later
            again = model.predict(changed)
            np.testing.assert_array_equal(again[..., : cut + 1], out[..., : cut + 1])
            if np.isfinite(later):  # and it is read at all
                assert float(abs(again - out)[..., cut + 1].min()) > 0.1


def test_it_is_the_network_and_its_damped_error(data, model):
    alone = model.model.predict(data)
    error = (data["tsl"] - 273.15).reset_coords(drop=True) - alone
    expected = alone + expected_error(error, model.damping, step="month")
    out = model.predict(data)
    np.testing.assert_allclose(out, expected, atol=1e-4)
    assert out.attrs["model"] == model.id == f"{model.model.id}+persistence"
    assert out.attrs["units"] == "degree_Celsius"
    assert model.name == "gru+persistence"
    assert model.spec == model.model.spec
    xr.testing.assert_identical(
        model.model.predict(data), xp.fit(data, "gru", train=TRAIN, **SMALL).predict(data)
    )


def test_inputs_stay_as_they_are(data, model, unchanged):
    with unchanged(data):
        model.predict(data)


def test_places_are_found_by_label_and_layers_by_their_bounds(data, model):
    turned = data.isel(band=[1, 0])
    xr.testing.assert_allclose(model.predict(turned), model.predict(data).isel(band=[1, 0]))
    renamed = data.assign_coords(layer=data["layer"] + 10)
    np.testing.assert_array_equal(model.predict(renamed), model.predict(data))


def test_members_are_corrected_one_by_one(data):
    two = xp.fit_persistence(data, "gru", train=TRAIN, members=2, **SMALL)
    every = two.predict(data, members="all")
    assert every.dims == ("member", "band", "layer", "time")
    np.testing.assert_allclose(every.mean("member"), two.predict(data), atol=1e-4)


def test_the_last_error_is_damped_by_its_age():
    error = series([2.0, np.nan, np.nan, 1.0, 0.0, *[np.nan] * 20])
    out = expected_error(error, damping(0.5, 0.0), step="month").values[0]
    np.testing.assert_allclose(out[:5], [0.0, 1.0, 0.5, 0.25, 0.5])
    assert (out[5:] == 0).all()  # an error of none is expected to stay none
    alone = series([4.0, *[np.nan] * 20])
    out = expected_error(alone, damping(0.9, 0.0), step="month").values[0]
    np.testing.assert_allclose(out[1 : MONTHS + 1], 4.0 * 0.9 ** np.arange(1, MONTHS + 1))
    assert (out[MONTHS + 1 :] == 0).all()


def test_the_error_of_a_season_comes_back_and_fades_beyond_the_record():
    """Three years of +3 K in every January, then no observations."""
    values = np.zeros(84)
    values[:36:12] = 3.0
    values[36:] = np.nan
    out = expected_error(series(values), damping(0.0, 0.8), step="month").values[0]
    np.testing.assert_allclose(out[:36:12], [0.0, 2.4, 2.4])
    np.testing.assert_allclose(out[36::12], [2.4, 3 * 0.8**2, 3 * 0.8**3, 0.0])
    rest = np.delete(out, np.arange(0, 84, 12))
    assert (rest == 0).all()


def test_damping_is_found_again():
    """Errors made as an autoregressive process of one month."""
    rng = np.random.default_rng(0)
    values = np.zeros((40, 360))
    for k in range(1, 360):
        values[:, k] = 0.6 * values[:, k - 1] + rng.standard_normal(40)
    time = pd.date_range("1971-01", periods=360, freq="MS")
    error = xr.DataArray(values[:, None], dims=("place", "layer", "time"), coords={"time": time})
    found = learn_damping(error, slice("1981", None), step="month")
    np.testing.assert_allclose(found["month"], [0.6], atol=0.03)
    np.testing.assert_allclose(found["year"], [0.0], atol=0.05)
    season = np.tile(np.cos(np.arange(12)), 30)
    found = learn_damping(error * 0.01 + season, slice("1981", None), step="month")
    np.testing.assert_allclose(found["year"], [1.0], atol=0.01)


def test_what_is_unknown_is_not_zero():
    """A gap in the errors of the past shifts no mean; a layer without any has no correction."""
    values = np.full((2, 72), 2.0)
    values[0, 12:24] = np.nan
    values[1] = np.nan
    time = pd.date_range("2001-01", periods=72, freq="MS")
    error = xr.DataArray(values, {"layer": [1, 2], "time": time})
    found = learn_damping(error, slice("2004", None), step="month")
    np.testing.assert_allclose(found["year"], [1.0, 0.0])
    np.testing.assert_allclose(found["month"], [0.0, 0.0])
    out = expected_error(error, found, step="month").values
    np.testing.assert_allclose(out[0, 36:], 2.0)
    np.testing.assert_allclose(out[1], 0.0)


def test_days_are_corrected_by_the_month_around_the_day_a_year_ago():
    rng = np.random.default_rng(0)
    error = series(1.0 + rng.standard_normal(365 * 5), freq="D")
    cut = 365 * 4
    out = expected_error(error, damping(0.0, 1.0), step="day")
    assert abs(float(out[0, cut:].mean()) - 1.0) < 0.05
    assert float(out[0, cut:].std()) < 0.2  # single days would give 0.6
    later = error.copy(deep=True)
    later[0, cut:] = 50.0
    again = expected_error(later, damping(0.5, 1.0), step="day")
    before = expected_error(error, damping(0.5, 1.0), step="day")
    np.testing.assert_array_equal(again[0, : cut + 1], before[0, : cut + 1])


def test_nothing_after_training_sets_the_damping(data, model):
    late = (data["time.year"] > 2006).values
    ruined = data.copy(deep=True)
    for name in ("tsl", "tas", "snd"):
        ruined[name].values[..., late] *= 1.1
    other = xp.fit_persistence(ruined, "gru", train=TRAIN, **SMALL)
    xr.testing.assert_identical(other.damping, model.damping)


def test_the_damping_is_learned_out_of_sample(data, model):
    early, late = rehearsal(
        data, (np.datetime64("2001-01-01"), np.datetime64("2006-12-01")), step="month"
    )
    assert early == ("2001-01", "2004-12")
    assert [str(late.start)[:7], str(late.stop)[:7]] == ["2005-01", "2006-12"]
    tried = xp.fit(data, "gru", train=early, **SMALL)
    error = (data["tsl"] - 273.15).reset_coords(drop=True) - tried.predict(data)
    xr.testing.assert_allclose(learn_damping(error, late, step="month"), model.damping)


def test_it_is_evaluated_by_name_beside_the_network(data):
    scores = data.permafrost.evaluate(
        ["gru", "gru+persistence"], baselines=["damped_persistence"], train=TRAIN, bootstrap=0,
        config=SMALL["config"], length=12, jobs=1, progress=False,
    )  # fmt: skip
    assert scores["model"].values.tolist() == ["gru", "gru+persistence", "damped_persistence"]
    pooled = scores["rmse_pooled"]
    assert float(pooled.sel(model="gru+persistence")) < float(pooled.sel(model="gru"))


def test_a_network_is_trained_once_for_itself_and_its_persistence(data, model, monkeypatch):
    asked = []
    real = xp.hybrid.fit_many
    monkeypatch.setattr(
        xp.hybrid, "fit_many", lambda ds, names, **k: asked.append(names) or real(ds, names, **k)
    )
    both = fit_named(
        data, ["gru+persistence", "gru"], train=TRAIN, step="month", horizon=0, features=None,
        members=1, seed=0, device="cpu", **SMALL,
    )  # fmt: skip
    assert asked == [["gru"], ["gru"]]  # all training years; without the last quarter
    assert [m.name for m in both] == ["gru+persistence", "gru"]
    assert both[0].model is both[1]
    xr.testing.assert_identical(both[0].predict(data), model.predict(data))


def test_in_a_projection_the_correction_fades_out():
    world = testing.experiment(locations=["cold", "warm"])
    model = xp.fit_persistence(world, "gru", train=TRAIN, **SMALL)
    corrected = world.permafrost.project(model, rcp="8.5")
    alone = world.permafrost.project(model.model, rcp="8.5")
    gap = abs(corrected - alone).max(["scenario", "band", "layer"])
    assert corrected.attrs["model"] == model.id
    assert float(gap[0]) > 0.1
    # the reference ends in 2008; its errors of a month last three years
    assert float(gap.sel(time=slice("2012", None)).max()) == 0
    xr.testing.assert_allclose(corrected["outside_training_range"], alone["outside_training_range"])
    named = world.permafrost.project(
        "gru+persistence", rcp="8.5", train=TRAIN, config=SMALL["config"], progress=False
    )
    assert named.attrs["model"].endswith("+persistence")


def test_it_is_saved_and_loaded_bit_equal(data, model, tmp_path):
    model.save(tmp_path / "gru.xpm")
    again = xp.load_model(tmp_path / "gru.xpm")
    assert isinstance(again, PersistenceModel)
    assert again.id == model.id
    xr.testing.assert_identical(again.predict(data), model.predict(data))
    with pytest.raises(FileExistsError, match="not overwritten silently"):
        model.save(tmp_path / "gru.xpm")
    model.save(tmp_path / "gru.xpm", overwrite=True)
    whole = (tmp_path / "gru.xpm").read_bytes()
    (tmp_path / "gru.xpm").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="not an intact xpermafrost model"):
        xp.load_model(tmp_path / "gru.xpm")


def test_what_it_needs(data, model):
    with pytest.raises(MissingVariableError, match=r"for forcing alone: its \.model"):
        model.predict(data.drop_vars("tsl"))
    with pytest.raises(DataError, match=r"needs 4 training years.*2001-01 to 2003-12 are 3"):
        xp.fit_persistence(data, "gru", train=("2001", "2003"), **SMALL)
    with pytest.raises(UnknownNameError, match="unknown model 'gur'; did you mean 'gru'"):
        data.permafrost.evaluate(["gur+persistence"], progress=False)
    with pytest.raises(LeakageError, match=r"'gru.persistence' was trained on 2001-01 to 2006-12"):
        data.permafrost.evaluate(model, baselines=[], test=("2006", "2008"), train=("2001", "2003"))
