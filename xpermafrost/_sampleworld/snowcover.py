"""Classes of snow by place (Sturm et al., 1995), and what follows: density, wind, unevenness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..physics.snow import SNOW_CLASSES
from .geography import Cells
from .weather import annual_mean

#: Classes of the sample world.
CLASSES = ("tundra", "taiga", "maritime", "alpine")

#: Coefficient of variation of snow depth within a cell in the open and in forest (Liston, 2004).
_UNEVEN_OPEN, _UNEVEN_FOREST = 0.8, 0.5


@dataclass(frozen=True, kw_only=True)
class SnowCover:
    """Numbers by cell.

    ``density`` holds the four numbers of :data:`~xpermafrost.physics.snow.SNOW_CLASSES`, mixed by
    the share of each class; ``fresh`` [kg m-3] is the density of new snow, packed by wind in the
    open; ``kept`` the share of snowfall that canopy and wind leave; ``conductance`` the factor on
    the conductance of the mean depth of uneven snow.
    """

    density: np.ndarray
    fresh: np.ndarray
    kept: np.ndarray
    conductance: np.ndarray


def high(cells: Cells) -> np.ndarray:
    """1 on mountains, 0 below."""
    return 1.0 / (1.0 + np.exp(-(cells.elevation - 850.0) / 90.0))


def shares(cells: Cells) -> np.ndarray:
    """Share of each of the :data:`CLASSES` ``(class, cell)``; they sum to 1."""
    mild = 1.0 / (1.0 + np.exp(-(annual_mean(cells) - 0.5) / 0.7))
    maritime = mild * (1.0 - 0.7 * cells.continental)
    alpine = (1.0 - maritime) * high(cells)
    tundra = (1.0 - maritime - alpine) * cells.tundra
    return np.stack([tundra, 1.0 - maritime - alpine - tundra, maritime, alpine])


def make(cells: Cells, *, heavier: float = 1.0, uniform: bool = False) -> SnowCover:
    """The snow of ``cells``; another model's has other densities, or one class everywhere."""
    share, open_land = shares(cells), cells.tundra
    if uniform:
        share = np.repeat(share.mean(axis=1, keepdims=True), cells.lat.size, axis=1)
        open_land = np.full(cells.lat.size, open_land.mean())
    density = np.array([SNOW_CLASSES[name] for name in CLASSES]).T @ share
    density[:2] *= heavier
    uneven = _UNEVEN_FOREST + (_UNEVEN_OPEN - _UNEVEN_FOREST) * open_land
    return SnowCover(
        density=density,
        fresh=1000.0 * density[1] * (0.6 + 0.4 * open_land),
        kept=0.68 + 0.12 * open_land - 0.32 * high(cells),
        conductance=1.0 + uneven**2,  # mean of 1 / depth over 1 / mean depth, lognormal
    )
