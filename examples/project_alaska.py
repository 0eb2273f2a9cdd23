"""
Alaska to 2100: six bands, four layers, four scenarios
======================================================

The whole way on the embedded sample world, which is **simulated**: a physically consistent
Alaska whose future is known. A network learns soil temperature from the forcing of 2001-2018,
is scored on 2019-2023 beside every baseline, and is then driven by the climate model's four
scenarios, adjusted to the reference by quantile delta mapping.

Because the sample's own future is simulated too, the last columns of the scoreboard set the
warming that each model projects beside the warming that is true. A good score on the test
years does not promise a good projection: look at both.
"""

# sphinx_gallery_thumbnail_number = 1
import argparse
import time
from pathlib import Path

import pandas as pd

import xpermafrost as xp

# %%
# Options. ``--models`` takes several networks; the first one is projected.
parser = argparse.ArgumentParser(description="Project Alaskan soil temperature on the sample.")
parser.add_argument("--out", default="out", help="folder for the NetCDF file and the figure")
parser.add_argument("--models", nargs="+", default=["gru"], help="networks to train")
parser.add_argument("--members", type=int, default=2, help="networks of each kind")
parser.add_argument("--epochs", type=int, help="train from scratch, for so many epochs")
parser.add_argument("--overwrite", action="store_true", help="replace an earlier run's files")
options = parser.parse_args()
folder = Path(options.out)
folder.mkdir(parents=True, exist_ok=True)
begin = time.perf_counter()


def say(what: str) -> None:
    print(f"[{time.perf_counter() - begin:5.1f} s] {what}", flush=True)


# %%
# The experiment Dataset: a reference (here a simulated "reanalysis") and an "ESM" with a
# historical run and four RCPs, side by side along ``scenario``.
ds = xp.datasets.alaska_sample()
say(f"sample world: {dict(ds.sizes)}")

# %%
# Train on the first 18 years, project the four scenarios to 2100.
# As they are, networks start from shipped weights that know many climates, and are tuned.
config = xp.TrainingConfig(epochs=options.epochs) if options.epochs else None
fitted = [
    # "column+gru": the calibrated soil column, and a network on what it leaves
    xp.fit_hybrid(ds, name.removeprefix("column+"), members=options.members, config=config)
    if name.startswith("column+")
    else ds.permafrost.fit(name, members=options.members, config=config)
    for name in options.models
]
say(f"trained: {', '.join(model.id for model in fitted)}")

projection = ds.permafrost.project(fitted[0], rcp="all")
say(f"projected: {dict(projection.sizes)}, {projection.attrs['units']}")

# %%
# Scores on the test years, and the projected change beside the simulated truth.
scores = ds.permafrost.evaluate(fitted, changes=["rcp85"])
table = xp.scoreboard(scores)
say("scores on 2019-2023, and the change 2081-2100 minus 2001-2023 under RCP8.5 [K]:")
with pd.option_context("display.width", 250, "display.max_columns", 40):
    print(table.to_string(float_format="{:.2f}".format, na_rep="-"))

# %%
# Twenty-year means, averaged over the bands.
means = xp.period_means(projection).mean("band")
say("20-year means over all bands [degC], layer 0-0.07 m and 1.00-2.89 m:")
for layer in (0, -1):
    frame = means.isel(layer=layer).to_pandas().T.round(2)
    print(f"{float(means.depth[layer]):.2f} m\n{frame.to_string()}")

# %%
# A file that opens in a GIS, and a figure.
target = folder / "alaska_simulated_soil_temperature.nc"
projection.permafrost.to_netcdf(target, overwrite=options.overwrite)
observed = ds["tsl"].sel(time=slice("2001", "2023")) - 273.15
figure = xp.plot.scenario_fans(projection, observed=observed)
figure.savefig(folder / "alaska_simulated_scenarios.png", dpi=120)
say(f"wrote {target} and alaska_simulated_scenarios.png")
