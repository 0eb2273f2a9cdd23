"""What bias adjustment asks of its inputs: periods, matching units, names and places."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import PurePath

import numpy as np
import xarray as xr

from ._bias_groups import SIZES, Grouping, step_of
from ._blocks import is_part
from ._checks import (
    check_steps,
    check_whole,
    month_index,
    month_name,
    require_dims,
    same_units,
)
from .errors import (
    DataError,
    DimensionError,
    MissingVariableError,
    ModelMismatchError,
    PermafrostWarning,
    TimeAxisError,
    UnitsError,
    unknown_name,
)
from .schema import LAYER, NON_LOCATION, TIME, VARIABLES

Period = tuple[str | int, str | int]

_KINDS = {"additive": "+", "multiplicative": "*", "+": "+", "*": "*"}
QUANTILES = "quantiles"
#: Dimensions of the trained factors that are not places.
TRAINED_DIMS = (*SIZES, QUANTILES)
#: Years that each side of a training needs at least.
MIN_YEARS = 2


def described(da: xr.DataArray, label: str) -> str:
    """``historical 'tas' (its_file.nc)``: what a message needs to find the culprit."""
    name = f" {da.name!r}" if da.name is not None else ""
    source = da.encoding.get("source")
    return f"{label}{name}" + (f" ({PurePath(str(source)).name})" if source else "")


def kind_of(name: str | None, kinds: str | Mapping[str, str] | None) -> str:
    """``"+"`` or ``"*"`` for a variable: from ``kinds``, else from the variable table."""
    given = kinds if isinstance(kinds, str) or kinds is None else kinds.get(str(name))
    if given is None:
        if name not in VARIABLES:
            raise DataError(
                f"how to adjust {name!r} is not known: it is not in the variable table. "
                f"Type kinds={{{str(name)!r}: 'additive'}} or 'multiplicative'."
            )
        given = VARIABLES[str(name)].kind
    if given not in _KINDS:
        raise unknown_name("kind of adjustment", given, _KINDS)
    return _KINDS[given]


def limits(da: xr.DataArray, kind: str) -> tuple[float, float]:
    """Physical bounds of the adjusted values, in the units of ``da``.

    Multiplicative variables and those whose valid range starts at 0 cannot be negative;
    percentages, shares and the density of snow also have an upper bound. Temperatures and
    fluxes of both signs have none.
    """
    row = VARIABLES.get(str(da.name))
    low, high = (0.0 if kind == "*" else -np.inf), np.inf
    if row is None:
        return low, high
    if row.valid_range[0] == 0:
        low = 0.0
    units = str(da.attrs.get("units"))
    if row.units in ("%", "1"):
        high = {"%": 100.0, "1": 1.0}.get(units, high)
    elif row.name == "snow_density" and same_units(units, row.units):
        low, high = row.valid_range
    return low, high


def check_units_match(one: xr.DataArray, two_units: str | None, labels: tuple[str, str]) -> None:
    """Raise unless ``one`` has units and they equal ``two_units``, zero point included."""
    name, found = one.name, one.attrs.get("units")
    if found is None or two_units is None:
        side = labels[0] if found is None else labels[1]
        raise UnitsError(
            f"{name!r} of the {side} has no units; both sides need the same ones. Set them if you "
            f"know them: da.attrs['units'] = '...', or call ds.permafrost.standardize()."
        )
    if not same_units(str(found), str(two_units)):
        raise UnitsError(
            f"{name!r} is in {found!r} in the {labels[0]} and in {two_units!r} in the {labels[1]}; "
            "both sides need the same units. Convert one: ds.permafrost.standardize()."
        )


def check_places(one: xr.DataArray, two: xr.DataArray, labels: tuple[str, str]) -> None:
    """Raise unless the dimensions that ``two`` shares with places carry the same labels."""
    for dim in two.dims:
        if dim in (TIME, *TRAINED_DIMS) or dim not in one.dims:
            continue
        first, second = one[dim].values, two[dim].values
        if first.shape == second.shape:
            if first.dtype.kind == "f" and second.dtype.kind == "f":
                if np.allclose(first, second, rtol=0, atol=1e-6):
                    continue
            elif np.array_equal(first, second):
                continue
        raise ModelMismatchError(
            f"the {labels[0]} and the {labels[1]} need the same places in the same order; along "
            f"{dim!r} the {labels[0]} has {_brief(first)}, the {labels[1]} has {_brief(second)}. "
            f"Select the common ones first, for instance da.sel({dim}=other[{str(dim)!r}])."
        )


def _brief(values: np.ndarray) -> str:
    items = [str(item) for item in values.tolist()]
    shown = items if len(items) <= 6 else [*items[:3], "...", *items[-2:]]
    return f"[{', '.join(shown)}] ({len(items)})"


def check_series(da: xr.DataArray, *, step: str, every: str = "month") -> None:
    """Raise unless ``da`` has every month (or day) once, in order, with time in one chunk."""
    check_steps(da, every, step=step)
    check_whole(da, TIME, step=step)


def check_pair(reference: xr.DataArray, historical: xr.DataArray) -> str:
    """Checks of the two sides of the training, before any work; return their time step."""
    labels = ("reference", "historical")
    names = {reference.name, historical.name} - {None}
    if len(names) > 1:
        raise ModelMismatchError(
            f"train needs one variable; the reference is {reference.name!r}, the historical "
            f"{historical.name!r}. Rename one if they are the same: da.rename(...)."
        )
    every = step_of(reference)
    for da, label in zip((reference, historical), labels, strict=True):
        require_dims(da, (TIME,), step=f"train ({described(da, label)})")
        if step_of(da) != every:
            raise TimeAxisError(
                f"train needs the same time step on both sides; the "
                f"{described(reference, labels[0])} has one value a {every}, the "
                f"{described(historical, labels[1])} one a {step_of(historical)}. Average the "
                "days: ds.resample(time='MS').mean()."
            )
        check_series(da, step=f"train ({described(da, label)})", every=every)
        extra = [dim for dim in da.dims if dim in NON_LOCATION - {TIME, LAYER}]
        if extra:
            raise DimensionError(
                f"train needs one series per place; the {label} has {da.dims}. "
                f"Select along {extra[0]!r} first: da.sel({extra[0]}=...)."
            )
    if set(reference.dims) != set(historical.dims):
        raise DimensionError(
            f"train needs the same dims on both sides; the reference has {reference.dims}, the "
            f"historical {historical.dims}. Reduce both to the same regions first."
        )
    check_units_match(reference, historical.attrs.get("units"), labels)
    check_places(reference, historical, labels)
    return every


def check_sim(trained: xr.Dataset, sim: xr.DataArray) -> None:
    """Checks of a series against what the factors were trained on."""
    needed = [dim for dim in trained["af"].dims if dim not in TRAINED_DIMS]
    places = [dim for dim in sim.dims if dim not in NON_LOCATION or dim == LAYER]
    if set(needed) != set(places):
        raise DimensionError(
            f"adjust needs the places of the training, dims {tuple(needed)}; {sim.name!r} has "
            f"{sim.dims}. Reduce it to the same regions first."
        )
    name = trained.attrs.get("variable")
    if name and sim.name is not None and sim.name != name:
        raise ModelMismatchError(
            f"the factors were trained on {name!r}; the series is {sim.name!r}. "
            f"Train on {sim.name!r}, or rename it if it is the same: da.rename({name!r})."
        )
    every = str(trained.attrs.get("step", "month"))
    if sim.sizes.get(TIME, 0) > 2 and step_of(sim) != every:
        raise TimeAxisError(
            f"the factors are those of one value a {every}; the {described(sim, 'series')} has one "
            f"a {step_of(sim)}. Train on series of its time step."
        )
    check_series(sim, step=f"adjust ({described(sim, 'series')})", every=every)
    labels = ("series", "training")
    check_units_match(sim, trained.attrs.get("units"), labels)
    check_places(sim, trained["af"], labels)


def parse_period(period: Period) -> tuple[int, int]:
    """First and last month index of ``("2001", "2023")`` or ``("2001-04", "2023-03")``."""
    try:
        begin, end = (str(part).split("-")[:2] for part in period)
        first = int(begin[0]) * 12 + (int(begin[1]) - 1 if len(begin) > 1 else 0)
        last = int(end[0]) * 12 + (int(end[1]) - 1 if len(end) > 1 else 11)
    except (TypeError, ValueError):
        first, last = 0, -1
    if last < first:
        raise TimeAxisError(
            "a period is a pair of years or months in order, such as ('2001', '2023') or "
            f"('2001-04', '2023-03'); found {period!r}."
        )
    return first, last


def span_text(first: int, last: int) -> str:
    """``"2001-01/2023-12"``."""
    return f"{month_name(first)}/{month_name(last)}"


def resolve_periods(
    reference: xr.DataArray,
    historical: xr.DataArray,
    reference_period: Period | None,
    historical_period: Period | None,
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Month spans to train on: as given, else the months that both sides have."""
    spans = []
    for da in (reference, historical):
        months = month_index(da[TIME])
        spans.append((int(months[0]), int(months[-1])) if months.size else (0, -1))
    if reference_period is None and historical_period is None:
        common = max(spans[0][0], spans[1][0]), min(spans[0][1], spans[1][1])
        if common[1] < common[0]:
            raise _nothing_common(reference, historical, spans)
        wanted = [common, common]
    else:
        # one period given holds for both sides: training on different years has to be asked for
        given = (reference_period or historical_period, historical_period or reference_period)
        wanted = [parse_period(period) for period in given if period is not None]
    for label, da, span, want in zip(
        ("reference", "historical"), (reference, historical), spans, wanted, strict=True
    ):
        if want[0] < span[0] or want[1] > span[1]:
            first, last = max(span[0], want[0]), min(span[1], want[1])
            cure = (
                f"Type {label}_period=({month_name(first)!r}, {month_name(last)!r})."
                if first <= last
                else f"Type {label}_period=... within that, or append the missing months."
            )
            raise TimeAxisError(
                f"the {label} period {span_text(*want)} is not inside its data: the "
                f"{described(da, label)} spans {span_text(*span)}. {cure}"
            )
        if want[1] - want[0] + 1 < 12 * MIN_YEARS:
            raise DataError(
                f"train needs at least two years on each side; the period {span_text(*want)} of "
                f"the {described(da, label)} has {want[1] - want[0] + 1} months."
            )
    return wanted[0], wanted[1]


def _nothing_common(
    reference: xr.DataArray, historical: xr.DataArray, spans: list[tuple[int, int]]
) -> TimeAxisError:
    """What to do where no month is on both sides."""
    sides = described(reference, "reference"), described(historical, "historical")
    if spans[1][1] < spans[0][0]:
        problem = (
            f"the {sides[1]} stops in {month_name(spans[1][1])}, before the {sides[0]} starts in "
            f"{month_name(spans[0][0])}. Append a scenario of the same model: "
            "xr.concat([historical, rcp45], 'time')"
        )
    else:
        problem = (
            f"the {sides[0]} spans {span_text(*spans[0])}, the historical {span_text(*spans[1])}. "
            "Take the run of the model that covers the reference"
        )
    return TimeAxisError(
        f"train needs months that both sides have: {problem}; or compare different years: "
        "reference_period=('...', '...'), historical_period=('...', '...')."
    )


def take_months(da: xr.DataArray, span: tuple[int, int]) -> xr.DataArray:
    """The months ``span`` of a series without gaps."""
    start, stop = np.searchsorted(month_index(da[TIME]), [span[0], span[1] + 1])
    return da.isel({TIME: slice(int(start), int(stop))})


def common_variables(reference: xr.Dataset, historical: xr.Dataset) -> list[str]:
    """Variables with time on both sides."""
    names = [
        str(name)
        for name, da in reference.data_vars.items()
        if TIME in da.dims and name in historical.data_vars and TIME in historical[name].dims
    ]
    if not names:
        raise MissingVariableError(
            "train needs variables with 'time' on both sides; the reference has "
            f"{list(reference.data_vars)}, the historical {list(historical.data_vars)}. "
            "If your names differ, call ds.permafrost.standardize() on both first."
        )
    return names


def threshold_of(
    name: str, kind: str, wet_threshold: float | Mapping[str, float] | None
) -> float | None:
    """Wet-day threshold of a variable, in its units."""
    wet = wet_threshold.get(name) if isinstance(wet_threshold, Mapping) else wet_threshold
    if wet is None:
        return None
    if kind != "*":
        raise DataError(
            f"wet_threshold is for multiplicative variables such as precipitation; {name!r} is "
            "additive. Name the variable: wet_threshold={'pr': ...}."
        )
    if not wet > 0:
        raise DataError(f"wet_threshold needs a positive amount; found {wet} for {name!r}.")
    return float(wet)


def warn_of_constants(
    trained: xr.Dataset,
    pair: tuple[xr.DataArray, xr.DataArray],
    grouping: Grouping,
) -> None:
    """Warn of groups in which a side never varies, other than at a bound. In memory only."""
    if (
        is_part()
        or "hist_q" not in trained
        or any(trained[name].chunks for name in ("af", "hist_q"))
    ):
        return
    places = [dim for dim in trained["hist_q"].dims if dim not in TRAINED_DIMS]
    multiplicative = trained.attrs["kind"] == "*"
    hist_q, af = (
        trained[name].transpose(grouping.name, QUANTILES, *places).values
        for name in ("hist_q", "af")
    )
    ends = hist_q[:, [0, -1]], af[:, [0, -1]]
    mapped = ends[0] * ends[1] if multiplicative else ends[0] + ends[1]
    for da, label, side in zip(pair, ("reference", "historical"), (mapped, ends[0]), strict=True):
        # equal outer quantiles may still have other values beyond: those few are looked at
        doubt = np.isclose(side[:, 0], side[:, 1], rtol=1e-6, atol=0)
        if multiplicative:
            doubt &= side[:, 0] != 0
        flat = da.transpose(TIME, *places).values.reshape(da.sizes[TIME], -1)
        bounds = (0.0, *limits(da, str(trained.attrs["kind"])))
        still = _still(flat, grouping.numbers(da[TIME])[0], doubt.reshape(len(doubt), -1), bounds)
        if not still.any():
            continue
        names = [str(grouping.labels[k]) for k in np.flatnonzero(still.any(axis=1))]
        more = ", ..." if len(names) > 6 else ""
        warnings.warn(
            f"the {described(da, label)} never varies in {grouping.name} {', '.join(names[:6])}"
            f"{more} of {trained.attrs[f'{label}_period']} at {int(still.any(axis=0).sum())} of "
            f"{flat.shape[1]} places: its spread cannot be adjusted there. Look at the file; if "
            "the values are no data, make them NaN: da.where(...).",
            PermafrostWarning,
            stacklevel=3,
        )


def _still(
    values: np.ndarray, numbers: np.ndarray, doubt: np.ndarray, bounds: tuple[float, ...]
) -> np.ndarray:
    """Of the doubtful ``(group, cell)``, those with two or more values, all equal."""
    still = np.zeros_like(doubt)
    for group in np.flatnonzero(doubt.any(axis=1)):
        cells = np.flatnonzero(doubt[group])
        part = values[numbers == group][:, cells]
        valid = np.isfinite(part)
        low = np.where(valid, part, np.inf).min(axis=0)
        high = np.where(valid, part, -np.inf).max(axis=0)
        same = (low == high) & ~np.isin(low, bounds) & (valid.sum(axis=0) > 1)
        still[group, cells] = same
    return still
