"""The forcing of the future: scenarios adjusted to the reference, which they continue."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from . import bias
from ._bias_divergence import warn_if_squeezed
from ._blocks import by_places, is_lazy, is_part
from ._checks import check_monthly, check_units, month_index, month_name, require_variables
from ._scenario_axes import Labelled, gather
from ._scenario_names import (
    ESM,
    Run,
    check_one_run,
    choose_models,
    naming,
    one_run,
    run_name,
    runs_of,
)
from .concentrations import GASES
from .consistency import make_consistent
from .errors import DataError, MissingVariableError, ScenarioError, TimeAxisError
from .experiment import choose_scenarios, reference_of, scenarios_of, series_of
from .preparation import Period
from .schema import HISTORICAL, SCENARIO, TIME, VARIABLES, name_axis

Scenarios = str | float | Sequence[str] | None

#: Scenario that continues the historical run through the reference period, by preference.
_MIDDLE = ("rcp45", "ssp245", "rcp60", "ssp370")


def adjust_scenarios(
    ds: xr.Dataset,
    variables: Sequence[str] | None = None,
    *,
    rcp: Scenarios = None,
    ssp: Scenarios = None,
    scenario: Scenarios = None,
    esm: str | Sequence[str] | None = None,
    method: str = "qdm",
    reference_period: Period | None = None,
    extend: str | None = None,
) -> xr.Dataset:
    """Forcing of every climate model and scenario, adjusted to the reference.

    Each climate model, and each run of it, is adjusted on its own, one after the other:
    beside the answer, memory holds one run. Lazy on dask as :func:`project` is.

    Parameters
    ----------
    ds : Dataset
        An experiment Dataset of one or several climate models, see :func:`xpermafrost.combine`.
    variables : sequence of str, optional
        Forcing variables; by default all that the reference has.
    rcp, ssp, scenario : str, list of str, or "all"
        As in :func:`project`; by default every scenario.
    esm : str, list of str, or "all", optional
        Climate models; by default all.
    method, reference_period, extend
        As in :func:`project`.

    Returns
    -------
    Dataset
        ``([esm, realization,] scenario, location..., [layer,] time)`` in canonical units:
        ``historical``, where there is one, continued by each scenario. NaN where a run lacks a
        scenario or a month.

    Raises
    ------
    ScenarioError
        If a scenario or climate model is absent.
    MissingVariableError
        If one lacks a variable: the message names model, scenario and variable.
    DataError
        If a variable has a gap.
    TimeAxisError
        If a climate model does not overlap the reference.

    Examples
    --------
    >>> from xpermafrost.testing import experiment
    >>> adjusted = adjust_scenarios(experiment(), ["tas"])
    >>> adjusted["tas"].dims, str(adjusted["time"].values[0])[:7]
    (('scenario', 'band', 'time'), '1996-01')
    """
    names = choose_scenarios(ds, rcp=rcp, ssp=ssp, scenario=scenario)  # type: ignore[arg-type]
    reference = reference_of(ds)
    if variables is None:
        variables = [
            str(n)
            for n, da in reference.data_vars.items()
            if SCENARIO in ds[n].dims and n not in GASES
        ]
    require_variables(reference, variables, step="adjust_scenarios")
    for name in variables:
        if name in VARIABLES:
            check_units(reference[name])
    dynamic = list(variables)
    if is_lazy(ds[dynamic]):
        options = {
            "scenario": names,
            "esm": esm,
            "method": method,
            "reference_period": reference_period,
            "extend": extend,
        }
        work = partial(_adjusted_block, options=options)
        return by_places(work, ds[dynamic], step="adjust_scenarios")
    reference = reference[dynamic].compute()
    parts = []
    notes: dict[str, None] = {}
    for run, here in runs_with(ds, names, esm):
        one = one_run(ds, run)
        with naming(run_name(run)):
            scenario_has(
                one,
                here,
                dynamic,
                reader="adjust_scenarios",
                cure="Take what all have: variables=[...], or other models: esm=[...].",
            )
            done = _adjusted(one, reference, here, dynamic, method, reference_period, extend)
        notes.update(dict.fromkeys(str(part.attrs["adjustment"]) for part in done.values()))
        parts.append((run, by_scenario([done[name] for name in here], here, names)))
    out = gather(parts)
    line = f"xpermafrost.adjust_scenarios: method={method}; {'; '.join(notes)}"
    earlier = str(ds.attrs.get("history", ""))
    return out.assign_attrs(
        adjustment=method,
        history=f"{earlier}\n{line}" if earlier else line,
        **missing_runs(ds, names, esm),
    )


def _adjusted_block(block: xr.Dataset, _: None, *, options: dict[str, Any]) -> xr.Dataset:
    out = adjust_scenarios(block, [str(name) for name in block.data_vars], **options)
    for da in out.data_vars.values():
        da.attrs.pop("consistency", None)  # counts of the block
    return out


def runs_with(
    ds: xr.Dataset, names: Sequence[str], esm: str | Sequence[str] | None
) -> list[tuple[Run, list[str]]]:
    """Runs of the climate models asked for, each with those of the scenarios that it has."""
    found = [(run, scenarios_of(one_run(ds, run))) for run in runs_of(ds, esm)]
    kept = [(run, [n for n in names if n in have]) for run, have in found]
    kept = [(run, here) for run, here in kept if here]
    asked = choose_models(ds, esm)
    lost = [name for name in asked if name not in {run[ESM] for run, _ in kept}]
    if not kept or (lost and esm is not None and esm != "all"):
        raise ScenarioError(
            f"climate model {(lost or [''])[0]!r} has none of the scenarios {list(names)}; the "
            f"Dataset has {[(run_name(run), have) for run, have in found]}."
        )
    return kept


def missing_runs(
    ds: xr.Dataset, names: Sequence[str], esm: str | Sequence[str] | None
) -> dict[str, str]:
    """Attribute that names what the climate models lack; none where nothing is missing."""
    lacking = []
    for run in runs_of(ds, esm):
        absent = [name for name in names if name not in scenarios_of(one_run(ds, run))]
        if absent:
            lacking.append(f"{run_name(run)}: {', '.join(absent)}")
    return {"missing_runs": "; ".join(lacking)} if lacking else {}


def by_scenario(parts: Sequence[Labelled], here: Sequence[str], names: Sequence[str]) -> Labelled:
    """Answers for scenarios along ``scenario``, NaN for those of ``names`` that are not there."""
    out = xr.concat(
        parts,
        dim=name_axis(SCENARIO, list(here)),
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="override",
    )
    if list(here) == list(names):
        return out
    return out.reindex({SCENARIO: list(names)}).assign_coords(
        {SCENARIO: name_axis(SCENARIO, names)}
    )


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
    check_one_run(ds, step="scenario_forcing")
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
    for name, one in series.items():
        if not is_part():
            _has_no_gap(one, name)
    if method == "none":
        return {n: s.assign_attrs(adjustment="forcing not adjusted") for n, s in series.items()}
    climate = [name for name in dynamic if name not in GASES]
    extend = extend or _extension(ds, dynamic)
    scenario_has(ds, [extend], dynamic)
    training = series[extend] if extend in series else series_of(ds, extend)[dynamic].compute()
    _overlaps(reference, training, extend)
    trained = bias.train(
        reference[climate].compute(),
        training[climate],
        method=method,
        reference_period=reference_period,
    )
    spans = next(iter(trained.children.values())).to_dataset().attrs
    note = (
        f"reference {spans['reference_period']}, climate model {spans['historical_period']} "
        f"({HISTORICAL} continued by {extend})"
    )
    done = {name: bias.adjust(trained, sim[climate]) for name, sim in series.items()}
    baseline = tuple(spans["historical_period"].split("/"))
    if not is_part():
        warn_if_squeezed({n: s[climate] for n, s in series.items()}, done, baseline=baseline)
    return {
        # concentrations are prescribed, not simulated
        name: make_consistent(sim.assign(done[name].data_vars)).assign_attrs(adjustment=note)
        for name, sim in series.items()
    }


def _has_no_gap(series: xr.Dataset, name: str) -> None:
    """Raise if a variable has months without a value anywhere between others that have one."""
    for variable, da in series.data_vars.items():
        known = da.notnull().any([dim for dim in da.dims if dim != TIME]).values
        at = np.flatnonzero(known)
        if not at.size or known[at[0] : at[-1]].all():
            continue
        first = at[0] + int(np.argmin(known[at[0] :]))
        last = first + int(np.argmax(known[first:])) - 1
        begin, end = (month_name(int(month_index(da[TIME])[k])) for k in (first, last))
        raise DataError(
            f"{variable!r} of {name!r} (after {HISTORICAL!r}, where there is one) has no value "
            f"from {begin} to {end}; every window over these months would be empty. Add the "
            f"missing file, or end the scenario before: ds.sel(time=slice(None, {begin!r}))."
        )


def _extension(ds: xr.Dataset, dynamic: list[str]) -> str:
    """The same whichever scenarios are asked for, so that asking for fewer changes none."""
    available = scenarios_of(ds)
    candidates = [name for name in (*_MIDDLE, *available) if name in available]
    if is_part():  # one for every block, whatever is missing at its places
        return candidates[0]
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


def scenario_has(
    ds: xr.Dataset,
    names: Sequence[str],
    dynamic: list[str],
    *,
    reader: str = "the model",
    cure: str = "Fit a model on what the scenarios have: fit(features=[...]).",
) -> None:
    """Raise unless every scenario has something of each variable; in a block all may lack it."""
    for name in [] if is_part() else names:
        variable = _lacking(ds, name, dynamic)
        if variable is not None:
            label = VARIABLES[variable].long_name if variable in VARIABLES else variable
            raise MissingVariableError(
                f"{reader} reads {variable!r} ({label}), which scenario {name!r} lacks. {cure}"
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


__all__ = ["adjust_scenarios", "future_start", "scenario_forcing", "scenario_has"]
