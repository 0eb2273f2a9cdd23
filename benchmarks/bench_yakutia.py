"""Networks and baselines on real stations: ``python -m benchmarks.bench_yakutia DATA_FOLDER``.

The protocol of ``examples/yakutia_stations.py`` (train to 2013, test 2014-2023, 20 / 80 / 160 cm,
one pooled score): the mean of five members, and the spread of the five seeds, for every network.
Those with ``+persistence`` know the soil's own past up to the month before, as the persistences do;
the same memory of errors around three baselines says how much of the gain is the memory's.
``DATA_FOLDER`` holds ``stations/yakutia_monthly.nc``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

import xpermafrost as xp
from xpermafrost.baselines import BASELINES, FittedBaseline, fit_baseline
from xpermafrost.evaluation import score
from xpermafrost.hybrid import fit_named
from xpermafrost.models import MODELS
from xpermafrost.persistence import SUFFIX, expected_error, learn_damping, rehearsal
from xpermafrost.preparation import training_period
from xpermafrost.products import soil_temperature

TRAIN, TEST = ("1964", "2013"), ("2014", "2023")
VARIABLES = ("tas", "pr", "snd")
KINDS = ("", ":anomaly", ":memory12", ":memory36")
FEATURES = [v + kind for kind in KINDS for v in VARIABLES] + ["month_sin", "month_cos"]
CONFIG = xp.TrainingConfig(
    epochs=25, learning_rate=7e-3, batch_size=256, target="residual", recency_years=8.0
)
KNOWING = ["gru+persistence", "column+gru+persistence"]
PERSISTENCES = ("persistence", "persistence_year", "damped_persistence")


@dataclass(frozen=True)
class Remembering:
    """A baseline with the memory of errors that networks get."""

    baseline: FittedBaseline
    damping: xr.Dataset

    @property
    def name(self) -> str:
        return f"{self.baseline.name}{SUFFIX}"

    @property
    def spec(self) -> xp.WindowSpec:
        return self.baseline.spec

    def predict(self, ds: xr.Dataset) -> xr.DataArray:
        alone = self.baseline.predict(ds)
        error = expected_error(ds["tsl"] - 273.15 - alone, self.damping, step="month")
        return soil_temperature((alone + error + 273.15).transpose(*alone.dims))


def remembering(name: str, ds: xr.Dataset, spec: xp.WindowSpec) -> Remembering:
    """The damping is learned as that of the networks: without the last quarter of training."""
    early, late = rehearsal(ds, training_period(ds, TRAIN), step="month")
    tried = fit_baseline(name, ds, train=early, spec=spec)
    damping = learn_damping(ds["tsl"] - 273.15 - tried.predict(ds), late, step="month")
    return Remembering(fit_baseline(name, ds, train=TRAIN, spec=spec), damping)


def show(title: str, scores: xr.Dataset) -> None:
    print(f"{title}: {int(scores['n'].sum())} values")
    print(xp.scoreboard(scores).to_string(float_format="{:.3f}".format))


def differences(scores: xr.Dataset, models: list[str], others: list[str]) -> None:
    """RMSE of each model minus that of each other, with the interval."""
    for model in models:
        for other in others:
            row = scores.sel(model=model, baseline=other)
            gap, low, high = (float(row[f"rmse_difference{k}"]) for k in ("", "_low", "_high"))
            verdict = "beats" if high < 0 else "loses to" if low > 0 else "is not told from"
            print(f"{model} {verdict} {other}: {gap:.3f} ({low:.3f} to {high:.3f})")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--members", type=int, default=5)
    options = parser.parse_args()
    with xr.open_dataset(Path(options.data) / "stations" / "yakutia_monthly.nc") as raw:
        ds = raw.load().permafrost.standardize()
    ds = ds.sel(layer=ds.depth.isin([0.2, 0.8, 1.6]))
    begin = time.perf_counter()
    models = fit_named(
        ds,
        [*MODELS, "column+gru", *KNOWING],
        train=TRAIN,
        step="month",
        length=None,
        horizon=0,
        features=FEATURES,
        members=options.members,
        seed=0,
        config=CONFIG,
        device="cpu",
        jobs=None,
        progress=None,
    )
    print(f"{options.members} members of each: {time.perf_counter() - begin:.0f} s")
    spec = models[0].spec
    column = next(m for m in models if m.name == "column+gru").column
    names = [n for n in BASELINES if n not in (*PERSISTENCES, "energy_balance", "column")]
    blind = [*(fit_baseline(n, ds, train=TRAIN, spec=spec) for n in names), column]
    seeing = [fit_baseline(n, ds, train=TRAIN, spec=spec) for n in PERSISTENCES]
    memory = [remembering(n, ds, spec) for n in ("climatology", "ridge", "boosting")]
    test = training_period(ds, TEST)
    forcing_only = [m for m in models if m.name not in KNOWING]
    # Without the persistences a month needs no observed month before it: more months are scored.
    show("from forcing alone", score(ds, [*forcing_only, *blind], test=test))
    scores = score(ds, [*models, *blind, *seeing, *memory], test=test)
    show("all", scores)
    baselines = [b.name for b in (*blind, *seeing, *memory)]
    differences(scores, ["gru", *KNOWING], baselines)
    differences(scores, KNOWING, [m.name for m in forcing_only])
    for model in models:
        if isinstance(model, xp.FittedModel):
            alone = [replace(model, nets=(net,)) for net in model.nets]
            rmse = [
                float(score(ds, [one], test=test, bootstrap=0)["rmse_pooled"][0]) for one in alone
            ]
            print(f"{model.name:12s} seeds {np.mean(rmse):.3f} +- {np.std(rmse):.3f}")
        elif model.name in KNOWING:
            print(f"{model.name} damping:\n{model.damping.to_dataframe().round(2).to_string()}")


if __name__ == "__main__":
    main()
