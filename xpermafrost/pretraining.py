"""Pretraining: a network first learns from climates warmer than any of its records.

A network that has seen one climate only loses a good part of a warming. Here it first sees the
soil column under hundreds of climates and soils drawn at random (:mod:`xpermafrost._teacher`), or
a climate model's own soil through its scenarios; then it is tuned, shortly and slowly, on the
reference. Every place of the school has its own embedding, now and then hidden: the embedding
comes to tell soils apart, the rest of the network holds what is common to all, and a new place
begins as the average soil.

Weights for the usual features, layers and window come with the package;
``python -m xpermafrost.pretraining FOLDER`` makes them, from seeds.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ._checks import choose, require_dims, require_variables, without_attrs
from ._files import atomic_path
from ._teacher import FORCING, school
from ._training_loop import Task, TrainingConfig, run_tasks, without_places
from .errors import (
    CheckpointError,
    DataError,
    MissingVariableError,
    ModelMismatchError,
    PermafrostWarning,
)
from .experiment import scenarios_of, series_of
from .features import SEASON, needed_variables
from .models import MODELS, SequenceNet
from .preparation import prepare
from .scaling import NORMS
from .schema import (
    ERA5LAND_EDGES,
    FEATURE,
    HISTORICAL,
    LAYER,
    SCENARIO,
    TIME,
    layer_bounds,
    name_axis,
)
from .windows import WindowSpec

#: Features of the weights that come with the package: what drives the column, and the season.
FEATURES = ("tas", "snd", *SEASON["month"])

#: The window of the weights that come with the package.
SPEC = WindowSpec(features=FEATURES)

#: Networks whose weights come with the package.
NAMES = ("gru", "bilstm", "tcn", "transformer", "conv1dlstm")

#: How a network learns from the column, and how it is tuned afterwards.
SCHOOLING = TrainingConfig(
    epochs=3,
    batch_size=512,
    learning_rate=4e-3,
    place_rate=4.0,
    place_dropout=0.3,
)
TUNING = TrainingConfig(
    epochs=10,
    batch_size=64,
    learning_rate=5e-4,
    weight_decay=0.0,
    place_rate=40.0,
)

#: Places of the school, and years that each is simulated for.
PLACES, YEARS = 1024, 70

_FOLDER = Path(__file__).parent / "data"
_SUMS = "pretrained.sha256"


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Weights to start from.

    Attributes
    ----------
    weights : mapping
        By name, without the location embedding.
    norms : Dataset
        ``feature_mean``, ``feature_std`` ``(feature)`` and ``target_mean``, ``target_std``
        ``(layer)`` [K] that the network expects.
    info : dict
        Where they come from.
    """

    weights: Mapping[str, np.ndarray]
    norms: xr.Dataset
    info: dict[str, Any]


def ships(name: str, spec: WindowSpec, layers: np.ndarray, options: Mapping[str, Any]) -> bool:
    """Whether the package has weights for this network, window and these layers.

    Examples
    --------
    >>> ships("gru", SPEC, np.array([[0.0, 0.07], [0.07, 0.28], [0.28, 1.0], [1.0, 2.89]]), {})
    True
    """
    edges = np.asarray(ERA5LAND_EDGES)
    own = np.stack([edges[:-1], edges[1:]], axis=1)
    usual = layers.shape == own.shape and np.allclose(layers, own, atol=1e-6)
    return name in NAMES and spec == SPEC and usual and not options


def pretrained(
    name: str,
    spec: WindowSpec,
    layers: np.ndarray,
    *,
    pretrain: xr.Dataset | str = "column",
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: bool | None = None,
) -> Pretrained:
    """Weights of the network ``name``, pretrained on the column or on a climate model.

    Parameters
    ----------
    name : str
        A registered :class:`~xpermafrost.models.SequenceNet`.
    spec : WindowSpec
        Features that the column knows: of ``tas``, ``pr``, ``prsn``, ``snd``, ``snw``, ``rsds``,
        and the season. Of a climate model: what it has.
    layers : array (layer, 2)
        Bounds of the layers [m].
    pretrain : "column" or Dataset
        A canonical Dataset with ``tsl``, or an experiment Dataset with ``tsl_esm``, whose
        scenarios are learned one beside the other.
    options : mapping, optional
        Of the architecture.
    seed : int
        Of the pretraining; :func:`xpermafrost.fit` leaves it at that of the shipped weights,
        whatever its own.
    device, progress
        See :func:`xpermafrost.fit`.

    Returns
    -------
    Pretrained
        Those of the package where they fit; else trained now. Of the column, trained ones are
        kept in the cache folder.

    Raises
    ------
    DataError
        If the network has no location embedding, or the step is not a month.
    MissingVariableError
        If the column, or the Dataset, has not a variable that the features need.
    ModelMismatchError
        If the Dataset's layers are others.

    Examples
    --------
    >>> bounds = np.array([[0.0, 0.07], [0.07, 0.28], [0.28, 1.0], [1.0, 2.89]])
    >>> pretrained("gru", SPEC, bounds).info["weights"]
    'shipped with xpermafrost'
    """
    options = dict(options or {})
    choose("model", name, MODELS)
    builder = MODELS[name]
    if not (isinstance(builder, type) and issubclass(builder, SequenceNet)):
        raise DataError(
            f"pretraining needs a network with a location embedding, an xp.models.SequenceNet; "
            f"{name!r} is none. Derive it from there, or type pretrain=None."
        )
    if spec.step != "month":
        raise DataError(
            f"pretraining is monthly; the windows have steps of a {spec.step}. Type pretrain=None."
        )
    if isinstance(pretrain, xr.Dataset):
        lessons = _of_climate_model(pretrain, spec, layers)
        return _learn(name, lessons, spec, options, seed, device, progress, "climate model")
    choose("pretraining", pretrain, ("column",))
    if ships(name, spec, layers, options):
        return _shipped(name)
    return _of_column(name, spec, layers, options, seed, device, progress)


def _learn(
    name: str,
    lessons: xr.Dataset,
    spec: WindowSpec,
    options: dict[str, Any],
    seed: int,
    device: str,
    progress: bool | None,
    source: str,
) -> Pretrained:
    """Train on every place and month of ``lessons``."""
    prepared = prepare(lessons, spec, train="all", transform="raw")
    # what a dropout hides here has to be learned twice
    task = Task(name, seed, {**options, **_no_dropout(name)}, SCHOOLING, device)
    weights, losses = run_tasks([task], prepared, jobs=1, progress=progress)[0]
    return Pretrained(
        weights=without_places(weights),
        norms=_bare(prepared.scaler[list(NORMS)]),
        info={
            "source": source,
            "weights": "trained for this fit",
            "windows": int(prepared.training.size),
            "loss": float(losses[0, -1]),
            "hash": prepared.info["data_hash"],
        },
    )


def _bare(norms: xr.Dataset) -> xr.Dataset:
    """Nothing of the layers: they are known by number here, having been compared by bounds."""
    norms = norms.pipe(without_attrs).reset_coords(drop=True)
    return norms.drop_vars(LAYER, errors="ignore")


def _no_dropout(name: str) -> dict[str, float]:
    import inspect

    return {"dropout": 0.0} if "dropout" in inspect.signature(MODELS[name]).parameters else {}


def _of_climate_model(ds: xr.Dataset, spec: WindowSpec, layers: np.ndarray) -> xr.Dataset:
    """Forcing and own soil of a climate model, its scenarios as places of their own."""
    if SCENARIO in ds.dims:
        require_variables(ds, ("tsl_esm",), step="pretraining on a climate model")
        names = [name for name in scenarios_of(ds) if name != HISTORICAL]
        runs = [_run(ds, name) for name in names or [HISTORICAL]]
        runs = [run.drop_vars(SCENARIO, errors="ignore") for run in runs]
        ds = xr.concat(
            runs,
            dim=name_axis("run", names or [HISTORICAL]),
            join="outer",
            coords="minimal",
            compat="override",
        )
    require_dims(ds, (TIME,), step="pretraining")
    require_variables(ds, ("tsl", *needed_variables(spec.features)), step="pretraining")
    found = layer_bounds(ds)
    if found.shape != layers.shape or not np.allclose(found, layers, atol=1e-6):
        raise ModelMismatchError(
            f"pretraining and reference need the same layers; pretraining has {found.tolist()} m, "
            f"the reference {layers.tolist()} m. Remap one: xp.remap_layers(esm, reference)."
        )
    return ds[["tsl", *needed_variables(spec.features)]]


def _run(ds: xr.Dataset, name: str) -> xr.Dataset:
    """A scenario's series with the climate model's own soil, continued from its history."""
    series = series_of(ds, name)
    soil = ds["tsl_esm"].sel({SCENARIO: name}, drop=True)
    if HISTORICAL in ds[SCENARIO].values:
        soil = soil.fillna(ds["tsl_esm"].sel({SCENARIO: HISTORICAL}, drop=True))
    soil = soil.sel({TIME: series[TIME]}).drop_vars(["period_start", "period_end"], errors="ignore")
    return series.assign(tsl=soil.assign_attrs(ds["tsl"].attrs if "tsl" in ds else soil.attrs))


def _of_column(
    name: str,
    spec: WindowSpec,
    layers: np.ndarray,
    options: dict[str, Any],
    seed: int,
    device: str,
    progress: bool | None,
) -> Pretrained:
    unknown = [v for v in needed_variables(spec.features) if v not in FORCING]
    if unknown:
        raise MissingVariableError(
            f"the column that a network is pretrained on has no {', '.join(map(repr, unknown))}, "
            f"only {', '.join(FORCING)} and the season. Type features={list(FEATURES)}, or "
            "pretrain on a climate model that has them: pretrain=esm."
        )
    path = _cache_path(name, spec, layers, options, seed)
    if path.exists():
        try:
            return read_weights(path)
        except CheckpointError:
            pass  # damaged: made anew
    warnings.warn(
        f"no weights come with xpermafrost for {name!r} with these features, layers, window or "
        f"options; it is pretrained now, for some minutes, and kept in {str(path.parent)!r}.",
        PermafrostWarning,
        stacklevel=2,
    )
    made = _learn(name, _school(_key(layers)), spec, options, seed, device, progress, "column")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_weights(path, made, overwrite=True)
    return read_weights(path)  # as any later time


def _key(layers: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(a), float(b)) for a, b in layers)


@lru_cache(maxsize=1)
def _school(layers: tuple[tuple[float, float], ...]) -> xr.Dataset:
    return school(PLACES, years=YEARS, layers=np.array(layers))


def _cache_path(
    name: str, spec: WindowSpec, layers: np.ndarray, options: Mapping[str, Any], seed: int
) -> Path:
    from .datasets import cache_folder

    wanted = [name, repr(spec), _key(layers), dict(options), seed, repr(SCHOOLING), PLACES, YEARS]
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode())
    digest.update((Path(__file__).parent / "_teacher.py").read_bytes())
    return cache_folder() / f"pretrained_{name}_{digest.hexdigest()[:16]}.safetensors"


def write_weights(path: str | os.PathLike[str], made: Pretrained, *, overwrite: bool) -> None:
    """Write weights, norms and their story to a safetensors file: arrays and text, no code.

    Raises
    ------
    OutputExistsError
        If the path exists and ``overwrite`` is False.
    """
    from safetensors.numpy import save

    arrays = {f"weights/{name}": np.ascontiguousarray(v) for name, v in made.weights.items()}
    arrays |= {f"norms/{name}": made.norms[name].values.astype("float64") for name in NORMS}
    text = {"features": made.norms[FEATURE].values.tolist(), "info": made.info}
    content = save(arrays, metadata={"xpermafrost": json.dumps(text, sort_keys=True)})
    with atomic_path(path, overwrite=overwrite) as partial:
        Path(partial).write_bytes(content)


def read_weights(path: str | os.PathLike[str], *, sha256: str | None = None) -> Pretrained:
    """Read what :func:`write_weights` wrote; nothing in the file is executed.

    Raises
    ------
    CheckpointError
        If the file is damaged or foreign, or its SHA-256 is not ``sha256``.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = Path(path).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise CheckpointError(
            f"{str(path)!r} was changed: its SHA-256 is {found}, needed {sha256}. Nothing was "
            "loaded; install xpermafrost again, or type pretrain=None."
        )
    try:
        arrays = load(content)
        size = int.from_bytes(content[:8], "little")
        text = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["xpermafrost"])
        norms = xr.Dataset(
            {
                name: (FEATURE if name.startswith("feature") else LAYER, arrays[f"norms/{name}"])
                for name in NORMS
            },
            coords={FEATURE: text["features"]},
        )
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{str(path)!r} holds no pretrained weights of xpermafrost ({error})."
        ) from error
    prefix = "weights/"
    weights = {n.removeprefix(prefix): v for n, v in arrays.items() if n.startswith(prefix)}
    return Pretrained(weights=weights, norms=norms, info={**text["info"], "sha256": found})


def _shipped(name: str) -> Pretrained:
    file = f"pretrained_{name}.safetensors"
    lines = (_FOLDER / _SUMS).read_text().split()
    sums = dict(zip(lines[1::2], lines[::2], strict=True))
    made = read_weights(_FOLDER / file, sha256=sums[file])
    return replace(made, info={**made.info, "weights": "shipped with xpermafrost"})


def ship(folder: str | os.PathLike[str], names: Sequence[str] = NAMES) -> None:
    """Make the weights that come with the package, and the list of their SHA-256.

    The same processor and versions give the same bits. Takes a quarter of an hour.
    """
    edges = np.asarray(ERA5LAND_EDGES)
    lessons = _school(_key(np.stack([edges[:-1], edges[1:]], axis=1)))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        made = _learn(name, lessons, SPEC, {}, 0, "cpu", None, "column")
        write_weights(folder / f"pretrained_{name}.safetensors", made, overwrite=True)
    files = sorted(folder.glob("pretrained_*.safetensors"))
    rows = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in files]
    with atomic_path(folder / _SUMS, overwrite=True) as partial:
        Path(partial).write_text("".join(rows))


if __name__ == "__main__":
    import sys

    ship(sys.argv[1] if len(sys.argv) > 1 else _FOLDER, sys.argv[2:] or NAMES)
