"""One variable of every scenario as arrays of months and places, for the checks of scenarios."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ._checks import month_index, month_name
from .schema import HISTORICAL, REFERENCE, SCENARIO, TIME, VARIABLES, Variable

#: Temperatures, whose season and order under forcing are known.
WARMTH = ("tas", "ts", "tsl", "tsl_esm", "soil_temperature")
#: Words of severity, the worst first.
SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One answer of one check."""

    severity: str
    check: str
    variable: str
    scenario: str
    place: str
    period: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """Values ``(time, place)`` of one scenario from its first to its last month."""

    name: str
    first: int
    values: np.ndarray

    @property
    def last(self) -> int:
        """Index of the last month."""
        return self.first + len(self.values) - 1

    @property
    def span(self) -> str:
        """``"2006-01/2100-12"``."""
        return f"{month_name(self.first)}/{month_name(self.last)}"

    def part(self, first: int, last: int) -> np.ndarray:
        """Values of the months ``first`` to ``last``, which lie inside."""
        return self.values[first - self.first : last - self.first + 1]

    def years(self, first: int | None = None, last: int | None = None) -> tuple[int, np.ndarray]:
        """First whole calendar year, and values ``(year, month, place)`` of the whole ones."""
        begin = -(-max(self.first, self.first if first is None else first) // 12)
        end = (min(self.last, self.last if last is None else last) + 1) // 12
        count = max(end - begin, 0)
        part = self.values[begin * 12 - self.first : (begin + count) * 12 - self.first]
        return begin, part.reshape(count, 12, self.values.shape[1])


@dataclass(frozen=True, kw_only=True)
class Field:
    """A variable: its runs by scenario, the labels of its places, its row in the table."""

    name: str
    units: str | None
    row: Variable | None
    runs: dict[str, Run]
    places: list[str]
    spans: dict[str, tuple[int, int]]

    @property
    def futures(self) -> list[str]:
        """Scenarios that are neither the reference nor the history."""
        return [name for name in self.runs if name not in (REFERENCE, HISTORICAL)]

    @property
    def bounds(self) -> list[float]:
        """Values at which it rests by nature: no snow, no sun, full cover."""
        low = [] if self.row is None else [self.row.valid_range[0]]
        return [*low, 100.0] if self.units == "%" else low

    @property
    def additive(self) -> bool:
        """Whether differences, not ratios, compare its values."""
        return self.row is None or self.row.kind == "additive"

    def say(
        self, severity: str, check: str, text: str, *, scenario: str, place: str, period: str
    ) -> Finding:
        """A finding on this variable."""
        return Finding(
            severity=severity,
            check=check,
            variable=self.name,
            scenario=scenario,
            place=place,
            period=period,
            text=text,
        )

    def where(self, bad: ArrayLike) -> str:
        """Places of a mask, the first by name."""
        at = np.flatnonzero(bad)
        if len(at) == len(self.places) and len(at) > 1:
            return f"all {len(at)} places"
        more = f" and {len(at) - 1} more of {len(self.places)}" if len(at) > 1 else ""
        return f"{self.places[at[0]]}{more}"


def fields_of(ds: xr.Dataset) -> dict[str, Field]:
    """Every variable with scenario and time; each is computed once."""
    months = month_index(ds[TIME])
    names = [str(name) for name in ds[SCENARIO].values]
    spans = _stated(ds, names)
    found = {}
    for name, da in ds.data_vars.items():
        # what is known of a simulated world is the data of no scenario
        known = str(name).endswith("_truth")
        if {SCENARIO, TIME} <= set(da.dims) and da.dtype.kind == "f" and not known:
            found[str(name)] = _field(da, months, names, spans)
    return found


def _stated(ds: xr.Dataset, names: list[str]) -> dict[str, tuple[int, int]]:
    """Periods that the Dataset states, by scenario."""
    if not {"period_start", "period_end"} <= set(ds.coords):
        return {}
    ends = [month_index(ds[key].compute()) for key in ("period_start", "period_end")]
    months = month_index(ds[TIME])  # a part of an experiment keeps the periods of the whole
    return {
        name: (max(int(a), int(months[0])), min(int(b), int(months[-1])))
        for name, a, b in zip(names, *ends, strict=True)
    }


def _field(
    da: xr.DataArray, months: np.ndarray, names: list[str], spans: dict[str, tuple[int, int]]
) -> Field:
    dims = [str(dim) for dim in da.dims if dim not in (SCENARIO, TIME)]
    array = da.transpose(SCENARIO, TIME, *dims).values
    array = array.reshape(len(names), len(months), -1)
    runs = {}
    for name, values in zip(names, array, strict=True):
        there = np.flatnonzero(np.isfinite(values).any(axis=1))
        if there.size:
            first, last = int(there[0]), int(there[-1])
            runs[name] = Run(name=name, first=int(months[first]), values=values[first : last + 1])
    return Field(
        name=str(da.name),
        units=da.attrs.get("units"),
        row=VARIABLES.get(str(da.name)),
        runs=runs,
        places=_labels(da, dims),
        spans=spans,
    )


def _labels(da: xr.DataArray, dims: list[str]) -> list[str]:
    labels = [""]
    for dim in dims:
        values = da[dim].values.tolist()
        labels = [f"{label}, {dim}={v}" for label in labels for v in values]
    return [label.removeprefix(", ") or "everywhere" for label in labels]


def mean_of(values: np.ndarray, axis: int | tuple[int, ...] = 0) -> np.ndarray:
    """Mean of what is there; NaN, without a warning, where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values.astype("float64", copy=False), axis=axis)


def anomalies(cube: np.ndarray) -> np.ndarray:
    """``(year, month, place)`` without the mean and the linear trend of each calendar month."""
    anomaly = cube - mean_of(cube)
    step = np.arange(len(cube)) - (len(cube) - 1) / 2
    slope = np.tensordot(step, np.nan_to_num(anomaly), axes=1) / (step @ step)
    return anomaly - step[:, None, None] * slope


def spread(cube: np.ndarray) -> np.ndarray:
    """Standard deviation of the anomalies by place."""
    return np.sqrt(mean_of(anomalies(cube) ** 2, axis=(0, 1)))


def forcing_of(name: str) -> float | None:
    """Nominal forcing in 2100 [W m-2] that the name of an RCP or SSP states, else None.

    Examples
    --------
    >>> forcing_of("rcp85"), forcing_of("ssp126"), forcing_of("mine")
    (8.5, 2.6, None)
    """
    found = re.fullmatch(r"(?:rcp|ssp\d)(\d)\.?(\d)", name.lower())
    return float(f"{found[1]}.{found[2]}") if found else None


def continued(past: Run, future: Run) -> tuple[np.ndarray, int] | None:
    """History followed by a scenario, and the place of the seam; None where a gap is between."""
    last = min(past.last, future.first - 1)
    if last < past.first or last != future.first - 1:
        return None
    before = past.part(past.first, last)
    return np.concatenate([before, future.values]), len(before)
