"""Features: from a canonical Dataset to one labelled array ``(location..., time, feature)``.

Every feature of a month (or day) uses that one and earlier ones only. Names are a small grammar:

========================== =============================================================
``tas``                    a forcing variable or static field of the variable table
``mrsol``, ``lithology``   expand to one feature per layer or class
``month_sin``, ``month_cos``  the season of monthly data
``day_sin``, ``day_cos``   the season of daily data
``tas:mean12``             mean of the last 12 months, the present one included
``tas:anomaly``            departure from the location's climatology of the training months
``tas:memory36``           exponential memory of that anomaly, e-folding time 36 months
``tas:thaw12``             thawing degree days of the last 12 months [K d]
``tas:freeze12``           freezing degree days of the last 12 months [K d]
``snow_resistance``        thermal resistance of the snow of ``snd`` [m2 K W-1], density of tundra
                           snow by depth and date; ``snow_resistance:taiga`` and other classes
``freeze_state``           share of the upper soil thawed, by the balance of degree days of
                           ``tas``, 0 to 1; ``freeze_state:400`` where 400 K d thaw it, not 200
``co2``, ``ch4``, ``n2o``  concentrations, see :func:`xpermafrost.with_concentrations`
``scenario_signal``        deseasonalised multi-year anomaly of longwave radiation
``scenario_signal:rahaman``  the first study's z of the same
``scenario_signal:co2``    radiative forcing of ``co2`` [W m-2], monotone with the scenarios
``year``                   calendar year; it extrapolates, so it is never a default
========================== =============================================================

A number counts months, in daily data too: ``tas:mean12`` is the mean of the last 365 days there.
With a ``d`` it counts days, for daily data only: ``tas:mean30d``, ``tas:thaw90d``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import numpy as np
import xarray as xr

from ._blocks import by_places, is_lazy
from ._checks import check_units, choose, require_variables, without_attrs
from ._feature_memory import (
    FREEZE_SCALE,
    MONTH_DAYS,
    freeze_state,
    memory,
    running,
    snow_resistance,
    steps_of,
    trailing_mean,
)
from .climatology import climatology, usual, year_fraction
from .concentrations import co2_forcing
from .errors import (
    DataError,
    DimensionError,
    MissingVariableError,
    UnknownNameError,
    unknown_name,
)
from .schema import (
    FEATURE,
    LAYER,
    STEPS,
    TIME,
    VARIABLES,
    layer_bounds,
    location_dims,
)

#: Taken as default features where the Dataset has them, in this order.
DEFAULT_FORCING = ("tas", "ts", "pr", "prsn", "rlds", "rsds", "snd")
#: Sine and cosine of the season, by time step.
SEASON = {"month": ("month_sin", "month_cos"), "day": ("day_sin", "day_cos")}
SEASON_NAMES = (*SEASON["month"], *SEASON["day"])

#: The inputs of the first study; ``year`` and soil water among them.
RAHAMAN_FEATURES = (
    "tas",
    "ts",
    "pr",
    "prsn",
    "rlds",
    "rsds",
    "hfls",
    "hfss",
    "mrsol",
    "year",
    *SEASON["month"],
    "lithology",
    "bulk_density",
    "soc",
    "scenario_signal:rahaman",
)

_DERIVED = re.compile(
    r"^(?P<name>[a-z_]+):(?P<kind>mean|thaw|freeze|memory)(?P<count>[1-9]\d*)(?P<days>d?)$"
)
_SIGNALS = ("scenario_signal", "scenario_signal:rahaman")
_CO2_SIGNAL = "scenario_signal:co2"
_SNOW = "snow_resistance"
_FREEZE = "freeze_state"


def default_features(ds: xr.Dataset, *, step: str = "month") -> tuple[str, ...]:
    """Default feature names for ``ds``: its forcing in the usual order, then the season.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> default_features(canonical(years=1))
    ('tas', 'pr', 'rlds', 'rsds', 'snd', 'month_sin', 'month_cos')
    """
    found = tuple(name for name in DEFAULT_FORCING if name in ds)
    if not found:
        raise MissingVariableError(
            f"no forcing found: needed at least one of {list(DEFAULT_FORCING)}, the Dataset has "
            f"{[str(n) for n in ds.data_vars]}. Call ds.permafrost.standardize() first."
        )
    return (*found, *SEASON[step])


def needed_variables(names: Sequence[str]) -> tuple[str, ...]:
    """Variables of the Dataset that the features ``names`` are made of.

    Examples
    --------
    >>> needed_variables(("tas", "tas:mean12", "month_sin", "scenario_signal"))
    ('tas', 'rlds')
    """
    found: dict[str, None] = {}
    for name in names:
        if name in _SIGNALS:
            found["rlds"] = None
        elif name == _CO2_SIGNAL:
            found["co2"] = None
        elif name.split(":")[0] == _FREEZE:
            found["tas"] = None
        elif name.split(":")[0] == _SNOW:
            found["snd"] = None
        elif name not in (*SEASON_NAMES, "year"):
            found[name.split(":")[0]] = None
    return tuple(found)


def season_encoding(time: xr.DataArray, *, step: str = "month") -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of the month, or of the day of the year; January at angle 0."""
    if step == "day":
        angle = 2 * np.pi * year_fraction(time).values
    else:
        angle = 2 * np.pi * (time.dt.month.values - 1) / 12
    return np.sin(angle), np.cos(angle)


def feature_statistics(ds: xr.Dataset, names: Sequence[str], *, step: str = "month") -> xr.Dataset:
    """Statistics that some features need, from training months only.

    Parameters
    ----------
    ds : Dataset
        Canonical, the training months only.
    names : sequence of str
        Feature names.
    step : {"month", "day"}
        Time step of ``ds``.

    Returns
    -------
    Dataset
        ``climatology_{variable} (location..., month or harmonic)`` for anomalies, memories and
        the scenario signal, with ``signal_scale`` (standard deviation of annual anomalies),
        ``signal_mean`` and ``signal_std`` (of the raw months, for the first study's z). Empty if
        none is needed.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> list(feature_statistics(canonical(years=2), ("tas", "snd:anomaly")))
    ['climatology_snd']
    """
    out = xr.Dataset()
    for name in names:
        if name in _SIGNALS:
            rlds = ds["rlds"].compute()
            course = climatology(rlds, step=step)
            annual = (rlds - usual(course, rlds[TIME])).groupby("time.year").mean(TIME)
            out = out.assign(
                climatology_rlds=course,
                signal_scale=annual.std("year"),
                signal_mean=rlds.mean(TIME),
                signal_std=rlds.std(TIME),
            )
        elif name.endswith(":anomaly") or ":memory" in name:
            base = name.split(":")[0]
            out[f"climatology_{base}"] = climatology(ds[base].compute(), step=step)
    return out.pipe(without_attrs)


def scenario_signal(
    rlds: xr.DataArray,
    statistics: xr.Dataset,
    *,
    method: str = "deseasonalised",
    length: int = 24,
    months: int = 60,
    step: str = "month",
) -> xr.DataArray:
    """How far the forcing has moved from the training climate, one number per step.

    Parameters
    ----------
    rlds : DataArray
        Downwelling longwave ``(location..., time)`` [W m-2].
    statistics : Dataset
        From :func:`feature_statistics`.
    method : {"deseasonalised", "rahaman"}
        ``deseasonalised``: mean over the last ``months`` (at least 12) of the anomaly from the
        climatology, in standard deviations of annual anomalies: linear, hence ordered as
        the forcing is. ``rahaman``: z = \\|z~\\| z~ with z~ the mean over the window of ``length``
        steps, less the training mean, over the training standard deviation (the first study);
        the season's share of sigma makes it small, and squaring shrinks \\|z\\| < 1.
    length, months : int
        Averaging spans.
    step : {"month", "day"}
        Time step of ``rlds``.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=4)
    >>> signal = scenario_signal(ds["rlds"], feature_statistics(ds, ("scenario_signal",)))
    >>> bool(abs(signal.isel(time=-1)).max() < 2)
    True
    """
    if method == "rahaman":
        window = trailing_mean(rlds, length, step=step)
        z = (window - statistics["signal_mean"]) / statistics["signal_std"]
        return abs(z) * z
    if method != "deseasonalised":
        raise unknown_name("scenario signal", method, ("deseasonalised", "rahaman"))
    span, least = steps_of(months, step), steps_of(12, step)
    mean = trailing_mean(_anomaly(rlds, statistics), span, step=step, least=least)
    return mean / statistics["signal_scale"]


def _anomaly(da: xr.DataArray, statistics: xr.Dataset) -> xr.DataArray:
    return da - usual(statistics[f"climatology_{da.name}"], da[TIME])


def build_features(
    ds: xr.Dataset,
    names: Sequence[str],
    *,
    statistics: xr.Dataset | None = None,
    length: int = 24,
    step: str = "month",
) -> xr.DataArray:
    """Features of every location and month (or day) as one contiguous array.

    Lazy on dask, by blocks of locations. The first steps of a running mean are NaN.

    Parameters
    ----------
    ds : Dataset
        Canonical, in steps of ``step``, without a ``scenario`` dimension.
    names : sequence of str
        See the table at the head of this module.
    statistics : Dataset, optional
        From :func:`feature_statistics`, needed for anomalies, memories and a scenario signal.
    length : int
        Window length in steps, for the first study's z.
    step : {"month", "day"}
        Time step of ``ds``.

    Returns
    -------
    DataArray
        ``(location..., time, feature)`` float32; ``feature`` labels carry layers by bounds.

    Raises
    ------
    MissingVariableError, UnknownNameError, UnitsError, DimensionError
        For names or units that do not fit, and locations without labels.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> cube = build_features(canonical(years=2), ("tas", "tas:mean12", "month_sin"))
    >>> cube.dims, cube["feature"].values.tolist()
    (('band', 'time', 'feature'), ['tas', 'tas:mean12', 'month_sin'])
    """
    choose("time step", step, STEPS)
    require_variables(ds, needed_variables(names), step="building the features")
    for name in needed_variables(names):
        if name in VARIABLES:
            check_units(ds[name])
    used = ds[list(needed_variables(names))]
    if is_lazy(used):
        _template(used, ds[TIME])
        work = partial(_of_block, names=tuple(names), length=length, step=step)
        return by_places(work, used, statistics, step="building the features")["features"]
    used = used.compute()
    template = _template(used, ds[TIME])
    labels: list[str] = []
    columns: list[np.ndarray] = []
    for name in names:
        for label, column in _columns(used, name, template, statistics, length, step):
            labels.append(label)
            columns.append(column)
    if len(set(labels)) != len(labels):
        raise DataError(f"features named twice: {labels}.")
    cube = np.stack(columns, axis=-1, dtype="float32", casting="same_kind")
    coords = {**template.coords, FEATURE: labels}
    return xr.DataArray(cube, dims=(*template.dims, FEATURE), coords=coords, name="features")


def _of_block(
    block: xr.Dataset,
    statistics: xr.Dataset | None,
    *,
    names: Sequence[str],
    length: int,
    step: str,
) -> xr.Dataset:
    if statistics is not None:
        picks = {d: block[d] for d in location_dims(statistics) if d in block.dims}
        statistics = statistics.sel(picks)
    cube = build_features(block, names, statistics=statistics, length=length, step=step)
    return cube.to_dataset()


def _template(ds: xr.Dataset, time: xr.DataArray) -> xr.DataArray:
    dims = location_dims(ds)
    bare = [str(d) for d in dims if d not in ds.coords]
    if bare:
        raise DimensionError(
            f"the locations along {bare} have no labels, so nothing could tell one from another "
            f"later. Name them: ds.assign_coords({bare[0]}=range(ds.sizes[{bare[0]!r}]))."
        )
    shape = [ds.sizes[d] for d in dims]
    zero = xr.DataArray(np.zeros((*shape, time.size)), dims=(*dims, TIME))
    return zero.assign_coords({**{d: ds[d] for d in dims}, TIME: time})


def _columns(
    ds: xr.Dataset,
    name: str,
    template: xr.DataArray,
    statistics: xr.Dataset | None,
    length: int,
    step: str,
) -> list[tuple[str, np.ndarray]]:
    if name in SEASON_NAMES:
        if name not in SEASON[step]:
            raise UnknownNameError(
                f"{name!r} is not the season of {step}s; type {list(SEASON[step])}."
            )
        both = dict(zip(SEASON[step], season_encoding(template[TIME], step=step), strict=True))
        return [(name, np.broadcast_to(both[name], template.shape))]
    if name == "year":
        return [(name, np.broadcast_to(template[TIME].dt.year.values, template.shape))]
    if name in _SIGNALS:
        if statistics is None:
            raise DataError(f"{name!r} needs statistics of the training months.")
        method = "rahaman" if name.endswith("rahaman") else "deseasonalised"
        da = scenario_signal(ds["rlds"], statistics, method=method, length=length, step=step)
        return [(name, _fit(da, template))]
    if name == _CO2_SIGNAL:
        return [(name, _fit(co2_forcing(ds["co2"]), template))]
    if name.split(":")[0] == _FREEZE:
        state = freeze_state(ds["tas"], _freeze_scale(name), step=step)
        return [(name, _fit(state, template))]
    if name.split(":")[0] == _SNOW:
        return [(name, _fit(snow_resistance(ds["snd"], name, step), template))]
    if ":" in name:
        return [(name, _fit(_derived(ds, name, statistics, step), template))]
    da = ds[name]
    if LAYER in da.dims:
        return [(f"{name}_{tag}", _fit(da.isel(layer=k), template)) for k, tag in _layer_tags(da)]
    if "lithology_class" in da.dims:
        classes = da["lithology_class"].values
        return [
            (f"{name}_{c}", _fit(da.isel(lithology_class=k), template))
            for k, c in enumerate(classes)
        ]
    return [(name, _fit(da, template))]


def _freeze_scale(name: str) -> int:
    tail = name.partition(":")[2]
    if tail and not re.fullmatch(r"[1-9]\d*", tail):
        raise unknown_name("feature", name, (_FREEZE, f"{_FREEZE}:400"))
    return int(tail or FREEZE_SCALE)


def _layer_tags(da: xr.DataArray) -> list[tuple[int, str]]:
    return [(k, f"{a:.2f}-{b:.2f}m") for k, (a, b) in enumerate(layer_bounds(da))]


def _derived(ds: xr.Dataset, name: str, statistics: xr.Dataset | None, step: str) -> xr.DataArray:
    base, tail = name.split(":", 1)
    match = _DERIVED.match(name)
    if LAYER in ds[base].dims or not (match or tail == "anomaly"):
        known = [
            f"{base}:{kind}" for kind in ("anomaly", "mean12", "memory36", "thaw12", "freeze12")
        ]
        raise unknown_name("feature", name, (*known, *SEASON[step], "year", *_SIGNALS))
    kind = match["kind"] if match else tail
    count = _count(match, step) if match else 0
    if kind in ("anomaly", "memory"):
        if statistics is None:
            raise DataError(f"{name!r} needs statistics of the training months.")
        anomaly = _anomaly(ds[base], statistics)
        return memory(anomaly, count) if match else anomaly
    return running(ds[base], kind, count, step)


def _count(match: re.Match[str], step: str) -> int:
    """Steps that the number in a feature's name stands for."""
    count = int(match["count"])
    if not match["days"]:
        return steps_of(count, step)
    if step != "day":
        months = max(1, round(count / MONTH_DAYS))
        raise UnknownNameError(
            f"{match[0]!r} counts days, which monthly data do not have; a number alone counts "
            f"months: '{match['name']}:{match['kind']}{months}'."
        )
    return count


def _fit(da: xr.DataArray, template: xr.DataArray) -> np.ndarray:
    dims = [d for d in template.dims if d in da.dims]
    values = da.transpose(*dims).values
    index = tuple(slice(None) if d in dims else None for d in template.dims)
    return np.broadcast_to(values[index], template.shape)
