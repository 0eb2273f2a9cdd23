"""Monthly station Datasets: a dimension of places, soil temperature at points in depth."""

from __future__ import annotations

import xarray as xr

from ._base import Family, Rule

#: Names of a dimension of stations.
STATION_DIMS = ("station", "site", "borehole", "location", "stations", "sites")


def has_points(ds: xr.Dataset) -> bool:
    """Whether depths without bounds are points: the Dataset is one of stations."""
    kind = str(ds.attrs.get("featureType", "")).lower()
    return kind.startswith(("timeseries", "profile")) or any(d in ds.dims for d in STATION_DIMS)


FAMILY = Family(
    name="stations",
    title="monthly station observations",
    rules=(
        Rule(canonical="tas", names=("tas", "air_temperature"), units="K"),
        Rule(canonical="tsl", names=("tsl", "soil_temperature"), units="K"),
        Rule(canonical="pr", names=("pr", "precipitation"), units="kg m-2 s-1", water=True),
        Rule(canonical="snd", names=("snd", "snow_depth"), units="m"),
        Rule(canonical="snw", names=("snw",), units="kg m-2", water=True),
        Rule(canonical="elevation", names=("elevation",), units="m"),
    ),
)

FAMILIES = (FAMILY,)
