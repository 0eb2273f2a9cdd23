"""Many models and real scenarios: ``python -m benchmarks.bench_scenarios DATA_FOLDER``.

1. 47 communities of the Northwest Territories, five CMIP5 models and three RCPs beside CRU: one
   call adjusts them all; the spread by source in 20-year windows, before and after.
2. Six stations in Yakutia, IPSL-CM6A-LR ssp126 and ssp585, a GRU of five members on air
   temperature and month: change of the soil, spread of the members, and the power at 24 months.
3. What a reference costs in memory by the number of models.

``DATA_FOLDER`` holds ``cmip/`` and ``stations/``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import xarray as xr

import xpermafrost as xp
from xpermafrost.ensembles import SOURCES
from xpermafrost.spectra import seasonal_power

SSPS = ("historical", "ssp126", "ssp585")
WINDOWS = ((2021, 2040), (2041, 2060), (2080, 2099))
FEATURES = ["tas", "month_sin", "month_cos"]


def communities(data: Path) -> xr.Dataset:
    """The experiment of 47 communities: CRU 1950-2013, models 2010-2099."""
    with xr.open_dataset(data / "cmip" / "nwt_communities_cmip5.nc") as file:
        raw = file.load()

    def part(names: dict[str, str], ds: xr.Dataset) -> xr.Dataset:
        ds = ds[list(names)].rename(names).reset_coords(drop=True)
        ds = ds.rename({str(d): "time" for d in ds["tas"].dims if str(d).startswith("time")})
        return xp.standardize(ds.rename(location="station"))

    reference = part({"tas_cru32": "tas", "pr_cru32": "pr"}, raw)
    models = {
        str(model): {
            str(rcp): part({"tas_gcm": "tas", "pr_gcm": "pr"}, raw.sel(model=model, rcp=rcp))
            for rcp in raw["rcp"].values
        }
        for model in raw["model"].values
    }
    return xp.with_scenarios(reference, models)


def yakutia(data: Path) -> xr.Dataset:
    """The experiment of six stations: 1964-2023, IPSL-CM6A-LR to 2100."""
    with xr.open_dataset(data / "stations" / "yakutia_monthly.nc") as raw:
        stations = raw.load().permafrost.standardize()
    stations = stations.sel(layer=stations.depth.isin([0.2, 0.8, 1.6]))
    runs = {}
    for name in SSPS:
        path = data / "cmip" / f"tas_mon_IPSL-CM6A-LR_{name}_r1i1p1f1_lat45-90.nc"
        with xr.open_dataset(path) as file:
            runs[name] = file.load()
    return xp.with_scenarios(stations, runs)


def spread(da: xr.DataArray) -> xr.Dataset:
    """Share of each source in the variance, mean over places, in 20-year windows."""
    split = xp.split_spread(da)
    parts = []
    for first, last in WINDOWS:
        part = split.sel(year=slice(first, last))
        part = part.mean(list(split["mean"].dims))
        parts.append(part.assign(share=part["variance"] / part["variance"].sum("source")))
    labels = [f"{first}-{last}" for first, last in WINDOWS]
    return xr.concat(parts, dim=xr.Variable("period", labels))


def show_communities(data: Path) -> None:
    """Adjust all runs in one call and print where the spread comes from."""
    began = time.perf_counter()
    whole = communities(data)
    joined = time.perf_counter()
    print(f"communities: {dict(whole['tas'].sizes)}")
    adjusted = whole.permafrost.adjust_scenarios()
    done = time.perf_counter()
    print(f"join {joined - began:.1f} s, adjust tas and pr of 15 runs {done - joined:.1f} s")
    raw = whole.permafrost.adjust_scenarios(["tas"], method="none")
    common = {"time": slice("2010", "2013")}
    base = whole["tas"].sel(scenario="reference", **common).isel(esm=0).mean("time")
    for label, ds in (("as given", raw), ("adjusted", adjusted)):
        table = spread(ds["tas"])
        bias = abs(ds["tas"].sel(scenario="rcp45", **common).mean("time") - base)
        print(f"tas {label}: bias of RCP4.5 in 2010-2013 {float(bias.mean()):.2f} K")
        for period in table["period"].values:
            row = table.sel(period=period)
            shares = ", ".join(f"{n} {float(row['share'].sel(source=n)):.0%}" for n in SOURCES)
            mean = float(row["mean"]) - 273.15
            deviation = float(np.sqrt(row["variance"].sum("source")))
            print(f"  {period}: {mean:6.2f} degC, s.d. {deviation:.2f} K: {shares}")


def change(da: xr.DataArray) -> xr.DataArray:
    """2081-2100 minus 2024-2043, mean over stations."""
    means = xp.period_means(da, periods=[("2024", "2043"), ("2081", "2100")])
    return means.isel(period=1, drop=True) - means.isel(period=0, drop=True)


def show_yakutia(data: Path, members: int) -> None:
    """Project two scenarios and print the soil's change beside the air's."""
    ds = yakutia(data)
    began = time.perf_counter()
    net = ds.permafrost.fit("gru", features=FEATURES, members=members, train="all")
    fitted = time.perf_counter()
    each = ds.permafrost.project(net, ssp="all", members="all")
    took = time.perf_counter() - fitted
    print(f"Yakutia: fit {fitted - began:.0f} s, project {took:.1f} s, {dict(each.sizes)}")
    air = change(ds.permafrost.adjust_scenarios(["tas"])["tas"]).mean("station")
    soil = change(each).mean("station")
    for name in each["scenario"].values:
        one = soil.sel(scenario=name)
        layers = [
            f"{d:g} m {float(one.sel(layer=k).mean()):.2f} +- {float(one.sel(layer=k).std()):.2f}"
            for k, d in zip(each["layer"].values, each["depth"].values, strict=True)
        ]
        print(f"  {name}: air {float(air.sel(scenario=name)):.2f} K; soil {', '.join(layers)} K")
    power = seasonal_power(each.mean("member"))
    period = power["dominant_period"]  # none where a station's first windows are missing
    low, high = float(period.min()), float(period.max())
    print(
        f"  dominant period {low:.2f} to {high:.2f} months, largest power(24)/power(12) "
        f"{float(power['two_year_ratio'].max()):.4f}; outside the training range: "
        f"{each.attrs['outside_training_range']}"
    )


def show_memory() -> None:
    reference = xp.testing.canonical(years=23, locations=range(400), dim="station")
    runs = {
        "rcp85": xp.testing.canonical(start="2006", years=95, locations=range(400), dim="station")
    }
    alone = xp.combine(reference, **runs).nbytes
    for count in (1, 4):
        many = xp.combine(reference, **{f"model{k}": runs for k in range(count)})
        print(f"memory: {count} model(s) {many.nbytes / alone:.2f} x one without a name")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--members", type=int, default=5)
    options = parser.parse_args()
    show_communities(options.data)
    show_memory()
    show_yakutia(options.data, options.members)


if __name__ == "__main__":
    main()
