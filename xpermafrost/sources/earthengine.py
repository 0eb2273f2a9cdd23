"""ERA5-Land from the Earth Engine catalogue.

``ECMWF/ERA5_LAND/MONTHLY_AGGR``: bands ending in ``_sum`` hold the total of the **month**.
``ECMWF/ERA5_LAND/MONTHLY`` (deprecated): the same names without ``_sum`` hold the mean daily
total, as in the Climate Data Store.
"""

from __future__ import annotations

import xarray as xr

from ._base import Family, Rule
from .cds import _EVAPORATION, _SWAPPED, accumulation_rules, soil_rules, state_rules

#: Text that proves the collection, in any attribute of the Dataset.
COLLECTIONS = ("ECMWF/ERA5_LAND/MONTHLY_AGGR", "ECMWF/ERA5_LAND/MONTHLY")


def _texts(ds: xr.Dataset) -> str:
    return " ".join(str(value) for value in ds.attrs.values())


def recognise(ds: xr.Dataset) -> bool:
    """Whether an attribute of the Dataset names a monthly ERA5-Land collection."""
    return any(name in _texts(ds) for name in COLLECTIONS)


def refuse(ds: xr.Dataset) -> str | None:
    """Collections whose accumulations mean something else."""
    if "ERA5_LAND/DAILY_AGGR" in _texts(ds) or "ERA5_LAND/HOURLY" in _texts(ds):
        return (
            "the Dataset comes from a daily or hourly Earth Engine collection, whose '_sum' bands "
            "are totals of a day; use ECMWF/ERA5_LAND/MONTHLY_AGGR."
        )
    if "mean_2m_air_temperature" in ds and "total_precipitation" in ds:
        return (
            "'mean_2m_air_temperature' belongs to the Earth Engine collection "
            "ECMWF/ERA5/MONTHLY, whose 'total_precipitation' is the total of the month; use "
            "ECMWF/ERA5_LAND/MONTHLY_AGGR, or convert it: "
            "pr = total_precipitation * 1000 / (days of the month * 86400), in kg m-2 s-1."
        )
    return None


FAMILY = Family(
    name="earthengine",
    title="ERA5-Land monthly aggregates from Earth Engine",
    recognise=recognise,
    rules=(
        Rule(canonical="tas", names=("temperature_2m",), units="K"),
        *state_rules(),
        Rule(canonical="snd", names=("snow_depth",), units="m"),
        # the catalogue says 0 to 1; percent under this name fails the range check
        Rule(canonical="snc", names=("snow_cover",), units="1", factor=100.0),
        *soil_rules(),
        *accumulation_rules(suffix="_sum", per="month", short=False),
        *accumulation_rules(short=False),
    ),
    refused={f"{name}_sum": _SWAPPED for name in _EVAPORATION},
    refuse=refuse,
)

FAMILIES = (FAMILY,)
