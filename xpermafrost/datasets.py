"""Data to learn and to test with: a simulated Alaska, and public files that are fetched once.

The sample world needs no network. It is simulated from end to end (see
``xpermafrost/_sampleworld``): weather by chance, a forced signal for every RCP, snow by degree
days, and soil temperature from the column of :mod:`xpermafrost.physics`, so that the truth of
every scenario is known. No observation, reanalysis or climate-model output went into it, and it
must not be taken for one.

The public files are real, small and of others: :func:`available` lists them with their terms,
:func:`fetch` brings one from its repository at a fixed commit and verifies its SHA-256.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, overload

import pandas as pd
import xarray as xr

from ._checks import choose
from ._downloads import matches, retrieve
from ._files import atomic_path
from .errors import DataError, PermafrostWarning
from .schema import LAYER, STEPS, layer_coords

#: Environment variable naming the folder of cached files.
DATA_DIR = "XPERMAFROST_DATA_DIR"


def cache_folder() -> Path:
    """Folder of cached data: ``$XPERMAFROST_DATA_DIR``, else the system's cache folder."""
    import pooch

    return Path(os.environ.get(DATA_DIR) or pooch.os_cache("xpermafrost"))


@overload
def alaska_sample(
    *, grid: Literal[False] = False, step: Literal["month"] = "month", cache: bool = True
) -> xr.Dataset: ...
@overload
def alaska_sample(
    *, grid: Literal[True], step: Literal["month"] = "month", cache: bool = True
) -> xr.DataTree: ...
@overload
def alaska_sample(
    *, grid: Literal[False] = False, step: Literal["day"], cache: bool = True
) -> xr.DataTree: ...


def alaska_sample(
    *, grid: bool = False, step: str = "month", cache: bool = True
) -> xr.Dataset | xr.DataTree:
    """Simulated Alaska: a reference 2001-2023, a climate model 1950-2100, and the truth.

    The first call simulates it (about 15 s on two processors; days 3 s) and keeps it in
    :func:`cache_folder`; later calls read it. The same bits on every call.

    Parameters
    ----------
    grid : bool, default False
        False: six latitude bands, joined into an experiment Dataset. True: the grids.
    step : {"month", "day"}
        ``"day"``: nine stations, cells of the reference's grid from the Arctic coast to the
        south, by the day.
    cache : bool, default True
        Whether to read and write the cached file.

    Returns
    -------
    Dataset
        With ``grid=False``: canonical monthly forcing (scenario, band, time) for ``reference``,
        ``historical``, ``rcp26``, ``rcp45``, ``rcp60``, ``rcp85``; ``tsl`` (band, layer, time)
        of the reference [K]; static fields; ``tsl_esm``, the model's own soil on the reference's
        layers; and the truth ``tsl_truth`` (scenario, band, layer, time) [K], ``tas_truth`` and
        ``snd_truth``: what the reference's soil, air and snow do 2024-2100 under the model's
        weather without its bias.
    DataTree
        With ``grid=True``: children ``reference``, ``historical``, the four RCPs and ``truth``
        with dims (lat, lon, layer, time); also ``thaw_depth`` [m], from daily states. The
        model's grid is coarser than the reference's, and its four soil layers are others.
        With ``step="day"``: children ``reference`` 2001-2023 and ``rcp85`` 2024-2100, the truth
        of that scenario, both canonical daily Datasets (station, layer, time) with ``tsl`` [K].

    Raises
    ------
    DataError
        For grids by the day.

    Examples
    --------
    >>> ds = alaska_sample()
    >>> ds["tsl"].dims, ds.attrs["simulated"][:3]
    (('band', 'layer', 'time'), 'yes')
    """
    by_day = choose("step", step, STEPS) == "day"
    if grid and by_day:
        raise DataError(
            "the grids of the sample are monthly: type alaska_sample(grid=True), or for stations "
            "by the day alaska_sample(step='day')."
        )
    path = _cached_file("days" if by_day else "grid" if grid else "bands")
    if cache:
        found = _read(path, tree=grid or by_day)
        if found is not None:
            return found
    made: xr.Dataset | xr.DataTree
    if by_day:
        made = _build_days()
    elif grid:
        made = _build()
    else:
        # the width of names in one file must not cut those of the next: 'reference' to 'refer'
        made = _bands(alaska_sample(grid=True, cache=cache)).drop_encoding()
    if cache:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, overwrite=True) as partial:
            made.to_netcdf(partial, engine="netcdf4")
    return made


def _cached_file(name: str) -> Path:
    """Path that changes with the world's version and its source, so that no old world is read."""
    import hashlib

    from . import _sampleworld, physics

    digest = hashlib.sha256()
    for package in (_sampleworld, physics):
        for source in sorted(Path(str(package.__file__)).parent.glob("*.py")):
            digest.update(source.read_bytes())
    modules: tuple[str, ...] = ("schema.py",)
    if name == "bands":
        modules += ("experiment.py", "regions.py", "masks.py", "_reduce_kernels.py", "depth.py")
    for module in ("datasets.py", *modules):
        digest.update((Path(__file__).parent / module).read_bytes())
    return cache_folder() / f"simulated_alaska_{name}_{digest.hexdigest()[:12]}.nc"


def _build() -> xr.DataTree:
    from ._sampleworld.build import build

    return build()


def _build_days() -> xr.DataTree:
    from ._sampleworld.days import build_days

    return build_days()


def _read(path: Path, *, tree: bool) -> xr.Dataset | xr.DataTree | None:
    """The cached file in memory; None if it is absent or damaged."""
    if not path.exists():
        return None
    try:
        if tree:
            with xr.open_datatree(path, engine="netcdf4") as opened:
                return opened.load()
        with xr.open_dataset(path, engine="netcdf4") as ds:
            return ds.load().drop_encoding()
    except Exception:  # whatever a truncated or foreign file raises: it is made anew
        return None


def _bands(tree: xr.DataTree) -> xr.Dataset:
    """The six bands of the grids, joined into one experiment Dataset with the truth."""
    from .depth import remap_layers
    from .experiment import combine
    from .regions import alaska_bands, reduce

    parts = {}
    for name, child in tree.children.items():
        ds = child.to_dataset().drop_vars(["thaw_depth", "thaw_depth_truth"], errors="ignore")
        parts[name] = reduce(ds, alaska_bands(), land=ds["sftlf"])
    truth = parts.pop("truth").drop_vars("sftlf", errors="ignore")
    reference = parts.pop("reference")
    for name, ds in parts.items():  # the model has layers of its own
        parts[name] = remap_layers(ds, reference).drop_vars(["sftlf", "depth_covered"])
    joined = combine(reference, **parts)
    truth = truth.reindex(scenario=joined["scenario"], time=joined["time"])
    truth = truth.transpose("scenario", ..., LAYER, "time")
    names = ["tsl_truth", "tas_truth", "snd_truth"]
    joined = joined.assign({name: truth[name].astype("float32") for name in names})
    joined = joined.assign_coords(layer_coords())  # with the bounds, which joining drops
    return joined.assign_attrs(
        {**tree.attrs, "history": joined.attrs["history"], "title": "Simulated Alaska: six bands"}
    )


@dataclass(frozen=True, kw_only=True)
class PublicFile:
    """A file of a public repository at a fixed commit.

    Attributes
    ----------
    name : str
        Name in the registry and on disk.
    title : str
        What it is.
    url : str
        Address; the commit stands in it.
    sha256 : str
        Hexadecimal digest of its bytes.
    size : int, optional
        Bytes; None where the source does not publish it.
    licence : str
        Terms of use. The package ships none of these files.
    citation : str
        Whom to name.
    """

    name: str
    title: str
    url: str
    sha256: str
    size: int | None
    licence: str
    citation: str


_GITHUB = "https://raw.githubusercontent.com"
_OWN_USE = "no licence: for your own use only, not to be redistributed"


def _gipl(name: str, path: str, title: str, size: int, sha256: str) -> PublicFile:
    return PublicFile(
        name=name,
        title=f"{title} of one Alaskan permafrost site, 757 days from July 2008",
        url=f"{_GITHUB}/Elchin/GIPL/d10f139acb4628d782a4faa7bb2e5ae071c898ff/{path}",
        sha256=sha256,
        size=size,
        licence="MIT",
        citation="GIPL, Permafrost Laboratory, University of Alaska Fairbanks",
    )


def _gfdl(rcp: str, size: int, sha256: str) -> PublicFile:
    commit = "a15ec5d7a700d7c24a632f7729245c29e248d139"
    return PublicFile(
        name=f"gfdl_esm2g_alaska_bands_{rcp}.csv",
        title=f"GFDL-ESM2G {rcp}, spatial maximum over six Alaskan bands, monthly 2021-2100; "
        "Earth-Engine-like names with CMIP units",
        url=f"{_GITHUB}/addinar/permafrost-modeling-convlstm/{commit}/data/raw/rcp/"
        f"{rcp.upper()}_df.csv",
        sha256=sha256,
        size=size,
        licence=_OWN_USE,
        citation="CMIP5, NOAA-GFDL; table by addinar/permafrost-modeling-convlstm",
    )


def _access(folder: str, name: str, sha256: str) -> PublicFile:
    variable, table, _, experiment = name.split("_")[:4]
    commit = "0315fc58de593850cb841432ec4c4051af2c9f58"
    return PublicFile(
        name=name,
        title=f"ACCESS-ESM1-5 {experiment}, {variable} ({table}), CMIP6 on a thinned grid",
        url=f"{_GITHUB}/Climate-REF/ref-sample-data/{commit}/data/CMIP6/{folder}/{name}",
        sha256=sha256,
        size=None,
        licence="CC BY-SA 4.0 (CMIP6, CSIRO)",
        citation="CMIP6 ACCESS-ESM1-5, CSIRO (Ziehn et al., 2020); Climate-REF sample data",
    )


_HISTORICAL = "CMIP/CSIRO/ACCESS-ESM1-5/historical/r1i1p1f1"
_SSP126 = "ScenarioMIP/CSIRO/ACCESS-ESM1-5/ssp126/r1i1p1f1"

# What was verified, and how. GIPL and GFDL: hash of a local copy whose length and text, at its
# beginning and end, are those of the file at this commit. ACCESS-ESM1-5 and the Canadian cities:
# hash from the registry file that the repository itself keeps at this commit. Files that were
# converted on the way here, or of which neither could be shown, are not listed.
_FILES = (
    _gipl(
        "gipl_site_soil_daily.txt",
        "mesres.txt",
        "Measured soil temperature at 12 depths",
        66280,
        "ea0173a6e195145fd429a20e34ef2c2549b2a5482eefc2ea1cf939eed415eb85",
    ),
    _gipl(
        "gipl_site_air_daily.txt",
        "in/bound.txt",
        "Air temperature",
        8352,
        "b89ffcc1dacd1d3118e3f7d1f1d80ea0d17b7dea8cea4c5f80f838088f034969",
    ),
    _gipl(
        "gipl_site_snow_daily.txt",
        "in/snow.txt",
        "Snow depth",
        6830,
        "17bf4033113d1dd4fa8647d06e7fb3c4ea17356a933b6a01db6fedc0fa5ceed5",
    ),
    _gfdl("rcp26", 896593, "d5215381c591ea7a5fd69f0d561020f01ddf8a6d8a391729078ea8077db01f40"),
    _gfdl("rcp45", 894606, "b38deb26ec077eb3f3eb01973660ab98e54ba5fe3e5ec80f77653493e2818b93"),
    _gfdl("rcp60", 894520, "ba71de612677ce2e090333bd18fd4a8da01151b50576f729565c55b97f12257a"),
    _gfdl("rcp85", 891492, "e3bcab6ed437beba2c77967c1c8df160bd13f7da9bb7abd7b1acc0d52e9118ec"),
    _access(
        f"{_HISTORICAL}/Amon/tas/gn/v20191115",
        "tas_Amon_ACCESS-ESM1-5_historical_r1i1p1f1_gn_185001-201412.nc",
        "5511ffb6270ab9d39413bfb7c4154c8b2d2e4c70ea1e019353303f77690ac1aa",
    ),
    _access(
        f"{_HISTORICAL}/Amon/pr/gn/v20191115",
        "pr_Amon_ACCESS-ESM1-5_historical_r1i1p1f1_gn_185001-201412.nc",
        "728982b68b2a5d764ce32f21a92705014185eac28f338647b646a87f2956d7a4",
    ),
    _access(
        f"{_HISTORICAL}/Amon/ts/gn/v20191115",
        "ts_Amon_ACCESS-ESM1-5_historical_r1i1p1f1_gn_200001-201412.nc",
        "2be283c44d50c632ed94bd0992443fb8bb9a39a75cd7602910551f3b809ad079",
    ),
    _access(
        f"{_HISTORICAL}/fx/sftlf/gn/v20191115",
        "sftlf_fx_ACCESS-ESM1-5_historical_r1i1p1f1_gn.nc",
        "d4cbd107994aa0e7802396961d0b53656a70a832a9ef739748fcc6bc714e70b9",
    ),
    _access(
        f"{_SSP126}/Amon/tas/gn/v20210318",
        "tas_Amon_ACCESS-ESM1-5_ssp126_r1i1p1f1_gn_201501-210012.nc",
        "56fdd1497b748f4f62bbfab65be2b7f8667ce4822d699deb5a911d15ee881238",
    ),
    _access(
        f"{_SSP126}/Amon/pr/gn/v20210318",
        "pr_Amon_ACCESS-ESM1-5_ssp126_r1i1p1f1_gn_201501-210012.nc",
        "151d17f727c80df77f9b314005e0f503bf4f089069f5da5dc702dcdc6a62459e",
    ),
    PublicFile(
        name="daily_surface_cancities_1990-1993.nc",
        title="ERA5 daily at five Canadian cities, among them Iqaluit, 1990-1993",
        url=f"{_GITHUB}/Ouranosinc/xclim-testdata/61497562f79f369e1ee87b7b4f7185618aa6bb25/"
        "data/ERA5/daily_surface_cancities_1990-1993.nc",
        sha256="049d54ace3d229a96cc621189daa3e1a393959ab8d988221cfc7b2acd7ab94b2",
        size=None,
        licence="MIT; contains modified Copernicus Climate Change Service information",
        citation="ERA5 (Hersbach et al., 2020); Ouranosinc/xclim-testdata",
    ),
)

#: The public files that `fetch` knows, by name.
FILES: dict[str, PublicFile] = {file.name: file for file in _FILES}


def available() -> pd.DataFrame:
    """Public files that :func:`fetch` brings, with their terms of use.

    Returns
    -------
    DataFrame
        One row a file, its name the index: ``title``, ``size`` [bytes] (missing where the source
        does not publish it), ``licence``, ``citation``, ``url`` and ``sha256``.

    Examples
    --------
    >>> available().loc["gipl_site_air_daily.txt", "licence"]
    'MIT'
    """
    table = pd.DataFrame([asdict(file) for file in FILES.values()]).set_index("name")
    table["size"] = table["size"].astype("Int64")
    return table[["title", "size", "licence", "citation", "url", "sha256"]]


def fetch(
    name: str, *, folder: str | os.PathLike[str] | None = None, progress: bool | None = None
) -> Path:
    """Path of a public file, downloaded on the first call and verified by its SHA-256.

    A copy that is in the folder already, with the right content, needs no network. A download
    that was cut goes on where it stopped; a file appears under its name only when it is whole.
    ``xp.open_dataset(path)`` reads it where the package knows its layout.

    Parameters
    ----------
    name : str
        One of ``available().index``.
    folder : path-like, optional
        Where to keep it; by default :func:`cache_folder`, which ``$XPERMAFROST_DATA_DIR`` sets.
    progress : bool, optional
        Show a progress bar; by default in a terminal only.

    Returns
    -------
    Path

    Raises
    ------
    UnknownNameError
        If no such file is registered.
    DataError
        If it cannot be downloaded, or what came is not the registered file.
    OutputExistsError
        If another file of that name is in ``folder``. In the cache it is replaced, with a
        warning.

    Examples
    --------
    >>> fetch("gipl_site_air.txt")
    Traceback (most recent call last):
    ...
    xpermafrost.errors.UnknownNameError: unknown public file 'gipl_site_air.txt'; did you mean ...
    """
    file = FILES[choose("public file", name, FILES)]
    path = (cache_folder() if folder is None else Path(folder)) / file.name
    checksum = f"sha256:{file.sha256}"
    if folder is None and path.exists() and not matches(path, checksum):
        warnings.warn(
            f"{str(path)!r} is damaged or was changed: its SHA-256 is not {file.sha256}. "
            "It is downloaded again.",
            PermafrostWarning,
            stacklevel=2,
        )
    return retrieve(file.url, path, checksum=checksum, overwrite=folder is None, progress=progress)
