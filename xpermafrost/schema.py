"""The canonical form: dimension names, the variable table, layers identified by bounds.

CMIP short names and CF units are canonical, so that CMIP data pass through
unchanged and results compose with xclim.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from .errors import DimensionError, unknown_name

TIME = "time"
LAYER = "layer"
SCENARIO = "scenario"
MEMBER = "member"
ESM = "esm"
REALIZATION = "realization"
FEATURE = "feature"
LAG = "lag"
HARMONIC = "harmonic"
BOUNDS = "bnds"

REFERENCE = "reference"
HISTORICAL = "historical"

#: Time steps of models, and how many make a year.
STEPS = {"month": 12, "day": 365}

#: Dimensions that never name a place; every other dimension is a location.
NON_LOCATION = frozenset(
    {
        TIME,
        LAYER,
        SCENARIO,
        ESM,
        REALIZATION,
        MEMBER,
        FEATURE,
        LAG,
        BOUNDS,
        HARMONIC,
        "month",
        "year",
        "season",
        "quantiles",
        "model",
        "horizon",
        "lithology_class",
    }
)

#: Bounds of the four ERA5-Land soil layers [m], positive down.
ERA5LAND_EDGES = (0.0, 0.07, 0.28, 1.00, 2.89)

#: Freezing point of water [K]; products are in degC.
FREEZING_POINT = 273.15


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One row of the variable table.

    Attributes
    ----------
    name : str
        Canonical (CMIP) short name.
    standard_name, long_name : str
        CF standard name ("" where CF has none) and a name for people.
    units : str
        Canonical units; checked at every public boundary.
    valid_range : tuple of float
        Values outside it (for a monthly mean or a static field) are an error of units, not weather.
    kind : {"additive", "multiplicative"}
        How a bias of this variable is adjusted.
    layered : bool
        Whether the variable has the dimension ``layer``.
    role : {"forcing", "target", "static"}
        Whether it varies in time and drives the soil, is the soil's answer, or is fixed.
    """

    name: str
    standard_name: str
    long_name: str
    units: str
    valid_range: tuple[float, float]
    kind: str = "additive"
    layered: bool = False
    role: str = "forcing"

    @property
    def attrs(self) -> dict[str, str]:
        """CF attributes of the variable."""
        attrs = {"long_name": self.long_name, "units": self.units}
        if self.standard_name:
            attrs = {"standard_name": self.standard_name, **attrs}
        return attrs


def _table(*rows: Variable) -> dict[str, Variable]:
    return {row.name: row for row in rows}


#: The variable table, by canonical name.
VARIABLES: dict[str, Variable] = _table(
    Variable(
        name="tas",
        standard_name="air_temperature",
        long_name="air temperature at 2 m",
        units="K",
        valid_range=(170.0, 340.0),
    ),
    Variable(
        name="ts",
        standard_name="surface_temperature",
        long_name="surface (skin) temperature",
        units="K",
        valid_range=(170.0, 350.0),
    ),
    Variable(
        name="pr",
        standard_name="precipitation_flux",
        long_name="precipitation",
        units="kg m-2 s-1",
        valid_range=(0.0, 2e-3),
        kind="multiplicative",
    ),
    Variable(
        name="prsn",
        standard_name="snowfall_flux",
        long_name="snowfall (water equivalent)",
        units="kg m-2 s-1",
        valid_range=(0.0, 2e-3),
        kind="multiplicative",
    ),
    Variable(
        name="rlds",
        standard_name="surface_downwelling_longwave_flux_in_air",
        long_name="downwelling longwave radiation at the surface",
        units="W m-2",
        valid_range=(30.0, 600.0),
    ),
    Variable(
        name="rsds",
        standard_name="surface_downwelling_shortwave_flux_in_air",
        long_name="downwelling shortwave radiation at the surface",
        units="W m-2",
        valid_range=(0.0, 600.0),
        kind="multiplicative",
    ),
    Variable(
        name="hfls",
        standard_name="surface_upward_latent_heat_flux",
        long_name="latent heat flux at the surface, positive up",
        units="W m-2",
        valid_range=(-400.0, 600.0),
    ),
    Variable(
        name="hfss",
        standard_name="surface_upward_sensible_heat_flux",
        long_name="sensible heat flux at the surface, positive up",
        units="W m-2",
        valid_range=(-600.0, 600.0),
    ),
    Variable(
        name="tsl",
        standard_name="soil_temperature",
        long_name="soil temperature of the layer",
        units="K",
        valid_range=(190.0, 340.0),
        layered=True,
        role="target",
    ),
    Variable(
        name="mrsol",
        standard_name="mass_content_of_water_in_soil_layer",
        long_name="soil water of the layer, liquid and ice",
        units="kg m-2",
        valid_range=(0.0, 1e5),
        kind="multiplicative",
        layered=True,
    ),
    Variable(
        name="snd",
        standard_name="surface_snow_thickness",
        long_name="snow depth",
        units="m",
        valid_range=(0.0, 60.0),
        kind="multiplicative",
    ),
    Variable(
        name="snw",
        standard_name="surface_snow_amount",
        long_name="snow water equivalent",
        units="kg m-2",
        valid_range=(0.0, 2.5e4),
        kind="multiplicative",
    ),
    Variable(
        name="snc",
        standard_name="surface_snow_area_fraction",
        long_name="snow cover",
        units="%",
        valid_range=(0.0, 100.0001),
    ),
    Variable(
        name="snow_density",
        standard_name="snow_density",
        long_name="density of the snow",
        units="kg m-3",
        valid_range=(10.0, 950.0),
    ),
    Variable(
        name="bulk_density",
        standard_name="",
        long_name="dry bulk density of the soil",
        units="kg m-3",
        valid_range=(10.0, 2800.0),
        layered=True,
        role="static",
    ),
    Variable(
        name="soc",
        standard_name="",
        long_name="soil organic carbon content",
        units="g kg-1",
        valid_range=(0.0, 600.0),
        layered=True,
        role="static",
    ),
    Variable(
        name="lithology",
        standard_name="",
        long_name="share of the lithology class",
        units="1",
        valid_range=(0.0, 1.0001),
        role="static",
    ),
    Variable(
        name="elevation",
        standard_name="surface_altitude",
        long_name="elevation of the surface",
        units="m",
        valid_range=(-500.0, 9000.0),
        role="static",
    ),
    Variable(
        name="sftlf",
        standard_name="land_area_fraction",
        long_name="share of land",
        units="%",
        valid_range=(0.0, 100.0001),
        role="static",
    ),
)


def variable(name: str) -> Variable:
    """Row of the variable table for ``name``, or an error with the close matches.

    Examples
    --------
    >>> variable("tas").units
    'K'
    """
    if name not in VARIABLES:
        raise unknown_name("canonical variable", name, VARIABLES)
    return VARIABLES[name]


def location_dims(obj: xr.DataArray | xr.Dataset) -> tuple[Hashable, ...]:
    """Dimensions of ``obj`` that name places: all but time, layer, scenario and their like.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> location_dims(xr.DataArray(np.zeros((2, 3)), dims=("band", "time")))
    ('band',)
    """
    return tuple(dim for dim in obj.dims if dim not in NON_LOCATION)


def name_axis(dim: str, names: Sequence[str]) -> xr.DataArray:
    """A dimension of names, to concatenate along, as numpy text of fixed width.

    A pandas Index of names becomes variable-width text in newer versions, which files cut short.

    Examples
    --------
    >>> name_axis("scenario", ["reference", "rcp85"]).dtype
    dtype('<U9')
    """
    labels = np.asarray(list(names), dtype="U")
    return xr.DataArray(labels, dims=dim, coords={dim: labels}, name=dim)


def layer_coords(edges: Sequence[float] = ERA5LAND_EDGES) -> dict[str, xr.Variable]:
    """Coordinates of a stack of adjoining layers: ``layer``, ``depth`` and its bounds [m].

    Parameters
    ----------
    edges : sequence of float
        Increasing depths [m], positive down: one more than there are layers.

    Examples
    --------
    >>> layer_coords()["depth"].values.round(3).tolist()
    [0.035, 0.175, 0.64, 1.945]
    """
    values = np.asarray(edges, dtype="float64")
    if values.ndim != 1 or values.size < 2 or np.any(np.diff(values) <= 0) or values[0] < 0:
        raise DimensionError(
            f"layer edges must be increasing depths in m, positive down; got {list(edges)}. "
            "Type for instance layer_coords((0, 0.07, 0.28, 1.0, 2.89))."
        )
    return layer_coords_from_bounds(np.stack([values[:-1], values[1:]], axis=1))


def layer_coords_from_bounds(bounds: np.ndarray) -> dict[str, xr.Variable]:
    """As :func:`layer_coords`, from bounds of shape ``(layer, 2)`` [m], which may leave gaps.

    A measurement at a point has equal lower and upper bound.
    """
    bounds = np.asarray(bounds, dtype="float64")
    depth_attrs = {
        "standard_name": "depth",
        "long_name": "depth of the middle of the layer",
        "units": "m",
        "positive": "down",
        "axis": "Z",
        "bounds": "depth_bnds",
    }
    return {
        LAYER: xr.Variable(
            LAYER, np.arange(1, len(bounds) + 1), {"long_name": "layer, counted from the surface"}
        ),
        "depth": xr.Variable(LAYER, bounds.mean(axis=1), depth_attrs),
        # bounds inherit their attributes from `depth` (CF 1.11, section 7.1)
        "depth_bnds": xr.Variable((LAYER, BOUNDS), bounds),
        # A DataArray cannot hold 2-D bounds of a dimension it lacks; these two it keeps.
        "depth_top": xr.Variable(LAYER, bounds[:, 0], {"units": "m", "positive": "down"}),
        "depth_bottom": xr.Variable(LAYER, bounds[:, 1], {"units": "m", "positive": "down"}),
    }


def layer_bounds(obj: xr.DataArray | xr.Dataset) -> np.ndarray:
    """Bounds of the layers of ``obj`` [m], shape ``(layer, 2)``: what a layer is known by.

    Read from ``depth_bnds``, or from ``depth_top`` and ``depth_bottom``.

    Raises
    ------
    DimensionError
        If neither is there.

    Examples
    --------
    >>> import xarray as xr
    >>> layer_bounds(xr.Dataset(coords=layer_coords((0, 0.5, 2)))).tolist()
    [[0.0, 0.5], [0.5, 2.0]]
    """
    variables = obj.variables if isinstance(obj, xr.Dataset) else obj.coords
    if "depth_bnds" in variables:
        return np.asarray(obj["depth_bnds"].values, dtype="float64")
    if "depth_top" in variables and "depth_bottom" in variables:
        return np.stack([obj["depth_top"].values, obj["depth_bottom"].values], axis=1)
    raise DimensionError(
        "the layers have no bounds: a layer is known by its bounds, never by its index. "
        "Add them: ds.assign_coords(xp.layer_coords((0, 0.07, 0.28, 1.0, 2.89)))."
    )
