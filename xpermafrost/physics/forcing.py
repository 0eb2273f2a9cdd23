"""From canonical forcing, monthly or daily, to what lies on the soil at every step.

Monthly means become daily values whose means over each month are the given ones: the running sum
is interpolated (Delhez, 2003) by a cubic spline, or, for what cannot be negative, by the monotone
cubic of Fritsch and Carlson (1980), and differenced.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from .._checks import check_monthly, check_units, choose, month_index, require_variables
from .._sun import top_of_atmosphere
from ..errors import DataError, TimeAxisError
from ..schema import FREEZING_POINT, TIME
from .column import SECONDS_PER_DAY
from .profile import Number
from .snow import HEAT_ICE, SNOW_CLASSES, class_density, conductivity

#: Thinner snow [m] neither cools the air above it to 0 degC nor tells its density.
TRACE_OF_SNOW = 0.01

#: Range of densities [kg m-3] believed of water equivalent over depth.
_DENSITIES = (50.0, 600.0)

_DAYS_BEFORE = np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30])


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """How air, sun and snow act on the ground; numbers may be DataArrays over places.

    Snow-free ground has the temperature of the skin, ``ts``. Without it, it has that of the air:
    sunshine makes up about for what evaporates and goes into the ground. With ``rsds`` also,
    both are accounted for.

    Attributes
    ----------
    snow : str or float
        Density of the snow: a class of :data:`~xpermafrost.physics.snow.SNOW_CLASSES`, or
        a number [kg m-3], as those of Sturm et al. (1995), table 2: tundra 380, taiga 260. Used
        where the forcing has not both depth and water equivalent.
    snow_conductivity_factor : float or DataArray
        Multiplies the conductivity of Sturm et al. (1997).
    exchange_resistance : float or DataArray
        Between the air at 2 m and the surface [m2 K W-1]: turbulence (aerodynamic resistance of
        60 s m-1: 20 W m-2 K-1) beside longwave exchange (5 W m-2 K-1). For ``tas`` with ``rsds``.
    solar_gain : float or DataArray
        Warming of dry snow-free ground above the air by sunshine [K per W m-2]: the share of
        ``rsds`` that becomes sensible heat or goes into the ground, 0.3 (net radiation 0.55 of
        it, of which tundra evaporates half; Eugster et al., 2000), times the exchange resistance.
        For ``tas`` with ``rsds``.

    Examples
    --------
    >>> Surface(snow="taiga").exchange_resistance
    0.04
    """

    snow: str | float = "tundra"
    snow_conductivity_factor: Number = 1.0
    exchange_resistance: Number = 0.04
    solar_gain: Number = 0.012

    def __post_init__(self) -> None:
        if isinstance(self.snow, str):
            choose("snow class", self.snow, SNOW_CLASSES)
        elif not _DENSITIES[0] <= self.snow <= _DENSITIES[1]:
            low, high = _DENSITIES
            raise DataError(f"snow has {low:g} to {high:g} kg m-3; found snow={self.snow}.")
        for name, low in (("snow_conductivity_factor", 1e-3), ("exchange_resistance", 0.0)):
            if np.any(np.asarray(getattr(self, name)) < low):
                raise DataError(f"{name} must be positive; found {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps:
    """The time axis of a run; a period is what the answer has one value of.

    Attributes
    ----------
    seconds : float
        Length of a step.
    counts, stamps : array of int (period)
        Steps, and stamps of the forcing, of each period.
    labels : array (period)
        Times of the answer.
    day_of_year : array (step)
        1 to 366.
    monthly : bool
        Whether the forcing is monthly, so that days are to be made of it.
    year : int
        Steps in a year.
    """

    seconds: float
    counts: np.ndarray
    stamps: np.ndarray
    labels: np.ndarray
    day_of_year: np.ndarray
    monthly: bool
    year: int


def read_steps(time: xr.DataArray, average: str) -> Steps:
    """The :class:`Steps` of monthly stamps, or of equal steps of at most a day.

    Raises
    ------
    TimeAxisError
        If the stamps are neither.

    Examples
    --------
    >>> time = xr.DataArray(xr.date_range("2001-01-01", periods=3, freq="MS"), dims="time")
    >>> read_steps(time, "month").counts.tolist()
    [31, 28, 31]
    """
    choose("average", average, ("month", "step"))
    months = month_index(time)
    calendar = str(time.dt.calendar)
    year = 360 if calendar == "360_day" else 365
    gaps = _gaps(time)
    if gaps.size and np.median(np.diff(months)) == 1 and gaps.min() > 20 * SECONDS_PER_DAY:
        check_monthly(time, step="simulate_soil")
        if average != "month":
            raise TimeAxisError("monthly forcing gives monthly means; type average='month'.")
        lengths = np.asarray(time.dt.days_in_month, dtype="int64")
        within = np.concatenate([np.arange(1, n + 1) for n in lengths])
        return Steps(
            seconds=SECONDS_PER_DAY,
            counts=lengths,
            stamps=np.ones_like(lengths),
            labels=time.values,
            day_of_year=np.repeat(_DAYS_BEFORE[months % 12], lengths) + within,
            monthly=True,
            year=year,
        )
    if gaps.size == 0 or np.any(gaps != gaps[0]) or not 0 < gaps[0] <= SECONDS_PER_DAY:
        found = sorted(set((gaps / SECONDS_PER_DAY).round(3).tolist()))[:5]
        raise TimeAxisError(
            "simulate_soil needs monthly means, or equal steps of a day at most (longer ones lose "
            f"the thaw front); found steps of {found} days. Give it monthly means, "
            "ds.resample(time='MS').mean(), or days, ds.resample(time='1D').interpolate()."
        )
    stamps = np.ones(time.size, dtype="int64")
    labels = time.values
    if average == "month":
        _, first, stamps = np.unique(months, return_index=True, return_counts=True)
        labels = _month_starts(time.values[first])
    return Steps(
        seconds=float(gaps[0]),
        counts=stamps,
        stamps=stamps,
        labels=labels,
        day_of_year=np.asarray(time.dt.dayofyear),
        monthly=False,
        year=round(year * SECONDS_PER_DAY / float(gaps[0])),
    )


def _gaps(time: xr.DataArray) -> np.ndarray:
    """Seconds between the stamps, of any calendar."""
    return np.diff(time.values).astype("timedelta64[s]").astype("float64")


def _month_starts(stamps: np.ndarray) -> np.ndarray:
    if stamps.dtype != object:
        return stamps.astype("datetime64[M]").astype("datetime64[ns]")
    midnight = {"day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0}
    return np.array([stamp.replace(**midnight) for stamp in stamps])


def to_days(values: np.ndarray, lengths: np.ndarray, *, positive: bool) -> np.ndarray:
    """Daily values ``(day, place)`` whose monthly means are ``values (month, place)``.

    Delhez (2003): the running sum at the ends of the months is interpolated, and its differences
    from day to day are the answer. ``positive``: by a monotone cubic (Fritsch and Carlson, 1980),
    so that nothing becomes negative; else by a cubic spline.

    Examples
    --------
    >>> days = to_days(np.array([[2.0], [0.0], [1.0]]), np.array([31, 28, 31]), positive=True)
    >>> round(float(days[:31].mean()), 6), float(days.min())
    (2.0, 0.0)
    """
    from scipy.interpolate import CubicSpline, PchipInterpolator

    ends = np.concatenate([[0], np.cumsum(lengths)])
    sums = np.zeros((ends.size, values.shape[1]))
    np.cumsum(values * np.asarray(lengths)[:, None], axis=0, out=sums[1:])
    curve = (PchipInterpolator if positive else CubicSpline)(ends, sums, axis=0)
    days = np.diff(curve(np.arange(ends[-1] + 1)), axis=0)
    return np.maximum(days, 0.0) if positive else days


def forcing_fields(forcing: xr.Dataset) -> dict[str, xr.DataArray]:
    """The variables that a run uses: ``ts``, or ``tas`` and ``rsds``; ``snd``, ``snw`` or both.

    Raises
    ------
    MissingVariableError, UnitsError
        Without temperature or snow, or in other than canonical units.
    """
    top = "ts" if "ts" in forcing else "tas"
    snow = [name for name in ("snd", "snw") if name in forcing]
    require_variables(forcing, [top, *(snow or ["snd"])], step="simulate_soil")
    names = [top, *snow]
    if top == "tas" and "rsds" in forcing:
        names.append("rsds")
    for name in names:
        check_units(forcing[name], name)
    return {name: forcing[name] for name in names}


def on_the_ground(
    fields: dict[str, np.ndarray],
    steps: Steps,
    periods: slice,
    surface: Surface,
    numbers: dict[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Temperature [degC], resistance [m2 K W-1] and heat capacity [J m-2 K-1] above the soil.

    Parameters
    ----------
    fields : dict of array (stamp, place)
        Forcing of the ``periods``, without gaps, in canonical units.
    steps, periods : Steps, slice
        The time axis and the part of it.
    surface : Surface
        Its class of snow is used.
    numbers : dict of array (place)
        Its numbers.

    Returns
    -------
    temperature, resistance, heat : array (step, place)
    """
    if steps.monthly:
        lengths = steps.counts[periods]
        fields = {
            name: to_days(values, lengths, positive=name not in ("ts", "tas"))
            for name, values in fields.items()
        }
    starts = np.concatenate([[0], np.cumsum(steps.counts)])
    first, last = starts[periods.start], starts[periods.stop]
    day = steps.day_of_year[first:last, None]
    depth, density = _snow(fields, day, surface.snow)
    k = np.asarray(conductivity(density)) * numbers["snow_conductivity_factor"]
    resistance = depth / k
    if "ts" in fields:
        return fields["ts"] - FREEZING_POINT, resistance, depth * density * HEAT_ICE
    celsius = bare = fields["tas"] - FREEZING_POINT
    if "rsds" in fields:
        bare = celsius + numbers["solar_gain"] * fields["rsds"]
        resistance += numbers["exchange_resistance"]
    # melting snow stays at 0 degC
    top = np.where(depth > TRACE_OF_SNOW, np.minimum(celsius, 0.0), bare)
    return top, resistance, depth * density * HEAT_ICE


def _snow(
    fields: dict[str, np.ndarray], day: np.ndarray, kind: str | float
) -> tuple[np.ndarray, np.ndarray]:
    """Depth [m] and density [kg m-3] of the snow."""

    def density_at(depth: np.ndarray) -> np.ndarray:
        if isinstance(kind, str):
            return np.asarray(class_density(depth, day, kind=kind))
        return np.full(depth.shape, float(kind))

    if "snd" not in fields:
        density = density_at(0.0 * fields["snw"])
        for _ in range(4):  # depth and density depend on each other; within 0.1 % by then
            density = density_at(fields["snw"] / density)
        return fields["snw"] / density, density
    depth = fields["snd"]
    density = density_at(depth)
    if "snw" in fields:
        told = depth > TRACE_OF_SNOW
        ratio = fields["snw"] / np.where(told, depth, 1.0)
        density = np.where(told, np.clip(ratio, *_DENSITIES), density)
    return depth, density


def fill_gaps(forcing: xr.Dataset) -> xr.Dataset:
    """Monthly forcing with inner gaps filled by the month's mean of the record itself.

    A column forgets no missing month: without filling, it is missing from there on. Months
    before the first and after the last known one stay missing. Lazy on dask arrays along
    places; ``time`` must be one chunk.

    Parameters
    ----------
    forcing : Dataset (..., time)
        Monthly.

    Returns
    -------
    Dataset
        The same variables; only missing values differ.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=3)[["tas"]]
    >>> holed = ds.where(ds["time"] != ds["time"][14])
    >>> bool(fill_gaps(holed)["tas"].isnull().any())
    False
    """
    check_monthly(forcing, step="fill_gaps")
    out = forcing.copy()
    for name, da in forcing.data_vars.items():
        if TIME not in da.dims or da.dtype.kind != "f":
            continue
        climatology = da.groupby("time.month").mean(TIME)
        typical = climatology.sel(month=da[TIME].dt.month).drop_vars("month")
        known = da.notnull()
        inner = da.ffill(TIME).notnull() & da.bfill(TIME).notnull()
        out[name] = da.where(known | ~inner, typical).transpose(*da.dims).assign_attrs(da.attrs)
    return out


def insolation(time: xr.DataArray, lat: xr.DataArray, *, clearness: float = 0.5) -> xr.DataArray:
    """Shortwave radiation at the ground [W m-2] from the date and the latitude alone.

    The daily mean above the air (Spencer, 1971; Iqbal, 1983, equation 4.2.20) times the share
    that arrives, about one half in high latitudes in summer. For records without ``rsds``.

    Parameters
    ----------
    time : DataArray (time)
        Dates: days, or months, taken at their middle.
    lat : DataArray
        Latitude [degrees north].
    clearness : float
        Share that arrives.

    Examples
    --------
    >>> time = xr.DataArray(xr.date_range("2001-06-21", periods=1), dims="time")
    >>> float(insolation(time, xr.DataArray(67.5)).round()[0])
    240.0
    """
    months = bool(np.all(_gaps(time) > 20 * SECONDS_PER_DAY)) and time.size > 1
    out = clearness * top_of_atmosphere(time, lat, months=months)
    return out.assign_attrs(units="W m-2", long_name="shortwave radiation, estimated")
