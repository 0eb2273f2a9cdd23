"""Rules, families, and the recognition of one variable.

A family (CDS, Earth Engine, CMIP, stations) is a tuple of rules; a rule says under which
names a quantity is stored, in which units, over which period it is accumulated, with which
sign, and of which soil layer. Recognition never guesses: where two rules fit and differ, or
the units do not fit the name, the answer is a sentence that says which argument settles it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import xarray as xr

from ..schema import VARIABLES
from ._units import DAY, Linear, linear, plain, says_water


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How one stored variable becomes a canonical one.

    Attributes
    ----------
    canonical : str
        Name in the variable table.
    names : tuple of str
        Names under which the source stores it.
    units : str
        Units in which the source stores it.
    factor : float
        From ``units`` to canonical units, before the division by the period.
    per : {"", "day", "month"}
        Period over which the stored value is a total: it is divided by its seconds.
    sign : {1, -1}
        -1 where the source counts the other direction as positive.
    bounds : tuple of float, optional
        Top and bottom [m] of the soil layer.
    param_id : int, optional
        ``GRIB_paramId``.
    water : bool
        The stored length is one of water: a declared "of water equivalent" fits.
    """

    canonical: str
    names: tuple[str, ...]
    units: str
    factor: float = 1.0
    per: str = ""
    sign: int = 1
    bounds: tuple[float, float] | None = None
    param_id: int | None = None
    water: bool = False

    @property
    def text(self) -> str:
        """The rule in words, for tables and attributes."""
        period = {
            "": "as is" if self.factor == 1 else f"x {self.factor:g}",
            "day": f"mean daily total x {self.factor:g} / 86400 s",
            "month": f"month total x {self.factor:g} / (days of the month x 86400 s)",
        }[self.per]
        return period + (", sign changed to positive up" if self.sign < 0 else "")

    def accepts(self, units: str) -> Linear | None:
        """From declared units to ``self.units``, or None if they contradict the rule.

        An accumulation takes its own spelling only: somebody who changed the units of a
        total may have changed its period too.
        """
        if self.canonical == "snd" and says_water(units):
            return None
        if not self.per:
            return linear(units, self.units)
        if plain(units) == plain(self.units) or linear(units, self.units) == Linear():
            return Linear()
        rate = linear(units, f"{self.units} day-1") if self.per == "day" else None
        return rate if rate == Linear() else None


@dataclass(frozen=True, kw_only=True)
class Family:
    """A source of data: a name, how to recognise it, its rules, and what it must not give.

    Attributes
    ----------
    name : str
        Value of ``source=``.
    title : str
        What it is, for messages.
    recognise : callable
        ``recognise(ds)`` is True if attributes (not names) of ``ds`` prove the source.
    rules : tuple of Rule
    refused : mapping of str
        Names that look like a canonical quantity and are another: name to reason.
    refuse : callable, optional
        ``refuse(ds)`` returns a reason to refuse the Dataset, or None.
    """

    name: str
    title: str
    rules: tuple[Rule, ...]
    recognise: Callable[[xr.Dataset], bool] = field(default=lambda ds: False)
    refused: Mapping[str, str] = field(default_factory=dict)
    refuse: Callable[[xr.Dataset], str | None] = field(default=lambda ds: None)

    def named(self, name: str) -> list[Rule]:
        """Rules that store something under ``name``."""
        return [rule for rule in self.rules if name in rule.names]


@dataclass(frozen=True, kw_only=True)
class Match:
    """What was found about one variable; ``problem`` is the sentence of the error, if any."""

    variable: str
    units_in: str = ""
    family: str = ""
    rule: Rule | None = None
    linear: Linear = field(default_factory=Linear)
    problem: str = ""
    by: str = ""

    @property
    def canonical(self) -> str:
        """Canonical name, or "" where the variable is not recognised or not settled."""
        return self.rule.canonical if self.rule else ""

    @property
    def per_month(self) -> bool:
        """Whether values are divided by the days of their month."""
        return self.linear.per_month or bool(self.rule and self.rule.per == "month")

    @property
    def scale(self) -> float:
        """Factor from stored to canonical units, with its sign."""
        if self.rule is None:
            return 1.0
        seconds = DAY if self.rule.per else 1.0
        return self.linear.factor * self.rule.factor * self.rule.sign / seconds

    @property
    def shift(self) -> float:
        """Offset added after the factor."""
        return self.linear.offset * (self.rule.factor * self.rule.sign if self.rule else 1.0)

    @property
    def outcome(self) -> tuple[object, ...]:
        """What happens to the values: matches with the same outcome need no decision."""
        bounds = self.rule.bounds if self.rule else None
        numbers = (f"{self.scale:.9g}", f"{self.shift:.9g}")
        return (self.canonical, *numbers, self.per_month, bounds)

    @property
    def untouched(self) -> bool:
        """Whether the variable is canonical already, name, units and all."""
        return (
            self.rule is not None
            and self.variable == self.rule.canonical
            and self.units_in == VARIABLES[self.variable].units
        )


Candidates = Sequence[tuple[Family, Rule]]


def match(
    name: str,
    da: xr.DataArray,
    *,
    families: Mapping[str, Family],
    source: str | None,
    proven: Sequence[str],
) -> Match:
    """Recognise one variable: GRIB id, then name, then standard name; then its units.

    The standard name comes after the name only for names that a catalogue owns: ecCodes
    calls the downward ``slhf`` ``surface_upward_latent_heat_flux``. For canonical names a
    contradicting standard name is a problem.
    """
    units = _units_of(da)
    chosen = [source] if source else [n for n in proven if families[n].named(name)]
    pool = [families[n] for n in chosen] or list(families.values())
    by_id = _by_param_id(da, families.values())
    by_name: Candidates = [(family, rule) for family in pool for rule in family.named(name)]
    if not by_name and source:
        by_name = [(family, rule) for family in families.values() for rule in family.named(name)]
    problem = _contradiction(name, da, by_id, by_name)
    if not problem and not by_id:
        problem = next((f.refused[name] for f in families.values() if name in f.refused), "")
    if problem:
        return Match(variable=name, units_in=units or "", problem=problem)
    found, by = (by_name, "name")
    if by_id:
        kinds = {rule.canonical for _, rule in by_id}
        same = [pair for pair in by_name if pair[1].canonical in kinds]
        found, by = (list(by_id) + same, "GRIB_paramId")
    elif not by_name:
        found, by = _by_standard_name(name, da, families["cmip"]), "standard_name"
    if not found:
        return Match(variable=name, units_in=units or "")
    # a source vouches for the units of its own names only
    vouched = bool(by_id) or any(family.name == source for family, _ in found)
    return _settle(name, units, found, by, said=vouched)


def _units_of(da: xr.DataArray) -> str | None:
    units = da.attrs.get("units", da.attrs.get("GRIB_units"))
    return None if units is None or not str(units).strip() else str(units).strip()


def _by_param_id(da: xr.DataArray, families: Iterable[Family]) -> Candidates:
    if "GRIB_paramId" not in da.attrs:
        return []
    param_id = int(da.attrs["GRIB_paramId"])
    pairs = [(f, r) for f in families for r in f.rules if r.param_id == param_id]
    return pairs


def _contradiction(name: str, da: xr.DataArray, by_id: Candidates, by_name: Candidates) -> str:
    """A GRIB id, or a standard name, that says another quantity than the name does."""
    kinds = {rule.canonical for _, rule in by_name}
    if by_id and kinds and by_id[0][1].canonical not in kinds:
        return (
            f"{name!r} is named like {_list(kinds)}, but its GRIB_paramId "
            f"{da.attrs['GRIB_paramId']} is {by_id[0][1].canonical!r}. Remove the one that is "
            f"wrong: del ds[{name!r}].attrs['GRIB_paramId'], or ds.rename({name}=...)."
        )
    said = str(da.attrs.get("standard_name", "unknown"))
    if name not in VARIABLES or by_id or said == "unknown":
        return ""
    if said in STANDARD_NAMES.get(name, ()) or not VARIABLES[name].standard_name:
        return ""
    if said not in KNOWN_STANDARD_NAMES:
        return ""
    return (
        f"{name!r} should be {VARIABLES[name].standard_name!r}; its standard_name says {said!r}. "
        f"If the name is right, type ds[{name!r}].attrs['standard_name'] = "
        f"{VARIABLES[name].standard_name!r}; otherwise rename it."
    )


def _by_standard_name(name: str, da: xr.DataArray, cmip: Family) -> Candidates:
    """Unknown name, known standard name: only for means in time, never for extremes."""
    said = str(da.attrs.get("standard_name", "unknown"))
    methods = str(da.attrs.get("cell_methods", ""))
    other = ("tasmax", "tasmin", "ta", "ta2m")
    if name in other or any(word in methods for word in ("maximum", "minimum", "sum")):
        return []
    return [
        (cmip, rule)
        for rule in cmip.rules
        if said in STANDARD_NAMES.get(rule.canonical, ())
        and not any(str(dim) in ("plev", "lev", "level", "height") for dim in da.dims)
    ]


def _settle(name: str, units: str | None, found: Candidates, by: str, *, said: bool) -> Match:
    """Choose among the candidates by units; several outcomes left are a problem."""
    if units is None and not said:
        return Match(variable=name, problem=_missing_units(name, found))
    fitting: list[Match] = []
    for family, rule in found:
        how = Linear() if units is None else rule.accepts(units)
        if how is not None and not (units and says_water(units) and not rule.water):
            units_in = rule.units if units is None else units
            fitting.append(
                Match(
                    variable=name,
                    units_in=units_in,
                    family=family.name,
                    rule=rule,
                    linear=how,
                    by=by,
                )
            )
    if not fitting:
        return Match(variable=name, units_in=units or "", problem=_misfit(name, units, found))
    if len({item.outcome for item in fitting}) > 1 and by != "GRIB_paramId":
        kept = {(item.family, item.rule) for item in fitting}
        options = [(family, rule) for family, rule in found if (family.name, rule) in kept]
        return Match(variable=name, units_in=units or "", problem=_ambiguous(name, units, options))
    outcome = fitting[0].outcome
    agreeing = dict.fromkeys(item.family for item in fitting if item.outcome == outcome)
    return replace(fitting[0], family=", ".join(agreeing))


def _list(names: Iterable[str]) -> str:
    return " or ".join(repr(name) for name in sorted(set(names)))


def _missing_units(name: str, found: Candidates) -> str:
    sources = " or ".join(f"source={family.name!r}" for family, _ in _distinct(found))
    family, rule = found[0]
    return (
        f"{name!r} has no units; in {family.title} it is stored in {rule.units!r} ({rule.text}). "
        f"If that is where it comes from, type standardize({sources}); "
        f"if you know its units, ds[{name!r}].attrs['units'] = ..."
    )


def _misfit(name: str, units: str | None, found: Candidates) -> str:
    family, rule = found[0]
    period = {"": "", "day": ", mean daily total", "month": ", total of the month"}[rule.per]
    row = VARIABLES[rule.canonical]
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


def _example(canonical: str) -> str:
    return {
        "pr": "'mm month-1' or 'mm day-1': a depth needs its period",
        "prsn": "'mm month-1' or 'mm day-1': a depth needs its period",
        "tas": "'degC' or 'K'",
    }.get(canonical, repr(VARIABLES[canonical].units))


def _ambiguous(name: str, units: str | None, found: Candidates) -> str:
    options = "; ".join(
        f"source={family.name!r} if it is {family.title} "
        f"({VARIABLES[rule.canonical].long_name}, {rule.text})"
        for family, rule in _distinct(found)
    )
    return (
        f"{name!r} in {units!r} has several meanings, and neither a GRIB_paramId nor the units "
        f"settle which. Type standardize with {options}."
    )


def _distinct(found: Candidates) -> list[tuple[Family, Rule]]:
    seen: dict[str, tuple[Family, Rule]] = {}
    for family, rule in found:
        seen.setdefault(family.name, (family, rule))
    return list(seen.values())


#: Standard names under which each canonical variable is met (CF table, CMIP5 and CMIP6).
STANDARD_NAMES: dict[str, tuple[str, ...]] = {
    name: (row.standard_name,) for name, row in VARIABLES.items() if row.standard_name
}
STANDARD_NAMES["prsn"] += ("solid_precipitation_flux",)
STANDARD_NAMES["mrsol"] += ("moisture_content_of_soil_layer",)
STANDARD_NAMES["rsds"] += ("surface_downwelling_shortwave_flux",)
STANDARD_NAMES["rlds"] += ("surface_downwelling_longwave_flux",)
STANDARD_NAMES["snc"] += ("snow_area_fraction",)
STANDARD_NAMES["ts"] += ("surface_temperature", "skin_temperature")
STANDARD_NAMES["elevation"] += ("height_above_reference_ellipsoid", "altitude")

#: Standard names that settle a contradiction: those above, and others they are taken for.
KNOWN_STANDARD_NAMES = frozenset(
    [name for names in STANDARD_NAMES.values() for name in names]
    + [
        "surface_net_downward_longwave_flux",
        "surface_net_downward_shortwave_flux",
        "surface_downward_latent_heat_flux",
        "surface_downward_sensible_heat_flux",
        "lwe_thickness_of_surface_snow_amount",
        "soil_moisture_content",
        "mass_content_of_water_in_soil",
        "moisture_content_of_soil_layer",
        "volume_fraction_of_condensed_water_in_soil",
    ]
)
