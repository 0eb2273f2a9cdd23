"""Climates that no training month has seen: ``python -m benchmarks.bench_extrapolation``.

Three tables. The perfect-model test on the sample world: a climate model's historical run is
learned, its RCP8.5 is answered without adjustment; change 2081-2100, its error by layer (root-mean
square over the bands, over the mean change), RMSE of the months, departure of the seeds. Space for
time on Yakutia, where ``--data`` holds ``stations/yakutia_monthly.nc``: learned at four cold
stations, scored at two warm ones. Recursive retraining beside the projection in one go.

``--nets gru tcn``: others than all five; ``--seeds 5``: of the GRU, others have two.
``--only perfect-model``: one table.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import xpermafrost as xp
from xpermafrost.errors import PermafrostWarning
from xpermafrost.fitted import FittedModel

NETS = ["gru", "bilstm", "tcn", "transformer", "conv1dlstm"]
COLD, WARM = ["Verkhoyansk", "Oymyakon", "Zhigansk", "Yakutsk"], ["Olyokminsk", "Kirensk"]
STATION_FEATURES = ["tas", "snd", "month_sin", "month_cos"]
TABLES = ("perfect-model", "space-for-time", "recursive")


def _members(name: str, options: argparse.Namespace) -> int:
    return options.seeds if name == "gru" else min(2, options.seeds)


def _show(title: str, table: pd.DataFrame, begin: float) -> None:
    print(f"\n## {title} ({time.perf_counter() - begin:.0f} s)", flush=True)
    print(table.to_string(float_format="{:.2f}".format), flush=True)


def _rename(scores: xr.Dataset, suffix: str, nets: list[str]) -> xr.Dataset:
    names = [f"{n}{suffix}" if n in nets else n for n in scores["model"].values.tolist()]
    return scores.assign_coords(model=names)


def perfect_model(options: argparse.Namespace) -> None:
    """Every net, pretrained and not, and every baseline, on the sample world."""
    ds = xp.datasets.alaska_sample()
    world = xp.perfect_model_experiment(ds)
    parts = []
    for pretrain, suffix in ((None, ""), ("column", " pretrained")):
        for name in options.nets:
            begin = time.perf_counter()
            net = xp.fit(
                world, name, train="all", members=_members(name, options), pretrain=pretrain
            )
            scores = xp.evaluate(
                ds, net, protocol="perfect-model", baselines=[], changes="rcp85"
            )  # fmt: skip
            parts.append(_rename(scores, suffix, [name]))
            _show(f"{name}{suffix}", _table(parts[-1]), begin)
    begin = time.perf_counter()
    scores = xp.evaluate(ds, [], protocol="perfect-model", changes="rcp85")
    _show("baselines", _table(scores), begin)
    print(f"left out: {scores.attrs['baselines_left_out']}")
    begin = time.perf_counter()
    levels = [
        p["level_change_error"].isel(scenario=0).mean("layer").transpose("model", "level")
        for p in (*parts, scores)
    ]
    joined = xr.concat(levels, "model", coords="minimal", compat="override")
    table = pd.DataFrame(joined.values, joined["model"].values, joined["level"].values)
    _show("error [K] by warming of the air, mean of the layers", table, begin)


def _table(scores: xr.Dataset) -> pd.DataFrame:
    here = scores.isel(scenario=0)
    layers = [f"{float(d):.2f}" for d in scores["depth"].values]
    columns = {
        "change": here["change_layer"],
        "error %": 100 * here["change_relative_error_layer"],
        "bias %": 100 * here["change_relative_bias_layer"],
        "RMSE": here["rmse_layer"],
        "seeds %": 100 * here["member_spread"],
    }
    flat = {
        f"{name} {layer}": da.isel(layer=k).values
        for name, da in columns.items()
        for k, layer in enumerate(layers)
        if bool(da.notnull().any())
    }
    return pd.DataFrame(flat, index=here["model"].values.tolist())


def space_for_time(options: argparse.Namespace) -> None:
    """Every net, pretrained and not, and every baseline that answers for an unseen station."""
    path = Path(options.data) / "stations" / "yakutia_monthly.nc"
    if not path.exists():
        print(f"\nno {path}; space for time is left out")
        return
    with xr.open_dataset(path) as raw:
        ds = raw.load().permafrost.standardize()
    ds = ds.sel(layer=ds.depth.isin([0.2, 0.8, 1.6]))
    cold = ds.sel(station=COLD)
    models: list[FittedModel] = []
    labels: list[str] = []
    for pretrain, suffix in ((None, ""), ("column", " pretrained")):
        for name in options.nets:
            begin = time.perf_counter()
            with warnings.catch_warnings():  # the weights of these layers are made now
                warnings.simplefilter("ignore", PermafrostWarning)
                net = xp.fit(
                    cold,
                    name,
                    train="all",
                    features=STATION_FEATURES,
                    members=_members(name, options),
                    pretrain=pretrain,
                    places="any",
                )
            models.append(net)
            labels.append(f"{name}{suffix}")
            print(f"{labels[-1]}: fitted in {time.perf_counter() - begin:.0f} s", flush=True)
    begin = time.perf_counter()
    scores = xp.space_for_time(
        ds, models, train_places=COLD, test_places=WARM, features=[*STATION_FEATURES, "pr"]
    )
    scores = scores.assign_coords(model=[*labels, *scores["model"].values[len(labels) :].tolist()])
    table = xp.scoreboard(scores)
    for station in WARM:
        table[f"bias {station}"] = scores["bias"].sel(station=station).mean("layer").values
    _show("space for time, Yakutia", table, begin)
    print(f"{int(scores['n'].sum())} values; left out: {scores.attrs['baselines_left_out']}")
    for label, net in zip(labels, models, strict=True):
        alone = [replace(net, nets=(one,)) for one in net.nets]
        each = xp.space_for_time(
            ds, alone, train_places=COLD, test_places=WARM, baselines=[], bootstrap=0
        )
        print(f"{label}: seeds {np.round(each['rmse_pooled'].values, 2)}")


def recursive(options: argparse.Namespace) -> None:
    """Retraining on one's own answers, in a world whose future is known."""
    world = xp.perfect_model_experiment(xp.datasets.alaska_sample())
    period = {"time": slice("2081", "2100")}
    truth = world["tsl_esm"].sel(scenario="rcp85").sel(period).mean("time") - 273.15
    base = world["tsl"].mean("time") - 273.15
    rows = {"truth": (truth - base).mean("band")}
    notes = []
    for pretrain, suffix in ((None, ""), ("column", " pretrained")):
        begin = time.perf_counter()
        net = xp.fit(world, "gru", train="all", members=options.seeds, pretrain=pretrain)
        for guard in (0.5, 1e6):
            out = xp.project_recursive(world, net, rcp="8.5", method="none", guard=guard)
            out = out.isel(scenario=0)
            late = (out[["soil_temperature", "one_shot"]].sel(period).mean("time") - base).mean(
                "band"
            )
            rows[f"gru{suffix}, in one go"] = late["one_shot"]
            rows[f"gru{suffix}, recursive, guard {guard:g} K"] = late["soil_temperature"]
            notes.append(
                f"gru{suffix}, guard {guard:g} K: stopped {out.attrs['retraining_stopped']}, "
                f"largest departure {float(out['departure'].max()):.2f} K"
            )
    table = pd.DataFrame({name: da.values for name, da in rows.items()}).T
    _show("recursive retraining, change 2081-2100 under RCP8.5 [K] by layer", table, begin)
    print("\n".join(notes))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--nets", nargs="+", default=NETS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=TABLES)
    options = parser.parse_args()
    runs = (perfect_model, space_for_time, recursive)
    for name, run in zip(TABLES, runs, strict=True):
        if options.only in (None, name):
            run(options)


if __name__ == "__main__":
    main()
