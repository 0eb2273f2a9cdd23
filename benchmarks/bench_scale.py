"""A pan-Arctic projection streamed to Zarr: ``python -m benchmarks.bench_scale --pixels 4096``.

Simulated forcing of land pixels at 0.1 degree, made block by block and never stored: a reference
2001-2023, a historical run and RCP8.5 to 2100. Every pixel is adjusted (quantile delta mapping),
projected (924 months x 4 layers) and written. For each network, at 1/16, 1/4 and all of the pixels
in a process of its own: seconds, processor time, pixels and windows per second, peak resident
memory; then the growth of time with pixels, and the time of 250,000 pixels that follows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
import xarray as xr

from xpermafrost._memory import Peak

#: Land pixels north of 60 degN or so, at 0.1 degree.
ARCTIC = 250_000
#: Pixels of a block.
BLOCK = 512
#: Resident memory that the whole job may take [bytes].
LIMIT = 4e9

RUNS = {
    "reference": ("2001-01", "2023-12"),
    "historical": ("1990-01", "2005-12"),
    "rcp85": ("2006-01", "2100-12"),
}
VARIABLES = {"tas": "K", "pr": "kg m-2 s-1", "snd": "m"}


def made(
    number: np.ndarray, name: str, time_: pd.DatetimeIndex, there: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Values ``(scenario, pixel, time)`` of some pixels; NaN outside each scenario's period."""
    rng = np.random.default_rng([int(number[0]), list(VARIABLES).index(name)])
    shape = (there.shape[0], number.size, time_.size)
    season = np.cos(2 * np.pi * (time_.month.values - 7.5) / 12).astype("f4")
    noise = rng.standard_normal(shape, dtype="f4")
    if name == "tas":
        cold = (258.0 + 12.0 * np.cos(number / 977.0)).astype("f4")[:, None]
        warming = np.clip(time_.year.values - 2005, 0, None) * np.float32(0.05)
        values = cold + 16.0 * season + 2.0 * noise + warming + bias[:, None, None]
    elif name == "pr":
        values = (2.0 + season + 0.5 * np.abs(noise)) * np.float32(1e-5)
    else:
        values = np.clip(0.4 * (-season - 0.1 + 0.2 * noise), 0.0, None)
    values = values.astype("f4")
    values[~np.broadcast_to(there[:, None, :], shape)] = np.nan
    return values


def forcing(pixels: int) -> xr.Dataset:
    """The experiment Dataset of so many pixels, lazily."""
    import dask.array as da

    time_ = pd.date_range("1990-01", "2100-12", freq="MS")
    months = time_.strftime("%Y-%m")
    there = np.stack([(months >= a) & (months <= b) for a, b in RUNS.values()])
    bias = np.array([0.0, 1.5, 1.5], "f4")
    numbers = da.arange(pixels, chunks=BLOCK)
    data = {
        name: (
            ("scenario", "pixel", "time"),
            da.map_blocks(
                made,
                numbers,
                name,
                time_,
                there,
                bias,
                dtype="f4",
                new_axis=(0, 2),
                chunks=((len(RUNS),), numbers.chunks[0], (time_.size,)),
                meta=np.empty((0, 0, 0), "f4"),
            ),
            {"units": units},
        )
        for name, units in VARIABLES.items()
    }
    start, end = zip(*RUNS.values(), strict=True)
    row = np.arange(pixels)
    return xr.Dataset(
        data,
        coords={
            "scenario": np.array(list(RUNS)),
            "time": time_,
            "pixel": row,
            "lat": ("pixel", 60.05 + 0.1 * (row // 1000)),
            "lon": ("pixel", -180.0 + 0.1 * (row % 3600)),
            "period_start": ("scenario", pd.to_datetime(list(start)).values),
            "period_end": ("scenario", pd.to_datetime(list(end)).values),
        },
        attrs={"simulated": "yes"},
    )


def one(name: str, pixels: int, threads: int) -> dict[str, float]:
    """Fit on a few places, then project and write so many pixels."""
    import dask
    import torch

    import xpermafrost as xp
    from xpermafrost.testing import canonical

    torch.set_num_threads(1)
    some = canonical(years=20, locations=range(6))
    model = xp.fit(
        some,
        name,
        places="any",
        features=[*VARIABLES, "month_sin", "month_cos"],
        config=xp.TrainingConfig(epochs=2),
        progress=False,
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        dask.config.set(scheduler="threads", num_workers=threads),
        Peak() as peak,
    ):
        xp.project(forcing(BLOCK), model).permafrost.to_zarr(f"{folder}/warm.zarr", progress=False)
        wall, cpu = time.perf_counter(), time.process_time()
        out = xp.project(forcing(pixels), model)
        path = out.permafrost.to_zarr(f"{folder}/out.zarr", progress=False)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        written = xr.open_zarr(path)
        size = {d: n for d, n in written["soil_temperature"].sizes.items() if d != "scenario"}
        stored = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
        last = written["soil_temperature"].isel(pixel=[0, -1]).values
    assert np.isfinite(last).all()
    windows = pixels * size["time"]
    return {
        "pixels": pixels,
        "months": size["time"],
        "wall": wall,
        "cpu": cpu,
        "windows_s": windows / wall,
        "peak": peak.most,
        "stored": stored,
    }


def measured(name: str, pixels: int, threads: int) -> dict[str, float]:
    """``one`` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_scale", "--one", name]
    command += ["--pixels", str(pixels), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def report(name: str, rows: list[dict[str, float]]) -> None:
    """The lines of one network."""
    for row in rows:
        print(
            f"{name:<12} {row['pixels']:>8} pixels x {row['months']} months  {row['wall']:8.1f} s  "
            f"cpu {row['cpu']:8.1f} s  {row['pixels'] / row['wall']:7.1f} pixels/s  "
            f"{row['windows_s']:9.0f} windows/s  peak {row['peak'] / 1e9:.2f} GB  "
            f"stored {row['stored'] / row['pixels'] / 1e3:.1f} kB/pixel"
        )
    first, last = rows[0], rows[-1]
    for key in ("wall", "cpu", "peak"):
        logs = [np.log(row[key]) for row in rows]
        slope = np.polyfit([np.log(row["pixels"]) for row in rows], logs, 1)[0]
        print(f"{name:<12} growth of {key} with pixels: exponent {slope:.2f}")
    rate = (last["wall"] - first["wall"]) / (last["pixels"] - first["pixels"])
    stored = last["stored"] / last["pixels"] * ARCTIC
    fits = "within" if last["peak"] < LIMIT else "ABOVE"
    print(
        f"{name:<12} {ARCTIC} pixels: {rate * ARCTIC / 3600:.2f} h, {stored / 1e9:.1f} GB stored; "
        f"peak {last['peak'] / 1e9:.2f} GB, {fits} {LIMIT / 1e9:.0f} GB"
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=int, default=8192, help=f"{ARCTIC} is the whole Arctic")
    parser.add_argument("--models", nargs="+", default=["gru", "tcn"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--one", metavar="MODEL", help="one run, as JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.pixels, options.threads)))
        return
    print(f"blocks of {BLOCK} pixels, {options.threads} threads, load {os.getloadavg()[0]:.1f}")
    sizes = [max(BLOCK, options.pixels // n) for n in (16, 4, 1)]
    for name in options.models:
        report(name, [measured(name, pixels, options.threads) for pixels in sizes])


if __name__ == "__main__":
    main()
