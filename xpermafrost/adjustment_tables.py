"""Before and after the bias adjustment: signals, quantiles, season and trend in one report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ._bias_divergence import HORIZONS, divergence_preserved
from ._bias_inputs import kind_of, parse_period, span_text
from ._checks import choose, marks_of, month_index, require_dims
from ._scenario_runs import forcing_of
from .errors import TimeAxisError
from .experiment import reference_of, scenarios_of
from .forcing import _extension as extension
from .forcing import adjust_scenarios
from .preparation import Period
from .schema import FREEZING_POINT, SCENARIO, TIME, name_axis

#: Probabilities of the quantile-quantile table.
PROBABILITIES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
_SEASONS = ["DJF", "MAM", "JJA", "SON"]


def adjustment_report(
    ds: xr.Dataset,
    projection: xr.DataArray | None = None,
    *,
    variables: Sequence[str] | None = None,
    scenario: str | Sequence[str] | None = None,
    method: str = "qdm",
    reference_period: Period | None = None,
    extend: str | None = None,
    horizons: Sequence[Period] = HORIZONS,
) -> xr.DataTree:
    """What the adjustment does to every variable, scenario, place and horizon.

    Adjusts the scenarios as :func:`project` does, and sets the reference, the climate model
    before (``raw``) and after (``adjusted``) side by side along ``series``. Computes.

    Parameters
    ----------
    ds : Dataset
        An experiment Dataset, of one or several climate models (``esm``).
    projection : DataArray, optional
        ``soil_temperature (scenario, place..., layer, time)`` [degC], see :func:`project`: its
        change joins the table of signals.
    variables : sequence of str, optional
        Forcing; by default all that the reference has.
    scenario : str or sequence of str, optional
        By default all.
    method, reference_period, extend
        As in :func:`project`.
    horizons : sequence of pair of str
        Periods of whole years inside the scenarios.

    Returns
    -------
    DataTree
        ``change``
            Per variable ``(series, scenario, place..., horizon)``: mean over the horizon minus
            mean over the training period, each of its own series (K, W m-2; of what is adjusted
            by ratios, %). ``soil_temperature`` [K], without ``series``, against the reference's
            own soil temperature.
        ``divergence``
            Share of the difference between the weakest and the strongest scenario that is kept,
            see :func:`xpermafrost.bias.divergence_preserved`; with two scenarios or more.
        ``quantiles``
            ``(series, place..., season, quantile)`` over the training period.
        ``season``
            ``(series, place..., month, statistic)``: mean and standard deviation of each calendar
            month over the training period.
        ``trend``
            ``(series, scenario, place..., period)`` per decade, least squares of annual means,
            over the training period and from there to the end of the last horizon. The
            reference, the same for every scenario, has the first only.
        ``bias``
            ``(series, place...)``, raw and adjusted: root mean square difference of the
            quantiles from the reference's, over seasons and probabilities.

    Raises
    ------
    TimeAxisError
        If a horizon is not inside the scenarios.
    ScenarioError, MissingVariableError, UnknownNameError
        As :func:`project`.

    Warns
    -----
    PermafrostWarning
        Where less than 0.9 of a difference between scenarios is kept.

    Examples
    --------
    >>> from xpermafrost.testing import experiment
    >>> report = adjustment_report(
    ...     experiment(), variables=["tas"], scenario="rcp85", horizons=[("2012", "2017")]
    ... )
    >>> list(report.children)
    ['change', 'quantiles', 'season', 'trend', 'bias']
    >>> left = report["bias"]["tas"].max("band")
    >>> bool(left.sel(series="adjusted") < 0.5 * left.sel(series="raw"))
    True
    """
    choose("adjustment method", method, ("qdm", "eqm", "dqm", "scaling", "none"))
    known = scenarios_of(ds)
    wanted = known if scenario is None else [scenario] if isinstance(scenario, str) else scenario
    raw = adjust_scenarios(ds, variables, method="none")
    names = [str(n) for n in raw.data_vars]
    # the diagnostics of the training period are those of the run that it was trained on
    extend = extend or extension(ds, names)
    adjusted = adjust_scenarios(
        ds,
        names,
        scenario=list(dict.fromkeys([*wanted, extend])),
        method=method,
        reference_period=reference_period,
        extend=extend,
    )
    sides = {"raw": raw.sel({SCENARIO: adjusted[SCENARIO]}), "adjusted": adjusted}
    reference = reference_of(ds)[names].compute()
    training = _training(reference, sides["raw"], reference_period)
    inside = {"reference": _take(reference, training)}
    for key, side in sides.items():
        inside[key] = _take(side, training).sel({SCENARIO: extend}, drop=True)
    sides = {key: side.sel({SCENARIO: list(wanted)}) for key, side in sides.items()}
    spans = [training, *(parse_period(horizon) for horizon in horizons)]
    for span in spans[1:]:
        _require_inside(sides["raw"], span)
    labels = ["/".join(map(str, horizon)) for horizon in horizons]
    children = {"change": _changes(sides, spans, labels)}
    if projection is not None:
        soil = _soil_change(ds, projection, training, spans[1:], labels)
        children["change"]["soil_temperature"] = soil
    if len(wanted) > 1:
        children["divergence"] = divergence_preserved(
            sides["raw"], sides["adjusted"], pair=_pair(wanted), horizons=horizons
        )
    children["quantiles"] = _quantiles(inside)
    children["season"] = _season(inside)
    ahead = training[1] + 1, max(last for _, last in spans)
    children["trend"] = _trends(reference, sides, [training, ahead])
    children["bias"] = _left(children["quantiles"])
    tree = xr.DataTree.from_dict(children)
    tree.attrs = {
        "title": "bias adjustment: before and after",
        "method": method,
        "training_period": span_text(*training),
        "history": str(sides["adjusted"].attrs.get("history", "")),
        **marks_of(ds),
    }
    return tree


def _training(
    reference: xr.Dataset, raw: xr.Dataset, reference_period: Period | None
) -> tuple[int, int]:
    """Whole years that train the adjustment, or that both sides have."""
    months = [month_index(side[TIME]) for side in (reference, raw)]
    span = max(int(m[0]) for m in months), min(int(m[-1]) for m in months)
    if reference_period is not None:
        span = parse_period(reference_period)
    first, last = -(-span[0] // 12) * 12, (span[1] + 1) // 12 * 12 - 1
    if last - first < 23:
        raise TimeAxisError(
            "adjustment_report needs two whole years that reference and climate model share; "
            f"found {span_text(*span)}."
        )
    return first, last


def _require_inside(ds: xr.Dataset, span: tuple[int, int]) -> None:
    months = month_index(ds[TIME])
    if span[0] < months[0] or span[1] > months[-1]:
        raise TimeAxisError(
            f"the horizon {span_text(*span)} is not inside the scenarios, "
            f"{span_text(int(months[0]), int(months[-1]))}. Type horizons=[('2031', '2050')]."
        )


def _take(obj: xr.Dataset, span: tuple[int, int]) -> xr.Dataset:
    months = month_index(obj[TIME])
    return obj.isel({TIME: (months >= span[0]) & (months <= span[1])})


def _side_by_side(parts: dict[str, xr.DataArray]) -> xr.DataArray:
    """Along ``series``; what lacks a dimension that others have is repeated along it."""
    most = max(parts.values(), key=lambda da: da.ndim)
    whole = [da.broadcast_like(most, exclude=set(da.dims)) for da in parts.values()]
    return xr.concat(
        [da.transpose(*most.dims) for da in whole],
        dim=name_axis("series", list(parts)),
        coords="minimal",
        compat="override",
        combine_attrs="override",
    )


def _mean(da: xr.DataArray) -> xr.DataArray:
    return da.mean(TIME, skipna=False)


def _changes(
    sides: dict[str, xr.Dataset], spans: Sequence[tuple[int, int]], labels: list[str]
) -> xr.Dataset:
    means = {k: [_take(ds, span).map(_mean) for span in spans] for k, ds in sides.items()}
    out = {}
    for name, da in sides["raw"].data_vars.items():
        ratio = kind_of(str(name), None) == "*"
        rows = {}
        for key, (base, *late) in means.items():
            each = [one[name] - base[name] for one in late]
            if ratio:
                each = [100.0 * one / base[name].where(base[name] > 0) for one in each]
            rows[key] = xr.concat(each, dim=name_axis("horizon", labels))
        table = _side_by_side(rows).transpose("series", SCENARIO, ..., "horizon")
        text = f"change of {name} from {span_text(*spans[0])}"
        units = "%" if ratio else str(da.attrs.get("units", ""))
        out[name] = table.assign_attrs(long_name=text, units=units)
    return xr.Dataset(out)


def _soil_change(
    ds: xr.Dataset,
    projection: xr.DataArray,
    training: tuple[int, int],
    horizons: Sequence[tuple[int, int]],
    labels: list[str],
) -> xr.DataArray:
    """Projected soil temperature minus the reference's own over the training period [K]."""
    require_dims(projection, (SCENARIO, TIME), step="adjustment_report (projection)")
    soil = projection.rename("soil_temperature").to_dataset()
    for span in horizons:
        _require_inside(soil, span)
    base = _mean(_take(reference_of(ds)[["tsl"]], training)["tsl"].compute()) - FREEZING_POINT
    each = [_mean(_take(soil, span)["soil_temperature"].compute()) - base for span in horizons]
    out = xr.concat(each, dim=name_axis("horizon", labels)).transpose(..., "horizon")
    text = f"change of soil temperature from the reference, {span_text(*training)}"
    return out.assign_attrs(long_name=text, units="K")


def _pair(names: Sequence[str]) -> tuple[str, str]:
    """The weakest and the strongest by name, else the first and the last."""
    forced = sorted((n for n in names if forcing_of(n) is not None), key=forcing_of)  # type: ignore[arg-type]
    ends = forced if len(forced) > 1 else list(names)
    return ends[0], ends[-1]


def _quantiles(inside: dict[str, xr.Dataset]) -> xr.Dataset:
    axis = xr.DataArray(list(PROBABILITIES), dims="quantile", attrs={"units": "1"})
    out = {}
    for name, da in inside["raw"].data_vars.items():
        rows = {}
        for key, ds in inside.items():
            grouped = ds[name].groupby(f"{TIME}.season")
            rows[key] = grouped.quantile(list(PROBABILITIES), dim=TIME)
        table = _side_by_side(rows).assign_coords(quantile=axis)
        table = table.sel(season=_SEASONS).assign_coords(season=name_axis("season", _SEASONS))
        table = table.transpose("series", ..., "season", "quantile")
        out[name] = table.assign_attrs(units=da.attrs.get("units", ""))
    return xr.Dataset(out)


def _season(inside: dict[str, xr.Dataset]) -> xr.Dataset:
    out = {}
    for name, da in inside["raw"].data_vars.items():
        rows = {}
        for key, ds in inside.items():
            months = ds[name].groupby(f"{TIME}.month")
            both = [months.mean(TIME), months.std(TIME, ddof=1)]
            rows[key] = xr.concat(both, dim=name_axis("statistic", ["mean", "standard deviation"]))
        table = _side_by_side(rows).transpose("series", ..., "month", "statistic")
        out[name] = table.assign_attrs(units=da.attrs.get("units", ""))
    return xr.Dataset(out)


def _trends(
    reference: xr.Dataset, sides: dict[str, xr.Dataset], spans: Sequence[tuple[int, int]]
) -> xr.Dataset:
    labels = name_axis("period", [span_text(*span) for span in spans])
    out = {}
    for name, da in sides["raw"].data_vars.items():
        rows = {
            key: xr.concat([_slope(_take(ds, span)[name]) for span in spans], dim=labels)
            for key, ds in sides.items()
        }
        own = _slope(_take(reference, spans[0])[name])
        rows = {"reference": xr.concat([own, own * np.nan], dim=labels), **rows}
        table = _side_by_side(rows).transpose("series", SCENARIO, ..., "period")
        out[name] = table.assign_attrs(units=f"{da.attrs.get('units', '')} per decade")
    return xr.Dataset(out)


def _slope(da: xr.DataArray) -> xr.DataArray:
    """Least-squares slope of annual means, per decade."""
    years = da.coarsen({TIME: 12}, boundary="trim").mean()
    step = np.arange(years.sizes[TIME]) - (years.sizes[TIME] - 1) / 2
    weight = xr.DataArray(10.0 * step / (step @ step), dims=TIME)
    return (years.drop_vars(TIME) * weight).sum(TIME, skipna=False).reset_coords(drop=True)


def _left(quantiles: xr.Dataset) -> xr.Dataset:
    """RMS difference of the quantiles from the reference's."""
    apart = quantiles.sel(series=["raw", "adjusted"]) - quantiles.sel(series="reference", drop=True)
    out = (apart**2).mean(["season", "quantile"]) ** 0.5
    for name, da in out.data_vars.items():
        da.attrs = {
            "long_name": f"root mean square difference of the quantiles of {name}",
            "units": quantiles[name].attrs["units"],
        }
    return out


__all__ = ["adjustment_report"]
