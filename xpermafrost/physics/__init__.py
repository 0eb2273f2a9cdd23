"""Physics of frozen ground: the soil column, soil and snow properties, closed solutions.

The names below are imported on first use; what a step of them needs is in the modules ``column``,
``soil``, ``snow``, ``profile``, ``forcing``, ``simulation``, ``calibration`` and ``analytic``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calibration import PARAMETERS, Calibration, Parameter, calibrate, with_parameters
    from .forcing import Surface, fill_gaps, insolation
    from .profile import PROFILES, TEXTURES, SoilLayer, SoilProfile
    from .simulation import SpinUp, column_edges, simulate_soil

_HOMES = {
    "Calibration": "calibration",
    "PARAMETERS": "calibration",
    "PROFILES": "profile",
    "Parameter": "calibration",
    "SoilLayer": "profile",
    "SoilProfile": "profile",
    "SpinUp": "simulation",
    "Surface": "forcing",
    "TEXTURES": "profile",
    "calibrate": "calibration",
    "column_edges": "simulation",
    "fill_gaps": "forcing",
    "insolation": "forcing",
    "simulate_soil": "simulation",
    "with_parameters": "calibration",
}

__all__ = [
    "Calibration",
    "PARAMETERS",
    "PROFILES",
    "Parameter",
    "SoilLayer",
    "SoilProfile",
    "SpinUp",
    "Surface",
    "TEXTURES",
    "calibrate",
    "column_edges",
    "fill_gaps",
    "insolation",
    "simulate_soil",
    "with_parameters",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
