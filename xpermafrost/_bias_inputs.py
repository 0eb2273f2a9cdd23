"""What bias adjustment asks of its inputs: periods, matching units, names and places."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ._checks import check_monthly, check_whole, month_index, month_name, same_units
from .errors import (
    DataError,
    DimensionError,
    ModelMismatchError,
    TimeAxisError,
    UnitsError,
    unknown_name,
)
from .schema import LAYER, NON_LOCATION, TIME, VARIABLES

Period = tuple[str | int, str | int]

_KINDS = {"additive": "+", "multiplicative": "*", "+": "+", "*": "*"}
#: Dimensions of the trained factors that are not places.
TRAINED_DIMS = ("month", "quantiles")


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
    percentages, shares and the density of snow also have an upper bound, applied where the
    units are canonical. Temperatures and fluxes of both signs have none.
    """
    row = VARIABLES.get(str(da.name))
    low, high = (0.0 if kind == "*" else -np.inf), np.inf
    if row is None:
        return low, high
    if row.valid_range[0] == 0:
        low = 0.0
    if same_units(str(da.attrs.get("units")), row.units):
        high = {"%": 100.0, "1": 1.0}.get(row.units, high)
        if row.name == "snow_density":
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


def check_series(da: xr.DataArray, *, step: str) -> None:
    """Raise unless ``da`` is monthly, without gaps, with time in one chunk."""
    check_monthly(da, step=step)
    check_whole(da, TIME, step=step)


def check_pair(reference: xr.DataArray, historical: xr.DataArray) -> None:
    """Checks of the two sides of the training, before any work."""
    labels = ("reference", "historical")
    names = {reference.name, historical.name} - {None}
    if len(names) > 1:
        raise ModelMismatchError(
            f"train needs one variable; the reference is {reference.name!r}, the historical "
            f"{historical.name!r}. Rename one if they are the same: da.rename(...)."
        )
    for da, label in zip((reference, historical), labels, strict=True):
        check_series(da, step=f"train ({label})")
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
    check_series(sim, step="adjust")
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
            raise TimeAxisError(
                "train needs months that both sides have, or a period for each; the reference "
                f"spans {span_text(*spans[0])}, the historical {span_text(*spans[1])}. Append a "
                "scenario run to the historical, or type reference_period=('...', '...'), "
                "historical_period=('...', '...')."
            )
        wanted = [common, common]
    else:
        # one period given holds for both sides: training on different years has to be asked for
        given = (reference_period or historical_period, historical_period or reference_period)
        wanted = [parse_period(period) for period in given if period is not None]
    for label, span, want in zip(("reference", "historical"), spans, wanted, strict=True):
        if want[0] < span[0] or want[1] > span[1]:
            raise TimeAxisError(
                f"the {label} period {span_text(*want)} is not inside its data, which span "
                f"{span_text(*span)}. Type {label}_period=({month_name(max(span[0], want[0]))!r}, "
                f"{month_name(min(span[1], want[1]))!r})."
            )
        if want[1] - want[0] < 23:
            raise DataError(
                f"train needs at least two years on each side; the {label} period "
                f"{span_text(*want)} has {want[1] - want[0] + 1} months."
            )
    return wanted[0], wanted[1]


def take_months(da: xr.DataArray, span: tuple[int, int]) -> xr.DataArray:
    """The months ``span`` of a gapless monthly series."""
    start = int(month_index(da[TIME].isel({TIME: slice(0, 1)}))[0])
    return da.isel({TIME: slice(span[0] - start, span[1] - start + 1)})


def first_month(da: xr.DataArray) -> int:
    """Calendar month of the first step, 0 for January."""
    return int(month_index(da[TIME].isel({TIME: slice(0, 1)}))[0]) % 12
