"""The soil column on labelled data: canonical forcing and a soil in, soil temperature out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from .._checks import check_whole, require_dims, require_variables
from ..errors import DataError, DimensionError
from ..schema import (
    ERA5LAND_EDGES,
    LAYER,
    TIME,
    layer_bounds,
    layer_coords_from_bounds,
    variable,
)
from .column import DEFAULT_EDGES, NODE, PROPERTIES, layer_weights, node_coords
from .forcing import Steps, Surface, forcing_fields, read_steps
from .profile import SoilProfile, profile
from .running import ANSWER, NUMBERS, Task, run_places

_ATTRS = {
    "thaw_depth": ("depth of 0 degC", "m"),
    "ground_heat_flux": ("heat flux into the soil", "W m-2"),
    "enthalpy": ("final enthalpy", "J m-3"),
    "snow_temperature": ("final temperature of the snow", "degC"),
    "heat_in": ("heat through the upper and lower end", "J m-2"),
    "spin_up_drift": ("largest change of an annual mean in the last cycle of the spin-up", "K"),
}


@dataclass(frozen=True, kw_only=True)
class SpinUp:
    """Repetition of the first years until the column has settled.

    Attributes
    ----------
    years : int
        How many first years are repeated. One year's weather stands in all depths; several
        average over it and take longer.
    tolerance : float
        Settled: no node's annual mean changes by more than this from cycle to cycle [K].
    cycles : int
        At most so many; a PermafrostWarning tells of columns that drift on.
    """

    years: int = 1
    tolerance: float = 0.01
    cycles: int = 60

    def __post_init__(self) -> None:
        if self.years < 1 or self.cycles < 2 or not self.tolerance > 0:
            raise DataError(
                f"a spin-up needs 1 year or more, 2 cycles, a tolerance above 0; got {self}. "
                "For none, type spin_up=None."
            )


def column_edges(
    depth: float, *, first: float = 0.02, growth: float = 1.2, through: Sequence[float] = ()
) -> tuple[float, ...]:
    """Edges of nodes [m] that widen downward, from the surface to ``depth``.

    Parameters
    ----------
    depth : float
        Lower end [m].
    first : float
        Thickness of the uppermost node [m].
    growth : float
        Ratio of neighbours.
    through : sequence of float
        Depths that are to be edges: bounds of layers, of peat, of gravel.

    Examples
    --------
    >>> column_edges(1.0, first=0.1, growth=1.5, through=(0.28,))
    (0.0, 0.112, 0.28, 0.568, 1.0)
    >>> len(column_edges(20.0, through=ERA5LAND_EDGES)) - 1
    30
    """
    edges, size = [0.0], first
    for stop in sorted({float(z) for z in (*through, depth) if 0.0 < z <= depth}):
        left = stop - edges[-1]
        parts = np.array([size])
        while parts.sum() + 0.5 * parts[-1] * growth < left:
            parts = np.append(parts, parts[-1] * growth)
        parts *= left / parts.sum()
        edges += [*(edges[-1] + np.cumsum(parts)[:-1]).round(6).tolist(), stop]
        size = float(parts[-1]) * growth
    return tuple(edges)


def row_weights(edges: Sequence[float], bounds: np.ndarray) -> np.ndarray:
    """Weights (row, node) of layers, and of points: layers of equal bounds [m].

    A layer is the mean by overlap, a point interpolated between the middles of the nodes; above
    the first and below the last middle it takes that node's.

    Examples
    --------
    >>> row_weights((0.0, 0.2, 0.4), np.array([[0.2, 0.2], [0.1, 0.4]])).round(2).tolist()
    [[0.5, 0.5], [0.33, 0.67]]
    """
    low, high = float(np.min(bounds)), float(np.max(bounds))
    if low < edges[0] or high > edges[-1]:
        raise DimensionError(
            f"the layers reach from {low:g} to {high:g} m, the column from {edges[0]:g} to "
            f"{edges[-1]:g} m. Depths are in m, positive down; for a deeper column type "
            f"edges=column_edges({max(high, edges[-1]):g})."
        )
    middles = 0.5 * (np.asarray(edges[1:]) + np.asarray(edges[:-1]))
    unit = np.eye(middles.size)
    rows = []
    for top, bottom in bounds:
        if bottom > top:
            rows.append(layer_weights(edges, (top, bottom))[0])
        else:
            rows.append(np.array([np.interp(top, middles, column) for column in unit]))
    return np.array(rows)


def simulate_soil(
    forcing: xr.Dataset,
    soil: SoilProfile | xr.Dataset | str = "tundra",
    *,
    surface: Surface | None = None,
    layers: Sequence[float] | np.ndarray | xr.DataArray | xr.Dataset = ERA5LAND_EDGES,
    edges: Sequence[float] = DEFAULT_EDGES,
    average: str = "month",
    spin_up: SpinUp | None = SpinUp(),
    initial: xr.Dataset | None = None,
    bottom_flux: xr.DataArray | float = 0.0,
    threads: int | None = None,
) -> xr.Dataset:
    """Soil temperature from air or skin temperature and snow, by heat conduction with freezing.

    Parameters
    ----------
    forcing : Dataset (..., time)
        Canonical: ``ts``, or else ``tas``, [K]; ``snd`` [m], ``snw`` [kg m-2] or both; with
        ``tas`` also ``rsds`` [W m-2] if there. Monthly means, which become days with the same
        means (:func:`~xpermafrost.physics.forcing.to_days`), or equal steps of a day at most.
    soil : SoilProfile, Dataset or str
        A profile, the name of one of :data:`~xpermafrost.physics.profile.PROFILES`, or
        thermal properties by node (:func:`~xpermafrost.physics.soil.column_properties`).
    surface : Surface, optional
        Snow and exchange with the air.
    layers : sequence of float, array (layer, 2), DataArray or Dataset
        Edges of adjoining layers, or bounds of each, equal bounds for a point [m]; or an object
        whose layers are meant, of which the labels are kept.
    edges : sequence of float
        Bounds of the nodes [m]; default 25 nodes to 28 m. See :func:`column_edges`.
    average : {"month", "step"}
        What the answer's times are: months, or the steps of the forcing.
    spin_up : SpinUp or None
        How the first state is found, from the first guess of one temperature at all depths: the
        mean of the surface weighted by how well the snow conducts. Nodes below 2 m whose
        temperature hardly varies are set at first to the annual mean just above them.
    initial : Dataset, optional
        A former answer to go on from, instead of a spin-up.
    bottom_flux : float or DataArray
        Geothermal heat flux into the column [W m-2]; 0: no flux.
    threads : int, optional
        Default: the processors this process may use.

    Returns
    -------
    Dataset
        ``tsl`` (..., layer, time) [K]; ``thaw_depth`` (..., time) [m], of the warmest state of
        each period (0: nothing thawed; missing where ``tsl`` is not: thawed to the lower end),
        above ground that has been frozen for a year of the run: what is thawed beneath permafrost
        does not count;
        ``ground_heat_flux`` (..., time) [W m-2]; ``enthalpy`` (..., node) [J m-3] and
        ``snow_temperature`` (...) [degC] to go on from; ``heat_in`` (...) [J m-2];
        ``spin_up_drift`` (...) [K]. Lazy on dask arrays chunked along places. Neighbours in a
        block share their iterations: results depend on the chunks by less than 5 mK.

    Raises
    ------
    TimeAxisError
        If steps are unequal, or longer than a day and not months.
    DimensionError
        If ``time`` is in several chunks, layers reach beyond the column, or places differ.
    DataError
        If the soil is unphysical, or the record shorter than a spin-up.
    MissingVariableError, UnitsError, UnknownNameError
        If the forcing or names do not fit.

    Notes
    -----
    A place whose forcing starts late starts there; after a gap it is missing (see
    :func:`~xpermafrost.physics.forcing.fill_gaps`). Snow of depth h and density d is a
    resistance h / k(d) with the heat capacity of its ice in the middle; while it lies, melting
    keeps its surface at 0 degC at most.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=3)[["tas", "snd"]]
    >>> run = simulate_soil(ds, "tundra", layers=[(0.2, 0.2), (0.8, 0.8)])
    >>> run["tsl"].dims, run["depth"].values.tolist()
    (('band', 'layer', 'time'), [0.2, 0.8])
    """
    require_dims(forcing, (TIME,), step="simulate_soil")
    check_whole(forcing, TIME, step="simulate_soil")
    surface = surface or Surface()
    fields = forcing_fields(forcing)
    steps = read_steps(forcing[TIME], average)
    properties = _properties(soil, edges)
    names, bounds = _layers(layers)
    task = Task(
        names=tuple(fields),
        steps=steps,
        surface=surface,
        edges=tuple(float(z) for z in edges),
        rows=row_weights(edges, bounds),
        spin_up=None if initial is not None or spin_up is None else _cycle(spin_up, steps),
        threads=threads,
    )
    given = {name: xr.DataArray(getattr(surface, name, bottom_flux)) for name in NUMBERS}
    given |= {name: properties[name] for name in PROPERTIES}
    made = _run({**fields, **given, **_start(initial, len(edges) - 1)}, task)
    return _labelled(made, names, steps, task, forcing)


def _layers(
    layers: Sequence[float] | np.ndarray | xr.DataArray | xr.Dataset,
) -> tuple[dict[str, xr.Variable], np.ndarray]:
    """Coordinates and bounds (layer, 2) of the answer's layers."""
    if isinstance(layers, xr.DataArray | xr.Dataset):
        bounds = layer_bounds(layers)
        made = layer_coords_from_bounds(bounds)
        if LAYER in layers.coords:
            made[LAYER] = layers[LAYER].variable
        return made, bounds
    values = np.asarray(layers, dtype="float64")
    if values.ndim == 1:
        values = np.stack([values[:-1], values[1:]], axis=1)
    if values.ndim != 2 or values.shape[1] != 2 or not len(values) or np.any(np.diff(values) < 0):
        raise DimensionError(
            "layers are increasing edges, or (top, bottom) of each, in m and positive down; got "
            f"{np.asarray(layers).tolist()}. For points type [(0.2, 0.2), (0.8, 0.8)]."
        )
    return layer_coords_from_bounds(values), values


def _cycle(spin_up: SpinUp, steps: Steps) -> tuple[int, float, int]:
    """Periods of a cycle of the spin-up, its tolerance, and how many cycles at most."""
    total = int(steps.counts.sum())
    wanted = spin_up.years * steps.year
    if total < wanted:
        raise DataError(
            f"a spin-up over {spin_up.years} years needs {wanted} steps; the forcing has {total}. "
            "Give it an 'initial' state, or type spin_up=None to start from one temperature."
        )
    ends = np.cumsum(steps.counts)
    return int(np.argmin(np.abs(ends - wanted))) + 1, spin_up.tolerance, spin_up.cycles


def _properties(soil: SoilProfile | xr.Dataset | str, edges: Sequence[float]) -> xr.Dataset:
    if isinstance(soil, str):
        soil = profile(soil)
    if isinstance(soil, SoilProfile):
        return soil.properties(edges)
    require_variables(soil, PROPERTIES, step="simulate_soil")
    require_dims(soil, (NODE,), step="simulate_soil")
    if soil.sizes[NODE] != len(edges) - 1:
        raise DimensionError(
            f"the soil has {soil.sizes[NODE]} nodes, the grid {len(edges) - 1}. Type the edges it "
            "was made for: edges=..."
        )
    for name in PROPERTIES:
        lowest = float(soil[name].min())
        if lowest < 0.0 or (lowest == 0.0 and name != "latent_heat"):
            raise DataError(
                f"{name!r} must be above 0; found {lowest:g}. Make the properties from what the "
                "soil consists of: SoilProfile(...).properties(edges), or column_properties(...)."
            )
    return soil


def _start(initial: xr.Dataset | None, nodes: int) -> dict[str, xr.DataArray]:
    if initial is None:
        return {}
    require_variables(initial, ("enthalpy", "snow_temperature"), step="going on")
    if initial.sizes.get(NODE) != nodes:
        raise DimensionError(
            f"the initial state has {initial.sizes.get(NODE)} nodes, the grid {nodes}. Type the "
            "edges that it was made with: edges=..."
        )
    return {name: initial[name] for name in ("enthalpy", "snow_temperature")}


def _run(inputs: dict[str, xr.DataArray], task: Task) -> xr.Dataset:
    """:func:`run_places`, block by block where the inputs are chunked."""
    try:
        xr.align(*inputs.values(), join="exact", exclude=(TIME, NODE))
    except ValueError as error:
        raise DimensionError(
            "forcing, soil, surface and initial state must have the same places in the same order. "
            f"Type soil.reindex_like(forcing) or the like. ({str(error).splitlines()[0]})"
        ) from error
    ds = xr.Dataset({name: da.variable for name, da in inputs.items()})
    if not ds.chunks:
        return run_places(ds, task)
    import dask.array

    ds = ds.unify_chunks()
    dims = tuple(d for d in ds.dims if d not in (TIME, NODE))
    sizes = dict(ds.sizes) | task.sizes
    template = xr.Dataset()
    for name, own in ANSWER.items():
        chunks = [ds.chunks.get(d, -1) for d in dims] + [-1] * len(own)
        zeros = dask.array.zeros([sizes[d] for d in dims + own], chunks=chunks)
        template[name] = (dims + own, zeros)
    return xr.map_blocks(run_places, ds, kwargs={"task": task}, template=template)


def _labelled(
    made: xr.Dataset,
    layers: dict[str, xr.Variable],
    steps: Steps,
    task: Task,
    forcing: xr.Dataset,
) -> xr.Dataset:
    out = made.assign(tsl=made["tsl"].astype("float32"))
    out["tsl"].attrs = variable("tsl").attrs
    for name, (long_name, unit) in _ATTRS.items():
        out[name].attrs = {"long_name": long_name, "units": unit}
    out["thaw_depth"].attrs["comment"] = "missing where tsl is not: thawed to the lower end"
    places = set(out.dims) - {LAYER, TIME, NODE}
    kept = {name: c for name, c in forcing.coords.items() if set(c.dims) <= places}
    out = out.assign_coords(kept)
    out = out.assign_coords({**layers, **node_coords(task.edges)})
    return out.assign_coords({TIME: (TIME, steps.labels, forcing[TIME].attrs)})
