"""The built-in quantile mapping, from labelled series to arrays and back; lazy over places."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ._bias_groups import Grouping, spread_below
from ._bias_inputs import QUANTILES, limits
from .schema import TIME

#: Beyond the outermost quantile, factors follow the line to the quantile this share of
#: all quantiles further in: two neighbours alone would make a slope out of noise.
REACH = 0.1


def _float_type(*arrays: xr.DataArray) -> np.dtype[Any]:
    """float32 stays float32; everything else is worked and returned in float64."""
    small = all(da.dtype in (np.float32, np.float16) for da in arrays)
    return np.dtype("float32" if small else "float64")


def _threads(*arrays: xr.DataArray) -> int:
    """All processors on numpy arrays; one within a dask graph, whose scheduler has them."""
    if any(da.chunks is not None for da in arrays):
        return 1
    from ._quantile_kernels import available_threads

    return available_threads()


def _dry(da: xr.DataArray, every: str, wet: float, dtype: np.dtype[Any]) -> np.ndarray:
    """What stands for a dry value at every step; unused where nothing is dry."""
    if not np.isfinite(wet):
        return np.zeros(da.sizes[TIME], dtype)
    return spread_below(da[TIME], every, wet).astype(dtype)


def train_fast(
    reference: xr.DataArray,
    historical: xr.DataArray,
    *,
    method: str,
    kind: str,
    nquantiles: int,
    grouping: Grouping,
    every: str,
    wet: float,
    bound: float,
) -> xr.Dataset:
    """``af`` and ``hist_q`` by group and quantile; of detrended mapping ``scaling`` too."""
    from ._bias_arrays import train_arrays

    nodes = (np.arange(nquantiles) + 0.5) / nquantiles
    dtype, centred, group = _float_type(reference, historical), method == "dqm", grouping.name
    sides = reference, historical
    dims = [[group, QUANTILES], [group, QUANTILES], [group]][: 3 if centred else 2]
    found = xr.apply_ufunc(
        train_arrays,
        reference,
        historical.rename({TIME: "historical_time"}),
        input_core_dims=[[TIME], ["historical_time"]],
        output_core_dims=dims,
        join="override",
        dask="parallelized",
        output_dtypes=[dtype] * len(dims),
        dask_gufunc_kwargs={"output_sizes": {group: grouping.labels.size, QUANTILES: nquantiles}},
        kwargs={
            "pools": tuple(grouping.pools(da[TIME]) for da in sides),
            "dry": tuple(_dry(da, every, wet, dtype) for da in sides),
            "wet": wet,
            "nodes": nodes,
            "centred": centred,
            "multiplicative": kind == "*",
            "bound": bound,
            "dtype": dtype,
            "threads": _threads(*sides),
        },
    )
    units = str(reference.attrs["units"])
    factor = {"units": units if kind == "+" else "1", "kind": kind}
    attrs: list[dict[str, str]] = [
        {"long_name": "quantile mapping adjustment factors", **factor},
        {"long_name": "quantiles of the model in the training period", "units": units},
        {"long_name": "factor between the means of the training period", **factor},
    ]
    if centred:
        attrs[1] = {
            "long_name": "quantiles of the model, relative to its mean of the training period",
            "units": factor["units"],
        }
    names = ("af", "hist_q", "scaling")
    parts = {n: da.assign_attrs(a) for n, da, a in zip(names, found, attrs, strict=False)}
    return xr.Dataset(parts, {group: grouping.labels, QUANTILES: nodes})


def adjust_fast(
    trained: xr.Dataset,
    sim: xr.DataArray,
    *,
    method: str,
    kind: str,
    window_years: int | None,
    interp: str,
    tails: str,
    bound: float,
) -> xr.DataArray:
    """``sim`` adjusted; its dims in the order of xarray's broadcasting."""
    from ._bias_arrays import adjust_arrays
    from ._quantile_kernels import DELTA, DETRENDED, EMPIRICAL, Rule

    dtype, grouping = _float_type(sim), Grouping.stated(trained.attrs)
    names = [name for name in ("af", "hist_q", "scaling") if name in trained]
    parts = [trained[name].chunk() if sim.chunks else trained[name] for name in names]
    pools = grouping.pools(sim[TIME])
    wet = float(trained.attrs.get("wet_threshold", -np.inf))
    nodes = trained[QUANTILES].values.astype("float64")
    low, high = limits(sim, kind)
    rule = Rule(
        method={"qdm": DELTA, "eqm": EMPIRICAL, "dqm": DETRENDED}[method],
        window=pools.starts.shape[1] if window_years is None else window_years,
        multiplicative=kind == "*",
        nearest=interp == "nearest",
        reach=min(max(round(REACH * nodes.size), 1), nodes.size - 1)
        if tails == "extrapolated"
        else 0,
        low=low,
        high=high,
        bound=bound,
        wet=wet,
    )
    dims = [[grouping.name, QUANTILES], [grouping.name, QUANTILES], [grouping.name]]
    return xr.apply_ufunc(
        adjust_arrays,
        sim,
        *parts,
        input_core_dims=[[TIME], *dims[: len(parts)]],
        output_core_dims=[[TIME]],
        join="override",
        dask="parallelized",
        output_dtypes=[dtype],
        kwargs={
            "pools": pools,
            "dry": _dry(sim, str(trained.attrs.get("step", "month")), wet, dtype),
            "nodes": nodes,
            "rule": rule,
            "dtype": dtype,
            "threads": _threads(sim, *parts),
        },
    )
