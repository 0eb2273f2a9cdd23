"""Prediction of the five networks beside plain loops over windows, in one process.

``python -m benchmarks.bench_inference`` (six places, 924 months, 20 features), ``--places 24``.
Contenders take turns and medians are compared, so that a busy machine slows all of them alike;
the time of all processors together is printed too. For each network:

* ``plain 4096``: gather 4096 windows, run the network, next; torch's threads as they are.
  For the TCN also the network as textbooks have it, dilated convolutions over all 24 months.
* ``windowed 512``: the same in batches of 512, as networks without an encoder of series run.
* ``series``: what ``predict`` does.

The limit is the arithmetic that a network needs when the months' share is done once, at the
rate of the product of matrices measured in the same run, on every thread. Last, growth of time
over 1, 4 and 16 times the places.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import xarray as xr
from torch import nn

from xpermafrost._inference import run_net, run_windows, strided
from xpermafrost._inference_kernels import PANEL, add_product, whole
from xpermafrost.models import MODELS, TCN, build_model
from xpermafrost.windows import Windows, WindowSpec, make_windows

from ._stages import Stage, Work, furthest, products_of

LENGTH, FEATURES, LAYERS = 24, 20, 4


class Textbook(nn.Module):
    """The same TCN by dilated convolutions over every month of a window."""

    def __init__(self, net: TCN) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor, location: torch.Tensor) -> torch.Tensor:
        place = self.net.embedding(location)
        steps = place.unsqueeze(1).expand(-1, x.shape[1], -1)
        code = self.net.dense(torch.cat([x, steps], dim=2))[:, -1]
        return self.net.head(torch.cat([code, place], dim=1))


def make(places: int, months: int) -> Windows:
    """Windows of scaled features."""
    values = np.random.default_rng(0).normal(size=(places, months, FEATURES)).astype("float32")
    names = [f"f{k}" for k in range(FEATURES)]
    time_axis = xr.date_range("1981-01", periods=months, freq="MS", use_cftime=True)
    features = xr.DataArray(
        values,
        {"station": np.arange(places), "time": time_axis, "feature": names},
        ("station", "time", "feature"),
    )
    return make_windows(features, WindowSpec(length=LENGTH, features=tuple(names)))


@torch.inference_mode()
def plain(net: nn.Module, windows: Windows, size: int) -> np.ndarray:
    """A loop over batches of windows."""
    flat = strided(torch.from_numpy(windows.cube), LENGTH)
    rows, places = torch.from_numpy(windows.rows), torch.from_numpy(windows.location)
    parts = []
    for some in torch.arange(len(windows)).split(size):
        x = flat.index_select(0, rows[some]).view(-1, LENGTH, FEATURES)
        parts.append(net(x, places[some]))
    return torch.cat(parts).numpy()


def flops(name: str, net: nn.Module) -> float:
    """Multiply-adds, twice, of one window, where a month's own share is done once."""

    def size(*modules: nn.Module) -> float:
        return 2.0 * sum(p.numel() for m in modules for p in m.parameters() if p.dim() > 1)

    head = size(net.head)  # type: ignore[attr-defined]
    if name == "tcn":
        return head + size(net.lift, net.convs, net.mixes)  # type: ignore[attr-defined]
    if name == "transformer":  # all months but the last in the first block, keys in the second
        first, last = net.blocks[0], net.blocks[-1]  # type: ignore[attr-defined]
        attention = 4.0 * LENGTH * net.norm.normalized_shape[0]  # type: ignore[attr-defined]
        whole_blocks = LENGTH * (size(first) + attention) * (len(net.blocks) - 1)  # type: ignore
        return (
            head
            + size(net.lift)
            + whole_blocks
            + LENGTH * size(last.key_value)
            + size(  # type: ignore
                last.query, last.out, last.feed
            )
        )
    weights = dict(net.rnn.named_parameters())  # type: ignore[attr-defined]
    once = 2.0 * sum(w.numel() for k, w in weights.items() if k.startswith("weight_ih"))
    steps = 2.0 * sum(w.numel() for k, w in weights.items() if k.startswith("weight_hh"))
    if name == "conv1dlstm":  # four months of a window see its padding
        once = 5 * (once + size(net.first, net.second))  # type: ignore[attr-defined]
    return head + once + (LENGTH - 1) * steps


def product_rate() -> float:
    """Multiply-adds, twice, a second on one thread, of a state of 64 and 128 windows."""
    rng = np.random.default_rng(0)
    w, x = (rng.normal(size=s).astype("float32") for s in ((192, 64), (64, whole(128) + PANEL)))
    y = np.zeros((192, 128), dtype="float32")
    best = 0.0
    for _ in range(50):
        begin = time.thread_time()
        for _ in range(20):
            add_product(w, x, y, 0, 128)
        best = max(best, 20 * 2 * w.size * 128 / (time.thread_time() - begin))
        y[:] = 0
    return best


def race(runs: dict[str, Callable[[], np.ndarray]], turns: int) -> dict[str, tuple]:
    """Median seconds, and of all processors, and the answer of each; they take turns."""
    answers = {key: run() for key, run in runs.items()}  # compiles
    taken: dict[str, list[tuple[float, float]]] = {key: [] for key in runs}
    for _ in range(turns):
        for key, run in runs.items():
            begin, busy = time.perf_counter(), time.process_time()
            run()
            taken[key].append((time.perf_counter() - begin, time.process_time() - busy))
    middle = statistics.median
    return {
        k: (middle(a for a, _ in t), middle(b for _, b in t), answers[k]) for k, t in taken.items()
    }


def contenders(name: str, net: nn.Module, windows: Windows) -> dict[str, Callable[[], np.ndarray]]:
    """Ways to the same answer, the plain one first."""
    index = np.arange(windows.cube.shape[0])
    ways = {"plain 4096": lambda: plain(net, windows, 4096)}
    if name == "tcn":
        textbook = Textbook(net).eval()  # type: ignore[arg-type]
        ways = {"textbook 4096": lambda: plain(textbook, windows, 4096), **ways}
    ways["windowed 512"] = lambda: run_windows(net, windows, index, device="cpu")
    ways["series"] = lambda: run_net(net, windows, index, device="cpu")
    return ways


def build(name: str, places: int) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"n_features": FEATURES, "n_locations": places, "n_layers": LAYERS}
    return build_model(name, length=LENGTH, **sizes).eval()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, default=6)
    parser.add_argument("--months", type=int, default=924)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of all contenders; by default torch's own")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    windows = make(options.places, options.months)
    threads, rate = torch.get_num_threads(), product_rate()
    print(f"{len(windows)} windows, {threads} threads, product {rate / 1e9:.0f} GFLOP/s a thread")
    print(f"{'':28}windows/s      us   ratio  busy us  ratio  max diff")
    for name in options.models:
        net = build(name, options.places)
        results = race(contenders(name, net, windows), options.turns)
        first = next(iter(results))
        wall, busy, truth = results[first]
        for key, (seconds, processor, answer) in results.items():
            per = 1e6 / len(windows)
            print(
                f"{name:13}{key:15}{len(windows) / seconds:9.0f} {seconds * per:7.2f} "
                f"{wall / seconds:7.2f} {processor * per:8.2f} {busy / processor:6.2f} "
                f"{np.abs(answer - truth).max():9.1e}"
            )
        print(f"{name:13}{'limit':15}{threads * rate / flops(name, net):9.0f}")
    print("seconds over 1, 4 and 16 times the places, and the exponent")
    for name in options.models:
        taken = []
        for factor in (1, 4, 16):
            some, net = (
                make(options.places * factor, options.months),
                build(name, 16 * options.places),
            )
            way = {
                "": lambda some=some, net=net: run_net(
                    net, some, np.arange(len(some.cube)), device="cpu"
                )
            }
            taken.append(race(way, 3)[""][1])
        exponent = np.log(taken[-1] / taken[0]) / np.log(16)
        print(f"{name:13}" + "".join(f"{t:9.3f}" for t in taken) + f"   busy, {exponent:.3f}")


def _work(name: str, scale: float) -> Work:
    windows = make(max(1, round(24 * scale)), 924)
    places = windows.cube.shape[0]
    net = build(name, places)
    ways = contenders(name, net, windows)
    ours = ways.pop("series")
    arithmetic = flops(name, net) * len(windows)
    return Work(
        size=f"{places} places x 924 months, {FEATURES} features, {len(windows)} windows",
        ours={"xpermafrost": ours},
        peers=dict(ways),
        limits={f"{arithmetic / 1e9:.1f} GFLOP as matrix products": products_of(arithmetic)},
        off=furthest,
    )


STAGES = tuple(
    Stage(name=f"network, {name}", make=partial(_work, name), quick=0.1, tiny=0.04, growth=0.25)
    for name in MODELS
)


if __name__ == "__main__":
    main()
