"""ERA5-Land from Google Earth Engine, through xee."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from .._checks import choose
from .._files import atomic_path
from .._optional import require
from ..errors import DataError
from ._era5land import ACCUMULATED, LONG_NAMES, STEP, Box, boxes, checked_years, source_names

#: Collection, by product.
COLLECTIONS = {
    "monthly": "ECMWF/ERA5_LAND/MONTHLY_AGGR",
    "daily": "ECMWF/ERA5_LAND/DAILY_AGGR",
}


@dataclass(frozen=True, kw_only=True)
class EarthEngineRequest:
    """Images of an Earth Engine collection on the grid of ERA5-Land.

    Attributes
    ----------
    collection : str
        Asset of the image collection.
    bands : tuple of str
    start, end : str
        First day, and the day after the last.
    grids : tuple of dict
        ``crs``, ``crs_transform`` and ``shape_2d`` of every box, as
        ``xr.open_dataset(..., engine="ee")`` takes them; two boxes at the dateline.
    """

    collection: str
    bands: tuple[str, ...]
    start: str
    end: str
    grids: tuple[dict[str, Any], ...]

    @property
    def payload(self) -> dict[str, Any]:
        """What is asked for, as plain data."""
        return {
            "collection": self.collection,
            "filterDate": [self.start, self.end],
            "select": list(self.bands),
            "open_dataset": [{"engine": "ee", **grid} for grid in self.grids],
        }

    def open(self, *, project: str | None = None) -> xr.Dataset:
        """The images as one Dataset, read when they are computed.

        Parameters
        ----------
        project : str, optional
            Your Google Cloud project; by default the one that ``earthengine`` is set to.

        Returns
        -------
        Dataset
            Bands with dims ``time, lat, lon``; lazy. Longitudes go on above 180 where the
            dateline is crossed. ``standardize`` converts it.

        Raises
        ------
        MissingDependencyError
            If ``earthengine-api`` or ``xee`` is not installed.
        DataError
            If Earth Engine cannot be reached with your credentials.
        """
        ee = _initialized(project)
        images = ee.ImageCollection(self.collection)
        images = images.filterDate(self.start, self.end).select(list(self.bands))
        parts: list[xr.Dataset] = []
        for grid in self.grids:
            part = xr.open_dataset(images, engine="ee", **grid).rename(x="lon", y="lat")
            part = part.drop_encoding()  # xee puts the pixel size there as a scale factor
            if parts:
                part = part.assign_coords(lon=part["lon"] + 360.0)
            parts.append(part.transpose("time", "lat", "lon"))
        joined = parts[0] if len(parts) == 1 else xr.concat(parts, "lon", join="exact")
        # the name of the collection is what its month totals are recognised by
        return joined.assign_attrs(source=f"Earth Engine {self.collection}")

    def download(self, folder: str | os.PathLike[str], *, project: str | None = None) -> list[Path]:
        """Write the images to ``folder``, one NetCDF file a year.

        A year that is there already is not asked for again.

        Parameters
        ----------
        folder : path-like
            Made if it does not exist.
        project : str, optional
            As for :meth:`open`.

        Returns
        -------
        list of Path
            ``xp.open_dataset(paths)`` reads them as one Dataset.

        Raises
        ------
        MissingDependencyError, DataError
            As :meth:`open`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        years = range(int(self.start[:4]), int(self.end[:4]))
        paths = [folder / f"{self._stem()}_{year}.nc" for year in years]
        missing = [year for year, path in zip(years, paths, strict=True) if not path.exists()]
        if missing:
            ds = self.open(project=project)
            for year in missing:
                images = ds.sel(time=ds["time"].dt.year == year)
                if not images.sizes["time"]:
                    raise DataError(
                        f"Earth Engine has no image of {year} in {self.collection}; nothing was "
                        "written for it. Ask for years that are there."
                    )
                with atomic_path(folder / f"{self._stem()}_{year}.nc") as partial:
                    images.to_netcdf(partial, engine="netcdf4")
        return paths

    def _stem(self) -> str:
        text = repr((self.bands, self.grids))
        name = self.collection.removeprefix("ECMWF/").replace("/", "_").lower()
        return f"ee_{name}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _initialized(project: str | None) -> Any:
    install = "pip install 'xpermafrost[earthengine]'"
    ee = require("ee", purpose="Google Earth Engine", install=install)
    require("xee", purpose="Google Earth Engine", install=install)
    if not ee.data.is_initialized():
        try:
            ee.Initialize(project=project, opt_url="https://earthengine-highvolume.googleapis.com")
        except Exception as error:  # EEException, and a dozen of google.auth
            raise DataError(
                f"Earth Engine cannot be used: {error}. Type 'earthengine authenticate' in a "
                "shell once (it writes ~/.config/earthengine/credentials), and name your Google "
                "Cloud project: request.download(folder, project='...')."
            ) from error
    return ee


def earthengine(
    regions: Any,
    years: int | Iterable[int],
    variables: Iterable[str],
    *,
    product: str = "monthly",
) -> EarthEngineRequest:
    """Request for ERA5-Land from Google Earth Engine; nothing is sent.

    Parameters
    ----------
    regions : LatitudeBands, Polygons, what ``as_regions`` reads, or tuple
        The bounding box, on the native grid of 0.1 degree. A tuple is
        ``(north, west, south, east)`` [degrees].
    years : int or iterable of int
        Adjoining years, from 1950 (whose January is missing there).
    variables : iterable of str
        Canonical names; all four soil layers come.
    product : {"monthly", "daily"}
        ``ECMWF/ERA5_LAND/MONTHLY_AGGR`` or ``DAILY_AGGR``. Bands ending in ``_sum`` are totals
        of the month or day, which ``standardize`` knows.

    Returns
    -------
    EarthEngineRequest
        ``.payload`` to look at, ``.open()`` to read lazily, ``.download(folder)`` for files.

    Raises
    ------
    UnknownNameError
        If a variable or the product is not known.
    RegionError
        If the regions are missing.
    DataError
        If years are outside ERA5-Land, or do not adjoin.

    Examples
    --------
    >>> request = earthengine((71.5, -170, 59, -140), 2001, ["tas", "pr"])
    >>> request.bands
    ('temperature_2m', 'total_precipitation_sum')
    >>> request.grids[0]["shape_2d"]
    (301, 126)
    """
    collection = COLLECTIONS[choose("product", product, COLLECTIONS)]
    names, wanted = source_names(variables), checked_years(years)
    if wanted != list(range(wanted[0], wanted[-1] + 1)):
        raise DataError(
            f"Earth Engine is asked for adjoining years; got {wanted}. Make a request for each."
        )
    return EarthEngineRequest(
        collection=collection,
        bands=tuple(_band(name) for name in names),
        start=f"{wanted[0]}-01-01",
        end=f"{wanted[-1] + 1}-01-01",
        grids=tuple(_grid(box) for box in boxes(regions)),
    )


_TOTALS = frozenset(long for name in ACCUMULATED for long in LONG_NAMES[name])


def _band(name: str) -> str:
    if name == "2m_temperature":
        return "temperature_2m"
    return f"{name}_sum" if name in _TOTALS else name


def _grid(box: Box) -> dict[str, Any]:
    """Pixels whose centres are those of ERA5-Land: edges half a step beyond."""
    half = STEP / 2
    return {
        "crs": "EPSG:4326",
        "crs_transform": (
            STEP,
            0.0,
            round(box.west - half, 6),
            0.0,
            -STEP,
            round(box.north + half, 6),
        ),
        "shape_2d": (
            round((box.east - box.west) / STEP) + 1,
            round((box.north - box.south) / STEP) + 1,
        ),
    }
