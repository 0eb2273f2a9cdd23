"""xpermafrost: from reanalysis and climate-model files to soil temperature, in xarray.

Importing it registers ``.permafrost`` on Datasets and DataArrays. Heavy packages (torch,
xsdba, numba, matplotlib) are imported by the functions that need them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import bias as bias
    from . import datasets as datasets
    from . import physics as physics
    from . import plot as plot
    from .baselines import BASELINES, fit_baseline
    from .evaluation import evaluate, scoreboard
    from .experiment import combine, with_scenarios
    from .fitted import FittedModel, load_model
    from .gis import from_cf, to_cf, to_netcdf
    from .models import MODELS, register_model
    from .projection import project
    from .regions import LatitudeBands, alaska_bands, reduce, region_weights
    from .schema import VARIABLES, layer_coords
    from .sources import identify, standardize
    from .training import TrainingConfig, fit
    from .windows import WindowSpec

#: Public names and the module each lives in; imported on first use.
_HOMES = {
    "BASELINES": "baselines",
    "FittedModel": "fitted",
    "LatitudeBands": "regions",
    "MODELS": "models",
    "TrainingConfig": "training",
    "VARIABLES": "schema",
    "WindowSpec": "windows",
    "alaska_bands": "regions",
    "combine": "experiment",
    "evaluate": "evaluation",
    "fit": "training",
    "fit_baseline": "baselines",
    "from_cf": "gis",
    "identify": "sources",
    "layer_coords": "schema",
    "load_model": "fitted",
    "project": "projection",
    "reduce": "regions",
    "region_weights": "regions",
    "register_model": "models",
    "scoreboard": "evaluation",
    "standardize": "sources",
    "to_cf": "gis",
    "to_netcdf": "gis",
    "with_scenarios": "experiment",
}
_MODULES = ("bias", "datasets", "errors", "physics", "plot", "testing")

__all__ = [
    "BASELINES",
    "FittedModel",
    "LatitudeBands",
    "MODELS",
    "TrainingConfig",
    "VARIABLES",
    "WindowSpec",
    "alaska_bands",
    "bias",
    "combine",
    "datasets",
    "evaluate",
    "fit",
    "fit_baseline",
    "from_cf",
    "identify",
    "layer_coords",
    "load_model",
    "physics",
    "plot",
    "project",
    "reduce",
    "region_weights",
    "register_model",
    "scoreboard",
    "standardize",
    "to_cf",
    "to_netcdf",
    "with_scenarios",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


from . import accessor as accessor  # noqa: E402  (registers .permafrost; needs __version__)
