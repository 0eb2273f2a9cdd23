"""How much of the difference between two scenarios a bias adjustment keeps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import xarray as xr

from ._bias_inputs import Period, check_series, kind_of, parse_period, span_text
from ._checks import month_index, require_dims
from .errors import (
    MissingVariableError,
    PermafrostWarning,
    ScenarioError,
    TimeAxisError,
    unknown_name,
)
from .schema import SCENARIO, TIME, name_axis

#: A raw difference below this many standard errors is weather, and its ratio meaningless.
MIN_SIGNAL = 2.0
#: The same for a warning, which picks the worst of many variables, scenarios and horizons.
SURE_SIGNAL = 4.0
#: Mid-term and long term of the sixth assessment report of the IPCC.
HORIZONS: tuple[tuple[str, str], ...] = (("2041", "2060"), ("2081", "2100"))
#: Years from which a mean is a climate that a change can be told from.
MIN_YEARS = 10
#: Kept shares below this are warned about.
MIN_KEPT = 0.9


def divergence_preserved(
    raw: xr.DataArray | xr.Dataset,
    adjusted: xr.DataArray | xr.Dataset,
    *,
    pair: tuple[str, str] = ("rcp26", "rcp85"),
    horizons: Sequence[Period] = HORIZONS,
    kinds: str | Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Share of the difference between two scenarios that is left after adjustment.

    1 is kept, below 1 lost, above 1 inflated. Computes once.

    Parameters
    ----------
    raw, adjusted : DataArray or Dataset
        The run before and after adjustment, ``(scenario, time, place..., [layer])``, monthly.
    pair : tuple of str
        Scenarios, the weaker first.
    horizons : sequence of pair of str
        Periods of whole years.
    kinds : str or mapping of str to str, optional
        As in :func:`xpermafrost.bias.train`; by default what ``adjusted`` says of itself,
        else the variable table.

    Returns
    -------
    Dataset
        Per variable ``(place..., [layer], horizon)`` [1]. NaN where the raw difference is below
        ``MIN_SIGNAL`` = 2 standard errors of the difference of two means of annual values,
        ``sqrt(s1**2 / n + s2**2 / n)``: there it is internal variability.

    Raises
    ------
    ScenarioError, DimensionError, TimeAxisError, MissingVariableError
        Scenarios, dims, months or variables that are not there.

    Warns
    -----
    PermafrostWarning
        A variable keeps less than 0.9 of the difference at some place and horizon.

    Notes
    -----
    Additive variables: difference of the means over the horizon, adjusted over raw.
    Multiplicative ones: mean over calendar months of ``log(mean2 / mean1)``, adjusted over
    raw, each month weighted by its share of the raw annual total of the first scenario, over
    months where all four means are positive: the relative change that multiplicative mapping
    is to keep (Cannon, Sobie and Murdock 2015, eq. 4).

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> time = pd.date_range("2041-01-01", periods=240, freq="MS")
    >>> noise = np.random.default_rng(0).normal(size=240)
    >>> raw = xr.DataArray([noise, noise + 2.0], {"scenario": ["rcp26", "rcp85"], "time": time},
    ...                    dims=("scenario", "time"), name="tas", attrs={"units": "K"})
    >>> kept = divergence_preserved(raw, raw + 1.5, horizons=[("2041", "2060")])
    >>> kept.tas.round(6).item()
    1.0
    """
    one, two = _as_dataset(raw), _as_dataset(adjusted)
    names = [
        str(name)
        for name, da in two.data_vars.items()
        if TIME in da.dims and SCENARIO in da.dims and name in one.data_vars
    ]
    if not names:
        raise MissingVariableError(
            "divergence_preserved needs variables with dims ('scenario', 'time') on both sides; "
            f"raw has {list(one.data_vars)}, adjusted {list(two.data_vars)}."
        )
    labels = ["/".join(str(part) for part in horizon) for horizon in horizons]
    shares = {}
    for name in names:
        stated = two[name].attrs.get("bias_adjustment_kind")
        kind = kind_of(name, kinds if kinds is not None else stated)
        parts = [
            _kept(_select(one[name], pair, h, "raw"), _select(two[name], pair, h, "adjusted"), kind)
            for h in horizons
        ]
        share = xr.concat(parts, dim="horizon").assign_coords(horizon=labels)
        share = share.transpose(..., "horizon").drop_vars(SCENARIO, errors="ignore")
        share.attrs = {
            "long_name": f"share of the difference {pair[1]} - {pair[0]} of {name} kept",
            "units": "1",
            "kind": kind,
            "bias_adjustment": str(two[name].attrs.get("bias_adjustment", "unknown")),
        }
        shares[name] = share
    result = xr.Dataset(shares).compute()
    result.attrs = {
        "title": "divergence of scenarios kept by the bias adjustment",
        "pair": ", ".join(pair),
        "masked": f"raw difference below {MIN_SIGNAL:g} standard errors",
    }
    _warn(result)
    return result


def _as_dataset(obj: xr.DataArray | xr.Dataset) -> xr.Dataset:
    if isinstance(obj, xr.Dataset):
        return obj
    return obj.rename(obj.name or "variable").to_dataset()


def _select(
    da: xr.DataArray, pair: tuple[str, str], horizon: Period, side: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Both scenarios over one horizon, ``time`` split into ``year`` and ``month_of_year``."""
    require_dims(da, (SCENARIO, TIME), step="divergence_preserved")
    known = [str(value) for value in da[SCENARIO].values]
    for label in pair:
        if label not in known:
            raise ScenarioError(f"{unknown_name('scenario', label, known)} Type pair=(..., ...).")
    cube = _cube(da, horizon, side)
    low, high = (cube.isel({SCENARIO: known.index(label)}, drop=True) for label in pair)
    return low, high


def _cube(da: xr.DataArray, horizon: Period, side: str) -> xr.DataArray:
    """One horizon, ``time`` split into ``year`` and ``month_of_year``."""
    check_series(da, step=f"divergence_preserved ({side})")
    first, last = parse_period(horizon)
    months = month_index(da[TIME])
    if first % 12 or (last + 1) % 12:
        raise TimeAxisError(f"a horizon needs whole years; found {horizon!r}.")
    if months.size == 0 or first < months[0] or last > months[-1]:
        have = span_text(int(months[0]), int(months[-1])) if months.size else "nothing"
        raise TimeAxisError(
            f"{side} {da.name!r} spans {have}; the horizon needs {span_text(first, last)}. "
            "Type horizons=(('2041', '2060'),) with periods inside the data."
        )
    part = da.isel({TIME: slice(first - int(months[0]), last - int(months[0]) + 1)})
    part = part.drop_vars([name for name in part.coords if TIME in part[name].dims])
    return part.coarsen({TIME: 12}).construct({TIME: ("year", "month_of_year")})


def _kept(
    raw: tuple[xr.DataArray, xr.DataArray],
    adjusted: tuple[xr.DataArray, xr.DataArray],
    kind: str,
    least: float = MIN_SIGNAL,
) -> xr.DataArray:
    """Adjusted over raw difference; NaN where the raw one is within internal variability."""
    annual = [part.mean("month_of_year") for part in raw]
    if kind == "+":
        before, after = (
            (high.mean("year") - low.mean("year")).mean("month_of_year")
            for low, high in (raw, adjusted)
        )
        spread = annual
    else:
        means = [part.mean("year") for part in (*raw, *adjusted)]
        usable = (means[0] > 0) & (means[1] > 0) & (means[2] > 0) & (means[3] > 0)
        weight = means[0].where(usable)
        logs: list[xr.DataArray] = [xr.ufuncs.log(mean.where(usable)) for mean in means]
        total = weight.sum("month_of_year", min_count=1)
        before = ((logs[1] - logs[0]) * weight).sum("month_of_year", min_count=1) / total
        after = ((logs[3] - logs[2]) * weight).sum("month_of_year", min_count=1) / total
        spread = [part / part.mean("year").where(part.mean("year") > 0) for part in annual]
    variances = [part.var("year", ddof=1) / part.notnull().sum("year") for part in spread]
    noise = np.sqrt(variances[0] + variances[1])
    signal = (abs(before) >= least * noise) & (before != 0)
    return after.where(signal) / before.where(signal)


def warn_if_squeezed(
    raw: Mapping[str, xr.Dataset],
    adjusted: Mapping[str, xr.Dataset],
    *,
    baseline: Period,
    horizons: Sequence[Period] = HORIZONS,
) -> None:
    """Warn where an adjustment takes more than a tenth of a scenario's own change.

    The change of the mean over all places from ``baseline`` to a horizon, adjusted over raw, as
    in :func:`divergence_preserved`: ratios of what is multiplied, and only where the raw change is
    at least ``SURE_SIGNAL`` = 4 standard errors. Horizons outside a run are left out, and
    nothing is said of a baseline below ``MIN_YEARS`` = 10 years, which is weather. Computes.

    Parameters
    ----------
    raw, adjusted : mapping of Dataset
        By scenario, ``(time, place..., [layer])``, as :func:`xpermafrost.bias.adjust` takes and
        gives them.
    baseline : pair of str
        Months, as ``"2001-01/2023-12"`` of the training; taken to whole years.
    horizons : sequence of pair of str
        Periods of whole years.

    Warns
    -----
    PermafrostWarning
        Once per variable, naming the scenario and horizon that lose most.
    """
    first, last = parse_period(baseline)
    years = str(-(-first // 12)), str((last + 1) // 12 - 1)
    if int(years[1]) - int(years[0]) + 1 < MIN_YEARS:
        return
    worst: dict[str, tuple[float, str, str, str]] = {}
    for (scenario, after), kind in product(adjusted.items(), ("+", "*")):
        given = {str(n): da.attrs for n, da in after.data_vars.items()}
        names = [n for n, attrs in given.items() if attrs.get("bias_adjustment_kind") == kind]
        if not names:
            continue
        sides = _mean_place(raw[scenario], names), _mean_place(after, names)
        for horizon in horizons:
            if not (_inside(sides[0], horizon) and _inside(sides[0], years)):
                continue
            before, done = ((_cube(da, years, "run"), _cube(da, horizon, "run")) for da in sides)
            label = "/".join(str(part) for part in horizon)
            for name, share in zip(
                names, _kept(before, done, kind, SURE_SIGNAL).values, strict=True
            ):
                if share < min(MIN_KEPT, worst.get(name, (MIN_KEPT,))[0]):
                    method = str(given[name].get("bias_adjustment", "unknown"))
                    worst[name] = float(share), scenario, label, method
    for name, (share, scenario, label, method) in worst.items():
        cure = (
            "look at it by place: xp.adjustment_report(ds)"
            if method.startswith("qdm")
            else "use method='qdm', which keeps the model's own change"
        )
        warnings.warn(
            f"the adjustment keeps {share:.2f} of the change of {name!r} under {scenario} from "
            f"{'/'.join(years)} to {label} (method {method!r}, mean of places). Scenarios come "
            f"out too much alike; {cure}.",
            PermafrostWarning,
            stacklevel=3,
        )


def _inside(da: xr.DataArray, period: Period) -> bool:
    months, (first, last) = month_index(da[TIME]), parse_period(period)
    return bool(months.size and months[0] <= first and last <= months[-1])


def _mean_place(ds: xr.Dataset, names: Sequence[str]) -> xr.DataArray:
    """``(variable, time)``, means over places and layers."""
    return xr.concat(
        [ds[n].mean([d for d in ds[n].dims if d != TIME]).reset_coords(drop=True) for n in names],
        dim=name_axis("variable", names),
        coords="minimal",
        compat="override",
    ).rename("variables")


def _warn(result: xr.Dataset) -> None:
    for name, share in result.data_vars.items():
        values = share.values
        low = values[values < MIN_KEPT]
        if low.size:
            at = share.isel(share.fillna(np.inf).argmin(...))
            place = ", ".join(f"{key}={value.item()}" for key, value in at.coords.items())
            warnings.warn(
                f"{name!r} keeps {low.min():.2f} of the difference between the scenarios "
                f"{result.attrs['pair']} at {place} (method {share.attrs['bias_adjustment']!r}; "
                f"{low.size} of {np.isfinite(values).sum()} values below {MIN_KEPT}). Use "
                "train(..., method='qdm'), which keeps the model's own change.",
                PermafrostWarning,
                stacklevel=3,
            )
