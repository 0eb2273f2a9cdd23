"""ERA5-Land from the Earth Engine catalogue.

============================  ==========================================================
collection (ECMWF/ERA5_LAND)  what an accumulated band holds
============================  ==========================================================
``MONTHLY_AGGR``              ``_sum``: the total of the **month**
``MONTHLY`` (deprecated)      no ``_sum``: the mean daily total, as in the Climate Data Store
``DAILY_AGGR``                ``_sum``: the total of the day
``HOURLY``                    ``_hourly``: the total of the hour that ends at the stamp;
                              without: the running total since 00 UTC
============================  ==========================================================
"""

from __future__ import annotations

import re

import xarray as xr

from ._base import Family, Rule, Totals
from .cds import _EVAPORATION, _SWAPPED, LAND_TOTALS, accumulation_rules, soil_rules, state_rules

#: Time step of each collection; its id, in any attribute of the Dataset, proves the source.
COLLECTIONS = {"MONTHLY_AGGR": "month", "MONTHLY": "month", "DAILY_AGGR": "day", "HOURLY": "hour"}

_SUMS = Totals(month="month", day="day")
_HOURLY = Totals(hour="hour")
_COLLECTION = re.compile(r"ECMWF/ERA5_LAND/(MONTHLY_AGGR|MONTHLY|DAILY_AGGR|HOURLY)\b")


def _named(ds: xr.Dataset) -> list[str]:
    """Collections that attributes of the Dataset name."""
    return _COLLECTION.findall(" ".join(str(value) for value in ds.attrs.values()))


def recognise(ds: xr.Dataset) -> bool:
    """Whether an attribute of the Dataset names an ERA5-Land collection."""
    return bool(_named(ds))


def refuse(ds: xr.Dataset, step: str) -> str | None:
    """A collection of another time step than the data, and one whose names mean other totals."""
    named = _named(ds) if any(r.totals for n in ds.data_vars for r in FAMILY.named(str(n))) else []
    if named and all(COLLECTIONS[name] != step for name in named):
        return (
            f"an attribute says ECMWF/ERA5_LAND/{named[0]}, but the time step is a {step}: whether "
            "totals are still those of the collection is not known. Standardize the collection "
            "as it is downloaded; it is averaged in time for you."
        )
    if "mean_2m_air_temperature" in ds and "total_precipitation" in ds:
        return (
            "'mean_2m_air_temperature' belongs to the Earth Engine collections ECMWF/ERA5/MONTHLY "
            "and DAILY, whose 'total_precipitation' is the total of the month or day; use "
            "ECMWF/ERA5_LAND/MONTHLY_AGGR or DAILY_AGGR, or say the period yourself: "
            "ds['total_precipitation'].attrs['units'] = 'm day-1' for daily data."
        )
    return None


FAMILY = Family(
    name="earthengine",
    title="ERA5-Land from Earth Engine",
    recognise=recognise,
    rules=(
        Rule(canonical="tas", names=("temperature_2m",), units="K"),
        *state_rules(),
        Rule(canonical="snd", names=("snow_depth",), units="m"),
        # the catalogue says 0 to 1; percent under this name fails the range check
        Rule(canonical="snc", names=("snow_cover",), units="1", factor=100.0),
        *soil_rules(),
        *accumulation_rules(_SUMS, suffix="_sum", short=False),
        *accumulation_rules(_HOURLY, suffix="_hourly", short=False),
        *accumulation_rules(LAND_TOTALS, short=False),
    ),
    refused={f"{name}_{end}": _SWAPPED for name in _EVAPORATION for end in ("sum", "hourly")},
    refuse=refuse,
)

FAMILIES = (FAMILY,)
