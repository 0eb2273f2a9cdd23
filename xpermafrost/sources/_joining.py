"""Pieces of one data set, split by time or by variable, become one Dataset.

Archives cut a data set by year, by variable, by step type; the pieces agree on the grid and
on nothing else: stamps of accumulations stand at 06 h and those of states at 00 h, ``expver``
differs, bookkeeping scalars differ. What holds data must agree; what does not is let go.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from .._checks import month_index, month_name
from ..errors import DataError, DimensionError, SourceError, TimeAxisError
from ._grib import FINAL, expver_along_time, version
from ._places import join_places, places_of
from ._time import find_time, first_of_month, to_dates
from ._units import Linear, linear

#: Differences of coordinates [degree] that come from rounding, not from another grid.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Piece:
    """A raw Dataset and the file it came from, for messages."""

    name: str
    ds: xr.Dataset


def join_pieces(pieces: Sequence[Piece]) -> xr.Dataset:
    """One Dataset from pieces that hold parts of the period, of the variables, or of both.

    Stamps of monthly means that differ within a month (00 h and 06 h) become the first of the
    month. Of ``expver`` the preliminary one wins. Coordinates without a dimension that differ
    from piece to piece are dropped. Tables of different places are set side by side. Lazy, but
    values that stand in two pieces are compared.

    Raises
    ------
    DimensionError
        If pieces lie on different grids.
    SourceError
        If a variable has other units in one piece than in another.
    TimeAxisError
        If two pieces hold different values for one time, a month or more lies between them, or
        their calendars differ.
    DataError
        If two pieces hold different static fields of one name.
    """
    if len(pieces) == 1:
        return pieces[0].ds
    places: dict[tuple[str, ...], list[Piece]] = {}
    for piece in pieces:
        places.setdefault(places_of(piece.ds), []).append(piece)
    if len(places) > 1 and () not in places and _disjoint(places):
        _same_units(pieces)
        return join_places([join_pieces(group) for group in places.values()])
    pieces = _one_time_axis(pieces)
    holders: dict[tuple[bool, tuple[int, ...]], list[Hashable]] = {}
    for name in dict.fromkeys(n for piece in pieces for n in piece.ds.data_vars):
        having = tuple(i for i, piece in enumerate(pieces) if name in piece.ds.data_vars)
        timed = find_time(pieces[having[0]].ds[[name]]) is not None
        holders.setdefault((timed, having), []).append(name)
    joined = [
        join_time([Piece(pieces[i].name, pieces[i].ds[names]) for i in having])
        for (_, having), names in holders.items()
    ]
    return merge_variables(joined)


def _disjoint(groups: Iterable[tuple[str, ...]]) -> bool:
    names = [name for group in groups for name in group]
    return len(set(names)) == len(names)


def join_time(pieces: Sequence[Piece]) -> Piece:
    """The same variables over consecutive periods, in any order; see :func:`join_pieces`."""
    time = find_time(pieces[0].ds)
    # a selection of a period that a file does not cover
    pieces = [p for p in pieces if time is None or p.ds.sizes[time]] or pieces[:1]
    first = pieces[0]
    if len(pieces) == 1:
        return first
    same_grid(pieces)
    _same_units(pieces)
    if time is None:
        for piece in pieces[1:]:
            _same_values(first, piece, "static fields")
        return first
    _same_calendar(pieces, time)
    pieces = _labelled(_without_differing_scalars(pieces), time)
    pieces = sorted(pieces, key=lambda p: p.ds[time].values[0])
    taken, end = [pieces[0]], pieces[0].ds[time].values.max()
    for piece in pieces[1:]:
        stamps = piece.ds[time].values
        rest = piece if stamps[0] > end else _without_overlap(taken, piece, time)
        if rest.ds.sizes[time]:
            taken.append(rest)
            end = max(end, stamps.max())
    ds = xr.concat(
        [piece.ds for piece in taken],
        dim=time,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    _check_gaps(taken, ds[time])
    if not ds.indexes[time].is_monotonic_increasing:
        ds = ds.sortby(time)
    others = len(pieces) - 1
    return Piece(first.name + (f" (and {others} more)" if others else ""), ds)


def _labelled(pieces: list[Piece], time: str) -> list[Piece]:
    """``expver`` in all, if in any: files without it are of final data."""
    if not any("expver" in piece.ds.coords for piece in pieces):
        return pieces
    out = []
    for piece in pieces:
        if "expver" not in piece.ds.coords:
            final = np.full(piece.ds.sizes[time], FINAL)
            piece = Piece(piece.name, piece.ds.assign_coords(expver=(time, final)))
        out.append(piece)
    return out


def merge_variables(pieces: Sequence[Piece]) -> xr.Dataset:
    """Different variables on one grid; where one has no value at a time, it is missing there."""
    if len(pieces) == 1:
        return pieces[0].ds
    same_grid(pieces)
    pieces = _without_differing_scalars(pieces)
    time = next((t for p in pieces if (t := find_time(p.ds))), None)
    labels = [p.ds["expver"] for p in pieces if "expver" in p.ds.coords and p.ds["expver"].ndim]
    parts = _on_first_grid([piece.ds for piece in pieces], time)
    merged = xr.merge(
        [ds.drop_vars("expver", errors="ignore") for ds in parts] if labels else parts,
        join="outer",
        compat="override",
        combine_attrs="drop_conflicts",
    )
    if labels and time is not None:
        merged = merged.assign_coords(expver=_worst(labels, merged[time]))
    return merged


def _on_first_grid(parts: list[xr.Dataset], time: str | None) -> list[xr.Dataset]:
    """Coordinates that agree to rounding, made the same bits; an outer join needs that."""
    first: dict[Hashable, xr.DataArray] = {}
    out = []
    for ds in parts:
        own = {dim: ds[dim] for dim in ds.dims if dim in ds.indexes and dim != time}
        out.append(ds.assign_coords({dim: first[dim] for dim in own if dim in first}))
        first = {**own, **first}
    return out


def _worst(labels: list[xr.DataArray], time: xr.DataArray) -> xr.DataArray:
    """Per time the highest ``expver``: a month that is preliminary in one file is preliminary."""
    worst = np.full(time.size, FINAL)
    stamps = time.to_index()
    for label in labels:
        at = stamps.get_indexer(label[time.name].to_index())
        values = np.array([version(v) for v in label.values.tolist()])
        worst[at] = np.where(values > worst[at], values, worst[at])
    return xr.DataArray(worst, dims=time.dims, attrs=labels[0].attrs)


def same_grid(pieces: Sequence[Piece]) -> None:
    """Raise unless all pieces that share a dimension have its coordinate in common."""
    seen: dict[Hashable, Piece] = {}
    for piece in pieces:
        for dim in piece.ds.dims:
            if dim == find_time(piece.ds):
                continue
            other = seen.setdefault(dim, piece)
            if not _same_coordinate(other.ds, piece.ds, dim):
                raise DimensionError(
                    f"{other.name!r} and {piece.name!r} differ along {dim!r}: "
                    f"{_extent(other.ds, dim)} and {_extent(piece.ds, dim)}. Files that are "
                    "opened together lie on one grid: open them apart, and regrid one."
                )


def _same_units(pieces: Sequence[Piece]) -> None:
    """The attributes of the first piece that has a variable will stand for all."""
    seen: dict[Hashable, tuple[str, str]] = {}
    for piece in pieces:
        for name, da in piece.ds.data_vars.items():
            units = str(da.attrs.get("units", ""))
            first, where = seen.setdefault(name, (units, piece.name)) if units else ("", "")
            if first and units != first and linear(units, first) != Linear():
                raise SourceError(
                    f"{str(name)!r} has units {first!r} in {where!r} and {units!r} in "
                    f"{piece.name!r}. Open them apart, and join the results with xr.concat."
                )


def _same_calendar(pieces: Sequence[Piece], time: str) -> None:
    seen: dict[tuple[str, str], Piece] = {}
    for piece in pieces:
        stamps = piece.ds[time]
        if stamps.dtype.kind in "MO":
            seen.setdefault((str(stamps.dt.calendar), stamps.dtype.kind), piece)
    if len(seen) < 2:
        return
    (one, two), (first, second) = list(seen)[:2], list(seen.values())[:2]
    same = {one[0], two[0]} <= {"standard", "gregorian", "proleptic_gregorian"}
    far = ", with years that do not fit into datetime64[ns]" if same else ""
    raise TimeAxisError(
        f"mixed calendars: {first.name!r} has {one[0]!r}, {second.name!r} has {two[0]!r}{far}. "
        "Open them apart, and join the results: xr.concat([first, second], 'time')."
    )


def _same_coordinate(one: xr.Dataset, two: xr.Dataset, dim: Hashable) -> bool:
    if one.sizes[dim] != two.sizes[dim]:
        return False
    if dim not in one.coords or dim not in two.coords:
        return True
    first, second = one[dim].values, two[dim].values
    if first.dtype.kind in "fiu" and second.dtype.kind in "fiu":
        return bool(np.allclose(first, second, rtol=0, atol=TOLERANCE))
    return bool(np.array_equal(first, second))


def _extent(ds: xr.Dataset, dim: Hashable) -> str:
    size = f"{ds.sizes[dim]} values"
    if dim not in ds.coords or not ds.sizes[dim]:
        return size
    values = ds[dim].values
    return f"{size}, {values[0]} to {values[-1]}"


def _one_time_axis(pieces: Sequence[Piece]) -> list[Piece]:
    """One name of the time dimension, dates on it, one stamp for each month of monthly means."""
    out: list[Piece] = []
    name: str | None = None
    for piece in pieces:
        ds, own = piece.ds, find_time(piece.ds)
        if "expver" in ds.dims and own is not None:
            ds = expver_along_time(ds)
        if own is not None:
            name = name or own
            if own != name:
                ds = ds.drop_vars(name, errors="ignore").rename({own: name})
            if ds[name].dtype.kind not in "MO":
                ds = ds.assign_coords({name: (name, to_dates(ds[name]).values)})
        out.append(Piece(piece.name, ds))
    if name is None or not _monthly_but_for_stamps(out, name):
        return out
    return [Piece(piece.name, _stamp_months(piece.ds, name)) for piece in out]


def _monthly_but_for_stamps(pieces: Sequence[Piece], time: str) -> bool:
    """Whether each variable has one stamp a month and pieces disagree on its day or hour."""
    timed = [piece.ds for piece in pieces if time in piece.ds.dims]
    if any(ds[time].dtype.kind != "M" for ds in timed):
        return False
    stamps = np.unique(np.concatenate([ds[time].values for ds in timed]))
    months = month_index(xr.DataArray(stamps, dims="time"))
    if np.unique(months).size == months.size:
        return False
    several = False
    for name in {n for ds in timed for n in ds.data_vars if time in ds[n].dims}:
        own = np.unique(np.concatenate([ds[time].values for ds in timed if name in ds.data_vars]))
        own_months = month_index(xr.DataArray(own, dims="time"))
        if np.unique(own_months).size != own_months.size:
            return False
        several = several or own.size > 1
    kinds = {str(ds[n].attrs.get("GRIB_stepType", "")) for ds in timed for n in ds.data_vars}
    return several or any(kind.startswith("avg") for kind in kinds)


def _stamp_months(ds: xr.Dataset, time: str) -> xr.Dataset:
    if time not in ds.dims:
        return ds
    monthly = first_of_month(month_index(ds[time]))
    return ds.assign_coords({time: (time, monthly, ds[time].attrs)})


def _without_differing_scalars(pieces: Sequence[Piece]) -> list[Piece]:
    """Coordinates without dimension are bookkeeping where they differ, and must not decide."""
    scalars = {n for p in pieces for n, c in p.ds.coords.items() if c.ndim == 0}
    drop = [
        name
        for name in scalars
        if any(name not in p.ds.coords for p in pieces)
        or any(not p.ds[name].variable.equals(pieces[0].ds[name].variable) for p in pieces)
    ]
    return [Piece(p.name, p.ds.drop_vars(drop, errors="ignore")) for p in pieces]


def _without_overlap(taken: Sequence[Piece], piece: Piece, time: str) -> Piece:
    """``piece`` without the stamps that ``taken`` has; their values must be the same."""
    keep = np.ones(piece.ds.sizes[time], dtype=bool)
    stamps = piece.ds.indexes[time]
    for other in taken:
        both = stamps.intersection(other.ds.indexes[time])
        if len(both):
            _same_values(
                Piece(other.name, other.ds.sel({time: both})),
                Piece(piece.name, piece.ds.sel({time: both})),
                f"the times from {_day(both[0])} to {_day(both[-1])}",
            )
            keep &= ~stamps.isin(both)
    return piece if keep.all() else Piece(piece.name, piece.ds.isel({time: keep}))


def _same_values(one: Piece, two: Piece, what: str) -> None:
    for name in one.ds.data_vars:
        first, second = one.ds[name].values, two.ds[name].values
        if first.shape == second.shape and _equal(first, second):
            continue
        kind = TimeAxisError if what.startswith("the times") else DataError
        raise kind(
            f"{one.name!r} and {two.name!r} both hold {str(name)!r} for {what}, with different "
            "values. Give only the one that is right (the later download, for instance)."
        )


def _equal(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(np.array_equal(first, second, equal_nan=first.dtype.kind == "f"))


def _day(stamp: object) -> str:
    return str(stamp)[:10]


def _check_gaps(pieces: Sequence[Piece], time: xr.DataArray) -> None:
    """``time`` is that of the pieces, one after the other; no month may lie between two."""
    months = month_index(time)
    starts = np.cumsum([piece.ds.sizes[time.name] for piece in pieces])[:-1]
    missing = months[starts] - months[starts - 1] - 1
    if not np.any(missing > 0):
        return
    at = int(np.argmax(missing > 0))
    last, first = int(months[starts[at] - 1]), int(months[starts[at]])
    raise TimeAxisError(
        f"between {pieces[at].name!r}, which ends {month_name(last)}, and "
        f"{pieces[at + 1].name!r}, which begins {month_name(first)}, {first - last - 1} months are "
        "missing. Give the file that holds them too."
    )


__all__ = ["Piece", "join_pieces", "join_time", "merge_variables", "same_grid"]
