"""Bias adjustment by quantile mapping, keeping the scenarios apart.

``train`` compares a reference with a model over a common period and returns adjustment
factors; ``adjust`` applies them to any run of that model. The default is quantile delta
mapping, which keeps the model's own change at every quantile; plain empirical quantile
mapping, also here, takes a part of the difference between scenarios away, and
``divergence_preserved`` says how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import overload

import numpy as np
import xarray as xr

from . import __version__
from ._bias_divergence import divergence_preserved
from ._bias_fast import adjust_fast, train_fast
from ._bias_groups import Grouping
from ._bias_inputs import (
    Period,
    check_pair,
    check_sim,
    common_variables,
    kind_of,
    limits,
    resolve_periods,
    span_text,
    take_months,
    threshold_of,
    warn_of_constants,
)
from ._checks import choose, require_variables
from .errors import DataError, DimensionError, NotFittedError

__all__ = ["MAX_FACTOR", "adjust", "divergence_preserved", "train"]

#: Largest multiplicative factor. A model month without snow or sun gives no ratio, a nearly
#: empty one an absurd one; ratios therefore end here, at zero divided by zero they are 1.
MAX_FACTOR = 10.0

#: Methods of the built-in kernel, and those that go through xsdba.
FAST = ("qdm", "eqm", "dqm")
METHODS = (*FAST, "scaling")
_ENGINES = ("auto", "fast", "xsdba")


def _engine(engine: str, method: str) -> str:
    choose("engine of bias adjustment", engine, _ENGINES)
    choose("adjustment method", method, METHODS)
    if engine == "auto":
        return "fast" if method in FAST else "xsdba"
    if engine == "fast" and method not in FAST:
        raise DataError(
            f"engine='fast' has the methods {FAST}; {method!r} needs engine='xsdba' (or 'auto')."
        )
    return engine


@overload
def train(
    reference: xr.DataArray,
    historical: xr.DataArray,
    *,
    method: str = ...,
    group: str = ...,
    window: int | None = ...,
    nquantiles: int = ...,
    reference_period: Period | None = ...,
    historical_period: Period | None = ...,
    kinds: str | Mapping[str, str] | None = ...,
    wet_threshold: float | Mapping[str, float] | None = ...,
    engine: str = ...,
) -> xr.Dataset: ...


@overload
def train(
    reference: xr.Dataset,
    historical: xr.Dataset,
    *,
    method: str = ...,
    group: str = ...,
    window: int | None = ...,
    nquantiles: int = ...,
    reference_period: Period | None = ...,
    historical_period: Period | None = ...,
    kinds: str | Mapping[str, str] | None = ...,
    wet_threshold: float | Mapping[str, float] | None = ...,
    engine: str = ...,
) -> xr.DataTree: ...


def train(
    reference: xr.DataArray | xr.Dataset,
    historical: xr.DataArray | xr.Dataset,
    *,
    method: str = "qdm",
    group: str = "month",
    window: int | None = None,
    nquantiles: int = 50,
    reference_period: Period | None = None,
    historical_period: Period | None = None,
    kinds: str | Mapping[str, str] | None = None,
    wet_threshold: float | Mapping[str, float] | None = None,
    engine: str = "auto",
) -> xr.Dataset | xr.DataTree:
    """Adjustment factors of a model against a reference, per place and time of the year.

    Lazy over places where the input is dask-backed.

    Parameters
    ----------
    reference, historical : DataArray or Dataset
        Monthly or daily series ``(time, place..., [layer])`` without gaps (missing values are
        NaN), of equal units and places, in any calendars. Of Datasets, the variables with
        ``time`` on both sides.
    method : {"qdm", "eqm", "dqm", "scaling"}
        Quantile delta mapping, empirical quantile mapping, detrended quantile mapping, scaling
        of the monthly means (by xsdba, calendar months of monthly data only).
    group : {"month", "season", "dayofyear"}
        What is compared with each other: values of a calendar month, of a season (DJF, ...), or
        of a day of the year and the days around it (daily data).
    window : int, optional
        Days of group "dayofyear", an odd number; 31 by default. Years of 360 or 366 days are
        laid on days 1 to 365 by the middle of each day.
    nquantiles : int
        Number of quantiles, at the middles of as many equal steps of probability.
    reference_period, historical_period : pair of str, optional
        Such as ``("2001", "2023")`` or ``("2001-04", "2023-03")``, ends included. One alone
        holds for both sides; without both, the months that both sides have.
    kinds : str or mapping of str to str, optional
        ``"additive"`` or ``"multiplicative"``, for all or by variable; else the variable table.
    wet_threshold : float or mapping of str to float, optional
        For precipitation, in its units: below it a step is dry, before and after. Dry steps get
        amounts spread over 0 to the threshold, so that the mapping also corrects how many
        there are, too many as well as too few; what is below the threshold afterwards is 0.
        Of Datasets by variable, such as ``{"pr": 1e-6}``.
    engine : {"auto", "fast", "xsdba"}
        "auto": the built-in kernel where it has the method, else xsdba.

    Returns
    -------
    Dataset or DataTree
        Of DataArrays a Dataset in xsdba's layout: ``af`` (factor; same units, or 1) and
        ``hist_q`` (same units; of "dqm" relative to the mean), both ``(place..., group,
        quantiles)``, of "dqm" also ``scaling`` (factor between the means). Of Datasets a DataTree
        with one such child per variable. A place without data has NaN.

    Raises
    ------
    UnitsError
        Units missing or different on the two sides.
    TimeAxisError
        Steps missing or doubled, days against months, no common months, or a period outside
        the data.
    DimensionError, ModelMismatchError
        Dims, chunks, places or names that do not fit.

    Warns
    -----
    PermafrostWarning
        Either side never varies in some group at some place (not where it is at a bound, such
        as no snow; not seen in dask-backed data).

    Notes
    -----
    Quantiles: Hyndman and Fan (1996), definition 7. Factors (Cannon, Sobie and Murdock 2015,
    section 3): reference quantile minus, or divided by, historical quantile. A ratio is at most
    ``MAX_FACTOR`` and 1 where both quantiles are 0. Dry steps are made distinct below the threshold
    as in Cannon, Sobie and Murdock (2015, section 3) and Vrac, Noel and Vautard (2016, "singularity
    stochastic removal"), by the golden-ratio sequence in place of random numbers: the same answer
    every time.

    To go on in xsdba, rebuild its class from the factors (its own ``from_dataset`` decodes
    jsonpickle from an attribute, which can run code; so that attribute is not written here)::

        qdm = xsdba.QuantileDeltaMapping(
            _trained=True, group=xsdba.Grouper("time.month"), kind=trained.attrs["kind"],
            adapt_freq_thresh=None, max_tail_factor=None,
            hist_calendar="standard", train_units=trained.attrs["units"],
        )
        qdm.set_dataset(trained.copy())

    References
    ----------
    Cannon, A. J., Sobie, S. R. and Murdock, T. Q. (2015): Bias correction of GCM precipitation
    by quantile mapping: how well do methods preserve changes in quantiles and extremes?
    J. Climate 28, 6938-6959.
    Vrac, M., Noel, T. and Vautard, R. (2016): Bias correction of precipitation through Singularity
    Stochastic Removal: because occurrences matter. J. Geophys. Res. Atmos. 121, 5237-5258.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> time = pd.date_range("2001-01-01", periods=120, freq="MS")
    >>> era = xr.DataArray(270 + 10 * np.sin(np.arange(120) / 6), {"time": time}, name="tas",
    ...                    attrs={"units": "K"})
    >>> trained = train(era, era.copy(data=era + 2.0), nquantiles=10)
    >>> round(float(trained.af.mean()), 6), trained.attrs["reference_period"]
    (-2.0, '2001-01/2010-12')
    """
    chosen = _engine(engine, method)
    if isinstance(reference, xr.Dataset) and isinstance(historical, xr.Dataset):
        children = {
            name: train(
                reference[name],
                historical[name],
                method=method,
                group=group,
                window=window,
                nquantiles=nquantiles,
                reference_period=reference_period,
                historical_period=historical_period,
                kinds=kinds,
                wet_threshold=wet_threshold,
                engine=engine,
            )
            for name in common_variables(reference, historical)
        }
        return xr.DataTree.from_dict(children)
    if isinstance(reference, xr.Dataset) or isinstance(historical, xr.Dataset):
        raise DataError(
            "train needs two DataArrays or two Datasets; found "
            f"{type(reference).__name__} and {type(historical).__name__}. Type ds['tas']."
        )
    if nquantiles < 1:
        raise DataError(f"train needs nquantiles of at least 1; found {nquantiles}.")
    every = check_pair(reference, historical)
    grouping = Grouping.chosen(group, window, every)
    name = reference.name if reference.name is not None else historical.name
    kind = kind_of(None if name is None else str(name), kinds)
    wet = threshold_of(str(name), kind, wet_threshold)
    spans = resolve_periods(reference, historical, reference_period, historical_period)
    pair = take_months(reference, spans[0]), take_months(historical, spans[1])
    attrs = {
        "title": "adjustment factors of a bias adjustment",
        "variable": "" if name is None else str(name),
        "method": method,
        "kind": kind,
        "step": every,
        "group": f"time.{grouping.name}",
        "group_window": grouping.window,
        **({} if wet is None else {"wet_threshold": wet}),
        "units": str(reference.attrs["units"]),
        "reference_period": span_text(*spans[0]),
        "historical_period": span_text(*spans[1]),
        "engine": chosen,
        "history": f"xpermafrost {__version__}: bias.train(method={method!r}, group={group!r}, "
        f"nquantiles={nquantiles}, kind={kind!r}, engine={chosen!r})",
    }
    if chosen == "xsdba":
        from ._bias_xsdba import train_xsdba

        if every != "month" or grouping.name != "month" or wet is not None:
            raise DataError(
                f"method {method!r} goes through xsdba (engine={engine!r}), which is offered for "
                "calendar months of monthly data without wet_threshold. "
                f"Type one of the methods {FAST} with engine='auto'."
            )
        trained = train_xsdba(*pair, method=method, kind=kind, nquantiles=nquantiles)
    else:
        trained = train_fast(
            *pair,
            method=method,
            kind=kind,
            nquantiles=nquantiles,
            grouping=grouping,
            every=every,
            wet=-np.inf if wet is None else wet,
            bound=MAX_FACTOR,
        )
    trained.attrs = attrs
    warn_of_constants(trained, pair, grouping)
    return trained


@overload
def adjust(
    trained: xr.Dataset | xr.DataTree,
    sim: xr.DataArray,
    *,
    window_years: int | None = ...,
    interp: str = ...,
    tails: str = ...,
    engine: str = ...,
) -> xr.DataArray: ...


@overload
def adjust(
    trained: xr.Dataset | xr.DataTree,
    sim: xr.Dataset,
    *,
    window_years: int | None = ...,
    interp: str = ...,
    tails: str = ...,
    engine: str = ...,
) -> xr.Dataset: ...


def adjust(
    trained: xr.Dataset | xr.DataTree,
    sim: xr.DataArray | xr.Dataset,
    *,
    window_years: int | None = 30,
    interp: str = "linear",
    tails: str = "constant",
    engine: str = "auto",
) -> xr.DataArray | xr.Dataset:
    """Apply the factors of :func:`train` to a run of the same model.

    Lazy over places, scenarios and members where ``sim`` is dask-backed.

    Parameters
    ----------
    trained : Dataset or DataTree
        What :func:`train` returned (or the same, read from a file).
    sim : DataArray or Dataset
        Series ``(time, place..., [scenario, member, layer])`` in the units and time step of
        the training, in any calendar. Every scenario is ranked on its own.
    window_years : int or None
        For "qdm": a value's quantile is its rank within its group in this many
        years centred on its own; at the ends of a series the window is shifted inward, so
        that it keeps its length (a shorter series is one window). None ranks over the
        whole series, as xsdba does. For "dqm": the years of the running mean that is taken out
        before the mapping and put back after it. The other methods need none.
    interp : {"linear", "nearest"}
        Factors between the quantiles.
    tails : {"constant", "extrapolated"}
        Factors beyond the outermost quantiles: constant (Themessl, Gobiet and Leuprecht 2011), or
        on the line through the outermost quantile and the one a tenth of all quantiles further in.
    engine : {"auto", "fast", "xsdba"}
        As in :func:`train`.

    Returns
    -------
    DataArray or Dataset
        Adjusted series, dims, coordinates, units and float type of ``sim``. NaN stays NaN; a
        place without training data is NaN. Of a Dataset the trained variables only: nothing
        passes through unadjusted.

    Raises
    ------
    UnitsError, TimeAxisError, DimensionError, ModelMismatchError
        ``sim`` does not fit the training.
    MissingVariableError
        A trained variable is not in ``sim``.

    Notes
    -----
    "qdm" (Cannon, Sobie and Murdock 2015, eqs 3-6): ``tau = F_sim(x)``, ``x + af(tau)`` or
    ``x * af(tau)``, with ``tau = (rank - 1) / (n - 1)`` and ties at their mean rank, the
    plotting position under which the training quantiles are the sorted values themselves.
    "eqm" (Deque 2007): ``af`` at the value's place among the historical quantiles. "dqm"
    (Cannon, Sobie and Murdock 2015, eq. 2): the same for the value less, or divided by, the running
    mean of its group, with ``scaling`` on top. Factors are interpolated within the group, never
    between groups. Multiplied values keep zero at zero; bounded variables (precipitation, snow
    cover, ...) are clipped to their bounds.

    Out of core: open chunked over places with ``time`` whole, then ``adjust(...).to_zarr(...)``
    holds a few chunks at a time.

    References
    ----------
    Deque, M. (2007): Frequency of precipitation and temperature extremes over France in an
    anthropogenic scenario. Global Planet. Change 57, 16-26.
    Themessl, M. J., Gobiet, A. and Leuprecht, A. (2011): Empirical-statistical downscaling and
    error correction of daily precipitation from regional climate models. Int. J. Climatol. 31.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> time = pd.date_range("2001-01-01", periods=120, freq="MS")
    >>> era = xr.DataArray(270 + 10 * np.sin(np.arange(120) / 6), {"time": time}, name="tas",
    ...                    attrs={"units": "K"})
    >>> esm = era.copy(data=era + 2.0)
    >>> adjusted = adjust(train(era, esm), esm)
    >>> float(abs(adjusted - era).max()) < 1e-9
    True
    """
    if isinstance(sim, xr.Dataset):
        if not isinstance(trained, xr.DataTree):
            raise DataError(
                "adjust needs, for a Dataset, the DataTree that train(Dataset, Dataset) returns; "
                f"found {type(trained).__name__}. Type sim[{trained.attrs.get('variable')!r}]."
            )
        require_variables(sim, list(trained.children), step="adjust")
        return xr.Dataset(
            {
                name: adjust(
                    trained[name].to_dataset(),
                    sim[name],
                    window_years=window_years,
                    interp=interp,
                    tails=tails,
                    engine=engine,
                )
                for name in trained.children
            },
            attrs=sim.attrs,
        )
    if isinstance(trained, xr.DataTree):
        choose("variable in the training", str(sim.name), trained.children)
        trained = trained[str(sim.name)].to_dataset()
    if "af" not in trained or "method" not in trained.attrs:
        raise NotFittedError(
            f"adjust needs what bias.train returns; found a Dataset with {list(trained.data_vars)}."
        )
    method, kind = str(trained.attrs["method"]), str(trained.attrs["kind"])
    chosen = _engine(engine, method)
    choose("interpolation of factors", interp, ("linear", "nearest"))
    choose("tails", tails, ("constant", "extrapolated"))
    if window_years is not None and window_years < 2:
        raise DimensionError(f"window_years must be None or at least 2; found {window_years}.")
    if tails == "extrapolated" and interp == "nearest":
        raise DataError("tails='extrapolated' goes on along a line: it needs interp='linear'.")
    check_sim(trained, sim)
    windowed = method in ("qdm", "dqm")
    if chosen == "xsdba":
        from ._bias_xsdba import adjust_xsdba

        if windowed and window_years is not None:
            raise DataError(
                f"xsdba ranks over the whole series; window_years={window_years} needs "
                "engine='fast'. Type window_years=None to go through xsdba."
            )
        if tails == "extrapolated" or interp == "nearest":
            raise DataError("engine='xsdba' has interp='linear' and tails='constant' only.")
        out = adjust_xsdba(trained, sim, method=method, kind=kind)
        low, high = limits(sim, kind)
        out = out.clip(low if np.isfinite(low) else None, high if np.isfinite(high) else None)
    else:
        out = adjust_fast(
            trained,
            sim,
            method=method,
            kind=kind,
            window_years=window_years,
            interp=interp,
            tails=tails,
            bound=MAX_FACTOR,
        )
    return _finish(out, trained, sim, window_years if windowed else None, chosen)


def _finish(
    out: xr.DataArray,
    trained: xr.Dataset,
    sim: xr.DataArray,
    window_years: int | None,
    engine: str,
) -> xr.DataArray:
    """Labels of ``sim``, and the attributes that say what was done."""
    out = out.transpose(*sim.dims)
    result = sim.copy(data=out.data)
    attrs = trained.attrs
    line = (
        f"xpermafrost {__version__}: bias.adjust(method={attrs['method']!r}, "
        f"kind={attrs['kind']!r}, group={attrs['group']!r}, window_years={window_years}, "
        f"engine={engine!r}), trained on reference "
        f"{attrs['reference_period']}, historical {attrs['historical_period']}"
    )
    earlier = str(sim.attrs.get("history", ""))
    result.attrs = {
        **sim.attrs,
        "bias_adjustment": attrs["method"],
        "bias_adjustment_kind": attrs["kind"],
        "history": f"{earlier}\n{line}" if earlier else line,
    }
    return result
