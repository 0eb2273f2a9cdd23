"""Training: full-tensor batches, one thread a network, processes across networks and members."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import nn

from ._block_preparation import BlockPrepared
from ._checks import choose, marks_of, require_variables
from ._training_config import TrainingConfig
from ._training_loop import Result, Task, run_tasks
from ._training_state import Checkpoint, checkpoint_path, hash_of
from .batches import prepare_windows
from .errors import DataError
from .experiment import reference_of
from .features import default_features
from .fitted import FittedModel
from .models import MODELS, SequenceNet, load_network, register_model
from .preparation import Period, Prepared
from .schema import LAYER, layer_bounds
from .windows import WindowSpec

if TYPE_CHECKING:
    from .pretraining import Pretrained

__all__ = ["TrainingConfig", "fit", "fit_many"]

#: What ``pretrain`` may be, beside a Dataset and None.
CHOICES = ("auto", "column")

#: Least share of windows whose place is hidden, where any place is to be answered for.
HIDDEN = 0.5


def fit(
    ds: xr.Dataset,
    model: str | type[nn.Module] = "gru",
    *,
    train: Period | str | None = None,
    step: str = "month",
    length: int | None = None,
    horizon: int = 0,
    features: Sequence[str] | None = None,
    members: int = 1,
    seed: int = 0,
    config: TrainingConfig | None = None,
    options: Mapping[str, Any] | None = None,
    pretrain: xr.Dataset | str | None = "auto",
    places: str = "own",
    device: str = "cpu",
    jobs: int | None = None,
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> FittedModel:
    """Train a network on the reference of ``ds``.

    Scaler, climatology and choices come from training months only. Windows with a gap in the
    features are left out and counted; a missing target is masked in the loss. The same seed
    gives the same bits on the CPU, whatever ``jobs`` is.

    Dask-backed data that need more than ``config.memory`` are read in blocks of places: once for
    the statistics, then once an epoch in an order by chance. In processes of
    ``torch.distributed`` (``torchrun``) every process learns from its part of each batch.

    Parameters
    ----------
    ds : Dataset
        Canonical forcing and ``tsl (location..., layer, time)`` [K], or an experiment Dataset.
    model : str or type
        A registered name ("gru", "bilstm", "tcn", "transformer", "conv1dlstm"), or a
        ``torch.nn.Module`` class of your own, see :func:`xpermafrost.register_model`.
    train : tuple of str, "all" or None
        Training years, as ``("2001", "2018")``; None leaves the last fifth of the years out.
    step, length, horizon, features
        See :class:`WindowSpec`; features default to what the Dataset has. ``step="day"`` is for
        daily data, as ``standardize(step="day")`` gives them.
    members : int
        Networks from as many seeds; a prediction is their mean.
    seed : int
        Seed of the first member.
    config : TrainingConfig, optional
    options : mapping, optional
        Options of the architecture, such as ``{"hidden": 128}``.
    pretrain : "auto", "column", Dataset or None
        What the network learns first, in climates warmer than the reference: the soil column
        under climates and soils drawn at random, or a climate model (a Dataset with ``tsl``, or
        an experiment Dataset with ``tsl_esm``) through its scenarios. Then it is tuned on the
        reference. "auto": the column, where the weights that come with the package fit: monthly
        data with ``tas`` and ``snd`` on the layers of ERA5-Land, and features, length, horizon,
        config and options left at their defaults; else None. With "column" and other features,
        layers or options it is pretrained now, which takes minutes, with a warning, and kept.
    places : {"own", "any"}
        "any": a network that also answers for places it has not learned, as for the average
        soil. Their difference from the average it cannot know.
    device : str
        torch device.
    jobs : int, optional
        Processes; by default one a core, or none but this one for a training of seconds.
    progress : bool, optional
        Show a progress bar; by default in a terminal only.
    checkpoint : path-like, optional
        Where the training is kept, every ``config.checkpoint_minutes`` and at its end; several
        members have a file each. No pickle; written whole or not at all.
    resume : bool
        Go on with the training in ``checkpoint``, if there is one, to the same weights as without
        the interruption: the same bits on the CPU.

    Returns
    -------
    FittedModel
        ``info["pretrain"]`` tells what it was pretrained on, ``info["reading"]`` whether the
        windows were in memory or read in blocks.

    Raises
    ------
    OutputExistsError
        If the checkpoint exists and ``resume`` is False.
    ModelMismatchError
        If the checkpoint is of another training.
    MissingVariableError, UnitsError, TimeAxisError, DataError, UnknownNameError
        If the data cannot carry the training; the message says what to type.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> gru = fit(canonical(years=5), "gru", length=12, config=TrainingConfig(epochs=2))
    >>> gru.predict(canonical(years=5)).dims
    ('band', 'layer', 'time')
    """
    many = fit_many(
        ds,
        [model],
        train=train,
        step=step,
        length=length,
        horizon=horizon,
        features=features,
        members=members,
        seed=seed,
        config=config,
        options=options,
        pretrain=pretrain,
        places=places,
        device=device,
        jobs=jobs,
        progress=progress,
        checkpoint=checkpoint,
        resume=resume,
    )
    return many[0]


def fit_many(
    ds: xr.Dataset,
    models: Sequence[str | type[nn.Module]],
    *,
    train: Period | str | None = None,
    step: str = "month",
    length: int | None = None,
    horizon: int = 0,
    features: Sequence[str] | None = None,
    members: int = 1,
    seed: int = 0,
    config: TrainingConfig | None = None,
    options: Mapping[str, Any] | None = None,
    pretrain: xr.Dataset | str | None = "auto",
    places: str = "own",
    device: str = "cpu",
    jobs: int | None = None,
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> list[FittedModel]:
    """Train several networks on the same windows, side by side; parameters as :func:`fit`."""
    names = [_register(model) for model in models]
    for name, model in zip(names, models, strict=True):
        if not isinstance(model, str) and MODELS[name] is not model:
            raise DataError(f"two networks are called {name!r}: give one of them another name.")
    choose("places", places, ("own", "any"))
    ds = reference_of(ds, every=step)
    asked = _Asked(
        spec=WindowSpec(
            length=length,  # type: ignore[arg-type]
            horizon=horizon,
            features=tuple(features or ()),
            step=step,
        ),
        options=dict(options or {}),
        config=config,
        seeds=range(seed, seed + members),
        train=train,
        places=places,
        device=device,
        jobs=jobs,
        progress=progress,
        checkpoint=checkpoint,
        resume=resume,
        alone=len(names) * members == 1,
    )
    first: dict[str, xr.Dataset | str | None] = dict.fromkeys(names, pretrain)
    if isinstance(pretrain, str) and choose("pretraining", pretrain, CHOICES) == "auto":
        first = {name: "column" if _usual(ds, asked, name) else None for name in names}
    made = {
        name: _tune(ds, asked, name, lessons)
        for name, lessons in first.items()
        if lessons is not None
    }
    rest = [name for name in dict.fromkeys(names) if name not in made]
    if rest:
        made.update(zip(rest, _train(ds, asked, dict.fromkeys(rest)), strict=True))
    return [made[name] for name in names]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the caller of :func:`fit_many` typed."""

    spec: WindowSpec
    options: dict[str, Any]
    config: TrainingConfig | None
    seeds: range
    train: Period | str | None
    places: str
    device: str
    jobs: int | None
    progress: bool | None
    checkpoint: str | os.PathLike[str] | None
    resume: bool
    alone: bool


def _usual(ds: xr.Dataset, asked: _Asked, name: str) -> bool:
    """Whether nothing but the settings of shipped weights was asked for."""
    from .pretraining import FEATURES, ships

    if asked.config is not None or asked.spec.features or not {"tas", "snd", "tsl"} <= set(ds):
        return False
    if LAYER not in ds.dims:
        return False  # said where the target is looked at
    spec = replace(asked.spec, features=FEATURES)
    return ships(name, spec, layer_bounds(ds), asked.options)


def _tune(ds: xr.Dataset, asked: _Asked, name: str, pretrain: xr.Dataset | str) -> FittedModel:
    """Pretrain ``name``, or take shipped weights, and tune it on the reference."""
    from .pretraining import FEATURES, TUNING, pretrained

    require_variables(ds, ("tsl",), step="fit")
    spec = asked.spec
    if not spec.features:
        own = default_features(pretrain, step=spec.step) if isinstance(pretrain, xr.Dataset) else ()
        here = default_features(ds, step=spec.step)
        spec = replace(spec, features=tuple(n for n in here if n in own) or FEATURES)
    config = asked.config or TUNING
    if config.target != "raw":
        raise DataError(
            f"a pretrained network answers with the temperature itself; target={config.target!r} "
            "differs from place to place. Type target='raw', or pretrain=None."
        )
    start = pretrained(
        name,
        spec,
        layer_bounds(ds),
        pretrain=pretrain,
        options=asked.options,
        device=asked.device,
        progress=asked.progress,
    )
    asked = replace(asked, spec=spec, config=config)
    return _train(ds, asked, {name: start})[0]


def _train(
    ds: xr.Dataset, asked: _Asked, starts: Mapping[str, Pretrained | None]
) -> list[FittedModel]:
    """Train every member of every network, from ``starts`` of one set of norms, or from chance."""
    config = asked.config or TrainingConfig()
    spec = asked.spec
    if not spec.features:
        spec = replace(spec, features=default_features(ds, step=spec.step))
    if asked.places == "any":
        _can_hide_places(list(starts))
        config = replace(config, place_dropout=max(config.place_dropout, HIDDEN))
    start = next(iter(starts.values()))
    prepared = prepare_windows(
        ds, spec, train=asked.train, config=config, norms=None if start is None else start.norms
    )
    if asked.places == "any":
        _nothing_of_places(prepared)
    asked = replace(asked, spec=spec)
    tasks = [
        _task(asked, name, seed, config, prepared.info, None if one is None else one.weights)
        for name, one in starts.items()
        for seed in asked.seeds
    ]
    results = run_tasks(tasks, prepared, jobs=asked.jobs, progress=asked.progress)
    made = []
    for number, (name, one) in enumerate(starts.items()):
        group = results[number * len(asked.seeds) : (number + 1) * len(asked.seeds)]
        info = {"pretrain": None if one is None else one.info, "places": asked.places}
        model = _fitted(name, group, prepared, asked.options, config, asked.seeds[0], info)
        history = model.history.assign_attrs(marks_of(ds))
        made.append(replace(model, history=history))
    return made


def _task(
    asked: _Asked,
    name: str,
    seed: int,
    config: TrainingConfig,
    data: Mapping[str, Any],
    start: Mapping[str, np.ndarray] | None,
) -> Task:
    """One network to train, and where that is kept."""
    kept = None
    if asked.checkpoint is not None:
        identity = {
            "network": name,
            "seed": seed,
            "options": asked.options,
            "config": _told(config),
            "window": str(asked.spec),
            "start": hash_of(start),
            **{key: data[key] for key in ("data_hash", "train_start", "train_end", "reading")},
        }
        path = checkpoint_path(asked.checkpoint, name, seed, alone=asked.alone)
        kept = Checkpoint(path, config.checkpoint_minutes, asked.resume, identity)
    return Task(name, seed, asked.options, config, asked.device, start, kept)


def _told(config: TrainingConfig) -> dict[str, Any]:
    """The configuration, without what changes no result, and is not known by older models."""
    usual = TrainingConfig()
    reading = ("memory", "block", "locations_per_epoch")
    return {
        name: value
        for name, value in vars(config).items()
        if name != "checkpoint_minutes" and not (name in reading and value == getattr(usual, name))
    }


def _can_hide_places(names: Sequence[str]) -> None:
    for name in names:
        builder = MODELS[name]
        if not (isinstance(builder, type) and issubclass(builder, SequenceNet)):
            raise DataError(
                f"places='any' needs a network that can hide its places, an xp.models.SequenceNet; "
                f"{name!r} is none. Derive it from there, or type places='own'."
            )


def _nothing_of_places(prepared: Prepared | BlockPrepared) -> None:
    """Raise unless nothing but the embedding belongs to a place."""
    residual = prepared.scaler.attrs["transform"] == "residual"
    if residual or prepared.statistics.data_vars:
        what = "target='residual'" if residual else "an anomaly, memory or signal among features"
        raise DataError(
            f"{what} needs the climatology of a place, which an unknown place has not. Leave it "
            "out, or type places='own'."
        )


def _register(model: str | type[nn.Module]) -> str:
    if isinstance(model, str):
        return choose("model", model, MODELS)
    if not (isinstance(model, type) and issubclass(model, nn.Module)):
        raise DataError(
            f"a model is a name or a torch.nn.Module class; got {model!r}. Known names: "
            f"{', '.join(MODELS)}."
        )
    name = model.__name__.lower()
    before = MODELS.get(name)
    # a class that is defined anew, in a notebook's cell run again, replaces what it was
    here = (model.__module__, model.__qualname__)
    was = (getattr(before, "__module__", ""), getattr(before, "__qualname__", ""))
    if here == was and "<locals>" not in model.__qualname__:
        MODELS.pop(name)
    register_model(name, model)
    return name


def _fitted(
    name: str,
    group: Sequence[Result],
    prepared: Prepared | BlockPrepared,
    options: dict[str, Any],
    config: TrainingConfig,
    seed: int,
    info: dict[str, Any],
) -> FittedModel:
    nets = [
        load_network(
            name,
            weights,
            **prepared.sizes,
            options=options,
        )
        for weights, _ in group
    ]
    losses = np.stack([losses for _, losses in group])
    history = xr.Dataset(
        {
            "training_loss": (("member", "epoch"), losses[:, 0]),
            "validation_loss": (("member", "epoch"), losses[:, 1]),
        },
        coords={"epoch": pd.RangeIndex(1, losses.shape[2] + 1), "member": np.arange(len(nets))},
        attrs={"comment": f"mean {config.loss} loss of the scaled target"},
    )
    info = {
        **prepared.info,
        **info,
        "torch": torch.__version__,
        "seeds": [seed + k for k in range(len(nets))],
        "config": _told(config),
    }
    return FittedModel(
        name=name,
        nets=tuple(nets),
        spec=prepared.spec,
        scaler=prepared.scaler,
        template=prepared.template,
        statistics=prepared.statistics,
        history=history,
        options=options,
        info=info,
    )
