"""Five networks on real stations: ``python -m benchmarks.bench_yakutia DATA_FOLDER``.

The protocol of ``examples/yakutia_stations.py`` (train to 2013, test 2014-2023, 20 / 80 / 160 cm,
one pooled score): the mean of five members, and the spread of the five seeds, for every network.
``DATA_FOLDER`` holds ``stations/yakutia_monthly.nc``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

import xpermafrost as xp
from xpermafrost.models import MODELS
from xpermafrost.training import fit_many

TRAIN, TEST = ("1964", "2013"), ("2014", "2023")
VARIABLES = ("tas", "pr", "snd")
KINDS = ("", ":anomaly", ":memory12", ":memory36")
FEATURES = [v + kind for kind in KINDS for v in VARIABLES] + ["month_sin", "month_cos"]
BASELINES = ["climatology", "trend", "ridge", "boosting", "column"]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--members", type=int, default=5)
    options = parser.parse_args()
    with xr.open_dataset(Path(options.data) / "stations" / "yakutia_monthly.nc") as raw:
        ds = raw.load().permafrost.standardize()
    ds = ds.sel(layer=ds.depth.isin([0.2, 0.8, 1.6]))
    config = xp.TrainingConfig(
        epochs=25, learning_rate=7e-3, batch_size=256, target="residual", recency_years=8.0
    )
    begin = time.perf_counter()
    fitted = fit_many(
        ds, list(MODELS), train=TRAIN, features=FEATURES, members=options.members, config=config
    )
    print(f"{len(fitted) * options.members} networks in {time.perf_counter() - begin:.0f} s")
    hybrid = xp.fit_hybrid(
        ds, "gru", train=TRAIN, features=FEATURES, members=options.members, config=config
    )
    nets, fitted = list(fitted), [*fitted, hybrid]
    # Without the persistences a month needs no observed month before it: more months are scored.
    for baselines in (BASELINES, "all"):
        scores = xp.evaluate(ds, fitted, baselines=baselines, test=TEST)
        print(f"{int(scores['n'].sum())} values; rows: mean of {options.members} members")
        print(xp.scoreboard(scores).to_string(float_format="{:.3f}".format))
    for model in nets:
        alone = [replace(model, nets=(net,)) for net in model.nets]
        rmse = [
            float(xp.evaluate(ds, one, baselines=[], test=TEST, bootstrap=0)["rmse_pooled"][0])
            for one in alone
        ]
        print(
            f"{model.name:12s} seeds {np.mean(rmse):.3f} +- {np.std(rmse):.3f} {np.round(rmse, 3)}"
        )


if __name__ == "__main__":
    main()
