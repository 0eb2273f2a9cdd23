"""Why the calibrated column projects more warming on the sample than there is.

``python -m benchmarks.bench_overshoot`` fits the column on 2001-2018 of the sample's reference and
drives it through 2100 with the adjusted forcing of the climate model, with the true forcing of
the scenario (simulated anew: the sample keeps its air and snow depth only), and with either's skin
temperature and the other's snow. It prints the change 2081-2100 to 2001-2023 by layer over the true
one, mean of six bands, and how the adjusted forcing differs from the true.
"""

from __future__ import annotations

import argparse

import pandas as pd
import xarray as xr

import xpermafrost as xp
from xpermafrost._sampleworld import build, geography, ground, weather
from xpermafrost.baselines import fit_baseline
from xpermafrost.projection import scenario_forcing
from xpermafrost.regions import alaska_bands, reduce
from xpermafrost.schema import FREEZING_POINT

NAMES = ["ts", "snd", "snw"]
LATE, NOW = slice("2081", "2100"), slice("2001", "2023")


def true_forcing(scenario: str) -> xr.Dataset:
    """Band means of the world's own skin temperature and snow under ``scenario``, 2024-2100."""
    place = build._place(geography.reference_grid(), ground.TRUE, weather.TRUE)
    _, state = build._past(place, "reference", 1976, 2023)
    made = build._future(place, scenario, 2024, state).assign(build._land(place))
    return reduce(made[[*NAMES, "sftlf"]], alaska_bands(), land=made["sftlf"])[NAMES]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", default="rcp85")
    scenario = parser.parse_args().scenario
    ds = xp.datasets.alaska_sample()
    column = fit_baseline("column", ds, train=("2001", "2018"))
    adjusted = scenario_forcing(ds, [scenario], variables=NAMES)[scenario][NAMES].compute()
    truth = true_forcing(scenario).transpose(*adjusted["ts"].dims).reindex_like(adjusted)
    true = truth.combine_first(adjusted)  # the reference until 2023
    base = ds["tsl"].sel(time=NOW).mean("time")
    change = ds["tsl_truth"].sel(scenario=scenario, time=LATE).mean("time") - base
    rows = {"true": change}
    cases = {
        "adjusted skin temperature and snow": adjusted,
        "true skin temperature, adjusted snow": adjusted.assign(ts=true["ts"]),
        "adjusted skin temperature, true snow": true.assign(ts=adjusted["ts"]),
        "true skin temperature and snow": true,
    }
    for name, forcing in cases.items():
        for da in forcing.data_vars.values():
            da.attrs = adjusted[da.name].attrs
        soil = column.predict(forcing) + FREEZING_POINT
        rows[name] = soil.sel(time=LATE).mean("time") - base
        rows[f"{name}; from its own 2001-2023"] = (
            rows[name] + base - soil.sel(time=NOW).mean("time")
        )
    table = pd.DataFrame({n: da.mean("band").to_series() for n, da in rows.items()}).T
    ratio = (table / table.loc["true"]).drop(index="true").add_prefix("/ true, layer ")
    print(pd.concat([table.add_prefix("layer "), ratio], axis=1).round(2).to_string())
    print(f"\n{scenario}, 2081-2100, adjusted less true forcing, by band:")
    late = adjusted.sel(time=LATE)
    gap = late - true.sel(time=LATE)
    cold = late["time.month"].isin([11, 12, 1, 2, 3, 4])
    for name in NAMES:
        for season, months in (("Nov-Apr", cold), ("May-Oct", ~cold)):
            values = gap[name].sel(time=months).mean("time").values.round(3).tolist()
            print(f"  {name:4s} {season}: {values} {adjusted[name].attrs['units']}")


if __name__ == "__main__":
    main()
