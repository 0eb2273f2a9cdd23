"""Lint, format, types, and the examples: part of the one test command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, (
        f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    )
    return done.stdout


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=["ruff check", "ruff format", "mypy"],
)
def test_code_is_clean(command):
    run(sys.executable, "-m", *command)


def test_the_alaska_example_runs_and_overwrites_nothing(tmp_path):
    command = (sys.executable, "examples/project_alaska.py", "--out", str(tmp_path))
    text = run(*command, "--epochs", "3", "--members", "1")
    assert "truth" in text
    assert "climatology" in text
    with xr.open_dataset(tmp_path / "alaska_simulated_soil_temperature.nc") as ds:
        assert ds.attrs["Conventions"] == "CF-1.11"
        assert ds["soil_temperature"].sizes["scenario"] == 4
    assert (tmp_path / "alaska_simulated_scenarios.png").stat().st_size > 50_000
    with pytest.raises(AssertionError, match="not overwritten silently"):
        run(*command, "--epochs", "1", "--members", "1")


def test_the_map_example_runs(tmp_path):
    text = run(sys.executable, "examples/permafrost_map.py", "--out", str(tmp_path))
    assert "Arctic slope" in text
    assert len(list(tmp_path.glob("simulated_ground_temperature_*.tif"))) == 2
    assert (tmp_path / "basins_simulated.gpkg").stat().st_size > 0
    assert (tmp_path / "permafrost_simulated_map.png").stat().st_size > 30_000


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")
def test_the_yakutia_example_runs(tmp_path):
    text = run(
        sys.executable, "examples/yakutia_stations.py", str(DATA), "--out", str(tmp_path),
        "--epochs", "2", "--members", "1",
    )  # fmt: skip
    assert "damped_persistence" in text
    with xr.open_dataset(tmp_path / "yakutia_soil_temperature.nc") as ds:
        assert ds["soil_temperature"].sizes["station"] == 6
