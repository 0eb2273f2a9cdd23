"""One shuffled epoch of windows, against a DataLoader, a plain copy and xbatcher.

``python -m benchmarks.bench_windows [--places 36000] [--rounds 3]`` makes one float32 array of
places x 276 months x 20 features, and reads all of its windows of 24 months, each once, in the
batches that the training loop reads (``WindowBatches``), round-robin with

- a plain copy of the same bytes: as many batches of the same size, each from consecutive memory of
  the same array, into a batch buffer that is used again, and into new memory;
- a ``DataLoader`` over a Dataset with one window an item, on a share of the windows, scaled up;
- in order, xbatcher: all windows of a batch of places, loaded and as contiguous as ours.

Medians; ratios of wall clock and of processor time; one thread (``--threads``).
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
import xarray as xr
from torch.utils.data import DataLoader, Dataset

from xpermafrost.batches import InMemory, WindowBatches, WindowData
from xpermafrost.windows import Windows, WindowSpec, make_windows

from ._stages import Stage, Work, peer

MONTHS, FEATURES, LAYERS, LENGTH = 276, 20, 4, 24
#: Windows that the DataLoader reads; its time is proportional.
SHARE = 200_000


def world(places: int) -> tuple[Windows, np.ndarray]:
    """Noise, and a target for each window."""
    rng = np.random.default_rng(0)
    cube = rng.random((places, MONTHS, FEATURES), dtype="float32")
    features = xr.DataArray(
        cube,
        {"time": xr.date_range("2001", periods=MONTHS, freq="MS")},
        ("cell", "time", "feature"),
    )
    spec = WindowSpec(length=LENGTH, features=tuple(f"f{k}" for k in range(FEATURES)))
    windows = make_windows(features, spec)
    return windows, rng.random((len(windows), LAYERS), dtype="float32")


class Plain(Dataset):
    """One window an item, sliced."""

    def __init__(self, windows: Windows, target: np.ndarray, numbers: np.ndarray) -> None:
        self.windows, self.target, self.numbers = windows, target, numbers
        self.start = windows.start

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        k = self.numbers[item]
        start = self.start[k]
        x = self.windows.cube[self.windows.location[k], start : start + LENGTH]
        return torch.from_numpy(x), torch.from_numpy(self.target[k])


def drained(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> int:
    """Windows that were read."""
    return sum(len(x) for x, _ in batches)


def plain_copy(cube: np.ndarray, count: int, size: int, *, reuse: bool) -> int:
    """The bytes of ``count`` windows, from consecutive memory."""
    flat = torch.from_numpy(cube).view(-1)
    step = size * LENGTH * FEATURES
    buffer = torch.empty(step)
    at = 0
    for begin in range(0, count, size):
        many = min(size, count - begin) * LENGTH * FEATURES
        if at + many > flat.numel():
            at = 0
        if reuse:
            buffer[:many].copy_(flat[at : at + many])
        else:
            flat[at : at + many].clone()
        at += many
    return count


def xbatcher_windows(cube: np.ndarray, places: int) -> int:
    """All windows of some places at a time, in the order of time, contiguous."""
    import xbatcher

    da = xr.DataArray(cube, dims=("cell", "time", "feature"))
    generator = xbatcher.BatchGenerator(
        da,
        input_dims={"cell": places, "time": LENGTH, "feature": FEATURES},
        input_overlap={"time": LENGTH - 1},
        preload_batch=False,
    )
    return sum(len(torch.from_numpy(np.ascontiguousarray(batch.values))) for batch in generator)


def clock(task: Callable[[], int], wanted: int) -> tuple[float, float]:
    """Seconds and processor seconds; every window must have been read."""
    wall, cpu = time.perf_counter(), time.process_time()
    assert task() == wanted
    return time.perf_counter() - wall, time.process_time() - cpu


def alone(task: Callable[[], int]) -> Callable[[], int]:
    """``task`` on one thread of torch: small copies by two threads mostly wait."""

    def run() -> int:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return task()
        finally:
            torch.set_num_threads(before)

    return run


def _work(scale: float) -> Work:
    windows, target = world(max(64, round(36_000 * scale)))
    places, count, size = len(windows.cube), len(windows), 512
    data = WindowData.plain(windows, target)
    blocks = WindowBatches(InMemory(data, block=64), batch_size=size)
    stored = WindowBatches(InMemory(data), batch_size=size, order="stored")
    loader = DataLoader(Plain(windows, target, np.arange(count)), batch_size=size, shuffle=True)
    some = max(1, places // 60)
    return Work(
        size=f"{places} places x {MONTHS} months x {FEATURES} features: {count} windows of "
        f"{LENGTH} months, one thread, "
        f"{count * LENGTH * FEATURES * 4 / 1e9:.1f} GB in batches of {size}",
        ours={
            "xpermafrost, shuffled by 64 places": alone(lambda: drained(iter(blocks))),
            "xpermafrost, as stored": alone(lambda: drained(iter(stored))),
        },
        peers={
            "DataLoader, one window an item, shuffled": alone(lambda: drained(iter(loader))),
            "xbatcher, in order": peer(
                lambda: alone(lambda: xbatcher_windows(windows.cube, some)), "xbatcher"
            ),
        },
        limits={
            "copy of the same bytes, one buffer": alone(
                lambda: plain_copy(windows.cube, count, size, reuse=True)
            )
        },
    )


#: 36,000 places are asked; a quarter of them is the whole here, for the sake of the DataLoader.
STAGES = (
    Stage(
        name="windows", make=lambda scale: _work(scale / 4), quick=0.04, tiny=0.005, growth=0.125
    ),
)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, default=36_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = options.batch_size
    windows, target = world(options.places)
    count = len(windows)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    data = WindowData.plain(windows, target)
    blocks, every = (
        WindowBatches(InMemory(data, block=block), batch_size=size) for block in (64, None)
    )
    stored = WindowBatches(InMemory(data), batch_size=size, order="stored")
    share = np.random.default_rng(1).permutation(count)[:SHARE]
    loader = DataLoader(Plain(windows, target, share), batch_size=size, shuffle=True)
    cells = min(options.places, max(1, options.places // 60))
    whole = options.places - options.places % cells
    tasks = {
        "ours, 64 places at a time": (lambda: drained(iter(blocks)), count),
        "ours, of all places": (lambda: drained(iter(every)), count),
        "ours, as stored": (lambda: drained(iter(stored)), count),
        "plain copy, one buffer": (
            lambda: plain_copy(windows.cube, count, size, reuse=True),
            count,
        ),
        "plain copy, new memory": (
            lambda: plain_copy(windows.cube, count, size, reuse=False),
            count,
        ),
        "xbatcher, in order": (
            lambda: xbatcher_windows(windows.cube, cells),
            whole * (MONTHS - LENGTH + 1),
        ),
        "DataLoader (share, scaled)": (lambda: drained(iter(loader)), len(share)),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(options.rounds):
        for name, (task, wanted) in tasks.items():
            scale = count / len(share) if name.startswith("DataLoader") else 1.0
            times[name].append(tuple(scale * t for t in clock(task, wanted)))
    report(times, count, size, held)


def report(times: dict[str, list[tuple[float, float]]], count: int, size: int, held: float) -> None:
    total = count * LENGTH * FEATURES * 4
    print(
        f"{count} windows of {LENGTH} x {FEATURES} ({total / 1e9:.1f} GB an epoch), batches of "
        f"{size}, {torch.get_num_threads()} thread(s), load {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} processors"
    )
    middle = {name: np.median(rows, axis=0) for name, rows in times.items()}
    for name, (wall, cpu) in middle.items():
        speed = total / cpu / 1e9
        print(f"  {name:28s} {wall:7.2f} s  {cpu:7.2f} s of a processor  {speed:5.1f} GB/s")
    ratios = {
        "DataLoader / ours (asked >= 8)": (
            "DataLoader (share, scaled)",
            "ours, 64 places at a time",
        ),
        "ours / plain copy, one buffer (asked <= 2.5)": (
            "ours, 64 places at a time",
            "plain copy, one buffer",
        ),
        "ours / plain copy, new memory": ("ours, 64 places at a time", "plain copy, new memory"),
        "ours of all places / plain copy, one buffer": (
            "ours, of all places",
            "plain copy, one buffer",
        ),
        "xbatcher / ours as stored (asked >= 1)": ("xbatcher, in order", "ours, as stored"),
    }
    for text, (one, two) in ratios.items():
        wall, cpu = (middle[one][k] / middle[two][k] for k in (0, 1))
        print(f"  {text:46s} {wall:6.2f} by the clock, {cpu:6.2f} by the processor")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"  memory: {held:.2f} GB with array and windows made, {peak:.2f} GB at the peak")


class Epoch:
    """asv: a shuffled epoch over a thousand places."""

    def setup(self) -> None:
        windows, target = world(1000)
        self.batches = WindowBatches(
            InMemory(WindowData.plain(windows, target), block=64), batch_size=512
        )

    def time_epoch(self) -> None:
        drained(iter(self.batches))


if __name__ == "__main__":
    main()
