"""
Yakutia: six measured stations, then two scenarios to 2100
==========================================================

The real case. Monthly observations of six stations (1964-2023): a network learns soil
temperature at 20, 80 and 160 cm from air temperature, precipitation and snow depth up to 2013,
and is scored on 2014-2023 beside all baselines. Then IPSL-CM6A-LR (ssp126, ssp585), adjusted to
the stations by quantile delta mapping, drives a second model to 2100; only its air temperature
is at hand, so that model reads air temperature and the season alone, and scores worse. Both
tables are printed.

The data are not part of the package: pass the folder that holds ``stations/yakutia_monthly.nc``
and ``cmip/tas_mon_IPSL-CM6A-LR_*.nc``.
"""

import argparse
import time
from pathlib import Path

import pandas as pd
import xarray as xr

import xpermafrost as xp

parser = argparse.ArgumentParser(description="Score and project soil temperature in Yakutia.")
parser.add_argument("data", help="folder with stations/ and cmip/")
parser.add_argument("--out", default="out", help="folder for the NetCDF file and the figure")
parser.add_argument("--models", nargs="+", default=["gru"], help="networks to score")
parser.add_argument("--members", type=int, default=5, help="networks of each kind")
parser.add_argument("--epochs", type=int, default=25)
parser.add_argument("--overwrite", action="store_true", help="replace an earlier run's files")
options = parser.parse_args()
data, folder = Path(options.data), Path(options.out)
folder.mkdir(parents=True, exist_ok=True)
begin = time.perf_counter()


def say(what: str) -> None:
    print(f"[{time.perf_counter() - begin:5.1f} s] {what}", flush=True)


# %%
# The station file has degC, cm and mm per month; ``standardize`` reads the units and converts.
with xr.open_dataset(data / "stations" / "yakutia_monthly.nc") as raw:
    stations = raw.load().permafrost.standardize()
stations = stations.sel(layer=stations.depth.isin([0.2, 0.8, 1.6]))
say(f"stations: {', '.join(stations.station.values)}")

# %%
# Every choice of the design was made on years before 2014 (train to 1993, 1998 and 2003, validate
# on the ten years that follow). What mattered, in this order: to learn the departure from the
# climatology; to let recent years count more, since sites drift; and memories of one and three
# years of the forcing's anomalies, beyond the window.
train, test = ("1964", "2013"), ("2014", "2023")
config = xp.TrainingConfig(
    epochs=options.epochs,
    learning_rate=7e-3,
    batch_size=256,
    target="residual",
    recency_years=8.0,
)


def with_memories(*names: str) -> list[str]:
    """The variables, their anomalies, memories of 12 and 36 months, and the season."""
    kinds = ("", ":anomaly", ":memory12", ":memory36")
    return [name + kind for kind in kinds for name in names] + ["month_sin", "month_cos"]


features = with_memories("tas", "pr", "snd")
scores = stations.permafrost.evaluate(
    options.models,
    train=train,
    test=test,
    features=features,
    members=options.members,
    config=config,
)
pd.set_option("display.width", 250, "display.max_columns", 40)
say(f"2014-2023, mean of {options.members} members, features {', '.join(features)}:")
print(xp.scoreboard(scores).to_string(float_format="{:.3f}".format))

# %%
# Scenarios: the climate model's air temperature at the stations, and a model that needs no more.
runs = {}
for name in ("historical", "ssp126", "ssp585"):
    path = data / "cmip" / f"tas_mon_IPSL-CM6A-LR_{name}_r1i1p1f1_lat45-90.nc"
    with xr.open_dataset(path) as ds:
        runs[name] = ds.load()
experiment = stations.permafrost.with_scenarios(runs)
air = experiment.permafrost.fit(
    options.models[0],
    train=train,
    features=with_memories("tas"),
    members=options.members,
    config=config,
)
scores = experiment.permafrost.evaluate(air, test=test)
say("the same years, from air temperature and the season alone:")
print(xp.scoreboard(scores).to_string(float_format="{:.3f}".format))

projection = experiment.permafrost.project(air, ssp="all")
means = xp.period_means(projection).mean("station")
say("20-year means over the stations [degC]:")
print(means.to_series().unstack("period").round(2).to_string())
say(f"inputs outside the training range: {projection.attrs['outside_training_range']}")

# %%
# A file and a figure.
target = folder / "yakutia_soil_temperature.nc"
projection.permafrost.to_netcdf(target, overwrite=options.overwrite)
figure = xp.plot.scenario_fans(projection, observed=stations["tsl"] - 273.15)
figure.savefig(folder / "yakutia_scenarios.png", dpi=120)
say(f"wrote {target} and yakutia_scenarios.png")
