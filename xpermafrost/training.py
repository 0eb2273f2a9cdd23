"""Training: full-tensor batches, one thread a network, processes across networks and members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import nn

from ._checks import choose
from ._training_loop import Result, Task, TrainingConfig, run_tasks
from .errors import DataError
from .experiment import reference_of
from .features import default_features
from .fitted import FittedModel
from .models import MODELS, load_network
from .preparation import Period, Prepared, prepare
from .windows import WindowSpec

__all__ = ["TrainingConfig", "fit", "fit_many"]


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
    device: str = "cpu",
    jobs: int | None = None,
    progress: bool | None = None,
) -> FittedModel:
    """Train a network on the reference of ``ds``.

    Scaler, climatology and choices come from training months only. Windows with a gap in the
    features are left out and counted; a missing target is masked in the loss. The same seed
    gives the same bits on the CPU, whatever ``jobs`` is.

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
    device : str
        torch device.
    jobs : int, optional
        Processes; by default one a core, or none but this one for a training of seconds.
    progress : bool, optional
        Show a progress bar; by default in a terminal only.

    Returns
    -------
    FittedModel

    Raises
    ------
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
        device=device,
        jobs=jobs,
        progress=progress,
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
    device: str = "cpu",
    jobs: int | None = None,
    progress: bool | None = None,
) -> list[FittedModel]:
    """Train several networks on the same windows, side by side; parameters as :func:`fit`."""
    names = [_register(model) for model in models]
    config = config or TrainingConfig()
    ds = reference_of(ds, every=step)
    spec = WindowSpec(
        length=length,  # type: ignore[arg-type]
        horizon=horizon,
        features=tuple(features or default_features(ds, step=step)),
        step=step,
    )
    prepared = prepare(
        ds,
        spec,
        train=train,
        transform=config.target,
        validation_years=config.validation_years,
        recency_years=config.recency_years,
    )
    tasks = [
        Task(name, seed + k, dict(options or {}), config, device)
        for name in names
        for k in range(members)
    ]
    results = run_tasks(tasks, prepared, jobs=jobs, progress=progress)
    groups = [results[i * members : (i + 1) * members] for i in range(len(names))]
    return [
        _fitted(name, group, prepared, dict(options or {}), config, seed)
        for name, group in zip(names, groups, strict=True)
    ]


def _register(model: str | type[nn.Module]) -> str:
    if isinstance(model, str):
        return choose("model", model, MODELS)
    if not (isinstance(model, type) and issubclass(model, nn.Module)):
        raise DataError(
            f"a model is a name or a torch.nn.Module class; got {model!r}. Known names: "
            f"{', '.join(MODELS)}."
        )
    MODELS.setdefault(model.__name__.lower(), model)
    return model.__name__.lower()


def _fitted(
    name: str,
    group: Sequence[Result],
    prepared: Prepared,
    options: dict[str, Any],
    config: TrainingConfig,
    seed: int,
) -> FittedModel:
    nets = [
        load_network(
            name,
            weights,
            n_features=prepared.windows.cube.shape[2],
            n_locations=prepared.windows.cube.shape[0],
            n_layers=prepared.target.shape[1],
            length=prepared.windows.spec.length,
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
        "torch": torch.__version__,
        "seeds": [seed + k for k in range(len(nets))],
        "config": {**vars(config)},
    }
    return FittedModel(
        name=name,
        nets=tuple(nets),
        spec=prepared.windows.spec,
        scaler=prepared.scaler,
        template=prepared.template,
        statistics=prepared.statistics,
        history=history,
        options=options,
        info=info,
    )
