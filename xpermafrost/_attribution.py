"""Engines of :func:`xpermafrost.explain`: from rows of numbers to attributions that sum.

A row is a flattened window, and behind it the location embedding; an answer maps rows
``(row, input)`` to scaled temperatures ``(row, layer)``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

#: Rows in one pass through a network: recurrent nets are fastest there.
BATCH = 512
#: Nodes on every path to begin with, and the most on a path that does not sum yet.
NODES = (3, 384)
#: Numbers held at once for the attributions of single paths (64 MB).
HELD = 16_000_000

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
        self.net = copy.deepcopy(net).to(device).eval()
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
) -> np.ndarray:
    """Mean over paths from every start of the gradient's integral along the path.

    Integrated gradients (Sundararajan et al. 2017, eq. 1) from every row of ``start`` to a row of
    ``end``, averaged (Erion et al. 2021, eq. 4); the integral by Gauss-Legendre quadrature
    instead of random draws. The integrals of a path sum to the difference of the answers at its
    ends but for the error of the quadrature, which is therefore known: where the mean of a window
    misses by more than ``limit``, the nodes of the paths that miss are doubled.

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

    Returns
    -------
    ndarray, shape (row, layer, input)

    References
    ----------
    Sundararajan, M., Taly, A. & Yan, Q. (2017), Axiomatic attribution for deep networks, ICML.
    Erion, G. et al. (2021), Improving performance of deep learning models with axiomatic
    attribution priors and expected gradients, Nature Machine Intelligence 3.
    """
    each = 1 if paired else len(start)
    group = max(1, HELD // (each * len(layers) * end.shape[1]))
    value = answers(answer, end)[:, layers], answers(answer, start)[:, layers]
    bound = torch.as_tensor(limit, dtype=torch.float32, device=end.device)
    out = np.empty((len(end), len(layers), end.shape[1]))
    with quiet_threads():
        for first in range(0, len(end), group):
            some = torch.arange(first, min(first + group, len(end)), device=end.device)
            goal = some.repeat_interleave(each)
            origin = goal if paired else torch.arange(each, device=end.device).repeat(len(some))
            change = value[0][goal] - value[1][origin]
            paths = start[origin], end[goal] - start[origin]
            parts = _until_they_sum(answer, paths, change, layers, bound, each)
            means = parts.view(len(some), each, *parts.shape[1:]).double().mean(dim=1)
            out[some.cpu().numpy()] = means.cpu().numpy()
    return out


def _until_they_sum(
    answer: Answer,
    paths: tuple[torch.Tensor, torch.Tensor],
    change: torch.Tensor,
    layers: np.ndarray,
    limit: torch.Tensor,
    each: int,
) -> torch.Tensor:
    """Integrals ``(path, layer, input)``; ``each`` paths in a row lead to the same window."""
    start, delta = paths
    nodes, most = NODES
    parts = _integrals(answer, start, delta, nodes, layers)
    while True:
        missed = change - parts.sum(dim=2, dtype=torch.float64)
        window = missed.view(-1, each, len(layers)).mean(dim=1)
        failing = (window.abs() > limit).any(dim=1).repeat_interleave(each)
        # a mean beyond the limit has a path beyond it: something is left to do
        worst = failing & (missed.abs() > limit).any(dim=1)
        if not bool(worst.any()) or nodes >= most:
            return parts
        nodes *= 2
        parts[worst] = _integrals(answer, start[worst], delta[worst], nodes, layers)


def _integrals(
    answer: Answer, start: torch.Tensor, delta: torch.Tensor, nodes: int, layers: np.ndarray
) -> torch.Tensor:
    at, weight = np.polynomial.legendre.leggauss(nodes)
    share = torch.as_tensor((at + 1) / 2, dtype=start.dtype, device=start.device)
    mass = torch.as_tensor(weight / 2, dtype=start.dtype, device=start.device)
    out = torch.empty((len(start), len(layers), start.shape[1]), device=start.device)
    step = max(1, BATCH // nodes)
    for first in range(0, len(start), step):
        some = slice(first, first + step)
        points = start[some, None] + share[:, None] * delta[some, None]
        points = points.reshape(-1, start.shape[1]).requires_grad_()
        value = answer(points)
        for number, layer in enumerate(layers):
            more = number + 1 < len(layers)
            (slope,) = torch.autograd.grad(value[:, layer].sum(), points, retain_graph=more)
            mean = torch.einsum("n,pni->pi", mass, slope.view(-1, nodes, start.shape[1]))
            out[some, number] = mean * delta[some]
    return out


@contextmanager
def quiet_threads() -> Iterator[None]:
    """One thread, as nets this small wait longer for a second than they gain; no cuDNN.

    cuDNN has no gradient of a recurrent network in evaluation mode; torch's own kernels do.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        torch.set_num_threads(threads)


__all__ = ["Answer", "Linear", "Member", "answers", "expected_gradients", "quiet_threads"]
