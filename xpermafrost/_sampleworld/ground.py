"""What the ground of the sample world is made of, by place: moss, peat, mineral soil, ice, rock.

A column is a :class:`~xpermafrost.physics.SoilProfile` whose numbers are fields over the cells:
moss over peat over mineral soil of the local lithology; in cold lowlands of fine sediment ice in
excess of the pores from the permafrost table down; parent material, and rock. The fields that a
user sees (``lithology``, ``soc``, ``bulk_density``) are what its layers hold of it, so that they
carry information.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ..physics import SoilLayer, SoilProfile, column_edges, soil
from ..physics.column import DEFAULT_EDGES
from ..schema import ERA5LAND_EDGES
from .geography import Cells
from .weather import annual_mean

CELL = "cell"

#: Lithology classes, and of each: quartz share, porosity of the soil on it and of its rock,
#: freezing width [K].
LITHOLOGY = {
    "alluvium": (0.40, 0.45, 0.32, 0.12),
    "loess": (0.45, 0.48, 0.36, 0.26),
    "glacial_deposits": (0.35, 0.40, 0.25, 0.15),
    "carbonate": (0.10, 0.44, 0.08, 0.20),
    "clastic_sedimentary": (0.50, 0.43, 0.15, 0.16),
    "shale": (0.30, 0.47, 0.12, 0.45),
    "volcanic": (0.10, 0.50, 0.15, 0.25),
    "plutonic": (0.30, 0.39, 0.04, 0.08),
    "metamorphic": (0.40, 0.40, 0.05, 0.10),
}

#: Top and lower end of the ice-rich layer [m]: the ice of a permafrost table under peat.
ICE_TOP, ICE_BOTTOM = 0.8, 5.0


@dataclass(frozen=True, kw_only=True)
class Makeup:
    """What a land model takes the ground for; the defaults are the truth.

    ``layers`` and ``edges`` [m] bound layers and nodes; ``quartz``, ``organic`` (on the
    thickness of moss and peat) and ``ice`` (on what is in excess of the pores) are factors.
    """

    layers: tuple[float, ...] = ERA5LAND_EDGES
    edges: tuple[float, ...] = DEFAULT_EDGES
    quartz: float = 1.0
    organic: float = 1.0
    ice: float = 1.0


#: Four layers to 3 m, as those of several CMIP5 models, over 10 m; hardly any peat, no excess ice.
_MODEL_LAYERS = (0.0, 0.1, 0.35, 1.0, 3.0)
TRUE = Makeup()
MODEL = Makeup(
    layers=_MODEL_LAYERS,
    edges=column_edges(10.0, first=0.04, growth=1.35, through=_MODEL_LAYERS),
    quartz=0.7,
    organic=0.35,
    ice=0.0,
)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Fields by cell: ``lithology (class, cell)``, layered ones ``(layer, cell)``.

    ``capacity`` and ``start`` [kg m-2] are what the layers can hold and hold at first, ``moss``
    [m2 K W-1] the resistance of the living layer; ``properties (cell, node)`` is for the column.
    """

    makeup: Makeup
    profile: SoilProfile
    properties: xr.Dataset
    lithology: np.ndarray
    soc: np.ndarray
    bulk_density: np.ndarray
    capacity: np.ndarray
    start: np.ndarray
    moss: np.ndarray


def make(cells: Cells, makeup: Makeup = TRUE) -> Ground:
    """The ground of ``cells`` as ``makeup`` has it."""
    lithology = _lithology(cells)
    profile = _profile(cells, lithology, makeup)
    mineral, organic, water, pores = _volumes(profile, makeup.layers)
    density = mineral * soil.DENSITY_MINERAL + organic * soil.DENSITY_ORGANIC
    carbon = organic * soil.DENSITY_ORGANIC / soil.ORGANIC_MATTER_PER_CARBON
    thickness = np.diff(makeup.layers)[:, None] * soil.WATER_DENSITY
    return Ground(
        makeup=makeup,
        profile=profile,
        properties=profile.properties(makeup.edges),
        lithology=lithology,
        soc=1000.0 * carbon / density,
        bulk_density=density,
        capacity=0.98 * np.maximum(pores, 1.02 * water) * thickness,
        start=water * thickness,
        moss=np.asarray(profile.layers[0].thickness) / 0.1,
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


def lowland(cells: Cells) -> np.ndarray:
    """1 on plains, 0 on mountains."""
    return np.exp(-((cells.elevation / 450.0) ** 2))


def excess_ice(cells: Cells, lithology: np.ndarray) -> np.ndarray:
    """Volume of ice beyond the pores: cold ground of fine sediment, up to a third."""
    cold = 1.0 / (1.0 + np.exp((annual_mean(cells) + 5.0) / 0.9))
    names = list(LITHOLOGY)
    fine = lithology[names.index("loess")] + lithology[names.index("alluvium")]
    fine += 0.6 * lithology[names.index("shale")]
    return 0.33 * cold * np.clip(1.5 * fine, 0.0, 1.0)


def organic_layers(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Thickness [m] of moss and of peat: thick in forest and wet lowland, thin on mountains."""
    patches = 1.0 + 0.3 * np.sin(cells.lon * 0.9) * np.cos(cells.lat * 1.7)
    plain = lowland(cells)
    moss = 0.02 + 0.01 * plain + 0.09 * (1.0 - cells.tundra)
    return moss * patches, (0.02 + (0.04 + 0.16 * cells.continental) * plain) * patches


def _profile(cells: Cells, lithology: np.ndarray, makeup: Makeup) -> SoilProfile:
    quartz, porosity, of_rock, width = np.array(list(LITHOLOGY.values())).T @ lithology
    plain = lowland(cells)
    moss, peat = (makeup.organic * part for part in organic_layers(cells))
    ice = makeup.ice * excess_ice(cells, lithology)
    of_cell = {
        "porosity": porosity,
        "ice_porosity": porosity + ice * (1.0 - porosity),
        "parent_porosity": 0.5 * (porosity + of_rock),
        "quartz": quartz * makeup.quartz,
        "width": width,
        "moss_wet": 0.12 + cells.tundra * (0.13 + 0.25 * plain),
        "peat_wet": 0.5 + 0.35 * plain,
        "mineral_wet": 0.65 + 0.3 * plain,
        "humus": 0.02 + 0.05 * plain,
        "moss": moss,
        "peat": peat,
        "mineral": ICE_TOP - moss - peat,
        "parent": 1.0 + 15.0 * plain,
        "rock_porosity": of_rock,
    }
    f = {name: xr.DataArray(values, dims=CELL) for name, values in of_cell.items()}
    mineral = SoilLayer(texture="silt", quartz=f["quartz"], freezing_width=f["width"])
    ice_width = f["width"] * f["porosity"] / f["ice_porosity"]  # the excess freezes at 0 degC
    return SoilProfile(
        name="sample world",
        layers=(
            SoilLayer(texture="moss", thickness=f["moss"], saturation=f["moss_wet"]),
            SoilLayer(texture="peat", thickness=f["peat"], saturation=f["peat_wet"]),
            replace(
                mineral,
                thickness=f["mineral"],
                porosity=f["porosity"],
                saturation=f["mineral_wet"],
                organic=f["humus"],
            ),
            replace(
                mineral,
                freezing_width=ice_width,
                thickness=ICE_BOTTOM - ICE_TOP,
                porosity=f["ice_porosity"],
                saturation=0.97,
                organic=0.4 * f["humus"],
            ),
            replace(
                mineral,
                thickness=f["parent"],
                porosity=f["parent_porosity"],
                saturation=1.0,
            ),
            SoilLayer(
                texture="rock",
                porosity=f["rock_porosity"],
                quartz=f["quartz"],
                saturation=1.0,
            ),
        ),
    )


def _volumes(profile: SoilProfile, layers: tuple[float, ...]) -> list[np.ndarray]:
    """Volume fractions (layer, cell) of mineral, organic, water and pores."""
    total = [xr.DataArray(0.0)] * 4
    for share, layer in zip(profile._shares(np.asarray(layers)), profile.layers, strict=True):
        parts = (*layer.mineral_and_organic, layer.water, layer.porosity)
        total = [old + share * part for old, part in zip(total, parts, strict=True)]
    return [part.transpose(..., CELL).values for part in total]
