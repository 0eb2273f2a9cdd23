"""Trainings that are killed, and go on to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from xpermafrost import testing
from xpermafrost.checkpoint import TRAINING, read_archive
from xpermafrost.errors import (
    CheckpointError,
    ModelMismatchError,
    OutputExistsError,
)
from xpermafrost.fitted import load_model
from xpermafrost.training import TrainingConfig, fit

EPOCHS = 5

#: A training of two seconds, whose every batch is kept; also run by a process of its own.
SCRIPT = f"""
import sys, time
from xpermafrost import testing
from xpermafrost._training_state import Run
from xpermafrost.training import TrainingConfig, fit

def train(way, path=None, **options):
    ds = testing.gridded(years=6)
    config = TrainingConfig(
        epochs={EPOCHS}, batch_size=40, place_dropout=0.3, validation_years=1, patience=2,
        memory=1e-4 if way == "blocks" else 4.0, checkpoint_minutes=1e-9, learning_rate=0.03,
    )
    ds = ds.chunk(lat=3, lon=2) if way == "blocks" else ds
    kept = {{}} if path is None else {{"checkpoint": path, **options}}
    return fit(
        ds, "gru", length=12, config=config, options={{"hidden": 8}}, progress=False, **kept
    )

if __name__ == "__main__":
    save = Run.save
    def slow(self, checkpoint):
        save(self, checkpoint)
        time.sleep(0.05)
    Run.save = slow
    train(sys.argv[1], sys.argv[2])
"""


@pytest.fixture(scope="module")
def train():
    space: dict = {"__name__": "script"}
    exec(SCRIPT, space)
    return space["train"]


def where(path: Path) -> tuple[int, int]:
    """Epoch and batch of a checkpoint."""
    if not path.exists():
        return 0, 0
    run = read_archive(path, mark=TRAINING)[0]["run"]
    return run["epoch"], run["batch"]


def same(one, two) -> bool:
    a, b = one.nets[0].state_dict(), two.nets[0].state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


@pytest.mark.parametrize("way", ["memory", "blocks"])
def test_a_killed_training_goes_on_to_the_same_bits(train, way, tmp_path):
    """SIGKILL in the middle of an epoch; dropout, hidden places and early stopping included."""
    script, kept = tmp_path / "train.py", tmp_path / "run.ckpt"
    script.write_text(SCRIPT)
    root = str(Path(__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen([sys.executable, str(script), way, str(kept)], env=env) as process:
        until = time.monotonic() + 120
        while where(kept) < (1, 2):
            assert process.poll() is None, "ended before it was killed"
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    epoch, batch = where(kept)
    assert (1, 2) <= (epoch, batch) < (EPOCHS, 0)
    whole = train(way)
    resumed = train(way, kept, resume=True)
    assert resumed.info["reading"].startswith("in " + way)
    assert same(whole, resumed)
    for name in ("training_loss", "validation_loss"):
        np.testing.assert_array_equal(whole.history[name], resumed.history[name])
    assert whole.id == resumed.id


class Interrupted(Exception):
    """The power failed."""


@pytest.fixture
def interrupt(monkeypatch):
    """Break the training after some checkpoints."""

    def after(count):
        from xpermafrost._training_state import Run

        save, left = Run.save, [count]

        def breaking(self, checkpoint):
            save(self, checkpoint)
            left[0] -= 1
            if not left[0]:
                raise Interrupted

        monkeypatch.setattr(Run, "save", breaking)
        return lambda: monkeypatch.setattr(Run, "save", save)

    return after


@pytest.mark.parametrize("at", [1, 3, 4, 9])
def test_every_batch_and_the_last_of_an_epoch_is_a_place_to_go_on(ds, interrupt, tmp_path, at):
    """Of one, three or all batches of the first epoch, and of the third; weights by age."""
    config = TrainingConfig(
        epochs=3, batch_size=64, checkpoint_minutes=1e-9, recency_years=3.0, place_rate=2.0
    )
    options = {"config": config, "options": {"hidden": 8}, "train": ("2001", "2007")}
    options |= {"progress": False, "jobs": 1, "length": 12}
    whole = fit(ds, "gru", **options)
    restore = interrupt(at)
    with pytest.raises(Interrupted):
        fit(ds, "gru", checkpoint=tmp_path / "run.ckpt", **options)
    restore()
    assert same(fit(ds, "gru", checkpoint=tmp_path / "run.ckpt", resume=True, **options), whole)


def test_a_finished_training_is_not_repeated(ds, quick, gru, tmp_path):
    options = {"config": quick, "options": {"hidden": 8}, "jobs": 1, "progress": False}
    kept = tmp_path / "run.ckpt"
    first = fit(ds, "gru", checkpoint=kept, resume=True, **options)  # there is none yet
    before = kept.stat().st_mtime_ns
    again = fit(ds, "gru", checkpoint=kept, resume=True, **options)
    assert kept.stat().st_mtime_ns == before
    assert same(first, gru)
    assert same(again, gru)
    np.testing.assert_array_equal(again.history["training_loss"], gru.history["training_loss"])
    assert [p.name for p in tmp_path.iterdir()] == ["run.ckpt"]


def test_members_have_a_file_each(ds, quick, tmp_path):
    options = {"config": quick, "options": {"hidden": 8}, "members": 2, "progress": False}
    two = fit(ds, "gru", checkpoint=tmp_path / "run.ckpt", jobs=2, **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.gru-0.ckpt", "run.gru-1.ckpt"]
    (tmp_path / "run.gru-1.ckpt").unlink()
    again = fit(ds, "gru", checkpoint=tmp_path / "run.ckpt", resume=True, jobs=1, **options)
    for one, other in zip(two.nets, again.nets, strict=True):
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)


def test_what_is_in_the_way_is_said_before_any_work(ds, quick, tmp_path):
    options = {"config": quick, "options": {"hidden": 8}, "progress": False}
    kept = tmp_path / "run.ckpt"
    fit(ds, "gru", checkpoint=kept, **options)
    with pytest.raises(OutputExistsError, match=r"Go on with that training: resume=True"):
        fit(ds, "gru", checkpoint=kept, **options)
    with pytest.raises(FileNotFoundError, match=r"for the checkpoint 'run.ckpt' does not exist"):
        fit(ds, "gru", checkpoint=tmp_path / "none" / "run.ckpt", **options)
    with pytest.raises(ModelMismatchError, match=r"is of another training \(seed: 0, here 1\)"):
        fit(ds, "gru", checkpoint=kept, resume=True, seed=1, **options)
    with pytest.raises(ModelMismatchError, match=r"is of another training .*window: "):
        fit(ds, "gru", checkpoint=kept, resume=True, length=23, horizon=1, **options)
    warmer = ds.assign(tas=(ds["tas"] + 1.0).assign_attrs(ds["tas"].attrs))
    with pytest.raises(ModelMismatchError, match=r"is of another training .*data_hash: "):
        fit(warmer, "gru", checkpoint=kept, resume=True, **options)
    with pytest.raises(CheckpointError, match="is the checkpoint of a training, not a model"):
        load_model(kept)
    model = tmp_path / "model.xpm"
    testing_model = fit(testing.canonical(years=8), "gru", **options)
    testing_model.save(model)
    with pytest.raises(CheckpointError, match="its format mark is missing"):
        fit(ds, "gru", checkpoint=model, resume=True, **options)
    kept.write_bytes(kept.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="not an intact"):
        fit(ds, "gru", checkpoint=kept, resume=True, **options)
