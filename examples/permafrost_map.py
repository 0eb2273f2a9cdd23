"""
From a grid to quantities of frozen ground, regions, and files for a GIS
========================================================================

Diagnostics of the gridded sample world, which is **simulated**: active-layer thickness, ground
temperature and permafrost of every cell, their means over polygons, a GeoTIFF in Alaska Albers
and a GeoPackage with values joined to the outlines.

Four layers cannot give an active-layer thickness without an error bar; the result carries it.
"""

import argparse
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import shapely

import xpermafrost as xp

parser = argparse.ArgumentParser(description="Maps of frozen ground on the sample, as GIS files.")
parser.add_argument("--out", default="out", help="folder for the files and the figure")
parser.add_argument("--overwrite", action="store_true", help="replace an earlier run's files")
options = parser.parse_args()
folder = Path(options.out)
folder.mkdir(parents=True, exist_ok=True)

# %%
# The simulated reanalysis on its grid. Cells of the sea have no soil temperature.
grid = xp.datasets.alaska_sample(grid=True)["reference"].to_dataset()
print(dict(grid.sizes))

# %%
# Yearly quantities. The warning says that four layers and monthly means are coarse.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", xp.errors.PermafrostWarning)
    thickness = grid.permafrost.active_layer_thickness()
ground = grid.permafrost.mean_annual_ground_temperature().isel(layer=-1)
frozen = grid.permafrost.permafrost_presence()

summary = {
    "active layer": thickness.mean("year"),
    "ground temperature": ground.mean("year"),
    "permafrost": frozen.mean("year"),
}
middle = (thickness["uncertainty_upper"] - thickness["uncertainty_lower"]).median()
print(f"active layer: the layers bracket it to within {float(middle):.2f} m (median)")

# %%
# Means over any polygons, by exact overlap. A GeoJSON path or a GeoDataFrame does as well.
basins = xp.as_regions(
    {
        "Arctic slope": shapely.box(-163, 68.5, -141, 71.5),
        "Tanana and Yukon": shapely.Polygon([(-152, 62.5), (-141, 62.5), (-141, 66.5), (-156, 66)]),
        "Southwest": shapely.box(-165, 59, -154, 62),
    }
)
means = grid[["tas", "tsl"]].permafrost.reduce(basins)
annual = means["tsl"].groupby("time.year").mean() - 273.15
print(annual.isel(layer=-1).mean("year").round(1).to_series().to_string())

# %%
# Files that open in a GIS: pixels in Alaska Albers, outlines with their values.
temperature = ground.rename("simulated_ground_temperature").sel(year=[2003, 2023])
paths = temperature.permafrost.to_geotiff(folder, crs="EPSG:3338", overwrite=options.overwrite)
layer = annual.isel(layer=-1, drop=True).rename("ground_temperature")
path = layer.assign_attrs(units="degree_Celsius").permafrost.to_vector(
    folder / "basins_simulated.gpkg", basins, overwrite=options.overwrite
)
print([p.name for p in paths], path.name)

# %%
# The figure.
figure, axes = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
looks = {
    "active layer": {"cmap": "cividis", "cbar_kwargs": {"label": "m"}},
    "ground temperature": {"cmap": "RdBu_r", "center": 0.0, "cbar_kwargs": {"label": "degC"}},
    "permafrost": {
        "cmap": "Blues",
        "vmin": 0,
        "vmax": 1,
        "cbar_kwargs": {"label": "share of years"},
    },
}
for axis, (name, field) in zip(axes, summary.items(), strict=True):
    field.plot(ax=axis, **looks[name])
    for outline in basins.geometries:
        axis.plot(*outline.exterior.xy, color="black", linewidth=1.0)
    axis.set(title=f"{name}, 2001-2023", xlabel="longitude [degrees]", ylabel="latitude [degrees]")
figure.suptitle("Simulated sample world: no number of it holds for the real Alaska")
figure.savefig(folder / "permafrost_simulated_map.png", dpi=110)
