"""From answers of networks to labelled attributions in K, location by location."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from ._attribution import Linear, expected_gradients, quiet_threads
from ._attribution_shap import shap_attributions
from ._explained import COLUMN, Explainable, Subject, members_of
from .errors import DataError
from .schema import FEATURE, LAG, LAYER, TIME, location_dims

#: Dimension of the explained windows, all locations in a row.
WINDOW = "window"
#: The feature that stands for the location embedding.
LOCATION = "location"

_ATTRIBUTES = {
    "attribution": ("K", "contribution to the predicted soil temperature"),
    "base_value": ("degree_Celsius", "predicted soil temperature of the background"),
    "prediction": ("degree_Celsius", "predicted soil temperature"),
    "residual": ("K", "prediction minus base value and attributions"),
    "prediction_std": ("K", "standard deviation of the explained part over the background"),
    "feature_value": (None, "feature, in its own units"),
    "outside_training_range": ("1", "share of the window outside the range seen in training"),
}


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How attributions are computed.

    Attributes
    ----------
    method : str
        See :func:`xpermafrost.explain`.
    layers : ndarray of int
        Numbers of the layers.
    tol : float
    seed : int
    device : str
    paired : bool
        Each window has one start of its own, instead of all of the background.
    across : bool
        The background is of all locations, and the embedding a feature.
    """

    method: str
    layers: np.ndarray
    tol: float
    seed: int = 0
    device: str = "cpu"
    paired: bool = False
    across: bool = False


@dataclass(frozen=True, kw_only=True)
class _Shares:
    """Attributions of the scaled answers at one location, mean over members."""

    parts: np.ndarray  # (window, layer, input)
    place: np.ndarray  # (window, layer), of the location embedding
    start: np.ndarray  # (window or 1, layer), mean answer of the background
    spread: np.ndarray  # (layer,), standard deviation of the answers over it


def attribute(
    fitted: Explainable,
    subject: Subject,
    other: Subject,
    numbers: np.ndarray,
    pools: dict[int, np.ndarray],
    engine: Engine,
) -> xr.Dataset:
    """Attributions of windows ``numbers``, sorted by location, to a background in ``other``.

    ``pools`` holds the background windows by location number.
    """
    pieces = []
    for place, pool in pools.items():
        mine = numbers[subject.windows.location[numbers] == place]
        with quiet_threads() as workers:
            shares = _shares(fitted, subject, other, mine, pool, engine, workers)
        pieces.append(_in_kelvin(subject, other, mine, pool, shares, engine))
    joined = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
    return _labelled(subject, numbers, joined, engine)


def _shares(
    fitted: Explainable,
    subject: Subject,
    other: Subject,
    numbers: np.ndarray,
    pool: np.ndarray,
    engine: Engine,
    workers: int,
) -> _Shares:
    layers, paired = engine.layers, engine.paired
    ends, starts = subject.places(numbers), other.places(pool)
    members = members_of(fitted, subject, int(ends[0]), device=engine.device)
    linear = any(isinstance(member, Linear) for member in members)
    if engine.across and not all(member.embeds for member in members):
        raise DataError(
            f"{fitted.name!r} has no location embedding, so nothing leads from one location to "
            "another. Type background_from='location'."
        )
    if linear and engine.method != "expected_gradients":
        raise DataError(
            f"{fitted.name!r} is linear: its expected gradients are exact. Leave method= out."
        )
    rows = [
        (member.rows(subject.rows(numbers), ends), member.rows(other.rows(pool), starts))
        for member in members
    ]
    base = np.mean([m.values(b)[:, layers] for m, (_, b) in zip(members, rows, strict=True)], 0)
    known = base
    if paired:
        last = np.mean([m.values(a)[:, layers] for m, (a, _) in zip(members, rows, strict=True)], 0)
        known = np.concatenate([base, last])
    spread = known.std(axis=0)
    # a little less than asked, for what single precision adds later; it is never below its own
    limit = np.maximum(0.95 * engine.tol * spread, 5e-7)
    found = []
    for member, (end, start) in zip(members, rows, strict=True):
        if isinstance(member, Linear):
            found.append(member.attributions(end, start, paired=paired)[:, layers])
        elif engine.method == "expected_gradients":
            found.append(
                expected_gradients(
                    member, end, start, layers=layers, limit=limit, paired=paired, workers=workers
                )
            )
        else:
            found.append(
                shap_attributions(
                    engine.method, member, end, start, layers=layers, seed=engine.seed
                )
            )
    total = np.mean(found, axis=0)
    inputs = subject.windows.spec.length * subject.windows.cube.shape[2]
    return _Shares(
        parts=total[:, :, :inputs],
        place=total[:, :, inputs:].sum(axis=2),
        start=base if paired else base.mean(axis=0, keepdims=True),
        spread=spread,
    )


def _in_kelvin(
    subject: Subject,
    other: Subject,
    numbers: np.ndarray,
    pool: np.ndarray,
    shares: _Shares,
    engine: Engine,
) -> dict[str, np.ndarray]:
    """Unscaled, the latest step first, with what a hybrid's column adds itself."""
    layers = engine.layers
    slope = subject.of(subject.slope, numbers)[:, layers]
    base = subject.of(subject.offset, numbers)[:, layers] + slope * shares.start
    shape = (numbers.size, layers.size, subject.windows.spec.length, -1)
    parts = shares.parts.reshape(shape)[:, :, ::-1] * slope[:, :, None, None]
    if subject.direct is not None and other.direct is not None:
        origin = other.of(other.direct, pool)[:, layers]
        origin = origin if engine.paired else origin.mean(axis=0, keepdims=True)
        base = base + origin
        own = subject.of(subject.direct, numbers)[:, layers] - origin
        for k, feature in enumerate(_column_features(subject)[layers]):
            parts[:, k, 0, feature] += own[:, k]
    if engine.across:
        extra = np.full((*parts.shape[:3], 1), np.nan)
        extra[:, :, 0, 0] = shares.place * slope
        parts = np.concatenate([parts, extra], axis=3)
    return {"attribution": parts, "base_value": base, "prediction_std": slope * shares.spread}


def _column_features(subject: Subject) -> np.ndarray:
    """Number of the feature that holds the column's answer at each layer."""
    names = subject.raw[FEATURE].values.tolist()
    return np.array([k for k, name in enumerate(names) if name.startswith(f"{COLUMN}_")])


def _labelled(
    subject: Subject, numbers: np.ndarray, parts: dict[str, np.ndarray], engine: Engine
) -> xr.Dataset:
    spec, names = subject.windows.spec, subject.raw[FEATURE].values.tolist()
    values = subject.values(numbers)
    blank = [(0, 0)] * 2 + [(0, int(engine.across))]  # a location has no value
    prediction = subject.of(subject.predicted, numbers)[:, engine.layers]
    total = parts["base_value"] + np.nansum(parts["attribution"], axis=(2, 3))
    both = (WINDOW, LAYER)
    out = xr.Dataset(
        {
            "attribution": ((WINDOW, LAYER, LAG, FEATURE), parts["attribution"].astype("float32")),
            "base_value": (both, parts["base_value"]),
            "prediction": (both, prediction),
            "residual": (both, prediction - total),
            "prediction_std": (both, parts["prediction_std"]),
            "feature_value": (
                (WINDOW, LAG, FEATURE),
                np.pad(values, blank, constant_values=np.nan),
            ),
        },
        coords={
            **_coordinates(subject, numbers, engine.layers),
            LAG: np.arange(spec.length) + spec.horizon,
            FEATURE: [*names, LOCATION] if engine.across else names,
        },
    )
    if subject.outside is not None:
        share = subject.steps(subject.outside, numbers).mean(axis=1)
        share = np.pad(share, blank[1:], constant_values=np.nan)
        out["outside_training_range"] = ((WINDOW, FEATURE), share)
    out[LAG].attrs = {"long_name": f"{spec.step}s before the target", "units": spec.step}
    for name, (units, label) in _ATTRIBUTES.items():
        if name in out:
            out[name].attrs = {"long_name": label} | ({"units": units} if units else {})
    return out


def _coordinates(
    subject: Subject, numbers: np.ndarray, layers: np.ndarray
) -> dict[str, xr.Variable]:
    prediction, windows = subject.prediction, subject.windows
    dims = [str(d) for d in location_dims(prediction)]
    at = np.unravel_index(windows.location[numbers], [prediction.sizes[d] for d in dims])
    found = {
        d: xr.Variable(WINDOW, prediction[d].values[k], prediction[d].attrs)
        for d, k in zip(dims, at, strict=True)
    }
    found[TIME] = xr.Variable(WINDOW, prediction[TIME].values[windows.end[numbers]])
    for name, coord in prediction.coords.items():
        if coord.dims == (LAYER,):
            found[str(name)] = coord.variable.isel({LAYER: layers})
    return found


__all__ = ["LOCATION", "WINDOW", "Engine", "attribute"]
