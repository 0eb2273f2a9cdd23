"""What a stage of the comparison is: inputs of any size, ours, the peers, the physical limits.

A module offers its stages as a tuple ``STAGES``; ``benchmarks.compare`` lists the modules.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

Run = Callable[[], Any]

#: Side of the products that stand for arithmetic: large enough for the full rate.
SIDE = 768


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A peer that takes no part, and why."""

    why: str


@dataclass(frozen=True, kw_only=True)
class Work:
    """Inputs that are made, and who works on them.

    Attributes
    ----------
    size : str
        The inputs in words.
    ours : dict
        Runs by name; ratios are to the first.
    peers : dict
        Runs by name, or :class:`Missing`. Each does the same job from the same inputs.
    limits : dict
        Runs that do no more than the job cannot do without: a copy of its bytes, its products.
    off : callable, optional
        Largest difference of two results.
    """

    size: str
    ours: dict[str, Run]
    peers: dict[str, Run | Missing] = field(default_factory=dict)
    limits: dict[str, Run] = field(default_factory=dict)
    off: Callable[[Any, Any], float] | None = None

    @property
    def first(self) -> str:
        """Name of the run that ratios are to."""
        return next(iter(self.ours))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One line of work at any size.

    Attributes
    ----------
    name : str
    make : callable
        ``make(scale) -> Work``; the work is proportional to ``scale``, 1 is the whole.
    quick : float
        Scale of a quick run.
    tiny : float
        Scale at which everything is compiled and imported before anything is timed.
    growth : float, optional
        What counts as 1x of the growth in a full run; None where the stage does not grow.
    """

    name: str
    make: Callable[[float], Work]
    quick: float = 0.1
    tiny: float = 0.01
    growth: float | None = None


class Outside:
    """A command run as a process: its processor time and memory are told by the system.

    The memory is looked at while it runs: what the system tells afterwards counts the pages that
    a new process shares with this one before it becomes the command.
    """

    LOOK = 0.002

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self.user, self.peak = 0.0, float("nan")

    def __call__(self) -> Outside:
        process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        self.peak, ended = float("nan"), threading.Event()
        watch = threading.Thread(target=self._watch, args=(process.pid, ended))
        watch.start()
        said = process.stderr.read()
        ended.set()
        watch.join()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
        if process.returncode:
            raise RuntimeError(f"{self.command[0]}: {said.strip()[:200]}")
        self.user = usage.ru_utime
        return self

    def _watch(self, pid: int, ended: threading.Event) -> None:
        while not ended.wait(self.LOOK):
            seen = memory("VmHWM", pid)
            self.peak = self.peak if np.isnan(seen) else seen


def memory(key: str, pid: int | str = "self") -> float:
    """A line of ``/proc/PID/status`` [MB]; NaN where there is none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next((int(x.split()[1]) * 1024 / 1e6 for x in lines if x.startswith(key)), float("nan"))


def peer(build: Callable[[], Run], *modules: str) -> Run | Missing:
    """The run that ``build`` gives, or what is not installed."""
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken package must not end the run of the others
            absent = isinstance(error, ModuleNotFoundError) and error.name == name
            return Missing(why="not installed" if absent else f"import fails: {error}")
    return build()


def workers() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def copy_of(*arrays: np.ndarray) -> Run:
    """A copy of the bytes into memory that is there, on all processors."""
    flats = [np.ascontiguousarray(array).reshape(-1) for array in arrays]
    pairs = [
        pair
        for flat in flats
        for pair in zip(
            *(np.array_split(one, workers()) for one in (np.zeros_like(flat), flat)), strict=True
        )
    ]

    def run() -> None:
        with ThreadPoolExecutor(workers()) as pool:
            list(pool.map(lambda pair: np.copyto(*pair), pairs))

    return run


def read_of(*arrays: np.ndarray) -> Run:
    """Sums over the arrays, read once, on all processors."""
    flats = [np.ascontiguousarray(array).reshape(-1) for array in arrays]
    parts = [part for flat in flats for part in np.array_split(flat, workers())]

    def run() -> None:
        with ThreadPoolExecutor(workers()) as pool:
            list(pool.map(np.add.reduce, parts))

    return run


def products_of(operations: float) -> Run:
    """Matrix products in single precision, of as many multiplications and additions."""
    import torch

    repeats, rest = divmod(max(operations, 1.0), 2.0 * SIDE**3)
    a = torch.rand(SIDE, SIDE)
    narrow = a[:, : max(1, round(rest / (2.0 * SIDE**2)))].contiguous()
    out, small = torch.empty(SIDE, SIDE), torch.empty(SIDE, narrow.shape[1])

    def run() -> None:
        for _ in range(int(repeats)):
            torch.mm(a, a, out=out)
        torch.mm(a, narrow, out=small)

    return run


def shape_of(obj: xr.Dataset | xr.DataArray) -> str:
    """Sizes in words.

    >>> shape_of(xr.Dataset(coords={"lat": [1, 2], "lon": [3]}))
    '2 lat x 1 lon'
    """
    return " x ".join(f"{size} {name}" for name, size in obj.sizes.items())


def furthest(one: np.ndarray, other: np.ndarray) -> float:
    """Largest relative difference where both are there; infinite where only one is."""
    one, other = np.asarray(one, "float64"), np.asarray(other, "float64")
    if one.shape != other.shape or (np.isnan(one) != np.isnan(other)).any():
        return float("inf")
    scale = np.nanmax(np.abs(one))
    return float(np.nanmax(np.abs(one - other)) / scale) if scale else 0.0
