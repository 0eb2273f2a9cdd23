"""CMIP5 and CMIP6, and everything that is canonical already.

Canonical names are CMIP names: each row of the variable table is a rule whose units may be
any that measure the same (degC, cm, mm month-1, ...).
"""

from __future__ import annotations

import xarray as xr

from ..schema import VARIABLES
from ._base import Family, Rule

#: Other CMIP names of a canonical variable: CMIP5 calls soil water of a layer ``mrlsl``.
SYNONYMS = {"mrsol": ("mrlsl",), "elevation": ("orog",)}

REFUSED = {
    "mrso": (
        "'mrso' is the water of the whole soil column, not of a layer: it cannot become 'mrsol'. "
        "Use 'mrsol' (CMIP6) or 'mrlsl' (CMIP5), or leave it out: ds.drop_vars('mrso')."
    ),
    "mrsos": (
        "'mrsos' is the water of the top 0.1 m, another layer than those of ERA5-Land: it is not "
        "renamed to 'mrsol'. Use 'mrsol' (CMIP6) or 'mrlsl' (CMIP5), "
        "or leave it out: ds.drop_vars('mrsos')."
    ),
}


def recognise(ds: xr.Dataset) -> bool:
    """Whether a global attribute says CMIP."""
    keys = ("mip_era", "project_id", "activity_id", "Conventions")
    return any("CMIP" in str(ds.attrs.get(key, "")) for key in keys)


FAMILY = Family(
    name="cmip",
    title="CMIP5 and CMIP6 output",
    recognise=recognise,
    rules=tuple(
        Rule(
            canonical=name,
            names=(name, *SYNONYMS.get(name, ())),
            units=row.units,
            water=name in ("pr", "prsn", "snw", "mrsol"),
        )
        for name, row in VARIABLES.items()
    ),
    refused=REFUSED,
)

FAMILIES = (FAMILY,)
