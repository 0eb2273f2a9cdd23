"""Training and fitted models: no leakage, the same bits, labels, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from xpermafrost import testing
from xpermafrost.errors import DataError, LeakageError, ModelMismatchError
from xpermafrost.features import build_features
from xpermafrost.fitted import load_model
from xpermafrost.preparation import prepare, training_period
from xpermafrost.schema import layer_coords
from xpermafrost.training import TrainingConfig, fit, fit_many
from xpermafrost.windows import WindowSpec

TINY = {"hidden": 8}
SMALL = {"options": TINY, "jobs": 1, "progress": False}
TRAIN = ("2001", "2006")


def weights(model):
    return {n: t.clone() for net in model.nets for n, t in net.state_dict().items()}


def same_bits(one, two):
    assert weights(one).keys() == weights(two).keys()
    return all(torch.equal(weights(one)[n], weights(two)[n]) for n in weights(one))


@pytest.mark.parametrize("name", ["gru", "bilstm", "tcn", "transformer", "conv1dlstm"])
def test_every_network_learns(ds, name):
    """On smooth made-up soil a dozen epochs beat the mean by far."""
    config = TrainingConfig(epochs=12)
    model = fit(ds, name, length=12, config=config, jobs=1, progress=False)
    loss = model.history["training_loss"].isel(member=0).values
    assert loss[-1] < 0.5 * loss[0]
    error = model.predict(ds) + 273.15 - ds["tsl"]
    spread = ds["tsl"].std()
    assert float((error**2).mean() ** 0.5) < 0.6 * float(spread)


def test_the_same_seed_gives_the_same_bits(ds, quick, gru):
    assert same_bits(fit(ds, "gru", config=quick, **SMALL), gru)
    other = fit(ds, "gru", config=quick, seed=1, **SMALL)
    assert not same_bits(other, gru)


def test_bits_do_not_depend_on_the_callers_generator_or_threads(ds, quick, gru):
    torch.manual_seed(99)
    threads = torch.get_num_threads()
    assert same_bits(fit(ds, "gru", config=quick, **SMALL), gru)
    assert torch.get_num_threads() == threads


def test_the_callers_generator_is_left_alone(ds, quick, gru, tmp_path):
    torch.manual_seed(99)
    state = torch.get_rng_state()
    fit(ds, "gru", config=quick, **SMALL)
    assert torch.equal(torch.get_rng_state(), state)
    gru.save(tmp_path / "m.xpm")
    load_model(tmp_path / "m.xpm")
    assert torch.equal(torch.get_rng_state(), state)


def test_processes_give_the_bits_of_one(ds, quick):
    options = {"config": quick, "options": TINY, "members": 2, "progress": False}
    one, two = (fit(ds, "gru", jobs=jobs, **options) for jobs in (1, 2))
    assert same_bits(one, two)
    xr.testing.assert_identical(one.predict(ds), two.predict(ds))
    first = fit(ds, "gru", config=quick, seed=1, **SMALL)
    for key, value in first.nets[0].state_dict().items():
        assert torch.equal(value, one.nets[1].state_dict()[key])  # member k has seed + k


def test_networks_together_are_networks_alone(ds, quick, gru):
    both = fit_many(ds, ["tcn", "gru"], config=quick, **SMALL)
    assert [m.name for m in both] == ["tcn", "gru"]
    assert same_bits(both[1], gru)


def corrupted(ds, since="2007"):
    """The same training years; after them everything is different."""
    other = ds.copy(deep=True)
    late = (other["time"] >= np.datetime64(since)).values
    rng = np.random.default_rng(3)
    for name in ("tas", "pr", "snd", "rsds", "rlds", "tsl"):
        values = other[name].values
        values[..., late] = values[..., late] * rng.uniform(0.5, 1.5, values[..., late].shape)
    return other


@pytest.mark.parametrize(("target", "recency"), [("raw", None), ("residual", None), ("raw", 3.0)])
def test_nothing_after_the_training_years_reaches_scaler_or_climatology(ds, target, recency):
    names = ("tas", "snd", "tas:anomaly", "tas:memory12", "scenario_signal", "month_sin")
    spec, options = WindowSpec(features=names), {"transform": target, "recency_years": recency}
    one = prepare(ds, spec, train=TRAIN, **options)
    two = prepare(corrupted(ds), spec, train=TRAIN, **options)
    xr.testing.assert_identical(one.scaler, two.scaler)
    xr.testing.assert_identical(one.statistics, two.statistics)
    np.testing.assert_array_equal(one.training, two.training)
    np.testing.assert_array_equal(one.target[one.training], two.target[two.training])
    rows = one.windows.rows[one.training]
    np.testing.assert_array_equal(one.windows.flat()[rows], two.windows.flat()[rows])


def test_nothing_after_the_training_years_reaches_the_weights(ds, quick, gru):
    other = fit(corrupted(ds), "gru", config=quick, **SMALL)
    assert same_bits(other, gru)
    span = {"time": slice("2001", "2006")}
    xr.testing.assert_equal(other.predict(ds).sel(span), gru.predict(ds).sel(span))


@pytest.mark.parametrize("horizon", [0, 1])
def test_training_windows_have_their_target_in_the_training_years(ds, horizon):
    spec = WindowSpec(length=24, horizon=horizon, features=("tas",))
    ready = prepare(ds, spec, train=("2003", "2006"), transform="raw", validation_years=1)
    year = ds["time"].dt.year.values[ready.windows.end]
    assert set(year[ready.training]) == {2003, 2004, 2005}
    assert set(year[ready.validation]) == {2006}
    assert ready.training.size == 3 * 36
    assert ready.validation.size == 3 * 12


def test_years_held_out_are_not_in_the_scaler(ds):
    """Early stopping must not score years by a climatology that they made."""
    spec = WindowSpec(length=24, features=("tas", "snd:anomaly"))
    options = {"train": ("2001", "2006"), "transform": "residual", "validation_years": 1}
    held = ds["time"].dt.year >= 2006
    changed = ds.assign(
        {n: xr.where(held, ds[n] + 9, ds[n], keep_attrs=True) for n in ("tas", "snd", "tsl")}
    )
    changed = changed.assign({n: changed[n].transpose(*ds[n].dims) for n in ("tas", "snd", "tsl")})
    one, other = (prepare(each, spec, **options) for each in (ds, changed))
    xr.testing.assert_identical(other.scaler, one.scaler)
    xr.testing.assert_identical(other.statistics, one.statistics)
    assert one.validation.size == other.validation.size == 3 * 12
    with pytest.raises(DataError, match="validation_years=6 leaves nothing of 2001-01 to 2006-12"):
        prepare(ds, spec, **{**options, "validation_years": 6})


def test_the_oldest_windows_weigh_little_and_not_nothing(ds):
    config = TrainingConfig(recency_years=0.05, batch_size=8, epochs=2, target="raw")
    model = fit(ds, "gru", config=config, pretrain=None, jobs=1, progress=False)
    assert bool(model.predict(ds).isel(time=-1).notnull().all())


def test_windows_of_test_months_use_the_history_before_the_split(ds, gru):
    """No test month is thrown away: January 2007 has a prediction from 2005-02 onwards."""
    out = gru.predict(ds)
    assert out.sel(time=slice("2007", None)).notnull().all()
    early = ds.copy(deep=True)
    early["tas"].loc[{"time": "2005-03"}] += 20.0
    moved = abs(gru.predict(early) - out).max(("band", "layer"))
    assert float(moved.sel(time="2007-01").squeeze()) > 0
    assert float(moved.sel(time="2007-03").squeeze()) == 0  # 24 months later it is forgotten


@pytest.mark.parametrize("horizon", [0, 1])
def test_a_prediction_uses_its_window_and_nothing_else(ds, quick, horizon):
    model = fit(ds, "gru", horizon=horizon, config=quick, **SMALL)
    base = model.predict(ds)
    assert base.isel(time=slice(0, 23 + horizon)).isnull().all()
    assert base.isel(time=slice(23 + horizon, None)).notnull().all()
    bumped = ds.copy(deep=True)
    at = 50
    bumped["tas"][:, at] += 20.0
    moved = (abs(model.predict(bumped) - base).max(("band", "layer")) > 0).values
    assert np.flatnonzero(moved).tolist() == list(range(at + horizon, at + horizon + 24))


def test_a_leak_canary_gains_nothing(ds):
    """A feature that holds the future target in the test years alone, noise in training, is
    worth nothing: only a scaler, a climatology or a split that looks ahead could use it."""
    rng = np.random.default_rng(0)
    late = (ds["time"] >= np.datetime64("2007")).values
    noise = rng.normal(270, 8, ds["tas"].shape).astype("float32")
    told, blind = noise.copy(), noise.copy()
    told[:, late] = ds["tsl"].isel(layer=0).values[:, late]
    told, blind = (ds.assign(ts=ds["tas"].copy(data=values)) for values in (told, blind))
    features = ("ts", "tas", "month_sin", "month_cos")
    config = TrainingConfig(epochs=4)
    knowing, unknowing = (
        fit(d, "gru", features=features, config=config, **SMALL) for d in (told, blind)
    )
    assert same_bits(knowing, unknowing)
    xr.testing.assert_identical(knowing.scaler, unknowing.scaler)
    test = {"time": slice("2007", None)}
    truth = ds["tsl"].sel(test) - 273.15
    answers = (knowing.predict(told).sel(test), unknowing.predict(blind).sel(test))
    rmse = [float(((answer - truth) ** 2).mean() ** 0.5) for answer in answers]
    assert rmse[0] > 0.8 * rmse[1]


@pytest.mark.parametrize("word", ["random", "shuffle"])
def test_random_splits_are_refused(ds, word):
    with pytest.raises(LeakageError, match="a random split of a time series lets the model see"):
        fit(ds, "gru", train=word)


def test_training_periods(ds):
    assert [str(t)[:7] for t in training_period(ds, None)] == ["2001-01", "2006-12"]
    assert [str(t)[:7] for t in training_period(ds, "all")] == ["2001-01", "2008-12"]
    assert [str(t)[:7] for t in training_period(ds, ("2002-04", "2003"))] == ["2002-04", "2003-12"]
    with pytest.raises(
        DataError, match="no month between 1990 and 1995; the data run from 2001-01"
    ):
        training_period(ds, ("1990", "1995"))
    with pytest.raises(DataError, match=r"record of 2 years is too short.*train='all'"):
        training_period(testing.canonical(years=2), None)


def test_stopping_early_keeps_the_best_weights(ds):
    config = TrainingConfig(
        epochs=12, validation_years=1, patience=2, learning_rate=0.05, loss="mse", target="raw"
    )
    model = fit(ds, "gru", config=config, length=12, **SMALL)
    loss = model.history["validation_loss"].isel(member=0).values
    ran = np.isfinite(loss).sum()
    assert np.isfinite(model.history["training_loss"].isel(member=0).values).sum() == ran
    # the loss of the kept weights is the lowest seen
    ready = prepare(ds, model.spec, train=None, transform="raw", validation_years=1)
    x = ready.windows.flat()[ready.windows.rows[ready.validation]]
    x = torch.from_numpy(x.reshape(len(x), 12, -1).copy())
    with torch.no_grad():
        out = model.nets[0](x, torch.from_numpy(ready.windows.location[ready.validation]))
    kept = float(((out.numpy() - ready.target[ready.validation]) ** 2).mean())
    np.testing.assert_allclose(kept, np.nanmin(loss), rtol=1e-4)


def test_missing_targets_are_masked_not_zero(ds, quick):
    """Where a target is missing, its number makes no difference to the weights."""
    holed = ds.copy(deep=True)
    holed["tsl"][1, 2, ::3] = np.nan
    model = fit(holed, "gru", config=quick, **SMALL)
    assert all(torch.isfinite(t).all() for t in weights(model).values())
    assert model.predict(holed).isel(time=slice(23, None)).notnull().all()
    assert model.info["n_excluded"] == 0
    level = model.predict(holed).isel(band=1, layer=2).mean()
    assert -40 < float(level) < 40


def test_gaps_in_the_forcing_are_counted_and_give_missing_predictions(ds, quick):
    ds["tas"][1, 40] = np.nan
    model = fit(ds, "gru", config=quick, **SMALL)
    assert model.info["n_excluded"] == 24
    out = model.predict(ds).isel(band=1)
    assert out.isel(time=slice(40, 64)).isnull().all()
    assert out.isel(time=slice(64, None)).notnull().all()
    assert model.predict(ds).isel(band=0, time=slice(23, None)).notnull().all()


def test_places_are_found_by_label(ds, gru):
    base = gru.predict(ds)
    for order in (["north", "south", "middle"], ["middle"], ["north", "south"]):
        xr.testing.assert_allclose(
            gru.predict(ds.sel(band=order)), base.sel(band=order), rtol=0, atol=1e-5
        )


def test_a_prediction_is_labelled_with_units_layers_and_provenance(ds, gru, unchanged):
    with unchanged(ds):
        out = gru.predict(ds)
    assert out.name == "soil_temperature"
    assert out.dims == ("band", "layer", "time")
    assert out.attrs["units"] == "degree_Celsius"
    assert out.attrs["model"] == gru.id
    assert out.dtype == np.float32
    np.testing.assert_allclose(out["depth"], ds["depth"])
    np.testing.assert_array_equal(out["time"], ds["time"])


def test_members_and_their_mean(ds, quick):
    model = fit(ds, "gru", members=2, config=quick, **SMALL)
    each = model.predict(ds, members="all")
    assert each.dims == ("member", "band", "layer", "time")
    xr.testing.assert_allclose(each.mean("member"), model.predict(ds), atol=1e-4)
    assert float(each.std("member").max()) > 0
    assert model.info["seeds"] == [0, 1]


def test_chunked_input_gives_the_same(ds, gru):
    xr.testing.assert_identical(gru.predict(ds.chunk(time=24)), gru.predict(ds))


def test_fit_of_an_experiment_uses_its_reference(world, quick, world_gru, gru, unchanged):
    assert same_bits(world_gru, gru)
    with unchanged(world):
        fit(world, "gru", config=quick, **SMALL)


def test_stations_and_grids(quick):
    stations = testing.canonical(years=5, dim="station")
    model = fit(stations, "gru", length=12, config=quick, **SMALL)
    assert model.predict(stations).dims == ("station", "layer", "time")
    flat = testing.canonical(years=5, locations=list("abcdef"))
    grid = flat.drop_vars("band").coarsen(band=3).construct(band=("lat", "lon"))
    grid = grid.assign_coords(lat=[60.0, 61.0], lon=[1.0, 2.0, 3.0])
    both = [fit(d, "gru", length=12, config=quick, **SMALL) for d in (grid, flat)]
    out = both[0].predict(grid)
    assert out.dims == ("lat", "lon", "layer", "time")
    np.testing.assert_array_equal(
        out.values.reshape(6, 4, 60), both[1].predict(flat).values
    )  # a grid is places like any other
    part = grid.isel(lat=[1], lon=[2, 0])
    xr.testing.assert_allclose(
        both[0].predict(part), out.sel(lat=[61.0], lon=[3.0, 1.0]), atol=1e-5
    )


def test_a_network_of_ones_own_trains_in_processes_and_reloads(ds, quick, tmp_path):
    class Level(torch.nn.Module):
        def __init__(self, n_features, n_locations, n_layers):
            super().__init__()
            self.line = torch.nn.Linear(n_features, n_layers)

        def forward(self, x, location):
            return self.line(x.mean(dim=1))

    model = fit(ds, Level, members=2, jobs=2, config=quick, progress=False)
    assert model.name == "level"
    model.save(tmp_path / "own.xpm")
    xr.testing.assert_identical(load_model(tmp_path / "own.xpm").predict(ds), model.predict(ds))


def test_a_network_defined_anew_is_the_one_that_is_trained(ds, quick):
    """A notebook's cell that is run again: the class has the name of the one before."""

    def made(level, name):
        class Level(torch.nn.Module):
            def __init__(self, n_features, n_locations, n_layers):
                super().__init__()
                self.line = torch.nn.Linear(n_features, n_layers)

            def forward(self, x, location):
                return 0 * self.line(x[:, 0]) + level

        Level.__qualname__ = name
        return Level

    with pytest.raises(DataError, match="two networks are called 'level'"):
        fit_many(ds, [made(0.0, "Level"), made(1.0, "Level")], config=quick, progress=False)
    for level in (0.0, 1.0):
        model = fit(ds, made(level, "Level"), config=quick, progress=False)
        (net,) = model.nets
        x = torch.zeros(1, 24, net.line.in_features)
        assert float(net(x, torch.zeros(1).long())[0, 0]) == level

    # of another place in the code, so another network: which one a saved model means is not known
    with pytest.raises(DataError, match="a model named 'level' is registered already"):
        fit(ds, made(2.0, "other.<locals>.Level"), config=quick, progress=False)
    with pytest.raises(DataError, match="a model named 'gru' is registered already"):
        fit(ds, type("GRU", (torch.nn.Module,), {}), config=quick, progress=False)


def test_what_lies_outside_the_training_range(ds, gru):
    share = gru.outside_training_range(ds)
    assert share.dims == ("band", "time")
    assert share.attrs["units"] == "1"
    assert float(share.sel(time=slice("2001", "2006")).max()) == 0.0
    hot = ds.assign(tas=(ds["tas"] + 60.0).assign_attrs(ds["tas"].attrs))
    np.testing.assert_allclose(
        gru.outside_training_range(hot).sel(time=slice("2001", "2006")), 1 / 5
    )


def test_the_hull_is_that_of_the_training_months(ds, gru):
    raw = build_features(ds.sel(time=slice("2001", "2006")), gru.spec.features)
    for name, limit in (("feature_max", "max"), ("feature_min", "min")):
        wanted = getattr(raw.groupby("time.month"), limit)("time")
        np.testing.assert_array_equal(gru.scaler[name], wanted.transpose(*gru.scaler[name].dims))


def test_an_august_in_january_is_outside(ds, gru):
    """Within the range of the year, far outside that of its month."""
    january = ds["time"].dt.month == 1
    august = float(ds["tas"].sel(time=ds["time"].dt.month == 8).mean())
    warm = ds.assign(tas=ds["tas"].where(~january, august).assign_attrs(ds["tas"].attrs))
    share = gru.outside_training_range(warm)
    assert float(share.sel(time=january).min()) > 0
    assert float(share.sel(time=~january).sel(time=slice("2001", "2006")).max()) == 0


def test_weights_by_age_follow_the_recent_years(ds):
    """Soil that jumps by 5 K half way: recent years say more, so the level follows them."""
    jumped = ds.copy(deep=True)
    jumped["tsl"].loc[{"time": slice("2004", None)}] += 5.0
    options = {"length": 12, "train": TRAIN, **SMALL}
    plain = fit(jumped, "gru", config=TrainingConfig(epochs=5), **options)
    recent = fit(jumped, "gru", config=TrainingConfig(epochs=5, recency_years=0.7), **options)
    last = {"time": slice("2005", "2006")}
    bias = [
        float((m.predict(jumped).sel(last) + 273.15 - jumped["tsl"].sel(last)).mean())
        for m in (plain, recent)
    ]
    assert bias[1] > bias[0] + 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be positive; got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"validation_years": -1}, "must not be negative"),
        ({"recency_years": 0.0}, "recency_years must be positive or None"),
    ],
)
def test_configurations_that_make_no_sense(options, message):
    with pytest.raises(DataError, match=message):
        TrainingConfig(**options)


def test_a_fitted_model_prints_what_it_is(gru):
    text = repr(gru)
    for word in ("'gru'", "24 months, horizon 0", "3 band", "0-0.07", "2001-01 to 2006-12", "tas"):
        assert word in text


def test_layers_of_other_bounds_are_refused(ds, gru):
    other = ds.assign_coords(layer_coords((0.0, 0.1, 0.3, 1.0, 3.0)))
    with pytest.raises(ModelMismatchError, match=r"fitted on layers with bounds .*the data have"):
        gru.predict(other)
