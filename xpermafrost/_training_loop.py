"""The training loop of one network, and many of them side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from torch import nn

from ._block_preparation import BlockPrepared
from ._gathering import MEASURED, Batch, Source, WindowData, mean_loss
from ._parallel import Ranks
from ._training_config import LOSSES
from ._training_config import TrainingConfig as TrainingConfig
from ._training_state import Checkpoint, Run, refuse_existing
from .batches import source_of
from .errors import NotFittedError
from .models import MODELS, UNKNOWN, SequenceNet, build_model
from .preparation import Prepared

Data = WindowData | BlockPrepared


@dataclass(frozen=True)
class Task:
    """One network to train from one seed; ``start``: on from these weights, places at 0."""

    name: str
    seed: int
    options: dict[str, Any]
    config: TrainingConfig
    device: str
    start: Mapping[str, np.ndarray] | None = None
    checkpoint: Checkpoint | None = None


#: Optimizer steps that are worth a second process.
WORTH_PROCESSES = 200

Result = tuple[dict[str, np.ndarray], np.ndarray]


def run_tasks(
    tasks: list[Task],
    prepared: Prepared | BlockPrepared,
    *,
    jobs: int | None,
    progress: bool | None,
) -> list[Result]:
    """Train every task, here or in processes of one thread each; the bits are the same.

    Here: on a device, in blocks (they share the memory and the files), and where the processes
    are the user's own, see :mod:`xpermafrost._parallel`.
    """
    for task in tasks:
        if task.checkpoint is not None:
            refuse_existing(task.checkpoint)
    data: Data = prepared if isinstance(prepared, BlockPrepared) else WindowData.of(prepared)
    shown = sys.stderr.isatty() if progress is None else progress
    here = any(task.device != "cpu" for task in tasks) or Ranks.of_torch().count > 1
    jobs = min(len(tasks), jobs or _default_jobs(tasks, data))
    if isinstance(data, BlockPrepared) or jobs == 1 or here:
        return [train_net(task, data, progress=shown) for task in tasks]
    from tqdm.auto import tqdm

    # The longest first, so that the processes end together.
    order = sorted(range(len(tasks)), key=lambda k: -_COST.get(tasks[k].name, 1.0))
    work = _in_processes([tasks[k] for k in order], data, jobs)
    done = list(tqdm(work, total=len(tasks), desc="networks", disable=not shown))
    return [done[order.index(k)] for k in range(len(tasks))]


#: Time of a step of the five networks, relative to a GRU's.
_COST = {"transformer": 1.7, "bilstm": 1.3, "conv1dlstm": 1.0, "gru": 1.0, "tcn": 0.3}


def _in_processes(tasks: list[Task], data: WindowData, jobs: int) -> Iterator[Result]:
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


_inherited: tuple[list[Task], WindowData] | None = None


def _inherit(tasks: list[Task], data: WindowData) -> None:
    global _inherited
    _inherited = tasks, data


def _train_inherited(number: int) -> Result:
    if _inherited is None:
        raise NotFittedError("a training process was started without its data.")
    tasks, data = _inherited
    return train_net(tasks[number], data, progress=False)


def _default_jobs(tasks: list[Task], data: Data) -> int:
    """One process a core, where the training is longer than the start of the processes."""
    if isinstance(data, BlockPrepared):
        return 1
    steps = sum(
        task.config.epochs * -(-data.training.size // task.config.batch_size) for task in tasks
    )
    return (os.cpu_count() or 1) if steps > WORTH_PROCESSES else 1


def _train_apart(task: Task, builder: Any, data: WindowData) -> Result:
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


def train_net(task: Task, data: Data, *, progress: bool) -> Result:
    """Train one network; its weights, and its losses ``(2, epoch)``."""
    with _alone(task.seed):
        source = source_of(data, task.config, seed=task.seed, device=task.device)
        net = build_model(task.name, **source.sizes, options=task.options)
        if task.start is not None:
            start_from(net, task.start)
        net = net.to(task.device)
        losses = _epochs(net, task, source, progress=progress)
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


def _epochs(net: nn.Module, task: Task, source: Source, *, progress: bool) -> np.ndarray:
    from tqdm.auto import tqdm

    config = task.config
    run = _begin(net, task, source)
    run.take_up(task.checkpoint)
    ranks = Ranks.of_torch()
    ranks.own_chance(task.seed)
    model = ranks.wrap(net)
    kept = task.checkpoint if ranks.first else None
    bar = tqdm(
        desc=task.name, total=config.epochs, initial=run.epoch, disable=not progress, leave=False
    )
    with bar:
        while not run.finished:
            net.train()
            for batch in _enter(run, source, config.batch_size):
                _step(run, model, batch, config, ranks)
                run.save_when_due(kept)
            run.losses[0, run.epoch] = run.total / source.windows(run.epoch)
            held_out = validation_loss(net, source, LOSSES[config.loss])
            if held_out is not None:
                run.judge(held_out)
            run.epoch, run.batch, run.total = run.epoch + 1, 0, 0.0
            run.finished = run.epoch >= config.epochs or run.since >= config.patience
            if run.finished and run.best_weights is not None:
                net.load_state_dict(run.best_weights)
            run.save_when_due(kept)
            bar.update()
    return run.losses


def _begin(net: nn.Module, task: Task, source: Source) -> Run:
    config = task.config
    steps = sum(-(-source.windows(k) // config.batch_size) for k in range(config.epochs))
    optimizer = torch.optim.AdamW(
        _groups(net, config), weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=steps,
    )
    generator = torch.Generator().manual_seed(task.seed)
    return Run(net, optimizer, schedule, generator, np.full((2, config.epochs), np.nan))


def _enter(run: Run, source: Source, size: int) -> Iterator[Batch]:
    """Batches of the epoch that are left; its order follows from the generator at its begin."""
    generator = run.generator
    if not run.batch:
        run.drawn = generator.get_state()
        return source.epoch(run.epoch, size, generator=generator)
    now = generator.get_state()
    generator.set_state(run.drawn)
    batches = source.epoch(run.epoch, size, generator=generator, skip=run.batch)
    generator.set_state(now)
    return batches


def _step(run: Run, model: nn.Module, batch: Batch, config: TrainingConfig, ranks: Ranks) -> None:
    """One step of the optimizer."""
    count, hidden = len(batch.x), None
    if config.place_dropout:
        hidden = torch.rand(count, generator=run.generator) < config.place_dropout
        hidden = hidden.to(batch.location.device)
        batch = batch._replace(location=batch.location.masked_fill(hidden, UNKNOWN))
    loss = ranks.loss(model, batch, LOSSES[config.loss])
    run.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(run.net.parameters(), config.clip)
    run.optimizer.step()
    run.schedule.step()
    run.total += ranks.mean(loss) * count
    run.batch += 1


Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@torch.no_grad()
def validation_loss(net: nn.Module, source: Source, measure: Measure) -> float | None:
    """Weighted mean loss over the known targets of the validation windows, if there are any."""
    net.eval()
    total, mass = 0.0, 0.0
    for batch in source.validation(MEASURED):
        weight = float(batch.weight.sum())
        total += float(mean_loss(net, batch, measure)) * weight
        mass += weight
    return total / mass if mass else None
