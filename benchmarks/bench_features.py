"""What each physical feature is worth: ``python -m benchmarks.bench_features [DATA_FOLDER]``.

The same GRU (mean of three members) with and without: snow, its thermal resistance, degree days of
12, 24 and 60 months, and the calibrated soil column, as an input and as what is learned from.
RMSE on test years, over all months and over winter (December to February), and the projected change
where the truth is known. With ``DATA_FOLDER`` (holding ``stations/yakutia_monthly.nc``) on real
stations as well.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import xpermafrost as xp
from xpermafrost.baselines import fit_baseline
from xpermafrost.experiment import reference_of
from xpermafrost.hybrid import COLUMN
from xpermafrost.projection import projected_changes

SEASON = ["month_sin", "month_cos"]


def designs(forcing: list[str]) -> dict[str, list[str]]:
    """Features by name of the design; ``forcing`` holds ``snd``."""
    bare = [name for name in forcing if not name.startswith(("snd", "prsn"))]
    degree_days = [f"tas:{kind}{months}" for kind in ("thaw", "freeze") for months in (12, 24, 60)]
    return {
        "without snow": bare + SEASON,
        "forcing": forcing + SEASON,
        "+ snow resistance": [*forcing, "snow_resistance", *SEASON],
        "+ degree days": forcing + degree_days + SEASON,
        "+ column as input": [*forcing, COLUMN, *SEASON],
    }


def rows(
    ds: xr.Dataset,
    forcing: list[str],
    train: tuple[str, str],
    test: tuple[str, str],
    config: xp.TrainingConfig,
) -> pd.DataFrame:
    """A row for each design, hybrid last."""
    reference = reference_of(ds)
    common = {"train": train, "members": 3, "config": config}
    column = fit_baseline("column", reference, train=train)
    answer = (column.predict(reference) + 273.15).drop_attrs().assign_attrs(units="K")
    table = {}
    for name, features in designs(forcing).items():
        data = reference.assign({COLUMN: answer}) if COLUMN in features else reference
        model = xp.fit(data, "gru", features=features, **common)
        table[name] = scores(model.predict(data), reference, test)
        if COLUMN not in features:
            table[name] |= change(ds, model)
    table["column alone"] = scores(column.predict(reference), reference, test) | change(ds, column)
    hybrid = xp.fit_hybrid(ds, "gru", features=forcing + SEASON, **common)
    table["column + network"] = scores(hybrid.predict(reference), reference, test) | change(
        ds, hybrid
    )
    return pd.DataFrame(table).T


def scores(out: xr.DataArray, reference: xr.Dataset, test: tuple[str, str]) -> dict[str, float]:
    error = (out - (reference["tsl"] - 273.15)).sel(time=slice(*test))
    winter = error.where(error["time.month"].isin([12, 1, 2]))
    return {
        "RMSE": float(np.sqrt((error**2).mean())),
        "winter": float(np.sqrt((winter**2).mean())),
    }


def change(ds: xr.Dataset, predictor: object) -> dict[str, float]:
    """Error of the change under RCP8.5, mean over layers, in per cent of the true one."""
    if "tsl_truth" not in ds:
        return {}
    made = projected_changes(ds, [predictor], scenarios=["rcp85"]).mean("band")
    share = made["change"].sum("layer") / made["change_truth"].sum("layer")
    return {"change, % of truth": 100 * float(share.squeeze())}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?")
    options = parser.parse_args()
    print("simulated sample, test 2019-2023")
    forcing = ["tas", "ts", "pr", "prsn", "rlds", "rsds", "snd"]
    sample = rows(
        xp.datasets.alaska_sample(),
        forcing,
        ("2001", "2018"),
        ("2019", "2023"),
        xp.TrainingConfig(),
    )
    print(sample.round(3).to_string(na_rep="-"))
    if options.data is None:
        return
    with xr.open_dataset(Path(options.data) / "stations" / "yakutia_monthly.nc") as raw:
        ds = raw.load().permafrost.standardize()
    ds = ds.sel(layer=ds.depth.isin([0.2, 0.8, 1.6]))
    kinds = ("", ":anomaly", ":memory12", ":memory36")
    forcing = [f"{v}{kind}" for kind in kinds for v in ("tas", "pr", "snd")]
    config = xp.TrainingConfig(
        epochs=25, learning_rate=7e-3, batch_size=256, target="residual", recency_years=8.0
    )
    print("stations in Yakutia, test 2014-2023")
    real = rows(ds, forcing, ("1964", "2013"), ("2014", "2023"), config)
    print(real.round(3).to_string(na_rep="-"))


if __name__ == "__main__":
    main()
