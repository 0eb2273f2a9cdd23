"""Names of scenarios and climate models: what an experiment holds, and what is asked for."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import xarray as xr

from .errors import DimensionError, PermafrostError, ScenarioError, unknown_name
from .schema import ESM, HISTORICAL, REALIZATION, REFERENCE, SCENARIO

#: Climate models, and runs of one model from different initial states (CF: realization). The
#: dimension ``member`` of a projection is another thing: the networks of an ensemble.
RUNS = (ESM, REALIZATION)

#: Labels of one run: ``{"esm": "GFDL-ESM2M", "realization": "r1i1p1"}``, or those that are there.
Run = Mapping[Hashable, str]


def scenarios_of(ds: xr.Dataset) -> list[str]:
    """Names of the scenarios that can be projected: all but ``reference`` and ``historical``.

    Of one of several climate models, those that it has.
    """
    if SCENARIO not in ds.dims:
        return []
    names = [str(s) for s in ds[SCENARIO].values if s not in (REFERENCE, HISTORICAL)]
    if "period_start" not in ds.coords:
        return names
    start = ds["period_start"]
    there = start.notnull().any([d for d in start.dims if d != SCENARIO])
    return [name for name in names if bool(there.sel({SCENARIO: name}))]


def absent(scenario: str, available: list[str]) -> ScenarioError:
    return ScenarioError(str(unknown_name("scenario", scenario, available)))


def choose_scenarios(
    ds: xr.Dataset,
    *,
    rcp: str | float | list[str] | None = None,
    ssp: str | list[str] | None = None,
    scenario: str | list[str] | None = None,
) -> list[str]:
    """Names of the scenarios asked for by ``rcp="8.5"``, ``ssp="585"`` or ``scenario="rcp85"``.

    ``"all"`` takes every one of its kind; nothing at all takes every scenario.

    Raises
    ------
    ScenarioError
        If one is absent, with the close matches.

    Examples
    --------
    >>> from xpermafrost.testing import experiment
    >>> choose_scenarios(experiment(), rcp="8.5")
    ['rcp85']
    """
    available = scenarios_of(ds)
    if not available:
        raise ScenarioError(
            "no scenario to project: the Dataset has only a reference. "
            "Join scenarios first: xp.combine(reference, rcp85=...)."
        )
    wanted: list[str] = []
    for prefix, given in (("rcp", rcp), ("ssp", ssp), ("", scenario)):
        if given is None:
            continue
        for item in given if isinstance(given, list | tuple | np.ndarray) else [given]:
            if item == "all":
                wanted += [name for name in available if name.startswith(prefix)]
            else:
                digits = str(item).lower().removeprefix(prefix) if prefix else str(item)
                tail = digits.replace(".", "").replace("-", "") if prefix else digits
                wanted.append(f"{prefix}{tail}")
    wanted = wanted or ([] if any(x is not None for x in (rcp, ssp, scenario)) else available)
    for name in wanted:
        if name not in available:
            raise absent(name, available)
    if not wanted:
        raise ScenarioError(f"no scenario of that kind; the Dataset has {available}.")
    return list(dict.fromkeys(wanted))


def choose_models(ds: xr.Dataset, esm: str | Sequence[str] | None = None) -> list[str]:
    """Names of the climate models asked for; all by default, none if the Dataset names none.

    Raises
    ------
    ScenarioError
        If one is absent, with the close matches.
    """
    if ESM not in ds.dims:
        if esm is None or (isinstance(esm, str) and esm == "all"):
            return []
        raise ScenarioError(
            f"esm={esm!r} needs a Dataset with several climate models; this one has no dimension "
            "'esm'. Leave esm out, or join them by name: "
            "era5.permafrost.with_scenarios({'GFDL-ESM2M': {'historical': ..., 'rcp85': ...}})."
        )
    available = [str(name) for name in ds[ESM].values]
    if esm is None or (isinstance(esm, str) and esm == "all"):
        return available
    wanted = [esm] if isinstance(esm, str) else [str(name) for name in esm]
    for name in wanted:
        if name not in available:
            raise ScenarioError(str(unknown_name("climate model", name, available)))
    if not wanted:
        raise ScenarioError(f"no climate model asked for; the Dataset has {available}.")
    return list(dict.fromkeys(wanted))


def runs_of(ds: xr.Dataset, esm: str | Sequence[str] | None = None) -> list[Run]:
    """Labels of every run of the models asked for that has a scenario; one empty label if one."""
    models = choose_models(ds, esm)
    found: list[dict[Hashable, str]] = [{ESM: name} for name in models] if models else [{}]
    if REALIZATION in ds.dims:
        found = [{**run, REALIZATION: k} for run in found for k in ds[REALIZATION].values]
    return [run for run in found if scenarios_of(one_run(ds, run))]


def one_run(ds: xr.Dataset, run: Run) -> xr.Dataset:
    """The experiment Dataset of one run."""
    return ds.sel(run, drop=True) if run else ds


def run_name(run: Run) -> str:
    """``"GFDL-ESM2M r1i1p1"``; empty where the runs have no names."""
    return " ".join(str(label) for label in run.values())


def check_one_run(ds: xr.Dataset, *, step: str) -> None:
    """Raise if ``ds`` holds several climate models or realizations."""
    for dim in RUNS:
        if dim in ds.dims:
            labels = ds[dim].values.tolist()
            raise DimensionError(
                f"{step} takes one run of a climate model; the Dataset has {dim!r} {labels}. "
                f"Select one: ds.sel({dim}={labels[0]!r}), or call project or adjust_scenarios, "
                "which take all."
            )


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the climate model's name before what an error says."""
    try:
        yield
    except PermafrostError as error:
        if not name:
            raise
        raise type(error)(f"climate model {name!r}: {error}") from error
