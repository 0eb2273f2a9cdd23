"""Bad input, end to end: every public step refuses it in words that say what to type."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost.errors import (
    DataError,
    DimensionError,
    MissingVariableError,
    ModelMismatchError,
    OutputExistsError,
    ScenarioError,
    TimeAxisError,
    UnitsError,
    UnknownNameError,
)

SMALL = {"options": {"hidden": 8}, "jobs": 1, "progress": False}


def fit(ds, **options):
    return xp.fit(ds, options.pop("model", "gru"), **SMALL, **options)


def attrs(ds, name, **new):
    return ds.assign({name: ds[name].drop_attrs().assign_attrs(new)})


def months(ds, pick):
    return ds.isel(time=pick(np.arange(ds.sizes["time"])))


FIT = {
    "no target": (lambda d: d.drop_vars("tsl"), MissingVariableError, r"fit needs .*\['tsl'\]"),
    "no forcing": (lambda d: d[["tsl"]], MissingVariableError, "no forcing found"),
    "foreign names": (
        lambda d: d[["tas", "tsl"]].rename(tas="t2m", tsl="stl1"),
        MissingVariableError,
        r"standardize\(\)",
    ),
    "target in degC": (
        lambda d: attrs(d, "tsl", units="degC"),
        UnitsError,
        "'tsl' has units 'degC'; needed 'K'",
    ),
    "target without units": (lambda d: attrs(d, "tsl"), UnitsError, "'tsl' has no units"),
    "forcing in degC": (
        lambda d: attrs(d, "tas", units="degC"),
        UnitsError,
        "'tas' has units 'degC'; needed 'K'",
    ),
    "forcing without units": (lambda d: attrs(d, "tas"), UnitsError, "'tas' has no units"),
    "precipitation in m": (
        lambda d: attrs(d, "pr", units="m"),
        UnitsError,
        "'pr' has units 'm'; needed 'kg m-2 s-1'",
    ),
    "month twice": (
        lambda d: months(d, lambda i: np.insert(i, 5, 4)),
        TimeAxisError,
        r"2001-05 twice.*drop_duplicates",
    ),
    "month missing": (
        lambda d: months(d, lambda i: np.delete(i, 5)),
        TimeAxisError,
        r"no 2001-06.*asfreq",
    ),
    "unsorted": (lambda d: months(d, lambda i: i[::-1]), TimeAxisError, r"sortby\('time'\)"),
    "seasonal": (lambda d: months(d, lambda i: i[::3]), TimeAxisError, "time step is 3 months"),
    "daily": (
        lambda d: d.assign_coords(time=xr.date_range("2001", periods=96, freq="D")),
        TimeAxisError,
        r"time step is 1 days.*resample",
    ),
    "time of numbers": (
        lambda d: d.assign_coords(time=np.arange(96)),
        TimeAxisError,
        "'time' must hold dates",
    ),
    "no time": (lambda d: d.isel(time=0), DimensionError, r"needs dims \('time',\)"),
    "too short for a test": (
        lambda d: d.isel(time=slice(0, 24)),
        DataError,
        r"record of 2 years is too short.*train='all'",
    ),
    "too short for a window": (
        lambda d: d.isel(time=slice(11, 30)),
        DataError,
        r"record of 19 months is too short for a window of 24 months",
    ),
    "place without target": (
        lambda d: d.assign(tsl=d["tsl"].where(d["band"] != "middle").assign_attrs(units="K")),
        DataError,
        r"missing throughout at \['middle'\].*dropna\('band'",
    ),
    "place without forcing": (
        lambda d: d.assign(tas=d["tas"].where(d["band"] != "middle").assign_attrs(units="K")),
        DataError,
        r"features without any value in the training months at \[\('middle', 'tas'\)",
    ),
    "target missing everywhere": (
        lambda d: d.assign(tsl=(d["tsl"] * np.nan).assign_attrs(units="K")),
        DataError,
        "the target is missing throughout",
    ),
    "layers without bounds": (
        lambda d: d.drop_vars(["depth", "depth_bnds", "depth_top", "depth_bottom"]),
        DimensionError,
        "a layer is known by its bounds",
    ),
    "target without layers": (
        lambda d: d.isel(layer=0),
        DimensionError,
        r"fit needs dims \('layer', 'time'\); 'tsl' has \('band', 'time'\)",
    ),
}


@pytest.mark.parametrize("case", list(FIT))
def test_fit(ds, case):
    broken, kind, message = FIT[case]
    with pytest.raises(kind, match=message):
        fit(broken(ds))


OPTIONS = {
    "model": ({"model": "gur"}, UnknownNameError, "unknown model 'gur'; did you mean 'gru'"),
    "no model": ({"model": 3}, DataError, "a model is a name or a torch.nn.Module class; got 3"),
    "feature": ({"features": ("tass",)}, MissingVariableError, "did you mean 'tas'"),
    "horizon": ({"horizon": 2}, DataError, "horizon must be 0"),
    "length": ({"length": 0}, DataError, "a window needs at least 1 month"),
    "long window": ({"length": 400}, DataError, "too short for a window of 400 months"),
    "period": ({"train": ("1950", "1960")}, DataError, "no month between 1950 and 1960"),
    "short period": (
        {"train": ("2001", "2002-06")},
        DataError,
        r"only 0 training windows of 24 months .*Use a longer record or a shorter window",
    ),
    "period word": (
        {"train": "al"},
        UnknownNameError,
        "unknown training period 'al'; did you mean",
    ),
}


@pytest.mark.parametrize("case", list(OPTIONS))
def test_options_of_fit(ds, case):
    options, kind, message = OPTIONS[case]
    with pytest.raises(kind, match=message):
        fit(ds, **options)


PREDICT = {
    "no feature": (lambda d: d.drop_vars("snd"), MissingVariableError, r"'gru'.* needs .*'snd'"),
    "other units": (
        lambda d: attrs(d, "snd", units="cm"),
        UnitsError,
        "'snd' has units 'cm'; needed 'm'",
    ),
    "other places": (
        lambda d: d.assign_coords(band=["a", "middle", "north"]),
        ModelMismatchError,
        r"knows the .*'south'.*also have \['a'\]",
    ),
    "other kind of place": (
        lambda d: d.rename(band="station"),
        ModelMismatchError,
        r"fitted on locations \('band',\); the data have \('station',\)",
    ),
    "other layers": (
        lambda d: d.assign_coords(xp.layer_coords((0, 0.1, 0.3, 1.0, 3.0))),
        ModelMismatchError,
        "A layer is known by its bounds",
    ),
    "fewer layers": (lambda d: d.isel(layer=[0, 1]), ModelMismatchError, "layers with bounds"),
    "too short": (
        lambda d: d.isel(time=slice(0, 20)),
        DataError,
        "too short for a window of 24 months",
    ),
    "nothing but gaps": (
        lambda d: d.assign(tas=(d["tas"] * np.nan).assign_attrs(units="K")),
        DataError,
        "no whole window of 24 months without gaps",
    ),
}


@pytest.mark.parametrize("case", list(PREDICT))
def test_predict(ds, gru, case):
    broken, kind, message = PREDICT[case]
    with pytest.raises(kind, match=message):
        gru.predict(broken(ds))


@pytest.mark.parametrize("pick", [lambda i: np.delete(i, 50), lambda i: i[::-1]])
def test_predict_of_broken_months(ds, gru, pick):
    with pytest.raises(TimeAxisError, match="each month once, in order"):
        gru.predict(months(ds, pick))


def test_members_of_a_prediction(ds, gru):
    with pytest.raises(UnknownNameError, match="unknown members 'al'; did you mean 'all'"):
        gru.predict(ds, members="al")


def test_project_without_scenarios_or_with_an_absent_one(ds, world, gru):
    with pytest.raises(ScenarioError, match=r"no scenario to project.*xp.combine"):
        xp.project(ds, gru)
    with pytest.raises(ScenarioError, match="unknown scenario 'rcp45'; did you mean"):
        xp.project(world, gru, rcp="4.5")


def test_project_with_something_that_is_no_model(world):
    with pytest.raises(UnknownNameError, match="unknown model 'gur'; did you mean 'gru'"):
        xp.project(world, "gur")
    with pytest.raises(
        DataError, match=r"project needs the name of a network or baseline.*got dict"
    ):
        xp.project(world, {"gru": 1})


def test_an_evaluation_needs_the_target(ds):
    with pytest.raises(MissingVariableError, match="tsl"):
        xp.evaluate(ds.drop_vars("tsl"), [], baselines=["climatology"])


def test_evaluate_of_broken_months(ds):
    with pytest.raises(TimeAxisError, match="each month once, in order"):
        xp.evaluate(ds.isel(time=[0, 2, 3, *range(4, 96)]), [], baselines=["climatology"])


def test_output_paths_that_exist(ds, gru, tmp_path):
    path = tmp_path / "there"
    path.write_text("mine")
    for write in (gru.save, gru.predict(ds).permafrost.to_netcdf, ds.permafrost.to_netcdf):
        with pytest.raises(OutputExistsError, match=r"not overwritten silently.*overwrite=True"):
            write(path)
    assert path.read_text() == "mine"


def test_output_folders_that_do_not_exist(ds, gru, tmp_path):
    for write in (gru.save, ds.permafrost.to_netcdf):
        with pytest.raises(FileNotFoundError, match=r"does not exist; create it"):
            write(tmp_path / "none" / "a.nc")


def test_a_netcdf_write_that_fails_leaves_nothing(ds, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError("disk full")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(OSError, match="disk full"):
        ds.permafrost.to_netcdf(tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


def test_calendars_of_models_fit_after_they_are_joined(ds):
    """cftime months of a 360-day model: combine makes them months; fit alone says so."""
    time = xr.date_range("2001-01", periods=96, freq="MS", calendar="360_day", use_cftime=True)
    odd = ds.assign_coords(time=time)
    world = xp.combine(odd, rcp85=testing.canonical(start="2006"))
    fit(world, length=12, config=xp.TrainingConfig(epochs=1))


def test_fit_of_a_cftime_calendar(ds):
    time = xr.date_range("2001-01", periods=96, freq="MS", calendar="360_day", use_cftime=True)
    with pytest.raises(TimeAxisError, match="standardize"):
        fit(ds.assign_coords(time=time))


def test_an_experiment_is_projected_not_predicted(gru):
    with pytest.raises(DimensionError, match=r"predicts one forcing.*'rcp85'.*project\(model\)"):
        gru.predict(testing.experiment(years=8))


def test_values_that_do_not_fit_their_units():
    ds = testing.canonical(years=6)
    lying = ds.assign(tsl=(ds["tsl"] - 273.15).assign_attrs(ds["tsl"].attrs))
    with pytest.raises(UnitsError, match=r"'tsl' spans .* K; 'K' for this variable means 190 to"):
        xp.fit(lying, "gru", **SMALL)
