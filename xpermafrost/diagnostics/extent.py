"""How much permafrost: probability, zones, thawed volume."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from .._checks import require_dims, same_units, without_attrs
from ..errors import DimensionError, UnitsError
from ..schema import MEMBER
from ._profile import check_presence, describe, flags, same_labels

#: Lower limits of the zones: share of permafrost, or probability.
ZONES = {"isolated": 0.0, "sporadic": 0.1, "discontinuous": 0.5, "continuous": 0.9}


def permafrost_probability(
    presence: xr.DataArray, *, dim: Hashable | Sequence[Hashable] = MEMBER
) -> xr.DataArray:
    """Share of members (or of models and members) with permafrost. Lazy on dask.

    Parameters
    ----------
    presence : DataArray
        From :func:`permafrost_presence`, with the dimension ``dim``.
    dim : str or sequence of str
        The ensemble.

    Returns
    -------
    DataArray
        ``permafrost_probability`` [1], of the dims that are left; missing where a member is.

    Raises
    ------
    DimensionError
        If ``dim`` is not there.

    Examples
    --------
    >>> import xarray as xr
    >>> presence = xr.DataArray([[1.0, 1.0], [1.0, 0.0]], dims=("member", "year"))
    >>> permafrost_probability(presence).values.tolist()
    [1.0, 0.5]
    """
    dims = [dim] if isinstance(dim, str) or not isinstance(dim, Sequence) else list(dim)
    require_dims(presence, dims, step="permafrost_probability")
    check_presence(presence, step="permafrost_probability")
    share = presence.mean(dims, skipna=False, keep_attrs=True)
    return share.rename("permafrost_probability").assign_attrs(
        long_name="probability of permafrost",
        units="1",
        ensemble=f"share of {', '.join(map(str, dims))}",
    )


def permafrost_zones(share: xr.DataArray) -> xr.DataArray:
    """Permafrost zones from a probability or an areal share of permafrost. Lazy on dask.

    Continuous from 90 %, discontinuous from 50 %, sporadic from 10 %, isolated above 0 (Brown et
    al., 1997).

    Parameters
    ----------
    share : DataArray
        Share from 0 to 1, or in %, by its units.

    Returns
    -------
    DataArray
        ``permafrost_zone``, int8 flags: 0 none, 1 isolated, 2 sporadic, 3 discontinuous,
        4 continuous, 5 no_data.

    Raises
    ------
    UnitsError
        If the units are neither ``1`` nor ``%``.

    Examples
    --------
    >>> import xarray as xr
    >>> share = xr.DataArray([0.0, 0.05, 0.1, 0.5, 0.9], dims="cell", attrs={"units": "1"})
    >>> permafrost_zones(share).values.tolist()
    [0, 1, 2, 3, 4]
    """
    units = str(share.attrs.get("units", ""))
    scale = 100.0 if units in ("%", "percent") else 1.0
    if scale == 1.0 and units not in ("1", "fraction"):
        raise UnitsError(
            f"permafrost_zones needs a share in '1' or '%'; {share.name!r} has units "
            f"{share.attrs.get('units')!r}. Set them: da.attrs['units'] = '1'."
        )
    limits = np.array(list(ZONES.values()))

    def kernel(values: np.ndarray) -> np.ndarray:
        # In single precision 9 of 10 is just below 90 %.
        rounded = np.round(values.astype("float64") / scale, 6)
        zone = np.searchsorted(limits[1:], rounded, side="right") + 1
        zone = np.where(values > 0, zone, 0)
        return np.where(np.isnan(values), len(ZONES) + 1, zone).astype("int8")

    zones = xr.apply_ufunc(
        kernel, share, dask="parallelized", output_dtypes=["int8"], keep_attrs=False
    )
    attrs = {
        **flags("none", *ZONES, "no_data"),
        "long_name": "permafrost zone",
        "method": "continuous from 90 %, discontinuous from 50 %, sporadic from 10 %",
    }
    return zones.rename("permafrost_zone").assign_attrs(attrs)


def thawed_volume(thickness: xr.DataArray, *, area: xr.DataArray) -> xr.DataArray:
    """Volume of the active layer: thickness times area, summed over the places. Lazy on dask.

    Parameters
    ----------
    thickness : DataArray
        Active-layer thickness ``(..., place..., year)`` [m].
    area : DataArray
        Area of the places [m2 or km2], for instance rows of
        :func:`xpermafrost.region_weights`; the sum runs over the dims it shares with
        ``thickness``, others stay.

    Returns
    -------
    DataArray
        ``thawed_volume`` [m3] of the places whose thickness is known; coordinate ``area_share``
        [1], their share of the area. Missing where none is known.

    Raises
    ------
    UnitsError, DimensionError
        For units that are not those, and an area that shares no dims.

    Examples
    --------
    >>> import xarray as xr
    >>> depth = xr.DataArray([0.5, 1.0], dims="cell", attrs={"units": "m"})
    >>> area = xr.DataArray([2e6, 1e6], dims="cell", attrs={"units": "m2"})
    >>> float(thawed_volume(depth, area=area))
    2000000.0
    """
    if not same_units(str(thickness.attrs.get("units", "")), "m"):
        raise UnitsError(
            f"thawed_volume needs a thickness in 'm'; found {thickness.attrs.get('units')!r}."
        )
    units = str(area.attrs.get("units", ""))
    factor = next((f for u, f in (("m2", 1.0), ("km2", 1e6)) if same_units(units, u)), None)
    if factor is None:
        raise UnitsError(
            f"thawed_volume needs an area in 'm2' or 'km2'; found {area.attrs.get('units')!r}."
        )
    dims = [dim for dim in thickness.dims if dim in area.dims]
    if not dims:
        raise DimensionError(
            f"thawed_volume needs an area of the places: it has dims {area.dims}, the thickness "
            f"{thickness.dims}. Name the same places in both."
        )
    same_labels(thickness, area, step="thawed_volume")
    square = (area * factor).pipe(without_attrs)
    known = thickness.notnull()
    depth = thickness.reset_coords(drop=True).drop_attrs(deep=False)
    share = (square * known.reset_coords(drop=True)).sum(dims) / square.sum(dims)
    volume = (depth.fillna(0.0) * square.fillna(0.0)).sum(dims).where(share > 0)
    described = describe(
        volume,
        "thawed_volume",
        units="m3",
        long_name="volume of the active layer",
        method="active-layer thickness times area, over the places where it is known",
        of=thickness,
        extra={"thickness": str(thickness.attrs.get("method", "not stated"))},
    )
    share.attrs = {"units": "1", "long_name": "share of the area with a known thickness"}
    return described.assign_coords(area_share=share)
