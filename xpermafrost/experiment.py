"""The experiment Dataset: a reference and its scenarios, side by side along ``scenario``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from ._checks import check_monthly, check_steps, choose, month_index
from ._scenario_axes import along, with_realizations
from ._scenario_names import (
    ESM,
    REALIZATION,
    RUNS,
    absent,
    check_one_run,
    choose_scenarios,
    naming,
    scenarios_of,
)
from ._scenario_places import (
    is_gridded,
    on_the_grid,
    on_the_layers,
    same_layers,
    same_locations,
)
from .errors import DimensionError, ScenarioError
from .region_files import as_regions
from .regions import reduce
from .sampling import sample_points
from .schema import (
    HISTORICAL,
    REFERENCE,
    SCENARIO,
    STEPS,
    TIME,
    location_dims,
    name_axis,
)

#: A scenario, or the scenarios of one climate model by name.
Scenario = xr.Dataset | Mapping[str, xr.Dataset]


def combine(reference: xr.Dataset, **scenarios: Scenario) -> xr.Dataset:
    """Join a reference and scenario Datasets into one experiment Dataset.

    Months are joined by (year, month), never by the stamp. Forcing gets a dimension
    ``scenario`` labelled ``reference`` and by the keywords (``historical``, ``rcp26``, ...)
    and is NaN outside each one's period. The soil temperature ``tsl`` and static fields
    belong to the reference and have no scenario; a scenario's own soil temperature, where
    there is one, is kept as ``tsl_esm``. Lazy on dask.

    Of several climate models the forcing also has a dimension ``esm``, and it is NaN where a
    model lacks a scenario; ``ds.sel(esm=...)`` is the experiment of one of them. Runs of one model
    from different initial states, along ``member`` or ``realization``, become ``realization``.

    Parameters
    ----------
    reference : Dataset
        Canonical monthly forcing, static fields and, for fitting, ``tsl``.
    **scenarios : Dataset, or mapping of Dataset
        Canonical monthly Datasets on the same locations, by scenario:
        ``combine(era5, historical=..., rcp85=...)``; of several models by model and scenario:
        ``combine(era5, **{"GFDL-ESM2M": {"historical": ..., "rcp85": ...}, "CCSM4": {...}})``.

    Returns
    -------
    Dataset
        With coordinates ``period_start`` and ``period_end`` along ``scenario`` (and ``esm``,
        ``realization``): NaT for what is not there.

    Raises
    ------
    TimeAxisError
        If months are duplicated, missing or unsorted.
    RegionError
        If locations differ.
    DimensionError
        If layers differ, or some models have realizations and others not.
    ScenarioError
        If no scenario was given, or scenarios stand beside climate models.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> whole = combine(canonical(years=4), rcp85=canonical(years=6, seed=1))
    >>> whole["tas"].dims, whole["scenario"].values.tolist()
    (('scenario', 'band', 'time'), ['reference', 'rcp85'])
    """
    if not scenarios:
        raise ScenarioError(
            "combine needs at least one scenario Dataset; type combine(era5, rcp85=esm)."
        )
    if REFERENCE in scenarios:
        raise ScenarioError("'reference' is the first argument's name; rename the scenario.")
    if any(not isinstance(part, xr.Dataset) for part in scenarios.values()):
        return _of_models(reference, scenarios)
    single = {name: with_realizations(ds) for name, ds in scenarios.items()}  # type: ignore[arg-type]
    if any(REALIZATION in ds.dims for ds in single.values()):
        return _of_realizations(reference, single)
    return _of_runs(reference, single)


def _of_models(reference: xr.Dataset, models: Mapping[str, Scenario]) -> xr.Dataset:
    """Experiments of climate models along ``esm``."""
    parts = {}
    for name, runs in models.items():
        if isinstance(runs, xr.Dataset):
            nested = [n for n, other in models.items() if not isinstance(other, xr.Dataset)]
            raise ScenarioError(
                f"{name!r} is a Dataset, {nested[0]!r} holds scenarios: give scenarios, or climate "
                f"models with their scenarios: {{{nested[0]!r}: {{'rcp85': ...}}, 'name of the "
                f"other model': {{{name!r}: ...}}}}."
            )
        with naming(name):
            parts[name] = combine(reference, **runs)
    without = [name for name, ds in parts.items() if REALIZATION not in ds.dims]
    if without and len(without) < len(parts):
        raise DimensionError(
            f"climate model {without[0]!r} has no dimension 'realization', others have. Give it "
            "the name of its run: ds.expand_dims(realization=['r1i1p1f1'])."
        )
    return along(ESM, parts)


def _of_realizations(reference: xr.Dataset, scenarios: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Experiments of the runs of one model along ``realization``: each of what has its name."""
    every: dict[object, None] = {}
    for ds in scenarios.values():
        if REALIZATION in ds.dims:
            every.update(dict.fromkeys(ds[REALIZATION].values.tolist()))
    parts = {}
    for label in every:
        runs = {}
        for name, ds in scenarios.items():
            if REALIZATION not in ds.dims:
                runs[name] = ds
            elif label in ds[REALIZATION].values:
                runs[name] = ds.sel({REALIZATION: label}, drop=True)
        parts[str(label)] = _of_runs(reference, runs)
    return along(REALIZATION, parts)


def _of_runs(reference: xr.Dataset, scenarios: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The experiment of one run of one climate model."""
    parts = {REFERENCE: reference, **scenarios}
    parts = {name: _first_of_month(ds, name) for name, ds in parts.items()}
    for name, ds in scenarios.items():
        same_locations(reference, ds, name)
        same_layers(reference, ds, name)
    union = parts[REFERENCE].indexes[TIME]
    for ds in parts.values():
        union = union.union(ds.indexes[TIME])
    union = pd.date_range(union[0], union[-1], freq="MS")
    forcing = [_forcing(ds, union) for ds in parts.values()]
    joined = xr.concat(
        forcing,
        dim=name_axis(SCENARIO, list(parts)),
        data_vars="all",
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="override",
    )
    joined = joined[[*forcing[0].data_vars, *_extra(joined, forcing[0])]]
    own = [_own_soil(ds if n != REFERENCE else ds[[]], union) for n, ds in parts.items()]
    if any("tsl_esm" in ds for ds in own):
        soil = xr.concat(
            own, dim=joined[SCENARIO], join="outer", coords="minimal", compat="override"
        )
        joined = joined.assign(tsl_esm=soil["tsl_esm"])
    joined = joined.assign(_of_reference(parts[REFERENCE], union))
    periods = {
        "period_start": (SCENARIO, [ds.indexes[TIME][0] for ds in parts.values()]),
        "period_end": (SCENARIO, [ds.indexes[TIME][-1] for ds in parts.values()]),
    }
    # bounds have a dimension that no variable shares, and would be lost
    kept = {
        n: c for n, c in reference.coords.items() if n not in joined.coords and TIME not in c.dims
    }
    joined = joined.assign_coords({**kept, **periods})
    order = [SCENARIO, *location_dims(joined), "layer", TIME]
    joined = joined.transpose(*[d for d in order if d in joined.dims], ...)
    lines = [str(reference.attrs.get("history", "")), f"xpermafrost.combine: {', '.join(parts)}"]
    return joined.assign_attrs(
        {**reference.attrs, "history": "\n".join(line for line in lines if line)}
    )


def _extra(joined: xr.Dataset, first: xr.Dataset) -> list[str]:
    return [str(name) for name in joined.data_vars if name not in first.data_vars]


def _first_of_month(ds: xr.Dataset, name: str) -> xr.Dataset:
    check_monthly(ds, step=f"combine ({name})")
    months = month_index(ds[TIME])
    stamps = np.array([f"{m // 12:04d}-{m % 12 + 1:02d}-01" for m in months], "datetime64[ns]")
    return ds.assign_coords({TIME: (TIME, stamps, ds[TIME].attrs)})


def _forcing(ds: xr.Dataset, union: pd.DatetimeIndex) -> xr.Dataset:
    names = [n for n, da in ds.data_vars.items() if TIME in da.dims and n not in _SOIL]
    return ds[names].reindex({TIME: union})


_SOIL = ("tsl", "tsl_esm")


def _is_not_forcing(name: str) -> bool:
    """The soil's answer, a model's own one, and what is known of a simulated world."""
    return name in _SOIL or name.endswith("_truth")


def _own_soil(ds: xr.Dataset, union: pd.DatetimeIndex) -> xr.Dataset:
    if "tsl" not in ds:
        return xr.Dataset(coords={TIME: union})
    return ds[["tsl"]].reindex({TIME: union}).rename(tsl="tsl_esm")


def _of_reference(ds: xr.Dataset, union: pd.DatetimeIndex) -> dict[str, xr.DataArray]:
    static = {str(n): da for n, da in ds.data_vars.items() if TIME not in da.dims}
    if "tsl" in ds:
        static["tsl"] = ds["tsl"].reindex({TIME: union})
    return static


def as_experiment(obj: xr.Dataset | xr.DataTree | Mapping[str, Scenario]) -> xr.Dataset:
    """An experiment Dataset from a Dataset, a dict or a DataTree with a ``reference``.

    Beside it stand scenarios, or climate models that hold scenarios.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> parts = {"reference": canonical(years=4), "ssp126": canonical(years=6)}
    >>> as_experiment(parts).sizes["scenario"]
    2
    """
    if isinstance(obj, xr.Dataset):
        return obj
    obj = _as_mapping(obj)
    if REFERENCE not in obj:
        raise ScenarioError(
            f"an experiment needs a 'reference'; found {sorted(obj)}. "
            "Type {'reference': era5, 'rcp85': esm}."
        )
    rest = {name: part for name, part in obj.items() if name != REFERENCE}
    return combine(obj[REFERENCE], **rest)  # type: ignore[arg-type]


def _as_mapping(obj: xr.DataTree | Mapping[str, Scenario]) -> Mapping[str, Scenario]:
    if not isinstance(obj, xr.DataTree):
        return obj
    return {
        str(name): _as_mapping(child) if child.children else child.to_dataset()  # type: ignore[misc]
        for name, child in obj.children.items()
    }


def reference_of(ds: xr.Dataset, *, every: str = "month") -> xr.Dataset:
    """The reference alone, over its own time: forcing, static fields and ``tsl``."""
    choose("time step", every, STEPS)
    if SCENARIO not in ds.dims:
        check_steps(ds, every, step="this step")
        return ds
    if REFERENCE not in ds[SCENARIO].values:
        raise ScenarioError(
            f"no 'reference' among the scenarios {ds[SCENARIO].values.tolist()}; "
            "make the experiment with xp.combine(reference, **scenarios)."
        )
    keep = [n for n in ds.data_vars if n == "tsl" or not _is_not_forcing(str(n))]
    # every run stands beside the same reference
    ds = ds.isel({dim: 0 for dim in RUNS if dim in ds.dims}, drop=True)
    part = ds[keep].sel({SCENARIO: REFERENCE}, drop=False)
    start, end = part["period_start"].values, part["period_end"].values
    part = part.sel({TIME: slice(start, end)})
    check_steps(part, every, step="this step")
    return part.drop_vars([SCENARIO, "period_start", "period_end"], errors="ignore")


def series_of(ds: xr.Dataset, scenario: str) -> xr.Dataset:
    """A climate model's forcing: ``historical``, where there is one, continued by ``scenario``."""
    check_one_run(ds, step="a climate model's series")
    available = scenarios_of(ds)
    if scenario not in available:
        raise absent(scenario, available)
    names = [
        n for n, da in ds.data_vars.items() if SCENARIO in da.dims and not _is_not_forcing(str(n))
    ]
    part = ds[names].sel({SCENARIO: scenario}, drop=False)
    start, end = part["period_start"].values, part["period_end"].values
    if _has_history(ds):
        past = ds[names].sel({SCENARIO: HISTORICAL}, drop=False)
        # a history that runs on into the scenario ends where the scenario begins
        eve = (pd.Timestamp(start.item()) - pd.DateOffset(months=1)).to_datetime64()
        before = min(past["period_end"].values, eve)
        if before >= past["period_start"].values:
            before_part = past.sel({TIME: slice(past["period_start"].values, before)})
            now = part.sel({TIME: slice(start, end)})
            drop = [SCENARIO, "period_start", "period_end"]
            joined = xr.concat(
                [before_part.drop_vars(drop), now.drop_vars(drop)],
                dim=TIME,
                data_vars="minimal",
                coords="minimal",
                compat="override",
                combine_attrs="override",
            )
            check_monthly(joined, step=f"historical followed by {scenario}")
            return joined
    part = part.sel({TIME: slice(start, end)})
    return part.drop_vars([SCENARIO, "period_start", "period_end"], errors="ignore")


def _has_history(ds: xr.Dataset) -> bool:
    if HISTORICAL not in ds[SCENARIO].values:
        return False
    return bool(ds["period_start"].sel({SCENARIO: HISTORICAL}).notnull())


def with_scenarios(
    reference: xr.Dataset,
    scenarios: Mapping[str, Scenario] | xr.DataTree,
    *,
    regions: object | None = None,
    land: xr.DataArray | None = None,
    sampling: str = "linear",
) -> xr.Dataset:
    """Standardize climate-model Datasets, bring them to the reference's places, and combine.

    With ``regions``, gridded Datasets are reduced to them, the reference as well. Without, a
    model's grid is regridded to a gridded reference, or sampled at its stations. Variables on
    other soil layers are remapped to the reference's, see :func:`remap_layers`. Lazy on dask.

    Parameters
    ----------
    reference : Dataset
        Canonical; gridded, regional or stations.
    scenarios : mapping or DataTree of Dataset
        By name: ``{"historical": ..., "rcp85": ...}``, in any source that
        :func:`standardize` reads; :func:`open_cmip` makes such a mapping. Of several climate
        models: ``{"GFDL-ESM2M": {"historical": ..., "rcp85": ...}, "CCSM4": {...}}``.
    regions : LatitudeBands, Polygons, or what :func:`as_regions` reads, optional
        Needed where the reference holds regions and a scenario is gridded.
    land : DataArray, optional
        Land share on the model's grid; by default its ``sftlf``. For means over regions only.
    sampling : {"linear", "nearest"}
        How a model's grid is read at the cells or stations of the reference.

    Returns
    -------
    Dataset
        An experiment Dataset, see :func:`combine`.

    Raises
    ------
    DimensionError
        If the reference holds regions, a scenario a grid, and ``regions`` is missing.
    """
    from .sources import standardize

    choose("sampling", sampling, ("linear", "nearest"))
    scenarios = _as_mapping(scenarios)
    if regions is not None:
        regions = as_regions(regions)
        if is_gridded(reference):
            reference = reduce(reference, regions)

    def bring(name: str, raw: xr.Dataset) -> xr.Dataset:
        ds = standardize(raw)
        if is_gridded(ds):
            if regions is not None:
                ds = reduce(ds, regions, land=land)
            elif "station" in reference.dims:
                ds = sample_points(ds, reference, method=sampling)
            elif is_gridded(reference):
                ds = on_the_grid(ds, reference, sampling)
            else:
                raise DimensionError(
                    f"scenario {name!r} is gridded and the reference has dims "
                    f"{tuple(reference.dims)}; pass regions=xp.alaska_bands() or your own."
                )
        return on_the_layers(reference, ds, name)

    parts: dict[str, Scenario] = {}
    for name, part in scenarios.items():
        if isinstance(part, xr.Dataset):
            parts[name] = bring(name, part)
            continue
        with naming(name):
            parts[name] = {label: bring(label, raw) for label, raw in part.items()}
    return combine(reference, **parts)


__all__ = [
    "as_experiment",
    "choose_scenarios",
    "combine",
    "reference_of",
    "scenarios_of",
    "series_of",
    "with_scenarios",
]
