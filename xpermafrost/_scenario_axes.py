"""Experiments of several climate models, or of several runs of one, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import pandas as pd
import xarray as xr

from ._scenario_names import REALIZATION, RUNS, Run
from .schema import LAYER, MEMBER, SCENARIO, TIME, location_dims, name_axis

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)


def with_realizations(ds: xr.Dataset) -> xr.Dataset:
    """Runs of a climate model, which readers put along ``member``, along ``realization``."""
    return ds.rename({MEMBER: REALIZATION}) if MEMBER in ds.dims else ds


def along(dim: str, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Experiments side by side; what belongs to the reference stands there once."""
    first = next(iter(parts.values()))
    names: dict[str, None] = {}
    axes: dict[str, list[str]] = {}
    for ds in parts.values():
        names.update(dict.fromkeys(str(n) for n, da in ds.data_vars.items() if SCENARIO in da.dims))
    for other in (SCENARIO, REALIZATION):
        labels = [v for ds in parts.values() if other in ds.dims for v in ds[other].values]
        if labels:
            axes[other] = list(dict.fromkeys(str(v) for v in labels))
    start = min(ds.indexes[TIME][0] for ds in parts.values())
    end = max(ds.indexes[TIME][-1] for ds in parts.values())
    time = {TIME: pd.date_range(start, end, freq="MS")}
    whole = xr.concat(
        [ds[[n for n in names if n in ds]].reindex({**axes, **time}) for ds in parts.values()],
        dim=name_axis(dim, list(parts)),
        data_vars="all",
        coords=["period_start", "period_end"],
        compat="override",
        join="outer",
        combine_attrs="override",
    )
    rest = first[[n for n in first.data_vars if n not in names]].reindex(time)
    # numpy text again, which the join makes objects of
    named = {d: name_axis(d, labels) for d, labels in axes.items()}
    whole = whole.assign_coords(named).assign(rest.data_vars)
    whole = whole.assign_coords(
        {n: c for n, c in first.coords.items() if n not in whole.coords and TIME not in c.dims}
    )
    places = [d for d in location_dims(first) if d not in RUNS]
    order = [*RUNS, SCENARIO, *places, LAYER, TIME]
    whole = whole.transpose(*[d for d in order if d in whole.dims], ...)
    lines = [f"{name} ({', '.join(map(str, ds[SCENARIO].values))})" for name, ds in parts.items()]
    history = str(first.attrs.get("history", "")).splitlines()[:-1]
    history.append(f"xpermafrost.combine: {dim} {', '.join(lines)}")
    return whole.assign_attrs({**first.attrs, "history": "\n".join(history)})


def gather(parts: Sequence[tuple[Run, Labelled]]) -> Labelled:
    """Answers for single runs, in one object along the dimensions of their labels.

    NaN where a run lacks a scenario or a month that others have.
    """
    (run, only) = parts[0]
    if not run:
        return only
    dim = next(iter(run))
    groups: dict[str, list[tuple[Run, Labelled]]] = {}
    for run, part in parts:
        rest = {other: label for other, label in run.items() if other != dim}
        groups.setdefault(str(run[dim]), []).append((rest, part))
    return xr.concat(
        [gather(group) for group in groups.values()],
        dim=name_axis(str(dim), list(groups)),
        join="outer",
        coords="minimal",
        compat="override",
        combine_attrs="override",
    )
