"""What a run takes of the machine's memory, and how many such runs fit at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil

#: Seconds between two looks at the memory of this process.
LOOK = 0.01

#: The control group of this process (of a container, mostly).
GROUP = Path("/sys/fs/cgroup")

#: Part of the free memory that is used: the rest is for what grows beside the blocks.
PART = 0.8


class Peak:
    """Resident memory of this process while the block runs: ``most``, and ``bytes`` more of it.

    Attributes
    ----------
    most : int
        The largest.
    bytes : int
        What that is above the memory before.
    """

    def __enter__(self) -> Peak:
        self._process, self._end = psutil.Process(), threading.Event()
        self._before = self.most = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._end.wait(LOOK):
            self._look()

    def _look(self) -> None:
        self.most = max(self.most, self._process.memory_info().rss)

    @property
    def bytes(self) -> int:
        return int(self.most - self._before)


def free() -> int:
    """Bytes that this process may still take: of the machine, or of its control group."""
    left = psutil.virtual_memory().available
    try:
        limit = int((GROUP / "memory.max").read_text())
        used = int((GROUP / "memory.current").read_text())
        lines = (GROUP / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no control group, or one without a limit
        return int(left)
    cached = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return int(min(left, max(0, limit - used + cached)))


def fitting(each: int) -> int:
    """How many runs of ``each`` bytes fit into the free memory at a time; at least one."""
    return max(1, int(PART * free() // max(each, 1)))


__all__ = ["Peak", "fitting", "free"]
