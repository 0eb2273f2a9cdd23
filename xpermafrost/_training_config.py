"""How a network is trained: the numbers that a user may change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from ._checks import choose
from .errors import DataError
from .scaling import TARGET_TRANSFORMS

#: Losses of one error, by name; half a standard deviation is where Huber's turns linear.
LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mse": partial(nn.functional.mse_loss, reduction="none"),
    "huber": partial(nn.functional.smooth_l1_loss, reduction="none", beta=0.5),
}


_POSITIVE = (
    *("epochs", "batch_size", "learning_rate", "patience", "clip", "place_rate"),
    *("memory", "checkpoint_minutes"),
)


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
    memory : float
        Memory for windows [GB]. Dask-backed data that would need more are read in blocks of
        places, each once an epoch, see :mod:`xpermafrost.batches`.
    block : int, optional
        Places whose windows are shuffled together. None: all that are in memory at a time.
        64 fit a processor's cache and are read faster.
    locations_per_epoch : int, optional
        Places that an epoch is made of, drawn anew for each; None: all.
    checkpoint_minutes : float
        Time between two checkpoints, where ``fit(checkpoint=...)`` asks for them.

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
    # how data are read is no part of what pretrained weights are known by
    memory: float = field(default=4.0, repr=False)
    block: int | None = field(default=None, repr=False)
    locations_per_epoch: int | None = field(default=None, repr=False)
    checkpoint_minutes: float = field(default=10.0, repr=False)

    def __post_init__(self) -> None:
        choose("target transform", self.target, TARGET_TRANSFORMS)
        choose("loss", self.loss, LOSSES)
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise DataError(f"{name} must be positive; got {getattr(self, name)}.")
        for name in ("recency_years", "block", "locations_per_epoch"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise DataError(f"{name} must be positive or None; got {value}.")
        if self.validation_years < 0 or self.weight_decay < 0:
            raise DataError("validation_years and weight_decay must not be negative.")
        if not 0.0 <= self.place_dropout <= 1.0:
            raise DataError(f"place_dropout is a share, 0 to 1; got {self.place_dropout}.")
