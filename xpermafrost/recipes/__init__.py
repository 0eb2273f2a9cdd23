"""Recipes: the exact request for forcing data of given regions, years and variables.

Each recipe builds a request and sends nothing: ``request.payload`` is what would be sent, as
plain data to look at; ``request.download(folder)`` sends it. Names are canonical
(:data:`xpermafrost.VARIABLES`); ``xp.open_dataset(paths)``, for climate models
``xp.open_cmip(paths)``, reads what was downloaded.

:func:`cds_era5_land` asks the Climate Data Store (extra ``cds``), :func:`earthengine` Google
Earth Engine (extra ``earthengine``), :func:`esgf` the archives of CMIP5 and CMIP6 (no extra).
"""

from __future__ import annotations

from ._cds import CdsRequest, cds_era5_land
from ._earthengine import EarthEngineRequest, earthengine
from ._esgf import NODES, EsgfFile, EsgfRequest, esgf

__all__ = [
    "NODES",
    "CdsRequest",
    "EarthEngineRequest",
    "EsgfFile",
    "EsgfRequest",
    "cds_era5_land",
    "earthengine",
    "esgf",
]
