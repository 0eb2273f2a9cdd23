"""Adjustment of several variables together, through xsdba's MBCn.

Every variable is first adjusted for itself (quantile delta mapping, :mod:`xpermafrost.bias`); then
the years of each calendar month are put into another order, so that the variables depend on each
other as in the reference. The values, and with them every mean and trend over a block of years,
stay those of the univariate adjustment.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from . import __version__, bias
from ._bias_inputs import Period, resolve_periods, take_months
from ._checks import check_monthly, check_whole, month_index, require_variables
from ._optional import require
from .errors import DataError
from .schema import LAYER, TIME

_YEAR = "block_year"
_VARIABLE = "multivar"


def adjust_multivariate(
    reference: xr.Dataset,
    historical: xr.Dataset,
    sim: xr.Dataset,
    *,
    variables: Sequence[str] | None = None,
    reference_period: Period | None = None,
    historical_period: Period | None = None,
    kinds: str | Mapping[str, str] | None = None,
    window_years: int | None = 30,
    nquantiles: int = 50,
    n_iter: int = 20,
    seed: int = 0,
) -> xr.Dataset:
    """Adjust variables together, so that they depend on each other as in the reference.

    Multivariate bias correction by the N-dimensional probability density function transform
    (MBCn; Cannon 2018) of xsdba, per place and calendar month. Computes; slow: some 10 s for six
    bands, two scenarios of a century and eight variables.

    Parameters
    ----------
    reference, historical : Dataset
        Monthly ``(time, place...)``, as for :func:`xpermafrost.bias.train`.
    sim : Dataset
        Monthly ``(time, place..., [scenario, member])``, from a January to a December, at least as
        many years as the training.
    variables : sequence of str, optional
        At least two; by default all of ``reference`` with time and no layers.
    reference_period, historical_period, kinds, window_years
        As in :func:`xpermafrost.bias.train` and :func:`xpermafrost.bias.adjust`.
    nquantiles : int
        Of the univariate mapping; the transform has as many as the training has years.
    n_iter : int
        Random rotations.
    seed : int
        Of the rotations; the same seed gives the same answer.

    Returns
    -------
    Dataset
        As ``bias.adjust`` of "qdm" gives it, the years of each month in another order within
        blocks as long as the training (the last one is shifted inward). A place where a
        variable or a year is missing keeps the univariate order.

    Raises
    ------
    DataError
        Fewer than two variables; ``sim`` without whole years, or shorter than the training;
        periods of different length.
    MissingVariableError, TimeAxisError, DimensionError, UnitsError
        As :func:`xpermafrost.bias.train`.

    Notes
    -----
    What it costs: years change places, so the series of a variable is no longer the climate
    model's own weather in its own order, and the memory from month to month weakens. Judge by the
    answer of what is driven, not by correlations alone.

    References
    ----------
    Cannon, A. J. (2018): Multivariate quantile mapping bias correction: an N-dimensional
    probability density function transform for climate model simulations of multiple variables.
    Climate Dynamics 50, 31-49, section 2.

    Mezzadri, F. (2007): How to generate random matrices from the classical compact groups.
    Notices of the AMS 54, 592-604 (the rotations).

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> era, esm = canonical(years=6), canonical(years=6, seed=1)
    >>> out = adjust_multivariate(era, esm, esm, variables=["tas", "pr"], n_iter=2)
    >>> out["tas"].attrs["bias_adjustment"]
    'qdm, reordered by mbcn'
    """
    names = _names(reference, variables)
    for ds, label in ((reference, "reference"), (historical, "historical"), (sim, "sim")):
        require_variables(ds, names, step=f"adjust_multivariate ({label})")
        check_monthly(ds, step=f"adjust_multivariate ({label})")
        check_whole(ds, TIME, step=f"adjust_multivariate ({label})")
    parts = [ds[names].compute() for ds in (reference, historical, sim)]
    trained = bias.train(
        parts[0],
        parts[1],
        nquantiles=nquantiles,
        reference_period=reference_period,
        historical_period=historical_period,
        kinds=kinds,
    )
    alone = bias.adjust(trained, parts[2], window_years=window_years)
    one = parts[0][names[0]], parts[1][names[0]]
    spans = resolve_periods(*one, reference_period, historical_period)
    pair = [
        _years(xr.Dataset({n: take_months(ds[n], span) for n in names}), label)
        for ds, span, label in zip(parts, spans, ("reference", "historical"), strict=False)
    ]
    if pair[0].sizes[_YEAR] != pair[1].sizes[_YEAR]:
        raise DataError(
            "adjust_multivariate needs periods of equal length; the reference has "
            f"{pair[0].sizes[_YEAR]} years, the historical {pair[1].sizes[_YEAR]}."
        )
    raw, done = _years(parts[2], "sim"), _years(alone, "sim")
    length = pair[0].sizes[_YEAR]
    if raw.sizes[_YEAR] < length:
        raise DataError(
            f"adjust_multivariate needs as many years as the training ({length}); sim has "
            f"{raw.sizes[_YEAR]}. Join the scenario to its history, or take a shorter period."
        )
    places = [d for d in pair[0].dims if d not in (_VARIABLE, _YEAR, "month")]
    runs = [d for d in raw.dims if d not in pair[0].dims]
    sides = [_stacked(da, places, runs) for da in (*pair, raw, done)]
    ordered = _reordered(sides, rotations=_rotations(len(names), n_iter, seed), seed=seed)
    return _labelled(ordered, alone, lead=[*places, *runs], n_iter=n_iter, seed=seed)


def _names(reference: xr.Dataset, variables: Sequence[str] | None) -> list[str]:
    if variables is not None:
        names = list(variables)
    else:
        timed = {str(n): da for n, da in reference.data_vars.items() if TIME in da.dims}
        names = [n for n, da in timed.items() if LAYER not in da.dims]
    if len(names) < 2:
        raise DataError(
            f"adjust_multivariate needs at least two variables; found {names}. For one, "
            "type bias.adjust(bias.train(...), ...)."
        )
    return names


def _years(ds: xr.Dataset, label: str) -> xr.DataArray:
    """``(multivar, ..., year, month)`` of whole years."""
    months = month_index(ds[TIME])
    if not months.size or months[0] % 12 or (months[-1] + 1) % 12:
        raise DataError(
            f"adjust_multivariate needs whole years, January to December; {label} does not have "
            "them. Type ds.sel(time=slice('2001', '2020')), or give reference_period in years."
        )
    cube = ds.drop_vars([n for n in ds.coords if TIME in ds[n].dims]).to_array(_VARIABLE)
    return cube.coarsen({TIME: 12}).construct({TIME: (_YEAR, "month")})


def _rotations(size: int, count: int, seed: int) -> xr.DataArray:
    """Random rotations, uniform over the orthogonal group (Mezzadri 2007, section 5)."""
    gauss = np.random.default_rng(seed).standard_normal((count, size, size))
    q, r = np.linalg.qr(gauss)
    sign = np.sign(np.diagonal(r, axis1=1, axis2=2))
    prime = f"{_VARIABLE}_prime"
    return xr.DataArray(
        q * sign[:, None, :],
        dims=("iterations", prime, _VARIABLE),
        attrs={"crd_dim": _VARIABLE, "new_dim": prime},
    )


def _reordered(
    sides: Sequence[xr.DataArray], *, rotations: xr.DataArray, seed: int
) -> xr.DataArray:
    """The adjusted values with the years of each month in the order of the transform.

    ``sides``: reference, historical, sim, and sim after the univariate adjustment.
    """
    xsdba = require("xsdba", purpose="multivariate adjustment", install="pip install xsdba")
    length, count = sides[0].sizes[_YEAR], sides[2].sizes[_YEAR]
    starts = [*range(0, count - length + 1, length)]
    if starts[-1] + length < count:
        starts.append(count - length)
    rng = np.random.default_rng(seed)
    parts = [_jittered(da, rng) for da in sides[:3]]
    whole = [da.notnull().all(["month", _YEAR, _VARIABLE, "run"]) for da in parts]
    use = np.flatnonzero(whole[0] & whole[1] & whole[2])
    out = sides[3].copy(deep=True)
    for month in range(12) if use.size else ():
        ref, hist, sim = (_blocks(da.isel(month=month, place=use), starts, length) for da in parts)
        ref, hist = ref.isel(block=0, drop=True), hist.isel(block=0, drop=True)
        fitted = _quiet(
            xsdba.MBCn.train,
            ref,
            hist,
            base_kws={"nquantiles": length, "group": "time"},
            adj_kws={"interp": "linear"},
            rot_matrices=rotations.assign_coords({_VARIABLE: ref[_VARIABLE]}),
        )
        moved = _quiet(fitted.adjust, sim, ref, hist, period_dim="block")
        moved = moved.transpose(_VARIABLE, "place", "block", TIME).values
        shape = (*moved.shape[:2], len(starts), -1, length)
        moved = moved.reshape(shape)
        done_to = 0
        for k, begin in enumerate(starts):
            # of the last block, shifted inward, only the years that no other block has
            own = slice(done_to, begin + length)
            at = {"month": month, "place": use, _YEAR: own}
            order = moved[:, :, k, :, own.start - begin :]
            out[at] = _in_order(out.isel(at).values, order)
            done_to = own.stop
    return out


def _in_order(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The values of the last axis in the order of another array."""
    ranks = np.argsort(np.argsort(order, axis=-1, kind="stable"), axis=-1, kind="stable")
    return np.take_along_axis(np.sort(values, axis=-1), ranks, axis=-1)


def _blocks(da: xr.DataArray, starts: Sequence[int], length: int) -> xr.DataArray:
    """``(multivar, place, block, time)``: runs within blocks of years, on stamps of xsdba."""
    starts = starts if da.sizes[_YEAR] > length else [0]
    parts = [da.isel({_YEAR: slice(k, k + length)}) for k in starts]
    both = xr.concat(parts, "start").stack(block=("start", "run"), create_index=False)
    stamps = xr.date_range("2000-01-01", periods=length, freq="YS", use_cftime=False)
    both = both.rename({_YEAR: TIME}).assign_coords({TIME: stamps})
    return both.transpose(_VARIABLE, "place", "block", TIME).assign_attrs(units="")


def _stacked(da: xr.DataArray, places: list[Any], runs: list[Any]) -> xr.DataArray:
    """``(multivar, place, run, month, year)``, as many places and runs as there are."""
    bare = da.drop_vars([n for n in da.coords if n != _VARIABLE]).assign_attrs(units="")
    runs = [d for d in runs if d in da.dims]  # training has none
    for new, dims in (("place", places), ("run", runs)):
        bare = bare.stack({new: dims}, create_index=False) if dims else bare.expand_dims(new)
    return bare.transpose(_VARIABLE, "place", "run", "month", _YEAR)


def _jittered(da: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
    """Noise far below the data: equal values, such as no snow, have no rank and no variance."""
    scale = 1e-6 * da.std(da.dims[1:])
    return da.astype("float64") + scale * da.copy(data=rng.standard_normal(da.shape))


def _quiet(call: Any, *arguments: xr.DataArray, **options: Any) -> Any:
    """Without the notes of xsdba on places that have no data."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-[Nn]a[Nn] slice")
        warnings.filterwarnings("ignore", message="(Degrees of freedom|Mean of empty)")
        return call(*arguments, **options)


def _labelled(
    ordered: xr.DataArray, alone: xr.Dataset, *, lead: list[Any], n_iter: int, seed: int
) -> xr.Dataset:
    """The stacked values under the labels of the univariate adjustment."""
    line = (
        f"xpermafrost {__version__}: adjust_multivariate(n_iter={n_iter}, seed={seed}), xsdba MBCn"
    )
    out = {}
    for name, da in alone.data_vars.items():
        cube = ordered.sel({_VARIABLE: name}).transpose("place", "run", _YEAR, "month").values
        whole = da.transpose(*lead, TIME)
        history = str(da.attrs.get("history", ""))
        made = whole.copy(data=cube.reshape(whole.shape).astype(da.dtype)).transpose(*da.dims)
        out[name] = made.assign_attrs(
            bias_adjustment=f"{da.attrs['bias_adjustment']}, reordered by mbcn",
            history=f"{history}\n{line}" if history else line,
        )
    return xr.Dataset(out, attrs=alone.attrs)


__all__ = ["adjust_multivariate"]
