"""What the ground of the sample world is made of: lithology, carbon, density, water.

The fields that a user sees (``lithology``, ``soc``, ``bulk_density``) are those from which the
thermal properties of the columns are computed, so that they carry information.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..physics import soil
from ..physics.column import DEFAULT_EDGES, NODE
from ..schema import ERA5LAND_EDGES
from .geography import Cells

#: Lithology classes, and of each: quartz share, porosity of its rock, freezing width [K].
LITHOLOGY = {
    "alluvium": (0.40, 0.32, 0.08),
    "loess": (0.45, 0.36, 0.22),
    "glacial_deposits": (0.35, 0.25, 0.12),
    "carbonate": (0.10, 0.08, 0.10),
    "clastic_sedimentary": (0.50, 0.15, 0.12),
    "shale": (0.30, 0.12, 0.35),
    "volcanic": (0.10, 0.15, 0.20),
    "plutonic": (0.30, 0.04, 0.05),
    "metamorphic": (0.40, 0.05, 0.05),
}


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Fields by cell: ``lithology (class, cell)``, layered ones ``(layer, cell)``.

    ``water`` is the volume fraction of water of the column, ``capacity`` [kg m-2] and
    ``start`` [kg m-2] what the layers can hold and hold at first.
    """

    lithology: np.ndarray
    soc: np.ndarray
    bulk_density: np.ndarray
    capacity: np.ndarray
    start: np.ndarray
    properties: dict[str, np.ndarray]


def make(cells: Cells, *, quartz_factor: float = 1.0, peat_factor: float = 1.0) -> Ground:
    """The ground of ``cells``; the factors make another model's idea of it."""
    lithology = _lithology(cells)
    km = cells.elevation / 1000.0
    lowland = np.exp(-((km / 0.45) ** 2))
    wet = 0.35 + 0.65 * lowland
    soc = _carbon(cells, lowland) * peat_factor
    density = soil.bulk_density(soc)
    table = np.array(list(LITHOLOGY.values()))
    quartz, porosity, width = table.T @ lithology
    properties, water = _column(soc, density, wet, quartz * quartz_factor, porosity, width)
    thickness = np.diff(ERA5LAND_EDGES)[:, None] * 1000.0
    pores = 1.0 - sum(soil.volume_fractions(soc, density))
    return Ground(
        lithology=lithology,
        soc=soc,
        bulk_density=density,
        capacity=0.97 * pores * thickness,
        start=water * thickness,
        properties=properties,
    )


def _lithology(cells: Cells) -> np.ndarray:
    """Shares of the classes by place, a softmax of smooth scores: they sum to 1."""
    x, y, km = (cells.lon + 154.0) / 10.0, (cells.lat - 65.0) / 5.0, cells.elevation / 1000.0
    scores = np.stack(
        [
            2.2 - 4.0 * km - 0.3 * np.abs(y),
            1.2 - 3.0 * km + 0.8 * np.sin(2.1 * x) - 0.5 * y,
            0.3 + 1.0 * km - 1.2 * y,
            -0.4 + 0.8 * km + 1.1 * y + 0.6 * np.sin(1.7 * x + 1.0),
            0.5 + 0.6 * km + 1.3 * y,
            0.2 + 0.3 * y - 0.5 * x,
            -0.6 + 0.5 * km - 1.0 * x - 0.8 * y,
            -0.9 + 1.6 * km + 0.5 * np.cos(2.4 * x),
            -0.3 + 1.0 * km + 0.7 * np.cos(1.9 * x - 0.7 * y),
        ]
    )
    weight = np.exp(1.3 * scores)
    return weight / weight.sum(axis=0)


def _carbon(cells: Cells, lowland: np.ndarray) -> np.ndarray:
    """Organic carbon [g kg-1] of the four layers: peaty lowlands, thin soils on mountains."""
    patches = 1.0 + 0.2 * np.sin(cells.lon * 0.9) * np.cos(cells.lat * 1.7)
    cool = np.clip((cells.lat - 59.0) / 12.0, 0.0, 1.0)
    top = (90.0 + 260.0 * lowland) * patches
    second = (25.0 + (110.0 + 50.0 * cool) * lowland) * patches
    third = (6.0 + (18.0 + 40.0 * cool) * lowland) * patches
    fourth = (3.0 + (4.0 + 14.0 * cool) * lowland) * patches
    return np.clip(np.stack([top, second, third, fourth]), 1.0, 480.0)


def _column(
    soc: np.ndarray,
    density: np.ndarray,
    wet: np.ndarray,
    quartz: np.ndarray,
    rock_porosity: np.ndarray,
    width: np.ndarray,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Thermal properties by node, and the water of the four layers (volume fraction)."""
    edges = np.array(DEFAULT_EDGES)
    centres = 0.5 * (edges[1:] + edges[:-1])
    layer = np.minimum(np.searchsorted(ERA5LAND_EDGES, centres) - 1, 3)
    mineral4, organic4 = soil.volume_fractions(soc, density)
    saturation = np.stack([0.35 + 0.2 * wet, 0.4 + 0.4 * wet, 0.45 + 0.45 * wet, 0.5 + 0.45 * wet])
    water4 = saturation * (1.0 - mineral4 - organic4)
    mineral, organic, water = mineral4[layer], organic4[layer], water4[layer]
    # Below the soil layers the pores close towards those of the rock, water-filled.
    deep = np.clip((centres - 2.89) / 5.0, 0.0, 1.0)[:, None]
    pores = (1.0 - mineral - organic) * (1.0 - deep) + rock_porosity * deep
    below = (centres > 2.89)[:, None]
    organic = np.where(below, organic * (1.0 - deep), organic)
    mineral = np.where(below, 1.0 - pores - organic, mineral)
    water = np.where(below, pores * (saturation[3] * (1 - deep) + deep), water)
    dims = (NODE, "cell")
    made = soil.column_properties(
        *(xr.DataArray(part, dims=dims) for part in (mineral, organic, water)),
        quartz=xr.DataArray(quartz, dims="cell"),
        freezing_width=xr.DataArray(width, dims="cell"),
    ).transpose(NODE, "cell")
    return {str(name): da.values for name, da in made.items()}, water4
