"""From a reference Dataset to windows, scaled targets and statistics, of training months only."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from . import __version__
from ._checks import (
    check_range,
    check_steps,
    check_units,
    choose,
    require_variables,
    step_index,
    step_name,
)
from .errors import DataError, LeakageError, PermafrostWarning, TimeAxisError
from .features import build_features, feature_statistics, needed_variables
from .scaling import NORMS, fit_scaler, scale_features, scale_target
from .schema import (
    FEATURE,
    LAYER,
    STEPS,
    TIME,
    VARIABLES,
    layer_bounds,
    layer_coords_from_bounds,
    location_dims,
)
from .windows import LENGTHS, Windows, WindowSpec, make_windows

Period = tuple[str, str]

#: Of a training window, however old, where later ones count more.
LEAST_WEIGHT = 1e-30


def training_period(
    ds: xr.Dataset, train: Period | str | None, *, step: str = "month"
) -> tuple[np.datetime64, ...]:
    """First and last month, or day, of training.

    ``None`` leaves the last fifth of the years (at least one) for testing; ``"all"`` takes
    everything; else ``("2001", "2018")``.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> [str(t)[:7] for t in training_period(canonical(years=10), None)]
    ['2001-01', '2008-12']
    """
    if ds[TIME].dtype == object:
        raise TimeAxisError(
            f"needed datetime64 {step}s; found a cftime calendar. Type ds.permafrost.standardize()."
        )
    time = pd.DatetimeIndex(ds.indexes[TIME])
    if train is None:
        years = np.unique(time.year)
        if years.size < 3:
            raise DataError(
                f"the record of {years.size} years is too short to leave a test year; "
                "pass train='all' to use everything."
            )
        first, last = str(years[0]), str(years[-1] - int(np.ceil(0.2 * years.size)))
    elif isinstance(train, str):
        if train in ("random", "shuffle"):
            raise LeakageError(
                f"a random split of a time series lets the model see the {step}s around those it "
                "is scored on; split by time: train=('2001', '2018')."
            )
        choose("training period", train, ("all",))
        return time[0].to_datetime64(), time[-1].to_datetime64()
    else:
        first, last = (str(year) for year in train)
    inside = time[time.slice_indexer(first, last)]
    if not inside.size:
        raise DataError(
            f"no {step} between {first} and {last}; the data run from "
            f"{step_name(time[0], step)} to {step_name(time[-1], step)}."
        )
    return inside[0].to_datetime64(), inside[-1].to_datetime64()


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Windows, scaled targets and statistics that every network of a fit shares."""

    windows: Windows
    target: np.ndarray
    weight: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    scaler: xr.Dataset
    statistics: xr.Dataset
    template: xr.Dataset
    info: dict[str, Any]

    @property
    def spec(self) -> WindowSpec:
        """Window and features."""
        return self.windows.spec

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes that a network needs."""
        n_locations, _, n_features = self.windows.cube.shape
        return {
            "n_features": n_features,
            "n_locations": n_locations,
            "n_layers": self.target.shape[1],
            "length": self.spec.length,
        }


def prepare(
    ds: xr.Dataset,
    spec: WindowSpec,
    *,
    train: Period | str | None,
    transform: str,
    validation_years: int = 0,
    recency_years: float | None = None,
    norms: xr.Dataset | None = None,
) -> Prepared:
    """Features, Scaler and windows of a reference Dataset; statistics from training months only.

    Parameters
    ----------
    ds : Dataset
        Canonical, with ``tsl``, without ``scenario``.
    spec : WindowSpec
    train : tuple of str, "all" or None
        See :func:`training_period`.
    transform, validation_years, recency_years
        See :class:`xpermafrost.TrainingConfig`.
    norms : Dataset, optional
        Means and standard deviations of features and target that a pretrained network expects,
        in the place of those of the training months.
    """
    require_variables(ds, ("tsl", *needed_variables(spec.features)), step="fit")
    check_steps(ds, spec.step, step="fit")
    check_units(ds["tsl"])
    start, end = training_period(ds, train, step=spec.step)
    period = {TIME: slice(start, end)}
    for name in ("tsl", *needed_variables(spec.features)):
        if name in VARIABLES:
            check_range(ds[name].sel(period) if TIME in ds[name].dims else ds[name])
    learned = learned_span(ds[TIME], (start, end), validation_years, spec.step)
    statistics = feature_statistics(ds.sel(learned), spec.features, step=spec.step)
    raw = build_features(
        ds, spec.features, statistics=statistics, length=spec.length, step=spec.step
    ).compute()
    target = ds["tsl"].compute()
    places = location_dims(raw)
    raw, target = _on_land(raw, target, period)
    weight = recency_weight(ds[TIME], end, recency_years, spec.step)
    scaler = fit_scaler(
        raw.sel(learned),
        target.sel(learned),
        transform=transform,
        weight=None if recency_years is None else weight.sel(learned),
        step=spec.step,
    )
    if norms is not None:
        scaler = scaler.assign({name: norms[name].variable for name in NORMS})
    months = raw.sel(learned).groupby("time.month")
    hull = {"feature_min": months.min(TIME), "feature_max": months.max(TIME)}
    scaler = xr.merge([scaler, hull], join="exact", compat="override", combine_attrs="override")
    windows = make_windows(scale_features(raw, scaler), spec)
    scaled = scale_target(target, scaler).transpose(*places, TIME, LAYER)
    values = scaled.values.reshape(-1, *scaled.shape[-2:]).astype("float32")
    values = values[windows.location, windows.end]
    training, validation = split_windows(ds[TIME], windows, values, (start, end), validation_years)
    enough_windows(training.size, windows.excluded, spec, (start, end))
    template = raw.isel({TIME: 0, FEATURE: 0}, drop=True).coords.to_dataset()
    layers = {**layer_coords_from_bounds(layer_bounds(ds)), LAYER: ds[LAYER].variable}
    info = {
        "train_start": step_name(start, spec.step),
        "train_end": step_name(end, spec.step),
        "n_windows": int(training.size),
        "n_excluded": windows.excluded,
        "data_hash": _hash(windows.cube, values),
        "version": __version__,
        "reading": "in memory",
    }
    return Prepared(
        windows=windows,
        target=values,
        weight=weight.values[windows.end].astype("float32"),
        training=training,
        validation=validation,
        scaler=scaler,
        statistics=statistics,
        template=template.assign_coords(layers),
        info=info,
    )


def learned_span(
    time: xr.DataArray, period: tuple[np.datetime64, ...], validation_years: int, step: str
) -> dict[str, slice]:
    """Times that statistics are taken of: the training period without the years held out."""
    start, end = period
    if not validation_years:
        return {TIME: slice(start, end)}
    steps = step_index(time, step)
    last = steps[np.searchsorted(time.values, end)] - STEPS[step] * validation_years
    kept = time.values[(time.values >= start) & (steps <= last)]
    if not kept.size:
        first, final = (step_name(stamp, step) for stamp in period)
        raise DataError(
            f"validation_years={validation_years} leaves nothing of {first} to {final} to train "
            "on. Hold out fewer years, or train on more."
        )
    return {TIME: slice(start, kept[-1])}


def _on_land(
    raw: xr.DataArray, target: xr.DataArray, period: dict[str, slice]
) -> tuple[xr.DataArray, xr.DataArray]:
    """Features and target where there is something to learn from, NaN elsewhere.

    A named place (band, station) must have every feature. A grid has cells of water, without
    a target; and cells at its coast whose forcing is missing, which are said.
    """
    places = location_dims(raw)
    empty = raw.sel(period).isnull().all(TIME)
    if len(places) > 1:
        land = target.sel(period).notnull().any((LAYER, TIME))
        empty = empty & land
        lost = empty.any(FEATURE)
        if bool(lost.any()) and bool((land & ~lost).any()):
            names = empty[FEATURE].values[empty.any(places).values].tolist()
            warn_of_lost(int(lost.sum()), int(land.sum()), names, stacklevel=5)
            empty = empty & False
        raw, target = raw.where(land & ~lost), target.where(land & ~lost)
    if bool(empty.any()):
        at = empty.stack(where=(*places, FEATURE))
        raise without_features(at["where"].values[at.values][:4].tolist())
    return raw, target


def warn_of_lost(lost: int, land: int, names: list[str], *, stacklevel: int) -> None:
    """Say how many cells of a grid are left out for want of a feature."""
    warnings.warn(
        f"{lost} of {land} cells with soil temperatures have no "
        f"{', '.join(map(repr, names))} in the training months; they are left out.",
        PermafrostWarning,
        stacklevel=stacklevel,
    )


def without_features(where: Sequence[object]) -> DataError:
    """The error of places where a feature has no value."""
    return DataError(
        f"features without any value in the training months at {where}; leave the location "
        "out, or choose other features."
    )


def split_windows(
    time: xr.DataArray,
    windows: Windows,
    values: np.ndarray,
    period: tuple[np.datetime64, ...],
    validation_years: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the windows to train on and to validate on, by the time of the target."""
    step = windows.spec.step
    steps = step_index(time, step)
    start, end = (steps[np.searchsorted(time.values, stamp)] for stamp in period)
    target = steps[windows.end]
    known = np.isfinite(values).any(axis=1)
    cut = end - STEPS[step] * validation_years
    training = np.flatnonzero(known & (target >= start) & (target <= cut))
    validation = np.flatnonzero(known & (target > cut) & (target <= end))
    return training, validation


def enough_windows(
    count: int, excluded: int, spec: WindowSpec, period: tuple[np.datetime64, ...]
) -> None:
    """Raise if there is next to nothing to train on."""
    if count >= 2:
        return
    first, last = (step_name(stamp, spec.step) for stamp in period)
    raise DataError(
        f"only {count} training windows of {spec.length} {spec.step}s with a known "
        f"target between {first} and {last} ({excluded} hold gaps in the features). "
        f"Use a longer record or a shorter window: length={LENGTHS[spec.step] // 2}."
    )


def recency_weight(
    time: xr.DataArray, end: np.datetime64, years: float | None, step: str
) -> xr.DataArray:
    """Weight of every step by its age at the end of the training period."""
    steps = xr.DataArray(step_index(time, step), dims=TIME, coords={TIME: time})
    age = (steps.sel({TIME: end}) - steps).clip(0)
    values = np.ones(steps.size) if years is None else np.exp(-age.values / (STEPS[step] * years))
    # a batch of the oldest windows alone must have a mean in single precision
    return age.astype("float64").copy(data=np.maximum(values, LEAST_WEIGHT))


def _hash(cube: np.ndarray, values: np.ndarray) -> str:
    total = hashlib.sha256(np.ascontiguousarray(cube).tobytes())
    total.update(np.ascontiguousarray(values).tobytes())
    return total.hexdigest()
