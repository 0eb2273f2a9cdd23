"""Soil layers to other soil layers, by their bounds.

Amounts of a layer (kg m-2) keep their mass, means over a layer (temperature) are weighted by
thickness, measurements at points are interpolated between sensors and averaged over the layer.
What the source does not reach is missing unless asked for, and always flagged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr

from ._checks import check_whole, choose, require_dims, same_units
from .errors import DataError, DimensionError, UnitsError
from .schema import LAYER, VARIABLES, layer_bounds, layer_coords_from_bounds
from .sources._units import linear, plain

#: Units of what adds up over layers.
AMOUNT = "kg m-2"
_AMOUNTS = (AMOUNT, "mol m-2", "J m-2")  # in any scale; kg m-2 are depths of water, too
_ELEMENT = re.compile(r"\b([kmMPT]?)g ?(?:C|N)\b")  # pint takes C for a coulomb or a degree
#: Longest distance [m] between two sensors that is interpolated over.
MAX_GAP = 1.0
#: Share of what the source covers of a layer that must be there at a time.
MIN_VALID = 0.8

#: Depths closer than this [m] are the same: some files hold them in float32.
_SAME = 1e-6


def remap_layers(
    ds: xr.Dataset,
    layers: xr.Dataset | xr.DataArray | Sequence[float] | np.ndarray,
    *,
    above: str = "missing",
    below: str = "missing",
    max_gap: float = MAX_GAP,
    min_valid: float = MIN_VALID,
) -> xr.Dataset:
    """Bring every variable on soil layers to other layers.

    Lazy on dask (``layer`` in one chunk). The source has layers with thickness, or points
    (upper equal to lower bound), as sensors are.

    * **Amounts** (mass, moles or heat per area, or a depth of water: kg m-2 as ``mrsol``, g C m-2,
      J m-2, mm) are spread evenly over their layer, and a target layer holds what lies in it:
      mass over the common depth is conserved. A target layer is missing where any source layer
      that it meets is.
    * **Means** (other units, such as ``tsl``): mean over the source layers that the target
      meets, weighted by the thickness of the overlap; a missing source layer drops out.
    * **Points**: the profile is linear between neighbouring sensors and averaged exactly over
      the target layer. Where a sensor is missing, its neighbours are joined if they are at
      most ``max_gap`` apart.

    A target layer that the source's depths cover in part holds the mean, or the amount, of
    that part. The share is the coordinate ``depth_covered``: ask for more with
    ``out.where(out.depth_covered > 0.5)``. A layer that is not covered is missing: with a
    first sensor at 0.2 m, the one from 0 to 0.07 m is.

    Parameters
    ----------
    ds : Dataset
        With dimension ``layer`` and its bounds [m], positive down.
    layers : Dataset, DataArray or array-like
        Target: an object with layers (its labels are taken, too), increasing edges
        ``(n + 1,)``, or bounds ``(n, 2)`` [m].
    above : {"missing", "shallowest"}
        What lies above the source: missing, or as in its shallowest layer or sensor.
    below : {"missing", "deepest"}
        What lies below the source: missing, or as in its deepest layer or sensor (of an amount:
        as much per metre). Where that one is missing, nothing is carried on.
    max_gap : float, default 1
        Longest distance [m] between sensors that is interpolated over, whether one between them
        is missing or there is none. Not used for layers.
    min_valid : float, default 0.8
        Least share of what the source covers of a target layer that must be there at a time,
        for means and points.

    Returns
    -------
    Dataset
        As ``ds`` on the target's layers, dims in their places; float32 stays float32 (sums are
        float64). ``depth_covered(layer)`` is the share of the layer between 0 and 1 that the
        source covers with nothing missing and nothing carried on. Each variable says
        ``depth_method``, and an amount ``depth_left_out``: the source's depths that no target
        layer holds.

    Raises
    ------
    DimensionError
        If ``layer`` or its bounds are missing, are no depths, overlap or are split over chunks;
        if an amount is at points; if the target has layers without thickness.
    UnitsError
        If a variable on layers has no units, or none that can be read: they tell amounts from
        means. If depths are not in m.
    DataError
        If a variable on layers holds classes, integers or text.

    Notes
    -----
    With the thickness h_ts of the overlap of target t and source s, and H_s of the source:
    amount m_t = sum_s m_s h_ts / H_s, mean v_t = sum_s v_s h_ts / sum_s h_ts (first-order
    conservative remapping, Jones, 1999, Mon. Wea. Rev. 127, 2204-2210, in one dimension).
    Points: the integral of a line over [a, b] is (b - a) times its value at (a + b) / 2.

    Examples
    --------
    >>> from xpermafrost.schema import layer_coords
    >>> soil = xr.Dataset(
    ...     {
    ...         "tsl": ("layer", [270.0, 272.0], {"units": "K"}),
    ...         "mrsol": ("layer", [30.0, 40.0], {"units": "kg m-2"}),
    ...     },
    ...     coords=layer_coords((0, 0.1, 0.5)),
    ... )
    >>> out = remap_layers(soil, (0, 0.2, 1.0))
    >>> out["tsl"].values.tolist(), out["mrsol"].values.round(6).tolist()
    ([271.0, 272.0], [40.0, 30.0])
    >>> out["depth_covered"].values.round(3).tolist()
    [1.0, 0.375]
    """
    choose("rule above the source", above, ("missing", "shallowest"))
    choose("rule below the source", below, ("missing", "deepest"))
    if not (0.0 <= min_valid <= 1.0 and max_gap > 0.0):
        raise DataError(f"needed: 0 <= min_valid <= 1, max_gap > 0 m; got {min_valid}, {max_gap}.")
    if not isinstance(ds, xr.Dataset):
        raise DimensionError("remap_layers needs a Dataset; of a DataArray, da.to_dataset().")
    require_dims(ds, (LAYER,), step="remap_layers")
    source, points = _source_bounds(ds)
    target = _target_bounds(layers)
    plan = _Plan(
        source=source,
        target=_snapped(target, source),
        points=points,
        carried=(above == "shallowest", below == "deepest"),
        max_gap=max_gap,
        least=min_valid,
    )
    fields: dict[Hashable, xr.DataArray] = {}
    for name, da in ds.data_vars.items():
        if LAYER in da.dims and name not in _BOUNDS:
            block, attrs = _rule(da, plan)
            fields[name] = _through(da, block, len(target)).assign_attrs(attrs)
    return _assembled(ds, layers, target, fields, plan.covered())


#: Variables that say what the layers are; a Dataset may hold them as data.
_BOUNDS = ("depth", "depth_bnds", "depth_top", "depth_bottom")


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Bounds of both sides [m], whether the source is points, and what is allowed."""

    source: np.ndarray
    target: np.ndarray
    points: bool
    carried: tuple[bool, bool]
    max_gap: float
    least: float

    def covered(self) -> np.ndarray:
        """Share of each target layer that the source covers by itself."""
        if self.points:
            by_source = _point_weights(self.source[:, 0], self.target, _NOWHERE, self.max_gap)
        else:
            by_source = _overlap(self.source, self.target, _NOWHERE)
        thickness = self.target[:, 1] - self.target[:, 0]
        return np.clip(by_source.sum(axis=1) / thickness, 0.0, 1.0)


_NOWHERE = (False, False)


def _source_bounds(ds: xr.Dataset) -> tuple[np.ndarray, bool]:
    """Bounds of the source's layers, and whether they are points."""
    check_depth_attrs(ds, step="remap_layers")
    bounds = _depths(layer_bounds(ds), "source")
    thin = bounds[:, 1] - bounds[:, 0] < _SAME
    if thin.any() and not thin.all():
        raise DimensionError(
            f"the source mixes layers and points: {np.round(bounds, 4).tolist()} m. Take them "
            f"apart: ds.isel(layer={np.flatnonzero(thin).tolist()}) are the points."
        )
    ordered = bounds[np.argsort(bounds[:, 0], kind="stable")]
    gaps = ordered[1:, 0] - ordered[:-1, 1]
    if np.any(gaps < (_SAME if thin.all() else -_SAME)):
        raise DimensionError(
            f"the source's layers overlap or repeat: {np.round(bounds, 4).tolist()} m. "
            "Keep one of each: ds.isel(layer=[...])."
        )
    return bounds, bool(thin.all())


def _target_bounds(
    layers: xr.Dataset | xr.DataArray | Sequence[float] | np.ndarray,
) -> np.ndarray:
    """Bounds of the target's layers from an object, edges or bounds."""
    if isinstance(layers, xr.Dataset | xr.DataArray):
        check_depth_attrs(layers, step="remap_layers")
        bounds = layer_bounds(layers)
    elif isinstance(layers, str):
        raise DimensionError(f"the target needs edges [m], as (0, 0.07, 0.28, 1); got {layers!r}.")
    else:
        bounds = np.asarray(layers, dtype="float64")
        if bounds.ndim == 1:
            bounds = np.stack([bounds[:-1], bounds[1:]], axis=1)
    bounds = _depths(bounds, "target")
    if np.any(bounds[:, 1] - bounds[:, 0] < _SAME):
        raise DimensionError(
            "remap_layers averages over layers and needs thickness; the target has the bounds "
            f"{np.round(bounds, 4).tolist()} m. Give edges, for instance (0, 0.07, 0.28, 1, 2.89)."
        )
    return bounds


def check_depth_attrs(obj: xr.Dataset | xr.DataArray, *, step: str) -> None:
    """Raise where the attributes of depths say that they are not m, positive down."""
    cure = "Give the bounds so: ds.assign_coords(xp.layer_coords(edges_in_m)), 0 at the surface."
    for name in ("depth", "depth_top", "depth_bottom"):
        if name not in obj.coords:
            continue
        units, positive = (obj[name].attrs.get(key) for key in ("units", "positive"))
        if units is None or not same_units(str(units), "m"):
            raise UnitsError(f"{step} needs depths in m; {name!r} has units {units!r}. {cure}")
        if str(positive or "down").lower() != "down":
            raise DimensionError(
                f"{step} needs depths positive down; {name!r} is positive {positive!r}. {cure}"
            )


def _depths(bounds: np.ndarray, what: str) -> np.ndarray:
    """Bounds of shape ``(layer, 2)``; refuse what is no depth."""
    shaped = bounds.ndim == 2 and bounds.shape[0] > 0 and bounds.shape[1] == 2
    if not (shaped and np.isfinite(bounds).all() and np.all(bounds[:, 1] >= bounds[:, 0])):
        raise DimensionError(
            f"the {what}'s layers need an upper and a lower bound [m], positive down and "
            f"increasing; found {np.round(bounds, 4).tolist()}."
        )
    if bounds.min() < 0:
        raise DimensionError(
            f"depths are positive down; the {what} has {np.round(bounds, 4).tolist()} m."
        )
    return bounds


def _snapped(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Target bounds, those that mean a source's bound put on it: no sliver gains or loses."""
    known = np.unique(source)
    nearest = known[np.abs(target[..., None] - known).argmin(axis=-1)]
    return np.where(np.abs(target - nearest) < _SAME, nearest, target)


def _rule(
    da: xr.DataArray, plan: _Plan
) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, str]]:
    """What to do with the last axis of a variable's values, and attributes that say it."""
    _require_numbers(da)
    check_whole(da, LAYER, step="remap_layers")
    amount = _is_amount(da)
    sides = ("above it as its shallowest", "below it as its deepest")
    more = "".join(f"; {side}" for side, on in zip(sides, plan.carried, strict=True) if on)
    if plan.points:
        if amount:
            raise DimensionError(
                f"{da.name!r} is an amount per layer ({AMOUNT}) and the source's layers are points "
                "without thickness. Give bounds: ds.assign_coords(xp.layer_coords(edges))."
            )
        how = f"layer mean of the profile, linear between sensors at most {plan.max_gap:g} m apart"
        return lambda values: _profile_means(values, plan), {"depth_method": how + more}
    overlap = _overlap(plan.source, plan.target, plan.carried)
    if not amount:
        how = "mean over source layers, weighted by the thickness of the overlap"
        return lambda values: _means(values, overlap, plan.least), {"depth_method": how + more}
    attrs = {"depth_method": "amount of the source in the overlap" + more}
    if left := _left_out(plan.source, plan.target):
        attrs["depth_left_out"] = f"{left} of the source"
    share = overlap / (plan.source[:, 1] - plan.source[:, 0])
    return lambda values: _amounts(values, share), attrs


def _require_numbers(da: xr.DataArray) -> None:
    if da.dtype.kind != "f" or {"flag_values", "flag_masks"} & set(da.attrs):
        raise DataError(
            f"{da.name!r} ({da.dtype}) on layers may hold classes, which have no mean. Leave it "
            f"out: ds.drop_vars({da.name!r}). Numbers: ds[{da.name!r}].astype('float32')."
        )


def _is_amount(da: xr.DataArray) -> bool:
    """Whether values add up over layers."""
    row = VARIABLES.get(str(da.name))
    units = da.attrs.get("units", row.units if row else None)
    if row and units == row.units:
        return row.units == AMOUNT
    text = _ELEMENT.sub(r"\1g", plain(str(units)))
    if units is None or not same_units(text, f"{text} "):
        raise UnitsError(
            f"{da.name!r} has no units that can be read ({units!r}); whether it is an amount per "
            f"layer is not known. Set them: ds[{da.name!r}].attrs['units'] = '{AMOUNT}' or others."
        )
    return any(linear(text, amount) for amount in _AMOUNTS)


def _overlap(source: np.ndarray, target: np.ndarray, carried: tuple[bool, bool]) -> np.ndarray:
    """Thickness [m] of the overlap, ``(target, source)``; the outer layers may be carried on."""
    reach = source.copy()
    if carried[0]:
        reach[np.argmin(source[:, 0]), 0] = min(source.min(), target.min())
    if carried[1]:
        reach[np.argmax(source[:, 1]), 1] = max(source.max(), target.max())
    low = np.maximum(target[:, :1], reach[:, 0])
    high = np.minimum(target[:, 1:], reach[:, 1])
    return np.maximum(high - low, 0.0)


def _divided(total: np.ndarray, mass: np.ndarray, full: np.ndarray, least: float) -> np.ndarray:
    """``total / mass`` where at least that share of ``full`` is there, else NaN."""
    enough = (mass > 0.0) & (mass >= (least - 1e-9) * full)
    out = np.full(total.shape, np.nan)
    return np.divide(total, mass, out=out, where=enough)


def _means(values: np.ndarray, overlap: np.ndarray, least: float) -> np.ndarray:
    valid = ~np.isnan(values)
    total = np.where(valid, values, 0.0) @ overlap.T
    return _divided(total, valid @ overlap.T, overlap.sum(axis=1), least)


def _amounts(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    missing = np.isnan(values)
    total = np.where(missing, 0.0, values) @ share.T
    met = share > 0.0
    return np.where((missing @ met.T.astype("float64") > 0) | ~met.any(axis=1), np.nan, total)


def _point_weights(
    depth: np.ndarray, target: np.ndarray, carried: tuple[bool, bool], max_gap: float
) -> np.ndarray:
    """Integral [m] over each target layer of the linear profile, per unit at each sensor."""
    order = np.argsort(depth)
    z = depth[order]
    low, high = target[:, :1], target[:, 1:]
    weights = np.zeros((len(target), z.size))
    step = np.diff(z)
    start, stop = np.maximum(low, z[:-1]), np.minimum(high, z[1:])
    part = np.where(step <= max_gap + _SAME, np.maximum(stop - start, 0.0), 0.0)
    along = ((start + stop) / 2 - z[:-1]) / step
    weights[:, :-1] += part * (1.0 - along)
    weights[:, 1:] += part * along
    if carried[0]:
        weights[:, :1] += np.maximum(np.minimum(high, z[0]) - low, 0.0)
    if carried[1]:
        weights[:, -1:] += np.maximum(high - np.maximum(low, z[-1]), 0.0)
    out = np.empty_like(weights)
    out[:, order] = weights
    return out


def _profile_means(values: np.ndarray, plan: _Plan) -> np.ndarray:
    """Means of interpolated profiles; profiles with the same sensors share their weights."""
    depth, target = plan.source[:, 0], plan.target
    full = _point_weights(depth, target, plan.carried, plan.max_gap).sum(axis=1)
    profiles = values.reshape(-1, depth.size)
    out = np.full((len(profiles), len(target)), np.nan)
    valid = ~np.isnan(profiles)
    for same in _alike(valid):
        pattern = valid[same[0]]
        if not pattern.any():
            continue
        outer = pattern[depth.argmin()], pattern[depth.argmax()]
        carried = bool(plan.carried[0] and outer[0]), bool(plan.carried[1] and outer[1])
        weights = _point_weights(depth[pattern], target, carried, plan.max_gap)
        total = profiles[np.ix_(same, pattern)] @ weights.T
        mass = np.broadcast_to(weights.sum(axis=1), total.shape)
        out[same] = _divided(total, mass, full, plan.least)
    return out.reshape(*values.shape[:-1], len(target))


def _alike(valid: np.ndarray) -> list[np.ndarray]:
    """Row numbers of every pattern that occurs, found by integers: comparing rows is slow."""
    codes = np.zeros(len(valid), dtype="int64")
    for start in range(0, valid.shape[1], 31):
        bits = valid[:, start : start + 31]
        part = bits @ (1 << np.arange(bits.shape[1], dtype="int64"))
        codes = np.unique((codes << 31) + part, return_inverse=True)[1].astype("int64")
    if not codes.size:
        return []
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])


def _through(
    da: xr.DataArray, block: Callable[[np.ndarray], np.ndarray], layers: int
) -> xr.DataArray:
    """Apply ``block`` to the layers, chunk by chunk; dims keep their places."""
    dtype = np.dtype("float32" if da.dtype.itemsize <= 4 else "float64")
    new = xr.apply_ufunc(
        lambda values: block(values.astype("float64")).astype(dtype),
        da.drop_vars([name for name, coord in da.coords.items() if LAYER in coord.dims]),
        input_core_dims=[[LAYER]],
        output_core_dims=[["_layer"]],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"_layer": layers}},
        output_dtypes=[dtype],
        keep_attrs=True,
    )
    return new.transpose(*["_layer" if d == LAYER else d for d in da.dims]).rename(_layer=LAYER)


def _left_out(source: np.ndarray, target: np.ndarray) -> str:
    """Depths of source layers that no target layer holds, in words; empty if there are none."""
    cuts = np.unique(np.concatenate([source, target]))
    parts: list[list[float]] = []
    for low, high in pairwise(cuts.tolist()):
        middle = (low + high) / 2
        held = ((target[:, 0] < middle) & (middle < target[:, 1])).any()
        if held or not ((source[:, 0] < middle) & (middle < source[:, 1])).any():
            continue
        if parts and parts[-1][1] == low:
            parts[-1][1] = high
        else:
            parts.append([low, high])
    return ", ".join(f"{low:.4g} to {high:.4g} m" for low, high in parts)


def _assembled(
    ds: xr.Dataset,
    layers: xr.Dataset | xr.DataArray | Sequence[float] | np.ndarray,
    target: np.ndarray,
    fields: dict[Hashable, xr.DataArray],
    share: np.ndarray,
) -> xr.Dataset:
    """The Dataset on the target's layers: what has no layers as it was, in the old order."""
    coords = layer_coords_from_bounds(target)
    if isinstance(layers, xr.Dataset | xr.DataArray) and LAYER in layers.coords:
        coords[LAYER] = layers[LAYER].variable
    attrs = {"long_name": "share of the layer that the source covers", "units": "1"}
    coords["depth_covered"] = xr.Variable(LAYER, share, attrs)
    out = ds.drop_vars([name for name, v in ds.variables.items() if LAYER in v.dims])
    kept = {name: fields.get(name, da) for name, da in ds.data_vars.items() if name not in coords}
    out = out.drop_vars(list(out.data_vars)).assign(kept).assign_coords(coords)
    text = ", ".join(f"{low:.4g}-{high:.4g}" for low, high in target)
    lines = [str(ds.attrs.get("history", "")), f"xpermafrost.remap_layers: to {text} m"]
    return out.assign_attrs(history="\n".join(line for line in lines if line))
