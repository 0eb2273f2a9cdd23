"""Reading any source without renaming by hand: ``standardize`` and ``identify``.

A further family joins with one file: a module with a tuple ``FAMILIES``, added to the
registry below.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import xarray as xr

from .._checks import choose
from ..errors import PermafrostWarning, SourceError, TimeAxisError
from ..schema import LAYER, TIME, layer_coords_from_bounds, variable
from . import cds, cmip, earthengine, stations
from ._base import Family, Match
from ._cmip_files import open_cmip
from ._convert import convert, stack_layers, without_time
from ._grib import clean
from ._guards import check_single, guard
from ._open import open_dataset, open_raw
from ._plausible import check, open_sea
from ._recognise import match
from ._space import standard_latlon, standard_layers
from ._steps import average, to_days
from ._time import Axis, read_axis, to_months

__all__ = [
    "FAMILIES",
    "Family",
    "identify",
    "open_cmip",
    "open_dataset",
    "open_raw",
    "open_sea",
    "standardize",
]

#: Every known source by the name that ``source=`` takes.
FAMILIES: dict[str, Family] = {
    family.name: family
    for module in (cmip, stations, cds, earthengine)
    for family in module.FAMILIES
}


def identify(ds: xr.Dataset, *, source: str | None = None) -> pd.DataFrame:
    """Say what each variable is, and what `standardize` would do to it.

    Recognition trusts, in this order, GRIB keys (``GRIB_paramId``, ``GRIB_shortName``), the CF
    standard name, the name, the long name; the declared units must fit. A name that a catalogue
    owns is heard before its standard name: ecCodes calls the downward flux ``slhf``
    ``surface_upward_latent_heat_flux`` and the soil's ``stl1`` ``surface_temperature``. A standard
    name chooses where the name is ambiguous, and is a problem where it says another quantity.
    Nothing is computed and nothing is raised about variables: what is not settled stands in
    the column ``problem``.

    Parameters
    ----------
    ds : Dataset
        Raw or canonical data.
    source : str, optional
        Name of the source, one of ``FAMILIES``; settles what names and units leave open.

    Returns
    -------
    DataFrame
        One row a variable: ``variable``, ``canonical`` ("" if not recognised), ``role``
        (forcing, target or static), ``source``, ``by`` (what it was recognised by),
        ``units_in``, ``units``, ``factor`` (with the sign; per-month totals are further divided
        by the days of the month), ``offset``, ``per`` (over which time a stored value is summed
        up: "", "hour", "running", "day" or "month"), ``sign``, ``top`` and ``bottom`` of the
        layer [m], ``rule``, ``problem``. Hourly and daily data show the rules of their step.

    Raises
    ------
    UnknownNameError
        If ``source`` is not registered.

    Examples
    --------
    >>> import xarray as xr
    >>> ds = xr.Dataset({"slhf": ((), -8.64e6, {"units": "J m**-2"})})
    >>> row = identify(ds).iloc[0]
    >>> row.canonical, int(row.sign), row.rule
    ('hfls', -1, 'mean daily total x 1 / 86400 s, sign changed to positive up')
    """
    try:
        axis = read_axis(ds)
    except (TimeAxisError, SourceError):  # standardize raises it; here variables are asked for
        axis = None
    found = matches(ds, source, _step_of(ds, axis))
    return pd.DataFrame([_row(item) for item in found], columns=_COLUMNS)


_COLUMNS = [
    "variable",
    "canonical",
    "role",
    "source",
    "by",
    "units_in",
    "units",
    "factor",
    "offset",
    "per",
    "sign",
    "top",
    "bottom",
    "rule",
    "problem",
]


def _row(found: Match) -> dict[str, object]:
    rule = found.rule
    top, bottom = rule.bounds if rule and rule.bounds else (np.nan, np.nan)
    return {
        "variable": found.variable,
        "canonical": found.canonical,
        "role": variable(found.canonical).role if rule else "",
        "source": found.family,
        "by": found.by,
        "units_in": found.units_in,
        "units": variable(found.canonical).units if rule else "",
        "factor": found.scale if rule else np.nan,
        "offset": found.shift if rule else np.nan,
        "per": "month" if found.per_month else found.per,
        "sign": rule.sign if rule else 0,
        "top": top,
        "bottom": bottom,
        "rule": found.text or ("" if found.problem else _unknown(found.step)),
        "problem": found.problem,
    }


def _unknown(step: str) -> str:
    return "not recognised; " + ("kept as it is" if step == "month" else "left out of means")


def _step_of(ds: xr.Dataset, axis: Axis | None) -> str:
    """Time step of the source; lead times of GRIB (`step`) are hours."""
    if ds.sizes.get("step", 1) > 1:
        return "hour"
    return axis.step if axis else "month"


def matches(ds: xr.Dataset, source: str | None, step: str) -> list[Match]:
    """What is found about each variable of data with the time step ``step``."""
    if source is not None:
        choose("source", source, FAMILIES)
    proven = [name for name, family in FAMILIES.items() if family.recognise(ds)]
    bounds = {ds[name].attrs.get("bounds") for name in ds.variables}
    found = [
        match(str(name), da, families=FAMILIES, source=source, proven=proven, step=step)
        for name, da in ds.data_vars.items()
        if name not in bounds
        and not str(name).endswith(("_bnds", "_bounds"))
        # coordinates in disguise, text, dates and grid mappings are not quantities
        and da.dtype.kind in "fiu"
        and name not in ("latitude", "longitude", "lat", "lon", "crs", "spatial_ref", "expver")
    ]
    # A second field of the same standard name (`tsl_esm` beside `tsl`) is the user's own.
    said = ("standard_name", "long_name")
    named = {m.canonical for m in found if m.by not in said}
    return [
        Match(variable=m.variable, units_in=m.units_in, step=m.step)
        if m.by in said and m.canonical in named
        else m
        for m in found
    ]


def standardize(ds: xr.Dataset, *, source: str | None = None, step: str = "month") -> xr.Dataset:
    """Canonical names, units, signs, dimensions and time from data of any known source.

    Reads CMIP5 and CMIP6, ERA5 and ERA5-Land from the Climate Data Store (short and long names,
    old and new layout, ARCO stores), ERA5-Land from Earth Engine, and station Datasets; monthly,
    daily and hourly. What is canonical already passes unchanged; variables that are not
    recognised are kept as they are in monthly data, and left out with a warning where a mean in
    time would be needed. The argument is not written to.

    Parameters
    ----------
    ds : Dataset
        Monthly, daily or hourly data, or static fields.
    source : {"cmip", "stations", "era5-land", "era5", "earthengine"}, optional
        Settles what names and units leave open (the meaning of ``snow_depth``; over which time
        hourly accumulations are summed up), and vouches for the units of the catalogue where the
        variables carry none.
    step : {"month", "day"}, default "month"
        Time step of the result. Finer data are averaged; a period that is not wholly covered is
        missing, and a warning says which.

    Returns
    -------
    Dataset
        ``time`` is the first of the month (the day at 00:00) in datetime64[ns]; the calendar of
        the source is kept in its attribute ``source_calendar``. ``lat`` and ``lon`` ascend,
        ``lon`` is in [-180, 180); rotated and projected grids keep their dimensions and their
        two-dimensional ``lat`` and ``lon``. Soil layers are ``layer`` with ``depth`` and
        ``depth_bnds`` [m]. Variables carry ``source_variable``, ``source_units``, ``source_rule``
        and, where small negatives of GRIB packing were set to 0, ``clipped_negative``. Months
        with preliminary values (ERA5T, ``expver`` 0005) are named in ``preliminary_months``.

    Raises
    ------
    SourceError
        If a meaning is ambiguous, if name and units disagree, if values after conversion are
        outside the physical range or contradict each other, if accumulations are those of
        another product than names or ``source`` say.
    UnknownNameError
        If ``source`` or ``step`` is not known.
    TimeAxisError
        If stamps are missing, doubled or unsorted, calendars are mixed, steps are neither months,
        days nor hours, ``step="day"`` is asked of monthly data, or of a calendar with days that
        do not exist (360_day).

    Warns
    -----
    PermafrostWarning
        Of periods that are not wholly covered, preliminary months, glacier cells, open sea in
        ``ts``, and variables that are left out.

    Notes
    -----
    Accumulations (ECMWF, "Conversion table for accumulated variables"): monthly means of the
    Climate Data Store hold the mean daily total; hourly ERA5 the total of the hour before the
    stamp; hourly ERA5-Land a running total since 00 UTC, so that the total of a day stands at
    00 UTC of the next; Earth Engine's ``_sum`` the total of the day or month. Days are those of
    UTC; daily and monthly means need every step of their period, in time and in each cell.
    Days of a noleap calendar become datetime64 without 29 February.

    Lazy data stay lazy, whatever their chunks: coordinates and bounds are read, values are not.
    The physical range is then checked in each block when it is computed; running totals, signs,
    balances and the plausibility of means are not, and the history says so.
    Monthly totals are divided by the days of the month in the calendar of the source.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> time = pd.date_range("2001-01-01", periods=2, freq="MS")
    >>> raw = xr.Dataset({"tp": ("valid_time", [0.001, 0.002], {"units": "m"})},
    ...                  coords={"valid_time": time})
    >>> (standardize(raw)["pr"] * 86400).values.round(6).tolist()
    [1.0, 2.0]

    Hourly ERA5: 744 hours of 0.1 mm.

    >>> hours = pd.date_range("2001-01-01 01:00", periods=744, freq="h")
    >>> raw = xr.Dataset({"tp": ("time", np.full(744, 1e-4), {"units": "m"})},
    ...                  coords={"time": hours})
    >>> (standardize(raw, source="era5")["pr"] * 86400).values.round(6).tolist()
    [2.4]
    """
    choose("step", step, ("month", "day"))
    cleaned = clean(ds)
    axis = read_axis(cleaned.ds)
    source_step = _step_of(ds, axis)
    found = matches(ds, source, source_step)
    _raise_problems(ds, found, source_step)
    recognised = [m for m in found if m.rule is not None]
    check_single(ds, axis, recognised)
    notes = list(cleaned.notes)
    changed = len(cleaned.ds.coords) != len(ds.coords) or bool(notes)
    out, days, moved, told = _to_step(cleaned.ds, axis, recognised, step)
    notes += told
    recognised = [m for m in recognised if m.variable in out.data_vars]
    out, turned = standard_latlon(out)
    layered = [m.variable for m in recognised if variable(m.canonical).layered]
    out, stacked = standard_layers(out, layered, source=source)
    out, converted = _convert_all(out, recognised, days, step)
    out = _tell_preliminary(out, cleaned.preliminary)
    check(out, step=step, names={m.canonical for m in recognised})
    if not (changed or moved or turned or stacked or converted):
        return out.copy(deep=False)
    if any(out[m.canonical].chunks is not None for m in recognised):
        notes.append("lazy: ranges are checked when computed, plausibility of means is not")
    return _with_history(out, source, step, notes)


def _to_step(
    ds: xr.Dataset, axis: Axis | None, recognised: Sequence[Match], step: str
) -> tuple[xr.Dataset, xr.DataArray | None, bool, list[str]]:
    """Bring the time axis to ``step``: the Dataset, days of the months, changed or not, notes."""
    if axis is None:
        return ds, None, False, []
    if axis.step == "month":
        if step == "day":
            raise TimeAxisError(
                "step='day' needs daily or hourly data; these are monthly, and days are not made "
                "up. Type standardize(), which keeps months."
            )
        return *to_months(ds, axis), []
    if axis.step == step:
        whole, same = to_days(ds, axis)
        if same:
            months = whole["time"].dt.days_in_month.astype("float64")
            return whole, months.drop_vars("time"), False, []
    out, days, notes = average(ds, axis, recognised, step=step)
    return out, days, True, notes


def _tell_preliminary(ds: xr.Dataset, months: tuple[str, ...]) -> xr.Dataset:
    if not months:
        return ds
    warnings.warn(
        f"standardize: {len(months)} months are preliminary (ERA5T, expver 0005), {months[0]} to "
        f"{months[-1]}: final values may differ. They are in attrs['preliminary_months']; leave "
        f"them out with ds.sel(time=ds['time'] < np.datetime64({months[0]!r})).",
        PermafrostWarning,
        stacklevel=3,
    )
    return ds.assign_attrs(preliminary_months=", ".join(months))


def _raise_problems(ds: xr.Dataset, found: list[Match], step: str) -> None:
    for family in FAMILIES.values():
        reason = family.refuse(ds, step)
        if reason:
            raise SourceError(reason)
    problems = [m.problem for m in found if m.problem]
    if problems:
        more = len(problems) - 1
        rest = f" ({more} more: see identify(ds).)" if more else ""
        raise SourceError(problems[0] + rest)
    counts = Counter((m.canonical, m.rule.bounds) for m in found if m.rule)
    whole = {name for name, bounds in counts if bounds is None}
    for (name, bounds), count in counts.items():
        if count > 1 or (bounds is not None and name in whole):
            names = [m.variable for m in found if m.canonical == name]
            raise SourceError(
                f"{names} all become {name!r}. Keep one: ds.drop_vars({names[1:]!r})."
            )


def _convert_all(
    ds: xr.Dataset, found: list[Match], days: xr.DataArray | None, step: str
) -> tuple[xr.Dataset, bool]:
    """Replace each recognised variable by its canonical form, in the order of the source."""
    changed = False
    new: dict[str, xr.DataArray] = {}
    parts: dict[str, list[tuple[tuple[float, float], xr.DataArray]]] = {}
    for item in found:
        assert item.rule is not None
        da = ds[item.variable]
        if not item.untouched:
            da, changed = convert(da, item, days), True
        da, clipped = guard(da, untouched=item.untouched, step=step)
        changed = changed or clipped
        if variable(item.canonical).role == "static" and TIME in da.dims:
            da, changed = without_time(da), True
        if item.rule.bounds is not None:
            parts.setdefault(item.canonical, []).append((item.rule.bounds, da))
        else:
            new[item.canonical] = da
    for name, layers in parts.items():
        new[name] = stack_layers(layers)
    if parts:
        ds = _layer_bounds(ds, parts)
    rest = ds.drop_vars([m.variable for m in found])
    order = [m.canonical for m in found]
    return rest.assign({name: new[name] for name in dict.fromkeys(order)}), changed


def _layer_bounds(
    ds: xr.Dataset, parts: dict[str, list[tuple[tuple[float, float], xr.DataArray]]]
) -> xr.Dataset:
    """Coordinates of the stacked layers; soil temperature and water must have the same ones."""
    sets = {name: sorted(bounds for bounds, _ in layers) for name, layers in parts.items()}
    first, *others = sets.values()
    if any(other != first for other in others) or LAYER in ds.dims:
        raise SourceError(
            f"the Dataset holds different soil layers: {sets}. Standardize the variables apart, "
            "or load the same layers of each."
        )
    return ds.assign_coords(layer_coords_from_bounds(np.array(first)))


def _with_history(ds: xr.Dataset, source: str | None, step: str, notes: list[str]) -> xr.Dataset:
    from .. import __version__

    options = {"source": source, "step": None if step == "month" else step}
    said = ", ".join(f"{name}={value!r}" for name, value in options.items() if value)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"{now} xpermafrost {__version__}: standardize({said})"
    line += "".join(f"; {note}" for note in notes)
    old = str(ds.attrs.get("history", ""))
    attrs = {k: v for k, v in ds.attrs.items() if not str(k).startswith("GRIB_")}
    out = ds.copy(deep=False)
    out.attrs = {**attrs, "history": f"{old}\n{line}" if old else line}
    return out
