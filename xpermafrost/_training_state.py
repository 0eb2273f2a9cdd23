"""A training at one moment: written every few minutes, taken up again with the same bits.

A checkpoint holds the weights, the optimizer, the place in the schedule, the states of the
generators, the epoch and the batch, the losses and the best weights so far; and what the training
is of, so that another one is refused.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .checkpoint import TRAINING, read_archive, write_archive
from .errors import ModelMismatchError, OutputExistsError

Schedule = torch.optim.lr_scheduler.OneCycleLR


@dataclass(frozen=True)
class Checkpoint:
    """Where a training is kept, how often [minutes], and what it is of."""

    path: Path
    minutes: float
    resume: bool
    identity: Mapping[str, Any]


def checkpoint_path(path: str | os.PathLike[str], name: str, seed: int, *, alone: bool) -> Path:
    """The file of one network: ``path``, or one beside it where several are trained.

    Examples
    --------
    >>> checkpoint_path("run.ckpt", "gru", 3, alone=False).name
    'run.gru-3.ckpt'
    """
    path = Path(path)
    return path if alone else path.with_name(f"{path.stem}.{name}-{seed}{path.suffix}")


def refuse_existing(checkpoint: Checkpoint) -> None:
    """Raise where a checkpoint is in the way, or its folder is missing, before any work."""
    if checkpoint.path.exists() and not checkpoint.resume:
        raise OutputExistsError(
            f"{str(checkpoint.path)!r} exists and is not overwritten silently. Go on with that "
            "training: resume=True; or remove it, or choose another path."
        )
    if not checkpoint.path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"the folder {str(checkpoint.path.absolute().parent)!r} for the checkpoint "
            f"{checkpoint.path.name!r} does not exist; create it."
        )


def hash_of(weights: Mapping[str, np.ndarray] | None) -> str | None:
    """A hash of known weights that a training starts from."""
    if weights is None:
        return None
    total = hashlib.sha256()
    for name in sorted(weights):
        total.update(name.encode())
        total.update(np.ascontiguousarray(weights[name]).tobytes())
    return total.hexdigest()


@dataclass
class Run:
    """All that a training is at one moment.

    Attributes
    ----------
    net, optimizer, schedule, generator
    losses : ndarray (2, epoch)
    epoch, batch : int
        Where it is: batches of the epoch that are done.
    drawn : Tensor
        State of the generator when the epoch began, from which its order follows.
    total : float
        Sum of the losses of the epoch.
    best, best_weights, since
        Lowest validation loss, its weights, epochs since then.
    finished : bool
    """

    net: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    generator: torch.Generator
    losses: np.ndarray
    epoch: int = 0
    batch: int = 0
    drawn: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))
    total: float = 0.0
    best: float = np.inf
    best_weights: dict[str, torch.Tensor] | None = None
    since: int = 0
    finished: bool = False
    saved: float = field(default_factory=time.monotonic)

    def judge(self, loss: float) -> None:
        """Note the validation loss of the epoch, and the weights if they are the best so far."""
        self.losses[1, self.epoch] = loss
        if loss < self.best:
            self.best, self.since = loss, 0
            self.best_weights = {n: t.detach().clone() for n, t in self.net.state_dict().items()}
        else:
            self.since += 1

    def save_when_due(self, checkpoint: Checkpoint | None) -> None:
        """Write a checkpoint if the last one is old enough, or the training is finished."""
        if checkpoint is None:
            return
        if self.finished or time.monotonic() - self.saved >= 60.0 * checkpoint.minutes:
            self.save(checkpoint)
            self.saved = time.monotonic()

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint: whole, or not at all."""
        state = self.optimizer.state_dict()
        arrays = {f"net/{n}": _plain(t) for n, t in self.net.state_dict().items()}
        arrays |= {f"best/{n}": _plain(t) for n, t in (self.best_weights or {}).items()}
        arrays |= {
            f"optimizer/{k}/{n}": _plain(t)
            for k, own in state["state"].items()
            for n, t in own.items()
        }
        arrays |= {f"chance/{n}": _plain(t) for n, t in self._chance().items()}
        arrays["losses"] = self.losses
        numbers = ("epoch", "batch", "total", "best", "since", "finished")
        meta = {
            "identity": dict(checkpoint.identity),
            "groups": state["param_groups"],
            "schedule": self.schedule.state_dict(),
            "run": {name: getattr(self, name) for name in numbers},
        }
        write_archive(
            checkpoint.path, meta=meta, arrays=arrays, datasets={}, overwrite=True, mark=TRAINING
        )

    def _chance(self) -> dict[str, torch.Tensor]:
        states = {"epoch": self.drawn, "own": self.generator.get_state()}
        states["torch"] = torch.get_rng_state()
        if self._device().type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self._device())
        return states

    def _device(self) -> torch.device:
        return next(self.net.parameters()).device

    def take_up(self, checkpoint: Checkpoint | None) -> None:
        """Go on where the checkpoint was written, if there is one.

        Raises
        ------
        ModelMismatchError
            If it is of another training: what differs is named.
        CheckpointError
            If it is truncated, edited or foreign.
        """
        if checkpoint is None or not checkpoint.path.exists():
            return
        meta, arrays, _ = read_archive(checkpoint.path, mark=TRAINING)
        _same(checkpoint, meta["identity"])
        parts = {n: torch.from_numpy(values) for n, values in arrays.items()}
        self.net.load_state_dict(_under(parts, "net/"))
        best = _under(parts, "best/")
        self.best_weights = {n: t.to(self._device()) for n, t in best.items()} or None
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in _under(parts, "optimizer/").items():
            number, key = name.split("/")
            state.setdefault(int(number), {})[key] = tensor
        groups = [{**group, "betas": tuple(group["betas"])} for group in meta["groups"]]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.schedule.load_state_dict(meta["schedule"])
        self.losses[:] = arrays["losses"]
        for name, value in meta["run"].items():
            setattr(self, name, value)
        chance = _under(parts, "chance/")
        self.drawn = chance["epoch"]
        self.generator.set_state(chance["own"])
        torch.set_rng_state(chance["torch"])
        if "cuda" in chance:
            torch.cuda.set_rng_state(chance["cuda"], self._device())


def _plain(tensor: torch.Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().numpy())


def _under(parts: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): t for n, t in parts.items() if n.startswith(prefix)}


def _same(checkpoint: Checkpoint, found: Mapping[str, Any]) -> None:
    import json

    wanted = json.loads(json.dumps(dict(checkpoint.identity)))  # tuples are lists in the file
    other = [k for k in {**wanted, **found} if wanted.get(k) != found.get(k)]
    if other:
        said = "; ".join(f"{k}: {found.get(k)!r}, here {wanted.get(k)!r}" for k in other)
        raise ModelMismatchError(
            f"{str(checkpoint.path)!r} is of another training ({said}). Repeat the call that "
            "began it, or choose another checkpoint."
        )
