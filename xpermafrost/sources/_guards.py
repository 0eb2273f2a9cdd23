"""Guards of single variables: physical range, plausible size, packing, sums in time.

What can be decided from one value is checked everywhere: at once in memory, block by block
when lazy data are computed. What needs means (is a factor of 24 or 30 hidden in values that
are all in range?) is checked in memory only, and only over a year or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import xarray as xr

from ..errors import SourceError
from ..schema import TIME, variable
from ._base import Match
from ._time import DAY, TIME_NAMES, Axis
from ._units import plain

#: Negatives up to this size (canonical units) are rounding of GRIB packing or regridding.
PACKING = {"pr": 1e-6, "prsn": 1e-6, "snd": 1e-3, "snw": 1.0, "snc": 0.1, "rsds": 0.5, "mrsol": 0.1}

#: Largest daily mean where it is beyond that of a month: 1825 mm in a day (WMO archive, Foc-Foc).
DAILY_MOST = {"pr": 0.0215, "prsn": 0.0215}

#: What no single reading of an hour or a moment is beyond, where it is not the range of a mean:
#: -89 degC at Vostok and 57 in Death Valley, 100 on dark sand; 305 mm in an hour (WMO archive);
#: sun through broken clouds; a radiometer at night, a snow sensor in summer are a little below 0.
READINGS: dict[str, tuple[float, float]] = {
    "tas": (180.0, 335.0),
    "ts": (175.0, 375.0),
    "tsl": (190.0, 350.0),
    "pr": (-1e-3, 0.1),
    "prsn": (-1e-3, 0.1),
    "rlds": (0.0, 800.0),
    "rsds": (-50.0, 1800.0),
    "hfls": (-1500.0, 1500.0),
    "hfss": (-1500.0, 1500.0),
    "snd": (-1.0, 60.0),
    "snw": (-100.0, 2.5e4),
    "snc": (-1.0, 101.0),
}

#: In a year or more of real data the largest value is above the first number, no month (day) is
#: above the second, and the mean is below the third. pr: wettest month of the driest places > 5 mm,
#: world's wettest place 12 m a year (WMO archive, Mawsynram); rsds: any place has a month with
#: 30 W m-2, none 450 on average; temperature: 42 degC in Death Valley, and a century's warming.
PLAUSIBLE: dict[str, tuple[float, float, float]] = {
    "pr": (2e-6, np.inf, 4e-4),
    "prsn": (0.0, np.inf, 4e-4),
    "rlds": (60.0, np.inf, 500.0),
    "rsds": (30.0, np.inf, 450.0),
    "hfls": (0.1, np.inf, 400.0),
    "hfss": (0.1, np.inf, 400.0),
    "tas": (220.0, 325.0, 315.0),
    "tsl": (220.0, 330.0, 318.0),
}

#: Values that are looked at together.
PIECE = 2**18

#: What an implausible value may be instead: ``value * factor + offset`` would be usual.
_TEMPERATURE = (
    (1.0, 273.15, "degrees Celsius, not kelvin"),
    (5 / 9, 459.67 * 5 / 9, "degrees Fahrenheit, not kelvin"),
    (1.0, -273.15, "kelvin, not degrees Celsius"),
    (5 / 9, (459.67 - 273.15) * 5 / 9, "degrees Fahrenheit, not degrees Celsius"),
)
_FLUX = (
    (-1.0, 0.0, "counted positive in the other direction"),
    (1 / 86400, 0.0, "joules of a day (J m-2), not W m-2"),
    (1 / 3600, 0.0, "joules of an hour (J m-2), not W m-2"),
    (1 / (30.4 * 86400), 0.0, "joules of a month (J m-2), not W m-2"),
    (1 / 30.4, 0.0, "totals of a month taken for mean daily totals (x 28 to 31)"),
    (86400.0, 0.0, "W m-2 already, taken for J m-2 of a day"),
    (86400.0 * 30.4, 0.0, "W m-2 already, taken for J m-2 of a month"),
    (24.0, 0.0, "totals of an hour taken for totals of a day (x 24)"),
    (30.4, 0.0, "mean daily totals taken for totals of a month"),
)
_WATER = (
    (1 / 1000, 0.0, "millimetres, not metres"),
    (1 / 86400, 0.0, "mm per day, not kg m-2 s-1"),
    (1 / 86.4, 0.0, "metres per day, not kg m-2 s-1"),
    (1 / 30.4, 0.0, "totals of a month taken for mean daily totals (x 28 to 31)"),
    (86.4, 0.0, "kg m-2 s-1 already, taken for metres of a day"),
    (86.4 * 30.4, 0.0, "kg m-2 s-1 already, taken for metres of a month"),
    (24.0, 0.0, "totals of an hour taken for totals of a day (x 24)"),
    (30.4, 0.0, "mean daily totals taken for totals of a month"),
)
_SHARE = ((0.01, 0.0, "per cent taken for a fraction (x 100)"),)
_DEPTH = ((0.01, 0.0, "centimetres, not metres"), (0.001, 0.0, "millimetres, not metres"))
_EXPLANATIONS = {
    **dict.fromkeys(("tas", "ts", "tsl"), _TEMPERATURE),
    **dict.fromkeys(("rlds", "rsds", "hfls", "hfss"), _FLUX),
    **dict.fromkeys(("pr", "prsn"), _WATER),
    **dict.fromkeys(("snc", "sftlf"), _SHARE),
    "snd": _DEPTH,
    "snw": ((0.001, 0.0, "millimetres of water, not metres"),),
}
#: Smallest value, and range of the largest: where an explanation must lead to be believed.
_USUAL = {
    **dict.fromkeys(("tas", "ts", "tsl"), (190.0, 240.0, 318.0)),
    "rlds": (60.0, 150.0, 500.0),
    "rsds": (-1.0, 60.0, 450.0),
    "hfls": (-150.0, 5.0, 250.0),
    "hfss": (-250.0, 5.0, 250.0),
    "pr": (-1e-7, 5e-6, 3e-4),
    "prsn": (-1e-7, 2e-6, 3e-4),
    "snc": (-0.1, 1.5, 100.001),
    "sftlf": (-0.1, 1.5, 100.001),
    "snd": (-1e-3, 0.05, 15.0),
    "snw": (-1.0, 5.0, 10001.0),
}


def readings_range(name: str) -> tuple[float, float]:
    """Lowest and highest value that a single reading can have [canonical units]."""
    least, most = READINGS.get(name, variable(name).valid_range)
    return least - PACKING.get(name, 0.0), most


def stored_limits(found: Match) -> tuple[float, float]:
    """Lowest and highest possible reading in stored units."""
    days = 31.0 if found.per_month else 1.0
    ends = [(end * days - found.shift) / found.scale for end in readings_range(found.canonical)]
    return min(ends), max(ends)


def canonical_ends(values: np.ndarray, found: Match) -> tuple[float, float]:
    """Smallest and largest of ``values`` in canonical units."""
    days = 31.0 if found.per_month else 1.0
    ends = [float(end(values)) * found.scale + found.shift for end in (np.nanmin, np.nanmax)]
    return min(ends) / days, max(ends) / days


def raise_beyond(name: str, low: float, high: float, where: str = "") -> NoReturn:
    """The error for readings from ``low`` to ``high`` [canonical units], before any average."""
    least, most = readings_range(name)
    raise SourceError(
        f"readings of {name!r} span {low:.4g} to {high:.4g} {variable(name).units}{where}; none is "
        f"beyond {least:g} to {most:g}.{_explain(name, low, high)} Codes for missing or readings "
        "of a broken sensor would be averaged with the others: set them to NaN (empty in a "
        "table), or correct the units."
    )


def guard(da: xr.DataArray, *, untouched: bool, step: str) -> tuple[xr.DataArray, bool]:
    """Check the physical range and set packing negatives to 0.

    In memory: at once, with a count in ``clipped_negative``. Lazy: block by block when
    computed, without a count; data that were canonical already are then checked, not clipped.

    Returns the array and whether values were changed.
    """
    name = str(da.name)
    slack = PACKING.get(name, 0.0)
    if da.chunks is not None:
        out = xr.apply_ufunc(
            _guard_block,
            da,
            kwargs={"name": name, "clip": not untouched, "step": step},
            dask="parallelized",
            output_dtypes=[da.dtype],
            keep_attrs=True,
        )
        if slack and not untouched:
            out.attrs["clipped_negative"] = f"down to {-slack:g} set to 0 when computed"
        return out, False
    values = np.asarray(da.values)
    found = _Extent.of(values)
    _raise_out_of_range(found, name, step)
    _raise_implausible(da, found, step)
    least = variable(name).valid_range[0]
    if not slack or not found.low < least:
        return da, False
    negative = values < least
    out = da.copy(deep=False, data=np.where(negative, np.zeros((), da.dtype), values))
    out.attrs["clipped_negative"] = (
        f"{int(negative.sum())} values, down to {found.low:.3g}, set to 0"
    )
    return out, True


@dataclass(frozen=True, kw_only=True)
class _Extent:
    """Smallest, largest and mean size of the values that are there; NaN of none."""

    low: float
    high: float
    size: float

    @classmethod
    def of(cls, values: np.ndarray) -> _Extent:
        if values.size == 0:
            return cls(low=np.nan, high=np.nan, size=np.nan)
        rows = values.reshape(1) if values.ndim == 0 else values
        most = max(1, PIECE * len(rows) // values.size)
        lows, highs, total, count = [], [], 0.0, 0
        for k in range(0, len(rows), most):  # pieces stay in the cache, and nothing large is made
            piece = rows[k : k + most]
            lows.append(np.fmin.reduce(piece, axis=None))
            highs.append(np.fmax.reduce(piece, axis=None))
            sizes = np.abs(piece)
            there = sizes == sizes
            total += float(np.sum(sizes, where=there, dtype="float64"))
            count += int(np.count_nonzero(there))
        low, high = float(np.fmin.reduce(lows)), float(np.fmax.reduce(highs))
        return cls(low=low, high=high, size=total / count if count else np.nan)


def _guard_block(values: np.ndarray, *, name: str, clip: bool, step: str) -> np.ndarray:
    _raise_out_of_range(_Extent.of(values), name, step)
    if clip and name in PACKING:
        return np.where(values < 0, np.zeros((), values.dtype), values)
    return values


def _raise_out_of_range(found: _Extent, name: str, step: str) -> None:
    row, low, high = variable(name), found.low, found.high
    if np.isnan(low):
        return
    most = DAILY_MOST.get(name, row.valid_range[1]) if step == "day" else row.valid_range[1]
    if low >= row.valid_range[0] - PACKING.get(name, 0.0) and high <= most:
        return
    raise SourceError(
        f"{name!r} spans {low:.4g} to {high:.4g} {row.units} after conversion; the mean of a "
        f"{step} lies within {row.valid_range[0]:g} to {most:g}.{_explain(name, low, high)} Its "
        "units or its source are not what they say, or fill values are left: correct "
        "attrs['units'], pass source=..., or mask the cells that are meant."
    )


def _raise_implausible(da: xr.DataArray, found: _Extent, step: str) -> None:
    """Only for a year or more: one month may be dry."""
    name = str(da.name)
    if name not in PLAUSIBLE or da.sizes.get(TIME, 0) < {"month": 12, "day": 365}[step]:
        return
    row, (least, most, mean_most) = variable(name), PLAUSIBLE[name]
    low, high, mean = found.low, found.high, found.size
    largest = max(abs(low), abs(high))
    if step == "day":
        most = most * 1.05
    if np.isnan(mean) or not (0 < largest < least or largest > most or mean > mean_most):
        return
    raise SourceError(
        f"{name!r} has mean size {mean:.3g} and largest size {largest:.3g} {row.units} in "
        f"{da.sizes[TIME]} {step}s; plausible are a largest size of {least:g} to {most:g} and a "
        f"mean below {mean_most:g}.{_explain(name, low, high)} The stored units or the "
        "accumulation period are not what the name says: correct attrs['units'], rename the "
        "variable, or pass source=..."
    )


def _explain(name: str, low: float, high: float) -> str:
    """What the values would fit, in words with a leading space, or ""."""
    smallest, least, most = _USUAL.get(name, (np.inf, 0.0, 0.0))
    for factor, offset, words in _EXPLANATIONS.get(name, ()):
        ends = sorted((low * factor + offset, high * factor + offset))
        if ends[0] >= smallest and least <= ends[1] <= most:
            return f" The values would be usual if they were {words}."
    return ""


def check_single(ds: xr.Dataset, axis: Axis | None, found: Sequence[Match]) -> None:
    """A lone stamp that is no first of a month, and a total: of a month, a day or an hour?

    Raises
    ------
    SourceError
        If there are no time bounds that tell.
    """
    if axis is None:
        stamp = next((ds[n] for n in TIME_NAMES if n in ds.coords and not ds[n].ndim), None)
    else:
        lone = axis.dates.size == 1 and axis.step == "month" and axis.middles is axis.dates
        stamp = axis.dates[0] if lone else None
    totals = [m for m in found if m.rule and m.rule.totals and plain(m.units_in) == m.rule.units]
    if stamp is None or stamp.dtype.kind not in "MO" or not totals:
        return
    if int(stamp.dt.day) == 1 and int(stamp.dt.hour) in (0, 6):
        return
    name, units = totals[0].variable, totals[0].units_in
    raise SourceError(
        f"{name!r} in {units!r} is a total, and its only stamp, {str(stamp.values)[:16]}, "
        "does not tell whether of a month, a day or an hour. Load more times, or say the period: "
        f"ds[{name!r}].attrs['units'] = '{units} day-1'."
    )


def check_totals(da: xr.DataArray, found: Match, minutes: np.ndarray) -> None:
    """Compare hourly totals in memory with what their source says of them.

    A quantity that is never negative and runs on since 00 UTC does not fall within a day, and
    starts anew after 00 UTC; totals of single hours fall as often as they rise. Heat fluxes
    have both signs: they show nothing and pass. A sample of days and places is looked at.

    Raises
    ------
    SourceError
        If running totals are read as totals of an hour (a factor of up to 24), or the reverse.
    """
    if da.chunks is not None or found.per not in ("running", "hour"):
        return
    if found.canonical not in ("pr", "prsn", "rlds", "rsds"):
        return
    values = _some_days(da, minutes)
    if values is None:
        return
    rises, falls, restarts = _shape_of(values)
    constant = rises + falls == 0 and np.nanmax(values, initial=0.0) > 0
    if found.per == "running" and (constant or falls > 0.2 * (rises + falls)):
        raise SourceError(
            f"{found.variable!r} is read as a running total since 00 UTC, as hourly ERA5-Land has "
            f"it, but it falls in {falls} of the {rises + falls} hours with a change within a day: "
            "these are totals of single hours. Type standardize(source='era5') if they are "
            "(plain ERA5, or ERA5-Land with its totals taken apart)."
        )
    if found.per == "hour" and rises > 20 and falls < 0.02 * rises and restarts > 0.5:
        raise SourceError(
            f"{found.variable!r} is read as totals of single hours, as hourly ERA5 has them, but "
            f"never falls within a day and starts anew at 01 UTC in {restarts:.0%} of the days: "
            "a running total since 00 UTC, a factor of up to 24. Type "
            "standardize(source='era5-land')."
        )


def _some_days(da: xr.DataArray, minutes: np.ndarray) -> np.ndarray | None:
    """Up to 60 whole days, from 00 UTC to 00 UTC, of up to 400 places: (day, 25, place)."""
    starts = np.flatnonzero(minutes % DAY == 0)
    starts = starts[starts + 24 < minutes.size]
    starts = starts[minutes[starts + 24] - minutes[starts] == DAY] if starts.size else starts
    if starts.size == 0:
        return None
    starts = starts[:: max(1, starts.size // 60)]
    moved = da.transpose(TIME, ...).values
    flat = moved.reshape(moved.shape[0], -1)
    flat = flat[:, :: max(1, flat.shape[1] // 400)]
    return flat[starts[:, None] + np.arange(25)].astype("float64")


def _shape_of(values: np.ndarray) -> tuple[int, int, float]:
    """Rises and falls between 01 and 24 UTC, and the share of days that start anew at 01 UTC."""
    within = np.diff(values[:, 1:], axis=1)
    with np.errstate(invalid="ignore"):
        noise = 1e-3 * np.nanmax(np.abs(values), initial=0.0)
        rises, falls = int((within > noise).sum()), int((within < -noise).sum())
        wet = values[:, 0] > noise
        fallen = (values[:, 1] < values[:, 0] - noise) & wet
    return rises, falls, float(fallen.sum() / max(int(wet.sum()), 1))
