"""Attributions: they sum, they are labelled, and what cannot be explained is refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost._attribution import Member, answers, expected_gradients, quiet_threads
from xpermafrost.errors import (
    DataError,
    MissingVariableError,
    ModelMismatchError,
    PermafrostWarning,
    ScenarioError,
    UnknownNameError,
)
from xpermafrost.explanation import explain, explain_scenarios
from xpermafrost.hybrid import fit_hybrid
from xpermafrost.models import MODELS
from xpermafrost.training import fit

SMALL = {"windows": 2, "background_size": 12}
FEATURES = ["tas", "snd", "rlds", "month_sin", "month_cos"]


@pytest.fixture(scope="module")
def reference():
    return testing.canonical(years=8)


@pytest.fixture(scope="module")
def nets(reference, quick):
    """The five networks, small, one of two members, trained for a moment."""
    small = {n: {"width": 16, "depth": 1} if n == "transformer" else {"hidden": 8} for n in MODELS}
    return {
        name: fit(
            reference, name, length=12, members=2 if name == "gru" else 1, features=FEATURES,
            config=quick, options=small[name], jobs=1, progress=False,
        )
        for name in MODELS
    }  # fmt: skip


@pytest.fixture(scope="module")
def why(nets, reference):
    return explain(nets["gru"], reference, **SMALL)


def missing(result):
    """What is missing in the sum, by hand, in standard deviations of the prediction."""
    total = result["base_value"] + result["attribution"].sum(("lag", "feature"))
    return abs(result["prediction"] - total) / result["prediction_std"]


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("tol", [0.01, 1e-3])
def test_attributions_sum_to_what_predict_says(nets, reference, name, tol):
    out = explain(nets[name], reference, tol=tol, **SMALL)
    assert float(missing(out).max()) <= tol
    np.testing.assert_allclose(
        out["residual"],
        out["prediction"] - out["base_value"] - out["attribution"].sum(("lag", "feature")),
        atol=1e-5,
    )
    said = nets[name].predict(reference)
    said = said.sel(band=out["band"], time=out["time"]).transpose("window", "layer")
    np.testing.assert_allclose(out["prediction"], said, atol=1e-5)


def test_the_result_is_labelled(why, nets, reference):
    assert why["attribution"].dims == ("window", "layer", "lag", "feature")
    assert (
        why["feature"].values.tolist() == nets["gru"].features(reference)["feature"].values.tolist()
    )
    assert why["lag"].values.tolist() == list(range(12))
    assert [why[n].attrs["units"] for n in ("attribution", "base_value", "residual")] == [
        "K",
        "degree_Celsius",
        "K",
    ]
    assert why.attrs["model"] == nets["gru"].id
    assert "explain(" in why.attrs["history"]
    np.testing.assert_allclose(why["depth_bottom"], [0.07, 0.28, 1.0, 2.89])
    one = why.isel(window=3)
    at = {"band": one["band"].item(), "time": one["time"].values}
    month = reference["tas"].sel(at)
    assert float(one["feature_value"].sel(feature="tas", lag=0)) == pytest.approx(float(month))
    before = reference["tas"].shift(time=5).sel(at)
    assert float(one["feature_value"].sel(feature="tas", lag=5)) == pytest.approx(float(before))


def test_the_base_value_is_the_mean_prediction_of_the_background(nets, reference):
    model = nets["tcn"]
    out = explain(model, reference, windows=1, background_size=1000)
    said = model.predict(reference).sel(
        time=slice(*(model.info[f"train_{k}"] for k in ("start", "end")))
    )
    expected = said.mean("time").sel(band=out["band"]).transpose("window", "layer")
    np.testing.assert_allclose(out["base_value"], expected, atol=1e-4)


def test_lag_counts_from_the_target_where_the_window_ends_before_it(reference, quick):
    model = fit(reference, "tcn", length=6, horizon=1, config=quick, jobs=1, progress=False)
    out = explain(model, reference, **SMALL)
    assert out["lag"].values.tolist() == [1, 2, 3, 4, 5, 6]
    one = out.isel(window=0)
    at = {"band": one["band"].item(), "time": one["time"].values}
    before = reference["tas"].shift(time=1).sel(at)
    assert float(one["feature_value"].sel(feature="tas", lag=1)) == pytest.approx(float(before))


def test_a_network_of_departures_keeps_the_climatology_in_the_base(reference):
    config = xp.TrainingConfig(epochs=2, target="residual")
    model = fit(reference, "gru", length=12, config=config, jobs=1, progress=False)
    out = explain(model, reference, windows=15, background_size=12)
    assert float(missing(out).max()) <= 0.01
    usual = reference["tsl"].sel(time=slice("2001", "2006")).groupby("time.month").mean() - 273.15
    usual = usual.sel(band=out["band"], month=out["time"].dt.month).transpose("window", "layer")
    departure = out["base_value"] - usual
    assert float(departure.groupby("band").std().max()) < 1e-3  # of the background alone


def test_the_same_seed_draws_the_same_windows(nets, reference):
    one, two, three = (explain(nets["gru"], reference, seed=s, **SMALL) for s in (1, 1, 2))
    xr.testing.assert_identical(one, two)
    assert not np.array_equal(one["time"], three["time"])


def test_an_order_of_bands_and_dask_change_nothing(nets, reference, unchanged):
    few = {"background": reference, "background_size": 4, "layers": [1, 4]}
    usual = explain(nets["gru"], reference, windows=("2007", "2008"), **few)
    turned = reference.isel(band=[2, 0, 1]).chunk(time=12)
    with unchanged(turned):
        other = explain(nets["gru"], turned, windows=("2007", "2008"), **few)
    assert usual.sizes["window"] == 3 * 24
    assert set(usual["time"].dt.year.values) == {2007, 2008}
    for band in ("south", "north"):
        a, b = (o.isel(window=o["band"].values == band) for o in (usual, other))
        np.testing.assert_array_equal(a["time"], b["time"])
        np.testing.assert_allclose(a["prediction"], b["prediction"], atol=1e-5)
        np.testing.assert_array_equal(a["feature_value"], b["feature_value"])


def test_layers_are_chosen_by_label(nets, reference, why):
    some = explain(nets["gru"], reference, layers=[4, 2], **SMALL)
    assert some["layer"].values.tolist() == [4, 2]
    expected = why["attribution"].sel(layer=[4, 2])
    np.testing.assert_allclose(
        some["attribution"], expected, atol=0.02 * float(abs(expected).max())
    )


def test_the_embedding_is_a_feature_where_the_background_is_of_all_locations(nets, reference):
    out = explain(nets["bilstm"], reference, background_from="all", **SMALL)
    assert out["feature"].values[-1] == "location"
    assert float(missing(out).max()) <= 0.01
    place = out["attribution"].sel(feature="location")
    assert bool(place.sel(lag=0).notnull().all())
    assert bool(place.isel(lag=slice(1, None)).isnull().all())
    assert float(abs(place.sel(lag=0)).max()) > 0
    bases = out["base_value"].values
    np.testing.assert_allclose(bases, np.broadcast_to(bases[:1], bases.shape), atol=1e-6)


def test_a_grid_is_explained_where_it_has_land(quick):
    grid = testing.gridded()
    model = fit(grid, "tcn", length=6, config=quick, jobs=1, progress=False)
    out = explain(model, grid, windows=2, background_size=10)
    assert out.sizes["window"] == 2 * (3 * 4 - 2)
    assert {"lat", "lon"} <= set(out.coords)
    assert float(missing(out).max()) <= 0.01


def test_the_protocol_of_the_first_study(nets, reference):
    out = explain(nets["tcn"], reference, protocol="rahaman")
    assert out["band"].to_series().value_counts().tolist() == [10, 10, 10]
    assert int(out["time"].dt.year.min()) >= 2007  # after the training
    assert out.attrs["background"].startswith("100 windows")
    with pytest.raises(DataError, match="protocol='rahaman' sets windows"):
        explain(nets["tcn"], reference, protocol="rahaman", windows=3)
    with pytest.raises(DataError, match="after the training, which ended in 2006-12"):
        explain(nets["tcn"], reference.sel(time=slice("2001", "2006")), protocol="rahaman")


def test_what_was_extrapolated_is_told(nets, reference):
    hot = reference["tas"] + xr.where(reference["time.year"] == 2008, 15.0, 0.0)
    hot = reference.assign(tas=hot.transpose(*reference["tas"].dims).assign_attrs(units="K"))
    out = explain(nets["gru"], hot, windows=("2008-12", "2008-12"), background_size=10)
    share = out["outside_training_range"]
    assert float(share.sel(feature="tas").min()) == pytest.approx(1.0)
    assert float(share.sel(feature="month_sin").max()) == 0.0


# ---------------------------------------------------------------- what is known exactly


class Planted(xp.models.SequenceNet):
    """A linear network: its attributions are known."""

    def __init__(self, n_features, n_locations, n_layers, *, length=24):
        import torch

        super().__init__(n_features, n_locations, n_layers, width=n_layers, dropout=0.0)
        self.line = torch.nn.Linear(length * self.n_inputs, n_layers)

    def encode(self, x):
        return self.line(x.flatten(1))


class Own(xp.models.SequenceNet):
    """A network that does not call its embedding so."""

    def __init__(self, n_features, n_locations, n_layers):
        import torch

        torch.nn.Module.__init__(self)
        self.place = torch.nn.Embedding(n_locations, 2)
        self.rnn = torch.nn.GRU(n_features, 4, batch_first=True)
        self.head = torch.nn.Linear(6, n_layers)

    def forward(self, x, location):
        import torch

        return self.head(torch.cat([self.rnn(x)[1][-1], self.place(location)], dim=1))


def test_of_a_linear_network_they_are_weight_times_departure(reference, quick):
    model = fit(reference, Planted, length=6, config=quick, jobs=1, progress=False)
    out = explain(model, reference, windows=4, background_size=1000)
    net = model.nets[0]
    weight = (net.head.weight[:, :4] @ net.line.weight).detach().numpy()  # layer, step * input
    weight = weight.reshape(4, 6, -1)[:, ::-1, : out.sizes["feature"]]
    scale = model.scaler["target_std"].values[:, None, None] / model.scaler["feature_std"].values
    raw = model.features(reference).transpose("band", "time", "feature")
    inside = raw.values[:, : 6 * 12]
    ends = np.arange(5, 72)
    mean = np.stack([inside[:, ends - lag].mean(axis=1) for lag in range(6)], axis=1)
    band = [list(reference["band"].values).index(b) for b in out["band"].values]
    departure = out["feature_value"].values - mean[band]
    expected = (weight * scale)[None] * departure[:, None]
    np.testing.assert_allclose(out["attribution"], expected, atol=2e-4)


@pytest.mark.parametrize("name", list(MODELS))
def test_planted_relations_are_found_in_a_trained_network(name):
    rng = np.random.default_rng(0)
    ds = testing.canonical(years=40)[["tas", "snd", "rlds", "tsl"]]
    noise = {n: rng.normal(size=ds["tas"].shape) for n in ("tas", "snd", "rlds")}
    before = np.roll(noise["tas"], 2, axis=1)
    plan = {"tas": 2.0 * noise["tas"], "snd": -1.5 * noise["snd"], "before": 1.5 * before}
    ds = ds.assign(
        tas=ds["tas"].copy(data=274.0 + 4.0 * noise["tas"]),
        snd=ds["snd"].copy(data=2.0 + 0.3 * noise["snd"]),
        rlds=ds["rlds"].copy(data=270.0 + 20.0 * noise["rlds"]),
        tsl=ds["tsl"].copy(data=np.repeat(sum(plan.values())[:, None] + 270.0, 4, axis=1)),
    )
    model = fit(
        ds,
        name,
        length=4,
        features=["tas", "snd", "rlds"],
        config=xp.TrainingConfig(epochs=25, target="raw"),
        options={"width" if name == "transformer" else "hidden": 32, "dropout": 0.0},
        jobs=1,
        progress=False,
    )
    out = explain(model, ds, windows=30, layers=[1])
    at = ds.indexes["time"].get_indexer(out["time"].values)
    band = [list(ds["band"].values).index(b) for b in out["band"].values]
    found = out["attribution"].isel(layer=0)
    for (feature, lag), truth in {
        ("tas", 0): "tas",
        ("snd", 0): "snd",
        ("tas", 2): "before",
    }.items():
        values = found.sel(feature=feature, lag=lag).values
        assert np.corrcoef(values, plan[truth][band, at])[0, 1] >= 0.99
    size = xp.importance(out, ["feature", "lag"], interval=None)["importance"]
    assert float(size.sel(feature="rlds").sum()) < 0.15 * float(size.sel(feature="tas", lag=0))


def test_of_ridge_they_are_exact(reference):
    ridge = xp.fit_baseline("ridge", reference)
    out = explain(ridge, reference, **SMALL)
    assert float(missing(out).max()) < 1e-4
    assert "month_sin" not in out["feature"].values
    scaled = ridge.state["weights"][0, 0, :-1].reshape(24, -1)[::-1]
    south = out.isel(window=[0, 1]).sel(layer=1)
    course = reference["snd"].sel(band="south", time=slice("2001", "2006"))
    std = float((course.groupby("time.month") - course.groupby("time.month").mean()).std())
    k = out["feature"].values.tolist().index("snd")
    a, b = (south.isel(window=w).sel(feature="snd", lag=0) for w in (0, 1))
    usual = course.groupby("time.month").mean()
    change = [float(w["feature_value"] - usual.sel(month=int(w["time"].dt.month))) for w in (a, b)]
    expected = scaled[0, k] * (change[1] - change[0]) / std
    assert float(b["attribution"] - a["attribution"]) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(DataError, match="is linear: its expected gradients are exact"):
        explain(ridge, reference, method="shap_gradient", **SMALL)
    with pytest.raises(DataError, match="no location embedding"):
        explain(ridge, reference, background_from="all", **SMALL)


def test_of_a_hybrid_the_column_is_a_feature():
    world = testing.experiment(locations=["cold", "warm"])
    hybrid = fit_hybrid(
        world,
        "gru",
        length=12,
        train=("2001", "2006"),
        config=xp.TrainingConfig(epochs=2),
        options={"hidden": 8},
        jobs=1,
        progress=False,
    )
    out = explain(hybrid, world, **SMALL)
    reference = xp.experiment.reference_of(world)
    said = hybrid.predict(reference).sel(band=out["band"], time=out["time"])
    np.testing.assert_allclose(out["prediction"], said.transpose("window", "layer"), atol=1e-4)
    assert float(missing(out).max()) <= 0.01
    grouped = xp.group_features(out)
    assert "column" in grouped["feature"].values
    share = xp.importance(grouped, interval=None)["share"]
    assert float(share.sel(feature="column")) > 0.5  # the column does most of the work


# ---------------------------------------------------------------- engines


def test_nodes_are_added_only_where_a_path_does_not_sum():
    import torch

    calls = []

    def step(rows):
        calls.append(len(rows))
        return torch.sigmoid(40.0 * (rows[:, :1] - 0.3)) + rows[:, 1:2]

    end, start = torch.tensor([[1.0, 2.0], [0.0, 2.0]]), torch.zeros(5, 2)
    found = expected_gradients(step, end, start, layers=np.array([0]), limit=np.array([1e-3]))
    sums = found.sum(axis=2)[:, 0]
    truth = (step(end) - step(start[:1])).numpy()[:, 0]
    np.testing.assert_allclose(sums, truth, atol=1e-3)
    np.testing.assert_allclose(found[:, 0, 1], 2.0, atol=1e-5)
    assert found[1, 0, 0] == 0.0
    # answers and gradients at the ends, two nodes on every path; the second row summed at once
    assert calls[:6] == [2, 5, 2, 5, 2 * 10, 2 * 5]
    assert calls[6] == 4 * 5  # twice as many, of which half are known


def test_two_nodes_are_exact_where_the_gradient_is_linear():
    import torch

    calls = []

    def square(rows):
        calls.append(len(rows))
        return (rows**2).cumsum(dim=1)[:, 1:]

    rng = np.random.default_rng(0)
    end, start = (torch.from_numpy(rng.normal(size=(n, 3))).float() for n in (4, 6))
    found = expected_gradients(
        square, end, start, layers=np.array([0, 1]), limit=np.array([1e-5, 1e-5])
    )
    truth = (end[:, None] ** 2 - start[None] ** 2).mean(dim=1).numpy()
    np.testing.assert_allclose(found[:, 1], truth, atol=1e-5)
    np.testing.assert_allclose(found[:, 0, :2], truth[:, :2], atol=1e-5)
    assert len(calls) == 5
    assert calls[-1] == 2 * 4 * 6


@quiet_threads()
def by_gauss(answer, end, start, *, paired=False):
    """Expected gradients by 32 Gauss-Legendre nodes on every path, one path at a time."""
    import torch

    at, weight = np.polynomial.legendre.leggauss(32)
    share = torch.from_numpy((at + 1) / 2).float()[:, None]
    out = []
    for k, goal in enumerate(end):
        origins = start[k : k + 1] if paired else start
        paths = []
        for origin in origins:
            points = (origin + share * (goal - origin)).requires_grad_()
            value = answer(points)
            slopes = [
                torch.autograd.grad(value[:, j].sum(), points, retain_graph=True)[0].numpy()
                for j in range(value.shape[1])
            ]
            mean = np.einsum("n,jni->ji", weight / 2, np.stack(slopes).astype("float64"))
            paths.append(mean * (goal - origin).numpy())
        out.append(np.mean(paths, axis=0))
    return np.stack(out)


@pytest.fixture(scope="module")
def rows(nets, reference):
    """Three explained and twelve background rows of every network."""
    rng = np.random.default_rng(0)

    def some(name):
        features = nets[name].features(reference)
        member = Member(nets[name].nets[0], (12, features.sizes["feature"]), 1, "cpu")
        draw = rng.normal(size=(15, 12 * features.sizes["feature"]))
        every = member.rows(1.5 * draw, rng.integers(0, 3, 15))
        return member, every[:3], every[3:]

    return some


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("paired", [False, True])
def test_they_converge_to_gauss_quadrature(rows, name, paired):
    member, end, start = rows(name)
    start = start[:3] if paired else start
    std = member.values(start).std(axis=0)
    exact = by_gauss(member, end, start, paired=paired)
    for tol, most in ((0.01, 0.02), (1e-3, 2e-3)):
        found = expected_gradients(
            member, end, start, layers=np.arange(4), limit=tol * std, paired=paired
        )
        error = np.sqrt(((found - exact) ** 2).mean() / (exact**2).mean())
        assert 0 < error <= most


@pytest.mark.parametrize("name", ["gru", "tcn"])
def test_the_numbers_do_not_depend_on_threads(rows, name, monkeypatch):
    import torch

    member, end, start = rows(name)
    monkeypatch.setattr("xpermafrost._attribution.BATCH", 32)
    before = torch.get_num_threads()
    one, two, five = (
        expected_gradients(
            member, end, start, layers=np.arange(4), limit=np.full(4, 1e-4), workers=k
        )
        for k in (1, 2, 5)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, five)
    assert torch.get_num_threads() == before


def test_a_member_leaves_the_network_as_it_is(nets, reference):
    net = nets["gru"].nets[0]
    before = {k: v.clone() for k, v in net.state_dict().items()}
    member = Member(net, (12, 5), 1, "cpu")
    rows = member.rows(np.ones((4, 60)), np.array([0, 1, 2, -1]))
    assert rows.shape == (4, 64)
    assert float(abs(rows[3, 60:]).max()) == 0.0  # a place that was not learned
    import torch

    with torch.no_grad():
        same = net(torch.ones(3, 12, 5), torch.arange(3))
    np.testing.assert_allclose(answers(member, rows)[:3], same, atol=1e-6)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.requires_grad for p in net.parameters())


def test_shap_is_a_cross_check(nets, reference):
    """shap's own explainers, unbiased but noisy, or exact for Shapley values."""
    one = {"windows": ("2008-06", "2008-06"), "background_size": 10, "layers": [1]}
    mine = reference.sel(band=["north"])
    usual = explain(nets["tcn"], mine, **one)["attribution"].values.ravel()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    with pytest.warns(PermafrostWarning, match="miss the prediction by more than tol=0.01"):
        drawn = explain(nets["tcn"], mine, method="shap_gradient", **one)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    assert np.corrcoef(usual, drawn["attribution"].values.ravel())[0, 1] > 0.95
    shapley = explain(nets["tcn"], mine, method="shap_permutation", **one)
    assert float(missing(shapley).max()) < 1e-3
    assert np.corrcoef(usual, shapley["attribution"].values.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_an_explainer_that_does_not_sum_is_refused(nets, reference, name):
    with pytest.raises(
        DataError, match=r"DeepExplainer does not sum on this network.*Type method="
    ):
        explain(nets[name], reference, method="shap_deep", **SMALL)


def test_a_sum_that_is_not_met_is_said(nets, reference, monkeypatch):
    monkeypatch.setattr("xpermafrost._attribution.NODES", (1, 1))
    with pytest.warns(PermafrostWarning, match="'residual' holds what is missing"):
        out = explain(nets["bilstm"], reference, tol=1e-5, **SMALL)
    assert float(missing(out).max()) > 1e-5


# ---------------------------------------------------------------- scenarios


def test_the_difference_between_scenarios_is_shared_out(world, world_gru):
    why = explain_scenarios(
        world_gru, world, scenario="rcp85", against="rcp26", period=("2016", "2017"), tol=1e-3
    )
    both = world.permafrost.project(world_gru, rcp=["2.6", "8.5"])
    at = {"band": why["band"], "time": why["time"]}
    for name, part in (("rcp85", "prediction"), ("rcp26", "base_value")):
        said = both.sel(scenario=name).sel(at).transpose("window", "layer")
        np.testing.assert_allclose(why[part], said, atol=1e-4)
    change = why["prediction"] - why["base_value"]
    total = why["attribution"].sum(("lag", "feature"))
    np.testing.assert_allclose(total, change, atol=1e-3 * float(why["prediction_std"].max()) + 1e-4)
    assert why.sizes["window"] == 3 * 24
    season = why["attribution"].sel(feature=["month_sin", "month_cos"])
    assert float(abs(season).max()) == 0.0  # the same months in both
    assert float(why["outside_training_range"].sel(feature="tas").max()) > 0
    forcing = xp.forcing.scenario_forcing(world, ["rcp26", "rcp85"], variables=["tas"])
    apart = (forcing["rcp85"]["tas"] - forcing["rcp26"]["tas"]).sel(at)
    found = why["feature_difference"].sel(feature="tas", lag=0)
    np.testing.assert_allclose(found, apart, atol=1e-3)


def test_it_turns_its_sign_with_the_scenarios(world, world_gru):
    span = {"period": ("2017", "2017"), "layers": [1], "tol": 1e-4, "adjustment": "none"}
    one = explain_scenarios(world_gru, world, scenario="rcp85", against="rcp26", **span)
    two = explain_scenarios(world_gru, world, scenario="rcp26", against="rcp85", **span)
    np.testing.assert_allclose(one["attribution"], -two["attribution"], atol=1e-3)


def test_ridge_differs_between_scenarios_too(world):
    ridge = xp.fit_baseline("ridge", world)
    why = explain_scenarios(
        ridge, world, scenario="rcp85", against="rcp26", period=("2016", "2017")
    )
    assert float(missing(why).max()) < 1e-4


def test_scenarios_that_cannot_be_compared_are_refused(world, world_gru):
    with pytest.raises(ScenarioError, match="does not differ from itself"):
        explain_scenarios(world_gru, world, scenario="rcp85", against="rcp85")
    with pytest.raises(ScenarioError, match="rcp45"):
        explain_scenarios(world_gru, world, scenario="rcp45", against="rcp26")
    with pytest.raises(DataError, match=r"no month of 2081 to 2100 is answered in both"):
        explain_scenarios(world_gru, world, scenario="rcp85", against="rcp26")


# ---------------------------------------------------------------- bad input


def test_other_data_than_the_model_was_fitted_for_are_refused(nets, reference):
    gru = nets["gru"]
    with pytest.raises(ModelMismatchError, match=r"the data also have \['elsewhere'\]"):
        explain(gru, reference.assign_coords(band=["south", "middle", "elsewhere"]))
    with pytest.raises(ModelMismatchError, match="Reduce or sample them"):
        explain(gru, testing.gridded())
    with pytest.raises(MissingVariableError, match=r"permafrost.standardize\(\) first"):
        explain(gru, reference.rename(tas="t2m"))
    with pytest.raises(ModelMismatchError, match="the data also have"):
        explain(gru, reference, background=reference.assign_coords(band=["a", "b", "c"]))


def test_what_is_no_model_is_refused(reference):
    with pytest.raises(DataError, match=r"got str. Fit first: gru = ds.permafrost.fit\('gru'\)"):
        explain("gru", reference)
    trend = xp.fit_baseline("trend", reference)
    joined = SimpleNamespace(model=None)  # as a model with a correction on top has
    with pytest.raises(DataError, match=r"Explain the network in it: explain\(m.model, ds\)"):
        explain(joined, reference)
    with pytest.raises(DataError, match=r"no attributions for the baseline 'trend'.*'ridge'"):
        explain(trend, reference)


def test_a_background_of_one_is_refused(nets, reference):
    with pytest.raises(DataError, match=r"1 window\(s\) is no mean. Type background_size=100"):
        explain(nets["gru"], reference, background_size=1)
    later = reference.sel(time=slice("2007", "2008"))
    with pytest.raises(DataError, match=r"have 0 at 'south' in the training months 2001-01 to"):
        explain(nets["gru"], later)
    out = explain(nets["gru"], later, background=reference, **SMALL)
    assert float(missing(out).max()) <= 0.01


def test_windows_with_gaps_are_left_out_or_refused(nets, reference, why):
    gap = reference.copy(deep=True)
    gap["snd"][:, 60:62] = np.nan
    out = explain(nets["tcn"], gap, windows="all", background_size=4)
    assert out.sizes["window"] == 3 * (96 - 11 - 13)
    assert bool(out["attribution"].notnull().all())
    gap["snd"][:, ::6] = np.nan
    with pytest.raises(DataError, match=r"\['snd'\] are missing between 2001-01-01.*Fill the gaps"):
        explain(nets["gru"], gap)
    with pytest.raises(DataError, match=r"no whole window has its target in windows=\('2001-02'"):
        explain(nets["gru"], reference, windows=("2001-02", "2001-05"))


def test_words_that_are_not_known_are_answered(nets, reference):
    with pytest.raises(UnknownNameError, match="did you mean 'shap_gradient'"):
        explain(nets["gru"], reference, method="shap_gradients")
    with pytest.raises(UnknownNameError, match="background_from"):
        explain(nets["gru"], reference, background_from="everywhere")
    with pytest.raises(UnknownNameError, match="windows"):
        explain(nets["gru"], reference, windows="every")
    with pytest.raises(DataError, match="windows=0 explains nothing"):
        explain(nets["gru"], reference, windows=0)
    with pytest.raises(DataError, match=r"layers=\[7\] are not layers of the model"):
        explain(nets["gru"], reference, layers=[7])


def test_a_network_without_embedding_is_explained_at_its_location(reference, quick):
    model = fit(reference, Own, length=6, config=quick, jobs=1, progress=False)
    assert float(missing(explain(model, reference, **SMALL)).max()) <= 0.01
    with pytest.raises(DataError, match=r"'own' has no location embedding.*Type background_from"):
        explain(model, reference, background_from="all", **SMALL)
