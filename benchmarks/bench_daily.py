"""Days: scores and the zero curtain of networks, the hybrid and baselines.

``python -m benchmarks.bench_daily`` makes the daily Dataset of ``xpermafrost.testing`` (three
places, 12 years, the soil of a column with freezing), fits on 2001-2009 and tests on 2010-2012. It
prints the scoreboard, and the yearly duration of the zero curtain by layer: observed, and of each
model. ``--size quick`` trains for a few epochs.
"""

from __future__ import annotations

import argparse
import time

import pandas as pd
import xarray as xr

import xpermafrost as xp
from xpermafrost import testing
from xpermafrost.diagnostics import zero_curtain_error
from xpermafrost.hybrid import Fitted
from xpermafrost.schema import name_axis

TRAIN, TEST = ("2001", "2009"), ("2010", "2012")
BASELINES = ("climatology", "ridge", "boosting", "column")
#: Forcing, its memory of weeks to a year, and how much heat and cold has gone into the ground.
FEATURES = (
    *("tas", "snd", "rsds", "pr"),
    *("tas:mean10d", "tas:mean30d", "tas:mean90d", "tas:mean12", "snd:mean90d"),
    *("tas:thaw90d", "tas:thaw12", "tas:freeze90d", "tas:freeze12"),
    *("day_sin", "day_cos"),
)
EPOCHS = {"quick": 2, "full": 30}


def fitted(ds: xr.Dataset, size: str) -> list[Fitted]:
    """The networks: alone, and on the residual of the column."""
    config = xp.TrainingConfig(epochs=EPOCHS[size], batch_size=256)
    options = {"train": TRAIN, "step": "day", "length": 60, "members": 2, "config": config}
    models: list[Fitted] = []
    for name, fit in (("gru", xp.fit), ("column+gru", xp.fit_hybrid)):
        begin = time.perf_counter()
        models.append(fit(ds, "gru", features=FEATURES, **options))
        print(f"{name:12s} fitted in {time.perf_counter() - begin:.0f} s", flush=True)
    return models


def curtains(ds: xr.Dataset, predictions: dict[str, xr.DataArray]) -> pd.DataFrame:
    """Days of zero curtain a year by layer, both seasons, mean of places; ratio and mean error."""
    span = {"time": slice(*TEST)}
    names = name_axis("model", list(predictions))
    both = xr.concat([p.sel(span) for p in predictions.values()], names, combine_attrs="override")
    found = zero_curtain_error(both, ds["tsl"].sel(span))
    mean = found.drop_vars("n").sum("season").mean("band")
    tables = {}
    for k, depth in enumerate(ds["depth"].values):
        one = mean.isel(layer=k)
        columns = {
            name: one[f"duration_{name}"].values for name in ("observed", "predicted", "mae")
        }
        columns["ratio"] = columns["predicted"] / columns["observed"]
        tables[f"{depth:.2f} m"] = pd.DataFrame(columns, index=names.values)
    return pd.concat(tables, axis=1)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=EPOCHS, default="full")
    options = parser.parse_args()
    begin = time.perf_counter()
    ds = testing.daily()
    print(f"daily Dataset made in {time.perf_counter() - begin:.1f} s")
    models = fitted(ds, options.size)
    begin = time.perf_counter()
    scores = xp.evaluate(ds, models, baselines=BASELINES, test=TEST)
    print(f"baselines and scores in {time.perf_counter() - begin:.0f} s")
    print(xp.scoreboard(scores).to_string(float_format="{:.2f}".format))
    spec = models[0].spec
    ready = [
        *models,
        *(xp.fit_baseline(name, ds, train=TRAIN, spec=spec) for name in BASELINES),
    ]
    predictions = {model.name: model.predict(ds) for model in ready}
    table = curtains(ds, predictions)
    print("zero curtain, days a year")
    print(table.to_string(float_format="{:.2f}".format))
    days = table.xs("predicted", axis=1, level=1)
    share = days / days.loc["column"]
    print("the same over that of the column")
    print(share.to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    main()
