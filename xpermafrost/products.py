"""What leaves a model: soil temperature in degC, with CF attributes and provenance."""

from __future__ import annotations

from functools import partial
from typing import Any

import xarray as xr

from ._blocks import by_places
from .schema import FREEZING_POINT, LAYER, TIME, location_dims

SOIL_TEMPERATURE = "soil_temperature"


def soil_temperature(kelvin: xr.DataArray, **attrs: object) -> xr.DataArray:
    """A product ``soil_temperature`` [degC] of a soil temperature in kelvin. Lazy.

    Dims come out as ``(scenario, location..., layer, time)``, those that are there.

    Examples
    --------
    >>> import xarray as xr
    >>> float(soil_temperature(xr.DataArray(273.15, attrs={"units": "K"})))
    0.0
    """
    celsius = (kelvin - FREEZING_POINT).astype("float32")  # 2e-6 K is ample for a product
    lead = [d for d in ("scenario", "member") if d in celsius.dims]
    order = [*lead, *location_dims(celsius), *[d for d in (LAYER, TIME) if d in celsius.dims]]
    celsius = celsius.transpose(*order, ...)
    celsius.name = SOIL_TEMPERATURE
    return celsius.assign_attrs(
        {
            "standard_name": SOIL_TEMPERATURE,
            "long_name": "soil temperature",
            "units": "degree_Celsius",
            "cell_methods": "time: mean",
            **{key: value for key, value in attrs.items() if value not in (None, "")},
        }
    )


def predict_blocks(model: Any, ds: xr.Dataset, **options: str) -> xr.DataArray:
    """``model.predict`` of a dask-backed Dataset, lazily, block by block of locations."""
    work = partial(_predicted, options=options)
    return by_places(work, ds, model, step=f"the model {model.name!r}")[SOIL_TEMPERATURE]


def _predicted(block: xr.Dataset, model: Any, *, options: dict[str, str]) -> xr.Dataset:
    return model.predict(block, **options).to_dataset()
