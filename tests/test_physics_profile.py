"""Soil profiles: textures by their sources, mixing by overlap, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xpermafrost.errors import (
    DataError,
    DimensionError,
    MissingVariableError,
    UnitsError,
    UnknownNameError,
)
from xpermafrost.physics import soil
from xpermafrost.physics.profile import PROFILES, TEXTURES, SoilLayer, SoilProfile, profile
from xpermafrost.physics.simulation import column_edges, row_weights
from xpermafrost.schema import layer_coords

EDGES = (0.0, 0.1, 0.2, 0.5, 1.0)


@pytest.mark.parametrize(
    ("texture", "surface"),
    [("sand", 1), ("sandy_loam", 6), ("loam", 15), ("silt", 25), ("clay_loam", 45), ("clay", 80)],
)
def test_freezing_widths_are_those_of_anderson_and_tice(texture, surface):
    row = TEXTURES[texture]
    liquid = np.exp(0.2618 + 0.5519 * np.log(surface)) / 100  # kg per kg of soil, at -1 degC
    share = liquid * soil.DENSITY_MINERAL * (1 - row.porosity) / 1000 / row.porosity
    assert float(soil.unfrozen_share(-1.0, row.freezing_width)) == pytest.approx(share, rel=0.06)


def test_one_layer_is_what_the_soil_functions_say():
    got = SoilProfile(name="x", layers=(SoilLayer(texture="loam", saturation=0.7),))
    got = got.properties(EDGES)
    row = TEXTURES["loam"]
    mineral = xr.DataArray(np.full(4, 1 - row.porosity), dims="node")
    wanted = soil.column_properties(
        mineral,
        0 * mineral,
        0 * mineral + 0.7 * row.porosity,
        quartz=row.quartz,
        freezing_width=row.freezing_width,
    )
    xr.testing.assert_allclose(got, wanted)


def test_nodes_mix_layers_by_overlap():
    layers = (SoilLayer(texture="peat", thickness=0.15), SoilLayer(texture="silt"))
    latent = SoilProfile(name="x", layers=layers).properties(EDGES)["latent_heat"]
    peat, silt = (0.9 * TEXTURES[name].porosity * 3.34e8 for name in ("peat", "silt"))
    np.testing.assert_allclose(latent, [peat, 0.5 * (peat + silt), silt, silt])


def test_numbers_by_place_are_as_one_by_one():
    thick = xr.DataArray([0.05, 0.3], dims="station", coords={"station": ["a", "b"]})
    both = profile("tundra").adjust(organic_thickness=thick).properties(EDGES)
    assert both["latent_heat"].dims == ("station", "node")
    for name in ("a", "b"):
        number = float(thick.sel(station=name))
        alone = profile("tundra").adjust(organic_thickness=number).properties(EDGES)
        xr.testing.assert_allclose(both.sel(station=name, drop=True), alone)


def fields():
    soc = xr.DataArray(
        [[300.0, 20.0], [10.0, 5.0]], dims=("band", "layer"), attrs={"units": "g kg-1"}
    )
    density = xr.DataArray([250.0, 1300.0], dims="layer", attrs={"units": "kg m-3"})
    ds = xr.Dataset({"soc": soc, "bulk_density": density}, coords={"band": ["a", "b"]})
    return ds.assign_coords(layer_coords((0.0, 0.2, 1.0)))


def test_a_profile_of_canonical_fields():
    ds = fields()
    made = SoilProfile.from_fields(ds, texture="sand", saturation=0.5).properties(EDGES)
    mineral, organic = soil.volume_fractions(ds["soc"].values[0], ds["bulk_density"].values)
    water = 0.5 * (1 - mineral - organic)
    wanted = soil.column_properties(
        *(xr.DataArray(part, dims="node") for part in (mineral, organic, water)),
        quartz=TEXTURES["sand"].quartz,
        freezing_width=TEXTURES["sand"].freezing_width,
    )
    assert made["latent_heat"].dims == ("band", "node")
    got = made.isel(band=0, node=[0, 3], drop=True)
    xr.testing.assert_allclose(got, wanted)


def test_fields_that_do_not_make_a_profile_are_refused():
    ds = fields()
    with pytest.raises(MissingVariableError, match="soc"):
        SoilProfile.from_fields(ds.drop_vars("soc"))
    with pytest.raises(DimensionError, match="adjoining layers from the surface"):
        SoilProfile.from_fields(ds.isel(layer=[1]))
    heavy = (ds["bulk_density"] * 3).assign_attrs(units="kg m-3")
    with pytest.raises(DataError, match="no pore space"):
        SoilProfile.from_fields(ds.assign(bulk_density=heavy))
    ds["bulk_density"].attrs["units"] = "g cm-3"
    with pytest.raises(UnitsError, match="g cm-3"):
        SoilProfile.from_fields(ds)


def test_adjust_changes_its_kind_of_layer_only():
    made = profile("boreal").adjust(
        organic_saturation=0.33, mineral_saturation=0.44, conductivity_factor=1.5
    )
    assert [layer.saturation for layer in made.layers] == [0.33, 0.33, 0.44]
    assert [layer.conductivity_factor for layer in made.layers] == [1.0, 1.0, 1.5]
    plain, more = (
        p.properties(EDGES)["conductivity_frozen"]
        for p in (profile("mineral"), profile("mineral").adjust(conductivity_factor=1.5))
    )
    np.testing.assert_allclose(more, 1.5 * plain)
    assert PROFILES["boreal"].layers[0].saturation == 0.2


def test_insulating_profiles_order_as_in_nature():
    resistance = {}
    for name in PROFILES:
        made = profile(name).properties(EDGES)
        resistance[name] = float((np.diff(EDGES) / made["conductivity_thawed"])[:3].sum())
    assert resistance["mineral"] < resistance["high_arctic"] < resistance["tundra"]
    assert resistance["tundra"] < resistance["boreal"]


def test_unphysical_soil_is_refused_with_what_to_type():
    with pytest.raises(DataError, match=r"porosity of the layer of 'silt' .* found 1.2"):
        SoilLayer(texture="silt", porosity=1.2)
    with pytest.raises(DataError, match=r"water 0.6 is more than .* type porosity=0.6"):
        SoilLayer.of_water("silt", water=0.6)
    assert SoilLayer.of_water("silt", water=0.6, porosity=0.6).saturation == 1.0
    with pytest.raises(DataError, match=r"conductivity_factor .* found -1"):
        SoilLayer(texture="silt", conductivity_factor=-1.0)
    with pytest.raises(DataError, match=r"saturation .* found 0.2 to 1.4"):
        SoilLayer(texture="silt", saturation=xr.DataArray([0.2, 1.4]))
    with pytest.raises(UnknownNameError, match="did you mean 'silt'"):
        SoilLayer(texture="slit")
    with pytest.raises(UnknownNameError, match="did you mean 'tundra'"):
        profile("tundar")
    with pytest.raises(DataError, match="no organic layer to change; add one"):
        profile("mineral").adjust(organic_thickness=0.1)
    with pytest.raises(DataError, match="needs a layer"):
        SoilProfile(name="none", layers=())


def test_column_edges_pass_through_what_is_asked():
    edges = column_edges(20.0, first=0.02, growth=1.25, through=(0.07, 0.28, 1.0, 2.89))
    assert {0.0, 0.07, 0.28, 1.0, 2.89, 20.0} <= set(edges)
    size = np.diff(edges)
    assert (size > 0).all()
    assert size[0] == pytest.approx(0.02, rel=0.3)
    assert (size[1:] / size[:-1]).max() < 1.6


def test_rows_are_layers_and_points():
    rows = row_weights(EDGES, np.array([[0.05, 0.05], [0.25, 0.25], [0.0, 0.5], [0.01, 0.01]]))
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    middles = 0.5 * (np.array(EDGES[1:]) + EDGES[:-1])
    np.testing.assert_allclose(rows @ middles, [0.05, 0.25, 0.25, 0.05])
    with pytest.raises(DimensionError, match=r"column_edges\(1.5\)"):
        row_weights(EDGES, np.array([[1.5, 1.5]]))
