"""Make ``concentrations.csv`` from the tables in the package fair 1.6.4.

Run where the file is to be made anew::

    pip download fair==1.6.4 --no-deps --only-binary :all:
    python xpermafrost/data/build_concentrations.py fair-1.6.4-py3-none-any.whl

The package itself is not installed or run; two kinds of its tables are read.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path
from typing import cast

import pandas as pd

#: Of fair-1.6.4-py3-none-any.whl on PyPI.
SHA256 = "2d67c84677a0fa325519ef80c2584a8065a238487f40121175aa15070b8ec2ed"
GASES = {"co2": "CO2", "ch4": "CH4", "n2o": "N2O"}
RCPS = {"rcp26": "RCP3PD", "rcp45": "RCP45", "rcp60": "RCP6", "rcp85": "RCP85"}
SSPS = ("ssp119", "ssp126", "ssp245", "ssp370", "ssp434", "ssp460", "ssp534-over", "ssp585")
YEARS = (1850, 2100)
#: Decimals that the measurements of the past bear, and more than the networks can use.
DECIMALS = {"co2": 3, "ch4": 2, "n2o": 3}

HEADER = """\
# Yearly global mean concentrations in air of CO2 [1e-6], CH4 [1e-9] and N2O [1e-9], 1850 to 2100.
# rcp26 (also RCP3-PD), rcp45, rcp60, rcp85: CMIP5 recommendation, MIDYEAR_CONCENTRATIONS;
#   Meinshausen, M. et al. (2011), Climatic Change 109, 213-241, doi:10.1007/s10584-011-0156-z.
# ssp*: input4MIPs of CMIP6, RCMIP concentrations, annual means, 5.1.0;
#   Meinshausen, M. et al. (2020), Geosci. Model Dev. 13, 3571-3605, doi:10.5194/gmd-13-3571-2020;
#   Nicholls, Z. R. J. et al. (2020), Geosci. Model Dev. 13, 5175-5190.
# Both are shipped by fair 1.6.4 (Smith, C. J. et al. 2018, Geosci. Model Dev. 11, 2273-2297;
# Apache-2.0), whose tables build_concentrations.py beside this file reads and rounds.
"""


def rcp_table(wheel: zipfile.ZipFile) -> pd.DataFrame:
    """Columns such as ``co2_rcp85`` by year."""
    columns = {}
    for name, label in RCPS.items():
        path = f"fair/RCPs/data/{label}_MIDYEAR_CONCENTRATIONS.csv"
        lines = wheel.read(path).decode().splitlines()
        head = next(k for k, line in enumerate(lines) if line.startswith("v YEARS/GAS"))
        units = lines[head - 1].split(",")
        table = pd.read_csv(io.StringIO("\n".join(lines[head:])), index_col=0)
        found = dict(zip(["v YEARS/GAS >", *table.columns], units, strict=True))
        for gas, label in GASES.items():
            if found[label] != ("ppm" if gas == "co2" else "ppb"):
                raise ValueError(f"{path}: {label} is in {found[label]}")
            columns[f"{gas}_{name}"] = table[label]
    return pd.DataFrame(columns)


def ssp_table(wheel: zipfile.ZipFile) -> pd.DataFrame:
    """Columns such as ``co2_ssp585`` by year."""
    path = "fair/SSPs/data/rcmip-concentrations-annual-means-5-1-0-ssp-only.csv"
    table = pd.read_csv(io.BytesIO(wheel.read(path)))
    table = table[table["Region"] == "World"].set_index(["Scenario", "Variable"])
    columns = {}
    for name in SSPS:
        for gas, label in GASES.items():
            row = cast(pd.Series, table.loc[(name, f"Atmospheric Concentrations|{label}")])
            if row["Unit"] != ("ppm" if gas == "co2" else "ppb"):
                raise ValueError(f"{path}: {label} is in {row['Unit']}")
            years = row.filter(regex=r"^\d{4}$").astype("float64")
            years.index = years.index.astype(int)
            columns[f"{gas}_{name.replace('-', '')}"] = years
    return pd.DataFrame(columns)


def main() -> None:
    """Write the table beside this file."""
    source = Path(sys.argv[1])
    if hashlib.sha256(source.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{source} is not the wheel of fair 1.6.4 that this was written for")
    with zipfile.ZipFile(source) as wheel:
        table = pd.concat([rcp_table(wheel), ssp_table(wheel)], axis=1).loc[slice(*YEARS)]
    if table.isna().any(axis=None) or len(table) != YEARS[1] - YEARS[0] + 1:
        raise ValueError("a year is missing")
    table = table.round({name: DECIMALS[name[:3]] for name in table.columns})
    target = Path(__file__).parent / "concentrations.csv"
    target.write_text(HEADER + table.to_csv(index_label="year", lineterminator="\n"))


if __name__ == "__main__":
    main()
