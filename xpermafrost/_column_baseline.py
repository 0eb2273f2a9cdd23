"""The soil column as a baseline: calibrated place by place on the training years."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ._checks import require_variables, step_name, without_attrs
from .climatology import climatology, usual
from .errors import MissingVariableError
from .schema import LAYER, STEPS, TIME, VARIABLES, layer_bounds, location_dims
from .windows import WindowSpec

State = dict[str, Any]

#: Where calibrations start: soil and class of snow. The better in training is kept, by place.
STARTS = (("tundra", "tundra"), ("boreal", "taiga"))

#: Candidates of each calibration's first search.
CANDIDATES = 64


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
    from .physics import Surface, calibrate

    names = column_forcing(ds)
    soil = ds["tsl"].sel({TIME: period}).compute().assign_coords(_edges(ds))
    past = ds[list(names)].sel({TIME: slice(None, period.stop)}).compute()
    typical = past.map(climatology, step=spec.step)
    years = tuple(step_name(t, spec.step) for t in soil[TIME].values[[0, -1]])
    forcing = _driving(past, typical)
    found = [
        calibrate(
            forcing,
            soil,
            soil=profile,
            surface=Surface(snow=snow),
            train=years,  # type: ignore[arg-type]
            candidates=CANDIDATES,
        )
        for profile, snow in STARTS
    ]
    error = xr.concat([one.report["rmse"] for one in found], dim="start")
    return {
        "spec": WindowSpec(length=1, horizon=0, features=names, step=spec.step),
        "parameters": [one.parameters for one in found],
        "chosen": error.fillna(np.inf).argmin("start"),
        "training_rmse": error.min("start"),
        "names": names,
        "bounds": layer_bounds(ds),
        "layers": {str(n): c.variable for n, c in soil.coords.items() if c.dims == (LAYER,)},
        "typical": typical,
    }


def _edges(ds: xr.Dataset) -> dict[str, tuple[str, np.ndarray]]:
    bounds = layer_bounds(ds)
    return {"depth_top": (LAYER, bounds[:, 0]), "depth_bottom": (LAYER, bounds[:, 1])}


def _driving(forcing: xr.Dataset, typical: xr.Dataset) -> xr.Dataset:
    """Inner gaps filled by the training climatology; sunshine by date and latitude if unknown."""
    from .physics import insolation

    out = forcing.copy()
    for name, da in forcing.data_vars.items():
        inner = da.ffill(TIME).notnull() & da.bfill(TIME).notnull()
        often = usual(typical[name], da[TIME]).clip(VARIABLES[str(name)].valid_range[0])
        filled = da.where(da.notnull() | ~inner, often)
        out[name] = filled.transpose(*da.dims).assign_attrs(da.attrs)
    if "ts" not in out and "rsds" not in out and "lat" in out.coords:
        sun = insolation(out[TIME], out["lat"])
        out["rsds"] = sun.broadcast_like(out["tas"]).transpose(*out["tas"].dims)
    return out


def run_column(state: State, spec: WindowSpec, ds: xr.Dataset) -> xr.DataArray:
    """Run the calibrated column on the forcing of ``ds``, from its first step."""
    from .physics import SpinUp, Surface, simulate_soil, with_parameters

    require_variables(ds, state["names"], step="the soil column")
    forcing = ds[list(state["names"])].compute()
    picks = {d: ds[d] for d in location_dims(state["chosen"])}
    forcing = _driving(forcing, state["typical"].sel(picks))
    years = min(10, forcing.sizes[TIME] // STEPS[spec.step])
    chosen, answers = state["chosen"].sel(picks), []
    for number, (profile, snow) in enumerate(STARTS):
        numbers = state["parameters"][number].sel(picks)
        soil, surface = with_parameters(
            profile, Surface(snow=snow), numbers.where(chosen == number)
        )
        run = simulate_soil(
            forcing,
            soil,
            surface=surface,
            layers=state["bounds"],
            average="month" if spec.step == "month" else "step",
            spin_up=SpinUp(years=years, cycles=30, tolerance=0.05),
        )
        answers.append(run["tsl"].pipe(without_attrs))
    return answers[0].fillna(answers[1]).assign_coords(state["layers"])
