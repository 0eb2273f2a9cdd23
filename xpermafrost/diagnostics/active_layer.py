"""Active-layer thickness: the depth to which the ground thaws in a year."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from .._checks import choose, require_variables, same_units, without_attrs
from ..errors import DataError, DimensionError, PermafrostWarning, UnitsError
from ..physics import analytic
from ..schema import LAYER, TIME
from ._profile import (
    SOIL,
    Profile,
    Temperature,
    celsius,
    check_reach,
    describe,
    flags,
    ground_surface,
    profile_of,
)
from ._years import (
    COVERAGE,
    YEAR,
    Years,
    check_coverage,
    max_of_years,
    mean_of_years,
    over_years,
    years_of,
)
from .degree_days import yearly_sum

ACTIVE_LAYER = "permafrost_active_layer_thickness"

_FROM_PROFILE = ("envelope", "isotherm", "layer_sum")
_FROM_SURFACE = {
    "stefan": ("conductivity_thawed", "latent_heat"),
    "kudryavtsev": (
        "conductivity_thawed",
        "conductivity_frozen",
        "heat_capacity_thawed",
        "heat_capacity_frozen",
        "latent_heat",
    ),
}
METHODS = (*_FROM_PROFILE, *_FROM_SURFACE)

_UNITS = {"conductivity": "W m-1 K-1", "heat_capacity": "J m-3 K-1", "latent_heat": "J m-3"}

#: Values of ``status``.
STATUS = ("thawed", "no_thaw", "below_profile", "no_data", "no_permafrost")
_THAWED, _NO_THAW, _BELOW, _NO_DATA, _NO_PERMAFROST = range(5)

#: Between depths further apart than this [m] down to 1.5 m, a depth of 0 degC is a rough guess.
COARSE = 0.3

_CITATION = {
    "envelope": "envelope: 0 degC in the profile of annual maxima, linear between depths",
    "isotherm": "isotherm: annual maximum of the depth of 0 degC per step, linear between depths",
    "layer_sum": "layer_sum: layers that thaw in the year (Slater and Lawrence, 2013)",
    "stefan": "stefan: sqrt(2 k TDD / L) with the surface's thawing degree days (Stefan, 1891)",
    "kudryavtsev": "kudryavtsev: from mean and amplitude of the surface (Kudryavtsev et al., 1974)",
}


def active_layer_thickness(
    soil: Temperature,
    *,
    method: str = "envelope",
    freezing_point: float = 0.0,
    year: str = "calendar",
    coverage: float = COVERAGE,
    properties: xr.Dataset | None = None,
) -> xr.DataArray:
    """Active-layer thickness of each year. Lazy on dask, whatever the other dimensions are.

    Parameters
    ----------
    soil : DataArray or Dataset
        Soil temperature ``(..., layer, time)`` [K or degC], daily or monthly, with depths in m
        (a Dataset gives ``tsl`` or ``soil_temperature``). For ``stefan`` and ``kudryavtsev`` the
        shallowest layer must lie within 0.1 m of the surface, or the array has no layers.
    method : {"envelope", "isotherm", "layer_sum", "stefan", "kudryavtsev"}
        ``envelope``: where the profile of annual maxima falls to the freezing point, linear
        between the middles of the layers. ``isotherm``: the greatest of the depths of the
        freezing point at each step, down to the first layer that stays frozen that year; never
        more than ``envelope``. ``layer_sum``: the layers above that layer, whole (Slater and
        Lawrence, 2013). ``stefan``: sqrt(2 k TDD / L) (Stefan, 1891). ``kudryavtsev``: from
        annual mean and first-harmonic amplitude of the surface (Kudryavtsev et al., 1974).
    freezing_point : float
        [degC].
    year : str
        ``"calendar"``, ``"hydrological"`` (from 1 October), or a first day ``"MM-DD"``.
    coverage : float
        Share of a year's days that must hold data, else the year is missing. A summer alone is
        enough for a thaw depth if you say so, for instance ``coverage=0.4``.
    properties : Dataset, optional
        For ``stefan``: ``conductivity_thawed`` [W m-1 K-1], ``latent_heat`` [J m-3]; for
        ``kudryavtsev`` also ``conductivity_frozen``, ``heat_capacity_thawed``,
        ``heat_capacity_frozen`` [J m-3 K-1]: one value a place.

    Returns
    -------
    DataArray
        ``permafrost_active_layer_thickness (..., year)`` [m], with the coordinates ``status`` (0
        thawed; 1 no_thaw: the thickness is 0; 2 below_profile: thawed to the lowest depth, so the
        thickness is missing; 3 no_data: missing; 4 no_permafrost: the closed formulas find none,
        missing) and, for methods that read the profile, ``uncertainty_lower`` and
        ``uncertainty_upper`` [m]: top of the deepest layer that thaws and bottom of the next one.

    Raises
    ------
    DimensionError, UnitsError, TimeAxisError, DataError
        For depths that are not m, down, in order, with bounds; missing units; irregular steps;
        profiles that start below 1 m or end above it.

    Warns
    -----
    PermafrostWarning
        For monthly means, which miss the warmest days, and for depths over 0.3 m apart.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xpermafrost as xp
    >>> layers = xp.layer_coords((0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.4))
    >>> time = xr.date_range("2001-01-01", "2002-12-31")
    >>> depth = layers["depth"].values[:, None]
    >>> season = np.cos(2 * np.pi * np.arange(time.size) / 365 - 3.5 - depth)
    >>> ds = xr.Dataset({"tsl": (("layer", "time"), -6 + 15 * np.exp(-2 * depth) * season)},
    ...                 coords={"time": time, **layers})
    >>> ds["tsl"].attrs["units"] = "degC"
    >>> active_layer_thickness(ds).values.round(2).tolist()
    [0.47, 0.47]
    """
    choose("method", method, METHODS)
    check_coverage(coverage)
    step = f"active_layer_thickness(method={method!r})"
    warm = celsius(soil, SOIL, step=step, freezing_point=freezing_point)
    years = years_of(warm, year, step=step)
    if years.step == "month":
        _warn_monthly()
    if method in _FROM_PROFILE:
        depth, coords, extra = _from_profile(warm, years, method, coverage, step)
    else:
        depth, coords, extra = _from_surface(warm, years, method, coverage, step, properties)
    described = describe(
        depth,
        ACTIVE_LAYER,
        units="m",
        long_name="active-layer thickness",
        method=_CITATION[method],
        years=years,
        freezing_point=freezing_point,
        coverage=coverage,
        of=warm,
        extra={"standard_name": ACTIVE_LAYER, **extra},
    )
    coords["status"] = coords["status"].assign_attrs(flags(*STATUS))
    return described.assign_coords(coords)


def _warn_monthly() -> None:
    warnings.warn(
        "the active-layer thickness of monthly means is too small: they miss the warmest days "
        "(measured at a tundra site: by 7 to 11 %). Give daily data where you have them.",
        PermafrostWarning,
        stacklevel=3,
    )


def _from_profile(
    warm: xr.DataArray, years: Years, method: str, coverage: float, step: str
) -> tuple[xr.DataArray, dict[str, xr.DataArray], dict[str, object]]:
    profile = profile_of(warm, step=step)
    check_reach(profile, step=step)
    if method == "layer_sum":
        _check_adjoining(profile, step=step)
    spacing = _spacing(profile)
    if spacing > COARSE:
        warnings.warn(
            f"depths down to 1.5 m lie up to {spacing:.2f} m apart: the active-layer thickness "
            "is known only to within uncertainty_lower and uncertainty_upper. More depths, or a "
            "column model, narrow it.",
            PermafrostWarning,
            stacklevel=3,
        )

    def kernel(values: np.ndarray) -> tuple[np.ndarray, ...]:
        return thickness_of_years(values, profile, years, method, coverage)

    depth, lower, upper, status = over_years(
        kernel,
        [warm],
        years=years,
        core=(LAYER, TIME),
        out=((YEAR,),) * 4,
        dtypes=("float64", "float64", "float64", "int8"),
    )
    lower.attrs = {"units": "m", "long_name": "top of the deepest layer that thaws"}
    upper.attrs = {"units": "m", "long_name": "bottom of the first layer that stays frozen"}
    coords = {"status": status, "uncertainty_lower": lower, "uncertainty_upper": upper}
    extra = {"uncertainty": "between uncertainty_lower and uncertainty_upper", "spacing": spacing}
    return depth, coords, extra


def _spacing(profile: Profile) -> float:
    """Greatest distance [m] between neighbouring depths that begin above 1.5 m."""
    gaps = np.diff(profile.depth)[profile.depth[:-1] < 1.5]
    return round(float(gaps.max()), 3)


def _check_adjoining(profile: Profile, *, step: str) -> None:
    bounds = profile.bounds
    gaps = np.abs(bounds[1:, 0] - bounds[:-1, 1]) > 1e-6
    if np.any(bounds[:, 1] <= bounds[:, 0]) or np.any(gaps):
        raise DimensionError(
            f"{step} needs adjoining layers with a thickness; found bounds "
            f"{np.round(bounds, 3).tolist()} m. Type method='envelope' for sensors at points."
        )


def thickness_of_years(
    values: np.ndarray, profile: Profile, years: Years, method: str, coverage: float
) -> tuple[np.ndarray, ...]:
    """Kernel: ``values (..., layer, time)`` relative to freezing; each result ``(..., year)``."""
    highest = max_of_years(values, years, coverage)  # (..., layer, year)
    valid = ~np.isnan(highest)
    frozen = highest <= 0
    table = np.where(frozen.any(-2), frozen.argmax(-2), profile.depth.size)
    last = _last_before(valid, table)  # the deepest layer that thaws; -1: none
    if method != "layer_sum":
        depth = _crossing(np.moveaxis(highest, -2, 0), table, profile.depth)
        if method == "isotherm":
            # Where a sensor fails for days, its gap is bridged: not to below the envelope.
            depth = np.minimum(_isotherm(values, valid, table, profile.depth, years), depth)
    else:
        depth = profile.bounds[np.maximum(last, 0), 1]

    none, first = ~valid.any(-2), valid.argmax(-2)
    status = np.full(table.shape, _THAWED, dtype="int8")
    status[(last < 0)] = _NO_THAW
    status[(table == profile.depth.size)] = _BELOW
    # Frozen below sensors that failed: how much thaws above is not known.
    status[none | ((last < 0) & (first > 0))] = _NO_DATA
    depth = np.where(status == _NO_THAW, 0.0, depth)
    depth[(status == _BELOW) | (status == _NO_DATA)] = np.nan
    status[(status == _THAWED) & np.isnan(depth)] = _NO_DATA

    below = np.minimum(table, profile.depth.size - 1)
    lower = np.where(last < 0, 0.0, profile.bounds[np.maximum(last, 0), 0])
    upper = np.where(status == _BELOW, np.nan, profile.bounds[below, 1])
    lower[status == _NO_DATA] = upper[status == _NO_DATA] = np.nan
    return depth, lower, upper, status


def _last_before(valid: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Index of the last layer with data above ``table``, or -1."""
    index = np.arange(valid.shape[-2])[:, None]
    return np.where(valid & (index < table[..., None, :]), index, -1).max(-2)


def _crossing(layers: np.ndarray, table: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Deepest depth of 0 going from warm to cold, down to layer ``table``; NaN without one.

    ``layers (layer, ...)``; layers without data are passed over.
    """
    front = np.full(layers.shape[1:], np.nan)
    above, at = np.full_like(front, np.nan), np.full_like(front, np.nan)
    for k, now in enumerate(layers):
        cross = (above > 0) & (now <= 0) & (k <= table)
        step = np.divide(above, above - now, out=np.zeros_like(front), where=cross)
        front = np.where(cross, at + (depth[k] - at) * step, front)
        known = ~np.isnan(now)
        above, at = np.where(known, now, above), np.where(known, depth[k], at)
    return front


def _isotherm(
    values: np.ndarray, valid: np.ndarray, table: np.ndarray, depth: np.ndarray, years: Years
) -> np.ndarray:
    """Annual maximum of the depth of 0 at each step, above the layer that stays frozen."""
    out = np.full(table.shape, np.nan)
    for k, steps in enumerate(years.slices):
        part = np.where(valid[..., k, None], values[..., steps], np.nan)
        front = _crossing(np.moveaxis(part, -2, 0), table[..., k, None], depth)
        out[..., k] = np.fmax.reduce(front, axis=-1)
    return out


def _from_surface(
    warm: xr.DataArray,
    years: Years,
    method: str,
    coverage: float,
    step: str,
    properties: xr.Dataset | None,
) -> tuple[xr.DataArray, dict[str, xr.DataArray], dict[str, object]]:
    needed = _FROM_SURFACE[method]
    if properties is None:
        raise DataError(
            f"{step} needs thermal properties of the soil: pass properties=xr.Dataset with "
            f"{list(needed)}, such as xp.physics.soil.column_properties(...).mean('node')."
        )
    require_variables(properties, needed, step=step)
    soil = {name: _property(properties[name], name, step) for name in needed}
    surface = ground_surface(warm, step=step)
    make = _stefan if method == "stefan" else _kudryavtsev
    depth, known, permafrost = make(surface, soil, years, coverage)
    status = xr.where(depth > 0, _THAWED, _NO_THAW)
    status = xr.where(permafrost, status, _NO_PERMAFROST)
    status = xr.where(known, status, _NO_DATA).astype("int8")
    depth = depth.where((status == _THAWED) | (status == _NO_THAW))
    values: dict[str, object] = {
        n: float(da) for n, da in soil.items() if da.ndim == 0 and da.chunks is None
    }
    return depth, {"status": status}, values


def _property(da: xr.DataArray, name: str, step: str) -> xr.DataArray:
    units = next(unit for start, unit in _UNITS.items() if name.startswith(start))
    if not same_units(str(da.attrs.get("units", "")), units):
        raise UnitsError(
            f"{step} needs {name!r} in {units!r}; found {da.attrs.get('units')!r}. Set "
            f"properties[{name!r}].attrs['units'] = {units!r} if it is."
        )
    if {"node", LAYER, TIME} & set(da.dims):
        raise DimensionError(
            f"{step} needs one value of {name!r} a place; it has dims {da.dims}. Average it, for "
            f"instance properties.mean({da.dims[0]!r}, keep_attrs=True)."
        )
    return da.pipe(without_attrs)


def _stefan(
    surface: xr.DataArray, soil: dict[str, xr.DataArray], years: Years, coverage: float
) -> tuple[xr.DataArray, ...]:
    sums = yearly_sum(surface, "thawing", years, coverage)
    depth = xr.apply_ufunc(
        _stefan_depth,
        sums,
        soil["conductivity_thawed"],
        soil["latent_heat"],
        dask="parallelized",
        output_dtypes=["float64"],
    )
    return depth, sums.notnull(), xr.ones_like(sums, dtype=bool)


def _stefan_depth(sums: np.ndarray, conductivity: np.ndarray, latent: np.ndarray) -> np.ndarray:
    return analytic.stefan_depth(sums, conductivity=conductivity, latent_heat=latent)


def _kudryavtsev(
    surface: xr.DataArray, soil: dict[str, xr.DataArray], years: Years, coverage: float
) -> tuple[xr.DataArray, ...]:
    def kernel(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return mean_of_years(values, years, coverage), _amplitude(values, years, coverage)

    mean, amplitude = over_years(
        kernel, [surface], years=years, out=((YEAR,),) * 2, dtypes=("float64",) * 2
    )

    depth, table = xr.apply_ufunc(
        _kudryavtsev_depth,
        mean,
        amplitude,
        *(soil[name] for name in _FROM_SURFACE["kudryavtsev"]),
        output_core_dims=[[], []],
        dask="parallelized",
        output_dtypes=["float64", "float64"],
    )
    return depth, mean.notnull() & amplitude.notnull(), table <= 0


def _kudryavtsev_depth(
    mean: np.ndarray,
    amplitude: np.ndarray,
    thawed: np.ndarray,
    frozen: np.ndarray,
    capacity_thawed: np.ndarray,
    capacity_frozen: np.ndarray,
    latent: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    return analytic.kudryavtsev(
        mean,
        amplitude,
        conductivity_thawed=thawed,
        conductivity_frozen=frozen,
        heat_capacity_thawed=capacity_thawed,
        heat_capacity_frozen=capacity_frozen,
        latent_heat=latent,
    )


def _amplitude(values: np.ndarray, years: Years, coverage: float) -> np.ndarray:
    """Amplitude [K] of the first harmonic of each year: ``(..., time)`` to ``(..., year)``."""
    middle = np.cumsum(years.weights) - 0.5 * years.weights
    since = middle - np.repeat(
        middle[years.first] - 0.5 * years.weights[years.first],
        np.diff([*years.first, middle.size]),
    )
    angle = 2.0 * np.pi * since / years.days[years.index]
    mean = mean_of_years(values, years, coverage)
    anomaly = values - mean[..., years.index]
    parts = [mean_of_years(anomaly * wave(angle), years, coverage) for wave in (np.cos, np.sin)]
    # A month's mean of the harmonic is smaller than its middle by sin(x)/x, x = pi/12.
    damping = np.sinc(1.0 / 12.0) if years.step == "month" else 1.0
    return 2.0 * np.hypot(*parts) / damping
