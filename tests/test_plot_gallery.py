"""The gallery script draws every figure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpermafrost as xp

ROOT = Path(__file__).parents[1]
SCRIPT = "examples/figures_gallery.py"


def gallery(folder: Path) -> subprocess.CompletedProcess[str]:
    options = ("--members", "1", "--windows", "2")
    return subprocess.run(
        (sys.executable, SCRIPT, "--out", str(folder), *options),
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_the_gallery_draws_every_figure(tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="figures need matplotlib")
    done = gallery(tmp_path)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    drawn = {path.stem.removeprefix("simulated_") for path in tmp_path.glob("simulated_*.png")}
    assert drawn == set(xp.plot.__all__) - {"SCENARIO_COLOURS", "scenario_label"} | {"grid_map"}
    for path in tmp_path.glob("*.png"):
        pixels = image.imread(path)[..., :3]
        assert min(pixels.shape[:2]) > 150
        assert np.unique(pixels.reshape(-1, 3), axis=0).shape[0] > 20  # not blank
