"""Do my scenarios really differ, and is anything wrong with them?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ._checks import check_monthly, month_name, require_dims
from ._scenario_climate import identical, order, residual, seam, two_year, variance
from ._scenario_runs import SEVERITIES, Field, Finding, fields_of, mean_of
from ._scenario_tests import constant, gaps, missing, overlap, units
from .errors import MissingVariableError, ScenarioError
from .schema import HISTORICAL, REFERENCE, SCENARIO, TIME, name_axis

#: Dimensions of climate models; each model is checked for itself.
_MODELS = ("esm", "model")
_TESTS = (gaps, units, identical, order, seam, two_year, variance, constant)
_COLUMNS = ("severity", "check", "variable", "scenario", "place", "period", "text")


@dataclass(frozen=True, kw_only=True)
class ScenarioReport:
    """What :func:`check_scenarios` found; prints as a list, the worst first.

    Attributes
    ----------
    findings : DataFrame
        A row per finding: ``severity`` ("error", "warning", "note"), ``check``, ``variable``,
        ``scenario``, ``place``, ``period``, ``text``; with several models, ``model``.
    differences : Dataset
        Per variable and ``pair`` of scenarios (and model): ``first_difference`` (month),
        ``difference`` of the means over places and the last 20 common years (units of the
        variable, the second scenario minus the first), and its ``standard_error``. A variable
        without a common month at any place is NaN.
    scenarios : tuple of str
        What was compared.
    """

    findings: pd.DataFrame
    differences: xr.Dataset
    scenarios: tuple[str, ...]

    def count(self, severity: str) -> int:
        """Number of findings of a severity."""
        return int((self.findings["severity"] == severity).sum())

    @property
    def worst(self) -> str:
        """``"error"``, ``"warning"``, ``"note"``, or ``"nothing"``."""
        return next((word for word in SEVERITIES if self.count(word)), "nothing")

    def __repr__(self) -> str:
        numbers = ", ".join(
            f"{self.count(word)} {word}{'' if self.count(word) == 1 else 's'}"
            for word in SEVERITIES
        )
        lines = [f"Scenarios {', '.join(self.scenarios)}: {numbers}"]
        for row in self.findings.to_dict("records"):
            where = [row[key] for key in ("model", "scenario", "place") if key in row]
            head = f"{row['severity']:<8} {row['check']}: {row['text']} [{'; '.join(where)}]"
            lines += textwrap.wrap(head, 100, subsequent_indent=" " * 9)
        return "\n".join([*lines, *_difference_lines(self.differences)])


def check_scenarios(ds: xr.Dataset | xr.DataArray) -> ScenarioReport:
    """Look at scenarios for what goes wrong unseen, and say whether they differ.

    Computes every variable once. Nothing is changed, and nothing raises for what it finds.

    Parameters
    ----------
    ds : Dataset or DataArray
        An experiment Dataset (:func:`combine`) or a projection (:func:`project`): monthly, with
        ``scenario`` and ``time``; places, layers and members of any kind. Along ``esm`` or
        ``model`` each climate model is checked for itself.

    Returns
    -------
    ScenarioReport
        ``findings``, a table, and ``differences``, a Dataset.

    Raises
    ------
    DimensionError, TimeAxisError
        If ``scenario`` or ``time`` are missing; if months are doubled, missing or unsorted.
    ScenarioError
        If there is no scenario but ``reference`` and ``historical``.
    MissingVariableError
        If no variable has both dims.

    Notes
    -----
    ================  ============================================================================
    check             finding
    ================  ============================================================================
    missing variable  a variable without values in one scenario only
    gap               months without values inside a period
    period            no continuation from history to scenario to reference; short common period
    units             not the variable table's, or values out of its range; mean far from the
                      reference's (3 times its seasonal plus 3 times its weather's standard
                      deviation; 5 times or a fifth, of what is adjusted by ratios)
    season            a temperature or radiation whose season is 2 months or more off
    identical         two scenarios equal to the bit: throughout, at a place, or 3 months or longer
    nearly identical  RMS difference below 0.05 standard deviations of the months' anomalies
    order             colder, or not apart (2 standard errors), under a stronger RCP or SSP in 20
                      years that begin in 2061 or later
    seam              step of annual means from history to scenario beyond 6 standard errors, by a
                      line with a break at the seam and AR(1) residuals
    two-year season   power(24 months) / power(12 months) >= 0.05, and 20 times its neighbours
    variance          the standard deviation of detrended anomalies changes by more than a factor
                      of 2 between halves of a run, or across the seam (not snow, not soil)
    constant          calendar months that never vary, off the bounds of the variable; a note where
                      only the climate model rests at a bound, as zero snow
    repeated          a year equal to the one before, or two before, month by month
    ================  ============================================================================

    Examples
    --------
    >>> from xpermafrost.testing import experiment
    >>> ds = experiment()
    >>> ds["tas"].loc[{"scenario": "rcp85"}] = ds["tas"].sel(scenario="rcp26")
    >>> report = check_scenarios(ds)
    >>> report.worst, report.findings.query("check == 'identical'").scenario.tolist()
    ('error', ['rcp26, rcp85'])
    """
    if isinstance(ds, xr.DataArray):
        ds = ds.to_dataset(name=ds.name or "variable")
    require_dims(ds, (SCENARIO, TIME), step="check_scenarios")
    check_monthly(ds, step="check_scenarios")
    models = next((dim for dim in _MODELS if dim in ds.dims), None)
    names = [str(name) for name in ds[SCENARIO].values]
    parts = [("", ds)]
    if models is not None:
        parts = [(str(m), _of_model(ds, models, k)) for k, m in enumerate(ds[models].values)]
    rows, differences = [], []
    for label, part in parts:
        fields = fields_of(part)
        if not fields:
            raise MissingVariableError(
                "check_scenarios needs variables with dims ('scenario', 'time'); the Dataset has "
                f"{ {n: da.dims for n, da in ds.data_vars.items()} }."
            )
        rows += [{**asdict(f), "model": label} for f in _all(fields, names)]
        differences.append(_differences(fields, names))
    table = pd.DataFrame(rows, columns=[*_COLUMNS, "model"])
    # what holds of every model (the reference's own faults) is said once
    merged = table.groupby(list(_COLUMNS), sort=False, as_index=False)
    joined = merged.agg({"model": ", ".join})
    table = joined if models is not None else joined.drop(columns="model")
    rank = table["severity"].map({word: k for k, word in enumerate(SEVERITIES)})
    table = table.iloc[np.argsort(rank.to_numpy(), kind="stable")].reset_index(drop=True)
    both = differences[0]
    if models is not None:
        both = xr.concat(differences, dim=name_axis("model", [label for label, _ in parts]))
    return ScenarioReport(findings=table, differences=both, scenarios=tuple(names))


def _of_model(ds: xr.Dataset, dim: str, index: int) -> xr.Dataset:
    """One climate model; variables of the reference alone have no such dimension."""
    return ds[[n for n, da in ds.data_vars.items() if SCENARIO in da.dims]].isel({dim: index})


def _all(fields: dict[str, Field], names: list[str]) -> Iterator[Finding]:
    present = [n for n in names if any(n in field.runs for field in fields.values())]
    futures = [n for n in present if n not in (REFERENCE, HISTORICAL)]
    if not futures:
        raise ScenarioError(
            f"check_scenarios needs a scenario; found {names}. "
            "Type xp.combine(reference, rcp85=...)."
        )
    for field in fields.values():
        # the soil of a climate model is its own
        lone = (REFERENCE,) if field.name.endswith("_esm") else ()
        yield from missing(field, present, lone)
    spans = {
        name: (
            min(f.runs[name].first for f in fields.values() if name in f.runs),
            max(f.runs[name].last for f in fields.values() if name in f.runs),
        )
        for name in present
    }
    yield from overlap(spans)
    for field in fields.values():
        if field.runs:
            for test in _TESTS:
                yield from test(field)


def _differences(fields: dict[str, Field], names: list[str]) -> xr.Dataset:
    """First differing month, and the difference over the last 20 common years, by pair."""
    futures = [n for n in names if n not in (REFERENCE, HISTORICAL)]
    pairs = [(a, b) for k, a in enumerate(futures) for b in futures[k + 1 :]]
    shape = (len(fields), len(pairs))
    first = np.full(shape, "NaT", "datetime64[ns]")
    size, error = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, field in enumerate(fields.values()):
        for j, (a, b) in enumerate(pairs):
            if a in field.runs and b in field.runs:
                first[i, j], size[i, j], error[i, j] = _difference(field, a, b)
    dims = ("variable", "pair")
    out = xr.Dataset(
        {
            "first_difference": (dims, first, {"long_name": "first month that differs"}),
            "difference": (dims, size, {"long_name": "difference over the last 20 common years"}),
            "standard_error": (dims, error, {"long_name": "standard error of the difference"}),
        },
        coords={
            "variable": name_axis("variable", list(fields)),
            "pair": name_axis("pair", [f"{b} - {a}" for a, b in pairs]),
            "units": ("variable", [str(f.units) for f in fields.values()]),
        },
    )
    return out.assign_attrs(title="differences of scenarios, means over places")


def _difference(field: Field, one: str, two: str) -> tuple[Any, float, float]:
    runs = field.runs[one], field.runs[two]
    first, last = max(r.first for r in runs), min(r.last for r in runs)
    nothing = np.datetime64("NaT"), np.nan, np.nan
    if last < first:
        return nothing
    a, b = (run.part(first, last) for run in runs)
    differs = (np.isfinite(a) & np.isfinite(b) & (a != b)).any(axis=1)
    month: Any = nothing[0]
    if differs.any():
        month = np.datetime64(month_name(first + int(np.argmax(differs))), "ns")
    cubes = [run.years(max(first, last - 239), last)[1] for run in runs]
    if len(cubes[0]) < 3:
        return month, np.nan, np.nan
    means = [mean_of(cube, axis=(1, 2)) for cube in cubes]
    error = np.sqrt(sum(residual(m) ** 2 / len(m) for m in means))
    return month, float(means[1].mean() - means[0].mean()), float(error)


def _difference_lines(differences: xr.Dataset) -> list[str]:
    """The warmth of each pair (else the first variable) in a line."""
    if not differences.sizes["pair"]:
        return []
    known = [str(v) for v in differences["variable"].values]
    name = next((n for n in ("soil_temperature", "tas", "tsl") if n in known), known[0])
    lines = [f"Difference of {name!r}, mean of places, last 20 common years:"]
    flat = differences.sel(variable=name)
    flat = flat if "model" in flat.dims else flat.expand_dims(model=[""])
    for model in flat["model"].values:
        for pair in flat["pair"].values:
            at = flat.sel(model=model, pair=pair)
            if np.isnat(at["first_difference"].values):
                text = "no month differs"
            else:
                text = (
                    f"{float(at['difference']):+.3g} +- {float(at['standard_error']):.2g} "
                    f"{at['units'].item()}, months differ from "
                    f"{str(at['first_difference'].values)[:7]}"
                )
            lines.append(f"  {' '.join(part for part in (str(model), str(pair)) if part)}: {text}")
    return lines


__all__ = ["ScenarioReport", "check_scenarios"]
