"""Training: full-tensor batches, one thread a network, processes across networks and members."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import nn

from ._checks import choose
from .errors import DataError
from .experiment import reference_of
from .features import default_features
from .fitted import FittedModel, strided
from .models import MODELS, build_model
from .preparation import Period, Prepared, prepare
from .scaling import TARGET_TRANSFORMS
from .windows import WindowSpec


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a network is trained.

    Parameters
    ----------
    epochs : int
        Passes over the training windows, at most.
    batch_size : int
        Windows per step.
    learning_rate : float
        Peak of the one-cycle schedule (Smith & Topin 2019).
    weight_decay : float
        Of AdamW (Loshchilov & Hutter 2019).
    target : {"residual", "raw"}
        Learn the departure from the location-month climatology, or the temperature itself.
    validation_years : int
        Last years of the training period held out to stop early; 0 trains on all of them.
    patience : int
        Epochs without a better validation loss before stopping; the best weights are kept.
    loss : {"huber", "mse"}
        Huber's loss (Huber 1964) with its bend at half a standard deviation, or squared error.
    recency_years : float, optional
        Months count by exp(-age / recency_years) in the loss and in the climatology of the
        target, their age taken from the end of the training period: where sites drift, the
        recent years say more. None: all alike.
    clip : float
        Largest norm of the gradient.

    References
    ----------
    Smith, L. N. & Topin, N. (2019), Super-convergence, SPIE 11006.
    Loshchilov, I. & Hutter, F. (2019), Decoupled weight decay regularization, ICLR.
    Huber, P. J. (1964), Robust estimation of a location parameter, Ann. Math. Statist. 35(1).
    """

    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    target: str = "raw"
    validation_years: int = 0
    patience: int = 15
    loss: str = "huber"
    recency_years: float | None = None
    clip: float = 1.0

    def __post_init__(self) -> None:
        choose("target transform", self.target, TARGET_TRANSFORMS)
        choose("loss", self.loss, LOSSES)
        for name in ("epochs", "batch_size", "learning_rate", "patience", "clip"):
            if not getattr(self, name) > 0:
                raise DataError(f"{name} must be positive; got {getattr(self, name)}.")
        if self.recency_years is not None and not self.recency_years > 0:
            raise DataError(f"recency_years must be positive or None; got {self.recency_years}.")
        if self.validation_years < 0 or self.weight_decay < 0:
            raise DataError("validation_years and weight_decay must not be negative.")


#: Losses of one error, by name; half a standard deviation is where Huber's turns linear.
LOSSES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mse": torch.square,
    "huber": lambda error: (
        2 * nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=0.5)
    ),
}


def fit(
    ds: xr.Dataset,
    model: str | type[nn.Module] = "gru",
    *,
    train: Period | str | None = None,
    length: int = 24,
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
    length, horizon, features
        See :class:`WindowSpec`; features default to what the Dataset has.
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
        Processes; by default one a member, at most the number of cores.
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
    length: int = 24,
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
    ds = reference_of(ds)
    spec = WindowSpec(
        length=length, horizon=horizon, features=tuple(features or default_features(ds))
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
        _Task(name, seed + k, dict(options or {}), config, device)
        for name in names
        for k in range(members)
    ]
    results = _run(tasks, prepared, jobs=jobs, progress=progress)
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


@dataclass(frozen=True)
class _Task:
    name: str
    seed: int
    options: dict[str, Any]
    config: TrainingConfig
    device: str


@dataclass(frozen=True)
class _Data:
    """What a training process needs, as plain arrays."""

    cube: np.ndarray
    rows: np.ndarray
    location: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    length: int


_Result = tuple[dict[str, np.ndarray], np.ndarray]


def _run(
    tasks: list[_Task], prepared: Prepared, *, jobs: int | None, progress: bool | None
) -> list[_Result]:
    windows = prepared.windows
    data = _Data(
        windows.cube,
        windows.rows,
        windows.location,
        prepared.target,
        prepared.weight,
        prepared.training,
        prepared.validation,
        windows.spec.length,
    )
    jobs = min(len(tasks), jobs or os.cpu_count() or 1)
    shown = sys.stderr.isatty() if progress is None else progress
    if jobs == 1 or any(task.device != "cpu" for task in tasks):
        return [train_net(task, data, progress=shown) for task in tasks]
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    # loky does not import the caller's script again, so scripts need no __main__ guard
    work = Parallel(n_jobs=jobs, backend="loky", return_as="generator")(
        delayed(_train_apart)(task, MODELS[task.name], data) for task in tasks
    )
    return list(tqdm(work, total=len(tasks), desc="networks", disable=not shown))


def _train_apart(task: _Task, builder: Any, data: _Data) -> _Result:
    MODELS.setdefault(task.name, builder)  # a network of the user's own, sent along
    return train_net(task, data, progress=False)


@contextmanager
def _alone(seed: int) -> Iterator[None]:
    """One thread and a seeded generator, both put back afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def train_net(task: _Task, data: _Data, *, progress: bool) -> _Result:
    """Train one network; its weights, and its losses ``(2, epoch)``."""
    with _alone(task.seed):
        net = build_model(
            task.name,
            n_features=data.cube.shape[2],
            n_locations=data.cube.shape[0],
            n_layers=data.target.shape[1],
            length=data.length,
            options=task.options,
        ).to(task.device)
        losses = _epochs(net, task, data, progress=progress)
    weights = {name: t.detach().cpu().numpy() for name, t in net.state_dict().items()}
    return weights, losses


def _epochs(net: nn.Module, task: _Task, data: _Data, *, progress: bool) -> np.ndarray:
    from tqdm.auto import trange

    config, device = task.config, task.device
    batches = _Batches(data, device, config.loss)
    generator = torch.Generator().manual_seed(task.seed)
    training = torch.from_numpy(data.training)
    steps = -(-training.numel() // config.batch_size)
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=config.learning_rate, total_steps=steps * config.epochs
    )
    losses = np.full((2, config.epochs), np.nan)
    best, best_weights, since = np.inf, None, 0
    for epoch in trange(config.epochs, desc=task.name, disable=not progress, leave=False):
        net.train()
        total = 0.0
        for some in training[torch.randperm(training.numel(), generator=generator)].split(
            config.batch_size
        ):
            loss = batches.loss(net, some)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), config.clip)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * some.numel()
        losses[0, epoch] = total / training.numel()
        if not data.validation.size:
            continue
        losses[1, epoch] = batches.validation_loss(net)
        if losses[1, epoch] < best:
            best, since = losses[1, epoch], 0
            best_weights = {n: t.detach().clone() for n, t in net.state_dict().items()}
        else:
            since += 1
            if since >= config.patience:
                break
    if best_weights is not None:
        net.load_state_dict(best_weights)
    return losses


class _Batches:
    """Windows gathered from one strided view; nothing is copied beyond a batch."""

    def __init__(self, data: _Data, device: str, loss: str) -> None:
        cube = torch.from_numpy(np.array(data.cube)).to(device)
        self.width = cube.shape[2]
        self.length = data.length
        self.flat = strided(cube, data.length)
        self.rows = torch.from_numpy(data.rows).to(device)
        self.location = torch.from_numpy(data.location).to(device)
        known = np.isfinite(data.target) * data.weight[:, None]
        self.weight = torch.from_numpy(known.astype("float32")).to(device)
        self.target = torch.from_numpy(np.nan_to_num(data.target)).to(device)  # of weight 0
        self.validation = torch.from_numpy(data.validation)
        self.measure = LOSSES[loss]

    def loss(self, net: nn.Module, some: torch.Tensor) -> torch.Tensor:
        """Weighted mean loss over the known targets of some windows."""
        some = some.to(self.rows.device)
        x = self.flat.index_select(0, self.rows[some]).view(-1, self.length, self.width)
        error = net(x, self.location[some]) - self.target[some]
        weight = self.weight[some]
        return (self.measure(error) * weight).sum() / weight.sum()

    @torch.no_grad()
    def validation_loss(self, net: nn.Module) -> float:
        """Mean loss over the validation windows."""
        net.eval()
        total, mass = 0.0, 0.0
        for some in self.validation.split(2048):
            weight = float(self.weight[some].sum())
            total += float(self.loss(net, some)) * weight
            mass += weight
        return total / mass


def _fitted(
    name: str,
    group: Sequence[_Result],
    prepared: Prepared,
    options: dict[str, Any],
    config: TrainingConfig,
    seed: int,
) -> FittedModel:
    nets = []
    for weights, _ in group:
        net = build_model(
            name,
            n_features=prepared.windows.cube.shape[2],
            n_locations=prepared.windows.cube.shape[0],
            n_layers=prepared.target.shape[1],
            length=prepared.windows.spec.length,
            options=options,
        )
        net.load_state_dict({key: torch.from_numpy(np.array(v)) for key, v in weights.items()})
        nets.append(net.eval())
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
