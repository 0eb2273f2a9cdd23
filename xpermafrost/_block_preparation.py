"""From a Dataset larger than memory to windows: statistics in one pass, then block by block.

The first pass reads every unit of places once, and takes from the training years alone what
:func:`xpermafrost.preparation.prepare` takes: norms, climatologies, ranges, the numbers of windows.
Later a pool of units is read, its features are made and scaled, and its windows gathered in place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from . import __version__
from ._block_reading import Box, ahead, boxes, feature_count, place_bytes
from ._checks import (
    check_range,
    check_steps,
    check_units,
    require_variables,
    step_name,
    without_attrs,
)
from .climatology import climatology, usual
from .errors import DimensionError
from .features import build_features, feature_statistics, needed_variables
from .preparation import (
    Period,
    enough_windows,
    learned_span,
    recency_weight,
    split_windows,
    training_period,
    warn_of_lost,
    without_features,
)
from .scaling import NORMS, Moments, no_target, scale_features, scale_target, spread_of
from .schema import (
    FEATURE,
    LAYER,
    TIME,
    VARIABLES,
    layer_bounds,
    layer_coords_from_bounds,
    location_dims,
)
from .windows import Windows, WindowSpec, make_windows

#: The one dimension of places that a unit has in memory.
CELL = "cell"

#: Places whose features are made at a time.
SLICE = 512

#: Share of the memory for one of four: the pool that is learned, the next one, what is being
#: read for it, and what is held for validation.
SHARE = 0.25


class Unit(NamedTuple):
    """A box of places, and those in it with something to learn: number in the whole, in the box."""

    box: Box
    ids: np.ndarray
    inside: np.ndarray


class Pick(NamedTuple):
    """Some of the places of a unit."""

    unit: Unit
    some: np.ndarray


@dataclass(frozen=True, kw_only=True)
class BlockPrepared:
    """What every network of a fit shares, where the windows do not fit the memory.

    ``training (place,)`` and ``validation (place,)`` count windows; ``units`` cover all places
    with something to learn; ``by_place`` holds their statistics along ``cell``.
    """

    ds: xr.Dataset
    spec: WindowSpec
    period: tuple[np.datetime64, ...]
    validation_years: int
    weight: np.ndarray
    units: list[Unit]
    training: np.ndarray
    validation: np.ndarray
    scaler: xr.Dataset
    statistics: xr.Dataset
    by_place: xr.Dataset
    template: xr.Dataset
    info: dict[str, Any]
    sizes: dict[str, int]
    limit: float

    def pools(self, picks: Sequence[Pick]) -> list[list[Pick]]:
        """Picks joined, in their order, as far as the memory goes."""
        n_time = self.ds.sizes[TIME]
        each = place_bytes(n_time, self.sizes["n_features"], self.sizes["n_layers"])
        out: list[list[Pick]] = []
        room = 0.0
        for pick in picks:
            need = each * pick.some.size
            if not out or need > room:
                out.append([])
                room = self.limit
            out[-1].append(pick)
            room -= need
        return out

    def read(self, pool: Sequence[Pick]) -> tuple[Windows, np.ndarray]:
        """Windows, and targets ``(location, time, layer)``, of the places of a pool, scaled.

        The numbers of places are those in the pool. Computes each unit once.
        """
        count, n_time = sum(pick.some.size for pick in pool), self.ds.sizes[TIME]
        cube = np.empty((count, n_time, self.sizes["n_features"]), dtype="float32")
        target = np.empty((count, n_time, self.sizes["n_layers"]), dtype="float32")
        at = 0
        for pick in pool:
            ids, inside = pick.unit.ids[pick.some], pick.unit.inside[pick.some]
            values = self.ds.isel(pick.unit.box).compute()
            cells = as_cells(values, list(pick.unit.box), ids, inside)
            for some in _slices(ids.size):
                part = cells.isel({CELL: some})
                here = slice(at + some.start, at + some.stop)
                cube[here], target[here] = self._scaled(part)
            at += ids.size
        features = xr.DataArray(cube, {TIME: self.ds[TIME]}, (CELL, TIME, FEATURE))
        return make_windows(features, self.spec), target

    def _scaled(self, part: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
        own = self.by_place.sel({CELL: part[CELL]})
        spec = self.spec
        raw = build_features(
            part, spec.features, statistics=own, length=spec.length, step=spec.step
        )
        norms = self.scaler[list(NORMS)].assign(climatology=own[_COURSE])
        norms = norms.assign_attrs(self.scaler.attrs)
        features = scale_features(raw, norms).transpose(CELL, TIME, FEATURE)
        target = scale_target(part["tsl"], norms).transpose(CELL, TIME, LAYER)
        return features.values, target.values


#: Names of what is known by place in the scaler, kept beside the statistics of features.
_COURSE, _LOW, _HIGH = "course_tsl", "feature_min", "feature_max"


def prepare_blocks(
    ds: xr.Dataset,
    spec: WindowSpec,
    *,
    train: Period | str | None,
    transform: str,
    validation_years: int = 0,
    recency_years: float | None = None,
    norms: xr.Dataset | None = None,
    memory: float = 4.0,
) -> BlockPrepared:
    """Statistics of a Dataset larger than memory, in one pass over its chunks of places.

    As :func:`xpermafrost.preparation.prepare`, to rounding; parameters as there.

    Parameters
    ----------
    memory : float
        Memory for windows [GB].
    """
    names = ["tsl", *(n for n in needed_variables(spec.features) if n != "tsl")]
    require_variables(ds, names, step="fit")
    check_steps(ds, spec.step, step="fit")
    for name in names:
        if name in VARIABLES:
            check_units(ds[name])
    period = training_period(ds, train, step=spec.step)
    ds = ds[names].reset_coords([n for n in names if n in ds.coords and n not in ds.dims])
    places = tuple(str(d) for d in location_dims(ds[list(needed_variables(spec.features))]))
    if set(places) != {str(d) for d in location_dims(ds["tsl"])}:
        raise DimensionError(
            f"training in blocks needs the places of features and target alike; found {places} "
            f"and {location_dims(ds['tsl'])}."
        )
    weight = recency_weight(ds[TIME], period[1], recency_years, spec.step)
    counted = None if recency_years is None else weight
    first = _FirstPass(ds, spec, places, period, transform, validation_years, counted)
    limit = SHARE * memory * 1e9
    units = first.learnable(list(first.run(boxes(ds, places, limit))))
    first.refuse()
    scaler = first.scaler(norms, places)
    coords = xr.Dataset(coords={d: ds[d] for d in places})
    layers = {**layer_coords_from_bounds(layer_bounds(ds)), LAYER: ds[LAYER].variable}
    own = first.by_place()
    return BlockPrepared(
        ds=ds,
        spec=spec,
        period=period,
        validation_years=validation_years,
        weight=weight.values.astype("float32"),
        units=units,
        training=first.training,
        validation=first.validation,
        scaler=scaler,
        statistics=_unstacked(own[_statistics(own)], ds, places),
        by_place=own,
        template=coords.assign_coords(layers),
        info=first.told(units),
        sizes={
            "n_features": feature_count(ds, spec.features),
            "n_locations": int(np.prod([ds.sizes[d] for d in places])),
            "n_layers": ds.sizes[LAYER],
            "length": spec.length,
        },
        limit=limit,
    )


def _statistics(own: xr.Dataset) -> list[str]:
    """Names of the statistics of features."""
    return [str(name) for name in own.data_vars if name not in (_COURSE, _LOW, _HIGH)]


def as_cells(
    box: xr.Dataset, places: Sequence[str], ids: np.ndarray, inside: np.ndarray
) -> xr.Dataset:
    """Places of a box along one dimension, labelled by their numbers in the whole.

    ``inside`` numbers them in the order of the dimensions ``places``.
    """
    at = np.unravel_index(inside, [box.sizes[d] for d in places])
    picks = {d: xr.DataArray(k, dims=CELL) for d, k in zip(places, at, strict=True)}
    bare = box.drop_vars([n for n in box.coords if set(places) & set(box[n].dims)])
    return bare.isel(picks).assign_coords({CELL: ids})


def _slices(count: int) -> Iterator[slice]:
    for begin in range(0, count, SLICE):
        yield slice(begin, min(begin + SLICE, count))


def _unstacked(own: xr.Dataset, ds: xr.Dataset, places: tuple[str, ...]) -> xr.Dataset:
    """What is known by place, with the dimensions of ``ds``; NaN where nothing is learned."""
    shape = [ds.sizes[d] for d in places]
    out = {}
    for name, da in own.data_vars.items():
        rest = [str(d) for d in da.dims if d != CELL]
        full = np.full((int(np.prod(shape)), *(da.sizes[d] for d in rest)), np.nan, da.dtype)
        full[own[CELL].values] = da.transpose(CELL, *rest).values
        out[name] = ((*places, *rest), full.reshape(*shape, *full.shape[1:]))
    coords = {n: c for n, c in own.coords.items() if CELL not in c.dims}
    return xr.Dataset(out, coords={**{d: ds[d] for d in places}, **coords}).pipe(without_attrs)


@dataclass
class _FirstPass:
    """What is gathered while every unit is read once."""

    ds: xr.Dataset
    spec: WindowSpec
    places: tuple[str, ...]
    period: tuple[np.datetime64, ...]
    transform: str
    validation_years: int
    weight: xr.DataArray | None
    parts: list[xr.Dataset] = field(default_factory=list)
    excluded: int = 0
    land: int = 0
    lost: int = 0
    lacking: dict[str, None] = field(default_factory=dict)
    hash: Any = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self.shape = [self.ds.sizes[d] for d in self.places]
        self.training, self.validation = (np.zeros(np.prod(self.shape), "int32") for _ in range(2))
        self.span = {TIME: slice(*self.period)}
        self.learned = learned_span(
            self.ds[TIME], self.period, self.validation_years, self.spec.step
        )
        self.features = Moments(feature_count(self.ds, self.spec.features))
        self.target = Moments(self.ds.sizes[LAYER])
        self.labels = np.array([])

    def run(self, units: Sequence[Box]) -> Iterator[Unit]:
        loaded = ahead(lambda box: self.ds.isel(box).compute(), units)
        for box, values in zip(units, loaded, strict=True):
            yield self._unit(box, values)

    def _unit(self, box: Box, values: xr.Dataset) -> Unit:
        for name, da in values.data_vars.items():
            if name in VARIABLES:
                self._check_range(da)
        known = values["tsl"].sel(self.span).notnull().any((LAYER, TIME))
        soil = known.transpose(*self.places).values
        if len(self.places) == 1 and not soil.all():
            dim = self.places[0]
            raise no_target(dim, self.ds[dim].values[box[dim]][~soil].tolist())
        inside = np.flatnonzero(soil.ravel())
        axes = [np.arange(self.ds.sizes[d])[box[d]] for d in self.places]
        ids = np.ravel_multi_index(np.meshgrid(*axes, indexing="ij"), self.shape).ravel()[inside]
        self.land += ids.size
        cells = as_cells(values, self.places, ids, inside)
        kept = [self._cells(cells.isel({CELL: some})) for some in _slices(ids.size)]
        keep = np.concatenate(kept) if kept else np.zeros(0, dtype=bool)
        return Unit(box, ids[keep], inside[keep])

    def _check_range(self, da: xr.DataArray) -> None:
        da = da.sel(self.span) if TIME in da.dims else da
        if bool(da.notnull().any()):
            check_range(da)

    def _cells(self, cells: xr.Dataset) -> np.ndarray:
        """Take in some places; which of them have every feature."""
        spec = self.spec
        statistics = feature_statistics(cells.sel(self.learned), spec.features, step=spec.step)
        raw = build_features(
            cells, spec.features, statistics=statistics, length=spec.length, step=spec.step
        )
        empty = raw.sel(self.span).isnull().all(TIME)
        keep = ~empty.any(FEATURE).values
        if not keep.all():
            self._without(empty)
            cells, raw = cells.isel({CELL: keep}), raw.isel({CELL: keep})
            statistics = statistics.isel({CELL: keep}, missing_dims="ignore")
        self.labels = raw[FEATURE].values
        if keep.any():
            self._learn(cells["tsl"].astype("float64"), raw, statistics)
        return keep

    def _without(self, empty: xr.DataArray) -> None:
        if len(self.places) == 1:
            at = [(self.ds[self.places[0]].values[c].item(), f) for c, f in _where(empty)]
            raise without_features(at[:4])
        self.lost += int(empty.any(FEATURE).sum())
        self.lacking |= dict.fromkeys(empty[FEATURE].values[empty.any(CELL).values].tolist())

    def _learn(self, tsl: xr.DataArray, raw: xr.DataArray, statistics: xr.Dataset) -> None:
        past, step = raw.sel(self.learned), self.spec.step
        soil = tsl.sel(self.learned)
        weight = None if self.weight is None else self.weight.sel(self.learned)
        course = climatology(soil, step=step, weight=weight).transpose(CELL, LAYER, ...)
        learned = soil - usual(course, soil[TIME]) if self.transform == "residual" else soil
        self.features.add(past.values)
        self.target.add(learned.transpose(CELL, TIME, LAYER).values)
        months = past.groupby("time.month")
        own = {_COURSE: course, _LOW: months.min(TIME), _HIGH: months.max(TIME)}
        # what is the same at all places, as of co2, stands at each of them
        each = {
            name: da if CELL in da.dims else da.expand_dims({CELL: raw[CELL]})
            for name, da in statistics.data_vars.items()
        }
        self.parts.append(xr.Dataset(each).assign(own).pipe(without_attrs))
        windows = make_windows(raw, self.spec)
        values = tsl.transpose(CELL, TIME, LAYER).values[windows.location, windows.end]
        numbers = split_windows(raw[TIME], windows, values, self.period, self.validation_years)
        ids = raw[CELL].values
        for counts, some in zip((self.training, self.validation), numbers, strict=True):
            counts[ids] = np.bincount(windows.location[some], minlength=ids.size)
        self.excluded += windows.excluded
        self.hash.update(windows.cube.tobytes())
        self.hash.update(values.astype("float32").tobytes())

    def learnable(self, units: list[Unit]) -> list[Unit]:
        """The units without places that have no training window; none of them empty."""
        self.validation[self.training == 0] = 0
        kept = [
            Unit(unit.box, unit.ids[some], unit.inside[some])
            for unit in units
            for some in [self.training[unit.ids] > 0]
        ]
        return [unit for unit in kept if unit.ids.size]

    def refuse(self) -> None:
        """Raise where there is nothing to learn; say what was left out."""
        if not self.land:
            raise no_target()
        if self.lost == self.land:
            raise without_features(list(self.lacking)[:4])
        if self.lost:
            warn_of_lost(self.lost, self.land, list(self.lacking), stacklevel=6)
        enough_windows(int(self.training.sum()), self.excluded, self.spec, self.period)

    def by_place(self) -> xr.Dataset:
        """All that is known by place, along ``cell``."""
        if len(self.parts) > 1:
            self.parts = [xr.concat(self.parts, dim=CELL, coords="minimal", compat="override")]
        return self.parts[0]

    def scaler(self, norms: xr.Dataset | None, places: tuple[str, ...]) -> xr.Dataset:
        """The Scaler, as :func:`xpermafrost.scaling.fit_scaler` makes it."""
        std = xr.DataArray(self.features.std, {FEATURE: self.labels}, (FEATURE,))
        layers = {LAYER: self.ds[LAYER]} if LAYER in self.ds.coords else {}
        out = xr.Dataset(
            {
                "feature_mean": (FEATURE, self.features.mean),
                "feature_std": spread_of(self.labels, std),
                "target_mean": (LAYER, self.target.mean),
                "target_std": (LAYER, self.target.std),
            },
            coords={FEATURE: self.labels, **layers},
        )
        if norms is not None:
            out = out.assign({name: norms[name].variable for name in NORMS})
        own = _unstacked(self.by_place()[[_COURSE, _LOW, _HIGH]], self.ds, places)
        out = out.merge(own.rename({_COURSE: "climatology"}), compat="override")
        return out.pipe(without_attrs).assign_attrs(transform=self.transform)

    def told(self, units: Sequence[Unit]) -> dict[str, Any]:
        start, end = (step_name(stamp, self.spec.step) for stamp in self.period)
        return {
            "train_start": start,
            "train_end": end,
            "n_windows": int(self.training.sum()),
            "n_excluded": self.excluded,
            "data_hash": self.hash.hexdigest(),
            "version": __version__,
            "reading": f"in blocks: {sum(u.ids.size for u in units)} places in {len(units)} units",
        }


def _where(empty: xr.DataArray) -> Iterator[tuple[int, str]]:
    for row, column in np.argwhere(empty.transpose(CELL, FEATURE).values):
        yield int(empty[CELL].values[row]), str(empty[FEATURE].values[column])
