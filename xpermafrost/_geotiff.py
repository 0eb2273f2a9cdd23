"""GeoTIFF files of gridded data: which file holds what, on which pixels, and the writing."""

from __future__ import annotations

import os
import re
import string
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from . import __version__
from ._cf import layer_labels, plain_attrs, with_line
from ._checks import choose, month_index
from ._files import atomic_path
from ._pixels import Cells, Pixels, grid_cells, onto, parse_crs, target_pixels, transform_of
from .errors import (
    DataError,
    DimensionError,
    OutputExistsError,
    UnknownNameError,
    unknown_name,
)
from .schema import LAYER, TIME

#: File names as the Scenarios Network for Alaska and Arctic Planning (SNAP) writes them.
NAMES = "{model}_{scenario}_{variable}_{year}.tif"

_SPATIAL = (("lat", "lon"), ("y", "x"))
_STEPS = (TIME, "year", "month")
#: Fields that every pattern of names may have, besides the dimensions.
_FIELDS = ("variable", "year", "model", "scenario", "member", LAYER)
_BATCH_BYTES = 2**28


class _Stored(NamedTuple):
    """Type of the numbers in the file, their missing value, how overviews are made."""

    dtype: str
    missing: float
    overviews: str


_STORED = {
    "f": _Stored("float32", np.nan, "AVERAGE"),
    "i": _Stored("int32", -(2**31), "NEAREST"),
    "u": _Stored("int32", -(2**31), "NEAREST"),
    "b": _Stored("uint8", 255, "NEAREST"),
}


def to_geotiff(
    obj: xr.DataArray | xr.Dataset,
    folder: str | os.PathLike[str],
    *,
    crs: str = "EPSG:4326",
    resolution: float | None = None,
    resampling: str = "bilinear",
    every: str = "year",
    names: str = NAMES,
    overwrite: bool = False,
) -> list[Path]:
    """Write gridded data as GeoTIFF (COG), a file per variable, scenario, layer and year.

    The months of a year are the bands of its file, described as ``2085-07``. Files are north
    up, cloud-optimised: tiled, compressed (deflate), with overviews; nothing lies beside them.
    Their extent is that of the cells' edges. Missing is NaN, declared as such (255 in masks,
    -2147483648 in classes). Units and values are those of ``obj``, in float32.

    Lazy data are computed in batches of a few years while writing. The argument is not
    written to.

    Parameters
    ----------
    obj : DataArray or Dataset
        With dims ``lat, lon`` [degrees, in any order, -180..180 or 0..360] or ``y, x`` with a
        grid mapping, evenly spaced. Variables without them are left out. ``time``, ``year`` or
        ``month`` become bands; of any other dimension, each label becomes a file.
    folder : path-like
        Existing folder.
    crs : str, default "EPSG:4326"
        Coordinate reference system of the files, for instance "EPSG:3338" (Alaska Albers) or
        "EPSG:3995" (Arctic polar stereographic).
    resolution : float, optional
        Side of the square pixels in units of ``crs``, whose multiples they are aligned to. By
        default the cells stay as they are where ``crs`` is that of the data, else the side of
        a square as large as the cell in the middle of the grid.
    resampling : {"bilinear", "nearest"}
        How values come onto other pixels; masks and classes always by the nearest. Positions
        are true to an eighth of a cell (GDAL); a pixel is missing where the data are.
    every : {"year", "month", "all"}
        What one file holds.
    names : str
        Pattern of the file names. ``{year}`` is "2085", "2085-07" or "2006-2100", as ``every``
        says; layer, member and their like follow ``{variable}``, unless the pattern names them:
        ``{layer}``. What the data lack is left out.
    overwrite : bool, default False
        Replace existing files.

    Returns
    -------
    list of Path
        The files, in the order of writing.

    Raises
    ------
    DimensionError
        If there is no grid, or projected data have no grid mapping.
    RegionError
        If the spacing is uneven, latitudes are none, or a grid across the dateline does not
        fit a geographic ``crs``.
    DataError
        If a variable is neither number nor mask, or the pixels are too many.
    UnknownNameError
        If ``crs``, ``resampling``, ``every`` or a field of ``names`` is not known.
    OutputExistsError
        If a file exists and ``overwrite`` is False, or two files would have one name. Nothing
        has been written then.
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile, numpy as np, xarray as xr
    >>> alt = xr.DataArray(
    ...     np.ones((2, 3, 4)), dims=("year", "lat", "lon"), name="alt", attrs={"units": "m"},
    ...     coords={"year": [2085, 2086], "lat": [60.0, 61, 62], "lon": [200.0, 201, 202, 203]},
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in to_geotiff(alt, folder, crs="EPSG:3338")]
    ['alt_2085.tif', 'alt_2086.tif']
    """
    choose("resampling", resampling, ("bilinear", "nearest"))
    choose("content of a file", every, ("year", "month", "all"))
    ds = obj.to_dataset(name=obj.name or "values") if isinstance(obj, xr.DataArray) else obj
    y, x = _grid_dims(ds)
    cells = grid_cells(ds, y, x)
    pixels = target_pixels(cells, parse_crs(crs), resolution)
    fields = [da for da in ds.data_vars.values() if {y, x} <= set(da.dims)]
    sheets = [_sheets(ds, da, Path(folder), (y, x), every, names) for da in fields]
    paths = [sheet.path for some in sheets for sheet in some]
    check_paths(paths, overwrite, cure=f"Type a pattern that tells them apart: names={NAMES!r}.")
    history = with_line(ds.attrs.get("history"), f"to_geotiff(crs={crs!r})")
    for da, some in zip(fields, sheets, strict=True):
        tags = {**plain_attrs(ds.attrs), **plain_attrs(da.attrs), "history": history}
        kind = _STORED[da.dtype.kind]
        method = resampling if kind.dtype == "float32" else "nearest"
        for batch in _batches(some, cells, pixels):
            values = _read(da, batch, cells, (y, x))
            block = onto(values, cells, pixels, missing=kind.missing, resampling=method)
            first = 0
            for sheet in batch:
                part = block[first : first + len(sheet.bands)]
                first += len(sheet.bands)
                _write(sheet, part, pixels, tags, kind, overwrite)
    return paths


# --- files and their bands ----------------------------------------------------------------


@dataclass(frozen=True)
class _Sheet:
    """One file: where it goes, what of the variable it holds, what its bands are called."""

    path: Path
    index: dict[Hashable, int]
    step: str | None
    positions: tuple[int, ...]
    bands: tuple[str, ...]
    labels: dict[str, str]


def _sheets(
    ds: xr.Dataset, da: xr.DataArray, folder: Path, grid: tuple[str, str], every: str, names: str
) -> list[_Sheet]:
    if da.dtype.kind not in _STORED:
        raise DataError(
            f"a GeoTIFF needs numbers or a mask; {str(da.name)!r} holds {da.dtype}. Leave it out, "
            "or turn dates into numbers: da.dt.dayofyear."
        )
    step = next((dim for dim in _STEPS if dim in da.dims), None)
    others = [dim for dim in da.dims if dim not in (*grid, step)]
    _check_pattern(names, (*_FIELDS, *map(str, others)))
    model = da.attrs.get("model", ds.attrs.get("model"))
    layers = layer_labels(ds) if LAYER in da.coords or LAYER in da.dims else []
    out = []
    for numbers in product(*(range(da.sizes[dim]) for dim in others)):
        index = dict(zip(others, numbers, strict=True))
        labels = {"model": str(model)} if model else {}
        labels |= _labels(da.isel(index), index, layers)
        for year, positions, bands in _steps(da, step, every):
            path = folder / _file_name(names, str(da.name), labels, year)
            tags = {**labels, "variable": str(da.name), **({"year": year} if year else {})}
            out.append(_Sheet(path, index, step, positions, bands, tags))
    return out


def _labels(chosen: xr.DataArray, index: dict[Hashable, int], layers: list[str]) -> dict[str, str]:
    """Scenario, layer and further labels of a file, from its dimensions and coordinates."""
    out = {}
    for name in dict.fromkeys([*_FIELDS, *map(str, index)]):
        if name == LAYER and layers:
            out[name] = layers[index.get(LAYER, 0)]
        elif name in chosen.coords and name not in _STEPS and chosen[name].ndim == 0:
            label = chosen[name].item()
            out[name] = str(label) if isinstance(label, str) else f"{name}{label}"
        elif name in index:
            out[name] = f"{name}{index[name] + 1}"
    return out


def _steps(
    da: xr.DataArray, step: str | None, every: str
) -> list[tuple[str, tuple[int, ...], tuple[str, ...]]]:
    """Files along the time axis: name, positions, names of the bands."""
    if step is None:
        return [("", (), (str(da.attrs.get("long_name", da.name)),))]
    if step == TIME:
        month_index(da[TIME])  # or an error that says what time has to be
        bands = da[TIME].dt.strftime("%Y-%m").values.tolist()
        if len(set(bands)) < len(bands):
            bands = da[TIME].dt.strftime("%Y-%m-%d").values.tolist()
    else:
        bands = [f"{number:02d}" for number in da[step].values.tolist()]
    cut = {"year": 4, "month": 7}.get(every, 0)
    keys = [band[:cut] if step != "month" or every == "month" else "" for band in bands]
    if every == "all" and step != "month":
        keys = ["-".join(sorted({bands[0][:4], bands[-1][:4]}))] * len(bands)
    groups: dict[str, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    return [(k, tuple(at), tuple(bands[i] for i in at)) for k, at in groups.items()]


def _check_pattern(names: str, known: tuple[str, ...]) -> None:
    if Path(names).name != names or not names.lower().endswith((".tif", ".tiff")):
        raise UnknownNameError(
            f"names needs a pattern of file names that ends in .tif, without folders; got "
            f"{names!r}. Type for instance names={NAMES!r}."
        )
    for _, field, _, _ in string.Formatter().parse(names):
        if field is not None and field not in known:
            raise unknown_name("field of names", field, known)


def _file_name(names: str, variable: str, labels: dict[str, str], year: str) -> str:
    """The pattern filled in; what is empty leaves no underscore."""
    asked = {field for _, field, _, _ in string.Formatter().parse(names)}
    apart = [v for k, v in labels.items() if k not in asked and k not in ("model", "scenario")]
    filled = {"variable": "_".join([variable, *apart]), **labels, "year": year}
    safe = {k: re.sub(r"[^\w.+-]", "-", v, flags=re.ASCII) for k, v in filled.items()}
    stem, _, suffix = string.Formatter().vformat(names, (), _Blank(safe)).rpartition(".")
    return f"{re.sub('_+', '_', stem).strip('_')}.{suffix}"


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def check_paths(paths: list[Path], overwrite: bool, *, cure: str) -> None:
    """Raise, before anything is written, unless each file has a name and a place of its own."""
    twice = [path.name for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise OutputExistsError(
            f"{len(twice)} names would be given to more than one file, {twice[0]!r} first. {cure}"
        )
    folder = paths[0].parent
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {str(folder)!r} does not exist; create it.")
    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        raise OutputExistsError(
            f"{len(there)} of {len(paths)} files exist, {str(there[0])!r} first, and are not "
            "overwritten silently; choose another folder, or pass overwrite=True."
        )


# --- reading and writing ------------------------------------------------------------------


def _grid_dims(ds: xr.Dataset) -> tuple[str, str]:
    for y, x in _SPATIAL:
        if any({y, x} <= set(da.dims) for da in ds.data_vars.values()) and {y, x} <= set(ds.coords):
            return y, x
    found = {str(name): tuple(da.dims) for name, da in ds.data_vars.items()}
    raise DimensionError(
        "to_geotiff needs a grid, dims and coordinates ('lat', 'lon') or ('y', 'x'); found "
        f"{found}. Results of regions and stations are vectors: to_vector(ds, 'out.gpkg', regions)."
    )


def _batches(sheets: list[_Sheet], cells: Cells, pixels: Pixels) -> Iterator[list[_Sheet]]:
    """Files of one series together, as many as fit a block of memory."""
    largest = max(pixels.width * pixels.height, cells.rows.size * cells.columns.size)
    room = max(1, _BATCH_BYTES // (4 * largest))
    batch: list[_Sheet] = []
    for sheet in sheets:
        bands = sum(len(s.bands) for s in batch) + len(sheet.bands)
        if batch and (bands > room or sheet.index != batch[0].index):
            yield batch
            batch = []
        batch.append(sheet)
    if batch:
        yield batch


def _read(da: xr.DataArray, batch: list[_Sheet], cells: Cells, grid: tuple[str, str]) -> np.ndarray:
    """Values ``(band, row, column)``, north up and from west to east, as the file holds them."""
    some = da.isel(batch[0].index)
    if batch[0].step is not None:
        some = some.isel({batch[0].step: [i for sheet in batch for i in sheet.positions]})
    values = some.transpose(..., *grid).values.reshape(-1, *(da.sizes[dim] for dim in grid))
    values = values[:, cells.rows][:, :, cells.columns]
    if da.dtype.kind in "iu" and values.size and np.abs(values).max() >= 2**31:
        raise DataError(f"{str(da.name)!r} has integers beyond 32 bits; use da.astype('float32').")
    return values.astype(_STORED[da.dtype.kind].dtype)


def _write(
    sheet: _Sheet,
    values: np.ndarray,
    pixels: Pixels,
    attrs: dict[str, Any],
    kind: _Stored,
    overwrite: bool,
) -> None:
    import rasterio

    tags = {"TIFFTAG_SOFTWARE": f"xpermafrost {__version__}", **attrs, **sheet.labels}
    tags.pop("grid_mapping", None)
    with atomic_path(sheet.path, overwrite=overwrite) as temporary:
        file = rasterio.open(
            temporary,
            "w",
            driver="COG",
            width=pixels.width,
            height=pixels.height,
            count=len(values),
            dtype=kind.dtype,
            crs=pixels.crs,
            transform=transform_of(pixels),
            nodata=kind.missing,
            compress="DEFLATE",
            predictor="YES",
            overview_resampling=kind.overviews,
            num_threads="ALL_CPUS",
        )
        with file:
            file.write(values)
            file.descriptions = sheet.bands
            file.units = [str(attrs.get("units", ""))] * len(values)
            file.update_tags(**{key: str(value) for key, value in tags.items()})
