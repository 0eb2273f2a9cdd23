"""Ground temperatures of boreholes, in the two layouts of the GTN-P database.

2026 and later: a long table with ``date`` (or ``utc_time``), ``depth`` [m, positive down],
``temperature`` [degC], ``flag``, ``dataset_id``, ``borehole_id``, ``site_id``. Before: a wide
table headed ``Date/Depth,0,0.5,...`` with -999 for missing. Sensors are points: their layers
have equal lower and upper bound.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import xarray as xr

from ..errors import DataError, PermafrostWarning, SourceError, TimeAxisError
from ..schema import LAYER, TIME, layer_coords_from_bounds
from ._columns import numbers

#: What GTN-P writes for missing.
MISSING = -999.0

_ATTRS = {
    "standard_name": "soil_temperature",
    "long_name": "ground temperature",
    "units": "degC",
}


def read_gtnp_long(table: pd.DataFrame, *, name: str) -> xr.Dataset:
    """Layout of 2026: each ``dataset_id`` is a station; ``tsl`` has dims (station, layer, time).

    Rows without a flag are kept. A flag says that somebody doubted the reading: such a reading
    becomes missing, with a warning that counts them.
    """
    stamp = "date" if "date" in table else "utc_time"
    ids = [c for c in ("dataset_id", "borehole_id", "site_id") if c in table]
    label = table[ids[0]].astype(str) if ids else pd.Series("borehole", index=table.index)
    values = numbers(table, "temperature")
    values = np.where(values == MISSING, np.nan, values)
    values = _without_flagged(table, values, name)
    depth = numbers(table, "depth")
    levels = _depths(np.unique(depth), name)
    time = _stamps(table[stamp], name)
    stations, place = label.unique(), pd.factorize(label)[0]
    times = np.unique(time)
    at = (place, np.searchsorted(levels, depth), np.searchsorted(times, time))
    doubled = pd.DataFrame(dict(enumerate(at))).duplicated()
    if doubled.any():
        row = int(np.argmax(doubled))
        raise TimeAxisError(
            f"{name!r} has two readings of dataset {label.iloc[row]} at {depth[row]:g} m on "
            f"{time[row]} (row {row + 2}). Remove one."
        )
    data = np.full((stations.size, levels.size, times.size), np.nan)
    data[at] = values
    ds = _dataset(data, stations.astype(str), levels, times)
    first = table.groupby(label, sort=False).first()
    extra = {c: ("station", first[c].to_numpy()) for c in ids[1:]}
    return ds.assign_coords(extra)


def _without_flagged(table: pd.DataFrame, values: np.ndarray, name: str) -> np.ndarray:
    if "flag" not in table:
        return values
    flags = table["flag"].astype("string").str.strip()
    flagged = (flags.notna() & (flags != "")).to_numpy(dtype=bool)
    if flagged.any():
        kinds = sorted(flags[flagged].unique())[:6]
        warnings.warn(
            f"{name!r}: {int(flagged.sum())} of {flagged.size} readings carry a flag ({kinds}) and "
            "are set to missing. To keep them, empty the column 'flag'.",
            PermafrostWarning,
            stacklevel=2,
        )
    return np.where(flagged, np.nan, values)


def read_gtnp_legacy(table: pd.DataFrame, *, name: str, label: str) -> xr.Dataset:
    """Layout before 2026: one borehole, a column for each depth [m]; -999 is missing."""
    try:
        depth = np.array([float(c) for c in table.columns[1:]])
    except ValueError as error:
        raise SourceError(
            f"{name!r} is headed 'Date/Depth', but a column after it is no depth in m: {error}."
        ) from error
    values = np.stack([numbers(table, c) for c in table.columns[1:]])
    values = np.where(values == MISSING, np.nan, values)
    order = np.argsort(depth)
    levels = _depths(depth[order], name)
    time = _stamps(table[table.columns[0]], name)
    # doubled stamps stay: the mean of the day takes both
    return _dataset(values[np.newaxis, order], np.array([label]), levels, time)


def _depths(depth: np.ndarray, name: str) -> np.ndarray:
    if np.isnan(depth).any() or (depth < 0).any():
        raise DataError(
            f"{name!r} has a depth of {depth.min():g}: needed are depths in m, positive down. "
            "Readings above the ground belong to another file."
        )
    return depth


def _stamps(column: pd.Series, name: str) -> np.ndarray:
    try:
        return pd.to_datetime(column, format="ISO8601").to_numpy("datetime64[ns]")
    except (ValueError, TypeError) as error:
        raise TimeAxisError(
            f"the column {column.name!r} of {name!r} holds no ISO dates: {error}."
        ) from error


def _dataset(
    data: np.ndarray, stations: np.ndarray, levels: np.ndarray, times: np.ndarray
) -> xr.Dataset:
    ds = xr.Dataset(
        {"tsl": (("station", LAYER, TIME), data, _ATTRS)},
        coords={"station": stations, TIME: times},
        attrs={"featureType": "timeSeriesProfile", "source": "GTN-P"},
    )
    return ds.assign_coords(layer_coords_from_bounds(np.stack([levels, levels], axis=1)))
