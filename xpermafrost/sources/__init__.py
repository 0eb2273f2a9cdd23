"""Reading any source without renaming by hand: ``standardize`` and ``identify``.

A further family joins with one file: a module with a tuple ``FAMILIES``, added to the
registry below.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import xarray as xr

from .._checks import choose
from ..errors import SourceError
from ..schema import LAYER, layer_coords_from_bounds, variable
from . import cds, cmip, earthengine, stations
from ._base import Family, Match, match
from ._convert import convert, guard, stack_layers
from ._space import standard_grib, standard_latlon, standard_layers
from ._time import standard_time

__all__ = ["FAMILIES", "Family", "identify", "standardize"]

#: Every known source by the name that ``source=`` takes.
FAMILIES: dict[str, Family] = {
    family.name: family
    for module in (cmip, stations, cds, earthengine)
    for family in module.FAMILIES
}


def identify(ds: xr.Dataset, *, source: str | None = None) -> pd.DataFrame:
    """Say what each variable is, and what `standardize` would do to it.

    Recognition trusts, in this order, the ``GRIB_paramId``, the name, the CF standard name;
    the declared units must fit. Nothing is computed and nothing is raised about variables:
    what is not settled stands in the column ``problem``.

    Parameters
    ----------
    ds : Dataset
        Raw or canonical data.
    source : str, optional
        Name of the source, one of ``FAMILIES``; settles what names and units leave open.

    Returns
    -------
    DataFrame
        One row a variable: ``variable``, ``canonical`` ("" if not recognised), ``source``,
        ``by`` (what it was recognised by), ``units_in``, ``units``, ``factor`` (with the sign;
        per-month totals are further divided by the days of the month), ``offset``, ``per``,
        ``sign``, ``top`` and ``bottom`` of the layer [m], ``rule``, ``problem``.

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
    return pd.DataFrame([_row(found) for found in _matches(ds, source)], columns=_COLUMNS)


_COLUMNS = [
    "variable",
    "canonical",
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
        "source": found.family,
        "by": found.by,
        "units_in": found.units_in,
        "units": variable(found.canonical).units if rule else "",
        "factor": found.scale if rule else np.nan,
        "offset": found.shift if rule else np.nan,
        "per": "month" if found.per_month else (rule.per if rule else ""),
        "sign": rule.sign if rule else 0,
        "top": top,
        "bottom": bottom,
        "rule": rule.text if rule else ("" if found.problem else "not recognised; kept as it is"),
        "problem": found.problem,
    }


def _matches(ds: xr.Dataset, source: str | None) -> list[Match]:
    if source is not None:
        choose("source", source, FAMILIES)
    proven = [name for name, family in FAMILIES.items() if family.recognise(ds)]
    bounds = {ds[name].attrs.get("bounds") for name in ds.variables}
    found = [
        match(str(name), da, families=FAMILIES, source=source, proven=proven)
        for name, da in ds.data_vars.items()
        if name not in bounds
        and not str(name).endswith(("_bnds", "_bounds"))
        # coordinates in disguise, text, dates and grid mappings are not quantities
        and da.dtype.kind in "fiu"
        and name not in ("latitude", "longitude", "lat", "lon", "crs", "spatial_ref")
    ]
    # A second field of the same standard name (`tsl_esm` beside `tsl`) is the user's own.
    named = {m.canonical for m in found if m.by != "standard_name"}
    return [
        Match(variable=m.variable, units_in=m.units_in)
        if m.by == "standard_name" and m.canonical in named
        else m
        for m in found
    ]


def standardize(ds: xr.Dataset, *, source: str | None = None) -> xr.Dataset:
    """Canonical names, units, signs and dimensions from monthly data of any known source.

    Reads CMIP5 and CMIP6, ERA5 and ERA5-Land monthly means from the Climate Data Store
    (short and long names, old and new layout), ERA5-Land from Earth Engine, and monthly
    station Datasets. What is canonical already passes unchanged; variables that are not
    recognised are kept as they are. The argument is not written to.

    Parameters
    ----------
    ds : Dataset
        Monthly data, or static fields.
    source : {"cmip", "stations", "era5-land", "era5", "earthengine"}, optional
        Settles what names and units leave open (the meaning of ``snow_depth``), and vouches
        for the units of the catalogue where the variables carry none.

    Returns
    -------
    Dataset
        ``time`` is the first of the month in datetime64[ns] (the calendar of the source is kept
        in its attribute ``source_calendar``), ``lat`` and ``lon`` ascend, ``lon`` is in
        [-180, 180), soil layers are ``layer`` with ``depth`` and ``depth_bnds`` [m].
        Variables carry ``source_variable``, ``source_units``, ``source_rule`` and, where small
        negatives of GRIB packing were set to 0, ``clipped_negative``.

    Raises
    ------
    SourceError
        If a meaning is ambiguous, if name and units disagree, if values after conversion are
        outside the physical range, if accumulations are hourly or daily.
    UnknownNameError
        If ``source`` is not registered.
    TimeAxisError
        If months are missing, doubled or unsorted, or steps are not monthly.

    Notes
    -----
    Lazy data stay lazy: coordinates and bounds are read, values are not. The physical range is
    then checked in each block when it is computed, and the plausibility of the mean is not.
    Monthly totals are divided by the days of the month in the calendar of the source.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> time = pd.date_range("2001-01-01", periods=2, freq="MS")
    >>> raw = xr.Dataset({"tp": ("valid_time", [0.001, 0.002], {"units": "m"})},
    ...                  coords={"valid_time": time})
    >>> (standardize(raw)["pr"] * 86400).values.round(6).tolist()
    [1.0, 2.0]
    """
    found = _matches(ds, source)
    _raise_problems(ds, found)
    recognised = [m for m in found if m.rule is not None]
    out, notes = standard_grib(ds)
    changed = len(out.coords) != len(ds.coords) or bool(notes)
    accumulated = [m.variable for m in recognised if m.rule and m.rule.per]
    out, days, moved = standard_time(out, accumulated=accumulated)
    out, turned = standard_latlon(out)
    layered = [m.variable for m in recognised if variable(m.canonical).layered]
    out, stacked = standard_layers(out, layered, source=source)
    out, converted = _convert_all(out, recognised, days)
    if not (changed or moved or turned or stacked or converted):
        return out.copy(deep=False)
    return _with_history(out, source, notes)


def _raise_problems(ds: xr.Dataset, found: list[Match]) -> None:
    for family in FAMILIES.values():
        reason = family.refuse(ds)
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
    ds: xr.Dataset, found: list[Match], days: xr.DataArray | None
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
        da, clipped = guard(da, untouched=item.untouched)
        changed = changed or clipped
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


def _with_history(ds: xr.Dataset, source: str | None, notes: list[str]) -> xr.Dataset:
    from .. import __version__

    said = f"source={source!r}" if source else ""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"{now} xpermafrost {__version__}: standardize({said})"
    line += "".join(f"; {note}" for note in notes)
    old = str(ds.attrs.get("history", ""))
    attrs = {k: v for k, v in ds.attrs.items() if not str(k).startswith("GRIB_")}
    out = ds.copy(deep=False)
    out.attrs = {**attrs, "history": f"{old}\n{line}" if old else line}
    return out
