"""Permafrost diagnostics of soil, surface and air temperature.

Functions on labelled arrays, lazy on dask; members, scenarios and places are carried through.
Each result says in its attributes how it was made, and keeps "thawed below the profile", "no
thaw" and "no data" apart by a coordinate ``status`` where they can be confused.
"""

from __future__ import annotations

from .active_layer import active_layer_thickness
from .curtain import zero_curtain, zero_curtain_days, zero_curtain_error
from .degree_days import degree_days, design_index, n_factors
from .extent import permafrost_probability, permafrost_zones, thawed_volume
from .ground import (
    mean_annual_air_temperature,
    mean_annual_ground_temperature,
    mean_annual_surface_temperature,
    surface_offset,
    thermal_offset,
    ttop,
)
from .permafrost import permafrost_free_year, permafrost_presence, talik_onset
from .season import freeze_up_date, season_length, thaw_date

__all__ = [
    "active_layer_thickness",
    "degree_days",
    "design_index",
    "freeze_up_date",
    "mean_annual_air_temperature",
    "mean_annual_ground_temperature",
    "mean_annual_surface_temperature",
    "n_factors",
    "permafrost_free_year",
    "permafrost_presence",
    "permafrost_probability",
    "permafrost_zones",
    "season_length",
    "surface_offset",
    "talik_onset",
    "thaw_date",
    "thawed_volume",
    "thermal_offset",
    "ttop",
    "zero_curtain",
    "zero_curtain_days",
    "zero_curtain_error",
]
