"""Networks over windows: on the series that they share where a network offers it, else one by one.

The first way cuts the windows into blocks of a fixed size and shares the blocks out to as many
threads as torch may use; torch's own setting is left alone. The same inputs give the same
bits whatever the number of threads, and a window's answer does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from .models import UNKNOWN, SequenceNet
from .windows import Windows

if TYPE_CHECKING:
    from ._inference_kernels import Block

#: Windows of a batch, one by one: recurrent networks are slower in very large ones; an
#: accelerator needs more.
PREDICTION_BATCH = 512
ACCELERATOR_BATCH = 16_384


def run_net(net: nn.Module, windows: Windows, index: np.ndarray, *, device: str) -> np.ndarray:
    """Scaled predictions ``(window, layer)`` of one network.

    Parameters
    ----------
    net : torch.nn.Module
        ``net(x, location)``, as :func:`xpermafrost.register_model` describes.
    windows : Windows
    index : ndarray, shape (location,)
        Number of every location in the network's embedding, or ``UNKNOWN``.
    device : str
        torch device. The faster way is taken on the processor only.
    """
    net = net.to(device).eval()
    if torch.device(device).type == "cpu" and offers_series(net):
        return _along_series(net, windows, index)  # type: ignore[arg-type]
    return run_windows(net, windows, index, device=device)


def offers_series(net: nn.Module) -> bool:
    """Whether ``net`` is of a class that itself offers an encoder of series."""
    kind = type(net)
    own = "series_encoder" in vars(kind) and isinstance(net, SequenceNet)
    return own and kind.forward is SequenceNet.forward


def strided(cube: torch.Tensor, length: int) -> torch.Tensor:
    """Every window of ``(location, time, feature)`` as a row ``(length * feature)``; no copy."""
    n_location, n_time, n_feature = cube.shape
    rows = n_location * n_time - length + 1
    return cube.as_strided((rows, length * n_feature), (n_feature, 1))


@torch.inference_mode()
def run_windows(net: nn.Module, windows: Windows, index: np.ndarray, *, device: str) -> np.ndarray:
    """As :func:`run_net`, window by window in batches.

    A batch's months travel to the device once, from pinned memory, and windows are cut there.
    """
    apart = torch.device(device).type != "cpu"
    size = ACCELERATOR_BATCH if apart else PREDICTION_BATCH
    n_feature, length = windows.cube.shape[2], windows.spec.length
    months = torch.from_numpy(windows.cube).view(1, -1, n_feature)
    rows, places = windows.rows, torch.from_numpy(index[windows.location])
    parts = []
    for begin in range(0, len(windows), size):
        some = slice(begin, begin + size)
        first, last = rows[some].min(), rows[some].max() + length
        seen = months[:, first:last]
        if apart:
            seen = seen.pin_memory().to(device, non_blocking=True)
        picked = torch.from_numpy(rows[some] - first).to(device)
        x = strided(seen, length).index_select(0, picked).view(-1, length, n_feature)
        parts.append(net(x, places[some].to(device)))
    return torch.cat(parts).cpu().numpy()


def _along_series(net: SequenceNet, windows: Windows, index: np.ndarray) -> np.ndarray:
    """As :func:`run_net`: by the network's encoder of series, block by block, then its head."""
    from ._inference_kernels import add_product, affine, take
    from .models._series import linear, values

    encoder = net.series_encoder(windows.spec.length)
    if encoder is None:
        return run_windows(net, windows, index, device="cpu")
    head, embedding = linear(net.head), values(net.embedding.weight)
    width = head.w.shape[1] - embedding.shape[1]
    of_code, of_place = (np.ascontiguousarray(w) for w in np.split(head.w, [width], axis=1))
    out = np.empty((len(windows), net.head.out_features), dtype="float32")
    known = np.where(index == UNKNOWN, 0, index)
    places = np.where((index == UNKNOWN)[:, None], np.float32(0), embedding[known])
    cutter, n_features = _Cutter(windows, places), windows.cube.shape[2]

    def answer(begin: int, end: int) -> None:
        block = cutter.block(begin, end)
        codes = np.ascontiguousarray(encoder.codes(block))
        place = take(block.x[n_features:], block.runs, 0, block.lanes)
        scaled = affine(of_code, head.b, codes, 0, block.lanes)
        add_product(of_place, place, scaled, 0, block.lanes)
        out[begin:end] = scaled[: out.shape[1], : end - begin].T

    _on_threads(answer, list(cutter.bounds(encoder.windows)))
    return out


class _Cutter:
    """Cuts windows into blocks; ``places (location, embedding)``."""

    def __init__(self, windows: Windows, places: np.ndarray) -> None:
        cube = windows.cube
        self.flat = cube.reshape(-1, cube.shape[2])
        self.places, self.location = places, windows.location
        self.rows, self.length = windows.rows, windows.spec.length
        follows = (np.diff(self.rows) == 1) & (np.diff(self.location) == 0)
        self.breaks = np.flatnonzero(~follows) + 1

    def bounds(self, size: int) -> Iterator[tuple[int, int]]:
        """First window of every block, and the first of the next."""
        for begin in range(0, self.rows.size, size):
            yield begin, min(begin + size, self.rows.size)

    def block(self, begin: int, end: int) -> Block:
        """Windows ``begin`` to ``end``, and the months that they see."""
        from ._inference_kernels import PANEL, Block, Runs, fill_columns, whole

        first, last = np.searchsorted(self.breaks, [begin, end], side="right")
        inside = self.breaks[first:last]
        lane = np.concatenate([[begin], inside[inside < end]])
        count = np.diff(lane, append=end)
        months = count + self.length - 1
        column = np.cumsum(months) - months
        runs = Runs(lane - begin, column, count)
        places = self.places[self.location[lane]]
        shape = self.flat.shape[1] + places.shape[1], whole(int(months.sum())) + PANEL
        x = np.zeros(shape, dtype="float32")
        fill_columns(self.flat, places, self.rows[lane], runs, self.length, x)
        return Block(x, runs, whole(end - begin), self.length)


def _on_threads(answer: Callable[[int, int], None], bounds: list[tuple[int, int]]) -> None:
    """``answer(*bounds)`` of every block; the kernels release the interpreter."""
    threads = min(torch.get_num_threads(), len(bounds))
    if threads <= 1:
        for begin, end in bounds:
            answer(begin, end)
        return
    left = iter(bounds)  # of a list: threads may take from it in turn

    def work() -> None:
        for begin, end in left:
            answer(begin, end)

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()


__all__ = ["offers_series", "run_net", "run_windows", "strided"]
