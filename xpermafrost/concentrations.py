"""Greenhouse gases in air by scenario and year, from the tables of CMIP5 and CMIP6.

The table holds yearly global means, 1850 to 2100, of the four RCPs (Meinshausen et al. 2011)
and eight SSPs (Meinshausen et al. 2020); its head says where it was taken from.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import resources

import numpy as np
import pandas as pd
import xarray as xr

from ._checks import choose, require_dims
from .errors import DataError, ScenarioError, TimeAxisError, unknown_name
from .schema import HISTORICAL, REFERENCE, SCENARIO, TIME, name_axis

#: Names and units of the gases, which are one number a year: no place, no adjustment.
GASES = {"co2": "1e-6", "ch4": "1e-9", "n2o": "1e-9"}
_LONG_NAMES = {"co2": "carbon dioxide", "ch4": "methane", "n2o": "nitrous oxide"}

#: CO2 before industry [1e-6], and the factor of its forcing [W m-2]: Myhre et al. (1998), table 3.
PREINDUSTRIAL_CO2 = 278.0
CO2_FACTOR = 5.35

#: Continues the past where nothing else does, by the kind of the scenarios beside it.
_CONTINUED = {"ssp": "ssp245", "rcp": "rcp45"}


@functools.cache
def _table() -> pd.DataFrame:
    """Columns ``co2_rcp26``, ... by year."""
    path = resources.files("xpermafrost") / "data" / "concentrations.csv"
    with path.open("r", encoding="utf-8") as file:
        return pd.read_csv(file, comment="#", index_col="year")


def known_scenarios() -> list[str]:
    """Scenarios of the table.

    Examples
    --------
    >>> known_scenarios()[:4]
    ['rcp26', 'rcp45', 'rcp60', 'rcp85']
    """
    return [name.removeprefix("co2_") for name in _table().columns if name.startswith("co2_")]


def ghg_concentrations(scenarios: str | Sequence[str] | None = None) -> xr.Dataset:
    """Yearly CO2, CH4 and N2O in air, 1850 to 2100.

    Parameters
    ----------
    scenarios : str or list of str, optional
        ``rcp26``, ``rcp45``, ``rcp60``, ``rcp85``, ``ssp119``, ``ssp126``, ``ssp245``,
        ``ssp370``, ``ssp434``, ``ssp460``, ``ssp534over``, ``ssp585``; by default all.

    Returns
    -------
    Dataset
        ``co2`` [1e-6], ``ch4`` and ``n2o`` [1e-9], each ``(scenario, year)``: mole fractions in
        dry air, global and annual means.

    Raises
    ------
    ScenarioError
        For a scenario that the tables do not have.

    References
    ----------
    Meinshausen, M. et al. (2011): The RCP greenhouse gas concentrations and their extensions
    from 1765 to 2300. Climatic Change 109, 213-241.
    Meinshausen, M. et al. (2020): The shared socio-economic pathway (SSP) greenhouse gas
    concentrations and their extensions to 2500. Geosci. Model Dev. 13, 3571-3605.

    Examples
    --------
    >>> ghg_concentrations("rcp85")["co2"].sel(year=2100).values.tolist()
    [935.874]
    """
    if isinstance(scenarios, str):
        scenarios = [scenarios]
    names = known_scenarios() if scenarios is None else [_plain(name) for name in scenarios]
    table = _table()
    return xr.Dataset(
        {
            gas: (
                (SCENARIO, "year"),
                np.stack([table[f"{gas}_{name}"].to_numpy() for name in names]),
                _attrs(gas),
            )
            for gas in GASES
        },
        coords={SCENARIO: name_axis(SCENARIO, names), "year": table.index.to_numpy()},
        attrs={
            "title": "greenhouse gas concentrations of the RCPs and SSPs",
            "references": "Meinshausen et al. (2011), doi:10.1007/s10584-011-0156-z; "
            "Meinshausen et al. (2020), doi:10.5194/gmd-13-3571-2020",
        },
    )


def _attrs(gas: str) -> dict[str, str]:
    return {
        "long_name": f"mole fraction of {_LONG_NAMES[gas]} in air",
        "standard_name": f"mole_fraction_of_{_LONG_NAMES[gas].replace(' ', '_')}_in_air",
        "units": GASES[gas],
    }


def _plain(name: str) -> str:
    """Name as the table has it: ``SSP5-8.5`` is ``ssp585``."""
    plain = str(name).lower().replace("-", "").replace(".", "").replace("_", "")
    if plain not in known_scenarios():
        raise ScenarioError(
            str(unknown_name("scenario of concentrations", name, known_scenarios()))
        )
    return plain


def with_concentrations(
    ds: xr.Dataset, *, gases: Sequence[str] = ("co2", "ch4", "n2o"), past: str | None = None
) -> xr.Dataset:
    """Add CO2, CH4 and N2O of each scenario's table, to be named as features.

    Every month has its year's mean. ``reference`` and ``historical`` follow ``past``.
    The numbers are no climate model's: they are the same everywhere, and are not adjusted.
    Lazy on dask.

    Parameters
    ----------
    ds : Dataset
        An experiment Dataset, or a canonical Dataset without scenarios, monthly or daily.
    gases : sequence of {"co2", "ch4", "n2o"}
    past : str, optional
        Scenario of the table whose years the reference and ``historical`` take: by default
        ``ssp245`` if there are SSPs or no scenarios, else ``rcp45``. Up to 2005 (RCP) or 2014
        (SSP) all are the observed past.

    Returns
    -------
    Dataset
        ``ds`` with ``co2`` [1e-6], ``ch4``, ``n2o`` [1e-9], ``([scenario,] time)``.

    Raises
    ------
    ScenarioError
        If a scenario's name is not in the tables.
    TimeAxisError
        If years are outside 1850 to 2100.
    DataError
        If ``ds`` has a variable of that name already.

    Notes
    -----
    Concentrations rise through any record as its years do. A network that was trained on few
    years extrapolates along them, as along ``year``; compare with and without.

    Examples
    --------
    >>> from xpermafrost.testing import experiment
    >>> co2 = with_concentrations(experiment())["co2"]
    >>> co2.sel(scenario="rcp85", time="2017-06").values.round(1).tolist()
    [407.1]
    """
    require_dims(ds, (TIME,), step="with_concentrations")
    for gas in gases:
        choose("greenhouse gas", gas, GASES)
        if gas in ds.variables:
            raise DataError(
                f"the Dataset has a variable {gas!r} already. Type ds.drop_vars({gas!r}) first."
            )
    labels = [str(name) for name in ds[SCENARIO].values] if SCENARIO in ds.dims else [REFERENCE]
    rows = [_row(name, labels, past) for name in labels]
    years = _years(ds[TIME])
    table = _table()
    added = {}
    for gas in gases:
        values = np.stack([table[f"{gas}_{row}"].loc[years].to_numpy() for row in rows])
        full = xr.DataArray(values, dims=(SCENARIO, TIME), attrs=_attrs(gas))
        added[gas] = full if SCENARIO in ds.dims else full.isel({SCENARIO: 0})
    taken = ", ".join(dict.fromkeys(rows))
    line = f"xpermafrost.with_concentrations: {', '.join(gases)} of {taken}"
    earlier = str(ds.attrs.get("history", ""))
    out = ds.assign(added)
    return out.assign_attrs(history=f"{earlier}\n{line}" if earlier else line)


def _row(label: str, labels: Sequence[str], past: str | None) -> str:
    """Scenario of the table that a label of the Dataset stands for."""
    if label not in (REFERENCE, HISTORICAL):
        return _plain(label)
    if past is not None:
        return _plain(past)
    kinds = {name[:3] for name in labels}
    return _CONTINUED["rcp" if "rcp" in kinds and "ssp" not in kinds else "ssp"]


def _years(time: xr.DataArray) -> np.ndarray:
    years = time.dt.year.values
    first, last = _table().index[[0, -1]]
    if years.size and (years.min() < first or years.max() > last):
        raise TimeAxisError(
            f"concentrations are known for {first} to {last}; the data span {years.min()} to "
            f"{years.max()}. Type ds.sel(time=slice('{first}', '{last}'))."
        )
    return years


def co2_forcing(co2: xr.DataArray) -> xr.DataArray:
    """Radiative forcing of CO2 since before industry [W m-2]. Lazy.

    ``5.35 ln(C / C0)`` with ``C0 = 278e-6`` (Myhre et al. 1998, table 3).

    Parameters
    ----------
    co2 : DataArray
        Mole fraction [1e-6].

    References
    ----------
    Myhre, G. et al. (1998): New estimates of radiative forcing due to well mixed greenhouse
    gases. Geophys. Res. Lett. 25, 2715-2718.

    Examples
    --------
    >>> round(float(co2_forcing(xr.DataArray(556.0))), 2)
    3.71
    """
    forcing = co2.copy(data=CO2_FACTOR * np.log(co2.data / PREINDUSTRIAL_CO2))
    forcing.attrs = {"long_name": "radiative forcing of CO2", "units": "W m-2"}
    return forcing


__all__ = ["GASES", "co2_forcing", "ghg_concentrations", "known_scenarios", "with_concentrations"]
