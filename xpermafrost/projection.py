"""Projection: adjusted scenario forcing that continues the reference, through a fitted model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from . import __version__
from ._blocks import by_places, is_lazy
from ._checks import choose, marks_of, require_variables, without_attrs
from ._scenario_axes import gather
from ._scenario_names import naming, one_run, run_name
from .baselines import BASELINES, PERSISTENCES, fit_baseline
from .errors import DataError
from .experiment import choose_scenarios, reference_of
from .features import needed_variables
from .fitted import FittedModel, Predictor
from .forcing import (
    Scenarios,
    by_scenario,
    future_start,
    missing_runs,
    runs_with,
    scenario_forcing,
    scenario_has,
)
from .hybrid import Fitted, fit_named
from .preparation import Period
from .products import SOIL_TEMPERATURE
from .schema import FREEZING_POINT, LAYER, SCENARIO, TIME, name_axis
from .training import TrainingConfig

#: Coordinate of a projection: the share of inputs outside the range seen in training.
OUTSIDE = "outside_training_range"


def project(
    ds: xr.Dataset,
    model: str | Predictor = "gru",
    *,
    rcp: Scenarios = None,
    ssp: Scenarios = None,
    scenario: Scenarios = None,
    esm: str | Sequence[str] | None = None,
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
    the reference fill the first windows. Each climate model, and each run of it, is adjusted to
    the reference on its own. Lazy on dask, block by block of locations with time whole: write it
    with :func:`xpermafrost.to_zarr`. What is asked of all locations together is left out then:
    gaps, variables that a scenario lacks and what an adjustment squeezes (NaN, and no warning).
    A name in the place of ``model`` is fitted at once.

    Parameters
    ----------
    ds : Dataset
        An experiment Dataset of one or several climate models, see :func:`xpermafrost.combine`.
    model : str, FittedModel, HybridModel, PersistenceModel or FittedBaseline
        What was fitted, or the name of a network, hybrid (``"column+gru"``) or baseline that is
        first fitted on the reference.
    rcp, ssp, scenario : str, list of str, or "all"
        ``rcp="8.5"``, ``ssp=["126", "585"]``, ``scenario="rcp85"``; by default every scenario.
    esm : str, list of str, or "all", optional
        Climate models, where the Dataset has several; by default all.
    method : {"qdm", "eqm", "dqm", "scaling", "none"}
        Bias adjustment, see :func:`xpermafrost.bias.train`; "none" takes the forcing as it is.
    reference_period : tuple of str, optional
        Years that train the adjustment; by default those common to reference and climate model.
    extend : str, optional
        Scenario that continues ``historical`` through the reference period when the adjustment
        is trained; by default a middle one, whichever are asked for (in memory, the first that
        has every variable). One training serves every scenario, so that the adjustment adds
        nothing to their difference.
    members : {"mean", "all"}
        The mean over networks, or a ``member`` dimension of them.
    train, n_members, seed, config, device, progress
        Where ``model`` is a name: see :func:`xpermafrost.fit`.

    Returns
    -------
    DataArray
        ``soil_temperature (scenario, location..., layer, time)`` [degC], monthly from the month
        after the reference; coordinate ``outside_training_range (scenario, location..., time)``
        is the share of inputs outside the range seen in training. Of several climate models the
        first dimensions are ``esm`` and, of several runs of each, ``realization``: NaN where one
        lacks a scenario or a month, the attribute ``missing_runs`` names which.

    Raises
    ------
    ScenarioError
        If a scenario or climate model is absent.
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
    if members == "all" and not isinstance(model, Fitted):
        raise DataError(f"{model.name!r} has no members; leave members='all' out.")
    how = _How(
        names=tuple(names),
        esm=esm,
        method=method,
        reference_period=reference_period,
        extend=extend,
        members=members,
        device=device,
    )
    if is_lazy(ds[_read(model, ds)]) and getattr(model, "name", "") not in PERSISTENCES:
        return _project_blocks(ds, model, how)
    return _project(ds, model, how)


@dataclass(frozen=True, kw_only=True)
class _How:
    """What was asked for, besides data and model."""

    names: tuple[str, ...]
    esm: str | Sequence[str] | None
    method: str
    reference_period: Period | None
    extend: str | None
    members: str
    device: str


def _read(model: Predictor, ds: xr.Dataset) -> list[str]:
    """Variables that the projection reads."""
    names = list(needed_variables(model.spec.features))
    require_variables(ds, names, step="the projection")
    soil = ["tsl"] if "tsl" in ds and not isinstance(model, FittedModel) else []
    return [*names, *soil]


def _project_blocks(ds: xr.Dataset, model: Predictor, how: _How) -> xr.DataArray:
    if isinstance(model, FittedModel):
        model.check_inputs(reference_of(ds))
    part = ds[_read(model, ds)].assign_coords(_layers(ds))
    both = by_places(partial(_of_block, how=how), part, model, step="project")
    out, share = both[SOIL_TEMPERATURE], both[OUTSIDE]
    return out.assign_coords({OUTSIDE: share}).assign_attrs(
        {OUTSIDE: f"computed with the data: see the coordinate {OUTSIDE!r}"}
    )


def _of_block(block: xr.Dataset, model: Predictor, *, how: _How) -> xr.Dataset:
    out = _project(block, model, how)
    return xr.Dataset({SOIL_TEMPERATURE: out.drop_vars(OUTSIDE), OUTSIDE: out[OUTSIDE]})


def _layers(ds: xr.Dataset) -> dict[Hashable, xr.DataArray]:
    """Coordinates of the layers, bounds among them."""
    return {n: c for n, c in ds.coords.items() if LAYER in c.dims}


def _project(ds: xr.Dataset, model: Predictor, how: _How) -> xr.DataArray:
    """The projection of data in memory."""
    names = list(how.names)
    start = future_start(ds)
    notes: dict[str, None] = {}
    outs, shares = [], []
    for run, here in runs_with(ds, names, how.esm):
        with naming(run_name(run)):
            forcing = scenario_forcing(
                one_run(ds, run),
                here,
                variables=needed_variables(model.spec.features),
                method=how.method,
                reference_period=how.reference_period,
                extend=how.extend,
            )
        notes[str(forcing[here[0]].attrs.get("adjustment", ""))] = None
        parts = [_one(model, forcing[name], start, how.members, how.device) for name in here]
        out, share = (by_scenario(each, here, names) for each in zip(*parts, strict=True))
        outs.append((run, out))
        shares.append((run, share))
    out, share = gather(outs), gather(shares)
    out = out.assign_coords({OUTSIDE: share})
    call = (
        f"xpermafrost {__version__}: project(model={out.attrs['model']}, scenario={names}, "
        f"adjustment={how.method}, {'; '.join(notes)})"
    )
    return out.assign_attrs(
        history="\n".join(line for line in (str(ds.attrs.get("history", "")), call) if line),
        adjustment=how.method,
        outside_training_range=_share_text(share),
        **missing_runs(ds, names, how.esm),
        **marks_of(ds),
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
    if isinstance(model, Fitted):
        out = model.predict(forcing, members=members, device=device).sel(future)
        return out, model.outside_training_range(forcing).sel(future)
    out = model.predict(forcing).sel(future)
    return out, out.isel({LAYER: 0}, drop=True).pipe(without_attrs) * np.nan


def _share_text(share: xr.DataArray) -> str:
    mean = float(share.mean())
    return "unknown" if np.isnan(mean) else f"{mean:.4f} of all inputs"


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
            [_whole_mean(p.predict(forcing[name]), period).compute() - base for name in scenarios],
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
    "scenario_has",
]
