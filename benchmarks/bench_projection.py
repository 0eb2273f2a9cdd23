"""What a projection on the sample must show: ``python -m benchmarks.bench_projection``.

Prints, for a GRU (or ``--model``) projected under four RCPs: the dominant period in every band,
layer and scenario; the order of the scenarios in 2081-2100; the change beside the simulated
truth; and how much of the scenarios' difference the adjustment preserves.
"""

from __future__ import annotations

import argparse

import numpy as np
import xarray as xr

import xpermafrost as xp
from xpermafrost import bias
from xpermafrost.experiment import reference_of, series_of
from xpermafrost.projection import reference_mean

NAMES = ("rcp26", "rcp45", "rcp60", "rcp85")


def dominant_period(series: np.ndarray) -> tuple[float, float]:
    """Period of the largest power of a detrended series [months], and power(24) / power(12)."""
    n = series.size - series.size % 24
    part = series[-n:] - np.polyval(np.polyfit(np.arange(n), series[-n:], 1), np.arange(n))
    power = np.abs(np.fft.rfft(part)) ** 2
    best = 1 + int(np.argmax(power[1:]))
    return n / best, float(power[n // 24] / power[n // 12])


def spectra(projection: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Dominant periods and power ratios of every band, layer and scenario."""
    flat = projection.stack(series=("scenario", "band", "layer")).transpose("series", "time").values
    periods, ratios = zip(*(dominant_period(one) for one in flat), strict=True)
    return np.array(periods), np.array(ratios)


def divergence(ds: xr.Dataset, method: str, window_years: int = 30) -> xr.Dataset:
    """Share of the difference between RCP8.5 and RCP2.6 that the adjustment keeps."""
    variables = ["tas", "rlds"]
    raw = {name: series_of(ds, name)[variables] for name in ("rcp26", "rcp85")}
    trained = bias.train(
        reference_of(ds)[variables], series_of(ds, "rcp45")[variables], method=method
    )
    done = {n: bias.adjust(trained, sim, window_years=window_years) for n, sim in raw.items()}
    join = [xr.concat(list(d.values()), dim=xr.Variable("scenario", list(d))) for d in (raw, done)]
    return bias.divergence_preserved(*join)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="gru")
    parser.add_argument("--members", type=int, default=2)
    options = parser.parse_args()
    ds = xp.datasets.alaska_sample()
    fitted = ds.permafrost.fit(options.model, members=options.members)
    projection = ds.permafrost.project(fitted, rcp="all")
    print(dict(projection.sizes), projection.attrs["units"], str(projection.time.values[[0, -1]]))
    periods, ratios = spectra(projection)
    print(
        f"{options.model}: dominant period {periods.min():.2f} to {periods.max():.2f} months, "
        f"largest power(24)/power(12) {ratios.max():.4f}"
    )
    late = projection.sel(time=slice("2081", "2100")).mean("time")
    base = reference_mean(ds)
    truth = ds["tsl_truth"].sel(scenario=list(NAMES), time=slice("2081", "2100")).mean("time")
    three = ["rcp26", "rcp45", "rcp85"]
    for label, da in (("projected", late), ("truth", truth)):
        rising = (da.sel(scenario=three).diff("scenario") > 0).all("scenario")
        mean = (da.sel(scenario=three).mean("band").diff("scenario") > 0).all("scenario")
        print(
            f"{label}: RCP2.6 < 4.5 < 8.5 in 2081-2100 in {int(rising.sum())} of 24, "
            f"{int(mean.sum())} of 4 layers of the mean over bands"
        )
    print("change [K], mean of bands, by layer; truth beside it")
    for name in NAMES:
        ours = (late - base).sel(scenario=name).mean("band").values
        true = (truth - 273.15 - base).sel(scenario=name).mean("band").values
        print(f"  {name}  {np.round(ours, 2)}  {np.round(true, 2)}")
    for method, window in (("qdm", 30), ("qdm", 20), ("eqm", 30)):
        kept = divergence(ds, method, window)
        for name, da in kept.data_vars.items():
            print(f"  {method}-{window} {name}: {np.round(da.values.astype(float), 3).tolist()}")


if __name__ == "__main__":
    main()
