"""Projection: adjusted scenario forcing that continues the reference, through a fitted model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from . import __version__, bias
from ._checks import check_monthly, choose, month_index, month_name, require_variables
from .baselines import BASELINES, fit_baseline
from .errors import DataError, MissingVariableError, TimeAxisError
from .experiment import choose_scenarios, reference_of, scenarios_of, series_of
from .features import needed_variables
from .fitted import FittedModel, Predictor
from .hybrid import HybridModel, fit_named
from .preparation import Period
from .schema import FREEZING_POINT, HISTORICAL, LAYER, SCENARIO, TIME, VARIABLES, name_axis
from .training import TrainingConfig

Scenarios = str | float | Sequence[str] | None

#: Scenario that continues the historical run through the reference period, by preference.
_MIDDLE = ("rcp45", "ssp245", "rcp60", "ssp370")


def project(
    ds: xr.Dataset,
    model: str | Predictor = "gru",
    *,
    rcp: Scenarios = None,
    ssp: Scenarios = None,
    scenario: Scenarios = None,
    method: str = "qdm",
    reference_period: Period | None = None,
    extend: str | None = None,
    members: str = "mean",
    train: Period | str | None = None,
    n_members: int = 1,
    seed: int = 0,
    config: TrainingConfig | None = None,
    device: str = "cpu",
    progress: bool | None = None,
) -> xr.DataArray:
    """Project soil temperature under scenarios.

    The scenario forcing is adjusted to the reference, and continues it: the last months of
    the reference fill the first windows. Computes dask arrays once.

    Parameters
    ----------
    ds : Dataset
        An experiment Dataset, see :func:`xpermafrost.combine`.
    model : str, FittedModel, HybridModel or FittedBaseline
        What was fitted, or the name of a network, hybrid (``"column+gru"``) or baseline that is
        first fitted on the reference.
    rcp, ssp, scenario : str, list of str, or "all"
        ``rcp="8.5"``, ``ssp=["126", "585"]``, ``scenario="rcp85"``; by default every scenario.
    method : {"qdm", "eqm", "dqm", "scaling", "none"}
        Bias adjustment, see :func:`xpermafrost.bias.train`; "none" takes the forcing as it is.
    reference_period : tuple of str, optional
        Years that train the adjustment; by default those common to reference and climate model.
    extend : str, optional
        Scenario that continues ``historical`` through the reference period when the adjustment
        is trained; by default a middle one, whichever are asked for. One training serves every
        scenario, so that the adjustment adds nothing to their difference.
    members : {"mean", "all"}
        The ensemble mean, or a ``member`` dimension.
    train, n_members, seed, config, device, progress
        Where ``model`` is a name: see :func:`xpermafrost.fit`.

    Returns
    -------
    DataArray
        ``soil_temperature (scenario, location..., layer, time)`` [degC], monthly from the month
        after the reference; coordinate ``outside_training_range (scenario, location..., time)``
        is the share of inputs outside the range seen in training.

    Raises
    ------
    ScenarioError
        If a scenario is absent.
    MissingVariableError
        If a scenario lacks a variable that the model reads.
    TimeAxisError
        If a scenario does not continue the reference, or does not overlap it.
    ModelMismatchError
        If the model belongs to other locations or layers.

    Examples
    --------
    >>> from xpermafrost.testing import experiment
    >>> from xpermafrost.training import TrainingConfig
    >>> out = project(experiment(), "gru", rcp="8.5", config=TrainingConfig(epochs=2))
    >>> out.dims, str(out.time.values[0])[:7]
    (('scenario', 'band', 'layer', 'time'), '2009-01')
    """
    choose("members", members, ("mean", "all"))
    names = choose_scenarios(ds, rcp=rcp, ssp=ssp, scenario=scenario)  # type: ignore[arg-type]
    if isinstance(model, str) and model in BASELINES:
        model = fit_baseline(model, ds, train=train)
    elif isinstance(model, str):
        model = fit_named(
            ds,
            [model],
            train=train,
            step="month",
            length=None,
            horizon=0,
            features=None,
            members=n_members,
            seed=seed,
            config=config,
            device=device,
            jobs=None,
            progress=progress,
        )[0]
    if not (hasattr(model, "predict") and hasattr(model, "spec")):
        raise DataError(
            "project needs the name of a network or baseline, or what fit, fit_hybrid, "
            f"fit_baseline or load_model return; got {type(model).__name__}."
        )
    if model.spec.step != "month":
        raise DataError(
            f"projections are monthly, as scenarios are adjusted by calendar month; {model.name!r} "
            f"has steps of a {model.spec.step}. Fit one of months, or give it daily forcing of "
            "your own: model.predict(ds)."
        )
    if members == "all" and not isinstance(model, FittedModel | HybridModel):
        raise DataError(f"{model.name!r} has no members; leave members='all' out.")
    forcing = scenario_forcing(
        ds,
        names,
        variables=needed_variables(model.spec.features),
        method=method,
        reference_period=reference_period,
        extend=extend,
    )
    start = future_start(ds)
    parts = [_one(model, forcing[name], start, members, device) for name in names]
    labels = name_axis(SCENARIO, names)
    out, share = (
        xr.concat(each, dim=labels, coords="minimal", compat="override", combine_attrs="override")
        for each in zip(*parts, strict=True)
    )
    out = out.assign_coords(outside_training_range=share)
    call = (
        f"xpermafrost {__version__}: project(model={out.attrs['model']}, scenario={names}, "
        f"adjustment={method}, {forcing[names[0]].attrs.get('adjustment', '')})"
    )
    return out.assign_attrs(
        history="\n".join(line for line in (str(ds.attrs.get("history", "")), call) if line),
        adjustment=method,
        outside_training_range=_share_text(share),
        **({"simulated": ds.attrs["simulated"]} if "simulated" in ds.attrs else {}),
    )


def _one(
    model: Predictor, forcing: xr.Dataset, start: np.datetime64, members: str, device: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Prediction, and the share of inputs outside the training range (unknown for baselines)."""
    future = {TIME: slice(start, None)}
    if isinstance(model, FittedModel):
        index = model.check_inputs(forcing)
        raw = model.features(forcing)
        out = model.predict_features(raw, index=index, members=members, device=device)
        return out.sel(future), model.outside_range(raw).sel(future)
    if isinstance(model, HybridModel):
        out = model.predict(forcing, members=members, device=device).sel(future)
        return out, model.outside_training_range(forcing).sel(future)
    out = model.predict(forcing).sel(future)
    return out, out.isel({LAYER: 0}, drop=True).drop_attrs() * np.nan


def _share_text(share: xr.DataArray) -> str:
    mean = float(share.mean())
    return "unknown" if np.isnan(mean) else f"{mean:.4f} of all inputs"


def future_start(ds: xr.Dataset) -> np.datetime64:
    """First month after the reference."""
    last = pd.Timestamp(reference_of(ds)[TIME].values[-1])
    return (last + pd.DateOffset(months=1)).to_datetime64()


def scenario_forcing(
    ds: xr.Dataset,
    names: Sequence[str],
    *,
    variables: Sequence[str],
    method: str = "qdm",
    reference_period: Period | None = None,
    extend: str | None = None,
) -> dict[str, xr.Dataset]:
    """The reference's forcing continued by each scenario's adjusted forcing.

    Parameters
    ----------
    ds : Dataset
        An experiment Dataset.
    names : sequence of str
        Scenarios.
    variables : sequence of str
        Forcing and static variables that are needed.
    method, reference_period, extend
        See :func:`project`.

    Returns
    -------
    dict of Dataset
        By scenario, canonical, from the first month of the reference on; ``tsl`` of the
        reference is kept (NaN afterwards), and the reference's static fields.
    """
    reference = reference_of(ds)
    require_variables(reference, variables, step="the projection")
    dynamic = [v for v in variables if TIME in reference[v].dims]
    static = [v for v in variables if TIME not in reference[v].dims]
    scenario_has(ds, names, dynamic)
    adjusted = _adjusted(ds, reference, names, dynamic, method, reference_period, extend)
    start = future_start(ds)
    out = {}
    for name in names:
        future = adjusted[name].sel({TIME: slice(start, None)})
        _continues(reference, future, name)
        joined = xr.concat(
            [reference[dynamic], future[dynamic]],
            dim=TIME,
            coords="minimal",
            compat="override",
            combine_attrs="override",
        )
        check_monthly(joined, step=f"the reference followed by {name}")
        joined = joined.assign({v: reference[v] for v in static})
        if "tsl" in reference:
            joined["tsl"] = reference["tsl"].reindex({TIME: joined[TIME]})
        out[name] = joined.assign_attrs(adjustment=adjusted[name].attrs["adjustment"])
    return out


def _adjusted(
    ds: xr.Dataset,
    reference: xr.Dataset,
    names: Sequence[str],
    dynamic: list[str],
    method: str,
    reference_period: Period | None,
    extend: str | None,
) -> dict[str, xr.Dataset]:
    series = {name: series_of(ds, name)[dynamic].compute() for name in names}
    if method == "none":
        return {n: s.assign_attrs(adjustment="forcing not adjusted") for n, s in series.items()}
    extend = extend or _extension(ds, dynamic)
    scenario_has(ds, [extend], dynamic)
    training = series[extend] if extend in series else series_of(ds, extend)[dynamic].compute()
    _overlaps(reference, training, extend)
    trained = bias.train(
        reference[dynamic].compute(), training, method=method, reference_period=reference_period
    )
    spans = next(iter(trained.children.values())).to_dataset().attrs
    note = (
        f"reference {spans['reference_period']}, climate model {spans['historical_period']} "
        f"({HISTORICAL} continued by {extend})"
    )
    return {
        name: bias.adjust(trained, sim).assign_attrs(adjustment=note)
        for name, sim in series.items()
    }


def _extension(ds: xr.Dataset, dynamic: list[str]) -> str:
    """The same whichever scenarios are asked for, so that asking for fewer changes none."""
    available = scenarios_of(ds)
    candidates = [name for name in (*_MIDDLE, *available) if name in available]
    for name in candidates:
        if not _lacking(ds, name, dynamic):
            return name
    return candidates[0]


def _lacking(ds: xr.Dataset, name: str, dynamic: list[str]) -> str | None:
    """First variable of which a scenario has nothing."""
    if name not in scenarios_of(ds):
        return None  # said elsewhere, with the close matches
    for variable in dynamic:
        da = ds[variable]
        if SCENARIO not in da.dims or not bool(da.sel({SCENARIO: name}).notnull().any()):
            return variable
    return None


def scenario_has(ds: xr.Dataset, names: Sequence[str], dynamic: list[str]) -> None:
    """Raise unless every scenario has something of each variable."""
    for name in names:
        variable = _lacking(ds, name, dynamic)
        if variable is not None:
            label = VARIABLES[variable].long_name if variable in VARIABLES else variable
            raise MissingVariableError(
                f"the model reads {variable!r} ({label}), which scenario {name!r} lacks. "
                "Fit a model on what the scenarios have: fit(features=[...])."
            )


def _continues(reference: xr.Dataset, future: xr.Dataset, name: str) -> None:
    last = int(month_index(reference[TIME])[-1])
    if not future.sizes[TIME]:
        raise TimeAxisError(
            f"scenario {name!r} ends before {month_name(last + 1)}, the month after the reference."
        )
    first = int(month_index(future[TIME])[0])
    if first != last + 1:
        raise TimeAxisError(
            f"the reference ends in {month_name(last)} and scenario {name!r} goes on in "
            f"{month_name(first)}; a window needs every month between. Add the missing months, "
            "or shorten the reference."
        )


def _overlaps(reference: xr.Dataset, training: xr.Dataset, extend: str) -> None:
    one, two = month_index(reference[TIME]), month_index(training[TIME])
    common = min(one[-1], two[-1]) - max(one[0], two[0]) + 1
    if common < 12:
        raise TimeAxisError(
            f"the reference ({month_name(int(one[0]))} to {month_name(int(one[-1]))}) and the "
            f"climate model ({HISTORICAL} continued by {extend!r}: {month_name(int(two[0]))} to "
            f"{month_name(int(two[-1]))}) do not overlap by a year, so nothing says how the model "
            "errs. Add a 'historical' run, or project with method='none' if the forcing is "
            "adjusted already."
        )


def reference_mean(ds: xr.Dataset) -> xr.DataArray:
    """Mean soil temperature of the reference [degC], every calendar month weighing the same."""
    climatology = reference_of(ds)["tsl"].groupby("time.month").mean(TIME)
    return climatology.mean("month").compute() - FREEZING_POINT


def _whole_mean(da: xr.DataArray, period: tuple[str, str]) -> xr.DataArray:
    """Mean over a period that is covered in full, else NaN: half a period is another climate."""
    some = da.sel({TIME: slice(*period)})
    months = pd.period_range(pd.Period(period[0], "M"), pd.Period(period[1]).end_time, freq="M")
    whole = some.sizes[TIME] == len(months)
    return some.mean(TIME, skipna=False) if whole else da.isel({TIME: 0}, drop=True) * np.nan


def projected_changes(
    ds: xr.Dataset,
    predictors: Sequence[Predictor],
    *,
    scenarios: Sequence[str],
    period: tuple[str, str] = ("2081", "2100"),
    method: str = "qdm",
) -> xr.Dataset:
    """Change of soil temperature over ``period`` against the reference, for every predictor.

    The reference is the mean of its own soil temperature over all its months. The truth is
    known where the Dataset is simulated and carries ``tsl_truth``.

    Returns
    -------
    Dataset
        ``change (model, scenario, location..., layer)`` [K], and ``change_truth`` alike
        without ``model`` where there is a truth. NaN where ``period`` is not covered in full.
    """
    needed: dict[str, None] = {}
    for predictor in predictors:
        needed.update(dict.fromkeys(needed_variables(predictor.spec.features)))
    forcing = scenario_forcing(ds, list(scenarios), variables=list(needed), method=method)
    base = reference_mean(ds)
    rows = [
        xr.concat(
            [_whole_mean(p.predict(forcing[name]), period) - base for name in scenarios],
            dim=name_axis(SCENARIO, list(scenarios)),
            coords="minimal",
            compat="override",
        )
        for p in predictors
    ]
    names = name_axis("model", [p.name for p in predictors])
    changes = xr.concat(rows, dim=names, coords="minimal", compat="override")
    result = changes.rename("change").to_dataset()
    if "tsl_truth" in ds:
        truth = _whole_mean(ds["tsl_truth"].sel({SCENARIO: list(scenarios)}), period).compute()
        result["change_truth"] = truth - FREEZING_POINT - base
    for da in result.data_vars.values():
        da.attrs = {
            "units": "K",
            "long_name": f"mean {period[0]}-{period[1]} minus mean of the reference",
        }
    return result


__all__ = [
    "project",
    "projected_changes",
    "reference_mean",
    "scenario_forcing",
]
