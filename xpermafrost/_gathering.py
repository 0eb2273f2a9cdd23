"""Windows gathered in place: rows of a strided view of one contiguous array, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from .errors import DataError
from .fitted import strided
from .preparation import Prepared
from .windows import Windows

#: Batches whose places and targets are gathered at a time.
TOGETHER = 32

#: Windows of a batch whose loss is only measured.
MEASURED = 2048


class Batch(NamedTuple):
    """Some windows.

    Attributes
    ----------
    x : Tensor (window, step, feature)
        Scaled features, float32.
    location : Tensor (window,)
        Number of the place.
    y : Tensor (window, layer)
        Scaled target; 0 where it is missing, which its weight says.
    weight : Tensor (window, layer)
        Weight in the loss, 0 where the target is missing.
    """

    x: torch.Tensor
    location: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor


@dataclass(frozen=True)
class WindowData:
    """Windows of the places that are in memory, as plain arrays.

    Attributes
    ----------
    cube : ndarray (location, time, feature)
        C-contiguous float32.
    rows, location : ndarray (window,)
        Row of each window in the strided view of ``cube``; number of its place.
    target, weight : ndarray (window, layer), (window,)
    training, validation : ndarray
        Numbers of windows.
    length : int
        Steps of a window.
    """

    cube: np.ndarray
    rows: np.ndarray
    location: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    length: int

    @classmethod
    def of(cls, prepared: Prepared) -> WindowData:
        """The windows of a prepared Dataset."""
        windows = prepared.windows
        return cls(
            windows.cube,
            windows.rows,
            windows.location,
            prepared.target,
            prepared.weight,
            prepared.training,
            prepared.validation,
            windows.spec.length,
        )

    @classmethod
    def plain(cls, windows: Windows, target: np.ndarray) -> WindowData:
        """All ``windows``, with a target ``(window, layer)`` for each."""
        if target.shape[:1] != (len(windows),):
            raise DataError(
                f"a target (window, layer) is needed for each of {len(windows)} windows; got the "
                f"shape {target.shape}."
            )
        return cls(
            windows.cube,
            windows.rows,
            windows.location,
            target,
            np.ones(len(windows), dtype="float32"),
            np.arange(len(windows)),
            np.arange(0),
            windows.spec.length,
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes that a network needs."""
        n_location, _, n_feature = self.cube.shape
        return {
            "n_features": n_feature,
            "n_locations": n_location,
            "n_layers": self.target.shape[1],
            "length": self.length,
        }


class Gatherer:
    """The windows of :class:`WindowData` on a device; copies a batch and nothing beyond it."""

    def __init__(self, data: WindowData, device: str = "cpu") -> None:
        # what another process shares is read-only, which torch does not know
        cube = data.cube if data.cube.flags.writeable else np.array(data.cube)
        self.cube = torch.from_numpy(cube).to(device)
        self.length = data.length
        self.flat = strided(self.cube, data.length)
        self.rows = torch.from_numpy(data.rows).to(device)
        self.location = torch.from_numpy(data.location).to(device)
        known = np.isfinite(data.target) * data.weight[:, None]
        self.weight = torch.from_numpy(known.astype("float32", copy=False)).to(device)
        self.complete = bool((known > 0).all())
        target = np.nan_to_num(data.target)  # of weight 0
        self.target = torch.from_numpy(target.astype("float32", copy=False)).to(device)

    def batches(self, order: torch.Tensor, size: int) -> Iterator[Batch]:
        """Windows of the numbers ``order``, in batches of ``size``.

        What is small is gathered for many batches at a time: each call costs as much as some
        hundred windows.
        """
        order = order.to(self.rows.device)
        shape = (-1, self.length, self.cube.shape[2])
        for some in order.split(size * TOGETHER):
            # index_select: half the time of brackets
            small = (self.rows, self.location, self.target, self.weight)
            parts = (values.index_select(0, some).split(size) for values in small)
            for rows, location, target, weight in zip(*parts, strict=True):
                if len(rows):
                    x = self.flat.index_select(0, rows).view(shape)
                    yield Batch(x, location, target, weight)


def shuffled(
    numbers: np.ndarray, place: np.ndarray, *, block: int | None, generator: torch.Generator
) -> torch.Tensor:
    """Numbers of windows in an order by chance, each once.

    Parameters
    ----------
    numbers : ndarray (window,)
        Numbers of windows, place by place.
    place : ndarray (window,)
        Place of each of them, ascending.
    block : int, optional
        Places, drawn by chance, whose windows are drawn together; None: all.
    generator : torch.Generator

    Examples
    --------
    >>> chance = torch.Generator().manual_seed(0)
    >>> order = shuffled(np.arange(6), np.array([0, 0, 1, 1, 2, 2]), block=1, generator=chance)
    >>> (order // 2).tolist()                   # one place after the other
    [2, 2, 0, 0, 1, 1]
    """
    every = torch.from_numpy(numbers)
    if block is None:
        return every[torch.randperm(every.numel(), generator=generator)]
    starts = np.flatnonzero(np.diff(place, prepend=place[:1] - 1))
    stops = np.append(starts[1:], place.size)
    drawn = torch.randperm(starts.size, generator=generator).numpy()
    parts = []
    for begin in range(0, drawn.size, block):
        some = drawn[begin : begin + block]
        own = np.concatenate([numbers[starts[k] : stops[k]] for k in some])
        parts.append(torch.from_numpy(own)[torch.randperm(own.size, generator=generator)])
    return torch.cat(parts) if parts else every


class Source(Protocol):
    """Where the batches of a training come from."""

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes that a network needs."""
        ...

    @property
    def complete(self) -> bool:
        """Whether no target is missing for certain."""
        ...

    def windows(self, number: int) -> int:
        """Windows of the epoch ``number``."""
        ...

    def epoch(
        self, number: int, size: int, *, generator: torch.Generator, skip: int = 0
    ) -> Iterator[Batch]:
        """Batches of an epoch but for the first ``skip``.

        What is drawn of ``generator`` is drawn at once, not with the first batch.
        """
        ...

    def validation(self, size: int) -> Iterator[Batch]:
        """Batches of the validation windows; none where there are none."""
        ...


class InMemory:
    """Batches of what is in memory as a whole."""

    def __init__(self, data: WindowData, *, device: str = "cpu", block: int | None = None) -> None:
        self.gatherer, self.block = Gatherer(data, device), block
        self.training, self.held_out = data.training, torch.from_numpy(data.validation)
        self.place = data.location[data.training]
        self.sizes, self.complete = data.sizes, self.gatherer.complete

    def windows(self, number: int) -> int:
        return int(self.training.size)

    def epoch(
        self, number: int, size: int, *, generator: torch.Generator, skip: int = 0
    ) -> Iterator[Batch]:
        order = shuffled(self.training, self.place, block=self.block, generator=generator)
        return self.gatherer.batches(order[skip * size :], size)

    def stored(self, size: int) -> Iterator[Batch]:
        """Batches place by place, in the order of time."""
        return self.gatherer.batches(torch.from_numpy(self.training), size)

    def validation(self, size: int) -> Iterator[Batch]:
        return self.gatherer.batches(self.held_out, size)


def mean_loss(
    net: nn.Module,
    batch: Batch,
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Weighted mean of ``measure`` over the known targets of a batch."""
    error = measure(net(batch.x, batch.location), batch.y)
    return (error * batch.weight).sum() / batch.weight.sum()


def generator_of(*numbers: int) -> torch.Generator:
    """A generator of its own for some numbers, such as seed, epoch and block."""
    state = np.random.SeedSequence(numbers).generate_state(1, dtype="uint64")
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
