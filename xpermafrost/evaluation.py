"""Evaluation: scores on years no model has seen, beside every baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ._checks import choose, marks_of, step_name, without_attrs
from ._protocols import PROTOCOLS as PROTOCOLS
from ._protocols import Protocol as Protocol
from ._protocols import (
    baseline_features,
    fit_predictors,
    refuse_leaks,
    scored_span,
    time_step,
    trained_on,
    wanted_scenarios,
    window_spec,
)
from ._protocols import choose_baselines as _baselines
from ._scoreboard import scoreboard as scoreboard
from .climatology import climatology, usual
from .errors import DataError
from .experiment import reference_of
from .fitted import Predictor
from .hybrid import Fitted
from .perfect_model import perfect_model
from .preparation import Period, training_period
from .projection import projected_changes
from .schema import FREEZING_POINT, LAYER, TIME, location_dims, name_axis
from .training import TrainingConfig


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

    ``protocol="perfect-model"`` asks what a model makes of a climate that it has not seen. All
    learn a climate model's own historical run (its last years, as many as the reference has, or
    ``train``), forcing and soil temperature, and project its scenarios without any adjustment;
    scored is the change in ``test``, by default 2081-2100, against its own soil temperature.

    Parameters
    ----------
    ds : Dataset
        Canonical with ``tsl``, or an experiment Dataset; for the perfect-model test one with
        ``tsl_esm``, or a mapping of a climate model's runs, see :func:`perfect_model_experiment`.
    models : list of str, FittedModel, HybridModel or PersistenceModel, optional
        Networks to fit, ``"column+gru"`` for a hybrid, ``"gru+persistence"`` with its last
        known errors, or what is fitted already; by default the protocol's.
    baselines : "all", list of str
        See :mod:`xpermafrost.baselines`; an empty list for none.
    protocol : {"default", "rahaman", "perfect-model"}
        Where the other choices come from when they are not given.
    train, test : tuple of str, optional
        Years, as ``("2001", "2018")``; by default the last fifth of the years is the test.
    step, length, horizon, features, members, seed, config, device, jobs, progress
        As in :func:`xpermafrost.fit`.
    changes : "all", list of str, optional
        Scenarios for which the projected change 2081-2100 is given for every model and
        baseline, beside the truth where the Dataset is simulated. For the perfect-model test
        the scenarios that are scored, by default all.
    bootstrap : int
        Resamples of whole years for the 95 % intervals; 0 for none. The perfect-model test has
        no intervals: its members show how far seeds agree.

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

        For the perfect-model test: ``change``, ``change_truth``, ``change_error`` [K] and
        ``change_relative_error`` ``(model, scenario, location..., layer)``; over all locations
        ``change_layer``, ``change_bias_layer``, ``change_rmse_layer`` [K] and, over the mean true
        change, ``change_relative_bias_layer`` and ``change_relative_error_layer`` ``(model,
        scenario, layer)``; ``level_change``, ``level_change_truth`` and ``level_change_error``
        by ``level``, the 20 years in which the scenario's air over the locations first is 1, 2,
        3, ... K warmer than the record; ``rmse`` of the months; ``member_change`` and
        ``member_spread``, the largest departure of a member from their mean over the true change.

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
    if plan.truth == "esm":
        if step not in (None, "month"):
            raise DataError(f"protocol={protocol!r} is monthly, as scenarios are; got {step!r}.")
        return perfect_model(
            ds,
            models,
            baselines=baselines,
            train=train,
            test=test,
            scenarios="all" if changes is None else changes,
            length=length,
            horizon=horizon,
            features=features,
            members=members,
            seed=seed,
            config=config,
            device=device,
            jobs=jobs,
            progress=progress,
        )
    if models is None:
        models = plan.models
    models = [models] if isinstance(models, str | Fitted) else list(models)
    step = time_step(models, step)
    reference = reference_of(ds, every=step)
    period = training_period(reference, train or plan.train or trained_on(models), step=step)
    test = test or plan.test
    span = scored_span(reference, period, test, step)
    spec, left_out = window_spec(reference, plan, models, step, length, horizon, features)
    wanted = [] if changes is None else wanted_scenarios(ds, changes)
    chosen, without = _baselines(baselines, ds, step, spec.horizon, wanted)
    refuse_leaks([m for m in models if isinstance(m, Fitted)], span)
    years = (step_name(period[0], step), step_name(period[1], step))
    predictors, same = fit_predictors(
        reference,
        models,
        chosen,
        spec,
        of_baselines=baseline_features(
            ds, reference, spec, wanted, asked=bool(features or plan.features)
        ),
        years=years,
        members=members,
        seed=seed,
        config=config or plan.config,
        device=device,
        jobs=jobs,
        progress=progress,
    )
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
        **marks_of(ds),
    )


def score(
    ds: xr.Dataset,
    predictors: Sequence[Predictor],
    *,
    test: tuple[np.datetime64, np.datetime64],
    bootstrap: int = 500,
    seed: int = 0,
    course: xr.DataArray | None = None,
) -> xr.Dataset:
    """Scores of fitted predictors over the time of ``test``; see :func:`evaluate`.

    Skill is measured against ``course``, a :func:`~xpermafrost.climatology.climatology` [K]; by
    default that of the time before the test.
    """
    step = predictors[0].spec.step
    span = {TIME: slice(*test)}
    truth = (ds["tsl"].sel(span).compute().astype("float64") - FREEZING_POINT).drop_attrs(
        deep=False
    )
    names = [p.name for p in predictors]
    if len(set(names)) != len(names):
        names = [f"{name}_{k}" if names.count(name) > 1 else name for k, name in enumerate(names)]
    predicted = xr.concat(
        [
            p.predict(ds).sel(span).compute().astype("float64").pipe(without_attrs)
            for p in predictors
        ],
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
    references = _reference_errors(ds, truth, test, step, course)
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
    ds: xr.Dataset,
    truth: xr.DataArray,
    test: tuple[np.datetime64, np.datetime64],
    step: str,
    course: xr.DataArray | None,
) -> Mapping[str, xr.DataArray]:
    """Squared errors that skills are measured against: past climatology and the step before."""
    target = ds["tsl"].drop_attrs(deep=False).compute().astype("float64") - FREEZING_POINT
    if course is None:
        before = target.sel({TIME: target[TIME] < test[0]})
        floor = usual(climatology(before, step=step), truth[TIME])
    else:
        floor = usual(course.pipe(without_attrs), truth[TIME]) - FREEZING_POINT
    last = target.shift({TIME: 1}).sel({TIME: truth[TIME]})
    return {"climatology": (floor - truth) ** 2, "persistence": (last - truth) ** 2}


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
