"""The main job, end to end: ``python -m benchmarks.bench_main``.

Runs ``examples/project_alaska.py`` in a process of its own (sample from the cache, two GRUs,
four RCPs, all baselines, NetCDF and figure) and reports wall time and the largest memory of the
process and its workers together; then the adjustment alone, and the import.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).parents[1]


def watched(command: list[str]) -> tuple[float, float, str]:
    """Wall seconds, peak resident MB of the process tree, and what it printed."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    peak = 0.0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        tree = psutil.Process(process.pid)
        while not done.wait(0.05):
            try:
                members = [tree, *tree.children(recursive=True)]
                peak = max(peak, sum(p.memory_info().rss for p in members) / 1e6)
            except psutil.Error:
                continue

    thread = threading.Thread(target=watch)
    thread.start()
    text = process.communicate()[0]
    done.set()
    thread.join()
    if process.returncode:
        raise SystemExit(text)
    return time.perf_counter() - begin, peak, text


def adjustment_seconds() -> list[float]:
    """Seconds for 12 variables x 4 scenarios x 6 bands, first and later calls."""
    import xpermafrost as xp
    from xpermafrost.projection import scenario_forcing

    ds = xp.datasets.alaska_sample()
    names = ["rcp26", "rcp45", "rcp60", "rcp85"]
    variables = ["tas", "ts", "pr", "prsn", "rlds", "rsds", "hfls", "hfss", "mrsol"]
    out = []
    for _ in range(3):
        begin = time.perf_counter()
        scenario_forcing(ds, names, variables=variables)
        out.append(time.perf_counter() - begin)
    return out


def import_seconds() -> tuple[float, float]:
    """Median seconds of ``import xarray`` and ``import xpermafrost`` in fresh processes."""
    medians = []
    for module in ("xarray", "xpermafrost"):
        code = (
            f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        )
        times = [
            float(
                subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
            )
            for _ in range(5)
        ]
        medians.append(float(np.median(times)))
    return medians[0], medians[1]


def main() -> None:
    """Run and print."""
    from xpermafrost.datasets import alaska_sample

    alaska_sample()  # from now on in the cache
    with tempfile.TemporaryDirectory() as folder:
        wall, peak, text = watched([sys.executable, "examples/project_alaska.py", "--out", folder])
    print(text)
    print(f"main job: {wall:.1f} s wall, {peak:.0f} MB peak of the process and its workers")
    times = adjustment_seconds()
    print(
        f"adjustment, 12 variables x 4 scenarios: {times[0]:.2f} s first, {times[-1]:.2f} s later"
    )
    alone, whole = import_seconds()
    print(f"import xarray {alone:.2f} s, import xpermafrost {whole:.2f} s")


if __name__ == "__main__":
    main()
