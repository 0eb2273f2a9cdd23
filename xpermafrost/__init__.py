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
    from . import diagnostics as diagnostics
    from . import physics as physics
    from . import plot as plot
    from . import recipes as recipes
    from .adjustment_tables import adjustment_report
    from .attributions import group_features, importance, to_shap
    from .baselines import BASELINES, fit_baseline
    from .batches import WindowBatches, window_batches
    from .concentrations import ghg_concentrations, with_concentrations
    from .consistency import make_consistent
    from .depth import remap_layers
    from .ensembles import (
        anomalies,
        ensemble_mean,
        ensemble_quantiles,
        period_means,
        split_spread,
    )
    from .evaluation import evaluate, scoreboard
    from .experiment import combine, with_scenarios
    from .explanation import explain, explain_scenarios
    from .fitted import FittedModel
    from .forcing import adjust_scenarios
    from .gis import from_cf, to_cf, to_geotiff, to_netcdf, to_profiles, to_vector
    from .global_warming import at_warming_levels, warming_level_years
    from .hybrid import fit_hybrid, fit_persistence, load_model
    from .models import MODELS, register_model
    from .multivariate import adjust_multivariate
    from .perfect_model import perfect_model_experiment
    from .place_sampling import sample_places
    from .polygons import Polygons
    from .projection import project
    from .recursive import project_recursive
    from .region_files import as_regions
    from .region_validation import leave_region_out
    from .regions import LatitudeBands, alaska_bands, reduce, region_weights
    from .regridding import make_grid, regrid, regrid_weights
    from .reporting import report
    from .scenario_checks import check_scenarios
    from .schema import VARIABLES, layer_coords
    from .soil_water import split_soil_water
    from .sources import identify, open_cmip, open_dataset, open_raw, standardize
    from .stores import to_zarr
    from .training import TrainingConfig, fit
    from .unseen_places import space_for_time
    from .validation import validate
    from .windows import WindowSpec

#: Public names and the module each lives in; imported on first use.
_HOMES = {
    "BASELINES": "baselines",
    "FittedModel": "fitted",
    "LatitudeBands": "regions",
    "MODELS": "models",
    "Polygons": "polygons",
    "TrainingConfig": "training",
    "VARIABLES": "schema",
    "WindowBatches": "batches",
    "WindowSpec": "windows",
    "adjust_multivariate": "multivariate",
    "adjust_scenarios": "forcing",
    "adjustment_report": "adjustment_tables",
    "alaska_bands": "regions",
    "anomalies": "ensembles",
    "as_regions": "region_files",
    "at_warming_levels": "global_warming",
    "check_scenarios": "scenario_checks",
    "combine": "experiment",
    "ensemble_mean": "ensembles",
    "ensemble_quantiles": "ensembles",
    "evaluate": "evaluation",
    "explain": "explanation",
    "explain_scenarios": "explanation",
    "fit": "training",
    "fit_baseline": "baselines",
    "fit_hybrid": "hybrid",
    "fit_persistence": "hybrid",
    "from_cf": "gis",
    "ghg_concentrations": "concentrations",
    "group_features": "attributions",
    "identify": "sources",
    "importance": "attributions",
    "layer_coords": "schema",
    "leave_region_out": "region_validation",
    "load_model": "hybrid",
    "make_consistent": "consistency",
    "make_grid": "regridding",
    "open_cmip": "sources",
    "open_dataset": "sources",
    "open_raw": "sources",
    "perfect_model_experiment": "perfect_model",
    "period_means": "ensembles",
    "project": "projection",
    "project_recursive": "recursive",
    "reduce": "regions",
    "region_weights": "regions",
    "register_model": "models",
    "regrid": "regridding",
    "regrid_weights": "regridding",
    "remap_layers": "depth",
    "report": "reporting",
    "sample_places": "place_sampling",
    "scoreboard": "evaluation",
    "space_for_time": "unseen_places",
    "split_soil_water": "soil_water",
    "split_spread": "ensembles",
    "standardize": "sources",
    "to_cf": "gis",
    "to_geotiff": "gis",
    "to_netcdf": "gis",
    "to_profiles": "gis",
    "to_shap": "attributions",
    "to_vector": "gis",
    "to_zarr": "stores",
    "validate": "validation",
    "warming_level_years": "global_warming",
    "window_batches": "batches",
    "with_concentrations": "concentrations",
    "with_scenarios": "experiment",
}
_MODULES = ("bias", "datasets", "diagnostics", "errors", "physics", "plot", "recipes", "testing")

__all__ = [
    "BASELINES",
    "FittedModel",
    "LatitudeBands",
    "MODELS",
    "Polygons",
    "TrainingConfig",
    "VARIABLES",
    "WindowBatches",
    "WindowSpec",
    "adjust_multivariate",
    "adjust_scenarios",
    "adjustment_report",
    "alaska_bands",
    "anomalies",
    "as_regions",
    "at_warming_levels",
    "bias",
    "check_scenarios",
    "combine",
    "datasets",
    "diagnostics",
    "ensemble_mean",
    "ensemble_quantiles",
    "evaluate",
    "explain",
    "explain_scenarios",
    "fit",
    "fit_baseline",
    "fit_hybrid",
    "fit_persistence",
    "from_cf",
    "ghg_concentrations",
    "group_features",
    "identify",
    "importance",
    "layer_coords",
    "leave_region_out",
    "load_model",
    "make_consistent",
    "make_grid",
    "open_cmip",
    "open_dataset",
    "open_raw",
    "perfect_model_experiment",
    "period_means",
    "physics",
    "plot",
    "project",
    "project_recursive",
    "recipes",
    "reduce",
    "region_weights",
    "register_model",
    "regrid",
    "regrid_weights",
    "remap_layers",
    "report",
    "sample_places",
    "scoreboard",
    "space_for_time",
    "split_soil_water",
    "split_spread",
    "standardize",
    "to_cf",
    "to_geotiff",
    "to_netcdf",
    "to_profiles",
    "to_shap",
    "to_vector",
    "to_zarr",
    "validate",
    "warming_level_years",
    "window_batches",
    "with_concentrations",
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
