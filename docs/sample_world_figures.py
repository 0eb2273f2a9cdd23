"""Draws the figures of the page on the sample world: ``python docs/sample_world_figures.py``.

All of it is simulated, and every figure says so.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import xarray as xr

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from xpermafrost import diagnostics
from xpermafrost._sampleworld import build, geography, ground, surface, weather
from xpermafrost.datasets import alaska_sample
from xpermafrost.plot import SCENARIO_COLOURS, scenario_label
from xpermafrost.schema import FREEZING_POINT

IMAGES = Path(__file__).parent / "images"
RCPS = ["rcp26", "rcp45", "rcp60", "rcp85"]
LAYERS = ("0-0.07 m", "0.07-0.28 m", "0.28-1 m", "1-2.89 m")
#: Latitude, longitude and name of three places.
PLACES = (
    (69.875, -150.75, "coastal plain"),
    (66.125, -149.25, "forest"),
    (60.875, -162.75, "south"),
)


def save(figure: plt.Figure, name: str) -> None:
    """Write one figure, with a line that says what it is."""
    figure.text(
        0.995, 0.995, "simulated: no observation went into it", ha="right", va="top", size=8
    )
    figure.savefig(IMAGES / f"simulated_alaska_{name}.png", dpi=70)
    plt.close(figure)


def frozen_share(tsl: xr.DataArray) -> xr.DataArray:
    """Share of years in which the deepest layer stays frozen [%]."""
    warmest = tsl.isel(layer=3).groupby("time.year").max(skipna=False)
    return 100.0 * (warmest <= FREEZING_POINT).mean("year").where(warmest.notnull().all("year"))


def active_layer(depth: xr.DataArray, frozen: xr.DataArray) -> xr.DataArray:
    """Median over the years of the greatest thaw depth [m], where the ground stays frozen below."""
    yearly = depth.groupby("time.year").max(skipna=False)
    return yearly.median("year", skipna=True).where(frozen > 50)


def maps(tree: xr.DataTree) -> None:
    """Climate, snow, ground and permafrost by place."""
    now = tree["reference"].to_dataset()
    late = tree["truth"].to_dataset().sel(scenario="rcp85", time=slice("2081", "2100"))
    cells = geography.cells(geography.reference_grid())
    month = now.groupby("time.month").mean()
    frozen, later = frozen_share(now["tsl"]), frozen_share(late["tsl_truth"])

    def field(values: np.ndarray) -> xr.DataArray:
        out = xr.full_like(now["elevation"], np.nan)
        out.values[cells.row, cells.column] = values
        return out

    panels = (
        ("elevation [m]", now["elevation"], "gist_earth", 0, 1500),
        ("mean annual air temperature [degC]", now["tas"].mean("time") - 273.15, "RdBu_r", -13, 13),
        ("deepest snow of the year [m]", month["snd"].max("month", skipna=False), "Blues", 0, 1),
        ("density of the snow, March [kg m-3]", (month["snw"] / month["snd"]).sel(month=3),
         "viridis", 180, 320),
        ("moss and peat [m]", field(np.add(*ground.organic_layers(cells))), "YlGn", 0, 0.4),
        ("excess ice, 0.8-5 m [m3 m-3]",
         field(ground.excess_ice(cells, ground.make(cells).lithology)), "PuBu", 0, 0.33),
        ("mean temperature, 1-2.89 m [degC]",
         now["tsl"].isel(layer=3).mean("time", skipna=False) - 273.15, "RdBu_r", -10, 10),
        ("years frozen at 1-2.89 m [%]", frozen, "cividis_r", 0, 100),
        ("active layer [m]", active_layer(now["thaw_depth"], frozen), "magma_r", 0.2, 1.2),
        ("warming of the air, RCP8.5 [K]",
         late["tas_truth"].mean("time", skipna=False) - now["tas"].mean("time"), "Reds", 0, 9),
        ("the same at 1-2.89 m [K]",
         late["tsl_truth"].isel(layer=3).mean("time", skipna=False)
         - now["tsl"].isel(layer=3).mean("time"), "Reds", 0, 9),
        ("years frozen then [%]", later, "cividis_r", 0, 100),
    )  # fmt: skip
    figure, axes = plt.subplots(4, 3, figsize=(13, 13), layout="constrained")
    for ax, (title, values, colours, low, high) in zip(axes.flat, panels, strict=True):
        drawn = ax.pcolormesh(now["lon"], now["lat"], values, cmap=colours, vmin=low, vmax=high)
        ax.set(title=title, aspect=2.3)
        ax.title.set_size(10)
        figure.colorbar(drawn, ax=ax, shrink=0.8)
    figure.suptitle("Simulated Alaska: 2001-2023, and RCP8.5 in 2081-2100")
    save(figure, "places")


def daily_soil() -> tuple[xr.DataArray, list[int]]:
    """Daily soil temperature [degC] of 2015-2016 at all cells; the cells of the places."""
    place = build._place(geography.reference_grid(), ground.TRUE, weather.TRUE)
    day = weather.days(2001, 2016)
    luck = weather.chance(day, build.SEEDS["reference"])
    start = surface.start(place.cells, place.ground)
    sky = build._sky(place, day, "", luck, start)
    run = build._soil(place, day, sky, None, average="step")
    cells = [
        int(np.hypot(place.cells.lat - lat, 0.42 * (place.cells.lon - lon)).argmin())
        for lat, lon, _ in PLACES
    ]
    return (run["tsl"] - FREEZING_POINT).sel(time=slice("2015", None)), cells


def seasons(bands: xr.Dataset) -> None:
    """Days at three places; what the climate model makes of the same weather."""
    soil, cells = daily_soil()
    figure, axes = plt.subplots(2, 3, figsize=(13, 8), layout="constrained")
    for ax, cell, (lat, lon, name) in zip(axes[0], cells, PLACES, strict=True):
        here = soil.isel(cell=cell)
        for k, label in enumerate(LAYERS):
            ax.plot(here["time"], here.isel(layer=k), color=plt.cm.plasma(k / 4), label=label, lw=1)
        held = diagnostics.zero_curtain_days(
            here.isel(layer=1).assign_attrs(units="degC"), tolerance=0.2
        )
        ax.fill_between(here["time"], -30, 20, where=held == 1, color="0.85", lw=0)
        ax.axhline(0, color="k", lw=0.6)
        ax.set(title=f"{name}, {lat:.1f} N {-lon:.1f} W", ylim=(-25, 18))
        ax.tick_params(axis="x", rotation=30)
    axes[0, 0].set_ylabel("soil temperature [degC]")
    axes[0, 0].legend(fontsize=8, title="grey: zero curtain, 0.07-0.28 m", title_fontsize=8)

    both = bands.sel(time=slice("2024", "2053"), scenario="rcp45").groupby("time.month").mean()
    for ax, (own, true, label, shift) in zip(
        axes[1],
        (
            ("tas", "tas_truth", "air [degC]", FREEZING_POINT),
            ("snd", "snd_truth", "snow depth [m]", 0.0),
            ("tsl_esm", "tsl_truth", "soil, 0.07-0.28 m [degC]", FREEZING_POINT),
        ),
        strict=True,
    ):
        for number, colour in ((0, "C1"), (3, "C2"), (5, "C0")):
            for name, style in ((true, "-"), (own, "--")):
                line = both[name].isel(band=number) - shift
                line = line.isel(layer=1) if "layer" in line.dims else line
                what = "climate model" if style == "--" else "truth"
                ax.plot(
                    line["month"], line, style, color=colour,
                    label=f"{bands.band.values[number]!s}, {what}",
                )  # fmt: skip
        ax.set(title=label, xlabel="month", xticks=range(1, 13))
    axes[1, 1].legend(fontsize=8)
    figure.suptitle("Simulated Alaska: days of 2015-2016, and the climate model beside the truth")
    save(figure, "seasons")


def future(bands: xr.Dataset) -> None:
    """Air and soil of every scenario as they are known to be."""
    figure, axes = plt.subplots(3, 3, figsize=(13, 10), layout="constrained", sharex=True)
    past = bands.sel(scenario="reference", time=slice("2001", "2023"))
    for row, number in zip(axes, (5, 3, 0), strict=True):
        for ax, (name, layer) in zip(row, (("tas", None), ("tsl", 0), ("tsl", 3)), strict=True):
            known, true = past[name].isel(band=number), bands[f"{name}_truth"].isel(band=number)
            if layer is not None:
                known, true = known.isel(layer=layer), true.isel(layer=layer)
            yearly = known.groupby("time.year").mean() - FREEZING_POINT
            ax.plot(yearly["year"], yearly, "k", lw=1)
            for name_ in RCPS:
                line = (
                    true.sel(scenario=name_, time=slice("2024", None)).groupby("time.year").mean()
                )
                line = line - FREEZING_POINT
                colour = SCENARIO_COLOURS[name_]
                ax.plot(line["year"], line, color=colour, lw=0.5, alpha=0.6)
                smooth = line.rolling(year=20, center=True).mean()
                ax.plot(smooth["year"], smooth, color=colour, lw=2, label=scenario_label(name_))
            what = "air" if layer is None else f"soil, {LAYERS[layer]}"
            ax.set_title(f"{bands.band.values[number]}: {what} [degC]", size=10)
            ax.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    figure.suptitle(
        "Simulated Alaska: annual means and their 20-year means, as they are known to be"
    )
    save(figure, "future")


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    sample = alaska_sample()
    maps(alaska_sample(grid=True))
    seasons(sample)
    future(sample)
