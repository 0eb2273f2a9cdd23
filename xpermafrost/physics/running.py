"""Many places through the column: grouped by where their forcing begins and ends, in blocks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..errors import PermafrostWarning
from ..schema import FREEZING_POINT, LAYER, TIME
from .column import NODE, PROPERTIES, ColumnRun, enthalpy_of, solve
from .forcing import Steps, Surface, on_the_ground

#: Numbers of a place beside its soil.
NUMBERS = ("snow_conductivity_factor", "exchange_resistance", "solar_gain", "bottom_flux")

#: Parts of the answer, and their dims after those of the places.
ANSWER = {
    "tsl": (LAYER, TIME),
    "thaw_depth": (TIME,),
    "ground_heat_flux": (TIME,),
    "enthalpy": (NODE,),
    "snow_temperature": (),
    "heat_in": (),
    "spin_up_drift": (),
}

#: Columns worked on together: their daily forcing of some decades stays below 0.3 GB.
_BLOCK = 512

#: The spin-up resets nodes below this depth [m] whose yearly range is below this [K], after these
#: cycles.
_RESET_BELOW, _QUIET, _RESET_AFTER = 2.0, 1.0, (1, 3, 6, 10)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What is the same for all places of a run.

    Attributes
    ----------
    names : tuple of str
        Forcing variables.
    steps : Steps
    surface : Surface
    edges : tuple of float
        Of the nodes [m].
    rows : array (row, node)
        Weights of the answer's layers.
    spin_up : tuple or None
        Periods of a cycle, tolerance [K], most cycles.
    threads : int or None
    """

    names: tuple[str, ...]
    steps: Steps
    surface: Surface
    edges: tuple[float, ...]
    rows: np.ndarray
    spin_up: tuple[int, float, int] | None
    threads: int | None

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of the answer's own dims."""
        count = self.steps.counts.size
        return {LAYER: len(self.rows), TIME: count, NODE: len(self.edges) - 1}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Places:
    """Arrays of some places, ``(..., place)``, and the periods they are known in."""

    fields: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]
    soil: dict[str, np.ndarray]
    start: dict[str, np.ndarray]


def run_places(ds: xr.Dataset, task: Task) -> xr.Dataset:
    """The :data:`ANSWER` at the places of ``ds``: its forcing, numbers and soil in memory."""
    dims = tuple(d for d in ds.dims if d not in (TIME, NODE))
    shape = tuple(ds.sizes[d] for d in dims)
    wide = {str(name): _flat(da, dims, shape) for name, da in ds.data_vars.items()}
    places = _Places(
        fields={name: wide[name] for name in task.names},
        numbers={name: wide[name] for name in NUMBERS},
        soil={name: wide[name] for name in PROPERTIES},
        start={n: wide[n] for n in ("enthalpy", "snow_temperature") if n in wide},
    )
    count = int(np.prod(shape))
    out = {
        name: np.full((*(task.sizes[d] for d in own), count), np.nan)
        for name, own in ANSWER.items()
    }
    first, stop = _spans(places, task)
    for a, b in np.unique(np.stack([first, stop], axis=1), axis=0):
        if b - a < (task.spin_up[0] if task.spin_up else 1):
            continue
        which = np.flatnonzero((first == a) & (stop == b))
        for block in np.array_split(which, -(-which.size // _BLOCK)):
            _run_block(_take(places, block, task, a, b), task, slice(int(a), int(b)), block, out)
    if task.spin_up:
        _warn_of_drift(out["spin_up_drift"], task.spin_up[1])
    made = {}
    for name, own in ANSWER.items():
        values = np.moveaxis(out[name], -1, 0)
        made[name] = (dims + own, values.reshape((*shape, *values.shape[1:])))
    return xr.Dataset(made)


def _flat(da: xr.DataArray, dims: tuple, shape: tuple[int, ...]) -> np.ndarray:
    """``(place,)``, or ``(stamp or node, place)``."""
    core = [d for d in da.dims if d in (TIME, NODE)]
    own = [d for d in dims if d in da.dims]
    values = da.transpose(*core, *own).values
    index = (slice(None),) * len(core) + tuple(slice(None) if d in own else None for d in dims)
    full = np.broadcast_to(values[index], (*values.shape[: len(core)], *shape))
    return full.reshape(*values.shape[: len(core)], -1)


def _spans(places: _Places, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """First and last + 1 of the periods of each place, from its first known one to a gap."""
    known = np.logical_and.reduce([np.isfinite(v) for v in places.fields.values()])
    starts = np.concatenate([[0], np.cumsum(task.steps.stamps)[:-1]])
    known = np.logical_and.reduceat(known, starts, axis=0)
    states = (*places.numbers.values(), *places.soil.values(), *places.start.values())
    made = [np.isfinite(np.atleast_2d(v)).all(axis=0) for v in states]
    known &= np.logical_and.reduce(made)
    first = known.argmax(axis=0)
    ended = ~known & (np.arange(len(known))[:, None] > first)
    stop = np.where(ended.any(axis=0), ended.argmax(axis=0), len(known))
    return first, np.where(known.any(axis=0), stop, first)


def _take(places: _Places, which: np.ndarray, task: Task, a: int, b: int) -> _Places:
    ends = np.concatenate([[0], np.cumsum(task.steps.stamps)])
    return _Places(
        fields={
            k: v[ends[a] : ends[b]][:, which].astype("float64") for k, v in places.fields.items()
        },
        numbers={k: v[which] for k, v in places.numbers.items()},
        soil={k: v[:, which] for k, v in places.soil.items()},
        start={k: v[..., which] for k, v in places.start.items()},
    )


def _run_block(
    places: _Places, task: Task, periods: slice, which: np.ndarray, out: dict[str, np.ndarray]
) -> None:
    """Run some places over ``periods`` and put what they give in the columns ``which``."""
    above = on_the_ground(places.fields, task.steps, periods, task.surface, places.numbers)
    counts = task.steps.counts[periods]
    if task.spin_up:
        cycle, tolerance, most = task.spin_up
        length = int(counts[:cycle].sum())
        state, snow, drift = _settle(above, places, task, length, tolerance, most)
        out["spin_up_drift"][which] = drift
    elif places.start:
        state, snow = places.start["enthalpy"], places.start["snow_temperature"]
    else:
        state, snow = _guess(above, places.soil)
    run = _solve(above, places, state, snow, task, counts, task.rows)
    out["tsl"][:, periods, which] = np.swapaxes(run.temperature, 0, 1) + FREEZING_POINT
    out["thaw_depth"][periods, which] = run.thaw_depth
    out["ground_heat_flux"][periods, which] = run.ground_heat_flux
    out["enthalpy"][:, which] = run.enthalpy
    out["snow_temperature"][which] = run.snow_temperature
    out["heat_in"][which] = run.heat_in


Above = tuple[np.ndarray, np.ndarray, np.ndarray]


def _solve(
    above: Above,
    places: _Places,
    state: np.ndarray,
    snow: np.ndarray,
    task: Task,
    counts: np.ndarray,
    rows: np.ndarray,
) -> ColumnRun:
    top, resistance, heat = (part[: int(counts.sum())] for part in above)
    return solve(
        *(top, resistance, places.soil, state),
        steps=counts,
        weights=rows,
        edges=task.edges,
        step_seconds=task.steps.seconds,
        bottom_flux=places.numbers["bottom_flux"],
        snow_heat=heat,
        snow_temperature=snow,
        threads=task.threads,
    )


def _guess(above: Above, soil: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One temperature at all depths: of the surface, by how well it is connected to the soil."""
    weight = 1.0 / (1.0 + above[1])
    mean = (above[0] * weight).sum(axis=0) / weight.sum(axis=0)
    nodes = soil["latent_heat"].shape[0]
    return enthalpy_of(np.repeat(mean[None, :], nodes, axis=0), soil), np.minimum(mean, 0.0)


def _settle(
    above: Above, places: _Places, task: Task, length: int, tolerance: float, most: int
) -> Above:
    """State and snow temperature after the spin-up, and the drift of its last cycle [K]."""
    above = (above[0][:length], above[1][:length], above[2][:length])
    state, snow = _guess(above, places.soil)
    counts = np.diff(np.linspace(0, length, 13).astype("int64"))
    rows = np.eye(state.shape[0])
    drift = np.full(state.shape[1], np.inf)
    means = np.full(state.shape, np.inf)
    for cycle in range(most):
        late = np.flatnonzero(drift > tolerance)
        if not late.size:
            break
        here = _Places(
            fields={},
            numbers={k: v[late] for k, v in places.numbers.items()},
            soil={k: v[:, late] for k, v in places.soil.items()},
            start={},
        )
        part = (above[0][:, late], above[1][:, late], above[2][:, late])
        run = _solve(part, here, state[:, late], snow[late], task, counts, rows)
        mean = np.average(run.temperature, axis=0, weights=counts)
        drift[late] = np.abs(mean - means[:, late]).max(axis=0)
        state[:, late], snow[late], means[:, late] = run.enthalpy, run.snow_temperature, mean
        if cycle in _RESET_AFTER and cycle < most - 2:
            state[:, late] = _reset(run, mean, here, task)
            means[:, late] = np.inf  # the next cycle's difference would tell of the reset
    return state, snow, drift


def _reset(run: ColumnRun, mean: np.ndarray, places: _Places, task: Task) -> np.ndarray:
    """The state with the nodes below the first quiet one at its annual mean and the flux's slope.

    Without phase change the annual mean is that of steady conduction, which a deep column takes
    centuries to reach by itself.
    """
    edges = np.asarray(task.edges)
    middle = 0.5 * (edges[1:] + edges[:-1])
    span = run.temperature.max(axis=0) - run.temperature.min(axis=0)
    frozen = run.temperature.max(axis=0) < 0.0
    quiet = (span < _QUIET) & (frozen | (run.temperature.min(axis=0) > 0.0))
    quiet &= (middle > _RESET_BELOW)[:, None]
    first = np.where(quiet.any(axis=0), quiet.argmax(axis=0), middle.size - 1)
    here = np.arange(mean.shape[1])
    k = np.where(frozen, places.soil["conductivity_frozen"], places.soil["conductivity_thawed"])
    slope = places.numbers["bottom_flux"] / k[first, here]
    deep = mean[first, here] + slope * (middle[:, None] - middle[first])
    below = np.arange(middle.size)[:, None] > first
    return np.where(below, enthalpy_of(deep, places.soil), run.enthalpy)


def _warn_of_drift(drift: np.ndarray, tolerance: float) -> None:
    late = int(np.sum(drift > tolerance))
    if late:
        warnings.warn(
            f"{late} of {drift.size} columns still drifted by up to {np.nanmax(drift):.3g} K a "
            f"cycle at the end of the spin-up (tolerance {tolerance:g} K). Type for instance "
            "spin_up=SpinUp(cycles=300).",
            PermafrostWarning,
            stacklevel=4,
        )
