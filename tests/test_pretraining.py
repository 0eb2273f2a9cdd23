"""Pretraining on drawn climates, the weights that come with the package, and unseen places."""

from __future__ import annotations

import copy
import hashlib

import numpy as np
import pytest
import torch
import xarray as xr

import xpermafrost as xp
from xpermafrost import _teacher, pretraining
from xpermafrost.errors import (
    CheckpointError,
    DataError,
    MissingVariableError,
    ModelMismatchError,
    PermafrostWarning,
    UnknownNameError,
)
from xpermafrost.models import MODELS, UNKNOWN, build_model
from xpermafrost.projection import projected_changes
from xpermafrost.schema import ERA5LAND_EDGES, layer_bounds
from xpermafrost.testing import canonical, experiment
from xpermafrost.training import TrainingConfig, fit_many
from xpermafrost.windows import WindowSpec

BOUNDS = layer_bounds(canonical(years=1))
SHORT = TrainingConfig(epochs=1)


@pytest.fixture(scope="module")
def lessons():
    return _teacher.school(12, years=20)


@pytest.fixture
def small_school(monkeypatch, tmp_path):
    """A school of seconds, and a cache of its own."""
    monkeypatch.setattr(pretraining, "PLACES", 4)
    monkeypatch.setattr(pretraining, "YEARS", 10)
    monkeypatch.setattr(pretraining, "SCHOOLING", TrainingConfig(epochs=1, batch_size=64))
    monkeypatch.setenv("XPERMAFROST_DATA_DIR", str(tmp_path))
    pretraining._school.cache_clear()
    yield tmp_path
    pretraining._school.cache_clear()


def climate_model(rcp: str = "rcp85") -> xr.Dataset:
    """The sample's climate model as a world of its own: its forcing and its own soil."""
    ds = xp.datasets.alaska_sample()
    past, future = (ds.sel(scenario=name, drop=True) for name in ("historical", rcp))
    both = xr.concat(
        [past.sel(time=slice("1950", "2005")), future.sel(time=slice("2006", None))],
        dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
    )
    return both.drop_vars(["tsl", "tsl_truth", "tas_truth", "snd_truth"]).rename(tsl_esm="tsl")


# --- the teacher -----------------------------------------------------------------------------


def test_school_is_canonical_and_whole(lessons):
    assert lessons["tsl"].dims == ("place", "layer", "time")
    assert lessons.sizes == {"place": 12, "layer": 4, "time": 240}
    assert not any(bool(da.isnull().any()) for da in lessons.data_vars.values())
    for name in _teacher.FORCING:
        assert lessons[name].attrs["units"] == xp.VARIABLES[name].units
    assert float(lessons["snd"].max()) < _teacher.DEEPEST_SNOW
    assert float(lessons["snd"].groupby("time.year").min().max()) <= 0.01  # no glaciers


def test_school_is_drawn_by_its_seed(lessons):
    again = _teacher.school(2, years=20)
    xr.testing.assert_identical(again["tsl"], lessons["tsl"].isel(place=slice(2)))
    other = _teacher.school(2, years=20, seed=1)
    assert float(abs(other["tas"] - again["tas"]).mean()) > 1.0


def test_school_holds_cold_and_warm_ground_that_follows_the_air(lessons):
    air, soil = lessons["tas"].mean("time"), lessons["tsl"].mean("time").mean("layer")
    assert float(air.max() - air.min()) > 10.0
    assert np.corrcoef(air, soil)[0, 1] > 0.7
    offset = soil - air
    assert float(offset.mean()) > 1.0  # snow keeps the ground warm
    ranges = lessons["tsl"].max("time") - lessons["tsl"].min("time")
    assert bool((ranges.diff("layer") < 0).all())  # and depth damps


# --- weights that come with the package ------------------------------------------------------


@pytest.mark.parametrize("name", pretraining.NAMES)
def test_shipped_weights_fit_their_network(name):
    made = pretraining.pretrained(name, pretraining.SPEC, BOUNDS)
    assert made.norms["feature"].values.tolist() == list(pretraining.FEATURES)
    net = build_model(name, n_features=4, n_locations=3, n_layers=4, length=24)
    names = set(net.state_dict()) - {"embedding.weight"}
    assert set(made.weights) == names
    assert all(np.isfinite(values).all() for values in made.weights.values())


def test_shipped_weights_are_small_and_listed():
    files = list(pretraining._FOLDER.glob("pretrained_*.safetensors"))
    assert {f.stem.removeprefix("pretrained_") for f in files} == set(pretraining.NAMES)
    assert sum(f.stat().st_size for f in files) <= 2_000_000
    listed = (pretraining._FOLDER / "pretrained.sha256").read_text()
    assert all(hashlib.sha256(f.read_bytes()).hexdigest() in listed for f in files)


def test_shipped_weights_have_the_same_norms():
    norms = [pretraining._shipped(name).norms for name in pretraining.NAMES]
    assert all(one.identical(norms[0]) for one in norms)


def test_changed_weights_are_refused(tmp_path):
    path = pretraining._FOLDER / "pretrained_gru.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    changed = tmp_path / "changed.safetensors"
    changed.write_bytes(content)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(CheckpointError, match=r"was changed: its SHA-256 is .* Nothing was loaded"):
        pretraining.read_weights(changed, sha256=right)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no weights", b"\xff" * 64])
def test_foreign_weights_are_refused(tmp_path, content):
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="holds no pretrained weights"):
        pretraining.read_weights(path)


def test_weights_are_written_and_read_alike(tmp_path, lessons, small_school):
    made = pretraining.pretrained("tcn", pretraining.SPEC, BOUNDS, pretrain=lessons)
    pretraining.write_weights(tmp_path / "w.safetensors", made, overwrite=False)
    again = pretraining.read_weights(tmp_path / "w.safetensors")
    assert again.norms.identical(made.norms)
    assert all(np.array_equal(again.weights[n], v) for n, v in made.weights.items())
    with pytest.raises(FileExistsError):
        pretraining.write_weights(tmp_path / "w.safetensors", made, overwrite=False)


# --- fit(pretrain=) --------------------------------------------------------------------------


def test_auto_takes_shipped_weights_where_nothing_else_is_asked():
    ds = canonical(years=5)
    before = copy.deepcopy(ds)
    made = xp.fit(ds, "tcn")
    assert made.info["pretrain"]["weights"] == "shipped with xpermafrost"
    assert made.spec.features == pretraining.FEATURES
    assert made.info["config"]["epochs"] == pretraining.TUNING.epochs
    xr.testing.assert_identical(ds, before)
    named = xp.fit(ds, "tcn", pretrain="column")
    xr.testing.assert_identical(named.predict(ds), made.predict(ds))


@pytest.mark.parametrize(
    ("asked", "edges"),
    [
        ({"length": 12}, ERA5LAND_EDGES),
        ({"features": ["tas", "snd"]}, ERA5LAND_EDGES),
        ({"config": SHORT}, ERA5LAND_EDGES),
        ({"horizon": 1, "config": SHORT}, ERA5LAND_EDGES),
        ({"options": {"hidden": 8}}, ERA5LAND_EDGES),
        ({}, (0.0, 0.1, 0.4)),
    ],
)
def test_auto_is_none_where_other_things_are_asked(asked, edges):
    made = xp.fit(canonical(years=4, edges=edges), "tcn", **asked)
    assert made.info["pretrain"] is None


def test_auto_without_snow_is_none():
    made = xp.fit(canonical(years=4).drop_vars("snd"), "tcn")
    assert made.info["pretrain"] is None
    assert "snd" not in made.spec.features


def test_a_network_is_the_same_beside_others():
    class Own(torch.nn.Module):
        def __init__(self, n_features, n_locations, n_layers):
            super().__init__()
            self.head = torch.nn.Linear(n_features, n_layers)

        def forward(self, x, location):
            return self.head(x[:, -1])

    ds = canonical(years=4)
    both = fit_many(ds, [Own, "tcn"])
    assert [m.info["pretrain"] is None for m in both] == [True, False]
    alone = xp.fit(ds, "tcn")
    xr.testing.assert_identical(both[1].predict(ds), alone.predict(ds))
    with pytest.raises(DataError, match=r"location embedding.*pretrain=None"):
        xp.fit(ds, Own, pretrain="column")
    with pytest.raises(DataError, match="can hide its places"):
        xp.fit(ds, Own, places="any", config=SHORT)


def test_seeds_and_members():
    ds = canonical(years=4)
    two = xp.fit(ds, "tcn", members=2, seed=3)
    again = xp.fit(ds, "tcn", seed=4)
    members = two.predict(ds, members="all")
    assert float(abs(members[0] - members[1]).max()) > 0
    # one window sets run in batches of their own, so compare within rounding
    xr.testing.assert_allclose(members[1].drop_vars("member"), again.predict(ds), atol=1e-5)


def test_months_after_the_training_change_nothing():
    ds = canonical(years=6)
    future = ds["time"] > np.datetime64("2004-12-31")
    scrambled = ds.assign(tsl=ds["tsl"].where(~future, 300.0), tas=ds["tas"].where(~future, 240.0))
    one, other = (xp.fit(d, "tcn", train=("2001", "2004")) for d in (ds, scrambled))
    xr.testing.assert_identical(one.scaler, other.scaler)
    for a, b in zip(
        one.nets[0].state_dict().values(), other.nets[0].state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


def test_a_pretrained_model_is_saved_and_loaded(tmp_path):
    ds = canonical(years=4)
    made = xp.fit(ds, "gru", places="any")
    made.save(tmp_path / "model")
    again = xp.load_model(tmp_path / "model")
    assert again.id == made.id
    assert again.portable
    xr.testing.assert_identical(again.predict(ds), made.predict(ds))


def test_other_settings_are_pretrained_once_and_kept(small_school):
    ds = canonical(years=4, edges=(0.0, 0.2, 1.0))
    with pytest.warns(PermafrostWarning, match="it is pretrained now, for some minutes, and kept"):
        first = xp.fit(ds, "tcn", pretrain="column", length=12, features=["tas", "pr"])
    assert first.info["pretrain"]["weights"] == "trained for this fit"
    again = xp.fit(ds, "tcn", pretrain="column", length=12, features=["tas", "pr"])
    xr.testing.assert_identical(again.predict(ds), first.predict(ds))
    (kept,) = small_school.glob("pretrained_tcn_*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-9])
    with pytest.warns(PermafrostWarning, match="it is pretrained now"):
        mended = xp.fit(ds, "tcn", pretrain="column", length=12, features=["tas", "pr"])
    xr.testing.assert_identical(mended.predict(ds), first.predict(ds))


def test_what_the_column_does_not_know_is_said():
    with pytest.raises(MissingVariableError, match=r"has no 'rlds'.*pretrain on a climate model"):
        xp.fit(canonical(years=4), "tcn", pretrain="column", features=["tas", "rlds"])


def test_pretraining_on_the_climate_model_of_an_experiment(small_school):
    ds = experiment()
    made = xp.fit(ds, "tcn", pretrain=ds, length=12)
    told = made.info["pretrain"]
    assert told["source"] == "climate model"
    # two scenarios of 3 bands, 1996-2017, windows of 12 months
    assert told["windows"] == 2 * 3 * (22 * 12 - 11)
    assert set(made.spec.features) == {"tas", "pr", "rlds", "rsds", "snd", "month_sin", "month_cos"}
    with pytest.raises(MissingVariableError, match="tsl_esm"):
        xp.fit(ds, "tcn", pretrain=ds.drop_vars("tsl_esm"))


def test_lessons_of_a_climate_model_are_its_own():
    ds = experiment()
    lessons = pretraining._of_climate_model(ds, WindowSpec(features=("tas",)), BOUNDS)
    for name in ("rcp26", "rcp85"):
        one = lessons.sel(run=name)
        for scenario, years in (("historical", "2000"), (name, "2012")):
            for mine, theirs in (("tas", "tas"), ("tsl", "tsl_esm")):
                expected = ds[theirs].sel(scenario=scenario, time=years)
                np.testing.assert_array_equal(
                    one[mine].sel(time=years).transpose(*expected.dims), expected
                )


def test_pretraining_on_other_layers_is_refused():
    with pytest.raises(ModelMismatchError, match=r"same layers.*remap_layers"):
        xp.fit(canonical(years=4), "tcn", pretrain=canonical(years=4, edges=(0.0, 1.0)))


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"pretrain": "columns"}, UnknownNameError, "columns"),
        ({"places": "all"}, UnknownNameError, "places"),
        (
            {"pretrain": "column", "config": TrainingConfig(target="residual")},
            DataError,
            r"target='residual'.*pretrain=None",
        ),
        (
            {"places": "any", "features": ["tas:anomaly"], "config": SHORT},
            DataError,
            r"climatology of a place.*places='own'",
        ),
        (
            {"places": "any", "config": TrainingConfig(epochs=1, target="residual")},
            DataError,
            r"climatology of a place.*places='own'",
        ),
    ],
)
def test_what_does_not_go_together_is_said(asked, error, message):
    with pytest.raises(error, match=message):
        xp.fit(canonical(years=4), "tcn", **asked)


@pytest.mark.parametrize("wrong", [{"place_rate": 0.0}, {"place_dropout": 1.5}])
def test_settings_of_places_are_checked(wrong):
    with pytest.raises(DataError, match=next(iter(wrong))):
        TrainingConfig(**wrong)


# --- unseen places ---------------------------------------------------------------------------


def test_a_portable_model_answers_elsewhere():
    ds = canonical(years=5)
    elsewhere = canonical(years=5, locations=["north", "far"], seed=5)
    own = xp.fit(ds, "tcn")
    with pytest.raises(ModelMismatchError, match=r"'far'.*places='any'"):
        own.predict(elsewhere)
    portable = xp.fit(ds, "tcn", places="any")
    both = portable.predict(elsewhere)
    assert both.notnull().any("time").all()
    # what it says of an unknown place does not depend on the place's name, nor on its neighbours
    renamed = elsewhere.assign_coords(band=["x", "y"])
    xr.testing.assert_allclose(
        portable.predict(renamed).sel(band="y", drop=True), both.sel(band="far", drop=True)
    )
    assert float(abs(portable.predict(renamed).sel(band="x") - both.sel(band="north")).max()) > 0
    other = portable.predict(elsewhere.rename(band="station"))
    assert other.dims == ("station", "layer", "time")
    share = portable.outside_training_range(elsewhere)
    assert float(share.max()) <= 1.0


def test_an_unknown_place_has_no_embedding():
    net = build_model("gru", n_features=2, n_locations=2, n_layers=1, length=3).eval()
    x = torch.randn(4, 3, 2)
    unknown = net(x, torch.full((4,), UNKNOWN))
    with torch.no_grad():
        net.embedding.weight.zero_()
    assert torch.equal(unknown, net(x, torch.zeros(4, dtype=torch.long)))


def test_a_network_that_dropped_its_embedding_is_trained():
    class Bare(xp.models.SequenceNet):
        def __init__(self, n_features, n_locations, n_layers):
            super().__init__(n_features, n_locations, n_layers, width=1, embedding=1, dropout=0.0)
            del self.embedding
            self.head = torch.nn.Linear(n_features, n_layers)

        def forward(self, x, location):
            return self.head(x[:, -1])

    try:
        made = xp.fit(canonical(years=4), Bare, config=TrainingConfig(epochs=1, place_rate=2.0))
        assert made.name == "bare"
    finally:
        MODELS.pop("bare", None)


def test_share_outside_by_feature():
    ds = canonical(years=5)
    made = xp.fit(ds, "tcn", train="all")
    warm = ds.assign(tas=(ds["tas"] + 20.0).assign_attrs(ds["tas"].attrs))
    share = made.outside_training_range(warm, by="feature")
    assert share.dims == ("band", "time", "feature")
    assert share["feature"].values.tolist() == ["tas", "snd"]
    assert bool(share.isel(time=slice(23)).isnull().all())
    late = share.isel(time=slice(23, None))
    assert bool((late.sel(feature="tas") == 1.0).all())
    assert bool((late.sel(feature="snd") == 0.0).all())


# --- what it is for --------------------------------------------------------------------------


def test_perfect_model_change_is_found():
    """Trained on a climate model's past, scored on its own RCP8.5: the bar of 15 % a layer."""
    world = climate_model()
    made = xp.fit(world, "gru", train=("2001", "2018"))
    assert made.info["pretrain"]["source"] == "column"
    inputs = world.drop_vars("tsl").sel(time=slice("2070", None))
    late = made.predict(inputs).sel(time=slice("2081", "2100")).mean("time") + 273.15
    before = world["tsl"].sel(time=slice("2001", "2018")).mean("time")
    truth = (world["tsl"].sel(time=slice("2081", "2100")).mean("time") - before).mean("band")
    found = (late - before).mean("band")
    assert float(truth.min()) > 3.0
    error = abs(found - truth) / truth
    assert float(error.max()) <= 0.15, error.values


def test_projection_of_a_name_is_pretrained():
    ds = xp.datasets.alaska_sample()
    made = xp.fit(ds, "gru", train=("2001", "2018"))
    changes = projected_changes(ds, [made], scenarios=["rcp26", "rcp85"])["change"]
    apart = changes.sel(scenario="rcp85") - changes.sel(scenario="rcp26")
    assert float(apart.min()) > 2.0


def test_unknown_window_step_is_said():
    spec = WindowSpec(features=("tas",), step="day")
    with pytest.raises(DataError, match=r"monthly.*pretrain=None"):
        pretraining.pretrained("gru", spec, BOUNDS)
