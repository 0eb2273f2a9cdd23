"""ERA5-Land from the Climate Data Store."""

from __future__ import annotations

import calendar
import hashlib
import json
import os
import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._checks import choose
from .._optional import require
from ..errors import DataError
from ._era5land import boxes, checked_months, checked_years, chunked, source_names

#: Name of the catalogue entry, by product.
PRODUCTS = {
    "monthly": "reanalysis-era5-land-monthly-means",
    "hourly": "reanalysis-era5-land",
}

#: First bytes of what the store sends, and the suffix of the file.
_KINDS = ((b"PK\x03\x04", ".zip"), (b"\x89HDF", ".nc"), (b"CDF", ".nc"), (b"GRIB", ".grib"))

_KEY = (
    "Log in at https://cds.climate.copernicus.eu, copy the two lines with 'url' and 'key' from "
    "your profile page into the file ~/.cdsapirc, and accept the licence of the data set on its "
    "download page."
)


@dataclass(frozen=True, kw_only=True)
class CdsRequest:
    """Requests to the Climate Data Store that together bring the data asked for.

    Attributes
    ----------
    dataset : str
        Name of the catalogue entry.
    requests : tuple of dict
        One request a file, as ``cdsapi.Client().retrieve(dataset, request)`` takes it.
    """

    dataset: str
    requests: tuple[dict[str, Any], ...]

    @property
    def payload(self) -> dict[str, Any]:
        """What is sent, as plain data."""
        return {"dataset": self.dataset, "requests": [dict(request) for request in self.requests]}

    def download(
        self, folder: str | os.PathLike[str], *, progress: bool | None = None
    ) -> list[Path]:
        """Send the requests, one after the other, and keep what comes in ``folder``.

        A file that is there already is not asked for again, so that a call that was interrupted
        goes on with the next call. NetCDF may arrive as a zip of several files.

        Parameters
        ----------
        folder : path-like
            Made if it does not exist.
        progress : bool, optional
            Show what the store says and a progress bar; by default in a terminal only.

        Returns
        -------
        list of Path
            One file a request: ``xp.open_dataset(paths)`` reads them as one Dataset. Where the
            dateline is crossed, read the files of each box (their names tell the longitudes)
            and join the two: ``xr.concat([west, east], "lon")``.

        Raises
        ------
        MissingDependencyError
            If ``cdsapi`` is not installed.
        DataError
            If there is no key, the store refuses the request, or sends something else.
        """
        cdsapi = require(
            "cdsapi",
            purpose="the Climate Data Store",
            install="pip install 'xpermafrost[cds]'",
        )
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        shown = sys.stderr.isatty() if progress is None else progress
        client: Any = None
        paths = []
        for request in self.requests:
            found = _kept(folder, self._stem(request))
            if found is None:
                client = client or _client(cdsapi, shown)
                found = self._bring(client, request, folder)
            paths.append(found)
        return paths

    def _stem(self, request: dict[str, Any]) -> str:
        """Name without suffix: readable, and another one for every other request."""
        text = json.dumps([self.dataset, request], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        years = request["year"] if isinstance(request["year"], list) else [request["year"]]
        span = f"{years[0]}-{years[-1]}" if len(years) > 1 else years[0]
        if isinstance(request["month"], str):
            span += request["month"]
        box = "-".join(f"{abs(lon):g}{'W' if lon < 0 else 'E'}" for lon in request["area"][1::2])
        return f"{self.dataset.removeprefix('reanalysis-')}_{span}_{box}_{digest}"

    def _bring(self, client: Any, request: dict[str, Any], folder: Path) -> Path:
        stem = self._stem(request)
        partial = folder / f".{stem}.{uuid.uuid4().hex[:8]}.partial"
        try:
            try:
                client.retrieve(self.dataset, dict(request), str(partial))
            except Exception as error:  # the client raises bare exceptions and those of requests
                raise DataError(
                    f"the Climate Data Store did not bring {stem}: {error}. If it speaks of a "
                    f"licence, accept it at https://cds.climate.copernicus.eu/datasets/"
                    f"{self.dataset}?tab=download; if of cost or size, choose a smaller "
                    f"max_fields; if of a key: {_KEY} Files that arrived are kept; call again."
                ) from error
            path = folder / (stem + _suffix(partial))
            os.replace(partial, path)
            return path
        finally:
            partial.unlink(missing_ok=True)


def _kept(folder: Path, stem: str) -> Path | None:
    for _, suffix in _KINDS:
        if (folder / (stem + suffix)).exists():
            return folder / (stem + suffix)
    return None


def _client(cdsapi: Any, shown: bool) -> Any:
    try:
        return cdsapi.Client(quiet=not shown, progress=shown)
    except Exception as error:  # a bare Exception where the key is missing
        raise DataError(f"the Climate Data Store needs a personal key: {error}. {_KEY}") from error


def _suffix(path: Path) -> str:
    head = b""
    if path.exists():
        with open(path, "rb") as file:
            head = file.read(256)
    for magic, suffix in _KINDS:
        if head.startswith(magic):
            return suffix
    raise DataError(
        "the Climate Data Store sent neither NetCDF nor GRIB nor a zip, but "
        f"{f'a file that begins with {head[:40]!r}' if head else 'nothing'}. Nothing was kept; "
        "call again, or look at https://cds.climate.copernicus.eu/requests."
    )


def cds_era5_land(
    regions: Any,
    years: int | Iterable[int],
    variables: Iterable[str],
    *,
    product: str = "monthly",
    format: str = "netcdf",
    months: Iterable[int] = range(1, 13),
    max_fields: int = 1000,
) -> CdsRequest:
    """Request for ERA5-Land from the Climate Data Store; nothing is sent.

    Parameters
    ----------
    regions : LatitudeBands, Polygons, what ``as_regions`` reads, or tuple
        The bounding box is requested, outward to whole cells of 0.1 degree; two boxes where it
        crosses the dateline. A tuple is ``(north, west, south, east)`` [degrees].
    years : int or iterable of int
        From 1950.
    variables : iterable of str
        Canonical names, such as ``["tas", "pr", "snd", "tsl"]``; all four soil layers come.
    product : {"monthly", "hourly"}
        Monthly means, or hourly values. In hourly data an accumulation runs from 00 UTC, so that
        the total of the last day stands in the first hour of the next year.
    format : {"netcdf", "grib"}
        GRIB is the archive's own format and allows larger requests.
    months : iterable of int
        Months of every year.
    max_fields : int, default 1000
        Largest number of fields (variables x times) in one request. The store does not publish
        its limits and has changed them; 1000 held for hourly ERA5-Land when they were lowest.
        Its download form shows whether a request would pass.

    Returns
    -------
    CdsRequest
        ``.payload`` to look at, ``.download(folder)`` to send.

    Raises
    ------
    UnknownNameError
        If a variable, the product or the format is not known.
    RegionError
        If the regions are missing.
    DataError
        If years are outside ERA5-Land, or ``max_fields`` holds not even one variable.

    Examples
    --------
    >>> from xpermafrost import alaska_bands
    >>> request = cds_era5_land(alaska_bands(), range(2001, 2003), ["tas"])
    >>> request.dataset, request.requests[0]["area"]
    ('reanalysis-era5-land-monthly-means', [71.4, -168.0, 59.2, -141.0])
    """
    dataset = PRODUCTS[choose("product", product, PRODUCTS)]
    shared = {
        "data_format": choose("format", format, ("netcdf", "grib")),
        "download_format": "unarchived",
    }
    names, wanted = source_names(variables), checked_years(years)
    periods = _monthly if product == "monthly" else _hourly
    requests = tuple(
        {**times, **shared, "area": list(box)}
        for box in boxes(regions)
        for times in periods(names, wanted, checked_months(months), max_fields)
    )
    return CdsRequest(dataset=dataset, requests=requests)


def _monthly(
    names: list[str], years: list[int], months: list[int], max_fields: int
) -> Iterable[dict[str, Any]]:
    """As many whole years as fit, of all variables where one year of all fits."""
    per_request = _fitting(len(months), max_fields)
    for some in chunked(names, per_request):
        for span in chunked(years, max_fields // (len(some) * len(months))):
            yield {
                "product_type": ["monthly_averaged_reanalysis"],
                "variable": some,
                "year": [str(year) for year in span],
                "month": [f"{month:02d}" for month in months],
                "time": ["00:00"],
            }


def _hourly(
    names: list[str], years: list[int], months: list[int], max_fields: int
) -> Iterable[dict[str, Any]]:
    """One calendar month a request, of as many variables as fit."""
    for year in years:
        for month in months:
            days = calendar.monthrange(year, month)[1]
            for some in chunked(names, _fitting(days * 24, max_fields)):
                yield {
                    "variable": some,
                    "year": str(year),
                    "month": f"{month:02d}",
                    "day": [f"{day:02d}" for day in range(1, days + 1)],
                    "time": [f"{hour:02d}:00" for hour in range(24)],
                }


def _fitting(fields: int, max_fields: int) -> int:
    if max_fields < fields:
        raise DataError(
            f"one variable has {fields} fields here, more than max_fields={max_fields}; "
            f"type max_fields={fields} or more."
        )
    return max_fields // fields
