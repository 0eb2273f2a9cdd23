"""Two processes learn what one learns from the same batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from xpermafrost._gathering import Batch, mean_loss
from xpermafrost._parallel import Ranks
from xpermafrost._training_config import LOSSES
from xpermafrost.fitted import load_model

#: One training; missing targets, hidden places and a last batch that is smaller than the others.
SCRIPT = """
import sys
import numpy as np
import torch
from xpermafrost import testing
from xpermafrost.training import TrainingConfig, fit

def train(way):
    ds = testing.gridded(years=5)
    ds["tsl"][1, 2:, 0, 20:40] = np.nan
    config = TrainingConfig(
        epochs=2, batch_size=64, place_dropout=0.3, memory=1e-4, validation_years=1,
    )
    ds = ds.chunk(lon=2) if way == "blocks" else ds
    options = {"hidden": 8, "dropout": 0.0}
    return fit(ds, "gru", length=12, config=config, options=options, train="all", progress=False)

if __name__ == "__main__":
    rank, folder = int(sys.argv[1]), sys.argv[2]
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    for way in ("memory", "blocks"):
        train(way).save(f"{folder}/{way}-{rank}.xpm")
    torch.distributed.destroy_process_group()
"""


def test_two_processes_learn_what_one_learns(tmp_path):
    """To rounding; from memory and in blocks."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    calls = [[sys.executable, str(script), str(rank), str(tmp_path)] for rank in (0, 1)]
    running = [subprocess.Popen(call, env=env) for call in calls]
    space: dict = {"__name__": "script"}
    exec(SCRIPT, space)
    try:
        alone = {way: space["train"](way) for way in ("memory", "blocks")}
        assert [process.wait(timeout=240) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    for way, model in alone.items():
        one, two = (load_model(tmp_path / f"{way}-{rank}.xpm") for rank in (0, 1))
        assert one.info["reading"].startswith("in " + way)
        for name, wanted in model.nets[0].state_dict().items():
            assert torch.equal(one.nets[0].state_dict()[name], two.nets[0].state_dict()[name])
            np.testing.assert_allclose(one.nets[0].state_dict()[name], wanted, rtol=0, atol=1e-4)
        for name in ("training_loss", "validation_loss"):
            np.testing.assert_allclose(one.history[name], model.history[name], rtol=1e-4)


@pytest.mark.parametrize(("size", "count"), [(7, 2), (6, 3), (1, 2)])
def test_the_mean_of_the_parts_is_the_loss_of_the_batch(size, count):
    """Whatever targets are missing, and for a batch smaller than the number of processes."""
    generator = torch.Generator().manual_seed(size)

    def chance(*shape):
        return torch.rand(*shape, generator=generator)

    weight = (chance(size, 2) > 0.4).float()
    weight[0, 0] = 1.0
    batch = Batch(chance(size, 3, 2), torch.zeros(size, dtype=torch.int64), chance(size, 2), weight)

    def model(x, location):
        return x.mean(dim=1)

    measure = LOSSES["mse"]
    parts = [float(Ranks(k, count).loss(model, batch, measure)) for k in range(count)]
    assert np.mean(parts) == pytest.approx(float(mean_loss(model, batch, measure)), rel=1e-6)
