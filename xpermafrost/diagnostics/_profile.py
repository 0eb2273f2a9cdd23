"""What the diagnostics share: temperatures in degC, depths, flags and labels of results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from .._checks import check_whole, marks_of, require_dims, require_variables, same_units
from ..depth import check_depth_attrs
from ..errors import DataError, DimensionError, TimeAxisError, UnitsError
from ..schema import FREEZING_POINT, LAYER, TIME, layer_bounds
from ._years import Years

#: Names under which a Dataset holds each temperature.
SOIL = ("tsl", "soil_temperature")
AIR = ("tas", "air_temperature")

#: Middle of the deepest layer [m] that still stands for the ground surface.
SURFACE_DEPTH = 0.1

#: Depth [m] that a profile must reach to say anything about permafrost.
SHALLOWEST_PROFILE = 1.0

Temperature = xr.DataArray | xr.Dataset


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Depths of the layers: their middles ``(layer,)`` and bounds ``(layer, 2)`` [m]."""

    depth: np.ndarray
    bounds: np.ndarray


def celsius(
    obj: Temperature, names: tuple[str, ...], *, step: str, freezing_point: float = 0.0
) -> xr.DataArray:
    """Temperature relative to the freezing point [K]; a Dataset gives its variable. Lazy."""
    if isinstance(obj, xr.Dataset):
        found = [name for name in names if name in obj.data_vars]
        if not found:
            require_variables(obj, names[:1], step=step)
        obj = _with_edges(obj)[found[0]].assign_attrs(marks_of(obj))
    units = obj.attrs.get("units")
    if units is None:
        raise UnitsError(
            f"{step} needs a temperature with units; {obj.name!r} has none. Set them if you know "
            "them: da.attrs['units'] = 'K' (or 'degC')."
        )
    if same_units(str(units), "K"):
        zero = FREEZING_POINT + freezing_point
    elif same_units(str(units), "degC"):
        zero = freezing_point
    else:
        raise UnitsError(
            f"{step} needs a temperature in 'K' or 'degC'; {obj.name!r} has units {units!r}."
        )
    if obj.dtype.kind != "f":
        obj = obj.astype("float64")
    shifted = obj - zero if zero else obj
    return shifted.assign_attrs(units="degree_Celsius", **marks_of(obj))


def of_air(obj: Temperature, *, step: str) -> xr.DataArray:
    """Air temperature relative to 0 degC [K]; refuses that of soil layers. Lazy."""
    air = celsius(obj, AIR, step=step)
    if LAYER in air.dims:
        raise DimensionError(
            f"{step} needs air temperature; {air.name!r} has the dims {air.dims}, that of soil "
            "layers among them. Pass ds['tas']."
        )
    return air


def _with_edges(ds: xr.Dataset) -> xr.Dataset:
    """Bounds of layers as two coordinates, which a variable keeps; 2-D ones it loses."""
    if LAYER not in ds.dims or "depth_bnds" not in ds.variables or "depth_top" in ds.coords:
        return ds
    units = ds["depth"].attrs.get("units", "m") if "depth" in ds.variables else "m"
    edges = layer_bounds(ds)
    names = ("depth_top", "depth_bottom")
    return ds.assign_coords(
        {n: (LAYER, edges[:, k], {"units": units}) for k, n in enumerate(names)}
    )


def profile_of(soil: xr.DataArray, *, step: str) -> Profile:
    """Depths of the layers, or an error for depths that are not metres, positive down, in order."""
    require_dims(soil, (LAYER,), step=step)
    check_whole(soil, LAYER, step=step)
    check_depth_attrs(soil, step=step)
    try:
        bounds = layer_bounds(soil)
    except DimensionError as error:
        raise DimensionError(
            f"{step}: {error} Sensors at points, z in m, have equal "
            "bounds: assign_coords(xp.schema.layer_coords_from_bounds(np.stack([z, z], axis=1)))."
        ) from None
    depth = bounds.mean(axis=1)
    if np.any(bounds < 0):
        raise DimensionError(
            f"{step} needs depths positive down; found {np.round(depth, 3).tolist()}. Turn them: "
            "da.assign_coords(depth_top=-da.depth_top, depth_bottom=-da.depth_bottom)."
        )
    if np.any(np.diff(depth) <= 0) or np.any(bounds[:, 1] < bounds[:, 0]):
        raise DimensionError(
            f"{step} needs layers from the surface down, each depth once; found "
            f"{np.round(depth, 3).tolist()} m. Sort them: da.sortby('depth')."
        )
    return Profile(depth=depth, bounds=bounds)


def check_reach(profile: Profile, *, step: str) -> None:
    """Raise where the profile starts too deep or ends too shallow to tell of permafrost."""
    top, bottom = profile.depth[0], profile.bounds[-1, 1]
    if profile.depth.size < 2:
        raise DataError(f"{step} needs at least two depths; found {top:g} m only.")
    if top > SHALLOWEST_PROFILE:
        raise DataError(
            f"{step} needs a profile from near the surface; the shallowest depth is {top:g} m. "
            "Are the depths in cm? Give them in m: da.assign_coords(xp.layer_coords(edges_in_m))."
        )
    if bottom < SHALLOWEST_PROFILE:
        raise DataError(
            f"{step} needs a profile down to {SHALLOWEST_PROFILE:g} m or deeper; this one ends at "
            f"{bottom:g} m, above where permafrost could be told from seasonal frost."
        )


def check_presence(presence: xr.DataArray, *, step: str) -> None:
    """Raise for what is not a presence, by its units: a thickness is never 1."""
    units = presence.attrs.get("units", "1")
    if str(units) != "1" or {"flag_values", "flag_masks"} & set(presence.attrs):
        raise UnitsError(
            f"{step} needs the presence of permafrost, 1, 0 or missing; {presence.name!r} has "
            f"units {units!r}. Type soil.permafrost.permafrost_presence()."
        )


def ground_surface(ground: xr.DataArray, *, step: str) -> xr.DataArray:
    """The shallowest layer where it stands for the surface; without layers, the argument."""
    if LAYER not in ground.dims:
        return ground
    profile = profile_of(ground, step=step)
    if profile.depth[0] > SURFACE_DEPTH:
        raise DataError(
            f"{step} needs the temperature of the ground surface; the shallowest layer is at "
            f"{profile.depth[0]:g} m, deeper than {SURFACE_DEPTH:g} m. Pass the surface series."
        )
    drop = ("depth", "depth_top", "depth_bottom", LAYER)
    return ground.isel({LAYER: 0}).drop_vars([n for n in drop if n in ground.coords])


def flags(*meanings: str) -> dict[str, object]:
    """CF attributes of a status variable: 0, 1, ... in the order of ``meanings``."""
    return {
        "long_name": "what the value rests on",
        "flag_values": np.arange(len(meanings), dtype="int8"),
        "flag_meanings": " ".join(meanings),
    }


def describe(
    da: xr.DataArray,
    name: str,
    *,
    units: str,
    long_name: str,
    method: str,
    years: Years | None = None,
    freezing_point: float | None = None,
    coverage: float | None = None,
    of: xr.DataArray,
    extra: Mapping[str, object] | None = None,
) -> xr.DataArray:
    """Name a result and write how it was made, and ``of`` what, into its attributes."""
    attrs: dict[str, object] = {"long_name": long_name, "units": units, "method": method}
    attrs |= marks_of(of)
    if freezing_point is not None:
        attrs["freezing_point"] = f"{freezing_point:g} degC"
    if years is not None:
        attrs["year_definition"] = years.description
        attrs["time_step"] = years.step
    if coverage is not None:
        attrs["completeness"] = f"years with data on {coverage:.0%} of their days or more"
    return da.rename(name).assign_attrs({**attrs, **(extra or {})})


def same_steps(one: xr.DataArray, other: xr.DataArray, *, step: str) -> None:
    """Raise unless both have the same time axis, and the same labels of the dims they share."""
    for da in (one, other):
        require_dims(da, (TIME,), step=step)
    if not one.indexes[TIME].equals(other.indexes[TIME]):
        spans = [
            f"{str(d[TIME].values[0])[:10]} to {str(d[TIME].values[-1])[:10]} "
            f"({d.sizes[TIME]} steps)"
            for d in (one, other)
        ]
        raise TimeAxisError(
            f"{step} needs both series on the same steps; found {spans[0]} and {spans[1]}. Type "
            "one, other = xr.align(one, other, join='inner')."
        )
    same_labels(one, other, step=step)


def same_labels(one: xr.DataArray, other: xr.DataArray, *, step: str) -> None:
    """Raise where dims are shared and their labels are not: xarray would drop the others."""
    for dim in one.dims:
        if dim not in one.indexes or dim not in other.indexes:
            continue
        mine, theirs = one.indexes[dim], other.indexes[dim]
        if not mine.equals(theirs):
            raise DimensionError(
                f"{step} needs the same places in both; along {dim!r} found "
                f"{mine[:4].tolist()} ({mine.size}) and {theirs[:4].tolist()} ({theirs.size}). "
                "Select the common ones in one order, xr.align(one, other, join='inner'), or "
                "regrid one to the other."
            )
