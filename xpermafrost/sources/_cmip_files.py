"""Sets of CMIP5 and CMIP6 files: variables, periods, scenarios and members in any order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from .._checks import month_index, month_name
from ..errors import (
    DataError,
    PermafrostError,
    ScenarioError,
    SourceError,
    TimeAxisError,
    unknown_name,
)
from ..schema import HISTORICAL, LAYER, MEMBER, TIME, layer_bounds, name_axis
from ._formats import Paths, expand, format_of
from ._joining import Piece, join_time, merge_variables, same_grid
from ._readers import Chunks, read_file

#: Data reference syntax of file names, CMIP5 and CMIP6; both end with the period, if any.
_NAME = re.compile(
    r"^(?P<variable>[A-Za-z0-9]+)_(?P<table>[A-Za-z0-9]+)_(?P<model>[^_]+)_(?P<experiment>[^_]+)_"
    r"(?P<member>r\d+i\d+p\d+(?:f\d+)?)(?:_(?P<grid>g[a-z0-9]+))?(?:_[^/]*)?\.nc4?$"
)
_STEP = "open_cmip"


@dataclass(frozen=True, kw_only=True)
class Facets:
    """What one file holds, by its global attributes and, where they are silent, its name."""

    path: Path
    variable: str
    experiment: str
    model: str
    member: str
    table: str
    grid: str
    calendar: str

    @property
    def fixed(self) -> bool:
        """Whether the variable does not change in time, and so belongs to every scenario."""
        return self.table.lower() in ("fx", "ofx", "efx")


def facets(path: Path) -> Facets:
    """Read the facets of one file; its values are not read.

    Raises
    ------
    SourceError
        If neither attributes nor name tell one of them, or if they contradict each other.
    """
    attrs, calendar = _look(path)
    found = _NAME.match(path.name)
    named = {k: v for k, v in found.groupdict().items() if v} if found else {}
    said = {
        "variable": attrs.get("variable_id"),
        "table": _table(attrs),
        "model": attrs.get("source_id") or attrs.get("model_id"),
        "experiment": attrs.get("experiment_id"),
        "member": attrs.get("variant_label") or _ripf(attrs),
        "grid": attrs.get("grid_label"),
    }
    for key in ("experiment", "variable"):
        word = str(said[key] or "")
        if word and key in named and word.lower() != named[key].lower():
            raise SourceError(
                f"{str(path)!r} is named {named[key]!r}, but its attributes say {key} "
                f"{word!r}. Rename the file, or correct its global attributes."
            )
    values = {key: str(value or named.get(key, "")) for key, value in said.items()}
    missing = [k for k in ("variable", "experiment", "model", "member") if not values[k]]
    if missing:
        raise SourceError(
            f"{str(path)!r} tells no {', '.join(missing)}: neither global attributes "
            "(experiment_id, source_id or model_id, variant_label) nor a name such as "
            "'tas_Amon_IPSL-CM5A-LR_rcp85_r1i1p1_200601-210012.nc'. Open it with open_dataset."
        )
    return Facets(path=path, calendar=calendar, **values)


def _look(path: Path) -> tuple[dict[str, str], str]:
    """Global attributes and calendar ("" without time) of one file."""
    kind = format_of(path, name=str(path))
    if kind not in ("netcdf", "netcdf3"):
        raise DataError(f"{_STEP} reads NetCDF files; {str(path)!r} is {kind}. Use open_dataset.")
    [piece] = read_file(path, columns=None, chunks={})
    with piece.ds as ds:
        attrs = {str(k): str(v).strip() for k, v in ds.attrs.items()}
        if TIME not in ds.coords or ds[TIME].dtype.kind not in "MO":
            return attrs, ""
        # the file's own word: decoding may have changed it
        said = str(ds[TIME].encoding.get("calendar", ds[TIME].dt.calendar))
    same = {"gregorian": "standard", "proleptic_gregorian": "standard", "365_day": "noleap"}
    return attrs, same.get(said, said)


def _table(attrs: dict[str, str]) -> str:
    # CMIP5 writes "Table Amon (31 January 2011) ..."
    words = attrs.get("table_id", "").split()
    name = words[1] if len(words) > 1 and words[0].lower() == "table" else "".join(words[:1])
    return name or ("fx" if attrs.get("frequency") == "fx" else "")


def _ripf(attrs: dict[str, str]) -> str:
    """Member of CMIP5, from its three numbers."""
    keys = ("realization", "initialization_method", "physics_version")
    numbers = [attrs.get(key, "") for key in keys]
    return "r{}i{}p{}".format(*numbers) if all(numbers) else ""


def open_cmip(
    paths: Paths,
    *,
    model: str | None = None,
    member: str | Sequence[str] | None = None,
    historical: Literal["separate", "joined"] = "separate",
    chunks: Chunks = None,
) -> dict[str, xr.Dataset]:
    """Open the files of one CMIP5 or CMIP6 model: a canonical Dataset for each scenario.

    Variables, periods, scenarios and members may come in any order. Each variable is joined in
    time and standardized on its own, then they are merged; fields without time (``sftlf``,
    ``orog``) go into every scenario. The result fits
    ``era5.permafrost.with_scenarios(open_cmip("cmip/*.nc"), regions=...)``.

    Parameters
    ----------
    paths : path-like, or list of them
        Files, a pattern such as ``"cmip6/*.nc"``, or a folder.
    model : str, optional
        The model, if the files are of several.
    member : str or list of str, optional
        Members such as ``"r1i1p1f1"``; by default all, along the dimension ``member`` if there
        are several.
    historical : {"separate", "joined"}
        "separate": a Dataset of its own under ``"historical"``. "joined": each scenario is
        preceded by it (until 2005-12 in CMIP5, 2014-12 in CMIP6; where a history runs on, it
        ends where the scenario begins), and it is not in the result by itself.
    chunks : int, mapping, "auto" or {}, optional
        Dask chunks. None reads everything into memory.

    Returns
    -------
    dict of str to Dataset
        By ``experiment_id``, historical first. Where variables cover different periods, the
        shorter ones are NaN outside theirs.

    Raises
    ------
    FileNotFoundError, DataError
        As :func:`open_dataset`.
    SourceError
        If files tell no model, experiment, member or variable, are of several models without
        ``model=``, of several tables or grids of one variable, or if ``tsl`` and ``mrsol`` have
        different soil layers.
    UnknownNameError
        If there is no such model or member.
    TimeAxisError
        If files have different calendars, hold different values for one month, or leave months
        out between them.
    DimensionError
        If variables lie on different grids.
    ScenarioError
        If ``historical="joined"`` and one of the two is not there.

    Notes
    -----
    Lazy with ``chunks``: coordinates are read, and of values those that stand in two files.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> time = xr.date_range("2015-01", periods=12, freq="MS", calendar="noleap", use_cftime=True)
    >>> coords = {"time": time, "lat": [60.0, 65.0], "lon": [210.0, 215.0]}
    >>> tas = xr.DataArray(np.full((12, 2, 2), 260.0), coords, name="tas", attrs={"units": "K"})
    >>> tas.to_netcdf(folder / "tas_Amon_MIROC6_ssp126_r1i1p1f1_gn_201501-201512.nc")
    >>> runs = open_cmip(folder / "*.nc", chunks={})
    >>> list(runs), runs["ssp126"]["tas"].dims
    (['ssp126'], ('time', 'lat', 'lon'))
    """
    if historical not in ("separate", "joined"):
        raise unknown_name("way to treat historical", historical, ["separate", "joined"])
    found = _chosen_model([facets(path) for path in expand(paths)], model)
    fixed = [f for f in found if f.fixed]
    timed = _chosen_members([f for f in found if not f.fixed], member)
    if not timed:
        raise SourceError(
            f"{_STEP} needs files that vary in time; found only the fixed fields "
            f"{sorted({f.variable for f in fixed})}. Open those with open_dataset."
        )
    _one_calendar(timed)
    static = [
        _variable([f for f in fixed if f.variable == name], chunks)
        for name in dict.fromkeys(f.variable for f in fixed)
    ]
    runs = {}
    for name in sorted({f.experiment for f in timed}, key=lambda e: (e != HISTORICAL, e)):
        runs[name] = _run([f for f in timed if f.experiment == name], static, chunks)
    runs = {name: _with_history(ds, len(found)) for name, ds in runs.items()}
    return runs if historical == "separate" else _with_past(runs)


def _chosen_model(found: list[Facets], model: str | None) -> list[Facets]:
    models = sorted({f.model for f in found})
    if model is not None:
        if model not in models:
            raise unknown_name("model among the files", model, models)
        return [f for f in found if f.model == model]
    if len(models) > 1:
        raise SourceError(
            f"the files are of several models, {models}; {_STEP} opens one. Type "
            f"open_cmip(paths, model={models[0]!r})."
        )
    return found


def _chosen_members(found: list[Facets], member: str | Sequence[str] | None) -> list[Facets]:
    if member is None:
        return found
    wanted = [member] if isinstance(member, str) else list(member)
    there = sorted({f.member for f in found})
    for name in wanted:
        if name not in there:
            raise unknown_name("member among the files", name, there)
    return [f for f in found if f.member in wanted]


def _one_calendar(found: list[Facets]) -> None:
    seen: dict[str, Path] = {}
    for item in found:
        seen.setdefault(item.calendar, item.path)
    if len(seen) > 1:
        (one, first), (two, second) = list(seen.items())[:2]
        raise TimeAxisError(
            f"mixed calendars: {str(first)!r} has {one!r}, {str(second)!r} has {two!r}. The runs "
            "of one model share a calendar: one of the files has been converted, or is another "
            "model's. Open them apart."
        )


def _run(found: list[Facets], static: list[Piece], chunks: Chunks) -> xr.Dataset:
    """All variables of one experiment, its members side by side."""
    members = sorted({f.member for f in found}, key=_natural)
    parts = [
        _one_member([f for f in found if f.member == name], static, chunks) for name in members
    ]
    if len(parts) == 1:
        return parts[0]
    for name, ds in zip(members[1:], parts[1:], strict=True):
        missing = set(parts[0].data_vars) ^ set(ds.data_vars)
        if missing:
            raise SourceError(
                f"the members {members[0]!r} and {name!r} of {found[0].experiment!r} do not have "
                f"the same variables: {sorted(map(str, missing))} is not in both. Add the files, "
                f"or choose: open_cmip(paths, member={members[0]!r})."
            )
    same_grid([Piece(n, ds) for n, ds in zip(members, parts, strict=True)])
    timed = [n for n, da in parts[0].data_vars.items() if TIME in da.dims]
    joined = xr.concat(
        [ds[timed] for ds in parts],
        dim=name_axis(MEMBER, members),
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="drop_conflicts",
    )
    rest = parts[0].drop_vars(timed)
    return joined.assign(dict(rest.data_vars))


def _natural(label: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", label)]


def _one_member(found: list[Facets], static: list[Piece], chunks: Chunks) -> xr.Dataset:
    names = dict.fromkeys(f.variable for f in found)
    pieces = [_variable([f for f in found if f.variable == name], chunks) for name in names]
    _same_layers(pieces)
    return merge_variables([*pieces, *static])


def _same_layers(pieces: list[Piece]) -> None:
    layered = [piece for piece in pieces if LAYER in piece.ds.dims]
    for piece in layered[1:]:
        one, two = layer_bounds(layered[0].ds), layer_bounds(piece.ds)
        if one.shape != two.shape or not np.allclose(one, two):
            names = [str(n) for p in (layered[0], piece) for n in p.ds.data_vars]
            raise SourceError(
                f"{names} have different soil layers, {one.round(3).tolist()} m in "
                f"{layered[0].name!r} and {two.round(3).tolist()} m in {piece.name!r}; one Dataset "
                "has one set. Open their files apart and bring them to one set with "
                "xp.remap_layers(ds, (0, 0.07, 0.28, 1.0, 2.89))."
            )


def _variable(found: list[Facets], chunks: Chunks) -> Piece:
    """One variable of one member: files joined in time, standardized."""
    from . import standardize

    for what in ("table", "grid"):
        kinds = sorted({getattr(f, what) for f in found})
        if len(kinds) > 1:
            raise SourceError(
                f"files of {found[0].variable!r} ({found[0].experiment}, {found[0].member}) are of "
                f"the {what}s {kinds}; give those of one: {[f.path.name for f in found][:4]}."
            )
    pieces = [_read(f, chunks) for f in found]
    joined = join_time(pieces)
    try:
        return Piece(joined.name, standardize(joined.ds, source="cmip"))
    except PermafrostError as error:
        raise type(error)(f"{joined.name}: {error}") from error


def _read(item: Facets, chunks: Chunks) -> Piece:
    """The variable, its coordinates and their bounds; nothing else of the file."""
    [piece] = read_file(item.path, columns=None, chunks=chunks)
    ds = piece.ds
    if item.variable not in ds.data_vars:
        raise SourceError(
            f"{piece.name!r} should hold {item.variable!r}; it holds "
            f"{[str(n) for n in ds.data_vars]}. Its name or its attributes are wrong."
        )
    coords = ds[item.variable].coords.values()
    bounds = [c.attrs.get("bounds", c.encoding.get("bounds")) for c in coords]
    kept = ds[[item.variable, *(b for b in bounds if b in ds.variables and b not in ds.coords)]]
    return Piece(piece.name, kept)


def _with_past(runs: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    scenarios = {name: ds for name, ds in runs.items() if name != HISTORICAL}
    if HISTORICAL not in runs or not scenarios:
        raise ScenarioError(
            "historical='joined' needs files of 'historical' and of a scenario; found "
            f"{list(runs)}."
        )
    return {name: _preceded(runs[HISTORICAL], ds, name) for name, ds in scenarios.items()}


def _preceded(past: xr.Dataset, ds: xr.Dataset, name: str) -> xr.Dataset:
    """``ds`` with the months of ``past`` before it."""
    missing = set(past.data_vars) ^ set(ds.data_vars)
    if missing:
        raise ScenarioError(
            f"'historical' and {name!r} do not have the same variables: "
            f"{sorted(map(str, missing))} is not in both. Add the files, or leave them out."
        )
    past, ds = _same_members(past, ds, name)
    first = int(month_index(ds[TIME])[0])
    before = month_index(past[TIME]) < first
    if not before.any() or int(month_index(past[TIME])[before][-1]) != first - 1:
        end = month_name(int(month_index(past[TIME])[-1]))
        raise TimeAxisError(
            f"'historical' ends {end} and {name!r} begins {month_name(first)}: joined, they would "
            f"leave months out. Needed is a history until {month_name(first - 1)}."
        )
    same_grid([Piece(HISTORICAL, past), Piece(name, ds)])
    joined = xr.concat(
        [past.isel({TIME: before}), ds],
        dim=TIME,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="drop_conflicts",
    )
    return joined.assign_attrs({**ds.attrs, "experiment_id": f"{HISTORICAL}, {name}"})


def _same_members(past: xr.Dataset, ds: xr.Dataset, name: str) -> tuple[xr.Dataset, xr.Dataset]:
    """The members of the scenario, of both; all of them need a history."""
    have, want = _members(past), _members(ds)
    lacking = [label for label in want if label not in have]
    if lacking:
        raise ScenarioError(
            f"the members {lacking} of {name!r} have no 'historical' (it has {have}). Add their "
            "files, or choose with member=."
        )
    if MEMBER in past.dims:
        past = past.sel({MEMBER: want if MEMBER in ds.dims else want[0]}, drop=True)
    return past, ds


def _members(ds: xr.Dataset) -> list[str]:
    if MEMBER in ds.dims:
        return [str(label) for label in ds[MEMBER].values]
    return [str(ds.attrs.get("variant_label", ""))]


def _with_history(ds: xr.Dataset, count: int) -> xr.Dataset:
    from .. import __version__

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"{now} xpermafrost {__version__}: open_cmip({count} files)"
    # what is of one file is not of the set
    drop = (
        "history",
        "tracking_id",
        "creation_date",
        "variable_id",
        "table_id",
        "nominal_resolution",
    )
    attrs = {k: v for k, v in ds.attrs.items() if k not in drop}
    return ds.drop_attrs(deep=False).assign_attrs({**attrs, "history": line})
