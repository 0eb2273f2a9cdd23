"""Guards that need several values or several variables: signs, balances, sunlight, snow.

They run on canonical data in memory, over a year or more; lazy data pass (the history says so).
Each answers with a sentence of its own. Limits are wide: a false alarm costs more than a fault
that another guard finds. What cannot be decided passes: month totals of precipitation alone,
in a dry place whose latitude is unknown, look like the precipitation of a wet one.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import xarray as xr

from .._sun import top_of_atmosphere
from ..errors import PermafrostWarning, SourceError
from ..schema import TIME, VARIABLES, layer_bounds

#: Places of a grid by which means and shares over all of them are judged.
ENOUGH_PLACES = 2_000

#: Bulk density of snow [kg m-3]: fresh snow to ice (Cuffey & Paterson 2010, table 2.1).
SNOW_DENSITY = (50.0, 917.0)

#: Snow of a glacier cell of the IFS [kg m-2]: a constant 10 m of water.
GLACIER_SNOW = 1e4

#: Latent heat of vaporisation [J kg-1] at 0 degC, and days of a year.
LATENT_HEAT = 2.5e6
YEAR = 365.25 * 86400


Fields = dict[str, xr.DataArray]


def check(ds: xr.Dataset, *, step: str, names: set[str]) -> None:
    """Raise for what no climate has; warn of what a scientist should look at.

    Parameters
    ----------
    ds : Dataset
        Canonical data.
    step : {"month", "day"}
        Time step of ``ds``.
    names : set of str
        Variables to look at; those that are lazy, or of less than a year, are left out.
    """
    least = {"month": 12, "day": 365}[step]
    fields = {
        str(n): da
        for n, da in ds.data_vars.items()
        if n in names and da.chunks is None and da.dtype.kind == "f" and da.size
    }
    yearly = {n: da for n, da in fields.items() if da.sizes.get(TIME, 0) >= least}
    _fraction_for_percent({n: fields[n] for n in ("sftlf",) if n in fields})
    _fraction_for_percent({n: yearly[n] for n in ("snc",) if n in yearly})
    _soil_water(ds, fields)
    _snow_density(fields)
    _warmth(yearly, step)
    some = _some_places(yearly)
    for test in (_sunlight, _flux_sign, _wetness, _snow_balance, _evaporation):
        test(some)
    for message in (_glacier(yearly), open_sea(ds)):
        if message:
            warnings.warn(f"standardize: {message}", PermafrostWarning, stacklevel=3)


def _some_places(fields: Fields) -> Fields:
    """An even sample of the places with most data, enough for means and shares over all.

    All fields are of the same places. Those of few places are returned as they are, and where
    the sample has nothing of a field, all of them are.
    """
    across = [d for d in ("lat", "lon", "y", "x", "rlat", "rlon") if _has(fields, d)]
    grids = [da for da in fields.values() if set(across) <= set(da.dims)]
    if not across or not grids:
        return fields
    shape = [grids[0].sizes[d] for d in across]
    if math.prod(shape) <= ENOUGH_PLACES:
        return fields
    there = np.sum([_seen(da, across) for da in grids], axis=0).ravel()
    best = np.flatnonzero(there == there.max())
    chosen = best[np.linspace(0, best.size - 1, min(best.size, ENOUGH_PLACES)).astype(int)]
    at = dict(zip(across, np.unravel_index(chosen, shape), strict=True))
    picks = {d: xr.DataArray(index, dims="place") for d, index in at.items()}
    some = {
        n: da.isel({d: k for d, k in picks.items() if d in da.dims}) for n, da in fields.items()
    }
    blind = [n for n in fields if not some[n].notnull().any() and fields[n].notnull().any()]
    return fields if blind else some


def _has(fields: Fields, dim: str) -> bool:
    return any(dim in da.dims for da in fields.values())


def _seen(da: xr.DataArray, across: list[str]) -> np.ndarray:
    """Whether there are data at each place, at a dozen times."""
    some = da.isel({TIME: slice(None, None, max(1, da.sizes[TIME] // 12))})
    there = some.notnull().any([d for d in some.dims if d not in across])
    return there.transpose(*across).values


def open_sea(ds: xr.Dataset) -> str:
    """Say whether ``ts`` of a climate model holds cells of open sea that nothing marks, else "".

    The surface temperature of CMIP is that of the sea over open sea, so a mean over land needs
    ``sftlf``. Cells with ``ts`` and without soil (``tsl``, ``mrsol``) prove sea (or ice); where
    the Dataset has neither soil nor ``sftlf``, nothing is said. Lazy data are not looked into.

    Examples
    --------
    >>> ts = xr.DataArray([[280.0, 281.0]], dims=("time", "lon"))
    >>> ds = xr.Dataset({"ts": ts, "tsl": ts.where([True, False])})
    >>> open_sea(ds)[:30]
    "'ts' has values in 1 cells whe"
    """
    soil = next((ds[n] for n in ("tsl", "mrsol") if n in ds), None)
    if "ts" not in ds or soil is None or "sftlf" in ds:
        return ""
    if ds["ts"].chunks is not None or soil.chunks is not None:
        return ""
    places = [dim for dim in ds["ts"].dims if dim in ("lat", "lon", "y", "x", "rlat", "rlon")]
    if not places or not set(places) <= set(soil.dims):
        return ""
    dry = soil.isnull().all([dim for dim in soil.dims if dim not in places])
    seen = ds["ts"].notnull().any([dim for dim in ds["ts"].dims if dim not in places])
    count = int((dry & seen).sum())
    if count == 0 or bool(dry.all()):
        return ""
    return (
        f"'ts' has values in {count} cells where {soil.name!r} has none: over open sea it is the "
        "sea surface temperature, and a mean over land needs the land share. Add 'sftlf' to the "
        f"Dataset, or mask: ds['ts'].where(ds[{soil.name!r}].isel(layer=0).notnull())."
    )


def _fraction_for_percent(fields: Fields) -> None:
    for name, da in fields.items():
        # a cover that reaches 1 and never more than 1 is a share, not one per cent
        most = float(da.max())
        if 0.5 < most <= 1.0 + 1e-6:
            raise SourceError(
                f"{name!r} is in % and never above {most:.3g}: a fraction. Type "
                f"ds[{name!r}].attrs['units'] = '1' before standardizing."
            )


def _soil_water(ds: xr.Dataset, fields: Fields) -> None:
    """No layer holds more water than fits into it."""
    if "mrsol" not in fields or "layer" not in fields["mrsol"].dims or "depth_bnds" not in ds:
        return
    thickness = np.diff(layer_bounds(ds), axis=1)[:, 0]
    limit = xr.DataArray(1000.0 * thickness, dims="layer")
    # per-cent contents are a hundred times too large; organic soils swell, ice lenses exceed
    over = fields["mrsol"] / limit.where(limit > 0)
    largest = float(over.max())
    if largest > 2.0:
        raise SourceError(
            f"'mrsol' is up to {largest:.3g} times the water that its layer can hold "
            "(1000 kg m-3 x thickness): per cent taken for m3 m-3, or a content of another layer. "
            "Correct the units ('%'), or the bounds of the layers."
        )


def _snow_density(fields: Fields) -> None:
    """Water equivalent over depth, where there is snow to speak of."""
    if not {"snd", "snw"} <= set(fields):
        return
    depth, water = fields["snd"], fields["snw"]
    if set(depth.dims) != set(water.dims):
        return
    density = (water / depth).where((depth > 0.05) & (water < GLACIER_SNOW * 0.99))
    median = float(density.median())
    if np.isnan(median) or SNOW_DENSITY[0] <= median <= SNOW_DENSITY[1]:
        return
    raise SourceError(
        f"'snw' / 'snd' is {median:.4g} kg m-3 in half of the snow; snow has "
        f"{SNOW_DENSITY[0]:g} to {SNOW_DENSITY[1]:g}. One of the two is the other quantity: snow "
        "depth taken for water equivalent, or m for mm. Pass source=..., or correct the units."
    )


def _glacier(fields: Fields) -> str:
    if "snw" not in fields:
        return ""
    snow = fields["snw"]
    full = (abs(snow - GLACIER_SNOW) < 1e-3 * GLACIER_SNOW).all(TIME)
    count = int(full.sum())
    if count == 0:
        return ""
    return (
        f"'snw' is a constant 10 m of water in {count} of {full.size} places: the IFS marks "
        "glaciers so, it is no snow pack. Mask them before a mean: "
        "ds['snw'].where(ds['snw'] < 9990)."
    )


def _cycle(da: xr.DataArray) -> xr.DataArray:
    """Mean of each calendar month over all years and places."""
    return da.mean([dim for dim in da.dims if dim != TIME]).groupby(f"{TIME}.month").mean()


def _warm_and_cold(fields: Fields) -> tuple[int, int] | None:
    """Positions of the brightest (warmest) and darkest month of the data."""
    for name in ("rsds", "tas", "ts"):
        if name in fields:
            cycle = _cycle(fields[name]).values
            if cycle.size == 12 and np.isfinite(cycle).all() and np.ptp(cycle) > 5:
                return int(cycle.argmax()), int(cycle.argmin())
    return None


def _flux_sign(fields: Fields) -> None:
    """Evaporation cools, and summer ground heats the air: both fluxes are then upward.

    Latent heat: the mean of the month in which it is largest, or brightest, is upward over land,
    sea and region means alike. Sensible heat: wrong where the bright season goes down, the dark
    one does not, and the bright one is the larger (ice goes down all year; the sea, in winter, up).
    """
    season = _warm_and_cold(fields)
    for name in ("hfls", "hfss"):
        if name not in fields:
            continue
        cycle = _cycle(fields[name]).values
        if cycle.size < 12 or not np.isfinite(cycle).all():
            continue
        if name == "hfls":
            at = season[0] if season else int(np.abs(cycle).argmax())
            wrong = cycle[at] < -5.0
        else:
            warm, cold = (cycle[list(season)]) if season else (0.0, 0.0)
            wrong = warm < -10.0 and cold > -1.0 and abs(warm) > abs(cold)
            at = season[0] if season else 0
        if wrong:
            raise SourceError(
                f"{name!r} is {cycle[at]:.3g} W m-2 in month {at + 1}, the mean of all places: "
                f"{VARIABLES[name].long_name}, points upward in summer. The source counts it "
                f"positive down: change the sign, ds[{name!r}] = -ds[{name!r}], or rename it to "
                "the name of its catalogue."
            )


def _warmth(fields: Fields, step: str) -> None:
    """Beyond 55 degrees months reach 20 degC (Yakutia), 33 in the hottest projections of 2100."""
    for name in ("tas", "tsl"):
        if name not in fields or "lat" not in fields[name].coords:
            continue
        polar = fields[name].where(abs(fields[name]["lat"]) >= 55.0)
        warmest = float(polar.max()) - 273.15
        most = {"month": 40.0, "day": 45.0}[step]
        if warmest > most:
            raise SourceError(
                f"{name!r} reaches {warmest:.3g} degC, and beyond 55 degrees of latitude no {step} "
                f"is warmer than {most:g} degC: degrees Fahrenheit called Celsius look like this. "
                f"Correct ds[{name!r}].attrs['units'], or the latitudes."
            )


def _sunlight(fields: Fields) -> None:
    """No place gets more sun than arrives above the air, nor any in the polar night."""
    if "rsds" not in fields or "lat" not in fields["rsds"].coords:
        return
    sun = fields["rsds"]
    if sun["lat"].dtype.kind != "f" or TIME in sun["lat"].dims:
        return
    months = bool((sun[TIME].dt.day == 1).all())
    limit = top_of_atmosphere(sun[TIME], sun["lat"], months=months)
    # terrain and three-dimensional clouds brighten single cells; 5 % of all values is a fault
    over = (sun > 1.05 * limit + 10.0).where(sun.notnull())
    share = float(over.mean())
    if share > 0.05:
        raise SourceError(
            f"'rsds' exceeds the sunlight above the atmosphere at its latitude in {share:.0%} of "
            "the values: latitudes are upside down or another axis, months are shifted, or the "
            "accumulation period is another one. Compare ds['rsds'] with ds['lat']."
        )


def _wetness(fields: Fields) -> None:
    """Half of the places north of 55 N (south of 55 S) have less than 4 m a year."""
    if "pr" not in fields or "lat" not in fields["pr"].coords:
        return
    rain = fields["pr"].mean(TIME) * YEAR / 1000
    polar = rain.where(abs(rain["lat"]) >= 55.0)
    median = float(polar.median())
    if median > 4.0:
        raise SourceError(
            f"'pr' is {median:.3g} m a year in half of the places beyond 55 degrees of latitude; "
            "none of these regions has 4. Totals of a month taken for mean daily totals (x 28 to "
            "31) look like this: say the period, attrs['units'] = 'm month-1', or rename the "
            "variable to its name in the catalogue."
        )


def _snow_balance(fields: Fields) -> None:
    """A snow pack gains in frost what falls: in months of gain, gain over fall is about 1.

    Drift, sublimation and the increments of an analysis lower it (0.13 in ERA5 at Iqaluit), or
    raise it: between 0.045 and 3 nothing is said.
    """
    name = "prsn" if "prsn" in fields else "pr"
    if not {name, "snw", "tas"} <= set(fields):
        return
    if len({frozenset(fields[n].dims) for n in (name, "snw", "tas")}) > 1:
        return
    fall, snow, air = (fields[n].resample({TIME: "MS"}).mean() for n in (name, "snw", "tas"))
    gain = snow.diff(TIME)
    frost = (air < 263.15) & (snow < GLACIER_SNOW * 0.99) & fall.notnull()
    frost = frost & frost.shift({TIME: 1}, fill_value=False) & (gain > 0)
    seconds = snow[TIME].diff(TIME).dt.total_seconds()
    fallen = (fall + fall.shift({TIME: 1})) / 2 * seconds
    gained, fell = float(gain.where(frost).sum()), float(fallen.where(frost).sum())
    if int(frost.sum()) < 3 or gained < 5.0 or fell <= 0:
        return
    ratio = gained / fell
    if 0.045 <= ratio <= 3.0:
        return
    cause = (
        "the snow fall is too large, as totals of a month taken for mean daily totals are "
        "(x 28 to 31)"
        if ratio < 1
        else "the snow fall is too small (totals of an hour taken for a day), or 'snw' is a depth"
    )
    raise SourceError(
        f"in frost 'snw' gains {ratio:.3g} times what {name!r} brings: {cause}. Say the "
        "period in attrs['units'], or pass source=..."
    )


def _evaporation(fields: Fields) -> None:
    """Over years, evaporation is a fair part of precipitation (Budyko 1974), and seldom more.

    Judged on the mean of all places with a summer (warmest month above 5 degC).
    """
    if not {"pr", "hfls", "tas"} <= set(fields):
        return
    rain, heat, air = fields["pr"], fields["hfls"], fields["tas"]
    if set(rain.dims) != set(heat.dims) or set(rain.dims) != set(air.dims):
        return
    summer = (air.groupby(f"{TIME}.month").mean() > 278.15).any("month") & (
        rain.notnull() & heat.notnull()
    )
    fell, rose = float(rain.where(summer).mean()), float(heat.where(summer).mean()) / LATENT_HEAT
    if not np.isfinite(fell) or fell <= 0 or rose <= 0 or rose >= 0.04 * fell:
        return
    raise SourceError(
        f"'hfls' evaporates {rose / fell:.2%} of 'pr' in places with a summer; land evaporates a "
        "third and more. 'pr' is too large (totals of a month taken for mean daily totals, x 28 "
        "to 31), or 'hfls' too small: say the period in attrs['units'], or pass source=..."
    )
