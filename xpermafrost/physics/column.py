"""One-dimensional heat conduction with phase change in the soil, in enthalpy form.

The heat equation ``dH/dt = d/dz (k dT/dz)`` is solved for the enthalpy ``H`` of layers of soil
(finite volumes, backward Euler), with ``H(T)`` of a hyperbolic unfrozen-water curve
(:func:`~xpermafrost.physics.soil.unfrozen_share`). Each step is a few Newton iterations with a
tridiagonal solve, and the enthalpy is updated with the fluxes of the linear solve: stable for any
step, and heat is conserved to rounding whatever the tolerance. Conductivities are those at the
start of a step, weighted by the liquid share; faces take the harmonic mean.

Snow is a thermal resistance in series; the heat it holds is, where given, one more unknown in the
middle of the resistance. At a site with 0.15 m of snow and at stations with 0.5 m that heat changes
the soil by 0.03 to 0.08 K on average and by 0.6 K at most.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xarray as xr

from .._checks import choose, month_index, require_dims, require_variables
from ..errors import DataError, DimensionError, TimeAxisError
from ..schema import (
    BOUNDS,
    ERA5LAND_EDGES,
    FREEZING_POINT,
    LAYER,
    TIME,
    layer_coords,
    variable,
)
from ._kernel import WIDTH, solve_block

NODE = "node"

#: Edges of the nodes [m]: the ERA5-Land layer bounds are among them, 25 nodes down to 28 m.
DEFAULT_EDGES = (
    *(0.0, 0.03, 0.07, 0.12, 0.19, 0.28, 0.38, 0.5, 0.64, 0.81, 1.0, 1.2, 1.45, 1.75),
    *(2.1, 2.48, 2.89, 3.5, 4.3, 5.4, 6.9, 9.0, 12.0, 16.0, 21.0, 28.0),
)

#: Names of the soil properties a column needs, as :func:`soil.column_properties` makes them.
PROPERTIES = (
    "heat_capacity_thawed",
    "heat_capacity_frozen",
    "conductivity_thawed",
    "conductivity_frozen",
    "latent_heat",
    "freezing_width",
)

SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True, kw_only=True)
class ColumnRun:
    """What :func:`solve` returns.

    Attributes
    ----------
    temperature : array (period, row, column)
        Period means of the rows of ``weights`` [degC].
    thaw_depth, ground_heat_flux : array (period, column)
        Depth of 0 degC in the warmest state of the period [m] (0: nothing thawed; NaN: thawed
        to the lower end), above ground that has been frozen for a year; mean heat flux into the
        soil [W m-2].
    enthalpy : array (node, column)
        Final state [J m-3], 0 for thawed soil at 0 degC.
    heat_in : array (column)
        Heat that crossed the upper and lower boundary [J m-2], summed step by step.
    iterations : float
        Mean Newton iterations per step.
    snow_temperature : array (column)
        Final temperature of the heat store above the soil [degC].
    """

    temperature: np.ndarray
    thaw_depth: np.ndarray
    ground_heat_flux: np.ndarray
    enthalpy: np.ndarray
    heat_in: np.ndarray
    iterations: float
    snow_temperature: np.ndarray


def solve(
    surface: np.ndarray,
    resistance: np.ndarray,
    soil: dict[str, np.ndarray],
    enthalpy: np.ndarray,
    *,
    steps: np.ndarray,
    weights: np.ndarray,
    edges: Sequence[float] = DEFAULT_EDGES,
    step_seconds: float = SECONDS_PER_DAY,
    bottom_flux: np.ndarray | float = 0.0,
    snow_heat: np.ndarray | None = None,
    snow_temperature: np.ndarray | float = 0.0,
    tolerance: float = 2e-3,
    max_iterations: int = 12,
    threads: int | None = None,
) -> ColumnRun:
    """Solve many columns; the array-level interface, for :func:`simulate` see there.

    Parameters
    ----------
    surface : array (step, column)
        Temperature above the resistance [degC].
    resistance : array (step, column)
        Thermal resistance between it and the soil surface [m2 K W-1].
    soil : dict of array (node, column)
        The :data:`PROPERTIES`.
    enthalpy : array (node, column)
        Initial state [J m-3]; left unchanged.
    steps : array of int (period)
        Steps of each period over which is averaged; their sum is the number of steps.
    weights : array (row, node)
        The rows of the answer as weighted means of nodes.
    edges : sequence of float (node + 1)
        Bounds of the nodes [m].
    step_seconds : float
        Length of a step [s].
    bottom_flux : float or array (column)
        Heat flux entering from below [W m-2].
    snow_heat : array (step, column), optional
        Heat capacity in the middle of the resistance [J m-2 K-1], 0 without snow. Without it the
        resistance holds no heat.
    snow_temperature : float or array (column)
        Its temperature at the start [degC].
    tolerance : float
        Newton iterations end when temperature and enthalpy agree within it [K].
    max_iterations : int
        Upper limit; heat is conserved where it is reached too.
    threads : int, optional
        Default: the processors this process may use.

    Returns
    -------
    ColumnRun
        A column with missing forcing is missing from there on.
    """
    thickness = np.diff(np.asarray(edges, dtype="float64"))
    nodes, columns = enthalpy.shape
    total = int(np.sum(steps))
    if surface.shape != (total, columns) or resistance.shape != (total, columns):
        raise DimensionError(
            f"solve needs forcing of shape (step, column) = {(total, columns)}; surface has "
            f"{surface.shape}, resistance {resistance.shape}."
        )
    if nodes != thickness.size:
        raise DimensionError(
            f"solve needs {thickness.size} nodes between {len(edges)} edges; enthalpy has {nodes}."
        )
    state = np.array(enthalpy, dtype="float64", order="C")
    properties = [
        np.ascontiguousarray(np.broadcast_to(soil[name], state.shape), dtype="float64")
        for name in PROPERTIES
    ]
    below = np.ascontiguousarray(np.broadcast_to(bottom_flux, (columns,)), dtype="float64")
    rows = np.ascontiguousarray(weights, dtype="float64")
    centres = 0.5 * (np.asarray(edges, dtype="float64")[1:] + np.asarray(edges)[:-1])
    out = np.empty((len(steps), rows.shape[0], columns))
    thaw, flux = np.empty((len(steps), columns)), np.empty((len(steps), columns))
    heat = np.empty(columns)
    store = np.empty((0, columns)) if snow_heat is None else snow_heat
    if snow_heat is not None and store.shape != surface.shape:
        raise DimensionError(
            f"solve needs snow_heat of shape (step, column) = {surface.shape}; found {store.shape}."
        )
    pack = np.array(np.broadcast_to(snow_temperature, (columns,)), dtype="float64")
    # One type of forcing array, so that the kernel is compiled once.
    forcing = [np.ascontiguousarray(a, dtype="float32") for a in (surface, resistance, store)]
    counts = np.asarray(steps, dtype="int64")

    def block(first: int) -> int:
        return solve_block(
            *(first, *forcing, counts, float(step_seconds), thickness, state, *properties),
            *(below, rows, float(tolerance), int(max_iterations), centres),
            *(pack, out, thaw, flux, heat),
        )

    starts = range(0, columns, WIDTH)
    workers = threads or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(workers) as pool:
        iterations = sum(pool.map(block, starts)) / max(1, total * len(starts))
    return ColumnRun(
        temperature=out,
        thaw_depth=thaw,
        ground_heat_flux=flux,
        enthalpy=state,
        heat_in=heat,
        iterations=iterations,
        snow_temperature=pack,
    )


def layer_weights(edges: Sequence[float], layers: Sequence[float]) -> np.ndarray:
    """Weights (layer, node) that average nodes over layers by overlap; rows sum to 1.

    Examples
    --------
    >>> layer_weights((0, 0.1, 0.3, 0.6), (0, 0.2)).round(3).tolist()
    [[0.5, 0.5, 0.0]]
    """
    if layers[-1] > edges[-1] or layers[0] < edges[0]:
        raise DimensionError(
            f"layers {tuple(layers)} m reach beyond the column {edges[0]:g} to {edges[-1]:g} m."
        )
    node, layer = np.asarray(edges, dtype="float64"), np.asarray(layers, dtype="float64")
    low = np.maximum(layer[:-1, None], node[None, :-1])
    high = np.minimum(layer[1:, None], node[None, 1:])
    return np.maximum(high - low, 0.0) / np.diff(layer)[:, None]


def enthalpy_of(temperature: np.ndarray, soil: dict[str, np.ndarray]) -> np.ndarray:
    """Enthalpy [J m-3] at ``temperature`` [degC], 0 for thawed soil at 0 degC.

    Examples
    --------
    >>> soil = dict.fromkeys(PROPERTIES, np.array(2.0e6)) | {"latent_heat": np.array(1.0e8),
    ...     "freezing_width": np.array(0.1)}
    >>> enthalpy_of(np.array([2.0, -0.9]), soil).tolist()
    [4000000.0, -91800000.0]
    """
    cold = np.maximum(-np.asarray(temperature, dtype="float64"), 0.0)
    frozen = -soil["heat_capacity_frozen"] * cold - soil["latent_heat"] * (
        cold / (soil["freezing_width"] + cold)
    )
    thawed = soil["heat_capacity_thawed"] * np.maximum(temperature, 0.0)
    return np.where(np.asarray(temperature) > 0.0, thawed, frozen)


def node_coords(edges: Sequence[float] = DEFAULT_EDGES) -> dict[str, xr.Variable]:
    """Coordinates of the nodes: ``node_depth`` and ``node_depth_bnds`` [m].

    Examples
    --------
    >>> node_coords((0.0, 0.1, 0.3))["node_depth"].values.round(2).tolist()
    [0.05, 0.2]
    """
    bounds = np.stack([np.asarray(edges[:-1], float), np.asarray(edges[1:], float)], axis=1)
    attrs = {"standard_name": "depth", "units": "m", "positive": "down"}
    return {
        "node_depth": xr.Variable(NODE, bounds.mean(axis=1), attrs),
        "node_depth_bnds": xr.Variable((NODE, BOUNDS), bounds),
    }


def simulate(
    surface: xr.DataArray,
    soil: xr.Dataset,
    *,
    resistance: xr.DataArray | float = 0.0,
    edges: Sequence[float] = DEFAULT_EDGES,
    layers: Sequence[float] = ERA5LAND_EDGES,
    average: str = "month",
    initial: xr.DataArray | float | None = None,
    spinup: int = 0,
    bottom_flux: float = 0.0,
    threads: int | None = None,
) -> xr.Dataset:
    """Soil temperature by layer from the temperature and the insulation of the surface.

    Parameters
    ----------
    surface : DataArray (..., time)
        Surface (``ts``) or air temperature (``tas``) [K], every day or every n days.
    soil : Dataset (..., node)
        The :data:`PROPERTIES`; see :func:`xpermafrost.physics.soil.column_properties`.
    resistance : DataArray (..., time) or float
        Thermal resistance between ``surface`` and the ground [m2 K W-1]: snow
        (:func:`xpermafrost.physics.snow.thermal_resistance`), moss, canopy.
    edges, layers : sequence of float
        Bounds of the nodes and of the layers of the answer [m].
    average : {"month", "step"}
        Means over calendar months, or every step.
    initial : DataArray (..., node), float or None
        Enthalpy [J m-3] of a former run, a temperature [K] for all depths, or the mean of
        ``surface``.
    spinup : int
        How often the whole forcing is run through first.
    bottom_flux : float
        Geothermal heat flux [W m-2].
    threads : int, optional
        Default: the processors this process may use.

    Returns
    -------
    Dataset
        ``tsl`` (..., layer, time) [K], ``tsl_node`` (..., node, time) [K], ``thaw_depth``
        (..., time) [m], ``ground_heat_flux`` (..., time) [W m-2], ``enthalpy`` (..., node)
        [J m-3] to go on from and ``heat_in`` (...) [J m-2]. Computes dask input.

    Raises
    ------
    TimeAxisError
        If the steps are unequal or longer than 31 days.
    DataError
        If ``surface`` does not look like kelvin.

    Examples
    --------
    >>> time = xr.date_range("2001-01-01", "2002-12-31")
    >>> season = -6 - 18 * np.cos(2 * np.pi * (time.day_of_year - 20) / 365)
    >>> ts = xr.DataArray(season.values + 273.15, coords={"time": time}, attrs={"units": "K"})
    >>> from xpermafrost.physics import soil
    >>> share = xr.DataArray(np.full(25, 0.6), dims="node")
    >>> run = simulate(ts, soil.column_properties(share, 0 * share, 0.4 + 0 * share), spinup=20)
    >>> run["tsl"].sizes["layer"], round(float(run["thaw_depth"].max()), 1)
    (4, 1.1)
    """
    require_dims(surface, (TIME,), step="simulate")
    require_variables(soil, PROPERTIES, step="simulate")
    step_seconds = _step_seconds(surface[TIME])
    parts = [surface, xr.DataArray(resistance)] + [soil[name] for name in PROPERTIES]
    cut = {TIME: 0, NODE: 0}
    places = xr.broadcast(*[part.isel(cut, missing_dims="ignore", drop=True) for part in parts])
    where = places[0].dims
    shape = places[0].shape

    def flat(part: xr.DataArray, dim: str) -> np.ndarray:
        wide = part.broadcast_like(places[0]) if dim in part.dims else part
        wide = wide if dim in wide.dims else wide.expand_dims({dim: surface[TIME].size})
        wide = wide.broadcast_like(places[0]).transpose(dim, *where)
        return wide.values.reshape(wide.sizes[dim], -1)

    above = flat(surface, TIME) - FREEZING_POINT
    if np.nanmedian(above) < -150:
        raise DataError("simulate needs the surface temperature in K; the values look like degC.")
    between = flat(xr.DataArray(resistance), TIME)
    properties = {name: flat(soil[name], NODE) for name in PROPERTIES}
    weights = np.vstack([layer_weights(edges, layers), np.eye(len(edges) - 1)])
    state = _initial_state(initial, above, properties, lambda part: flat(part, NODE))
    counts, labels = _periods(surface[TIME], average)
    for _ in range(spinup + 1):
        run = solve(
            *(above, between, properties, state),
            steps=counts,
            weights=weights,
            edges=edges,
            step_seconds=step_seconds,
            bottom_flux=bottom_flux,
            threads=threads,
        )
        state = run.enthalpy
    return _labelled(run, edges, layers, labels, where, shape, places[0])


def _initial_state(
    initial: xr.DataArray | float | None,
    above: np.ndarray,
    properties: dict[str, np.ndarray],
    flat: Callable[[xr.DataArray], np.ndarray],
) -> np.ndarray:
    if isinstance(initial, xr.DataArray):
        return flat(initial)
    if initial is None:
        celsius = above.mean(axis=0)
    else:
        celsius = np.full(above.shape[1], initial - FREEZING_POINT)
    nodes = properties["latent_heat"].shape[0]
    return enthalpy_of(np.repeat(celsius[None, :], nodes, axis=0), properties)


def _step_seconds(time: xr.DataArray) -> float:
    gaps = np.diff(time.values).astype("timedelta64[s]").astype("float64")
    if gaps.size == 0 or np.any(gaps != gaps[0]) or not 0 < gaps[0] <= 31 * SECONDS_PER_DAY:
        raise TimeAxisError(
            "simulate needs equal steps of some days; found steps of "
            f"{sorted(set((gaps / SECONDS_PER_DAY).tolist()))[:5]} days. "
            "Interpolate monthly data first: ds.resample(time='1D').interpolate()."
        )
    return float(gaps[0])


def _periods(time: xr.DataArray, average: str) -> tuple[np.ndarray, np.ndarray]:
    if choose("average", average, ("month", "step")) == "step":
        return np.ones(time.size, dtype="int64"), time.values
    _, first, counts = np.unique(month_index(time), return_index=True, return_counts=True)
    return counts, time.values[first].astype("datetime64[M]").astype("datetime64[ns]")


def _labelled(
    run: ColumnRun,
    edges: Sequence[float],
    layers: Sequence[float],
    labels: np.ndarray,
    where: tuple[Hashable, ...],
    shape: tuple[int, ...],
    place: xr.DataArray,
) -> xr.Dataset:
    count = len(layers) - 1
    row = variable("tsl")

    def put(values: np.ndarray, dims: tuple[str, ...], **attrs: str) -> xr.Variable:
        full = values.reshape(values.shape[:-1] + shape)
        return xr.Variable(dims + where, full, attrs).transpose(*where, *dims[::-1])

    kelvin = run.temperature + FREEZING_POINT
    data = {
        "tsl": put(kelvin[:, :count], (TIME, LAYER), **row.attrs),
        "tsl_node": put(kelvin[:, count:], (TIME, NODE), units="K", long_name="soil temperature"),
        "thaw_depth": put(run.thaw_depth, (TIME,), units="m", long_name="depth of 0 degC"),
        "ground_heat_flux": put(
            run.ground_heat_flux, (TIME,), units="W m-2", long_name="heat flux into the soil"
        ),
        "enthalpy": put(run.enthalpy, (NODE,), units="J m-3", long_name="final enthalpy"),
        "heat_in": put(run.heat_in, (), units="J m-2", long_name="heat through the boundaries"),
    }
    coords = {name: place[name] for name in place.coords if name != TIME}
    return xr.Dataset(
        data, coords={**coords, **layer_coords(layers), **node_coords(edges)}
    ).assign_coords({TIME: labels})
