"""Recognition of one variable: never a guess.

The order of trust is that of the conventions: GRIB ids, the CF standard name, the name, the
long name with the units. One thing is turned round, and on purpose: a name that a catalogue
owns (``slhf``, ``stl1``, ``sde``) settles factor, sign and depth before the standard name is
heard. ecCodes calls the downward ``slhf`` ``surface_upward_latent_heat_flux``, ``stl1``
``surface_temperature`` and the snow depth ``sde`` a water equivalent (its table of CF names):
trusting those would turn signs round. The standard name then chooses where the name is
ambiguous (``snow_depth``), stands for a name that nobody knows, and is a problem where it says
another quantity.

Where two rules fit and differ, or the units do not fit the name, the answer is a sentence
that says which argument settles it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import xarray as xr

from ..schema import VARIABLES
from . import _wording as wording
from ._base import OF_THE_CELL, Candidates, Family, Match, Rule
from ._units import Linear, linear, plain, says_water
from .cmip import OTHER_STANDARD_NAMES, STANDARD_RULES

#: What ecCodes says wrongly under a name that the catalogue owns.
_ECCODES_SAYS = {"stl1": "surface_temperature", "sde": "lwe_thickness_of_surface_snow_amount"}

#: Names of extremes, of other heights and of other levels that carry a mean's standard name.
_NEVER = ("tasmax", "tasmin", "ta", "ta2m", "mx2t", "mn2t")
_LEVELS = ("plev", "lev", "level", "height", "isobaricInhPa", "hybrid")

#: Cell methods of what is no mean: "time: maximum within days time: mean over days".
_EXTREME = re.compile(r"\btime: *(maximum|minimum|standard_deviation|variance|range)\b")

#: Long names that are no names with spaces: those of ecCodes and of CMIP.
_LONG_NAMES = {
    "2 metre temperature": "2m_temperature",
    "surface long-wave (thermal) radiation downwards": "surface_thermal_radiation_downwards",
    "surface short-wave (solar) radiation downwards": "surface_solar_radiation_downwards",
    "time-integrated surface latent heat net flux": "surface_latent_heat_flux",
    "time-integrated surface sensible heat net flux": "surface_sensible_heat_flux",
    "time-mean total precipitation rate": "mean_total_precipitation_rate",
    "time-mean total snowfall rate water equivalent": "mean_snowfall_rate",
    "time-mean surface downward long-wave radiation flux": "avg_sdlwrf",
    "time-mean surface downward short-wave radiation flux": "avg_sdswrf",
    "time-mean surface latent heat flux": "avg_slhtf",
    "time-mean surface sensible heat flux": "avg_ishf",
    "near-surface air temperature": "tas",
    "surface temperature": "ts",
    "precipitation": "pr",
    "snowfall flux": "prsn",
    "surface downwelling longwave radiation": "rlds",
    "surface downwelling shortwave radiation": "rsds",
    "surface upward latent heat flux": "hfls",
    "surface upward sensible heat flux": "hfss",
    "temperature of soil": "tsl",
    "total water content of soil layer": "mrsol",
    "surface snow amount": "snw",
    "snow area fraction": "snc",
    "snow area percentage": "snc",
}


def match(
    name: str,
    da: xr.DataArray,
    *,
    families: Mapping[str, Family],
    source: str | None,
    proven: Sequence[str],
    step: str,
) -> Match:
    """Recognise one variable of data with the time step ``step``, then check its units."""
    units = _units_of(da)
    chosen = [source] if source else [n for n in proven if families[n].named(name)]
    pool = [families[n] for n in chosen] or list(families.values())
    by_id = _of([source] if source else proven, _by_grib(da, families.values()))
    by_name: Candidates = [(family, rule) for family in pool for rule in family.named(name)]
    if not by_name and source:
        by_name = [(family, rule) for family in families.values() for rule in family.named(name)]
    problem = _contradiction(name, da, by_id, by_name)
    if not problem and not by_id:
        problem = next((f.refused[name] for f in families.values() if name in f.refused), "")
    if not problem and (by_id or by_name):
        problem = _extreme(name, da, (by_id or by_name)[0][1].canonical)
    if problem:
        return Match(variable=name, units_in=units or "", step=step, problem=problem)
    found, by = _narrowed(name, da, by_name), "name"
    if by_id:
        found, by = by_id, "GRIB_paramId"
    elif not by_name:
        found, by = _nameless(name, da, pool, families["cmip"], units)
    if not found:
        return Match(variable=name, units_in=units or "", step=step)
    # a source vouches for the units of its own names only
    vouched = bool(by_id) or any(family.name == source for family, _ in found)
    return _settle(da, name, units, found, by, said=vouched, step=step)


def _units_of(da: xr.DataArray) -> str | None:
    units = da.attrs.get("units", da.attrs.get("GRIB_units"))
    return None if units is None or not str(units).strip() else str(units).strip()


def _of(chosen: Sequence[str], found: Candidates) -> Candidates:
    """The candidates of the chosen families, or all if none of them is there."""
    return [pair for pair in found if pair[0].name in chosen] or found


def _by_grib(da: xr.DataArray, families: Iterable[Family]) -> Candidates:
    """By parameter number; a number that no rule knows leaves the short name."""
    param_id, short = da.attrs.get("GRIB_paramId"), da.attrs.get("GRIB_shortName")
    if param_id is None and short is None:
        return []
    pairs = [(family, rule) for family in families for rule in family.rules]
    by_id = [p for p in pairs if param_id is not None and p[1].param_id == int(param_id)]
    return by_id or [p for p in pairs if p[1].param_id and short in p[1].names]


def _said(name: str, da: xr.DataArray) -> str:
    said = str(da.attrs.get("standard_name", ""))
    return "" if _ECCODES_SAYS.get(name) == said else said


def _narrowed(name: str, da: xr.DataArray, found: Candidates) -> Candidates:
    """Of several meanings of a name, those that the standard name says."""
    rule = STANDARD_RULES.get(_said(name, da))
    kinds = {rule.canonical} if rule else set()
    return [pair for pair in found if pair[1].canonical in kinds] or found


def _contradiction(name: str, da: xr.DataArray, by_id: Candidates, by_name: Candidates) -> str:
    """A GRIB id, or a standard name, that says another quantity than the name does."""
    kinds = {rule.canonical for _, rule in by_name}
    if by_id and kinds and by_id[0][1].canonical not in kinds:
        return wording.grib_against_name(name, da, kinds, by_id[0][1].canonical)
    said = _said(name, da)
    if by_id or not kinds or all(not VARIABLES[kind].standard_name for kind in kinds):
        return ""
    rule = STANDARD_RULES.get(said)
    if rule is None:
        wrong = said in OTHER_STANDARD_NAMES
    else:
        # of a canonical name the sign is known; of a catalogue's, the catalogue settles it
        wrong = rule.canonical not in kinds or (name in VARIABLES and rule.sign < 0)
    return wording.standard_name_against_name(name, said, kinds) if wrong else ""


def _extreme(name: str, da: xr.DataArray, canonical: str) -> str:
    """Daily or monthly extremes under the name of a mean."""
    found = _EXTREME.search(str(da.attrs.get("cell_methods", "")))
    kind = found[1] if found else str(da.attrs.get("GRIB_stepType", ""))
    full = {"max": "maximum", "min": "minimum"}.get(kind, kind)
    return wording.extreme(name, full, canonical) if found or kind in ("max", "min") else ""


def _nameless(
    name: str, da: xr.DataArray, pool: Sequence[Family], cmip: Family, units: str | None
) -> tuple[Candidates, str]:
    """Unknown name: the standard name, else the long name whose units fit; means only."""
    methods = str(da.attrs.get("cell_methods", ""))
    if name in _NEVER or any(word in methods for word in ("maximum", "minimum", "standard_dev")):
        return [], ""
    if any(str(dim) in _LEVELS for dim in da.dims):
        return [], ""
    rule = STANDARD_RULES.get(_said(name, da))
    if rule is not None and bool(rule.totals) == _summed(methods):
        return [(cmip, rule)], "standard_name"
    long_name = " ".join(str(da.attrs.get("long_name", "")).lower().split())
    alias = _LONG_NAMES.get(long_name, long_name.replace(" ", "_"))
    if not alias or units is None or _summed(methods):
        return [], ""
    known = [(family, rule) for family in pool for rule in family.named(alias)]
    return [(f, r) for f, r in known if _fits(r, units)], "long_name"


def _summed(methods: str) -> bool:
    """Whether a value is the total of its own time cell (not a mean of daily totals)."""
    return "sum" in methods and "mean" not in methods


def _fits(rule: Rule, units: str) -> bool:
    return any(_accepts(rule, units, step, "")[0] for step in ("month", "day", "hour"))


def _accepts(rule: Rule, units: str, step: str, methods: str) -> tuple[Linear | None, str]:
    """From declared units to those of the rule, and the period; None if they contradict it.

    A total takes its own spelling only: somebody who changed the units of a total may have
    changed its period too. Units of a rate (``m day-1``) say the period themselves; a total of
    a day says so in its cell methods.
    """
    if rule.canonical == "snd" and says_water(units):
        return None, ""
    if rule.totals is None:
        return linear(units, rule.units), ""
    how = Linear() if plain(units) == plain(rule.units) else linear(units, rule.units)
    if how == Linear() or (how is not None and rule.totals is OF_THE_CELL):
        per = rule.totals.at(step)
        if not per and step == "day" and _summed(methods):
            per = "day"
        return (how, per) if per else (None, "")
    rate = linear(units, f"{rule.units} day-1")
    return (rate, "day") if rate == Linear() else (None, "")


def _settle(
    da: xr.DataArray,
    name: str,
    units: str | None,
    found: Candidates,
    by: str,
    *,
    said: bool,
    step: str,
) -> Match:
    """Choose among the candidates by units; several outcomes left are a problem."""
    empty = Match(variable=name, units_in=units or "", step=step)
    if units is None and not said:
        return replace(empty, problem=wording.missing_units(name, found, step))
    methods = str(da.attrs.get("cell_methods", ""))
    fitting: list[Match] = []
    for family, rule in found:
        units_in = rule.units if units is None else units
        how, per = _accepts(rule, units_in, step, methods)
        if how is None or (units and says_water(units) and not rule.water):
            continue
        item = replace(empty, units_in=units_in, family=family.name, rule=rule, linear=how)
        fitting.append(replace(item, per=per, by=by))
    if not fitting:
        return replace(empty, problem=wording.misfit(name, units, found, step))
    outcome = fitting[0].outcome
    if any(item.outcome != outcome for item in fitting):
        titles = {family.name: family.title for family, _ in found}
        return replace(empty, problem=wording.ambiguous(name, units, fitting, titles))
    agreeing = dict.fromkeys(item.family for item in fitting)
    return replace(fitting[0], family=", ".join(agreeing))
