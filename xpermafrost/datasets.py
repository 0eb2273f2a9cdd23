"""The sample world: a simulated Alaska that needs no network, to learn and to test with.

It is simulated from end to end (see ``xpermafrost/_sampleworld``): weather by chance, a forced
signal for every RCP, snow by degree days, and soil temperature from the column of
:mod:`xpermafrost.physics`, so that the truth of every scenario is known. No observation,
reanalysis or climate-model output went into it, and it must not be taken for one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, overload

import xarray as xr

from ._files import atomic_path
from .schema import LAYER, layer_coords

#: Environment variable naming the folder of cached files.
DATA_DIR = "XPERMAFROST_DATA_DIR"


def cache_folder() -> Path:
    """Folder of cached data: ``$XPERMAFROST_DATA_DIR``, else the system's cache folder."""
    import pooch

    return Path(os.environ.get(DATA_DIR) or pooch.os_cache("xpermafrost"))


@overload
def alaska_sample(*, grid: Literal[False] = False, cache: bool = True) -> xr.Dataset: ...
@overload
def alaska_sample(*, grid: Literal[True], cache: bool = True) -> xr.DataTree: ...


def alaska_sample(*, grid: bool = False, cache: bool = True) -> xr.Dataset | xr.DataTree:
    """Simulated Alaska: a reference 2001-2023, a climate model 1950-2100, and the truth.

    The first call simulates it (about 20 s on two processors) and keeps it in
    :func:`cache_folder`; later calls read it. The same bits on every call.

    Parameters
    ----------
    grid : bool, default False
        False: six latitude bands, joined into an experiment Dataset. True: the grids.
    cache : bool, default True
        Whether to read and write the cached file.

    Returns
    -------
    Dataset
        With ``grid=False``: canonical monthly forcing (scenario, band, time) for ``reference``,
        ``historical``, ``rcp26``, ``rcp45``, ``rcp60``, ``rcp85``; ``tsl`` (band, layer, time)
        of the reference [K]; static fields; ``tsl_esm``, the model's own soil; and the truth
        ``tsl_truth`` (scenario, band, layer, time) [K], ``tas_truth`` and ``snd_truth``: what the
        reference's soil, air and snow do 2024-2100 under the model's weather without its bias.
    DataTree
        With ``grid=True``: children ``reference``, ``historical``, the four RCPs and ``truth``
        with dims (lat, lon, layer, time); also ``thaw_depth`` [m], from daily states. The
        model's grid is coarser than the reference's.

    Examples
    --------
    >>> ds = alaska_sample()
    >>> ds["tsl"].dims, ds.attrs["simulated"][:3]
    (('band', 'layer', 'time'), 'yes')
    """
    name = "grid" if grid else "bands"
    path = _cached_file(name)
    if cache:
        found = _read(path, grid=grid)
        if found is not None:
            return found
    tree = _build() if grid else alaska_sample(grid=True, cache=cache)
    made: xr.Dataset | xr.DataTree = tree if grid else _bands(tree)
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
    modules = ("schema.py",) if name == "grid" else ("schema.py", "experiment.py", "regions.py")
    for module in ("datasets.py", *modules):
        digest.update((Path(__file__).parent / module).read_bytes())
    return cache_folder() / f"simulated_alaska_{name}_{digest.hexdigest()[:12]}.nc"


def _build() -> xr.DataTree:
    from ._sampleworld.build import build

    return build()


def _read(path: Path, *, grid: bool) -> xr.Dataset | xr.DataTree | None:
    """The cached file in memory; None if it is absent or damaged."""
    if not path.exists():
        return None
    try:
        if grid:
            with xr.open_datatree(path, engine="netcdf4") as tree:
                return tree.load()
        with xr.open_dataset(path, engine="netcdf4") as ds:
            return ds.load()
    except Exception:  # whatever a truncated or foreign file raises: it is made anew
        return None


def _bands(tree: xr.DataTree) -> xr.Dataset:
    """The six bands of the grids, joined into one experiment Dataset with the truth."""
    from .experiment import combine
    from .regions import alaska_bands, reduce

    parts = {}
    for name, child in tree.children.items():
        ds = child.to_dataset().drop_vars(["thaw_depth", "thaw_depth_truth"], errors="ignore")
        parts[name] = reduce(ds, alaska_bands(), land=ds["sftlf"])
    truth = parts.pop("truth").drop_vars("sftlf", errors="ignore")
    reference = parts.pop("reference")
    joined = combine(
        reference,
        **{n: ds.drop_vars("sftlf", errors="ignore") for n, ds in parts.items()},
    )
    truth = truth.reindex(scenario=joined["scenario"], time=joined["time"])
    truth = truth.transpose("scenario", ..., LAYER, "time")
    names = ["tsl_truth", "tas_truth", "snd_truth"]
    joined = joined.assign({name: truth[name].astype("float32") for name in names})
    joined = joined.assign_coords(layer_coords())  # with the bounds, which joining drops
    return joined.assign_attrs(
        {**tree.attrs, "history": joined.attrs["history"], "title": "Simulated Alaska: six bands"}
    )
