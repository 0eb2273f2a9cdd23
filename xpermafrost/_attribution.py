"""Engines of :func:`xpermafrost.explain`: from rows of numbers to attributions that sum.

A row is a flattened window, and behind it the location embedding; an answer maps rows
``(row, input)`` to scaled temperatures ``(row, layer)``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

import numpy as np
import torch
from torch import nn

#: Rows in one pass through a network: recurrent nets are fastest there.
BATCH = 256
#: Nodes on every path to begin with, and the most where a window does not sum yet.
NODES = (2, 512)
#: Its multiples, without their integers, fill the unit interval most evenly.
GOLDEN = (5**0.5 - 1) / 2

Answer = Callable[[torch.Tensor], torch.Tensor]


class Member:
    """A network as a function of rows, at one place or between places.

    Where the network has a layer ``embedding``, its vector is part of the row, so that a path can
    lead from one place to another; else the place is held fixed.

    Parameters
    ----------
    net : torch.nn.Module
        ``net(x, location)``; it is not changed.
    shape : tuple of int
        Steps and features of a window.
    place : int
        Number of the place in the network, for networks without ``embedding``.
    device : str
        torch device.
    """

    def __init__(self, net: nn.Module, shape: tuple[int, int], place: int, device: str) -> None:
        # a copy: rows bring weights of their own, and the device may be another
        self.net = copy.deepcopy(net).to(device).eval().requires_grad_(False)
        self.shape, self.place = shape, place
        self.inputs = shape[0] * shape[1]
        self.device = device

    @property
    def embeds(self) -> bool:
        """Whether the place is a part of the row."""
        return isinstance(getattr(self.net, "embedding", None), nn.Embedding)

    def rows(self, windows: np.ndarray, places: np.ndarray) -> torch.Tensor:
        """Rows of flattened windows ``(row, step * feature)`` at numbered places."""
        flat = torch.from_numpy(np.ascontiguousarray(windows, dtype="float32"))
        if self.embeds:
            table = self.net.embedding.weight.detach().cpu()  # type: ignore[union-attr, operator]
            known = torch.from_numpy(places >= 0).unsqueeze(1)  # below 0: not learned, zero
            place = table[torch.from_numpy(np.maximum(places, 0))] * known
            flat = torch.cat([flat, place], dim=1)
        return flat.to(self.device)

    def values(self, rows: torch.Tensor) -> np.ndarray:
        """Answers ``(row, layer)``."""
        return answers(self, rows).cpu().numpy().astype("float64")

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        x = rows[:, : self.inputs].reshape(-1, *self.shape)
        if not self.embeds:
            location = torch.full((len(rows),), self.place, device=rows.device)
            return self.net(x, location)
        # each row brings its own place: a table of embeddings with one line a row
        own = {"embedding.weight": rows[:, self.inputs :]}
        return torch.func.functional_call(
            self.net, own, (x, torch.arange(len(rows), device=rows.device))
        )


class Linear:
    """A linear map of rows: weights ``(layer, input + 1)`` of one place, the last the intercept."""

    embeds = False

    def __init__(self, weights: np.ndarray) -> None:
        self.slopes, self.level = weights[:, :-1], weights[:, -1]

    def rows(self, windows: np.ndarray, places: np.ndarray) -> torch.Tensor:
        """Rows of flattened windows; the place is in the weights."""
        return torch.from_numpy(np.array(windows, dtype="float64"))

    def values(self, rows: torch.Tensor) -> np.ndarray:
        """Answers ``(row, layer)``."""
        return rows.numpy() @ self.slopes.T + self.level

    def attributions(self, end: torch.Tensor, start: torch.Tensor, *, paired: bool) -> np.ndarray:
        """Expected gradients in closed form: weight x (value - mean of the background)."""
        origin = start if paired else start.mean(dim=0, keepdim=True)
        return self.slopes[None] * (end - origin).numpy()[:, None, :]


@torch.no_grad()
def answers(answer: Answer, rows: torch.Tensor) -> torch.Tensor:
    """Answers ``(row, layer)`` in batches."""
    return torch.cat([answer(part) for part in rows.split(BATCH)])


def expected_gradients(
    answer: Answer,
    end: torch.Tensor,
    start: torch.Tensor,
    *,
    layers: np.ndarray,
    limit: np.ndarray,
    paired: bool = False,
    workers: int = 1,
) -> np.ndarray:
    """Mean over paths from every start of the gradient's integral along the path.

    Integrated gradients (Sundararajan et al. 2017, eq. 1) from every row of ``start`` to a row of
    ``end``, averaged (Erion et al. 2021, eq. 4). Position on the path and start are integrated
    together by a rank-1 lattice (Sloan & Joe 1994, section 1.3): ``n`` equidistant nodes on every
    path, shifted from path to path by the golden ratio, the paths in the order of their answers,
    so that neighbours fill each other's gaps. A shifted rule misses the integral of a function
    that is not periodic by ``(1/2 - shift) / n`` times its rise from start to end, in first order
    (Euler and Maclaurin), which is added: the gradients at the ends are shared by all paths that
    meet there.

    The integrals sum to the difference of the answers but for the error of the quadrature, which is
    therefore known: where a window misses by more than ``limit``, its nodes are doubled, and
    those that are known are kept.

    Parameters
    ----------
    answer : callable
        ``(row, input) -> (row, layer)``, differentiable.
    end, start : Tensor (row, input)
        Explained and background rows.
    layers : ndarray of int
        Outputs to explain.
    limit : ndarray (layer,)
        Largest error of a sum, in units of the answer.
    paired : bool
        One path from ``start[k]`` to ``end[k]`` each, instead of one from every start.
    workers : int
        Threads; the numbers do not depend on it.

    Returns
    -------
    ndarray, shape (row, layer, input)

    References
    ----------
    Sundararajan, M., Taly, A. & Yan, Q. (2017), Axiomatic attribution for deep networks, ICML.
    Erion, G. et al. (2021), Improving performance of deep learning models with axiomatic
    attribution priors and expected gradients, Nature Machine Intelligence 3.
    Sloan, I. H. & Joe, S. (1994), Lattice methods for multiple integration, Oxford.
    """
    nodes, most = NODES
    todo = np.arange(len(end))
    out = np.empty((len(end), len(layers), end.shape[1]))
    with quiet_threads():
        paths = _Paths(answer, end, start, layers=layers, paired=paired, workers=workers)
        means = paths.mean(todo, np.arange(nodes) / nodes)
        while True:
            out[todo] = means + paths.rise(nodes)[todo]
            missed = np.abs(paths.change - out.sum(axis=2))[todo]
            failing = (missed > limit).any(axis=1)
            if not failing.any() or nodes >= most:
                return out
            todo, means = todo[failing], means[failing]
            between = paths.mean(todo, (np.arange(nodes) + 0.5) / nodes)
            means = (means + between) / 2
            nodes *= 2


class _Paths:
    """Straight paths from starts to ends, and gradients on them."""

    def __init__(
        self,
        answer: Answer,
        end: torch.Tensor,
        start: torch.Tensor,
        *,
        layers: np.ndarray,
        paired: bool,
        workers: int,
    ) -> None:
        self.end, self.start = end, start
        self.layers, self.paired, self.workers = layers, paired, workers
        # one for each thread: networks between places borrow their weights
        self.free: SimpleQueue[Answer] = SimpleQueue()
        for k in range(workers):
            self.free.put(copy.deepcopy(answer) if k else answer)
        goal, base = (answers(answer, rows)[:, layers].double() for rows in (end, start))
        self.change = (goal - (base if paired else base.mean(dim=0))).cpu().numpy()
        rank = base.mean(dim=1).argsort(stable=True).argsort()
        self.shift = (0.5 + GOLDEN * rank) % 1.0
        self.slopes = [
            torch.cat([_slopes(answer, part, layers) for part in rows.split(BATCH)]).double()
            for rows in (end, start)
        ]

    def mean(self, todo: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Gradient times path, mean over paths to ends ``todo`` and shifted ``offsets``."""
        out = np.zeros((len(todo), len(self.layers), self.end.shape[1]))
        each = 1 if self.paired else len(self.start)
        ends = torch.as_tensor(todo, device=self.end.device)
        moves = torch.as_tensor(offsets, device=self.end.device)
        rows, per = len(todo) * len(offsets) * each, len(offsets) * each

        def share(first: int) -> tuple[int, np.ndarray]:
            row = torch.arange(first, min(first + BATCH, rows), device=self.end.device)
            which = row // per
            end = ends[which]
            begin = end if self.paired else row % each
            at = (self.shift[begin] + moves[row % per // each]) % 1.0
            start, delta = self.start[begin], self.end[end] - self.start[begin]
            answer = self.free.get()
            try:
                slope = _slopes(answer, start + at.to(start.dtype)[:, None] * delta, self.layers)
            finally:
                self.free.put(answer)
            lowest = int(which[0])
            total = slope.new_zeros((int(which[-1]) - lowest + 1, *slope.shape[1:]))
            total.index_add_(0, which - lowest, slope * delta[:, None])
            return lowest, total.cpu().numpy() / per

        with ThreadPoolExecutor(
            self.workers, initializer=torch.set_num_threads, initargs=(1,)
        ) as p:
            for lowest, part in p.map(share, range(0, rows, BATCH)):  # in order: the same bits
                out[lowest : lowest + len(part)] += part
        return out

    def rise(self, nodes: int) -> np.ndarray:
        """What the shifted rule misses in first order, ``(1/2 - shift) / nodes`` x the rise."""
        rest = ((0.5 - self.shift * nodes % 1.0) / nodes)[:, None]
        last, first = self.slopes
        end, start = self.end.double()[:, None], self.start.double()[:, None]
        rest = rest[:, None]
        if self.paired:
            return (rest * (last - first) * (end - start)).cpu().numpy()
        # the mean over starts of rest x (last - first) x (end - start), multiplied out
        found = last * (end * rest.mean(dim=0) - (rest * start).mean(dim=0))
        found = found - end * (rest * first).mean(dim=0) + (rest * first * start).mean(dim=0)
        return found.cpu().numpy()


def _slopes(answer: Answer, points: torch.Tensor, layers: np.ndarray) -> torch.Tensor:
    """Gradients ``(row, layer, input)`` of the answers at ``points``."""
    points = points.detach().requires_grad_()
    out = points.new_empty((len(points), len(layers), points.shape[1]))
    value = answer(points)
    for number, layer in enumerate(layers):
        more = number + 1 < len(layers)
        (out[:, number],) = torch.autograd.grad(value[:, layer].sum(), points, retain_graph=more)
    return out


@contextmanager
def quiet_threads() -> Iterator[int]:
    """One thread, as nets this small wait longer for a second than they gain; no cuDNN.

    Gives the number of threads there were, for as many networks side by side. cuDNN has no
    gradient of a recurrent network in evaluation mode; torch's own kernels do.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(enabled=False):
            yield threads
    finally:
        torch.set_num_threads(threads)


__all__ = ["Answer", "Linear", "Member", "answers", "expected_gradients", "quiet_threads"]
