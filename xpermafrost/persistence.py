"""Persistence of a model's error: what it got wrong of late, damped, joins its next answer.

With soil temperature observed up to the month before, the error of a model is known up to then.
Of the error e of month t two parts are expected, at each location and layer:

    s(t) = b^j  mean of the known errors of the same month in the last three years
    d(t) = a^k  ( e(t-k) - s(t-k) )

j is the age in years of the latest of the former errors, 1 in an unbroken record; k the age in
months of the last known error, at most twelve. The damping a and b is regressed by layer on years
that a model of the same kind has not seen. This is updating by an autoregressive model of the
error (Refsgaard 1997) with a term of the season.

References
----------
Refsgaard, J. C. (1997), Validation and intercomparison of different updating procedures for
real-time forecasting, Nordic Hydrology 28, 65-84.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from ._blocks import is_lazy
from ._checks import marks_of, require_variables, step_name, without_attrs
from ._state_archive import PART, file_of, from_bytes
from .checkpoint import write_archive
from .errors import DataError
from .preparation import Period
from .products import predict_blocks, soil_temperature
from .schema import FREEZING_POINT, LAYER, STEPS, TIME
from .windows import WindowSpec

#: Names of models that know their last error end so.
SUFFIX = "+persistence"

#: Years whose errors of the same month are averaged.
YEARS = 3

#: Age in months up to which the last known error counts.
MONTHS = 12

#: Training years that a rehearsal needs: two to learn from, two to regress the damping on.
SHORTEST = 4


class Network(Protocol):
    """What is corrected: a fitted network, or a hybrid of it."""

    @property
    def name(self) -> str: ...

    @property
    def id(self) -> str: ...

    @property
    def info(self) -> dict[str, Any]: ...

    @property
    def spec(self) -> WindowSpec: ...

    def predict(self, ds: xr.Dataset, *, members: str, device: str) -> xr.DataArray: ...

    def outside_training_range(self, ds: xr.Dataset) -> xr.DataArray: ...

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None: ...


@dataclass(frozen=True, kw_only=True)
class PersistenceModel:
    """A network, or hybrid, that also knows its own last errors; made by :func:`fit_persistence`.

    Attributes
    ----------
    model : FittedModel or HybridModel
        Without the correction: ``m.model.predict(ds)`` needs no soil temperature.
    damping : Dataset (layer)
        ``month``, the correlation with the last month's error, and ``year``, with the mean of the
        last years' errors of the same month [1].
    """

    model: Network
    damping: xr.Dataset

    @property
    def name(self) -> str:
        """``gru+persistence`` and the like."""
        return f"{self.model.name}{SUFFIX}"

    @property
    def id(self) -> str:
        """As that of the model: architecture and hash."""
        return f"{self.model.id}{SUFFIX}"

    @property
    def info(self) -> dict[str, Any]:
        """Training period and provenance, of the model."""
        return self.model.info

    @property
    def spec(self) -> WindowSpec:
        """Window and features of the model."""
        return self.model.spec

    def predict(
        self, ds: xr.Dataset, *, members: str = "mean", device: str = "cpu"
    ) -> xr.DataArray:
        """Soil temperature ``([member,] location..., layer, time)`` [degC], one step ahead.

        The answer for a month reads ``tsl`` of the months before it, never its own or a later one.
        Where none is known the correction is zero: beyond the record it fades within a year, apart
        from the error of the season, which lasts three.

        Parameters, errors and laziness are those of :meth:`FittedModel.predict`; ``tsl`` is
        needed besides.

        Raises
        ------
        MissingVariableError
            Without ``tsl``. For forcing alone take the model without its persistence: ``.model``.
        """
        require_variables(ds, ("tsl",), step=f"{self.name!r} (for forcing alone: its .model)")
        if is_lazy(ds):
            return predict_blocks(self, ds, members=members, device=device)
        alone = self.model.predict(ds, members=members, device=device)
        observed = ds["tsl"].compute().reset_coords(drop=True) - FREEZING_POINT
        error = observed.assign_coords({LAYER: alone[LAYER]}) - alone
        expected = expected_error(error, self.damping, step=self.spec.step)
        kelvin = (alone + expected + FREEZING_POINT).transpose(*alone.dims)
        source = alone.attrs.get("source")
        return soil_temperature(kelvin, model=self.id, source=source, **marks_of(ds))

    def outside_training_range(self, ds: xr.Dataset) -> xr.DataArray:
        """As :meth:`FittedModel.outside_training_range`."""
        return self.model.outside_training_range(ds)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """As :meth:`FittedModel.save`: one file, for :func:`xpermafrost.load_model`."""
        arrays = {PART: file_of(self.model)}
        meta = {"parts": "persistence"}
        datasets = {"damping": self.damping}
        write_archive(path, meta=meta, arrays=arrays, datasets=datasets, overwrite=overwrite)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to other processes as the bytes of its file."""
        from .hybrid import load_model

        return from_bytes, (load_model, file_of(self).tobytes())


def rehearsal(
    ds: xr.Dataset, train: tuple[np.datetime64, ...], *, step: str
) -> tuple[Period, slice]:
    """Training years of a model that leaves the last quarter of them out, and that quarter.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> train = np.datetime64("2001-01-01"), np.datetime64("2008-12-01")
    >>> rehearsal(canonical(years=10), train, step="month")[0]
    ('2001-01', '2006-12')
    """
    time = ds.indexes[TIME]
    inside = time[(time >= train[0]) & (time <= train[1])]
    years = len(inside) // STEPS[step]
    if years < SHORTEST:
        raise DataError(
            f"the persistence of errors needs {SHORTEST} training years, half of them to see how a "
            f"model errs on years that it has not learned; {step_name(train[0], step)} to "
            f"{step_name(train[1], step)} are {years}. Leave '{SUFFIX}' out."
        )
    cut = len(inside) - STEPS[step] * max(2, years // 4)
    early, late = inside[[0, cut - 1]], inside[[cut, -1]]
    return (step_name(early[0], step), step_name(early[1], step)), slice(*late)


def learn_damping(error: xr.DataArray, during: slice, *, step: str) -> xr.Dataset:
    """Regress errors on their expected parts, by layer, over all locations.

    Parameters
    ----------
    error : DataArray (..., layer, time)
        Observed minus predicted [K] on a regular axis.
    during : slice
        Times whose errors are regressed: those that the model has not learned.
    step : {"month", "day"}

    Returns
    -------
    Dataset (layer)
        ``month`` and ``year`` in 0..1; 0 for a layer of which too little is known.
    """
    usual, age = _usual_error(error, step)
    span = {TIME: during}
    year = _slope(usual.where(age == 1).sel(span), error.sel(span))
    rest = error - (usual * year**age).fillna(0.0)
    month = _slope(rest.shift({TIME: 1}).sel(span), rest.sel(span))
    labels = {"month": "the month before (daily: the day)", "year": "the month in former years"}
    made = {"month": month, "year": year}
    return xr.Dataset(
        {
            name: da.astype("float64")
            .pipe(without_attrs)
            .assign_attrs(units="1", long_name=f"damping of the error of {labels[name]}")
            for name, da in made.items()
        }
    ).reset_coords(drop=True)


def expected_error(error: xr.DataArray, damping: xr.Dataset, *, step: str) -> xr.DataArray:
    """The error that is expected at each time from the errors before it.

    Parameters
    ----------
    error : DataArray (..., layer, time)
        Observed minus predicted [K] on a regular axis, missing where either is.
    damping : Dataset (layer)
        Of :func:`learn_damping`.
    step : {"month", "day"}

    Returns
    -------
    DataArray (..., layer, time)
        [K], of earlier times only; 0 where no earlier error is known.

    Examples
    --------
    >>> time = pd.date_range("2001-01", periods=4, freq="MS")
    >>> error = xr.DataArray([[2.0, np.nan, np.nan, np.nan]], {"layer": [1], "time": time})
    >>> damping = xr.Dataset({"month": ("layer", [0.5]), "year": ("layer", [0.8])})
    >>> expected_error(error, damping, step="month").values.tolist()
    [[0.0, 1.0, 0.5, 0.25]]
    """
    usual, age = _usual_error(error, step)
    season = (usual * damping["year"] ** age).fillna(0.0)
    rest = (error - season).transpose(..., TIME)
    number = np.arange(rest.sizes[TIME])
    latest = np.maximum.accumulate(np.where(rest.notnull(), number, -1), axis=-1)
    before = np.pad(latest[..., :-1], [(0, 0)] * (latest.ndim - 1) + [(1, 0)], constant_values=-1)
    last = np.take_along_axis(rest.values, np.maximum(before, 0), axis=-1)
    steps = rest.copy(data=number - before)
    known = (before >= 0) & (steps <= MONTHS * (STEPS[step] // 12))
    recent = (rest.copy(data=last) * damping["month"] ** steps).where(known, 0.0)
    return (season + recent).transpose(*error.dims)


def _usual_error(error: xr.DataArray, step: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean of the errors of the same month of the last years, and the age of the latest [years].

    Of days, the errors of the month around the day count, for single ones are weather.
    """
    year, width = STEPS[step], STEPS[step] // 12
    around = (
        error if width == 1 else error.rolling({TIME: width}, center=True, min_periods=1).mean()
    )
    past = xr.concat(
        [around.shift({TIME: year * k}) for k in range(1, YEARS + 1)],
        dim=pd.RangeIndex(1, YEARS + 1, name="age"),
    )
    age = past["age"].where(past.notnull()).min("age")
    return past.mean("age"), age


def _slope(x: xr.DataArray, y: xr.DataArray) -> xr.DataArray:
    """Slope through the origin by layer, in 0..1."""
    both = x.notnull() & y.notnull()
    dims = [d for d in y.dims if d != LAYER]
    square = (x.where(both) ** 2).sum(dims)
    slope = (x * y).where(both).sum(dims) / square.where(square > 0)
    return slope.fillna(0.0).clip(0.0, 1.0)


__all__ = [
    "SUFFIX",
    "PersistenceModel",
    "expected_error",
    "learn_damping",
    "rehearsal",
]
