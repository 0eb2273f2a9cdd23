"""Permafrost in a profile: presence, disappearance, taliks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from .._checks import choose, require_dims
from ..errors import DataError
from ..schema import LAYER, TIME
from ._profile import (
    SOIL,
    Profile,
    Temperature,
    celsius,
    check_presence,
    check_reach,
    describe,
    flags,
    profile_of,
)
from ._years import COVERAGE, YEAR, Years, check_coverage, max_of_years, over_years, years_of

_TALIK = ("talik", "no_talik", "below_profile", "no_data")
_FREE = ("disappeared", "persists", "never_there", "no_data")


def permafrost_presence(
    soil: Temperature,
    *,
    of: str = "column",
    years: int = 2,
    freezing_point: float = 0.0,
    year: str = "calendar",
    coverage: float = COVERAGE,
) -> xr.DataArray:
    """Permafrost of each year: ground at or below freezing for two years in a row. Lazy on dask.

    A layer holds permafrost in a year that belongs to a run of at least ``years`` years whose
    maxima stay at or below the freezing point (van Everdingen, 1998). A year of which this
    cannot be known, such as a frozen last year after a thawed one, is missing.

    Parameters
    ----------
    soil : DataArray or Dataset
        Soil temperature ``(..., layer, time)`` [K or degC], daily or monthly, with depths in m,
        down to 1 m or more; a Dataset gives ``tsl`` or ``soil_temperature``. Monthly means miss
        the warmest days and so find slightly too much.
    of : {"column", "layer"}
        Whether any layer of the profile holds permafrost, or each of them.
    years : int
        Length of the run.
    freezing_point : float
        [degC].
    year : str
        ``"calendar"``, ``"hydrological"`` (from 1 October), or a first day ``"MM-DD"``.
    coverage : float
        Share of a year's days that must hold data, else the year is missing.

    Returns
    -------
    DataArray
        ``permafrost_presence (..., year)`` or ``(..., layer, year)``: 1, 0 or missing. It speaks of
        the profile: 0 says that there is none down to its lower end.

    Raises
    ------
    DataError
        If the profile ends above 1 m.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> permafrost_presence(canonical(years=2)).values.tolist()
    [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]
    """
    step = "permafrost_presence"
    choose("permafrost_presence(of=)", of, ("column", "layer"))
    if years < 1:
        raise DataError(f"{step} needs years >= 1; got {years}.")
    warm, profile, axis = _input(soil, step, freezing_point, year, coverage)
    whole = of == "column"

    def kernel(values: np.ndarray) -> np.ndarray:
        highest = max_of_years(values, axis, coverage)
        sure, maybe = _in_runs(highest <= 0, np.isnan(highest), years)
        if whole:
            sure, maybe = np.any(sure, axis=-2), np.any(maybe, axis=-2)
        return np.where(sure == maybe, sure, np.nan)

    (found,) = over_years(
        kernel,
        [warm],
        years=axis,
        core=(LAYER, TIME),
        out=((YEAR,) if whole else (LAYER, YEAR),),
    )
    if not whole:
        found = found.assign_coords({n: c for n, c in warm.coords.items() if c.dims == (LAYER,)})
    return describe(
        found,
        step,
        units="1",
        long_name="permafrost presence",
        method=f"annual maximum at or below freezing for {years} years in a row",
        years=axis,
        freezing_point=freezing_point,
        coverage=coverage,
        of=warm,
        extra={"profile": f"{profile.bounds[0, 0]:g} to {profile.bounds[-1, 1]:g} m"},
    )


def _input(
    soil: Temperature, step: str, freezing_point: float, year: str, coverage: float
) -> tuple[xr.DataArray, Profile, Years]:
    check_coverage(coverage)
    warm = celsius(soil, SOIL, step=step, freezing_point=freezing_point)
    axis = years_of(warm, year, step=step)
    profile = profile_of(warm, step=step)
    check_reach(profile, step=step)
    return warm, profile, axis


def _in_runs(true: np.ndarray, unknown: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Years in a run of ``length`` years for which something holds: surely, and possibly.

    Years before and after the record are unknown.
    """
    edge = [(0, 0)] * (true.ndim - 1) + [(length - 1, length - 1)]
    sure = _spread(np.pad(true & ~unknown, edge, constant_values=False), length)
    maybe = _spread(np.pad(true | unknown, edge, constant_values=True), length)
    return sure, maybe


def _spread(mask: np.ndarray, length: int) -> np.ndarray:
    view = np.lib.stride_tricks.sliding_window_view
    return np.asarray(np.any(view(np.all(view(mask, length, -1), -1), length, -1), -1))


def permafrost_free_year(presence: xr.DataArray) -> xr.DataArray:
    """First year without permafrost, where none returns in the record. Lazy on dask.

    Parameters
    ----------
    presence : DataArray
        From :func:`permafrost_presence`, ``(..., year)``.

    Returns
    -------
    DataArray
        ``permafrost_free_year (...)``, the first known year without permafrost after the last year
        with it; coordinate ``status``: 0 disappeared, 1 persists (to the last known year: missing),
        2 never_there (missing), 3 no_data (missing).

    Examples
    --------
    >>> import xarray as xr
    >>> presence = xr.DataArray([1.0, 0.0, 1.0, 0.0, 0.0], dims="year",
    ...                         coords={"year": range(2001, 2006)})
    >>> float(permafrost_free_year(presence))
    2004.0
    """
    require_dims(presence, (YEAR,), step="permafrost_free_year")
    check_presence(presence, step="permafrost_free_year")
    labels = presence[YEAR].values

    def kernel(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = values.shape[-1]
        index = np.arange(n)
        last = np.where(values == 1, index, -1).max(-1)
        free = np.where((values == 0) & (index > last[..., None]), index, n).min(-1)
        status = np.where(last < 0, 2, np.where(free < n, 0, 1))
        status = np.where(np.isnan(values).all(-1), 3, status).astype("int8")
        return np.where(status == 0, labels[np.minimum(free, n - 1)], np.nan), status

    return _year_found(
        kernel,
        presence,
        "permafrost_free_year",
        "first year without permafrost",
        "first year without, after the last year with permafrost",
        _FREE,
    )


def _year_found(
    kernel: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    da: xr.DataArray,
    name: str,
    long_name: str,
    method: str,
    meanings: tuple[str, ...],
) -> xr.DataArray:
    """Apply a kernel ``(..., year)`` to a year and its status."""
    found, status = xr.apply_ufunc(
        kernel,
        da.chunk({YEAR: -1}) if da.chunks else da,
        input_core_dims=[[YEAR]],
        output_core_dims=[[], []],
        dask="parallelized",
        output_dtypes=["float64", "int8"],
        keep_attrs=False,
    )
    described = describe(found, name, units="1", long_name=long_name, method=method, of=da)
    return described.assign_coords(status=status.assign_attrs(flags(*meanings)))


def talik_onset(
    soil: Temperature,
    *,
    years: int = 2,
    freezing_point: float = 0.0,
    year: str = "calendar",
    coverage: float = COVERAGE,
) -> xr.DataArray:
    """First year of a talik: a layer unfrozen for two years or more above frozen ground. Lazy.

    A layer whose annual minima stay above the freezing point for ``years`` years in a row, while
    a layer below it stays at or below it (van Everdingen, 1998: taliks within and above
    permafrost; those without permafrost below them, and ground that is unfrozen to the lower end of
    the profile, are told apart by ``status``).

    Parameters
    ----------
    soil, freezing_point, year, coverage
        As for :func:`permafrost_presence`.
    years : int
        Years in a row that the layer stays unfrozen.

    Returns
    -------
    DataArray
        ``talik_onset (...)``, the first of those years; coordinate ``status``: 0 talik; 1 no_talik
        (missing); 2 below_profile: some layer stays unfrozen, but nothing below it is frozen, so
        that a talik cannot be told from ground without permafrost (missing); 3 no_data (missing).

    Raises
    ------
    DataError
        If the profile ends above 1 m.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xpermafrost as xp
    >>> time = xr.date_range("2001-01-01", periods=48, freq="MS")
    >>> upper = np.where(np.arange(48) < 18, -1.0, 0.5)  # thaws in 2002 and stays so
    >>> ds = xr.Dataset({"tsl": (("layer", "time"), np.stack([upper, 0 * upper - 2]))},
    ...                 coords={"time": time, **xp.layer_coords((0, 1, 3))})
    >>> ds["tsl"].attrs["units"] = "degC"
    >>> float(talik_onset(ds))
    2003.0
    """
    step = "talik_onset"
    if years < 1:
        raise DataError(f"{step} needs years >= 1; got {years}.")
    warm, _, axis = _input(soil, step, freezing_point, year, coverage)

    def kernel(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _talik(values, axis, years, coverage)

    found, status = over_years(
        kernel,
        [warm],
        years=axis,
        core=(LAYER, TIME),
        out=((), ()),
        dtypes=("float64", "int8"),
    )
    described = describe(
        found,
        step,
        units="1",
        long_name="first year of a talik",
        method=f"annual minimum above freezing for {years} years in a row, frozen ground below",
        years=axis,
        freezing_point=freezing_point,
        coverage=coverage,
        of=warm,
    )
    return described.assign_coords(status=status.assign_attrs(flags(*_TALIK)))


def _talik(
    values: np.ndarray, axis: Years, length: int, coverage: float
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel: ``values (..., layer, time)``; first year and status ``(...)``."""
    n = axis.labels.size
    highest, lowest = max_of_years(values, axis, coverage), -max_of_years(-values, axis, coverage)
    frozen, open_ = highest <= 0, lowest > 0
    below = np.zeros_like(frozen)  # whether a deeper layer stays frozen
    below[..., :-1, :] = np.logical_or.accumulate(frozen[..., :0:-1, :], axis=-2)[..., ::-1, :]
    first = _first_run((open_ & below), length)
    unsure = _first_run(open_, length)
    status = np.where(first < n, 0, np.where(unsure < n, 2, 1))
    status = np.where(np.isnan(highest).all((-2, -1)), 3, status).astype("int8")
    return np.where(status == 0, axis.labels[np.minimum(first, n - 1)], np.nan), status


def _first_run(mask: np.ndarray, length: int) -> np.ndarray:
    """First year of a run of ``length`` years in any layer; as many as there are years if none."""
    n = mask.shape[-1]
    if n < length:
        return np.full(mask.shape[:-2], n)
    view = np.lib.stride_tricks.sliding_window_view(mask, length, -1)
    runs = np.asarray(np.any(np.all(view, -1), -2))
    return np.where(runs.any(-1), runs.argmax(-1), n)
