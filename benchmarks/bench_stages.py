"""Stages without a file of their own: standardize, features, predict, write.

``python -m benchmarks.compare --only standardize features predict write``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import xarray as xr

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost.features import build_features, default_features
from xpermafrost.products import soil_temperature
from xpermafrost.scaling import scale_features, unscale_target
from xpermafrost.schema import layer_coords
from xpermafrost.windows import WindowSpec, make_windows

from ._stages import (
    Run,
    Stage,
    Work,
    copy_of,
    furthest,
    products_of,
    shape_of,
)

if TYPE_CHECKING:
    from xpermafrost import FittedModel

LENGTH = 24
#: Windows in a batch of the plain loop.
LARGE = 4096

#: Names and units of the Climate Data Store, a likely value and its deviation.
STORE = {
    "t2m": ("K", 268.0, 4.0),
    "skt": ("K", 268.0, 4.0),
    "tp": ("m", 0.002, 0.0003),
    "sf": ("m of water equivalent", 0.001, 0.0001),
    "strd": ("J m**-2", 2e7, 1e6),
    "ssrd": ("J m**-2", 1e7, 8e5),
    "slhf": ("J m**-2", -4e6, 4e5),
    "sshf": ("J m**-2", 1e6, 1e5),
}

#: Canonical name and factor of the fluxes and amounts above, as one would write them.
BY_HAND = {
    "t2m": ("tas", 1.0),
    "skt": ("ts", 1.0),
    "tp": ("pr", 1000 / 86400),
    "sf": ("prsn", 1000 / 86400),
    "strd": ("rlds", 1 / 86400),
    "ssrd": ("rsds", 1 / 86400),
    "slhf": ("hfls", -1 / 86400),
    "sshf": ("hfss", -1 / 86400),
}


def store(rows: int) -> xr.Dataset:
    """276 months of eight variables on ``rows`` x 280 cells, latitude descending."""
    rng = np.random.default_rng(0)
    axes = {
        "valid_time": pd.date_range("2001-01-01", periods=276, freq="MS"),
        "latitude": ("latitude", 71.0 - 0.1 * np.arange(rows), {"units": "degrees_north"}),
        "longitude": ("longitude", 200.0 + 0.1 * np.arange(280), {"units": "degrees_east"}),
    }
    ds = xr.Dataset(coords=axes)
    season = -np.cos(2 * np.pi * np.arange(276) / 12).astype("float32")[:, None, None]
    for name, (units, middle, deviation) in STORE.items():
        values = rng.standard_normal((276, rows, 280), dtype="float32") * np.float32(deviation / 3)
        values += np.float32(middle) + season * np.float32(3 * deviation)
        if name == "ssrd":  # none in the polar night, or it is refused
            values *= np.maximum(season, 0)
        ds[name] = (tuple(axes), values, {"units": units})
    return ds


def by_hand(ds: xr.Dataset) -> xr.Dataset:
    """The same by a factor a variable, and sorted axes; nothing is checked."""
    out = xr.Dataset({new: ds[old] * np.float32(f) for old, (new, f) in BY_HAND.items()})
    out = out.rename(valid_time="time", latitude="lat", longitude="lon")
    return out.assign_coords(lon=(out["lon"] + 180) % 360 - 180).sortby(["lat", "lon"])


def _standardize(scale: float) -> Work:
    ds = store(max(2, round(96 * scale)))
    return Work(
        size=f"{shape_of(ds)}, {len(STORE)} variables, {ds.nbytes / 1e6:.0f} MB",
        ours={"xpermafrost": lambda: xp.standardize(ds)},
        peers={"xarray by hand, unchecked": lambda: by_hand(ds)},
        limits={"copy of the bytes": copy_of(*(da.values for da in ds.data_vars.values()))},
        off=lambda a, b: max(furthest(a[n].transpose(*b[n].dims), b[n]) for n in b.data_vars),
    )


# --- features -----------------------------------------------------------------------------------


def forcing(places: int, years: int = 23) -> xr.Dataset:
    """The five forcings of as many stations; six climates, again and again."""
    few = testing.canonical(years=years, locations=range(6), dim="station")
    return few.isel(station=np.arange(places) % 6).assign_coords(station=np.arange(places))


def _features(scale: float) -> Work:
    ds = forcing(max(2, round(9000 * scale)))
    names = default_features(ds)
    spec = WindowSpec(length=LENGTH, features=names)
    variables = [name for name in names if name in ds]

    def constructed() -> xr.DataArray:
        """All windows as one array, the way of the documentation of xarray."""
        month = 2 * np.pi * (ds["time"].dt.month - 1) / 12
        whole = ds[variables].assign(month_sin=np.sin(month), month_cos=np.cos(month))
        array = whole.to_array("feature").transpose("station", "time", "feature")
        return array.rolling(time=LENGTH).construct("lag").compute()

    return Work(
        size=f"{ds.sizes['station']} places x {ds.sizes['time']} months, {len(names)} features, "
        f"windows of {LENGTH} months as views",
        ours={"xpermafrost": lambda: make_windows(build_features(ds, names), spec)},
        peers={"xarray, rolling.construct": constructed},
        limits={"copy of the bytes": copy_of(*(ds[name].values for name in variables))},
    )


# --- predict ------------------------------------------------------------------------------------


@cache
def network(name: str) -> FittedModel:
    """A network for any place, hardly trained: its speed does not depend on its weights."""
    config = xp.TrainingConfig(epochs=1)
    return xp.fit(
        forcing(20), name, places="any", config=config, pretrain=None, jobs=1, progress=False
    )


def plain_loop(model: FittedModel, ds: xr.Dataset) -> xr.DataArray:
    """Windows in batches of 4096 through the network, as one writes it with torch."""
    windows = make_windows(scale_features(model.features(ds), model.scaler), model.spec)
    index = model.check_inputs(ds)
    views = np.lib.stride_tricks.sliding_window_view(windows.cube, LENGTH, axis=1)
    net, parts = model.nets[0].eval(), []
    with torch.no_grad():
        for k in range(0, len(windows), LARGE):
            where = windows.location[k : k + LARGE], windows.start[k : k + LARGE]
            x = torch.tensor(views[where]).transpose(1, 2).contiguous()
            parts.append(net(x, torch.from_numpy(index[where[0]])))
    layers = {str(n): c.variable for n, c in model.template.coords.items() if c.dims == ("layer",)}
    scaled = windows.label(torch.cat(parts).numpy(), layers)
    return soil_temperature(unscale_target(scaled, model.scaler))


def operations(model: FittedModel, places: int, months: int) -> float:
    """Multiplications and additions that exact answers for every window need.

    A weight that only reads inputs is used once a month, as windows share the months; in a
    recurrent network the weights of the state are used once a month of every window. In the
    TCN every convolution is needed once a month.
    """
    each = dict(model.nets[0].named_parameters())
    matrices = {n: p.numel() for n, p in each.items() if p.ndim == 2 and "embedding" not in n}
    per_window = sum(size * LENGTH for n, size in matrices.items() if "weight_hh" in n)
    per_month = sum(size for n, size in matrices.items() if "weight_hh" not in n)
    windows = places * (months - LENGTH + 1)
    return 2.0 * (windows * per_window + places * months * per_month)


def _predict(name: str, scale: float) -> Work:
    model, ds = network(name), forcing(max(1, round(2000 * scale)))
    places, months = ds.sizes["station"], ds.sizes["time"]
    gemm = operations(model, places, months)
    return Work(
        size=f"{places} places x {months} months, {len(model.spec.features)} features, "
        f"windows of {LENGTH} months",
        ours={"xpermafrost predict": lambda: model.predict(ds)},
        peers={"plain torch loop, batches of 4096": lambda: plain_loop(model, ds)},
        limits={f"{gemm / 1e9:.1f} GFLOP as matrix products": products_of(gemm)},
        off=furthest,
    )


def _predict_stage(name: str) -> Stage:
    return Stage(
        name=f"predict, {name}",
        make=lambda scale: _predict(name, scale),
        quick=0.01,
        tiny=0.001,
        growth=0.01,
    )


# --- write --------------------------------------------------------------------------------------


def product(rows: int) -> xr.DataArray:
    """Soil temperature of 20 years on ``rows`` x 280 cells, as a projection gives it."""
    rng = np.random.default_rng(0)
    month = np.arange(240)
    values = rng.standard_normal((rows, 280, 4, 240), dtype="float32")
    values += (-4 - 12 * np.cos(2 * np.pi * month / 12)).astype("float32")
    coords = {
        "lat": ("lat", 58.0 + 0.1 * np.arange(rows), {"units": "degrees_north"}),
        "lon": ("lon", -168.0 + 0.1 * np.arange(280), {"units": "degrees_east"}),
        "time": pd.date_range("2021-01-01", periods=240, freq="MS"),
        **{n: v for n, v in layer_coords().items() if n != "depth_bnds"},
    }
    dims = ("lat", "lon", "layer", "time")
    return soil_temperature(xr.DataArray(values + np.float32(273.15), coords, dims))


def _files(folder: Path, suffix: str) -> Iterator[Path]:
    """Names that were not used before; the last file is removed as the next is asked for."""
    number = 0
    while True:
        path = folder / f"{number}{suffix}"
        yield path
        path.unlink(missing_ok=True)
        number += 1


def _write(scale: float) -> Work:
    da = product(max(2, round(120 * scale)))
    keep = tempfile.TemporaryDirectory()
    folder = Path(keep.name)
    raw = np.ascontiguousarray(da.values)

    def in_folder(suffix: str, write: object) -> Run:
        (folder / suffix).mkdir()
        names = _files(folder / suffix, ".nc")
        return lambda: (write(next(names)), keep)[0]  # type: ignore[operator]

    def by_xarray(level: int, dims: tuple[str, ...] = da.dims) -> Run:
        encoding = {da.name: {"zlib": bool(level), "complevel": level, "shuffle": bool(level)}}
        return in_folder(
            f"level{level}{dims[0]}",
            lambda path: da.transpose(*dims).to_netcdf(path, engine="netcdf4", encoding=encoding),
        )

    return Work(
        size=f"{shape_of(da)} float32, {da.nbytes / 1e6:.0f} MB, to NetCDF on this disk",
        ours={
            "xpermafrost, as by default": in_folder("ours", lambda p: xp.to_netcdf(da, p)),
            "xpermafrost, compression none": in_folder(
                "none", lambda p: xp.to_netcdf(da, p, compression="none")
            ),
        },
        peers={
            "xarray, zlib 4": by_xarray(4),
            "xarray, zlib 1": by_xarray(1),
            "xarray, not compressed, in the order of CF": by_xarray(
                0, ("time", "layer", "lat", "lon")
            ),
            "xarray, not compressed": by_xarray(0),
        },
        limits={"the bytes into a file": in_folder("bytes", raw.tofile)},
    )


STAGES = (
    Stage(name="standardize", make=_standardize, quick=0.25, tiny=0.02, growth=0.25),
    Stage(name="features", make=_features, quick=0.1, tiny=0.001, growth=0.25),
    _predict_stage("gru"),
    _predict_stage("tcn"),
    Stage(name="write", make=_write, quick=0.1, tiny=0.02, growth=0.125),
)
