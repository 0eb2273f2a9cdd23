"""The route through xsdba: its own methods, on stamps that keep calendar months apart.

xsdba places a value between months by the day of its stamp, and blends their factors
where it interpolates. All series therefore go in on the 15th of a 360-day calendar,
which is exactly mid-month. What remains: its empirical and detrended mappings search
the nearest quantile in the plane of value and month, so that their result depends on
the units; the built-in kernel does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr

from ._checks import month_index, month_name
from ._optional import require
from .errors import TimeAxisError
from .schema import LAYER, NON_LOCATION, TIME

_CLASSES = {
    "qdm": "QuantileDeltaMapping",
    "eqm": "EmpiricalQuantileMapping",
    "dqm": "DetrendedQuantileMapping",
    "scaling": "Scaling",
}
#: Where xsdba interpolates in one dimension of the factors, linear is exact on mid-month stamps.
_INTERP = {"qdm": "linear", "eqm": "nearest", "dqm": "nearest", "scaling": "nearest"}


def _xsdba() -> Any:
    return require("xsdba", purpose="this adjustment method", install="pip install xsdba")


def _mid_months(months: np.ndarray) -> xr.CFTimeIndex:
    import cftime

    stamps = [cftime.Datetime360Day(int(m) // 12, int(m) % 12 + 1, 15) for m in months]
    return xr.CFTimeIndex(np.array(stamps, dtype=object))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence two notes of xsdba: on monthly groups (ours by design), on places without data."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using DQM with a grouping")
        warnings.filterwarnings("ignore", message="All-nan slice")
        warnings.filterwarnings("ignore", message="All-NaN slice")
        yield


def train_xsdba(
    reference: xr.DataArray,
    historical: xr.DataArray,
    *,
    method: str,
    kind: str,
    nquantiles: int,
) -> xr.Dataset:
    """Training Dataset of the xsdba class of ``method``, without its jsonpickle attribute."""
    xsdba = _xsdba()
    first, second = month_index(reference[TIME]), month_index(historical[TIME])
    if first.size != second.size or (first[0] - second[0]) % 12:
        raise TimeAxisError(
            "xsdba needs periods of equal length that begin in the same calendar month; the "
            f"reference has {first.size} months from {month_name(int(first[0]))}, the historical "
            f"{second.size} from {month_name(int(second[0]))}. Type reference_period=..., "
            "historical_period=..., or use a method of engine='fast'."
        )
    stamps = _mid_months(first)
    pair = [_bare(da).assign_coords({TIME: stamps}) for da in (reference, historical)]
    options = {} if method == "scaling" else {"nquantiles": nquantiles}
    with _quiet():
        fitted = getattr(xsdba, _CLASSES[method]).train(
            *pair, group="time.month", kind=kind, **options
        )
    return fitted.ds.drop_attrs(deep=False)


def _bare(da: xr.DataArray) -> xr.DataArray:
    """``da`` without coordinates that are no index; xsdba trips over some of them."""
    return da.drop_vars([name for name in da.coords if name not in da.dims])


def rebuild(trained: xr.Dataset) -> Any:
    """xsdba's adjustment object from trained factors, ours or its own."""
    method = str(trained.attrs["method"])
    xsdba = _xsdba()
    options: dict[str, Any] = {
        "group": xsdba.Grouper("time.month"),
        "kind": str(trained.attrs["kind"]),
        "hist_calendar": "360_day",
        "train_units": str(trained.attrs["units"]),
    }
    if method != "scaling":
        options |= {"adapt_freq_thresh": None, "max_tail_factor": None}
    fitted = getattr(xsdba, _CLASSES[method])(_trained=True, **options)
    fitted.set_dataset(trained.copy())
    return fitted


def adjust_xsdba(trained: xr.Dataset, sim: xr.DataArray, *, method: str, kind: str) -> xr.DataArray:
    """``sim`` adjusted by xsdba, one scenario (member, model) at a time."""
    bare = _bare(sim).assign_coords({TIME: _mid_months(month_index(sim[TIME]))})
    runs = [dim for dim in sim.dims if dim in NON_LOCATION - {TIME, LAYER}]
    places = [dim for dim in trained["af"].dims if dim in sim.dims]
    # the labels were compared before; equal ones are put on both sides, so that nothing is joined
    same = trained.assign_coords({dim: bare[dim] for dim in places if dim in bare.coords})
    fitted = rebuild(same)

    def one(series: xr.DataArray, left: list[Any]) -> xr.DataArray:
        if not left:
            with _quiet():
                done = fitted.adjust(series, interp=_INTERP[method])
            return done.reset_coords(drop=True)
        parts = [
            one(series.isel({left[0]: i}, drop=True), left[1:]) for i in range(sim.sizes[left[0]])
        ]
        return xr.concat(parts, dim=left[0])

    return one(bare, runs).astype(sim.dtype)
