"""Thermal properties of frozen and thawed soil from what the soil is made of.

Volumes are fractions of the bulk volume; water and ice are counted as the volume of
liquid water of the same mass, so that freezing conserves mass without swelling the grid.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from ..errors import DataError

#: Density of water [kg m-3] and latent heat of fusion [J kg-1].
WATER_DENSITY = 1000.0
LATENT_HEAT_FUSION = 3.34e5

#: Volumetric heat capacities [J m-3 K-1] (de Vries, 1963).
HEAT_CAPACITY_MINERAL = 2.0e6
HEAT_CAPACITY_ORGANIC = 2.5e6
HEAT_CAPACITY_WATER = 4.18e6
HEAT_CAPACITY_ICE = 2.09e6  # of the ice that one m3 of liquid water makes

#: Thermal conductivities [W m-1 K-1] (Johansen, 1975; organic: Farouki, 1981).
CONDUCTIVITY_WATER = 0.57
CONDUCTIVITY_ICE = 2.2
CONDUCTIVITY_QUARTZ = 7.7
CONDUCTIVITY_OTHER_MINERALS = 2.0
CONDUCTIVITY_ORGANIC_SOLID = 0.25
CONDUCTIVITY_ORGANIC_DRY = 0.05

#: Densities of solids [kg m-3], and bulk densities of pure organic and mineral soil (Adams, 1973).
DENSITY_MINERAL = 2700.0
DENSITY_ORGANIC = 1300.0
BULK_DENSITY_ORGANIC = 244.0
BULK_DENSITY_MINERAL = 1640.0

#: Organic matter per organic carbon (van Bemmelen), kg kg-1.
ORGANIC_MATTER_PER_CARBON = 1.724


def bulk_density(soc: np.ndarray) -> np.ndarray:
    """Dry bulk density [kg m-3] of a soil with organic carbon ``soc`` [g kg-1].

    Adams (1973): ``100 / (OM / 0.244 + (100 - OM) / 1.64)`` g cm-3, with OM in per cent of mass.

    Examples
    --------
    >>> bulk_density(np.array([0.0, 300.0])).round().tolist()
    [1640.0, 414.0]
    """
    matter = np.clip(np.asarray(soc) * ORGANIC_MATTER_PER_CARBON / 1000.0, 0.0, 1.0)
    return 1.0 / (matter / BULK_DENSITY_ORGANIC + (1.0 - matter) / BULK_DENSITY_MINERAL)


def volume_fractions(soc: np.ndarray, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Volume fractions of mineral and organic solids; the rest is pore space.

    Parameters
    ----------
    soc : array
        Organic carbon [g kg-1].
    density : array
        Dry bulk density [kg m-3].

    Returns
    -------
    mineral, organic : array
        Fractions of the bulk volume.

    Examples
    --------
    >>> mineral, organic = volume_fractions(np.array(0.0), np.array(1350.0))
    >>> float(mineral), float(organic)
    (0.5, 0.0)
    """
    matter = np.clip(np.asarray(soc) * ORGANIC_MATTER_PER_CARBON / 1000.0, 0.0, 1.0)
    mineral = np.asarray(density) * (1.0 - matter) / DENSITY_MINERAL
    organic = np.asarray(density) * matter / DENSITY_ORGANIC
    if np.any(mineral + organic >= 1.0):
        raise DataError(
            "bulk density leaves no pore space; needed values below "
            f"{DENSITY_MINERAL:g} kg m-3, found up to {np.nanmax(density):g}."
        )
    return mineral, organic


def heat_capacity(
    mineral: np.ndarray, organic: np.ndarray, water: np.ndarray, *, frozen: bool
) -> np.ndarray:
    """Volumetric heat capacity [J m-3 K-1], the volume-weighted mix (de Vries, 1963).

    Examples
    --------
    >>> round(float(heat_capacity(0.5, 0.0, 0.4, frozen=False)))
    2672000
    """
    of_water = HEAT_CAPACITY_ICE if frozen else HEAT_CAPACITY_WATER
    return (
        np.asarray(mineral) * HEAT_CAPACITY_MINERAL
        + np.asarray(organic) * HEAT_CAPACITY_ORGANIC
        + np.asarray(water) * of_water
    )


def conductivity(
    mineral: np.ndarray,
    organic: np.ndarray,
    water: np.ndarray,
    *,
    quartz: np.ndarray | float = 0.3,
    frozen: bool,
) -> np.ndarray:
    """Thermal conductivity [W m-1 K-1] after Johansen (1975), as given by Farouki (1981).

    Between the dry and the saturated value with the Kersten number: ``log10(S) + 1`` thawed
    (at least 0), ``S`` frozen. Organic solids enter the saturated value by the geometric and
    the dry value by the arithmetic mean (Lawrence and Slater, 2008).

    Parameters
    ----------
    mineral, organic, water : array
        Volume fractions.
    quartz : array or float
        Share of quartz in the mineral solids.
    frozen : bool
        All water is ice, or all is liquid.

    Examples
    --------
    >>> round(float(conductivity(0.5, 0.0, 0.5, quartz=0.3, frozen=False)), 2)
    1.31
    """
    mineral, organic, water = np.broadcast_arrays(*map(np.asarray, (mineral, organic, water)))
    solid = mineral + organic
    porosity = 1.0 - solid
    saturation = np.clip(water / porosity, 0.0, 1.0)
    of_mineral = CONDUCTIVITY_QUARTZ**quartz * CONDUCTIVITY_OTHER_MINERALS ** (1.0 - quartz)
    of_pores = CONDUCTIVITY_ICE if frozen else CONDUCTIVITY_WATER
    saturated = of_mineral**mineral * CONDUCTIVITY_ORGANIC_SOLID**organic * of_pores**porosity
    density = mineral * DENSITY_MINERAL
    dry_mineral = (0.135 * density + 64.7) / (DENSITY_MINERAL - 0.947 * density)
    share = np.divide(organic, solid, out=np.zeros_like(solid, dtype="float64"), where=solid > 0)
    dry = (1.0 - share) * dry_mineral + share * CONDUCTIVITY_ORGANIC_DRY
    if frozen:
        kersten = saturation
    else:
        kersten = np.clip(np.log10(np.maximum(saturation, 1e-3)) + 1.0, 0.0, 1.0)
    return dry + np.maximum(saturated - dry, 0.0) * kersten


def unfrozen_share(temperature: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """Share of the soil water that is liquid at ``temperature`` [degC].

    The hyperbola ``width / (width - T)`` below 0 degC: a power law of exponent -1 in the
    depression of the freezing point (the form of Lovell, 1957), shifted so that it starts at 1.
    ``width`` [K] is the depression at which half of the water is ice: some 0.01 in sand and
    peat, 0.2 in silt, 0.5 in clay. Its enthalpy can be inverted in closed form.

    Examples
    --------
    >>> unfrozen_share(np.array([1.0, -0.2, -1.8]), 0.2).round(3).tolist()
    [1.0, 0.5, 0.1]
    """
    cold = np.maximum(-np.asarray(temperature), 0.0)
    return np.asarray(width / (width + cold))


def column_properties(
    mineral: xr.DataArray,
    organic: xr.DataArray,
    water: xr.DataArray,
    *,
    quartz: xr.DataArray | float = 0.3,
    freezing_width: xr.DataArray | float = 0.2,
) -> xr.Dataset:
    """Thermal properties that the heat-conduction column needs.

    Parameters
    ----------
    mineral, organic, water : DataArray
        Volume fractions with dim ``node`` and any location dims, which the result keeps.
    quartz : DataArray or float
        Share of quartz in the mineral solids.
    freezing_width : DataArray or float
        Depression of the freezing point [K] at which half of the water is ice.

    Returns
    -------
    Dataset
        ``heat_capacity_thawed``, ``heat_capacity_frozen`` [J m-3 K-1], ``conductivity_thawed``,
        ``conductivity_frozen`` [W m-1 K-1], ``latent_heat`` [J m-3], ``freezing_width`` [K].
        Computes dask input.

    Examples
    --------
    >>> share = xr.DataArray([0.5, 0.6], dims="node")
    >>> soil = column_properties(share, 0.0 * share, 0.9 * (1 - share))
    >>> soil["latent_heat"].values.round(-6).tolist()
    [150000000.0, 120000000.0]
    """
    mineral, organic, water, quartz_, width = xr.broadcast(
        mineral, organic, water, xr.DataArray(quartz), xr.DataArray(freezing_width)
    )
    parts = (mineral.values, organic.values, water.values)
    columns = {
        "heat_capacity_thawed": (heat_capacity(*parts, frozen=False), "J m-3 K-1"),
        "heat_capacity_frozen": (heat_capacity(*parts, frozen=True), "J m-3 K-1"),
        "conductivity_thawed": (
            conductivity(*parts, quartz=quartz_.values, frozen=False),
            "W m-1 K-1",
        ),
        "conductivity_frozen": (
            conductivity(*parts, quartz=quartz_.values, frozen=True),
            "W m-1 K-1",
        ),
        "latent_heat": (parts[2] * WATER_DENSITY * LATENT_HEAT_FUSION, "J m-3"),
        "freezing_width": (width.values, "K"),
    }
    return xr.Dataset(
        {name: (mineral.dims, value, {"units": unit}) for name, (value, unit) in columns.items()},
        coords=mineral.coords,
    )
