"""Where the land of the sample world is: a rough outline drawn by hand, its relief, its grids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Outline (lon, lat), drawn by hand to about 30 km; east of 141 W it stands for Canada.
OUTLINE = (
    *((-141.0, 69.65), (-143.5, 70.1), (-146.0, 70.2), (-149.0, 70.5), (-152.0, 70.85)),
    *((-154.5, 71.1), (-156.6, 71.34), (-158.5, 70.8), (-160.3, 70.5), (-162.3, 70.1)),
    *((-163.2, 69.4), (-166.0, 68.8), (-166.7, 68.35), (-165.2, 68.05), (-163.7, 67.5)),
    *((-162.5, 66.95), (-161.8, 66.5), (-161.2, 66.2), (-163.7, 66.5), (-166.0, 66.2)),
    *((-168.0, 65.6), (-166.6, 65.1), (-166.2, 64.6), (-163.5, 64.5), (-161.0, 64.5)),
    *((-160.8, 63.8), (-161.6, 63.45), (-163.2, 63.05), (-164.7, 62.9), (-165.6, 62.1)),
    *((-166.0, 61.6), (-165.3, 61.0), (-164.6, 60.4), (-162.6, 60.0), (-162.0, 59.2)),
    *((-161.7, 58.6), (-158.9, 58.4), (-157.1, 58.7), (-156.5, 57.3), (-154.2, 58.6)),
    *((-153.4, 59.4), (-152.4, 60.4), (-151.0, 61.1), (-151.4, 60.4), (-151.8, 59.5)),
    *((-150.3, 59.4), (-148.4, 60.0), (-147.2, 60.9), (-145.5, 60.4), (-144.0, 60.0)),
    *((-141.5, 59.8), (-139.5, 59.5), (-136.0, 58.2), (-128.0, 58.0), (-128.0, 69.8)),
    *((-135.0, 69.4), (-138.5, 69.2)),
)

#: Ranges and uplands: lon, lat, lon, lat of the axis, height [m], half width [degrees of latitude].
RANGES = (
    (-162.5, 68.4, -153.0, 68.0, 850.0, 0.75),
    (-153.0, 68.0, -144.0, 68.6, 1250.0, 0.85),
    (-144.0, 68.6, -138.0, 68.6, 1150.0, 0.8),
    (-155.0, 60.0, -153.5, 61.2, 1000.0, 0.6),
    (-153.5, 61.2, -151.0, 62.8, 1350.0, 0.65),
    (-151.0, 62.8, -146.5, 63.5, 1500.0, 0.55),
    (-146.5, 63.5, -141.0, 62.4, 1300.0, 0.55),
    (-145.0, 61.8, -140.0, 61.0, 1700.0, 0.7),
    (-149.5, 60.3, -146.5, 61.2, 900.0, 0.4),
    (-159.0, 60.3, -155.5, 62.8, 380.0, 0.9),
    (-166.0, 65.1, -163.0, 65.5, 330.0, 0.5),
    (-148.5, 65.5, -141.0, 64.7, 650.0, 0.9),
    (-159.0, 64.5, -154.0, 66.0, 330.0, 0.9),
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A regular grid: centres of rows and columns and the size of a cell [degrees]."""

    lat: np.ndarray
    lon: np.ndarray
    lat_step: float
    lon_step: float


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The land cells of a grid, flattened.

    ``row`` and ``column`` point into the grid; ``continental`` is 0 at sea and 1 far inland;
    ``tundra`` is 0 in forest and 1 beyond the tree line.
    """

    grid: Grid
    land: np.ndarray
    row: np.ndarray
    column: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    elevation: np.ndarray
    continental: np.ndarray
    tundra: np.ndarray


def reference_grid() -> Grid:
    """0.75 by 1.5 degrees, 59 to 71.75 N, 168 to 141 W."""
    return Grid(
        lat=59.375 + 0.75 * np.arange(17),
        lon=-167.25 + 1.5 * np.arange(18),
        lat_step=0.75,
        lon_step=1.5,
    )


def model_grid() -> Grid:
    """Rows of 180/142 and columns of 2.5 degrees, those of IPSL-CM5A-MR, over Alaska."""
    step = 180.0 / 142.0
    rows = np.arange(117, 129)
    return Grid(
        lat=-90.0 + step * rows,
        lon=-167.5 + 2.5 * np.arange(12),
        lat_step=step,
        lon_step=2.5,
    )


def inside(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Whether points lie inside the outline (crossings of a ray, even or odd)."""
    corners = np.array(OUTLINE)
    found = np.zeros(np.broadcast(lon, lat).shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > lat) != (y1 > lat)
        found ^= crosses & (lon < x0 + (lat - y0) / (y1 - y0) * (x1 - x0))
    return found


def land_share(grid: Grid, *, samples: int = 12) -> np.ndarray:
    """Share of land of every cell, by sampling points."""
    offset = (np.arange(samples) + 0.5) / samples - 0.5
    lat = grid.lat[:, None, None, None] + grid.lat_step * offset[:, None]
    lon = grid.lon[None, :, None, None] + grid.lon_step * offset[None, :]
    return inside(lon, lat).mean(axis=(2, 3))


def relief(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Elevation [m]: lowland, a gentle rise inland, and the ranges."""
    height = 40.0 + 140.0 * np.clip((lon + 166.0) / 22.0, 0.0, 1.0) * np.exp(
        -(((lat - 65.0) / 3.0) ** 2)
    )
    for lon0, lat0, lon1, lat1, top, width in RANGES:
        # Degrees of longitude are shortened to degrees of latitude at 65 N.
        dx, dy = (lon1 - lon0) * 0.42, lat1 - lat0
        along = ((lon - lon0) * 0.42 * dx + (lat - lat0) * dy) / (dx * dx + dy * dy)
        along = np.clip(along, 0.0, 1.0)
        distance = np.hypot((lon - lon0) * 0.42 - along * dx, lat - lat0 - along * dy)
        height = np.maximum(height, top * np.exp(-((distance / width) ** 2)) + 0.3 * height)
    return height


def continentality(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """0 at sea to 1 inland: the share of land within some 250 km."""
    y, x = np.meshgrid(np.arange(56.0, 75.0, 0.4), np.arange(-172.0, -130.0, 0.8), indexing="ij")
    land = inside(x, y)
    squared = ((lon[:, None, None] - x) * 0.42) ** 2 + (lat[:, None, None] - y) ** 2
    weight = np.exp(-squared / 2.0**2)
    share = (weight * land).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
    return np.clip((share - 0.35) / 0.6, 0.0, 1.0)


def cells(grid: Grid, *, least: float = 0.15) -> Cells:
    """The land cells of ``grid``: those with at least the share ``least`` of land."""
    share = land_share(grid)
    row, column = np.nonzero(share >= least)
    lat, lon = grid.lat[row], grid.lon[column]
    # The elevation of a cell is a mean over it, so a coarse grid has lower mountains.
    offset = np.array([-0.35, 0.0, 0.35])
    height = relief(
        lon[:, None, None] + offset[:, None] * grid.lon_step,
        lat[:, None, None] + offset[None, :] * grid.lat_step,
    ).mean(axis=(1, 2))
    inland = continentality(lon, lat)
    tundra = 1.0 / (1.0 + np.exp(-(lat - 67.3) / 0.5))
    coast = 1.0 / (1.0 + np.exp((lon + 161.0) / 0.8))
    alpine = 1.0 / (1.0 + np.exp(-(height - 850.0) / 90.0))
    return Cells(
        grid=grid,
        land=share,
        row=row,
        column=column,
        lat=lat,
        lon=lon,
        elevation=height,
        continental=inland,
        tundra=np.clip(np.maximum(np.maximum(tundra, coast), alpine), 0.0, 1.0),
    )
