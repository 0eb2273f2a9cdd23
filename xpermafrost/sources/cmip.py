"""CMIP5 and CMIP6, and everything that is canonical already.

Canonical names are CMIP names: each row of the variable table is a rule whose units may be
any that measure the same (degC, cm, mm month-1, ...).
"""

from __future__ import annotations

import xarray as xr

from ..schema import VARIABLES
from ._base import OF_THE_CELL, Family, Rule
from ._units import WATER_DENSITY

#: Other CMIP names of a canonical variable: CMIP5 calls soil water of a layer ``mrlsl``.
SYNONYMS = {"mrsol": ("mrlsl",), "elevation": ("orog",)}

#: Variables that are amounts of water: "of water equivalent" in their units fits.
WATER = ("pr", "prsn", "snw", "mrsol")

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


#: Other standard names of a canonical variable (CF table, CMIP5, CMIP6, ecCodes).
_SYNONYMS = {
    "prsn": ("solid_precipitation_flux",),
    "mrsol": ("moisture_content_of_soil_layer",),
    "rsds": ("surface_downwelling_shortwave_flux",),
    "rlds": ("surface_downwelling_longwave_flux",),
    "snc": ("snow_area_fraction",),
    "ts": ("skin_temperature",),
    "elevation": ("height_above_reference_ellipsoid", "altitude"),
    "sftlf": ("land_binary_mask",),
}

#: What a standard name says, by standard name: quantity, sign, and for amounts the period.
STANDARD_RULES: dict[str, Rule] = {
    said: Rule(canonical=name, names=(), units=row.units, water=name in WATER)
    for name, row in VARIABLES.items()
    for said in (row.standard_name, *_SYNONYMS.get(name, ()))
    if said
} | {
    "surface_downward_latent_heat_flux": Rule(canonical="hfls", names=(), units="W m-2", sign=-1),
    "surface_downward_sensible_heat_flux": Rule(canonical="hfss", names=(), units="W m-2", sign=-1),
    "lwe_thickness_of_surface_snow_amount": Rule(
        canonical="snw", names=(), units="m", factor=WATER_DENSITY, water=True
    ),
    "lwe_precipitation_rate": Rule(
        canonical="pr", names=(), units="m s-1", factor=WATER_DENSITY, water=True
    ),
    "lwe_snowfall_rate": Rule(
        canonical="prsn", names=(), units="m s-1", factor=WATER_DENSITY, water=True
    ),
    **{
        said: Rule(canonical=name, names=(), units=units, factor=factor, totals=OF_THE_CELL)
        for said, name, units, factor in (
            ("precipitation_amount", "pr", "kg m-2", 1.0),
            ("lwe_thickness_of_precipitation_amount", "pr", "m", WATER_DENSITY),
            ("snowfall_amount", "prsn", "kg m-2", 1.0),
            ("lwe_thickness_of_snowfall_amount", "prsn", "m", WATER_DENSITY),
            (
                "integral_wrt_time_of_surface_downwelling_longwave_flux_in_air",
                "rlds",
                "J m-2",
                1.0,
            ),
            (
                "integral_wrt_time_of_surface_downwelling_shortwave_flux_in_air",
                "rsds",
                "J m-2",
                1.0,
            ),
        )
    },
}

#: Quantities that are none of ours, and are met under our names.
OTHER_STANDARD_NAMES = frozenset(
    {
        "surface_net_downward_longwave_flux",
        "surface_net_downward_shortwave_flux",
        "surface_upwelling_longwave_flux_in_air",
        "surface_upwelling_shortwave_flux_in_air",
        "soil_moisture_content",
        "mass_content_of_water_in_soil",
        "volume_fraction_of_condensed_water_in_soil",
        "dew_point_temperature",
        "sea_surface_temperature",
        "convective_precipitation_flux",
        "lwe_thickness_of_stratiform_precipitation_amount",
        "lwe_thickness_of_convective_precipitation_amount",
    }
)


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
            water=name in WATER,
        )
        for name, row in VARIABLES.items()
    ),
    refused=REFUSED,
)

FAMILIES = (FAMILY,)
