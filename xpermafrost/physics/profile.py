"""What a soil is made of, by depth: layers of a texture with their pores, water and peat.

Every number may be a float or a DataArray over places, so that one profile describes many
columns. Textures give what is not said:

==============  ========  ========  ======  =======================
texture         porosity  organic   quartz  freezing width [K]
==============  ========  ========  ======  =======================
sand .. clay    0.40-0.49  0        0.92-0.25  0.06-0.7
peat, moss      0.88, 0.95  1       0       0.05, 0.02
rock            0.05      0         0.3     0.02
==============  ========  ========  ======  =======================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import xarray as xr

from .._checks import check_units, choose, require_variables, without_attrs
from ..errors import DataError, DimensionError
from ..schema import layer_bounds
from .column import DEFAULT_EDGES, NODE
from .soil import column_properties, volume_fractions

Number = float | xr.DataArray


@dataclass(frozen=True, kw_only=True)
class Texture:
    """Typical numbers of a kind of soil.

    Attributes
    ----------
    porosity : float
        Pores over bulk volume: Clapp and Hornberger (1978), table 2; of peat and moss O'Donnell
        et al. (2009).
    organic : float
        Share of the solids that is organic, by volume.
    quartz : float
        Share of the mineral solids: Peters-Lidard et al. (1998), table 2.
    freezing_width : float
        Depression of the freezing point at which half of the water is ice [K]. Mineral soils: the
        liquid share at -1 degC is that of Anderson and Tice (1972) at saturation, with specific
        surfaces of 1 (sand), 6, 15, 25 (silt), 45 and 80 m2 g-1 (clay).
    """

    porosity: float
    organic: float
    quartz: float
    freezing_width: float


TEXTURES = {
    "sand": Texture(porosity=0.395, organic=0.0, quartz=0.92, freezing_width=0.06),
    "sandy_loam": Texture(porosity=0.435, organic=0.0, quartz=0.60, freezing_width=0.14),
    "loam": Texture(porosity=0.451, organic=0.0, quartz=0.40, freezing_width=0.23),
    "silt": Texture(porosity=0.485, organic=0.0, quartz=0.25, freezing_width=0.28),
    "clay_loam": Texture(porosity=0.476, organic=0.0, quartz=0.35, freezing_width=0.46),
    "clay": Texture(porosity=0.482, organic=0.0, quartz=0.25, freezing_width=0.73),
    "peat": Texture(porosity=0.88, organic=1.0, quartz=0.0, freezing_width=0.05),
    "moss": Texture(porosity=0.95, organic=1.0, quartz=0.0, freezing_width=0.02),
    "rock": Texture(porosity=0.05, organic=0.0, quartz=0.30, freezing_width=0.02),
}


def _within(value: Number | None, low: float, high: float, what: str, needed: str) -> None:
    values = np.asarray(value, dtype="float64")
    if np.any(values < low) or np.any(values > high):
        raise DataError(f"{what} must be {needed}; found {_span(xr.DataArray(values))}.")


def _span(value: Number) -> str:
    values = np.asarray(value, dtype="float64")
    low, high = np.nanmin(values), np.nanmax(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


@dataclass(frozen=True, kw_only=True, eq=False)
class SoilLayer:
    """A layer of soil of one make; what is None is the texture's.

    Attributes
    ----------
    texture : str
        One of :data:`TEXTURES`.
    thickness : float or DataArray
        [m]; of a profile's last layer it is not used: that one reaches as deep as the column.
    saturation : float or DataArray
        Share of the pores that water (liquid and ice) fills.
    porosity, organic, quartz, freezing_width : float, DataArray or None
        As in :class:`Texture`. Excess ice is porosity, filled.
    conductivity_factor : float or DataArray
        Multiplies the thermal conductivity after Johansen.

    Examples
    --------
    >>> layer = SoilLayer(texture="silt", thickness=0.5, saturation=0.8)
    >>> round(layer.water, 3)
    0.388
    >>> SoilLayer.of_water("silt", water=0.6)
    Traceback (most recent call last):
    ...
    xpermafrost.errors.DataError: water 0.6 is more than the porosity 0.485 of 'silt'. ...
    """

    texture: str
    thickness: Number = float("inf")
    saturation: Number = 0.9
    porosity: Number = None  # type: ignore[assignment]
    organic: Number = None  # type: ignore[assignment]
    quartz: Number = None  # type: ignore[assignment]
    freezing_width: Number = None  # type: ignore[assignment]
    conductivity_factor: Number = 1.0

    def __post_init__(self) -> None:
        typical = TEXTURES[choose("texture", self.texture, TEXTURES)]
        for field in fields(Texture):
            if getattr(self, field.name) is None:
                object.__setattr__(self, field.name, getattr(typical, field.name))
        where = f"of the layer of {self.texture!r}"
        _within(self.thickness, 0.0, np.inf, f"thickness {where}", "m, 0 or more")
        _within(self.porosity, 1e-3, 1.0, f"porosity {where}", "a share of the volume, up to 1")
        _within(self.saturation, 0.0, 1.0, f"saturation {where}", "a share of the pores, up to 1")
        _within(self.organic, 0.0, 1.0, f"organic {where}", "a share of the solids, up to 1")
        _within(self.quartz, 0.0, 1.0, f"quartz {where}", "a share of the minerals, up to 1")
        _within(self.freezing_width, 1e-4, 10.0, f"freezing_width {where}", "in K, above 0")
        _within(
            self.conductivity_factor, 1e-2, 1e2, f"conductivity_factor {where}", "1 for Johansen's"
        )

    @classmethod
    def of_water(
        cls,
        texture: str,
        *,
        water: Number,
        thickness: Number = float("inf"),
        porosity: Number | None = None,
    ) -> SoilLayer:
        """A layer from its volume fraction of water, liquid and ice, instead of the saturation.

        Raises
        ------
        DataError
            If there is more water than pores.
        """
        plain = cls(texture=texture, thickness=thickness)
        plain = plain if porosity is None else replace(plain, porosity=porosity)
        pores = xr.DataArray(plain.porosity)
        if bool((xr.DataArray(water) > pores).any()):
            raise DataError(
                f"water {_span(water)} is more than the porosity {_span(pores)} of {texture!r}. "
                f"If it is excess ice, type porosity={_span(water)} as well."
            )
        return replace(plain, saturation=water / plain.porosity)

    @property
    def water(self) -> Number:
        """Water, liquid and ice, as a fraction of the bulk volume."""
        return self.saturation * self.porosity

    @property
    def is_organic(self) -> bool:
        """Whether the texture is one of organic solids."""
        return TEXTURES[self.texture].organic > 0.5

    @property
    def mineral_and_organic(self) -> tuple[Number, Number]:
        """Volume fractions of the two solids."""
        solid = 1.0 - self.porosity
        return solid * (1.0 - self.organic), solid * self.organic


@dataclass(frozen=True, kw_only=True, eq=False)
class SoilProfile:
    """Layers from the surface down; the last one reaches to the bottom of the column.

    Examples
    --------
    >>> soil = SoilProfile(
    ...     name="mine",
    ...     layers=(SoilLayer(texture="peat", thickness=0.2), SoilLayer(texture="silt")),
    ... )
    >>> soil.properties((0.0, 0.1, 0.3, 1.0))["latent_heat"].values.round(-6).tolist()
    [265000000.0, 205000000.0, 146000000.0]
    """

    name: str
    layers: tuple[SoilLayer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise DataError("a soil profile needs a layer; type SoilLayer(texture='silt').")

    @classmethod
    def from_fields(
        cls, ds: xr.Dataset, *, texture: str = "silt", saturation: Number = 0.9
    ) -> SoilProfile:
        """A profile from canonical ``soc`` [g kg-1] and ``bulk_density`` [kg m-3] by layer.

        Parameters
        ----------
        ds : Dataset (..., layer)
            With the bounds of adjoining layers from the surface down.
        texture : str
            Of the mineral part.
        saturation : float or DataArray (..., layer)
            Share of the pores that water fills.

        Raises
        ------
        MissingVariableError, UnitsError, DimensionError, DataError
            If a field, its units or the bounds are missing, layers leave gaps, or solids fill
            the volume.

        Examples
        --------
        >>> from xpermafrost.schema import layer_coords
        >>> values = {"soc": ("layer", [300.0, 20.0]), "bulk_density": ("layer", [250.0, 1300.0])}
        >>> ds = xr.Dataset(values, coords=layer_coords((0, 0.2, 1.0)))
        >>> ds["soc"].attrs["units"], ds["bulk_density"].attrs["units"] = "g kg-1", "kg m-3"
        >>> [round(float(x.porosity), 2) for x in SoilProfile.from_fields(ds).layers]
        [0.86, 0.5]
        """
        require_variables(ds, ("soc", "bulk_density"), step="SoilProfile.from_fields")
        for name in ("soc", "bulk_density"):
            check_units(ds[name], name)
        bounds = layer_bounds(ds)
        if bounds[0, 0] != 0.0 or np.any(bounds[1:, 0] != bounds[:-1, 1]):
            raise DimensionError(
                "a profile needs adjoining layers from the surface down; found bounds "
                f"{bounds.tolist()} m."
            )
        density = ds["bulk_density"].broadcast_like(ds["soc"]).transpose(*ds["soc"].dims)
        mineral, organic = (
            ds["soc"].copy(data=part) for part in volume_fractions(ds["soc"].values, density.values)
        )
        solid = mineral + organic
        wet = xr.DataArray(saturation)
        layers = []
        for k, (top, bottom) in enumerate(bounds):
            own = {"porosity": 1.0 - solid, "organic": organic / solid, "saturation": wet}
            own = {n: da.isel(layer=k, drop=True, missing_dims="ignore") for n, da in own.items()}
            own = {n: da.reset_coords(drop=True).pipe(without_attrs) for n, da in own.items()}
            layers.append(SoilLayer(texture=texture, thickness=float(bottom - top), **own))
        return cls(name="fields", layers=tuple(layers))

    def properties(self, edges: Sequence[float] = DEFAULT_EDGES) -> xr.Dataset:
        """Thermal properties of the nodes between ``edges`` [m], mixed by overlap.

        Returns
        -------
        Dataset (..., node)
            As :func:`~xpermafrost.physics.soil.column_properties`, with the location dims of
            the layers' numbers. Computes dask numbers.
        """
        shares = self._shares(np.asarray(edges, dtype="float64"))

        def mix(values: list[Number]) -> xr.DataArray:
            total = xr.DataArray(0.0)
            for share, value in zip(shares, values, strict=True):
                total = total + share * value
            return total.transpose(..., NODE)

        solids = [layer.mineral_and_organic for layer in self.layers]
        minerals = mix([mineral for mineral, _ in solids])
        quartz = mix([layer.mineral_and_organic[0] * layer.quartz for layer in self.layers])
        made = column_properties(
            minerals,
            mix([organic for _, organic in solids]),
            mix([layer.water for layer in self.layers]),
            quartz=quartz / minerals.where(minerals > 0.0, 1.0),
            freezing_width=mix([layer.freezing_width for layer in self.layers]),
        )
        factor = mix([layer.conductivity_factor for layer in self.layers])
        for name in ("conductivity_thawed", "conductivity_frozen"):
            made[name] = (made[name] * factor).assign_attrs(made[name].attrs)
        return made

    def _shares(self, edges: np.ndarray) -> list[xr.DataArray]:
        """Share of each node that each layer fills."""
        upper, lower = xr.DataArray(edges[:-1], dims=NODE), xr.DataArray(edges[1:], dims=NODE)
        top: xr.DataArray = xr.DataArray(0.0)
        shares = []
        for number, layer in enumerate(self.layers, start=1):
            deepest = number == len(self.layers)
            bottom = xr.DataArray(np.inf) if deepest else top + layer.thickness
            inside = xr.apply_ufunc(np.minimum, bottom, lower)  # missing stays missing
            inside = inside - xr.apply_ufunc(np.maximum, top, upper)
            shares.append(inside.clip(0.0) / (lower - upper))
            top = bottom
        return shares

    def adjust(
        self,
        *,
        organic_thickness: Number | None = None,
        organic_saturation: Number | None = None,
        mineral_saturation: Number | None = None,
        conductivity_factor: Number | None = None,
    ) -> SoilProfile:
        """Another profile with some numbers changed in all layers of a kind.

        Parameters
        ----------
        organic_thickness : float or DataArray
            Of all organic layers together [m]; their shares of it stay.
        organic_saturation, mineral_saturation : float or DataArray
            Of all organic, of all mineral layers.
        conductivity_factor : float or DataArray
            Of all mineral layers.

        Raises
        ------
        DataError
            If the profile has no layer of that kind.

        Examples
        --------
        >>> round(PROFILES["tundra"].adjust(organic_thickness=0.3).layers[0].thickness, 3)
        0.1
        """
        organic = [layer for layer in self.layers if layer.is_organic]
        if (organic_thickness is not None or organic_saturation is not None) and not organic:
            raise DataError(
                f"the profile {self.name!r} has no organic layer to change; add one: "
                "SoilLayer(texture='peat', thickness=0.1)."
            )
        thick = sum((layer.thickness for layer in organic), start=0.0)
        layers = []
        for layer in self.layers:
            change: dict[str, Number] = {}
            if layer.is_organic:
                if organic_thickness is not None:
                    change["thickness"] = organic_thickness * layer.thickness / thick
                if organic_saturation is not None:
                    change["saturation"] = organic_saturation
            else:
                if mineral_saturation is not None:
                    change["saturation"] = mineral_saturation
                if conductivity_factor is not None:
                    change["conductivity_factor"] = conductivity_factor
            layers.append(replace(layer, **change))  # type: ignore[arg-type]
        return replace(self, layers=tuple(layers))


#: Typical columns. Moss layers by bioclimate: Walker et al. (2005), table 1 (3-5 cm where July has
#: 5-7 degC, 5-10 cm where it is warmer); water of moss and peat: O'Donnell et al. (2009); mineral
#: soil near saturation over shallow permafrost (Hinzman et al., 1991), drier where it is deep.
PROFILES = {
    "high_arctic": SoilProfile(
        name="high_arctic",
        layers=(
            SoilLayer(texture="moss", thickness=0.04, saturation=0.3),
            SoilLayer(texture="silt", saturation=0.9),
        ),
    ),
    "tundra": SoilProfile(
        name="tundra",
        layers=(
            SoilLayer(texture="moss", thickness=0.05, saturation=0.3),
            SoilLayer(texture="peat", thickness=0.10, saturation=0.7),
            SoilLayer(texture="silt", saturation=0.95),
        ),
    ),
    "boreal": SoilProfile(
        name="boreal",
        layers=(
            SoilLayer(texture="moss", thickness=0.10, saturation=0.2),
            SoilLayer(texture="peat", thickness=0.15, saturation=0.5),
            SoilLayer(texture="silt", saturation=0.8),
        ),
    ),
    "mineral": SoilProfile(name="mineral", layers=(SoilLayer(texture="silt", saturation=0.8),)),
}


def profile(name: str) -> SoilProfile:
    """The typical profile ``name``, or an error with the close matches.

    Examples
    --------
    >>> profile("mineral").layers[0].texture
    'silt'
    """
    return PROFILES[choose("soil profile", name, PROFILES)]
