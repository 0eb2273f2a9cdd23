"""Words, numbers and picks that the sections share."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..ensembles import ensemble_mean
from ..plot._common import layer_labels, north_first
from ..schema import ESM, LAYER, MEMBER, REALIZATION

#: Places in a figure of panels; tables have them all.
PANELS = 8


def month(stamp: Any) -> str:
    """``"2001-01"``; of what is not there "none"."""
    return "none" if np.isnat(np.datetime64(stamp)) else str(stamp)[:7]


def drawn(obj: Any, place: str) -> tuple[Any, str]:
    """What a figure of panels has room for, and the words that say so."""
    count = obj.sizes.get(place, 1)
    if count <= PANELS:
        return obj, ""
    order = north_first(obj, place)
    picks = order[np.linspace(0, count - 1, PANELS).round().astype(int)]
    return obj.isel({place: picks}), f" Drawn are {PANELS} of {count} places; tables have all."


def over_runs(da: xr.DataArray) -> xr.DataArray:
    """Mean over networks, and over climate models, every one of which counts alike."""
    da = da.mean(MEMBER, keep_attrs=True) if MEMBER in da.dims else da
    return ensemble_mean(da) if {ESM, REALIZATION} & set(da.dims) else da


def simulated(obj: xr.Dataset) -> str:
    """What the attribute says of it, without the "yes"; empty where nothing is simulated."""
    text = str(obj.attrs.get("simulated", ""))
    return text.removeprefix("yes").lstrip(": ") or text


def by_layer(da: xr.DataArray) -> list[tuple[str, xr.DataArray]]:
    """A variable, or each layer of it."""
    name = str(da.name)
    if LAYER not in da.dims:
        return [(name, da)]
    labels = layer_labels(da)
    return [(f"{name}, {labels[k]}", da.isel({LAYER: k})) for k in range(da.sizes[LAYER])]
