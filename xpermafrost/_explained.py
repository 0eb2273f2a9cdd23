"""A predictor on a Dataset, taken apart: its windows, and what makes temperatures of answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from ._attribution import Linear, Member
from ._checks import without_attrs
from .baselines import FittedBaseline, _anomalies, _at, _features, _numbers
from .climatology import usual
from .errors import DataError
from .fitted import FittedModel
from .hybrid import COLUMN, HybridModel, _with_column
from .scaling import scale_features, unscale_target
from .schema import FEATURE, FREEZING_POINT, LAYER, TIME
from .windows import Windows, make_windows

#: What can be explained.
Explainable = FittedModel | HybridModel | FittedBaseline


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Windows of a Dataset and the parts of a predictor's answers to them.

    Attributes
    ----------
    raw : DataArray
        Features as the user knows them ``(location..., time, feature)``.
    windows : Windows
        Of scaled features; only such as the predictor answers.
    place : ndarray (location,)
        Number of every location in the predictor.
    prediction : DataArray
        What ``predict`` says ``(location..., layer, time)`` [degC].
    slope, offset : ndarray (location, layer, time)
        Temperature [degC] = offset + slope * answer, without ``direct``.
    direct : ndarray (location, layer, time) or None
        What the soil column of a hybrid adds beside the network [K].
    outside : ndarray (location, time, feature) or None
        Whether a feature is outside its training range of that location and calendar month.
    """

    raw: xr.DataArray
    windows: Windows
    place: np.ndarray
    prediction: xr.DataArray
    slope: np.ndarray
    offset: np.ndarray
    direct: np.ndarray | None = None
    outside: np.ndarray | None = None

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Flattened windows ``(window, step * feature)``."""
        return self.windows.flat()[self.windows.rows[numbers]]

    def of(self, cube: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Numbers ``(location, layer, time)`` at the targets of windows: ``(window, layer)``."""
        return cube[self.windows.location[numbers], :, self.windows.end[numbers]]

    def steps(self, cube: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Numbers ``(location, time, feature)`` of windows, latest first ``(window, lag, ...)``."""
        back = self.windows.spec.length - 1 - np.arange(self.windows.spec.length)
        at = self.windows.start[numbers, None] + back
        return cube[self.windows.location[numbers, None], at]

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Number of the place of windows in the predictor."""
        return self.place[self.windows.location[numbers]]

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """Features of windows as the user knows them, ``(window, lag, feature)``."""
        return self.steps(self.raw.values.reshape(-1, *self.raw.shape[-2:]), numbers)

    @property
    def predicted(self) -> np.ndarray:
        """:attr:`prediction` as ``(location, layer, time)``."""
        return _cube(self.prediction)


def take_apart(predictor: object, ds: xr.Dataset, *, device: str = "cpu") -> Subject:
    """The windows and answers of ``predictor`` on ``ds``; refuse what does not fit.

    Raises
    ------
    DataError
        If the predictor is not one whose answer has attributions that sum.
    ModelMismatchError, MissingVariableError, DimensionError, TimeAxisError
        If the data are not of the kind it was fitted on.
    """
    if isinstance(predictor, HybridModel):
        column = predictor.column.predict(ds).compute()
        subject = _of_network(predictor.net, _with_column(ds, column), device)
        total = predictor.predict(ds, device=device).compute().transpose(*subject.prediction.dims)
        return _answered(
            subject,
            prediction=total.astype("float64"),
            direct=_cube(total) - _cube(subject.prediction),
        )
    if isinstance(predictor, FittedModel):
        return _answered(_of_network(predictor, ds, device))
    if isinstance(predictor, FittedBaseline) and predictor.name == "ridge":
        return _answered(_of_ridge(predictor, ds))
    if isinstance(predictor, FittedBaseline):
        raise DataError(
            f"explain has no attributions for the baseline {predictor.name!r}: it has neither "
            "gradients nor weights of its features. Explain a network, a hybrid or 'ridge'."
        )
    inside = " Explain the network in it: explain(m.model, ds)." * hasattr(predictor, "model")
    raise DataError(
        "explain needs what fit, fit_hybrid, fit_baseline('ridge') or load_model return; got "
        f"{type(predictor).__name__}. Fit first: gru = ds.permafrost.fit('gru').{inside}"
    )


def _of_network(model: FittedModel, ds: xr.Dataset, device: str) -> Subject:
    place = model.check_inputs(ds)
    raw = model.features(ds).compute()
    scaler = model._at_locations(model.scaler, raw)
    windows = _whole(scale_features(raw, scaler), raw, model.spec)
    prediction = model.predict_features(raw, index=place, members="mean", device=device)
    blank = xr.zeros_like(prediction).astype("float64").pipe(without_attrs)
    offset = unscale_target(blank, scaler).transpose(*prediction.dims)
    one = unscale_target(blank + 1.0, scaler).transpose(*prediction.dims)
    return Subject(
        raw=raw,
        windows=windows,
        place=place,
        prediction=prediction,
        slope=_cube(one - offset),
        offset=_cube(offset) - FREEZING_POINT,
        outside=_outside(raw, scaler),
    )


def _of_ridge(model: FittedBaseline, ds: xr.Dataset) -> Subject:
    if model.spec.step != "month":
        raise DataError(
            "explain has no attributions by lag for a ridge of days, which reads means over blocks "
            "of days. Explain a network, or a ridge of months."
        )
    prediction = model.predict(ds).compute()
    raw = _features(ds, model.state, model.spec)
    course = _at(model.state["climatology"], raw)
    offset = usual(course, prediction[TIME]).transpose(*prediction.dims) - FREEZING_POINT
    return Subject(
        raw=raw,
        windows=_whole(_anomalies(raw, model.state), raw, model.spec),
        place=_numbers(raw, model.state),
        prediction=prediction,
        slope=np.ones(_cube(offset).shape),
        offset=_cube(offset),
    )


def _whole(scaled: xr.DataArray, raw: xr.DataArray, spec: object) -> Windows:
    """Windows without gaps; where there are none, say which feature is missing when."""
    windows = make_windows(scaled, spec)  # type: ignore[arg-type]
    if len(windows):
        return windows
    gaps = scaled.isnull()
    names = gaps[FEATURE].values[gaps.any([d for d in gaps.dims if d != FEATURE]).values]
    when = gaps[TIME].values[gaps.any([d for d in gaps.dims if d != TIME]).values]
    raise DataError(
        f"no window of {windows.spec.length} {windows.spec.step}s is whole: {names.tolist()} are "
        f"missing between {str(when[0])[:10]} and {str(when[-1])[:10]} ({when.size} steps). A "
        "missing value has no attribution. Fill the gaps first, for instance "
        "ds.interpolate_na('time', max_gap='62D'), or select complete years: ds.sel(time=...)."
    )


def _answered(subject: Subject, **parts: object) -> Subject:
    """Only windows whose target is answered at every layer: not water, not unlearned cells."""
    changed = {**vars(subject), **parts}
    whole = Subject(**changed)
    numbers = np.arange(len(whole.windows))
    keep = np.isfinite(whole.of(whole.predicted, numbers)).all(axis=1)
    windows = Windows(
        **{
            **vars(whole.windows),
            "location": whole.windows.location[keep],
            "end": whole.windows.end[keep],
        }
    )
    return Subject(**{**changed, "windows": windows})


def _cube(da: xr.DataArray) -> np.ndarray:
    """``(location..., layer, time)`` with the locations along one axis."""
    return np.asarray(da.values, dtype="float64").reshape(-1, da.sizes[LAYER], da.sizes[TIME])


def _outside(raw: xr.DataArray, scaler: xr.Dataset) -> np.ndarray:
    """Whether a value is outside the range of its location and calendar month in training."""
    low, high = (
        scaler[name].sel(month=raw[TIME].dt.month).drop_vars("month")
        for name in ("feature_min", "feature_max")
    )
    slack = 1e-6 * (high - low)  # values go through float32
    beyond = ((raw < low - slack) | (raw > high + slack)).transpose(*raw.dims)
    return beyond.values.reshape(-1, *raw.shape[-2:])


# ---------------------------------------------------------------- answers


def members_of(
    predictor: Explainable, subject: Subject, place: int, *, device: str
) -> list[Member | Linear]:
    """The networks, or the linear map, that answer at one place."""
    if isinstance(predictor, FittedBaseline):
        return [Linear(predictor.state["weights"][place])]
    model = predictor.net if isinstance(predictor, HybridModel) else predictor
    shape = (subject.windows.spec.length, subject.windows.cube.shape[2])
    return [Member(net, shape, place, device) for net in model.nets]


__all__ = [
    "COLUMN",
    "Explainable",
    "Subject",
    "members_of",
    "take_apart",
]
