"""The first study's attributions, five nets, against shap's GradientExplainer in the same run.

``python -m benchmarks.bench_explain [--epochs 50] [--bands 6] [--rounds 1] [--threads N]`` trains
the five nets on the sample and explains 10 windows of every band by 100 background windows, all
layers, the same windows for both, in turn; both may use all threads of torch, or ``N`` of them.
Where other work runs, ``--threads 1`` and processor time tell more: threads that wait for each
other count too. Times are of the wall and of the processor; errors are |base + sum - prediction|
in standard deviations of the prediction; ``off`` is the rms distance of the attributions from
converged ones, as a share of their rms.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings
from functools import cache
from unittest import mock

import numpy as np
import shap
import torch
import xarray as xr
from torch import nn

import xpermafrost as xp
from benchmarks.bench_training import FEATURES, SEASON, TRAIN, operations, study_dataset
from xpermafrost._explained import take_apart
from xpermafrost._explained_windows import after_training, chosen, pools, training
from xpermafrost.fitted import FittedModel
from xpermafrost.models import MODELS
from xpermafrost.training import TrainingConfig, fit_many

from ._stages import Stage, Work, products_of


class AtPlace(nn.Module):
    """A network at one place, as a user of shap would wrap it."""

    def __init__(self, net: nn.Module, place: int) -> None:
        super().__init__()
        self.net, self.place = net, place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x, torch.full((len(x),), self.place))


def by_shap(model: FittedModel, ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Attributions ``(window, layer, lag, feature)`` [K] by shap, and errors of their sums [K]."""
    subject = take_apart(model, ds)
    rng = np.random.default_rng(0)
    numbers = chosen(subject, 10, rng, after_training(model, subject))
    pool = pools(
        subject, subject, numbers, trained=training(model), across=False, size=100, rng=rng
    )
    shape = (-1, model.spec.length, subject.windows.cube.shape[2])
    parts, errors = [], []
    for place, background in pool.items():
        mine = numbers[subject.windows.location[numbers] == place]
        x, b = (
            torch.from_numpy(np.array(subject.rows(n))).view(*shape) for n in (mine, background)
        )
        net = AtPlace(model.nets[0], int(subject.place[place])).eval()
        values = shap.GradientExplainer(net, b).shap_values(x, nsamples=200, rseed=0)
        with torch.no_grad():
            gain = (net(x) - net(b).mean(dim=0)).numpy()
        slope = subject.of(subject.slope, mine)
        errors.append((gain - values.sum(axis=(1, 2))) * slope)
        parts.append(values.transpose(0, 3, 1, 2)[:, :, ::-1] * slope[:, :, None, None])
    return np.concatenate(parts), np.concatenate(errors)


def measured(work) -> tuple[object, float, float]:
    """What ``work`` gives, seconds of the wall and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def off(values: np.ndarray, exact: np.ndarray) -> float:
    """rms distance as a share of the rms."""
    return float(np.sqrt(((values - exact) ** 2).mean() / (exact**2).mean()))


def trained(epochs: int) -> tuple[xr.Dataset, list[FittedModel]]:
    """The sample, and five nets of the study's size."""
    ds = study_dataset()
    config = TrainingConfig(epochs=epochs)
    return ds, fit_many(ds, list(MODELS), train=TRAIN, features=FEATURES + SEASON, config=config)


def one_net(model: FittedModel, ds: xr.Dataset, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds ``(ours or shap, wall or processor)`` and rms errors, of one network; prints."""
    ours, theirs = [], []
    for _ in range(rounds):
        mine, wall, cpu = measured(lambda: xp.explain(model, ds, protocol="rahaman"))
        ours.append((wall, cpu))
        (values, errors), wall, cpu = measured(lambda: by_shap(model, ds))
        theirs.append((wall, cpu))
    strict, strict_wall, _ = measured(lambda: xp.explain(model, ds, protocol="rahaman", tol=1e-3))
    with mock.patch("xpermafrost._attribution.NODES", (16, 16)):
        exact = xp.explain(model, ds, protocol="rahaman", tol=1.0)["attribution"].values
    std = mine["prediction_std"].values
    error = [abs(e) / std for e in (mine["residual"].values, errors, strict["residual"].values)]
    rms = [float(np.sqrt((e**2).mean())) for e in error]
    a, b = np.median(ours, axis=0), np.median(theirs, axis=0)
    print(
        f"{model.name:12s} ours {a[0]:6.1f} s (cpu {a[1]:5.1f})  error rms {rms[0]:.4f} "
        f"max {error[0].max():.4f}  off {off(mine['attribution'].values, exact):.4f}\n"
        f"{'':12s} shap {b[0]:6.1f} s (cpu {b[1]:5.1f})  error rms {rms[1]:.4f} "
        f"max {error[1].max():.4f}  off {off(values, exact):.4f}\n"
        f"{'':12s} tol=1e-3 {strict_wall:6.1f} s  error rms {rms[2]:.5f} max {error[2].max():.5f}",
        flush=True,
    )
    return np.array([a, b]), np.array(rms[:2])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--bands", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    warnings.simplefilter("ignore", category=DeprecationWarning)
    ds, models = trained(options.epochs)
    ds = ds.isel(band=slice(0, options.bands))
    torch.set_num_threads(options.threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    xp.explain(models[0], ds, protocol="rahaman")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"memory of the process at most {peak / 2**20:.2f} GB ({before / 2**20:.2f} before)")
    total, errors = [], []
    for model in models:
        seconds, rms = one_net(model, ds, options.rounds)
        total.append(seconds)
        errors.append(rms)
    (a, b), ratio = np.sum(total, axis=0), np.array(errors)[:, 1] / np.array(errors)[:, 0]
    print(
        f"five nets, {options.bands} bands, 4 layers, {options.threads} threads: "
        f"ours {a[0]:.1f} s, shap {b[0]:.1f} s: {b[0] / a[0]:.2f}x (cpu {b[1] / a[1]:.2f}x); "
        f"sum error {ratio.min():.0f} to {ratio.max():.0f} x lower"
    )


@cache
def _study() -> tuple[xr.Dataset, dict[str, FittedModel]]:
    ds, models = trained(2)
    return ds, {model.name: model for model in models}


def _work(name: str, bands: int) -> Work:
    whole, models = _study()
    ds, model = whole.isel(band=slice(0, bands)), models[name]
    # a forward pass, and the gradient of each layer by the inputs, at 4 nodes of 100 baselines
    layers = model.template.sizes["layer"]
    gemm = operations(model.nets[0], model.spec.length) * bands * 10 * 100 * 4 * (1 + layers)
    return Work(
        size=f"{bands} band(s), 10 windows each, 100 background windows, {layers} layers; for "
        "the errors of the sums see bench_explain",
        ours={"xpermafrost explain": lambda: xp.explain(model, ds, protocol="rahaman")},
        peers={"shap GradientExplainer, 200 samples": lambda: by_shap(model, ds)},
        limits={f"{gemm / 1e9:.0f} GFLOP as matrix products": products_of(gemm)},
    )


def _stage(name: str) -> Stage:
    """All six bands are the whole."""
    return Stage(
        name=f"explain, {name}",
        make=lambda scale: _work(name, max(1, round(6 * scale))),
        quick=1 / 6,
        tiny=1 / 6,
    )


def _many(scale: float) -> Work:
    """More windows of every band, each against 100 background windows."""
    ds, models = _study()
    windows = max(1, round(160 * scale))
    return Work(
        size=f"{ds.sizes['band']} bands, {windows} windows each, 100 background windows, 4 layers",
        ours={
            "xpermafrost explain": lambda: xp.explain(
                models["gru"], ds, windows=windows, background_size=100
            )
        },
    )


STAGES = (
    _stage("gru"),
    _stage("tcn"),
    Stage(name="explain, windows", make=_many, quick=1 / 16, tiny=1 / 160, growth=1 / 16),
)


class Study:
    """asv: the study's attributions of a GRU."""

    def setup(self) -> None:
        self.ds = study_dataset()
        config = TrainingConfig(epochs=2)
        names = FEATURES + SEASON
        self.model = fit_many(self.ds, ["gru"], train=TRAIN, features=names, config=config)[0]

    def time_explain(self) -> None:
        xp.explain(self.model, self.ds, protocol="rahaman")

    def peakmem_explain(self) -> None:
        xp.explain(self.model, self.ds, protocol="rahaman")


if __name__ == "__main__":
    main()
