"""The Scaler: a Dataset of statistics, fitted on training months only."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ._checks import choose, require_dims, without_attrs
from .climatology import climatology, usual
from .errors import DataError
from .schema import FEATURE, LAYER, TIME, location_dims

TARGET_TRANSFORMS = ("raw", "residual")

#: What centres and scales: the same for all locations, by feature or by layer.
NORMS = ("feature_mean", "feature_std", "target_mean", "target_std")


def fit_scaler(
    features: xr.DataArray,
    target: xr.DataArray,
    *,
    transform: str,
    weight: xr.DataArray | None = None,
    step: str = "month",
) -> xr.Dataset:
    """Fit the Scaler on the training months of features and target.

    Parameters
    ----------
    features : DataArray
        ``(location..., time, feature)``, training months only.
    target : DataArray
        ``(location..., layer, time)`` [K], training months only; NaN where missing.
    transform : {"raw", "residual"}
        Whether the net learns the temperature or its departure from the location-month
        climatology of the training months.
    weight : DataArray, optional
        Weight of every step ``(time)`` in the climatology; all alike by default.
    step : {"month", "day"}
        Time step: how the climatology is told, see :mod:`xpermafrost.climatology`.

    Returns
    -------
    Dataset
        ``feature_mean``, ``feature_std`` ``(feature)``; ``climatology (location..., layer,
        month or harmonic)`` [K]; ``target_mean``, ``target_std`` ``(layer)``.

    Raises
    ------
    DataError
        If a feature has no value, or a location no target. On a grid, cells without a target
        are no land: only a grid without any is an error.

    Examples
    --------
    >>> from xpermafrost.features import build_features
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=3)
    >>> scaler = fit_scaler(build_features(ds, ("tas",)), ds["tsl"], transform="raw")
    >>> scaler["climatology"].dims
    ('band', 'layer', 'month')
    """
    choose("target transform", transform, TARGET_TRANSFORMS)
    require_dims(target, (LAYER, TIME), step="fit")
    places = location_dims(features)
    target = target.astype("float64")
    _no_empty_location(target, places)
    mean = features.mean((*places, TIME), dtype="float64")
    std = features.std((*places, TIME), dtype="float64")
    std = spread_of(features[FEATURE].values, std)
    course = climatology(target, step=step, weight=weight).transpose(*places, LAYER, ...)
    learned = target
    if transform == "residual":
        learned = target - usual(course, target[TIME])
    return (
        xr.Dataset(
            {
                "feature_mean": mean,
                "feature_std": std,
                "climatology": course,
                "target_mean": learned.mean((*places, TIME)),
                "target_std": learned.std((*places, TIME)),
            },
            attrs={"transform": transform},
        )
        .pipe(without_attrs)
        .assign_attrs(transform=transform)
    )


def spread_of(names: np.ndarray, std: xr.DataArray) -> xr.DataArray:
    """What features are divided by; those without a value are an error."""
    empty = names[np.isnan(std.values)]
    if empty.size:
        raise DataError(f"the features {empty.tolist()} have no value in the training months.")
    return std.where(std > 1e-12, 1.0)  # a constant feature carries nothing; it becomes 0


class Moments:
    """Means and standard deviations of what comes in parts, by the last axis.

    Two sets are merged by their counts, means and squared departures (Chan et al. 1979, eq. 2.1),
    in double precision; missing values count nothing.

    References
    ----------
    Chan, T. F., Golub, G. H. & LeVeque, R. J. (1979), Updating formulae and a pairwise algorithm
    for computing sample variances, Stanford University STAN-CS-79-773.

    Examples
    --------
    >>> moments = Moments(1)
    >>> moments.add(np.array([[1.0], [np.nan]]))
    >>> moments.add(np.array([[2.0], [6.0]]))
    >>> moments.mean.tolist(), (moments.std**2).round(3).tolist()
    ([3.0], [4.667])
    """

    def __init__(self, size: int) -> None:
        self.count, self.mean, self.squares = (np.zeros(size) for _ in range(3))

    def add(self, values: np.ndarray) -> None:
        """Take in ``values (..., size)``."""
        flat = values.reshape(-1, values.shape[-1]).astype("float64")
        known = np.isfinite(flat)
        count = known.sum(axis=0)
        mean = np.where(known, flat, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = np.where(known, flat - mean, 0.0)
        total = np.maximum(self.count + count, 1)
        gap = mean - self.mean
        self.squares += (squares**2).sum(axis=0) + gap**2 * self.count * count / total
        self.mean = self.mean + gap * count / total
        self.count = self.count + count

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of all, missing where nothing is known."""
        return np.sqrt(np.divide(self.squares, self.count, where=self.count > 0, out=self._none()))

    def _none(self) -> np.ndarray:
        return np.full(self.count.shape, np.nan)


def _no_empty_location(target: xr.DataArray, places: tuple[object, ...]) -> None:
    """A named place without soil data is a mistake; a grid has cells of water, but not only."""
    present = target.notnull().any((LAYER, TIME))
    if bool(present.all()) or (len(places) > 1 and bool(present.any())):
        return
    if len(places) > 1:
        raise no_target()
    where = present[places[0]].values[~present.values]
    raise no_target(str(places[0]), where.tolist())


def no_target(dim: str = "", where: list[object] | None = None) -> DataError:
    """The error of places, or of a whole grid, without soil temperature."""
    if where is None:
        return DataError(
            "the target 'tsl' is missing throughout the training months, in every cell. Check the "
            "land mask, or choose other years: train=('2001', '2018')."
        )
    return DataError(
        f"the target is missing throughout at {where[:5]} ({len(where)} locations). "
        f"Leave them out: ds.dropna({dim!r}, how='all', subset=['tsl'])."
    )


def scale_features(features: xr.DataArray, scaler: xr.Dataset) -> xr.DataArray:
    """Centre and scale features by the Scaler, float32."""
    scaled = (features - scaler["feature_mean"]) / scaler["feature_std"]
    return scaled.astype("float32").transpose(*features.dims)


def scale_target(target: xr.DataArray, scaler: xr.Dataset) -> xr.DataArray:
    """The number the net learns: centred, scaled, less the climatology where so chosen."""
    if scaler.attrs["transform"] == "residual":
        target = target - usual(scaler["climatology"], target[TIME])
    return (target - scaler["target_mean"]) / scaler["target_std"]


def unscale_target(scaled: xr.DataArray, scaler: xr.Dataset) -> xr.DataArray:
    """Inverse of :func:`scale_target` [K].

    Examples
    --------
    >>> import numpy as np
    >>> from xpermafrost.features import build_features
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=3)
    >>> s = fit_scaler(build_features(ds, ("tas",)), ds["tsl"], transform="residual")
    >>> again = unscale_target(scale_target(ds["tsl"], s), s).transpose(*ds["tsl"].dims)
    >>> bool(np.allclose(again, ds["tsl"], atol=1e-4))
    True
    """
    value = scaled * scaler["target_std"] + scaler["target_mean"]
    if scaler.attrs["transform"] == "residual":
        value = value + usual(scaler["climatology"], value[TIME])
    return value
