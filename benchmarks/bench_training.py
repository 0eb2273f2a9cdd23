"""The five networks at the first study's size, against a plain DataLoader loop.

``python -m benchmarks.bench_training [--epochs 50]`` trains the same modules on the same windows
in one process after the other (round-robin), and prints times, ratios and training losses.
The plain loop is what a user writes first: a Dataset that slices one window per item, a
DataLoader, Adam, one network after the other.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import xpermafrost as xp
from xpermafrost.experiment import reference_of
from xpermafrost.models import MODELS, build_model
from xpermafrost.preparation import Prepared, prepare
from xpermafrost.training import TrainingConfig, fit_many
from xpermafrost.windows import WindowSpec

#: Six bands, 2001-2018, 24 months, twelve forcing features and the season.
TRAIN = ("2001", "2018")


def study_dataset():
    """The sample with the study's forcing."""
    return reference_of(xp.datasets.alaska_sample())


FEATURES = ("tas", "ts", "pr", "prsn", "rlds", "rsds", "hfls", "hfss", "mrsol")
SEASON = ("month_sin", "month_cos")


class PlainWindows(Dataset):
    """One window per item, sliced and copied."""

    def __init__(self, prepared: Prepared, numbers: np.ndarray) -> None:
        self.windows, self.target, self.numbers = prepared.windows, prepared.target, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, item: int):
        k = self.numbers[item]
        w = self.windows
        start = w.start[k]
        x = w.cube[w.location[k], start : start + w.spec.length]
        return torch.tensor(x), int(w.location[k]), torch.tensor(self.target[k])


def plain_loop(name: str, prepared: Prepared, config: TrainingConfig) -> float:
    """Train one network the plain way; its last training loss."""
    torch.manual_seed(0)
    net = build_model(
        name,
        n_features=prepared.windows.cube.shape[2],
        n_locations=prepared.windows.cube.shape[0],
        n_layers=prepared.target.shape[1],
        length=prepared.windows.spec.length,
    )
    loader = DataLoader(
        PlainWindows(prepared, prepared.training), batch_size=config.batch_size, shuffle=True
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate)
    loss = torch.tensor(0.0)
    for _ in range(config.epochs):
        for x, place, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x, place), y)
            loss.backward()
            optimizer.step()
    return float(loss.detach())


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128)
    options = parser.parse_args()
    ds = study_dataset()
    config = TrainingConfig(epochs=options.epochs, batch_size=options.batch_size)
    spec = WindowSpec(length=24, horizon=1, features=FEATURES + SEASON)
    prepared = prepare(ds, spec, train=TRAIN, transform=config.target)
    names = list(MODELS)
    print(
        f"{prepared.training.size} windows of {prepared.windows.cube.shape[2]} features, "
        f"batches of {options.batch_size}"
    )
    plain, ours = [], []
    for _ in range(options.rounds):
        begin = time.perf_counter()
        for name in names:
            since = time.perf_counter()
            loss = plain_loop(name, prepared, config)
            print(f"  plain {name:12s} {time.perf_counter() - since:6.1f} s  loss {loss:.4f}")
        plain.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        fitted = fit_many(ds, names, train=TRAIN, horizon=1, features=spec.features, config=config)
        ours.append(time.perf_counter() - begin)
        for model in fitted:
            print(f"  ours  {model.name:12s} loss {float(model.history.training_loss[0, -1]):.4f}")
    a, b = float(np.median(plain)), float(np.median(ours))
    print(
        f"plain DataLoader loop {a:.1f} s, fit_many {b:.1f} s on {os.cpu_count()} cores: "
        f"{a / b:.2f}x"
    )


class FiveNets:
    """asv: training of the five networks, five epochs."""

    def setup(self) -> None:
        self.ds = study_dataset()

    def time_fit_many(self) -> None:
        fit_many(
            self.ds,
            list(MODELS),
            train=TRAIN,
            features=FEATURES + SEASON,
            config=TrainingConfig(epochs=5),
        )


if __name__ == "__main__":
    main()
