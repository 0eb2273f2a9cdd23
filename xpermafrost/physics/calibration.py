"""A few numbers of soil and snow, fitted to the soil temperature of training times.

First many candidates at once (a scrambled Sobol sequence in the box of the bounds; all are columns
of one run), then, place by place, bounded least squares from the best of them (a trust region,
Branch et al., 1999), whose trial point and finite differences are again columns of one run.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from .._checks import check_units, choose, month_index, require_dims, without_attrs
from ..errors import DataError, PermafrostWarning
from ..schema import LAYER, TIME, layer_bounds, layer_coords_from_bounds, location_dims
from .column import DEFAULT_EDGES
from .forcing import Surface, read_steps
from .profile import SoilProfile, profile
from .simulation import SpinUp, simulate_soil

CANDIDATE, PLACE = "candidate", "place"

#: Columns of one run of the candidates: bounds the memory.
_COLUMNS = 2048

#: Step of the finite differences, in widths of the box: above the noise of the iterations.
_STEP = 0.02


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """Bounds of a number to be fitted, and whether it is searched by ratio or by difference.

    Attributes
    ----------
    low, high : float
    scale : {"linear", "log"}
    owner : {"soil", "surface"}
        What takes it: :meth:`SoilProfile.adjust` or :class:`Surface`.
    units : str
    """

    low: float
    high: float
    scale: str = "linear"
    owner: str = "soil"
    units: str = "1"

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise DataError(f"a parameter needs low < high, above 0 on a log scale; got {self}.")

    def value(self, share: np.ndarray) -> np.ndarray:
        """The number at ``share`` (0 to 1) of the way from low to high."""
        if choose("scale", self.scale, ("linear", "log")) == "log":
            return np.asarray(self.low * (self.high / self.low) ** share)
        return np.asarray(self.low + (self.high - self.low) * share)


#: Parameters by name, with the bounds of nature.
PARAMETERS: dict[str, Parameter] = {
    "organic_thickness": Parameter(low=0.005, high=0.6, scale="log", units="m"),
    "organic_saturation": Parameter(low=0.1, high=1.0),
    "mineral_saturation": Parameter(low=0.1, high=1.0),
    "conductivity_factor": Parameter(low=0.4, high=2.0, scale="log"),
    "snow_conductivity_factor": Parameter(low=0.3, high=4.0, scale="log", owner="surface"),
    "solar_gain": Parameter(low=0.0, high=0.04, owner="surface", units="K m2 W-1"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What :func:`calibrate` found.

    Attributes
    ----------
    soil, surface : SoilProfile, Surface
        With the fitted numbers, by place: for ``simulate_soil(ds, c.soil, surface=c.surface)``.
    parameters : Dataset (...)
        The fitted numbers; :func:`with_parameters` makes ``soil`` and ``surface`` of them again.
    report : Dataset (..., layer)
        ``n``: training values; ``rmse_before``, ``rmse_candidates``, ``rmse`` [K] over all layers:
        of the given soil, the best candidate, the end; ``rmse_layer``.
    """

    soil: SoilProfile
    surface: Surface
    parameters: xr.Dataset
    report: xr.Dataset


def with_parameters(
    soil: SoilProfile | str, surface: Surface | None, parameters: xr.Dataset
) -> tuple[SoilProfile, Surface]:
    """A soil and a surface with other numbers: of ``parameters``, named as :data:`PARAMETERS`.

    Examples
    --------
    >>> numbers = xr.Dataset({"organic_thickness": 0.3, "snow_conductivity_factor": 1.5})
    >>> soil, surface = with_parameters("tundra", None, numbers)
    >>> float(surface.snow_conductivity_factor)
    1.5
    """
    base = profile(soil) if isinstance(soil, str) else soil
    by_owner: dict[str, dict[str, xr.DataArray]] = {"soil": {}, "surface": {}}
    for name, da in parameters.data_vars.items():
        row = PARAMETERS[choose("parameter", str(name), PARAMETERS)]
        by_owner[row.owner][str(name)] = da.pipe(without_attrs)
    changed = base.adjust(**by_owner["soil"]) if by_owner["soil"] else base
    return changed, replace(surface or Surface(), **by_owner["surface"])  # type: ignore[arg-type]


def calibrate(
    forcing: xr.Dataset,
    target: xr.DataArray,
    *,
    soil: SoilProfile | str = "tundra",
    surface: Surface | None = None,
    parameters: Sequence[str] | Mapping[str, Parameter] | None = None,
    train: tuple[str, str] | None = None,
    candidates: int = 128,
    evaluations: int = 12,
    seed: int = 0,
    edges: Sequence[float] = DEFAULT_EDGES,
    spin_up: SpinUp | None = None,
    bottom_flux: float = 0.0,
    threads: int | None = None,
) -> Calibration:
    """Fit soil and snow, place by place, to the soil temperature of the training times.

    Parameters
    ----------
    forcing : Dataset (..., time)
        As for :func:`~xpermafrost.physics.simulation.simulate_soil`; months or days.
    target : DataArray (..., layer, time)
        Soil temperature ``tsl`` [K] with bounds or depths of its layers, at the times of the
        forcing; missing values count nothing.
    soil, surface
        Where the fit starts, and what stays of it.
    parameters : sequence of str, or mapping of str to Parameter, optional
        What is fitted, of :data:`PARAMETERS`; own bounds by a mapping. Default: all that the
        soil and forcing have (organic ones need an organic layer, ``solar_gain`` ``rsds``).
    train : (str, str), optional
        First and last training time; nothing after it is looked at. Default: all.
    candidates : int
        Size of the first search (rounded up to a power of two).
    evaluations : int
        At most so many runs of the least squares of a place; 0: candidates only.
    seed : int
        The same seed gives the same numbers.
    edges, bottom_flux, threads
        As for ``simulate_soil``.
    spin_up : SpinUp, optional
        Of every candidate; default: the first year, at most 25 times.

    Returns
    -------
    Calibration
        Places without training values get missing numbers. Computes dask input.

    Raises
    ------
    DataError
        If there are no training values at times of the forcing.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=3).isel(band=[0])
    >>> found = calibrate(ds[["tas", "snd"]], ds["tsl"], train=("2001", "2002"), candidates=8,
    ...     evaluations=0, parameters=("snow_conductivity_factor",))
    >>> found.parameters["snow_conductivity_factor"].dims, found.report["n"].dims
    (('band',), ('band', 'layer'))
    """
    surface = surface or Surface()
    base = profile(soil) if isinstance(soil, str) else soil
    dims = location_dims(forcing)
    stacked = forcing.compute().stack({PLACE: dims}) if dims else forcing.expand_dims(PLACE)
    places = stacked[PLACE]
    end = None if train is None else train[1]
    stacked = stacked.drop_vars([PLACE, *dims], errors="ignore").sel({TIME: slice(None, end)})
    average, observed = _observed(stacked[TIME], target, dims, train)
    problem = _Problem(
        forcing=stacked,
        observed=observed,
        layers=target.isel({d: 0 for d in target.dims if d != LAYER}, drop=True),
        average=average,
        soil=base,
        surface=surface,
        parameters=_chosen(parameters, base, forcing),
        edges=tuple(edges),
        spin_up=spin_up or SpinUp(cycles=25, tolerance=0.05),
        bottom_flux=bottom_flux,
    )
    with warnings.catch_warnings():
        # a candidate like no soil may well not settle
        warnings.simplefilter("ignore", PermafrostWarning)
        before = problem.rmse(None, threads)
        best = _search(problem, candidates, seed, threads)
        found = _refine(problem, best, evaluations, threads)
        report = _report(problem, before, best, found, threads)
    numbers = xr.Dataset(
        {
            name: (PLACE, np.where(report["n"].sum(LAYER) > 0, row.value(found[:, k]), np.nan))
            for k, (name, row) in enumerate(problem.parameters.items())
        }
    )
    for name, row in problem.parameters.items():
        numbers[name].attrs = {"units": row.units}
    numbers, report = _by_place(numbers, places, dims), _by_place(report, places, dims)
    fitted, on_top = with_parameters(base, surface, numbers)
    return Calibration(soil=fitted, surface=on_top, parameters=numbers, report=report)


def _by_place(ds: xr.Dataset, places: xr.DataArray, dims: tuple[Hashable, ...]) -> xr.Dataset:
    """With the forcing's own location dims."""
    if not dims:
        return ds.isel({PLACE: 0}, drop=True)
    return ds.assign_coords(places.coords).unstack(PLACE).transpose(*dims, ...)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Problem:
    """What is compared: forcing (place, time) and ``observed`` (place, layer, time of the run)."""

    forcing: xr.Dataset
    observed: np.ndarray
    layers: xr.DataArray
    average: str
    soil: SoilProfile
    surface: Surface
    parameters: dict[str, Parameter]
    edges: tuple[float, ...]
    spin_up: SpinUp
    bottom_flux: float

    def residuals(
        self, shares: np.ndarray | None, threads: int | None, which: slice = slice(None)
    ) -> np.ndarray:
        """Run minus observed (candidate, place, layer, time) [K], missing where either is.

        ``shares (candidate, place, parameter)`` are those of the way between the bounds; None: the
        soil as given.
        """
        soil, surface = self.soil, self.surface
        if shares is not None:
            values = {
                name: ((CANDIDATE, PLACE), row.value(shares[..., k]))
                for k, (name, row) in enumerate(self.parameters.items())
            }
            soil, surface = with_parameters(soil, surface, xr.Dataset(values))
        run = simulate_soil(
            self.forcing.isel({PLACE: which}),
            soil,
            surface=surface,
            layers=self.layers,
            edges=self.edges,
            average=self.average,
            spin_up=self.spin_up,
            bottom_flux=self.bottom_flux,
            threads=threads,
        )
        tsl = run["tsl"] if shares is not None else run["tsl"].expand_dims(CANDIDATE)
        tsl = tsl.transpose(CANDIDATE, PLACE, LAYER, TIME)
        return np.asarray(tsl.values - self.observed[which], dtype="float64")

    def rmse(
        self, shares: np.ndarray | None, threads: int | None, which: slice = slice(None)
    ) -> np.ndarray:
        """(candidate, place) [K]; missing where nothing is compared."""
        return _root_mean_square(self.residuals(shares, threads, which), (2, 3))


def _root_mean_square(error: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    known = np.isfinite(error)
    count = known.sum(axis=axis)
    total = np.where(known, error, 0.0) ** 2
    return np.sqrt(np.where(count > 0, total.sum(axis=axis) / np.maximum(count, 1), np.nan))


def _chosen(
    parameters: Sequence[str] | Mapping[str, Parameter] | None,
    soil: SoilProfile,
    forcing: xr.Dataset,
) -> dict[str, Parameter]:
    if isinstance(parameters, Mapping):
        for name in parameters:
            choose("parameter", name, PARAMETERS)
        return dict(parameters)
    if parameters is not None:
        return {name: PARAMETERS[choose("parameter", name, PARAMETERS)] for name in parameters}
    organic = any(layer.is_organic for layer in soil.layers)
    mineral = not all(layer.is_organic for layer in soil.layers)
    sunny = "rsds" in forcing and "ts" not in forcing
    kinds = {"organic": organic, "mineral": mineral, "conductivity": mineral, "solar": sunny}
    return {n: row for n, row in PARAMETERS.items() if kinds.get(n.split("_")[0], True)}


def _observed(
    time: xr.DataArray,
    target: xr.DataArray,
    dims: tuple[Hashable, ...],
    train: tuple[str, str] | None,
) -> tuple[str, np.ndarray]:
    """The run's average for the target's times; the target (place, layer, time) on them."""
    require_dims(target, (*dims, LAYER, TIME), step="calibrate")
    check_units(target, "tsl")
    used = target.compute() if train is None else target.sel({TIME: slice(*train)}).compute()
    months = month_index(used[TIME])
    average = "month" if np.unique(months).size == months.size else "step"
    labels = read_steps(time, average).labels
    if average == "month":
        axis = month_index(xr.DataArray(labels, dims=TIME))
        position = np.searchsorted(axis, months)
    else:
        axis, months = labels, used[TIME].values
        position = np.searchsorted(axis, months)
    there = (position < axis.size) & (axis[np.minimum(position, axis.size - 1)] == months)
    values = used.transpose(*dims, LAYER, TIME).values
    values = values.reshape((int(np.prod(values.shape[:-2])), *values.shape[-2:]))
    out = np.full((*values.shape[:2], axis.size), np.nan)
    out[:, :, position[there]] = values[:, :, there]
    if not np.isfinite(out).any():
        raise DataError(
            "calibrate needs soil temperature at times of the forcing; found none"
            + (f" within {train}." if train else ".")
        )
    return average, out


def _search(problem: _Problem, candidates: int, seed: int, threads: int | None) -> np.ndarray:
    """Shares (place, parameter) of the best of the candidates."""
    from scipy.stats import qmc

    power = int(np.ceil(np.log2(max(2, candidates))))
    cube = qmc.Sobol(len(problem.parameters), rng=seed).random_base2(power)
    total = problem.observed.shape[0]
    best = np.zeros((total, cube.shape[1]))
    for first in range(0, total, max(1, _COLUMNS // len(cube))):
        which = slice(first, min(total, first + max(1, _COLUMNS // len(cube))))
        shares = np.repeat(cube[:, None, :], which.stop - which.start, axis=1)
        rmse = problem.rmse(shares, threads, which)
        best[which] = cube[np.argmin(np.where(np.isnan(rmse), np.inf, rmse), axis=0)]
    return best


def _refine(
    problem: _Problem, start: np.ndarray, evaluations: int, threads: int | None
) -> np.ndarray:
    """Shares (place, parameter) after bounded least squares from ``start``."""
    if not evaluations:
        return start
    found = start.copy()

    def one(place: int) -> None:
        if np.isfinite(problem.observed[place]).any():
            found[place] = _least_squares(problem, start[place], place, evaluations)

    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        list(pool.map(one, range(len(start))))
    return found


def _least_squares(
    problem: _Problem, start: np.ndarray, place: int, evaluations: int
) -> np.ndarray:
    from scipy.optimize import least_squares

    known: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def evaluate(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = x.tobytes()
        if key not in known:
            step = np.where(x > 0.5, -_STEP, _STEP)
            shares = np.vstack([x, x + np.diag(step)])[:, None, :]
            error = problem.residuals(shares, 1, slice(place, place + 1)).reshape(len(shares), -1)
            error = error[:, np.isfinite(error).all(axis=0)]
            known.clear()  # only the latest is asked for again
            known[key] = error[0], ((error[1:] - error[0]) / step[:, None]).T
        return known[key]

    if not evaluate(start)[0].size:
        return start
    result = least_squares(
        lambda x: evaluate(x)[0],
        np.clip(start, 0.01, 0.99),
        jac=lambda x: evaluate(x)[1],
        bounds=(0.0, 1.0),
        max_nfev=evaluations,
    )
    return np.asarray(result.x)


def _report(
    problem: _Problem,
    before: np.ndarray,
    best: np.ndarray,
    found: np.ndarray,
    threads: int | None,
) -> xr.Dataset:
    errors = problem.residuals(np.stack([best, found]), threads)
    total = _root_mean_square(errors, (2, 3))
    made = {
        "rmse_before": (PLACE, before[0]),
        "rmse_candidates": (PLACE, total[0]),
        "rmse": (PLACE, total[1]),
        "rmse_layer": ((PLACE, LAYER), _root_mean_square(errors[1], 2)),
    }
    report = xr.Dataset({name: (*row, {"units": "K"}) for name, row in made.items()})
    count = np.isfinite(errors[1]).sum(axis=-1)
    report["n"] = ((PLACE, LAYER), count, {"units": "1", "long_name": "training values"})
    bounds = layer_coords_from_bounds(layer_bounds(problem.layers))
    return report.assign_coords({**bounds, **problem.layers.coords})
