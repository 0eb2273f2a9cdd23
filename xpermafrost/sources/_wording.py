"""The sentences of recognition: what was found about a variable, and what to type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import xarray as xr

from ..schema import VARIABLES
from ._base import Candidates, Match
from ._units import linear, plain


def grib_against_name(name: str, da: xr.DataArray, kinds: Iterable[str], said: str) -> str:
    """A GRIB id that says another quantity than the name."""
    key = "GRIB_paramId" if "GRIB_paramId" in da.attrs else "GRIB_shortName"
    return (
        f"{name!r} is named like {_list(kinds)}, but its {key} {da.attrs[key]} is {said!r}. "
        f"Remove the one that is wrong: del ds[{name!r}].attrs[{key!r}], or ds.rename({name}=...)."
    )


def standard_name_against_name(name: str, said: str, kinds: Iterable[str]) -> str:
    """A standard name that says another quantity than the name."""
    wanted = " or ".join(sorted(repr(VARIABLES[kind].standard_name) for kind in kinds))
    return (
        f"{name!r} should be {wanted}; its standard_name says {said!r}. If the name is right, "
        f"type ds[{name!r}].attrs['standard_name'] = {wanted}; otherwise rename it."
    )


def extreme(name: str, kind: str, canonical: str) -> str:
    """A maximum, or the like, under the name of a mean."""
    return (
        f"{name!r} is a {kind} in time by its cell_methods or GRIB_stepType; {canonical!r} is a "
        f"mean. Leave it out, ds.drop_vars({name!r}), or give it a name of its own: "
        f"ds.rename({name}={f'{name}_{kind}'!r})."
    )


def missing_units(name: str, found: Candidates, step: str) -> str:
    """No units, and no source that vouches for those of its catalogue."""
    names = dict.fromkeys(family.name for family, _ in found)
    sources = " or ".join(f"source={source!r}" for source in names)
    family, rule = found[0]
    per = rule.totals.at(step) if rule.totals else ""
    words = f" ({rule.text(per, step)})" if per or not rule.totals else ""
    return (
        f"{name!r} has no units; in {family.title} it is stored in {rule.units!r}{words}. "
        f"If that is where it comes from, type standardize({sources}); "
        f"if you know its units, ds[{name!r}].attrs['units'] = ..."
    )


def misfit(name: str, units: str | None, found: Candidates, step: str) -> str:
    """Units that do not measure what the name says, or a total at a step without a rule."""
    family, rule = found[0]
    row = VARIABLES[rule.canonical]
    if rule.totals and units is not None and plain(units) == plain(rule.units):
        return (
            f"{name!r} in {units!r} is a total, and over which time is not settled for steps of "
            f"a {step}: the sources that use this name store no such field. If it is the total of "
            f"the day, say so: ds[{name!r}].attrs['units'] = '{rule.units} day-1'."
        )
    per = rule.totals.at(step) if rule.totals else ""
    period = {"": "", "day": ", mean daily total", "month": ", total of the month"}.get(per, "")
    fits_canonical = units is not None and linear(units, row.units) is not None
    if name == rule.canonical:
        cure = f"correct ds[{name!r}].attrs['units'] (for instance {_example(row.name)})"
    elif fits_canonical:
        cure = (
            f"if the units are right, rename it: ds.rename({name}={row.name!r}); "
            f"if the name is right, type ds[{name!r}].attrs['units'] = {rule.units!r}"
        )
    else:
        cure = f"if the name is right, type ds[{name!r}].attrs['units'] = {rule.units!r}"
    return (
        f"name and units of {name!r} disagree: in {family.title} this name is {row.name!r} "
        f"stored in {rule.units!r}{period}; found {units!r}. Settle it: {cure}."
    )


def ambiguous(
    name: str, units: str | None, fitting: Sequence[Match], titles: Mapping[str, str]
) -> str:
    """Several meanings that the units allow."""
    options: dict[str, str] = {}
    for item in fitting:
        meaning = f"{VARIABLES[item.canonical].long_name}, {item.text}"
        text = f"source={item.family!r} if it is {titles[item.family]} ({meaning})"
        options.setdefault(item.family, text)
    return (
        f"{name!r} in {units!r} has several meanings, and neither GRIB keys, attributes nor the "
        f"units settle which. Type standardize with {'; '.join(options.values())}."
    )


def _list(names: Iterable[str]) -> str:
    return " or ".join(repr(name) for name in sorted(set(names)))


def _example(canonical: str) -> str:
    return {
        "pr": "'mm month-1' or 'mm day-1': a depth needs its period",
        "prsn": "'mm month-1' or 'mm day-1': a depth needs its period",
        "tas": "'degC' or 'K'",
    }.get(canonical, repr(VARIABLES[canonical].units))
