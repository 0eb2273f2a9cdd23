"""What is made of simulated data says so."""

from __future__ import annotations

import warnings

import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost.testing import canonical

OF_SOIL = (
    "active_layer_thickness",
    "mean_annual_ground_temperature",
    "thermal_offset",
    "permafrost_presence",
    "talik_onset",
)
OF_AIR = ("degree_days", "mean_annual_air_temperature", "ttop")


def marked(obj: xr.DataArray | xr.Dataset) -> bool:
    parts = obj.data_vars.values() if isinstance(obj, xr.Dataset) else [obj]
    return all(da.attrs.get("simulated") == "yes" for da in parts)


@pytest.mark.parametrize("name", OF_SOIL + OF_AIR)
def test_diagnostics_of_simulated_data_are_marked(name):
    ds = canonical(years=4).assign_attrs(simulated="yes")
    function = getattr(xp.diagnostics, name)
    options = {"n_freezing": 0.5, "n_thawing": 0.9, "conductivity_ratio": 0.8}
    options = options if name == "ttop" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xp.errors.PermafrostWarning)
        assert marked(function(ds, **options))
        variable = ds["tas" if name in OF_AIR else "tsl"]
        assert marked(function(variable.assign_attrs(simulated="yes"), **options))
        del ds.attrs["simulated"]
        assert not marked(function(ds, **options))


def test_models_of_simulated_data_are_marked():
    ds = canonical(years=6).assign_attrs(simulated="yes")
    config = xp.TrainingConfig(epochs=1)
    gru = xp.fit(ds, "gru", length=12, config=config)
    assert marked(gru.predict(ds))
    assert marked(gru.predict(ds.chunk(band=1)))
    assert gru.history.attrs["simulated"] == "yes"
    assert marked(xp.fit_baseline("climatology", ds).predict(ds))
    persistent = xp.fit_persistence(ds, "gru", length=12, config=config)
    assert marked(persistent.predict(ds))
    assert not marked(gru.predict(ds.drop_attrs(deep=False)))
