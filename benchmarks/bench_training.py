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
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost.experiment import reference_of
from xpermafrost.models import MODELS, build_model
from xpermafrost.preparation import Prepared, prepare
from xpermafrost.training import TrainingConfig, fit_many
from xpermafrost.windows import WindowSpec

from ._stages import Missing, Run, Stage, Work, peer, products_of

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


def new_net(name: str, prepared: Prepared) -> nn.Module:
    """The network for these windows."""
    return build_model(
        name,
        n_features=prepared.windows.cube.shape[2],
        n_locations=prepared.windows.cube.shape[0],
        n_layers=prepared.target.shape[1],
        length=prepared.windows.spec.length,
    )


def loader_of(prepared: Prepared, config: TrainingConfig) -> DataLoader:
    """Shuffled batches of the training months."""
    single = PlainWindows(prepared, prepared.training)
    return DataLoader(single, batch_size=config.batch_size, shuffle=True)


def plain_loop(name: str, prepared: Prepared, config: TrainingConfig) -> float:
    """Train one network the plain way; its last training loss."""
    torch.manual_seed(0)
    net, loader = new_net(name, prepared), loader_of(prepared, config)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate)
    loss = torch.tensor(0.0)
    for _ in range(config.epochs):
        for x, place, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x, place), y)
            loss.backward()
            optimizer.step()
    return float(loss.detach())


def by_lightning(prepared: Prepared, config: TrainingConfig, names: Sequence[str]) -> None:
    """The same networks and loaders through Lightning's Trainer."""
    import logging

    import lightning

    class Module(lightning.LightningModule):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def training_step(self, batch: tuple[torch.Tensor, ...], _: int) -> torch.Tensor:
            x, place, y = batch
            return nn.functional.mse_loss(self.net(x, place), y)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=config.learning_rate)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for name in names:
        trainer = lightning.Trainer(
            max_epochs=config.epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Module(new_net(name, prepared)), loader_of(prepared, config))


def by_keras(prepared: Prepared, config: TrainingConfig) -> None:
    """A GRU of the same size in Keras on torch, from windows copied into one array."""
    import keras

    windows, numbers = prepared.windows, prepared.training
    length = windows.spec.length
    views = np.lib.stride_tricks.sliding_window_view(windows.cube, length, axis=1)
    place = windows.location[numbers]
    x = np.ascontiguousarray(views[place, windows.start[numbers]].transpose(0, 2, 1))
    sequence = keras.Input(x.shape[1:])
    label = keras.Input((1,), dtype="int32")
    embedded = keras.layers.Embedding(windows.cube.shape[0], 4)(label)
    joined = keras.layers.Concatenate()(
        [sequence, keras.layers.RepeatVector(length)(keras.layers.Flatten()(embedded))]
    )
    code = keras.layers.Dropout(0.1)(keras.layers.GRU(64)(joined))
    net = keras.Model([sequence, label], keras.layers.Dense(prepared.target.shape[1])(code))
    net.compile(keras.optimizers.AdamW(config.learning_rate), "mse")
    net.fit(
        [x, place[:, None].astype("int32")],
        prepared.target[numbers],
        batch_size=config.batch_size,
        epochs=config.epochs,
        verbose=0,
    )


def operations(net: nn.Module, length: int) -> float:
    """Fewest multiplications and additions of one window, forward.

    A weight of a recurrent network is used in every month of a window, any other at least once.
    """
    return 2.0 * sum(
        weight.numel() * (length if "weight_ih" in label or "weight_hh" in label else 1)
        for label, weight in net.named_parameters()
        if weight.ndim > 1 and "embedding" not in label
    )


def _work(names: Sequence[str], epochs: int) -> Work:
    ds, config = study_dataset(), TrainingConfig(epochs=epochs)
    spec = WindowSpec(length=24, horizon=1, features=FEATURES + SEASON)
    prepared = prepare(ds, spec, train=TRAIN, transform=config.target)

    def ours() -> None:
        fit_many(
            *(ds, list(names)),
            train=TRAIN,
            horizon=1,
            features=spec.features,
            config=config,
            progress=False,
        )

    peers: dict[str, Run | Missing] = {
        "DataLoader loop": lambda: [plain_loop(name, prepared, config) for name in names],
        "Lightning": peer(lambda: lambda: by_lightning(prepared, config, names), "lightning"),
    }
    if tuple(names) == ("gru",):
        os.environ.setdefault("KERAS_BACKEND", "torch")
        peers["Keras on torch"] = peer(lambda: lambda: by_keras(prepared, config), "keras")
    forward = sum(operations(new_net(name, prepared), spec.length) for name in names)
    gemm = 3 * forward * prepared.training.size * epochs  # backward is twice forward
    return Work(
        size=f"{prepared.training.size} windows of 24 months x {len(spec.features)} features, "
        f"{epochs} epochs, batches of {config.batch_size}; memory without that of our workers",
        ours={"xpermafrost fit": ours},
        peers=peers,
        limits={f"{gemm / 1e9:.0f} GFLOP as matrix products": products_of(gemm)},
    )


def _places(scale: float) -> Work:
    """An epoch of a GRU for any place, on more and more places."""
    places = max(2, round(320 * scale))
    few = testing.canonical(years=23, locations=range(6), dim="station")
    ds = few.isel(station=np.arange(places) % 6).assign_coords(station=np.arange(places))
    config = TrainingConfig(epochs=1)

    def ours() -> None:
        fit_many(*(ds, ["gru"]), config=config, places="any", pretrain=None, jobs=1, progress=False)

    months = ds.sizes["time"]
    return Work(
        size=f"{places} places x {months} months, one epoch, preparation included",
        ours={"xpermafrost fit": ours},
    )


#: Ten epochs are the whole: time is proportional to them.
STAGES = (
    Stage(
        name="train, gru",
        make=lambda scale: _work(["gru"], max(1, round(10 * scale))),
        quick=0.1,
    ),
    Stage(
        name="train, five nets",
        make=lambda scale: _work(list(MODELS), max(1, round(10 * scale))),
        quick=0.1,
    ),
    Stage(name="train, places", make=_places, quick=0.1, tiny=0.01, growth=1 / 16),
)


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
