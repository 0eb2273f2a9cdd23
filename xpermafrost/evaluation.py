"""Evaluation: scores on years no model has seen, beside every baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from ._checks import choose, step_name
from ._scoreboard import scoreboard as scoreboard
from .baselines import BASELINES, NEEDS, fit_baseline
from .climatology import climatology, usual
from .errors import DataError, LeakageError, MissingVariableError
from .experiment import reference_of, scenarios_of
from .features import RAHAMAN_FEATURES, default_features, needed_variables
from .fitted import Predictor
from .hybrid import Fitted, architecture, fit_named
from .models import MODELS
from .preparation import Period, training_period
from .projection import projected_changes, scenario_has
from .schema import FREEZING_POINT, LAYER, TIME, location_dims, name_axis
from .training import TrainingConfig
from .windows import WindowSpec


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Every choice of an evaluation in one word.

    Attributes mirror the parameters of :func:`evaluate`; ``features`` that the Dataset lacks
    are left out and named in the result's attributes.
    """

    models: tuple[str, ...]
    length: int | None
    horizon: int
    train: Period | None = None
    test: Period | None = None
    features: tuple[str, ...] | None = None
    adjustment: str = "qdm"
    config: TrainingConfig = field(default_factory=TrainingConfig)


#: Protocols by name; ``default`` takes the window of the time step. ``rahaman`` is the first study:
#: 24 months, the next month's temperature, 2001-2018 against 2019-2023, its features and z, plain
#: quantile mapping, 50 epochs, five nets.
PROTOCOLS: dict[str, Protocol] = {
    "default": Protocol(models=("gru",), length=None, horizon=0),
    "rahaman": Protocol(
        models=("tcn", "transformer", "conv1dlstm", "gru", "bilstm"),
        length=24,
        horizon=1,
        train=("2001", "2018"),
        test=("2019", "2023"),
        features=RAHAMAN_FEATURES,
        adjustment="eqm",
        config=TrainingConfig(epochs=50, target="raw"),
    ),
}


def evaluate(
    ds: xr.Dataset,
    models: Sequence[str | Fitted] | str | Fitted | None = None,
    *,
    baselines: Sequence[str] | str = "all",
    protocol: str = "default",
    train: Period | None = None,
    test: Period | None = None,
    step: str | None = None,
    length: int | None = None,
    horizon: int | None = None,
    features: Sequence[str] | None = None,
    members: int = 1,
    seed: int = 0,
    config: TrainingConfig | None = None,
    changes: Sequence[str] | str | None = None,
    bootstrap: int = 500,
    device: str = "cpu",
    jobs: int | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Score networks and baselines on the test years.

    Scores of all models are over the same months (or days): those where every model and the target
    have a value. Splits are by time only.

    Parameters
    ----------
    ds : Dataset
        Canonical with ``tsl``, or an experiment Dataset.
    models : list of str, FittedModel or HybridModel, optional
        Networks to fit, ``"column+gru"`` for a hybrid, or what is fitted already; by
        default the protocol's.
    baselines : "all", list of str
        See :mod:`xpermafrost.baselines`; an empty list for none.
    protocol : {"default", "rahaman"}
        Where the other choices come from when they are not given.
    train, test : tuple of str, optional
        Years, as ``("2001", "2018")``; by default the last fifth of the years is the test.
    step, length, horizon, features, members, seed, config, device, jobs, progress
        As in :func:`xpermafrost.fit`.
    changes : "all", list of str, optional
        Scenarios for which the projected change 2081-2100 is given for every model and
        baseline, beside the truth where the Dataset is simulated.
    bootstrap : int
        Resamples of whole years for the 95 % intervals; 0 for none.

    Returns
    -------
    Dataset
        ``rmse``, ``mae``, ``r2``, ``bias``, ``anomaly_skill`` (1 - MSE / MSE of climatology) and
        ``rmse_reduction`` (1 - RMSE / RMSE of the last step's persistence), each
        ``(model, location..., layer)``; pooled over test months and locations ``*_layer (model,
        layer)``, and over layers as well ``*_pooled (model)``; ``rmse_pooled_low/high``;
        ``rmse_difference (model, baseline)`` with ``_low`` and ``_high``: negative throughout
        the interval means that the model beats the baseline; ``change (model, scenario,
        location..., layer)``, ``change_truth``.

    Raises
    ------
    LeakageError
        If test and training years overlap, or a random split is asked for.
    UnknownNameError, DataError

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> scores = evaluate(canonical(years=8), [], baselines=["climatology", "ridge"], bootstrap=0)
    >>> pooled = scores["rmse_pooled"]
    >>> bool(pooled.sel(model="ridge") < pooled.sel(model="climatology"))
    True
    """
    plan = PROTOCOLS[choose("protocol", protocol, PROTOCOLS)]
    if models is None:
        models = plan.models
    models = [models] if isinstance(models, str | Fitted) else list(models)
    step = _step(models, step)
    reference = reference_of(ds, every=step)
    period = training_period(reference, train or plan.train or _trained_on(models), step=step)
    test = test or plan.test
    span = _test_span(reference, period, test, step)
    spec, left_out = _spec(reference, plan, models, step, length, horizon, features)
    wanted = [] if changes is None else _scenarios(ds, changes)
    chosen, without = _baselines(baselines, ds, step, spec.horizon, wanted)
    fitted = [m for m in models if isinstance(m, Fitted)]
    _no_leak(fitted, span)
    years = (step_name(period[0], step), step_name(period[1], step))
    names = [m for m in models if isinstance(m, str)]
    if names:
        fitted += fit_named(
            reference,
            names,
            train=years,
            step=step,
            length=spec.length,
            horizon=spec.horizon,
            features=spec.features or None,
            members=members,
            seed=seed,
            config=config or plan.config,
            device=device,
            jobs=jobs,
            progress=progress,
        )
    same = replace(
        spec,
        features=spec.features
        or (fitted[0].spec.features if fitted else ())
        or default_features(reference, step=step),
    )
    predictors: list[Predictor] = [
        *fitted,
        *(fit_baseline(name, reference, train=years, spec=same) for name in chosen),
    ]
    if not predictors:
        raise DataError("nothing to evaluate: pass models, baselines, or both.")
    scores = score(reference, predictors, test=span, bootstrap=bootstrap, seed=seed)
    if wanted:
        scores = scores.assign(
            projected_changes(ds, predictors, scenarios=wanted, method=plan.adjustment).data_vars
        )
    return scores.assign_attrs(
        protocol=protocol,
        training_period=f"{years[0]} to {years[1]}",
        features=", ".join(same.features),
        window=f"{same.length} {step}s, horizon {same.horizon}",
        features_not_in_the_data=", ".join(left_out) or "none",
        baselines_left_out=without or "none",
        **({"simulated": ds.attrs["simulated"]} if "simulated" in ds.attrs else {}),
    )


def _step(models: Sequence[str | Fitted], step: str | None) -> str:
    """The time step of what is fitted already, or the one asked for."""
    found = {model.spec.step for model in models if isinstance(model, Fitted)}
    asked = found | ({step} if step else set())
    if len(asked) > 1:
        raise DataError(
            f"models of months and of days are never mixed in one score; found {sorted(asked)}. "
            "Evaluate them apart."
        )
    return asked.pop() if asked else "month"


def _trained_on(models: Sequence[str | Fitted]) -> Period | None:
    """Training period of what is fitted already, so that baselines see the same months."""
    for model in models:
        if isinstance(model, Fitted):
            return str(model.info["train_start"]), str(model.info["train_end"])
    return None


#: Locations up to which ``baselines="all"`` calibrates a soil column at each.
COLUMN_PLACES = 64


def _scenarios(ds: xr.Dataset, changes: Sequence[str] | str) -> list[str]:
    wanted = scenarios_of(ds) if changes == "all" else changes
    return [wanted] if isinstance(wanted, str) else list(wanted)


def _baselines(
    names: Sequence[str] | str, ds: xr.Dataset, step: str, horizon: int, scenarios: list[str]
) -> tuple[list[str], str]:
    """Names of the baselines; for ``"all"``, which of them are left out and why."""
    if names != "all":
        asked = [names] if isinstance(names, str) else names
        return [choose("baseline", n, BASELINES) for n in asked], ""
    places = int(np.prod([ds.sizes[d] for d in location_dims(ds["tsl"])]))
    left: dict[str, str] = {}
    for name, needs in NEEDS.items():
        if step != "month" and name != "column":
            left[name] = "it takes months"
        elif horizon:
            left[name] = "it reads the time that it answers, horizon 1 does not"
        elif name == "column" and places > COLUMN_PLACES:
            left[name] = f"{places} locations; ask for it by name to calibrate each"
        else:
            try:
                scenario_has(ds, scenarios, list(needs(ds)))
            except MissingVariableError:
                left[name] = "variables that it needs are not there"
    kept = [n for n in BASELINES if n not in left]
    return kept, "; ".join(f"{name} ({why})" for name, why in left.items())


def _spec(
    ds: xr.Dataset,
    plan: Protocol,
    models: Sequence[str | Fitted],
    step: str,
    length: int | None,
    horizon: int | None,
    features: Sequence[str] | None,
) -> tuple[WindowSpec, list[str]]:
    for name in models:
        if isinstance(name, str):
            choose("model", architecture(name), MODELS)
    ready = [m for m in models if isinstance(m, Fitted)]
    if ready:  # what is fitted already sets the window that the others get
        first = ready[0].spec
        odd = [m.name for m in ready if m.spec.horizon != first.horizon]
        if odd or (horizon is not None and horizon != first.horizon):
            raise DataError(
                f"models of horizon 0 and 1 are never mixed in one score; {odd or horizon} differ "
                f"from {ready[0].name!r} (horizon {first.horizon}). Evaluate them apart."
            )
        if features is not None or length not in (None, first.length):
            raise DataError(
                f"{ready[0].name!r} is fitted already, with a window of {first.length} {step}s and "
                f"the features {list(first.features)}; length= and features= are for models that "
                "are fitted here. Leave them out."
            )
        return first, []
    wanted = tuple(features or plan.features or ())
    lacking = [n for n in wanted if not set(needed_variables([n])) <= set(ds.data_vars)]
    if features and lacking:
        raise DataError(f"the features {lacking} are not in the Dataset.")
    spec = WindowSpec(
        step=step,
        length=length or plan.length,  # type: ignore[arg-type]
        horizon=plan.horizon if horizon is None else horizon,
        features=tuple(n for n in wanted if n not in lacking),
    )
    return spec, lacking


def _test_span(
    ds: xr.Dataset, training: tuple[np.datetime64, ...], test: Period | None, step: str
) -> tuple[np.datetime64, np.datetime64]:
    time = ds.indexes[TIME]
    if isinstance(test, str):
        raise LeakageError(
            f"a test period is a pair of years, later than the training years; got {test!r}. A "
            f"random split of a series is refused: neighbouring {step}s are alike."
        )
    inside = time[time > training[1]] if test is None else time[time.slice_indexer(*test)]
    if not inside.size:
        raise DataError(
            f"no test {step}: training ends {step_name(training[1], step)}, the data end "
            f"{step_name(time[-1], step)}. Train on fewer years: train=('2001', '2018')."
        )
    start, end = inside[0].to_datetime64(), inside[-1].to_datetime64()
    if start <= training[1] and end >= training[0]:
        raise LeakageError(
            f"test {step}s {step_name(start, step)} to {step_name(end, step)} overlap the "
            f"training {step}s {step_name(training[0], step)} to {step_name(training[1], step)}; "
            "a score there is no skill. "
            "Choose test years after the training years."
        )
    return start, end


def _no_leak(fitted: Sequence[Fitted], span: tuple[np.datetime64, np.datetime64]) -> None:
    for model in fitted:
        start, end = (np.datetime64(str(model.info[k])) for k in ("train_start", "train_end"))
        first, last = (stamp.astype(start.dtype) for stamp in span)  # months or days
        if first <= end and last >= start:
            raise LeakageError(
                f"{model.name!r} was trained on {start} to {end}; a score from "
                f"{first} on would be on {model.spec.step}s it has seen. Fit with "
                "train=('...', '...') that ends before the test."
            )


def score(
    ds: xr.Dataset,
    predictors: Sequence[Predictor],
    *,
    test: tuple[np.datetime64, np.datetime64],
    bootstrap: int = 500,
    seed: int = 0,
) -> xr.Dataset:
    """Scores of fitted predictors over the time of ``test``; see :func:`evaluate`."""
    step = predictors[0].spec.step
    span = {TIME: slice(*test)}
    truth = (ds["tsl"].sel(span).compute().astype("float64") - FREEZING_POINT).drop_attrs(
        deep=False
    )
    names = [p.name for p in predictors]
    if len(set(names)) != len(names):
        names = [f"{name}_{k}" if names.count(name) > 1 else name for k, name in enumerate(names)]
    predicted = xr.concat(
        [p.predict(ds).sel(span).astype("float64").drop_attrs() for p in predictors],
        dim=name_axis("model", names),
        coords="minimal",
        compat="override",
        join="exact",
    )
    truth = truth.where(predicted.notnull().all("model"))
    if not bool(truth.notnull().any()):
        empty = [n for n, p in zip(names, predicted, strict=True) if not bool(p.notnull().any())]
        why = f" {empty} have none at all." if empty else ""
        raise DataError(f"no test {step} where the target and every model have a value.{why}")
    error = (predicted - truth).transpose("model", *truth.dims)
    references = _reference_errors(ds, truth, test, step)
    places = location_dims(truth)
    out = xr.Dataset()
    for suffix, dims in (
        ("", (TIME,)),
        ("_layer", (TIME, *places)),
        ("_pooled", (TIME, *places, LAYER)),
    ):
        out = out.assign(_metrics(error, truth, references, dims, suffix).data_vars)
    out["n"] = truth.notnull().sum(TIME)
    if bootstrap:
        out = out.assign(_intervals(error, bootstrap, seed).data_vars)
    return out.assign_attrs(
        test_period=f"{step_name(test[0], step)} to {step_name(test[1], step)}",
        averaging=f"per location and layer over the test {step}s; *_layer pools {step}s and "
        f"locations, *_pooled {step}s, locations and layers, into one score (no mean of scores)",
        common_months="scored where the target and every model have a value",
    )


def _reference_errors(
    ds: xr.Dataset, truth: xr.DataArray, test: tuple[np.datetime64, np.datetime64], step: str
) -> Mapping[str, xr.DataArray]:
    """Squared errors that skills are measured against: past climatology and the step before."""
    target = ds["tsl"].drop_attrs(deep=False).compute().astype("float64") - FREEZING_POINT
    before = target.sel({TIME: target[TIME] < test[0]})
    course = usual(climatology(before, step=step), truth[TIME])
    last = target.shift({TIME: 1}).sel({TIME: truth[TIME]})
    return {"climatology": (course - truth) ** 2, "persistence": (last - truth) ** 2}


def _metrics(
    error: xr.DataArray,
    truth: xr.DataArray,
    references: Mapping[str, xr.DataArray],
    dims: tuple[Any, ...],
    suffix: str,
) -> xr.Dataset:
    square = error**2
    mse = square.mean(dims)
    spread = ((truth - truth.mean(dims)) ** 2).mean(dims)
    climatology = references["climatology"].mean(dims)
    known = references["persistence"].notnull()
    persistence = references["persistence"].mean(dims)
    table: dict[str, tuple[xr.DataArray, str, str]] = {
        "rmse": (mse**0.5, "K", "root-mean-square error"),
        "mae": (abs(error).mean(dims), "K", "mean absolute error"),
        "bias": (error.mean(dims), "K", "mean error, predicted minus observed"),
        "r2": (1 - mse / spread, "1", "coefficient of determination"),
        "anomaly_skill": (1 - mse / climatology, "1", "1 - MSE / MSE of climatology"),
        "rmse_reduction": (
            1 - (square.where(known).mean(dims) / persistence) ** 0.5,
            "1",
            "1 - RMSE / RMSE of persistence from the step before",
        ),
    }
    return xr.Dataset(
        {
            f"{name}{suffix}": da.assign_attrs(units=units, long_name=label)
            for name, (da, units, label) in table.items()
        }
    )


def _intervals(error: xr.DataArray, bootstrap: int, seed: int) -> xr.Dataset:
    """95 % intervals of pooled RMSE and of its differences, resampling whole years."""
    others = [d for d in error.dims if d not in ("model", TIME)]
    year = error[TIME].dt.year
    total = (error**2).sum(others).groupby(year).sum(TIME).transpose("model", "year").values
    count = error.isel(model=0).notnull().sum(others).groupby(year).sum(TIME).values
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, count.size, (bootstrap, count.size))
    rmse = np.sqrt(total[:, picks].sum(axis=2) / count[picks].sum(axis=1))
    paired = rmse[:, None, :] - rmse[None, :, :]
    low, high = np.quantile(rmse, (0.025, 0.975), axis=1)
    d_low, d_high = np.quantile(paired, (0.025, 0.975), axis=2)
    whole = np.sqrt(total.sum(axis=1) / count.sum())
    names = error["model"].values
    note = {"units": "K", "comment": f"95 %, {bootstrap} resamples of {count.size} whole years"}
    both = ("model", "baseline")
    return xr.Dataset(
        {
            "rmse_pooled_low": ("model", low, note),
            "rmse_pooled_high": ("model", high, note),
            "rmse_difference": (both, whole[:, None] - whole[None, :], {"units": "K"}),
            "rmse_difference_low": (both, d_low, note),
            "rmse_difference_high": (both, d_high, note),
        },
        coords={"model": names, "baseline": names},
    )
