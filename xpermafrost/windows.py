"""Windows: the only boundary between named dimensions and tensor axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from ._checks import choose
from .errors import DataError
from .schema import FEATURE, LAYER, STEPS, TIME, location_dims

#: Steps of a window, where none are given.
LENGTHS = {"month": 24, "day": 180}


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """What a model sees for one target month or day.

    Parameters
    ----------
    length : int
        Steps in the window; by default 24 months, or 180 days.
    horizon : int, default 0
        0: the window ends with the target step (simulation: the forcing is known).
        1: it ends one step before (forecast, as in the first study).
    features : tuple of str
        Feature names, see :mod:`xpermafrost.features`.
    step : {"month", "day"}
        Time step of the data and of the answer.

    Examples
    --------
    >>> WindowSpec(features=("tas", "month_sin"))
    WindowSpec(length=24, horizon=0, features=('tas', 'month_sin'), step='month')
    >>> WindowSpec(features=("tas", "tas:mean12"), step="day").length
    180
    """

    length: int = None  # type: ignore[assignment]
    horizon: int = 0
    features: tuple[str, ...] = ()
    step: str = "month"

    def __post_init__(self) -> None:
        choose("window step", self.step, STEPS)
        if self.length is None:
            object.__setattr__(self, "length", LENGTHS[self.step])
        if int(self.length) < 1:
            raise DataError(f"a window needs at least 1 {self.step}; got length={self.length}.")
        if self.horizon not in (0, 1):
            raise DataError(
                f"horizon must be 0 (the window ends with the target {self.step}) or 1 (one "
                f"{self.step} before); got {self.horizon}."
            )
        object.__setattr__(self, "features", tuple(self.features))


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Views into one ``(location, time, feature)`` array, and their labels.

    Attributes
    ----------
    cube : ndarray, shape (location, time, feature)
        C-contiguous float32. A window is a slice of it, never a copy.
    location, end : ndarray, shape (window,)
        Location number, and time number of the **target** step, of every whole window.
    spec : WindowSpec
    excluded : int
        Windows left out because a feature is missing inside them.
    template : DataArray
        ``(location..., time)`` labels that a prediction gets back.
    """

    cube: np.ndarray
    location: np.ndarray
    end: np.ndarray
    spec: WindowSpec
    excluded: int
    template: xr.DataArray

    @property
    def start(self) -> np.ndarray:
        """Time number of the first step of every window."""
        return self.end - self.spec.horizon - self.spec.length + 1

    @property
    def rows(self) -> np.ndarray:
        """Row numbers of the windows in :meth:`flat`."""
        return self.location * self.cube.shape[1] + self.start

    def flat(self) -> np.ndarray:
        """All windows as a read-only strided view ``(row, length * feature)``; no copy.

        Row ``location * time + start``; the rows that straddle two locations are never
        among :attr:`rows`.
        """
        n_location, n_time, n_feature = self.cube.shape
        length = self.spec.length
        step = self.cube.strides[1]
        return np.lib.stride_tricks.as_strided(
            self.cube,
            shape=(n_location * n_time - length + 1, length * n_feature),
            strides=(step, self.cube.itemsize),
            writeable=False,
        )

    def __len__(self) -> int:
        return int(self.end.size)

    def label(self, values: np.ndarray, layers: Mapping[str, xr.Variable]) -> xr.DataArray:
        """Give predictions ``(window, layer)`` their labels back; NaN where there is no window."""
        n_location, n_time = self.cube.shape[:2]
        full = np.full((n_location, values.shape[1], n_time), np.nan, dtype=values.dtype)
        full[self.location, :, self.end] = values
        places = [d for d in self.template.dims if d != TIME]
        shape = [self.template.sizes[d] for d in places]
        return xr.DataArray(
            full.reshape(*shape, values.shape[1], n_time),
            dims=(*places, LAYER, TIME),
            coords={**self.template.coords, **layers},
        )


def make_windows(features: xr.DataArray, spec: WindowSpec) -> Windows:
    """Find every whole window of ``features``.

    Parameters
    ----------
    features : DataArray
        ``(location..., time, feature)``, usually scaled.
    spec : WindowSpec

    Returns
    -------
    Windows
        Windows with a missing feature are left out and counted.

    Raises
    ------
    DataError
        If the record is shorter than one window.

    Examples
    --------
    >>> from xpermafrost.features import build_features
    >>> from xpermafrost.testing import canonical
    >>> spec = WindowSpec(length=12, features=("tas",))
    >>> windows = make_windows(build_features(canonical(years=2), spec.features), spec)
    >>> len(windows), windows.excluded          # 3 bands x 13 windows
    (39, 0)
    """
    places = location_dims(features)
    ordered = features.transpose(*places, TIME, FEATURE)
    n_time = ordered.sizes[TIME]
    reach = spec.length + spec.horizon
    if n_time < reach:
        shorter = min(LENGTHS[spec.step] // 2, n_time - spec.horizon)
        cure = f"Pass a shorter window: length={shorter}." if shorter > 0 else ""
        raise DataError(
            f"the record of {n_time} {spec.step}s is too short for a window of {spec.length} "
            f"{spec.step}s "
            f"with horizon {spec.horizon}: needed {reach}. {cure}".rstrip()
        )
    cube = np.ascontiguousarray(ordered.values, dtype="float32")
    cube = cube.reshape(-1, n_time, cube.shape[-1])
    gap = np.isnan(cube).any(axis=2)
    missing = np.cumsum(np.pad(gap, ((0, 0), (1, 0))), axis=1)
    inside = missing[:, spec.length :] - missing[:, : -spec.length]  # per window start
    inside = inside[:, : n_time - reach + 1]
    location, start = np.nonzero(inside == 0)
    template = xr.DataArray(
        np.empty(ordered.shape[:-1], dtype="float32"),
        dims=(*places, TIME),
        coords={n: c for n, c in ordered.coords.items() if FEATURE not in c.dims},
    )
    return Windows(
        cube=cube,
        location=location,
        end=start + reach - 1,
        spec=spec,
        excluded=int(inside.size - location.size),
        template=template,
    )


def location_index(obj: xr.Dataset | xr.DataArray, dims: tuple[str, ...]) -> pd.Index:
    """Labels of the locations, stacked in the order of ``dims``.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> location_index(canonical(years=1), ("band",)).tolist()
    ['south', 'middle', 'north']
    """
    axes = [pd.Index(obj[d].values) for d in dims]
    return axes[0] if len(axes) == 1 else pd.MultiIndex.from_product(axes, names=dims)
