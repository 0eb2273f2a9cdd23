"""The training loop of one network, and many of them side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from torch import nn

from ._checks import choose
from .errors import DataError, NotFittedError
from .fitted import strided
from .models import MODELS, UNKNOWN, SequenceNet, build_model
from .preparation import Prepared
from .scaling import TARGET_TRANSFORMS

#: Losses of one error, by name; half a standard deviation is where Huber's turns linear.
LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mse": partial(nn.functional.mse_loss, reduction="none"),
    "huber": partial(nn.functional.smooth_l1_loss, reduction="none", beta=0.5),
}


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
    place_rate : float
        Learning rate of the location embedding, as a multiple of that of the other weights.
    place_dropout : float
        Share of the windows whose location is hidden in training (its embedding is 0), so that
        the network can also answer for a place that it does not know.

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
    place_rate: float = 1.0
    place_dropout: float = 0.0

    def __post_init__(self) -> None:
        choose("target transform", self.target, TARGET_TRANSFORMS)
        choose("loss", self.loss, LOSSES)
        for name in ("epochs", "batch_size", "learning_rate", "patience", "clip", "place_rate"):
            if not getattr(self, name) > 0:
                raise DataError(f"{name} must be positive; got {getattr(self, name)}.")
        if self.recency_years is not None and not self.recency_years > 0:
            raise DataError(f"recency_years must be positive or None; got {self.recency_years}.")
        if self.validation_years < 0 or self.weight_decay < 0:
            raise DataError("validation_years and weight_decay must not be negative.")
        if not 0.0 <= self.place_dropout <= 1.0:
            raise DataError(f"place_dropout is a share, 0 to 1; got {self.place_dropout}.")


@dataclass(frozen=True)
class Task:
    """One network to train from one seed; ``start``: on from these weights, places at 0."""

    name: str
    seed: int
    options: dict[str, Any]
    config: TrainingConfig
    device: str
    start: Mapping[str, np.ndarray] | None = None


@dataclass(frozen=True)
class TrainingData:
    """What a training process needs, as plain arrays."""

    cube: np.ndarray
    rows: np.ndarray
    location: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    length: int


#: Optimizer steps that are worth a second process.
WORTH_PROCESSES = 200

Result = tuple[dict[str, np.ndarray], np.ndarray]


def run_tasks(
    tasks: list[Task], prepared: Prepared, *, jobs: int | None, progress: bool | None
) -> list[Result]:
    """Train every task, here or in processes of one thread each; the bits are the same."""
    windows = prepared.windows
    data = TrainingData(
        windows.cube,
        windows.rows,
        windows.location,
        prepared.target,
        prepared.weight,
        prepared.training,
        prepared.validation,
        windows.spec.length,
    )
    jobs = min(len(tasks), jobs or _default_jobs(tasks, data))
    shown = sys.stderr.isatty() if progress is None else progress
    if jobs == 1 or any(task.device != "cpu" for task in tasks):
        return [train_net(task, data, progress=shown) for task in tasks]
    from tqdm.auto import tqdm

    # The longest first, so that the processes end together.
    order = sorted(range(len(tasks)), key=lambda k: -_COST.get(tasks[k].name, 1.0))
    work = _in_processes([tasks[k] for k in order], data, jobs)
    done = list(tqdm(work, total=len(tasks), desc="networks", disable=not shown))
    return [done[order.index(k)] for k in range(len(tasks))]


#: Time of a step of the five networks, relative to a GRU's.
_COST = {"transformer": 1.7, "bilstm": 1.3, "conv1dlstm": 1.0, "gru": 1.0, "tcn": 0.3}


def _in_processes(tasks: list[Task], data: TrainingData, jobs: int) -> Iterator[Result]:
    """Results in the order of ``tasks``, each from a process of one thread."""
    if sys.platform == "linux" and not torch.cuda.is_initialized():
        # A forked process is there at once, with the data and the networks of the user's own;
        # it runs torch on one thread only, as the workers of torch's DataLoader do.
        with get_context("fork").Pool(jobs, _inherit, (tasks, data)) as pool:
            yield from pool.imap(_train_inherited, range(len(tasks)))
        return
    from joblib import Parallel, delayed

    # loky does not import the caller's script again, so scripts need no __main__ guard.
    yield from Parallel(n_jobs=jobs, backend="loky", return_as="generator")(
        delayed(_train_apart)(task, MODELS[task.name], data) for task in tasks
    )


_inherited: tuple[list[Task], TrainingData] | None = None


def _inherit(tasks: list[Task], data: TrainingData) -> None:
    global _inherited
    _inherited = tasks, data


def _train_inherited(number: int) -> Result:
    if _inherited is None:
        raise NotFittedError("a training process was started without its data.")
    tasks, data = _inherited
    return train_net(tasks[number], data, progress=False)


def _default_jobs(tasks: list[Task], data: TrainingData) -> int:
    """One process a core, where the training is longer than the start of the processes."""
    steps = sum(
        task.config.epochs * -(-data.training.size // task.config.batch_size) for task in tasks
    )
    return (os.cpu_count() or 1) if steps > WORTH_PROCESSES else 1


def _train_apart(task: Task, builder: Any, data: TrainingData) -> Result:
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


def train_net(task: Task, data: TrainingData, *, progress: bool) -> Result:
    """Train one network; its weights, and its losses ``(2, epoch)``."""
    with _alone(task.seed):
        net = build_model(
            task.name,
            n_features=data.cube.shape[2],
            n_locations=data.cube.shape[0],
            n_layers=data.target.shape[1],
            length=data.length,
            options=task.options,
        )
        if task.start is not None:
            start_from(net, task.start)
        net = net.to(task.device)
        losses = _epochs(net, task, data, progress=progress)
    weights = {name: t.detach().cpu().numpy() for name, t in net.state_dict().items()}
    return weights, losses


def places_of(net: nn.Module) -> nn.Embedding | None:
    """The location embedding of a :class:`~xpermafrost.models.SequenceNet`, where it has one."""
    places = getattr(net, "embedding", None)
    return places if isinstance(net, SequenceNet) and isinstance(places, nn.Embedding) else None


def without_places(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights that do not belong to a location."""
    return {name: values for name, values in weights.items() if name != "embedding.weight"}


def start_from(net: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Known weights for all but the location embedding, which becomes 0."""
    tensors = {name: torch.from_numpy(np.array(values)) for name, values in weights.items()}
    places = places_of(net)
    if places is not None:
        tensors["embedding.weight"] = torch.zeros_like(places.weight)
    net.load_state_dict(tensors)


def _groups(net: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """Weights with their learning rate."""
    places = places_of(net)
    own = [] if places is None or config.place_rate == 1.0 else [places.weight]
    rest = [p for p in net.parameters() if not any(p is q for q in own)]
    groups = [{"params": rest, "lr": config.learning_rate}]
    if own:
        groups.append({"params": own, "lr": config.learning_rate * config.place_rate})
    return groups


def _epochs(net: nn.Module, task: Task, data: TrainingData, *, progress: bool) -> np.ndarray:
    from tqdm.auto import trange

    config, device = task.config, task.device
    batches = _Batches(data, device, config.loss)
    generator = torch.Generator().manual_seed(task.seed)
    training = torch.from_numpy(data.training)
    steps = -(-training.numel() // config.batch_size)
    optimizer = torch.optim.AdamW(
        _groups(net, config), weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=steps * config.epochs,
    )
    losses = np.full((2, config.epochs), np.nan)
    best, best_weights, since = np.inf, None, 0
    for epoch in trange(config.epochs, desc=task.name, disable=not progress, leave=False):
        net.train()
        total = 0.0
        for some in training[torch.randperm(training.numel(), generator=generator)].split(
            config.batch_size
        ):
            hidden = None
            if config.place_dropout:
                hidden = torch.rand(some.numel(), generator=generator) < config.place_dropout
            loss = batches.loss(net, some, hidden)
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

    def __init__(self, data: TrainingData, device: str, loss: str) -> None:
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

    def loss(
        self, net: nn.Module, some: torch.Tensor, hidden: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Weighted mean loss over the known targets of some windows, places ``hidden`` or not."""
        some = some.to(self.rows.device)
        x = self.flat.index_select(0, self.rows[some]).view(-1, self.length, self.width)
        location = self.location[some]
        if hidden is not None:
            location = location.masked_fill(hidden.to(location.device), UNKNOWN)
        error = self.measure(net(x, location), self.target[some])
        weight = self.weight[some]
        return (error * weight).sum() / weight.sum()

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
