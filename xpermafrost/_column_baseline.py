"""The soil column as a baseline: calibrated place by place on the training years."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ._checks import require_variables
from .errors import MissingVariableError
from .schema import LAYER, TIME, layer_bounds, location_dims
from .windows import WindowSpec

State = dict[str, Any]

#: Where a calibration starts; its bounds take a profile from peat to bare mineral soil.
SOIL = "tundra"


def column_forcing(ds: xr.Dataset) -> tuple[str, ...]:
    """Variables that drive the column: skin or else air temperature, sunshine with it, snow.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> column_forcing(canonical(years=1))
    ('tas', 'rsds', 'snd')
    """
    top = ("ts",) if "ts" in ds else ("tas", "rsds")
    names = tuple(name for name in (*top, "snd", "snw") if name in ds)
    if not {"ts", "tas"} & set(names) or not {"snd", "snw"} & set(names):
        raise MissingVariableError(
            "the soil column needs 'ts' or 'tas', and snow: 'snd' or 'snw'; the Dataset has "
            f"{[str(n) for n in ds.data_vars if TIME in ds[n].dims]}."
        )
    return names


def learn_column(ds: xr.Dataset, spec: WindowSpec, period: slice) -> State:
    """Calibrate on the training months; nothing after them is looked at."""
    from .physics.calibration import calibrate
    from .physics.forcing import fill_gaps

    names = column_forcing(ds)
    soil = ds["tsl"].sel({TIME: period}).compute()
    past = ds[list(names)].sel({TIME: slice(None, period.stop)}).compute()
    found = calibrate(
        fill_gaps(past),
        soil.assign_coords(_edges(ds)),
        soil=SOIL,
        train=tuple(str(t)[:7] for t in soil[TIME].values[[0, -1]]),  # type: ignore[arg-type]
    )
    return {
        "spec": WindowSpec(length=1, horizon=0, features=names),
        "parameters": found.parameters,
        "report": found.report,
        "names": names,
        "bounds": layer_bounds(ds),
        "layers": {str(n): c.variable for n, c in soil.coords.items() if c.dims == (LAYER,)},
        "typical": past.groupby("time.month").mean(TIME),
    }


def _edges(ds: xr.Dataset) -> dict[str, tuple[str, np.ndarray]]:
    bounds = layer_bounds(ds)
    return {"depth_top": (LAYER, bounds[:, 0]), "depth_bottom": (LAYER, bounds[:, 1])}


def run_column(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    """Run the calibrated column on the forcing of ``ds``, from its first month."""
    from .physics.calibration import with_parameters
    from .physics.simulation import SpinUp, simulate_soil

    require_variables(ds, state["names"], step="the soil column")
    forcing = ds[list(state["names"])].compute()
    picks = {d: ds[d] for d in location_dims(state["parameters"])}
    typical = state["typical"].sel(picks).sel(month=forcing[TIME].dt.month).drop_vars("month")
    for name, da in forcing.data_vars.items():
        inner = da.ffill(TIME).notnull() & da.bfill(TIME).notnull()
        filled = da.where(da.notnull() | ~inner, typical[name])
        forcing[name] = filled.transpose(*da.dims).assign_attrs(da.attrs)
    soil, surface = with_parameters(SOIL, None, state["parameters"].sel(picks))
    years = min(10, forcing.sizes[TIME] // 12)
    run = simulate_soil(
        forcing,
        soil,
        surface=surface,
        layers=state["bounds"],
        spin_up=SpinUp(years=years, cycles=30, tolerance=0.05),
    )
    return run["tsl"].drop_attrs().assign_coords(state["layers"])
