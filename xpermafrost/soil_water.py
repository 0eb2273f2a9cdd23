"""Water of a whole soil column to layers, by the reference's profile: deterministic, no mass lost.

A climate model with water by layer (CMIP5 ``mrlsl``, CMIP6 ``mrsol``) needs none of this:
:func:`xpermafrost.remap_layers` brings it to other layers by overlap and keeps its mass.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from ._checks import check_monthly, require_dims, require_variables, same_units
from .depth import AMOUNT
from .errors import DataError, MissingVariableError, UnitsError
from .schema import LAYER, TIME, VARIABLES, layer_bounds

#: Depth [m] of what CMIP calls the water of the upper portion of the soil, ``mrsos``.
TOP = 0.1
#: Density of water, of mineral grains and of organic matter [kg m-3] (de Vries 1963, table 7.1).
WATER, MINERAL, ORGANIC = 1000.0, 2650.0, 1300.0
#: Organic matter over organic carbon (van Bemmelen's factor).
MATTER_PER_CARBON = 1.724


def split_soil_water(
    ds: xr.Dataset,
    reference: xr.Dataset,
    *,
    column_depth: float | None = None,
    porosity: float | xr.DataArray | None = None,
) -> xr.Dataset:
    """Distribute the column's soil water over the reference's layers.

    The mean profile of the reference in each calendar month, scaled so that the column holds
    what the climate model says. A layer takes no more than its pores hold; the rest moves to
    the next one below, at the bottom upwards. Lazy in ``ds``; the reference's climatology is
    computed. Adjust ``mrso`` against ``reference.mrsol.sum("layer", skipna=False)`` first, if its
    level is biased.

    Parameters
    ----------
    ds : Dataset
        Monthly ``mrso (time, place...)`` [kg m-2]; also ``mrsos``, the water above 0.1 m,
        where there is one: then the parts above and below 0.1 m are scaled apart.
    reference : Dataset
        ``mrsol (time, place..., layer)`` [kg m-2] with bounds of its layers from the surface down.
    column_depth : float, optional
        Depth of the climate model's soil [m]; by default that of the reference's layers. Below
        them the lowest layer's content per metre is carried on.
    porosity : float or DataArray, optional
        Pores [m3 m-3], of one or all layers and places; by default from the reference's
        ``bulk_density`` and ``soc``, see Notes.

    Returns
    -------
    Dataset
        ``mrsol (..., layer, time)`` [kg m-2] and ``water_left`` [kg m-2]: what lies below the
        layers, or what no pore has room for. Their sum over the layers is ``mrso``.

    Raises
    ------
    MissingVariableError
        If ``mrso`` or ``mrsol`` are missing; if nothing tells the porosity.
    UnitsError, DimensionError, TimeAxisError
        Units that are not kg m-2; dims or months that are missing.
    DataError
        If the column is shallower than the reference's layers, or these have gaps.

    Notes
    -----
    Capacity of a layer: ``porosity * 1000 * thickness``, or what the reference holds at most if
    that is more (ground ice). Porosity ``1 - bulk_density / grain``, with the density of grains
    ``1 / (m / 1300 + (1 - m) / 2650)`` [kg m-3] (de Vries 1963) and organic matter
    ``m = 1.724 soc / 1000`` (van Bemmelen). It takes the place of the random split of Rahaman's
    study: the same answer on every call, and a profile that a place really has.

    Examples
    --------
    >>> import pandas as pd
    >>> from xpermafrost.schema import layer_coords
    >>> time = pd.date_range("2001", periods=24, freq="MS")
    >>> water = np.broadcast_to([20.0, 60.0], (24, 2))
    >>> era = xr.Dataset({"mrsol": (("time", "layer"), water, {"units": "kg m-2"})},
    ...                  {"time": time, **layer_coords((0, 0.1, 0.4))})
    >>> esm = xr.Dataset({"mrso": ("time", np.full(24, 100.0), {"units": "kg m-2"})},
    ...                  {"time": time})
    >>> split_soil_water(esm, era, porosity=0.5)["mrsol"].isel(time=0).values.tolist()
    [25.0, 75.0]
    """
    require_variables(ds, ["mrso"], step="split_soil_water")
    require_variables(reference, ["mrsol"], step="split_soil_water (reference)")
    require_dims(reference["mrsol"], (LAYER, TIME), step="split_soil_water (reference)")
    check_monthly(ds["mrso"], step="split_soil_water")
    for da in (ds["mrso"], reference["mrsol"], *([ds["mrsos"]] if "mrsos" in ds else [])):
        if not same_units(str(da.attrs.get("units")), AMOUNT):
            raise UnitsError(
                f"{da.name!r} has units {da.attrs.get('units')!r}; needed {AMOUNT!r}. "
                "Convert it: ds.permafrost.standardize()."
            )
    bounds = layer_bounds(reference)
    depth = _depth(bounds, column_depth)
    months = reference["mrsol"].groupby("time.month")
    profile = months.mean(TIME).compute()
    most = reference["mrsol"].max(TIME).compute()
    thickness = xr.DataArray(bounds[:, 1] - bounds[:, 0], dims=LAYER)
    pores = _porosity(reference) if porosity is None else porosity
    capacity = xr.ufuncs.fmax(pores * WATER * thickness, most)
    column = [ds["mrso"], ds["mrsos"] if "mrsos" in ds else ds["mrso"] * np.nan]
    shape = profile.sel(month=ds[TIME].dt.month).reset_coords(drop=True)
    water, left = xr.apply_ufunc(
        _split,
        *column,
        shape.chunk() if ds["mrso"].chunks else shape,
        capacity.reset_coords(drop=True),
        kwargs={"bounds": bounds, "depth": depth},
        input_core_dims=[[], [], [LAYER], [LAYER]],
        output_core_dims=[[LAYER], []],
        dask="parallelized",
        output_dtypes=[np.float64, np.float64],
        dask_gufunc_kwargs={"output_sizes": {LAYER: len(bounds)}},
    )
    layers = {n: c for n, c in reference.coords.items() if LAYER in c.dims}
    water = water.transpose(..., LAYER, TIME)
    water.attrs = {
        **VARIABLES["mrsol"].attrs,
        "depth_method": "reference's mean profile of the month, scaled to the column's water",
    }
    left.attrs = {"units": AMOUNT, "long_name": "soil water below the layers or beyond their pores"}
    return xr.Dataset({"mrsol": water, "water_left": left}).assign_coords(layers)


def _depth(bounds: np.ndarray, column_depth: float | None) -> float:
    if bounds[0, 0] > 1e-6 or np.abs(bounds[1:, 0] - bounds[:-1, 1]).max(initial=0.0) > 1e-6:
        raise DataError(
            "split_soil_water needs layers from the surface down without gaps; the reference has "
            f"{np.round(bounds, 4).tolist()} m."
        )
    bottom = float(bounds[-1, 1])
    if column_depth is not None and column_depth < bottom - 1e-6:
        raise DataError(
            f"the climate model's column of {column_depth:g} m is shallower than the reference's "
            f"layers ({bottom:g} m). Leave the layers below out: reference.isel(layer=...)."
        )
    return bottom if column_depth is None else max(float(column_depth), bottom)


def _porosity(reference: xr.Dataset) -> xr.DataArray:
    """Pores [m3 m-3] from bulk density and organic carbon."""
    if "bulk_density" not in reference:
        raise MissingVariableError(
            "split_soil_water needs the pores of the soil: the reference has no 'bulk_density'. "
            "Type porosity=0.5, or a DataArray by layer and place."
        )
    carbon = reference["soc"] if "soc" in reference else 0.0 * reference["bulk_density"]
    matter = (MATTER_PER_CARBON * carbon / 1000.0).clip(0.0, 1.0)
    grain = 1.0 / (matter / ORGANIC + (1.0 - matter) / MINERAL)
    return (1.0 - reference["bulk_density"] / grain).clip(0.05, 0.98).compute()


def _split(
    column: np.ndarray,
    top: np.ndarray,
    profile: np.ndarray,
    capacity: np.ndarray,
    *,
    bounds: np.ndarray,
    depth: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Water by layer on the last axis, and what is left."""
    thickness = bounds[:, 1] - bounds[:, 0]
    column = column.astype("float64")
    # a dry profile says nothing of its shape
    dry = profile.sum(axis=-1, keepdims=True) == 0
    profile = np.where(dry, thickness, profile.astype("float64"))
    above = np.clip((TOP - bounds[:, 0]) / thickness, 0.0, 1.0)
    rest = profile[..., -1] / thickness[-1] * (depth - bounds[-1, 1])
    upper, lower = profile * above, profile * (1.0 - above)
    low_sum = lower.sum(axis=-1) + rest
    total = upper.sum(axis=-1) + low_sum
    # without mrsos both parts are scaled alike
    known = np.isfinite(top) & (upper.sum(axis=-1) > 0) & (low_sum > 0)
    top = np.where(known, np.minimum(top, column), column * upper.sum(axis=-1) / total)
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(upper.sum(axis=-1) > 0, top / upper.sum(axis=-1), 0.0)
        down = np.where(low_sum > 0, (column - top) / low_sum, 0.0)
    water = upper * up[..., None] + lower * down[..., None]
    return _settled(water, np.broadcast_to(capacity, water.shape), rest * down)


def _settled(
    water: np.ndarray, capacity: np.ndarray, below: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Excess over the capacity moved down, then up; what is left, with what lies below."""
    water = water.copy()
    excess = np.zeros(water.shape[:-1])
    for k in range(water.shape[-1]):
        water[..., k] += excess
        excess = np.maximum(water[..., k] - capacity[..., k], 0.0)
        water[..., k] -= excess
    for k in range(water.shape[-1] - 1, -1, -1):
        moved = np.minimum(np.maximum(capacity[..., k] - water[..., k], 0.0), excess)
        water[..., k] += moved
        excess = excess - moved
    return water, below + excess


__all__ = ["split_soil_water"]
