"""
Every figure, on the sample
===========================

All figures of ``xp.plot``, each from the call that it is made for. The sample world is
**simulated**, and what is drawn from it says so. Functions of one panel take ``ax=`` and return
it; those of many panels return the figure.
"""

# sphinx_gallery_thumbnail_number = 1
import argparse
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt

import xpermafrost as xp

parser = argparse.ArgumentParser(description="Draw every figure on the sample world.")
parser.add_argument("--out", default="out", help="folder for the figures")
parser.add_argument("--members", type=int, default=2, help="networks")
parser.add_argument("--windows", type=int, default=12, help="windows to explain in each band")
parser.add_argument("--overwrite", action="store_true", help="replace an earlier run's figures")
options = parser.parse_args()
folder = Path(options.out)
folder.mkdir(parents=True, exist_ok=True)
begin = time.perf_counter()


def keep(drawn, name):
    """Write a figure, or the one that axes are part of."""
    path = folder / f"simulated_{name}.png"
    if path.exists() and not options.overwrite:
        raise SystemExit(f"{path} is there and is not overwritten silently; type --overwrite.")
    figure = drawn if hasattr(drawn, "savefig") else drawn.figure
    figure.savefig(path, dpi=100)
    print(f"[{time.perf_counter() - begin:5.1f} s] {path.name}", flush=True)


# %%
# A network for six bands, and what it answers. ``mark`` goes with what is computed from the
# sample, so that its figures say that it is simulated.
ds = xp.datasets.alaska_sample()
mark = {"simulated": ds.attrs["simulated"]}
gru = ds.permafrost.fit("gru", members=options.members)
projection = ds.permafrost.project(gru, rcp=["2.6", "8.5"], members="all")
reference = ds.sel(scenario="reference", time=slice("2001", "2023"))
observed = reference["tsl"]

# %%
# Projections: annual means thin, 20-year means thick. Of several climate models, runs or networks
# the shade is the range of their 20-year means; of one it is the spread of the years.
keep(projection.permafrost.plot.scenario_fans(observed=observed - 273.15), "scenario_fans")

# %%
# Training, and how good the network is on years that it has not seen, beside baselines.
keep(xp.plot.training_history(gru.history.assign_attrs(mark)), "training_history")
predicted = gru.predict(reference).sel(time=slice("2019", "2023"))
keep(predicted.permafrost.plot.observed_predicted(reference), "observed_predicted")

BASELINES = ["climatology", "damped_persistence", "ridge"]
scores = ds.permafrost.evaluate([gru], baselines=BASELINES, bootstrap=0)
keep(scores.permafrost.plot.skill(metric="anomaly_skill"), "skill")

# %%
# What the adjustment does to the climate model: quantiles over the training years, and the change
# that it projects before and after.
report = ds.permafrost.adjustment_report(variables=["tas", "pr"])
report.attrs.update(mark)
keep(xp.plot.adjustment(report, "tas"), "adjustment")
keep(xp.plot.change_signals(report, "tas"), "change_signals")

# %%
# Why the network says what it says: which feature, which month before, in which direction.
why = gru.explain(ds, windows=options.windows)
keep(xp.importance(why).permafrost.plot.attribution_bar(), "attribution_bar")
keep(why.sel(layer=2).permafrost.plot.attribution_beeswarm(), "attribution_beeswarm")
lags = xp.importance(why, ["layer", "lag"], interval=None)
keep(lags.permafrost.plot.attribution_lags(), "attribution_lags")

# %%
# Why RCP8.5 ends warmer than RCP2.6. Beside each feature stands how much of it is beyond what the
# network has seen.
change = xp.explain_scenarios(gru, ds, scenario="rcp85", against="rcp26", period=("2099", "2100"))
keep(change.permafrost.plot.attribution_difference(), "attribution_difference")

# %%
# Frozen ground: the section of depth and time, the trumpet curve, the active layer.
# Two panels on one figure, by ``ax=``.
north = projection.isel(band=-2).sel(scenario="rcp85")
keep(north.sel(time=slice("2031", "2050")).permafrost.plot.depth_time(), "depth_time")

figure, axes = plt.subplots(1, 2, figsize=(8.5, 5.0), layout="constrained", sharex=True)
for ax, years in zip(axes, [("2024", "2043"), ("2081", "2100")], strict=True):
    north.sel(time=slice(*years)).permafrost.plot.trumpet(ax=ax)
keep(figure, "trumpet")

with warnings.catch_warnings():
    warnings.simplefilter("ignore", xp.errors.PermafrostWarning)  # four layers, months
    thickness = observed.isel(band=slice(-2, None)).permafrost.active_layer_thickness()
keep(thickness.assign_attrs(mark).permafrost.plot.active_layer_trend(), "active_layer_trend")

# %%
# Maps, of regions and of a grid.
bands = xp.alaska_bands()
ground = observed.permafrost.mean_annual_ground_temperature().isel(layer=-1).mean("year")
ground = ground.assign_attrs(mark, units="degC", long_name="ground temperature, 1-2.89 m")
keep(ground.permafrost.plot.region_map(bands), "region_map")

grid = xp.datasets.alaska_sample(grid=True)["reference"].to_dataset()
snow = grid["snd"].where(grid["time.month"] == 3).mean("time")
snow = snow.assign_attrs(mark, units="m", long_name="snow depth in March, 2001-2023")
keep(snow.permafrost.plot.region_map(bands), "grid_map")
