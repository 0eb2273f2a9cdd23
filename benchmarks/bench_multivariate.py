"""Does multivariate adjustment pay? ``python -m benchmarks.bench_multivariate``.

On the sample world, whose truth is known: dependence of the forcing's anomalies before and after
quantile delta mapping alone (qdm), made consistent (:func:`xpermafrost.make_consistent`), and
reordered by MBCn (:func:`xpermafrost.adjust_multivariate`); then the change of soil temperature
that the calibrated column and a GRU project from each, beside the true one.
"""

from __future__ import annotations

import time

import numpy as np
import xarray as xr

import xpermafrost as xp
from xpermafrost.experiment import reference_of, series_of
from xpermafrost.features import needed_variables
from xpermafrost.forcing import future_start, scenario_forcing
from xpermafrost.projection import reference_mean
from xpermafrost.schema import FREEZING_POINT, name_axis

NAMES = ("rcp26", "rcp85")
#: The middle scenario trains the adjustment, as in ``project``.
TRAINING = "rcp45"
PAIRS = (
    ("ts", "snd", (12, 1, 2)),
    ("tas", "snd", (12, 1, 2)),
    ("tas", "snd", (4, 5, 10)),
    ("tas", "pr", (6, 7, 8)),
    ("pr", "snd", (11, 12, 1)),
)
LATE = slice("2081", "2100")


def anomaly(da: xr.DataArray) -> xr.DataArray:
    """Without the mean of each calendar month."""
    months = da.groupby("time.month")
    return (months - months.mean("time")).drop_vars("month")


def dependence(ds: xr.Dataset, one: str, two: str, months: tuple[int, ...]) -> float:
    """Correlation of anomalies, mean of places."""
    chosen = ds["time"].dt.month.isin(months)
    parts = [anomaly(ds[name]).sel(time=chosen) for name in (one, two)]
    return float(xr.corr(parts[0], parts[1], "time").mean())


def memory(da: xr.DataArray) -> float:
    """Correlation of anomalies with those of the month before, mean of places."""
    rest = anomaly(da).drop_vars("time")
    return float(
        xr.corr(rest.isel(time=slice(1, None)), rest.isel(time=slice(None, -1)), "time").mean()
    )


def joined(past: xr.Dataset, future: xr.Dataset, start: np.datetime64) -> xr.Dataset:
    """The reference's forcing continued by another adjustment of the scenario."""
    new = {}
    for name in future.data_vars:
        old = past[name]
        ahead = future[name].sel(time=slice(start, None)).transpose(*old.dims)
        new[name] = old.copy(deep=True)
        new[name].loc[{"time": ahead["time"]}] = ahead
    return past.assign(new)


def main() -> None:
    """Run and print."""
    ds = xp.datasets.alaska_sample()
    reference = reference_of(ds)
    models = [xp.fit_baseline("column", ds), ds.permafrost.fit("gru", members=3, progress=False)]
    needed = dict.fromkeys(v for m in models for v in needed_variables(m.spec.features))
    needed.update(dict.fromkeys(("pr", "prsn")))
    names = [v for v in needed if "time" in reference[v].dims]
    qdm = scenario_forcing(ds, list(NAMES), variables=list(needed))
    years = slice(str(reference["time"].dt.year.values[0]), None)
    training = series_of(ds, TRAINING)[names]
    runs = xr.concat(
        [series_of(ds, n)[names].sel(time=years).reset_coords(drop=True) for n in NAMES],
        dim=name_axis("scenario", list(NAMES)),
        combine_attrs="override",
    )
    begin = time.perf_counter()
    mbcn = xp.adjust_multivariate(reference, training, runs, variables=names)
    took = time.perf_counter() - begin
    print(f"MBCn of {len(names)} variables, {len(NAMES)} scenarios: {took:.0f} s")

    span = {"time": slice(*[str(reference["time"].values[k])[:7] for k in (0, -1)])}
    before = training.sel(span)
    alone = xp.bias.adjust(xp.bias.train(reference[names], training), training).sel(span)
    rows = {
        "reference": reference,
        "climate model": before,
        "qdm": alone,
        "qdm, consistent": xp.make_consistent(alone),
        "mbcn": xp.adjust_multivariate(reference, training, before, variables=names),
    }
    print("\nCorrelation of monthly anomalies in the training period, mean of bands")
    for one, two, months in PAIRS:
        cells = [f"{label} {dependence(d, one, two, months):+.2f}" for label, d in rows.items()]
        print(f"  {one}-{two} in {months}: {', '.join(cells)}")
    print("Correlation with the month before")
    for name in names:
        print(f"  {name}: {', '.join(f'{k} {memory(d[name]):+.2f}' for k, d in rows.items())}")

    start, base = future_start(ds), reference_mean(ds)
    truth = ds["tsl_truth"].sel(scenario=list(NAMES)) - FREEZING_POINT
    print(
        "\nChange 2081-2100 by layer [K], mean of bands; RMS error of the bands' changes; RMSE of"
    )
    print("months 2024-2100")
    for scenario in NAMES:
        true = (truth.sel(scenario=scenario, time=LATE).mean("time") - base).mean("band")
        print(f"  {scenario}: truth {np.round(true.values, 2)}")
        forcings = {
            "qdm": qdm[scenario],
            "qdm, consistent": xp.make_consistent(qdm[scenario]),
            "mbcn": joined(qdm[scenario], mbcn.sel(scenario=scenario, drop=True), start),
        }
        for model in models:
            for label, forcing in forcings.items():
                out = model.predict(forcing).sel(time=slice(start, None))
                rest = out - truth.sel(scenario=scenario, time=out["time"])
                late = rest.sel(time=LATE).mean("time")
                change = (out.sel(time=LATE).mean("time") - base).mean("band")
                numbers = (
                    change,
                    (late**2).mean("band") ** 0.5,
                    (rest**2).mean(["time", "band"]) ** 0.5,
                )
                text = "; ".join(str(np.round(x.values, 2)) for x in numbers)
                print(f"    {model.name:7} {label:16} {text}")


if __name__ == "__main__":
    main()
