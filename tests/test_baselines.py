"""Baselines against plain numpy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xpermafrost.baselines import BASELINES, fit_baseline
from xpermafrost.errors import DataError, MissingVariableError, ModelMismatchError, UnknownNameError
from xpermafrost.windows import WindowSpec

TRAIN = ("2001", "2006")
N = 72
SHORT = WindowSpec(length=3, features=("tas", "month_cos"))


def predict(name, ds, *, train=TRAIN, on=None, spec=SHORT):
    fitted = fit_baseline(name, ds, train=train, spec=spec)
    return fitted.predict(ds if on is None else on)


def soil(ds):
    return ds["tsl"].values.astype("float64") - 273.15


@pytest.mark.parametrize("name", list(BASELINES))
def test_labels_are_those_of_a_network(ds, name, unchanged):
    with unchanged(ds):
        out = predict(name, ds)
    assert out.dims == ("band", "layer", "time")
    assert out.name == "soil_temperature"
    assert out.attrs["units"] == "degree_Celsius"
    assert out.attrs["model"] == name
    np.testing.assert_allclose(out["depth"], ds["depth"])
    assert out.isel(time=slice(24, None)).notnull().all()


def normal(values):
    return np.stack([values[..., m:N:12].mean(-1) for m in range(12)], axis=-1)


def test_climatology(ds):
    values = soil(ds)
    expected = normal(values)[..., np.arange(96) % 12]
    np.testing.assert_allclose(predict("climatology", ds), expected, atol=1e-4)


def test_trend(ds):
    """Least squares through the anomalies of the training months, carried on."""
    ds["tsl"] = (
        (ds["tsl"] + np.arange(96) * 0.02).transpose(*ds["tsl"].dims).assign_attrs(units="K")
    )
    values = soil(ds)
    base = normal(values)[..., np.arange(96) % 12]
    year = 2001 + (np.arange(96) + 0.5) / 12
    anomaly = (values - base)[..., :N]
    slope = np.polyfit(year[:N], anomaly.reshape(-1, N).T, 1)[0].reshape(3, 4)
    expected = base + slope[..., None] * (year - year[:N].mean())
    np.testing.assert_allclose(predict("trend", ds), expected, atol=1e-3)


@pytest.mark.parametrize(("name", "lag"), [("persistence", 1), ("persistence_year", 12)])
def test_persistence(ds, name, lag):
    out = predict(name, ds)
    assert out.isel(time=slice(0, lag)).isnull().all()
    np.testing.assert_allclose(out.values[..., lag:], soil(ds)[..., :-lag], atol=1e-4)


def ahead(ds, known=80):
    """The record ends after ``known`` months; the forcing goes on."""
    tsl = ds["tsl"].where(ds["time"] < ds["time"][known])
    return ds.assign(tsl=tsl.transpose(*ds["tsl"].dims).assign_attrs(units="K"))


def test_beyond_the_record_a_month_is_carried_once_and_a_year_again_and_again(ds):
    short, values = ahead(ds), soil(ds)
    month = predict("persistence", short).values
    np.testing.assert_allclose(month[..., 80], values[..., 79], atol=1e-4)
    assert np.isnan(month[..., 81:]).all()  # July is no forecast of December
    year = predict("persistence_year", short).values
    np.testing.assert_allclose(year[..., 80:92], values[..., 68:80], atol=1e-4)
    np.testing.assert_allclose(year[..., 92:], values[..., 68:72], atol=1e-4)  # months fit


def test_damped_persistence(ds):
    values = soil(ds)
    base = normal(values)[..., np.arange(96) % 12]
    anomaly = values - base
    one, two = anomaly[..., : N - 1], anomaly[..., 1:N]
    damping = np.clip((one * two).sum(-1) / (one**2).sum(-1), 0, 1)[..., None]
    out = predict("damped_persistence", ds)
    np.testing.assert_allclose(
        out.values[..., 1:], base[..., 1:] + damping * anomaly[..., :-1], atol=1e-3
    )
    later = predict("damped_persistence", ahead(ds)).values[..., 80:]
    steps = np.arange(1, 17)
    np.testing.assert_allclose(
        later, base[..., 80:] + damping**steps * anomaly[..., 79:80], atol=1e-3
    )


@pytest.mark.parametrize("horizon", [0, 1])
def test_ridge_is_scikit_learns(ds, horizon):
    """Penalised slopes on the lagged anomalies of one place and layer, intercept free."""
    from sklearn.linear_model import Ridge

    spec = WindowSpec(length=6, horizon=horizon, features=("tas", "snd", "month_sin"))
    fitted = fit_baseline("ridge", ds, train=TRAIN, spec=spec)
    place, layer = 1, 2
    columns = []
    for name in ("tas", "snd"):
        raw = ds[name].values[place].astype("float64")
        anomaly = raw - normal(raw)[np.arange(96) % 12]
        columns.append(anomaly / anomaly[:N].std())
    both = np.stack(columns, axis=1)
    target = soil(ds)[place, layer]
    base = normal(target)[np.arange(96) % 12]
    ends = np.arange(5 + horizon, 96)
    x = np.stack([both[e - horizon - 5 : e - horizon + 1].ravel() for e in ends])
    inside = ends < N
    alpha = fitted.state["penalty"][place, layer]
    model = Ridge(alpha=alpha).fit(x[inside], (target - base)[ends[inside]])
    out = fitted.predict(ds).values[place, layer]
    np.testing.assert_allclose(out[ends], model.predict(x) + base[ends], atol=2e-3)
    assert np.isnan(out[: 5 + horizon]).all()


def test_boosting_is_scikit_learns(ds):
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    spec = WindowSpec(length=3, features=("tas",))
    tas, values = ds["tas"].values, ds["tsl"].values[:, 1]
    rows = [(p, e) for p in range(3) for e in range(2, 96)]
    x = np.array([[*tas[p, e - 2 : e + 1], p] for p, e in rows], dtype="float64")
    y = np.array([values[p, e] for p, e in rows])
    use = np.array([e < N for _, e in rows])
    options = {"max_iter": 200, "learning_rate": 0.07, "min_samples_leaf": 15}
    with threadpool_limits(1, user_api="openmp"):
        model = HistGradientBoostingRegressor(
            l2_regularization=1.0, early_stopping=False, random_state=0, **options
        ).fit(x[use], y[use])
    out = predict("boosting", ds, spec=spec).values[:, 1, 2:].ravel()
    np.testing.assert_allclose(out, model.predict(x) - 273.15, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["climatology", "trend", "damped_persistence", "ridge", "boosting"]
)
def test_nothing_after_the_training_years_is_learned(ds, name):
    """Fitted with ruined test years, predictions of training months are the same to the bit."""
    ruined = ds.copy(deep=True)
    late = (ds["time"] > np.datetime64("2006-12-15")).values
    for variable in ("tas", "snd", "tsl"):
        ruined[variable].values[..., late] *= 1.3
    span = {"time": slice("2001", "2006")}
    one = predict(name, ds).sel(span)
    xr.testing.assert_identical(predict(name, ruined, on=ds).sel(span), one)


@pytest.mark.parametrize("name", list(BASELINES))
@pytest.mark.parametrize("order", [["north", "south", "middle"], ["middle"]])
def test_places_are_found_by_label(ds, name, order):
    features = ("tas", "snd:memory6")
    fitted = fit_baseline(name, ds, train=TRAIN, spec=WindowSpec(length=3, features=features))
    # columns of a block share their iterations: 5 mK, as simulate_soil says
    tolerance = 5e-3 if name == "column" else 1e-4
    xr.testing.assert_allclose(
        fitted.predict(ds.sel(band=order)), fitted.predict(ds).sel(band=order), atol=tolerance
    )


@pytest.mark.parametrize(
    "name", ["climatology", "trend", "damped_persistence", "ridge", "boosting"]
)
def test_other_places_are_refused(ds, name):
    fitted = fit_baseline(name, ds, train=TRAIN, spec=SHORT)
    other = ds.assign_coords(band=["south", "middle", "elsewhere"])
    with pytest.raises(ModelMismatchError, match=r"the baseline knows the .*elsewhere"):
        fitted.predict(other)


def test_a_layer_without_observations_has_no_answer(ds):
    ds["tsl"][:, 3] = np.nan
    for name in BASELINES:
        out = predict(name, ds).isel(time=slice(24, None))
        assert out.isel(layer=slice(0, 3)).notnull().all(), name
        if name not in ("ridge", "column"):  # physics answers at every depth
            assert out.isel(layer=3).isnull().all(), name


def test_names_and_needs(ds):
    with pytest.raises(UnknownNameError, match="unknown baseline 'climtology'; did you mean"):
        fit_baseline("climtology", ds)
    with pytest.raises(MissingVariableError, match="a baseline needs the variables"):
        fit_baseline("climatology", ds.drop_vars("tsl"))
    fitted = fit_baseline("persistence", ds, train=TRAIN)
    with pytest.raises(MissingVariableError, match="persistence needs the variables"):
        fitted.predict(ds.drop_vars("tsl"))
    with pytest.raises(DataError, match="missing throughout"):
        fitted.predict(ds.assign(tsl=ds["tsl"] * np.nan))


def test_an_experiment_gives_its_reference(world, ds):
    xr.testing.assert_allclose(
        fit_baseline("climatology", world).predict(ds), fit_baseline("climatology", ds).predict(ds)
    )
