"""Bias adjustment of monthly series by quantile mapping, keeping the scenarios apart.

``train`` compares a reference with a model over a common period and returns adjustment
factors; ``adjust`` applies them to any run of that model. The default is quantile delta
mapping, which keeps the model's own change at every quantile; plain empirical quantile
mapping, also here, takes a part of the difference between scenarios away, and
``divergence_preserved`` says how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

import numpy as np
import xarray as xr

from . import __version__
from ._bias_divergence import divergence_preserved
from ._bias_inputs import (
    TRAINED_DIMS,
    Period,
    check_pair,
    check_sim,
    first_month,
    kind_of,
    limits,
    resolve_periods,
    span_text,
    take_months,
)
from ._checks import choose, require_variables
from .errors import DataError, DimensionError, MissingVariableError, NotFittedError
from .schema import TIME

__all__ = ["MAX_FACTOR", "adjust", "divergence_preserved", "train"]

#: Largest multiplicative factor. A model month without snow or sun gives no ratio, a nearly
#: empty one an absurd one; ratios therefore end here, at zero divided by zero they are 1.
MAX_FACTOR = 10.0

#: Methods of the built-in kernel, and those that go through xsdba.
FAST = ("qdm", "eqm")
METHODS = ("qdm", "eqm", "dqm", "scaling")
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
    nquantiles: int = ...,
    reference_period: Period | None = ...,
    historical_period: Period | None = ...,
    kinds: str | Mapping[str, str] | None = ...,
    engine: str = ...,
) -> xr.Dataset: ...


@overload
def train(
    reference: xr.Dataset,
    historical: xr.Dataset,
    *,
    method: str = ...,
    nquantiles: int = ...,
    reference_period: Period | None = ...,
    historical_period: Period | None = ...,
    kinds: str | Mapping[str, str] | None = ...,
    engine: str = ...,
) -> xr.DataTree: ...


def train(
    reference: xr.DataArray | xr.Dataset,
    historical: xr.DataArray | xr.Dataset,
    *,
    method: str = "qdm",
    nquantiles: int = 50,
    reference_period: Period | None = None,
    historical_period: Period | None = None,
    kinds: str | Mapping[str, str] | None = None,
    engine: str = "auto",
) -> xr.Dataset | xr.DataTree:
    """Adjustment factors of a model against a reference, per place and calendar month.

    Lazy over places where the input is dask-backed.

    Parameters
    ----------
    reference, historical : DataArray or Dataset
        Monthly series ``(time, place..., [layer])`` without gaps (missing values are NaN),
        of equal units and places. Of Datasets, the variables with ``time`` on both sides.
    method : {"qdm", "eqm", "dqm", "scaling"}
        Quantile delta mapping, empirical quantile mapping, detrended quantile mapping
        (xsdba), scaling of the monthly means (xsdba).
    nquantiles : int
        Number of quantiles, at the middles of as many equal steps of probability.
    reference_period, historical_period : pair of str, optional
        Such as ``("2001", "2023")`` or ``("2001-04", "2023-03")``, ends included. One alone
        holds for both sides; without both, the months that both sides have.
    kinds : str or mapping of str to str, optional
        ``"additive"`` or ``"multiplicative"``, for all or by variable; else the variable table.
    engine : {"auto", "fast", "xsdba"}
        "auto": the built-in kernel where it has the method, else xsdba.

    Returns
    -------
    Dataset or DataTree
        Of DataArrays a Dataset in xsdba's layout: ``af`` (factor; same units, or 1) and
        ``hist_q`` (same units), both ``(place..., month, quantiles)``. Of Datasets a DataTree
        with one such child per variable. A place without data has NaN.

    Raises
    ------
    UnitsError
        Units missing or different on the two sides.
    TimeAxisError
        Months missing or doubled, no common months, or a period outside the data.
    DimensionError, ModelMismatchError
        Dims, chunks, places or names that do not fit.

    Notes
    -----
    Quantiles: Hyndman and Fan (1996), definition 7. Factors (Cannon, Sobie and Murdock 2015,
    section 3): reference quantile minus, or divided by, historical quantile. A ratio is at most
    ``MAX_FACTOR`` and 1 where both quantiles are 0.

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
                nquantiles=nquantiles,
                reference_period=reference_period,
                historical_period=historical_period,
                kinds=kinds,
                engine=engine,
            )
            for name in _common_variables(reference, historical)
        }
        return xr.DataTree.from_dict(children)
    if isinstance(reference, xr.Dataset) or isinstance(historical, xr.Dataset):
        raise DataError(
            "train needs two DataArrays or two Datasets; found "
            f"{type(reference).__name__} and {type(historical).__name__}. Type ds['tas']."
        )
    if nquantiles < 1:
        raise DataError(f"train needs nquantiles of at least 1; found {nquantiles}.")
    check_pair(reference, historical)
    name = reference.name if reference.name is not None else historical.name
    kind = kind_of(None if name is None else str(name), kinds)
    spans = resolve_periods(reference, historical, reference_period, historical_period)
    pair = take_months(reference, spans[0]), take_months(historical, spans[1])
    if chosen == "xsdba":
        from ._bias_xsdba import train_xsdba

        trained = train_xsdba(*pair, method=method, kind=kind, nquantiles=nquantiles)
    else:
        trained = _train_fast(*pair, kind=kind, nquantiles=nquantiles)
    trained.attrs = {
        "title": "adjustment factors of a bias adjustment",
        "variable": "" if name is None else str(name),
        "method": method,
        "kind": kind,
        "group": "time.month",
        "units": str(reference.attrs["units"]),
        "reference_period": span_text(*spans[0]),
        "historical_period": span_text(*spans[1]),
        "engine": chosen,
        "history": f"xpermafrost {__version__}: bias.train(method={method!r}, "
        f"nquantiles={nquantiles}, kind={kind!r}, engine={chosen!r})",
    }
    return trained


def _common_variables(reference: xr.Dataset, historical: xr.Dataset) -> list[str]:
    names = [
        str(name)
        for name, da in reference.data_vars.items()
        if TIME in da.dims and name in historical.data_vars and TIME in historical[name].dims
    ]
    if not names:
        raise MissingVariableError(
            "train needs variables with 'time' on both sides; the reference has "
            f"{list(reference.data_vars)}, the historical {list(historical.data_vars)}. "
            "If your names differ, call ds.permafrost.standardize() on both first."
        )
    return names


def _float_type(*arrays: xr.DataArray) -> np.dtype[Any]:
    """float32 stays float32; everything else is worked and returned in float64."""
    small = all(da.dtype in (np.float32, np.float16) for da in arrays)
    return np.dtype("float32" if small else "float64")


def _threads(*arrays: xr.DataArray) -> int:
    """All processors on numpy arrays; one within a dask graph, whose scheduler has them."""
    if any(da.chunks is not None for da in arrays):
        return 1
    from ._quantile_kernels import available_threads

    return available_threads()


def _train_fast(
    reference: xr.DataArray, historical: xr.DataArray, *, kind: str, nquantiles: int
) -> xr.Dataset:
    from ._quantile_kernels import train_arrays

    nodes = (np.arange(nquantiles) + 0.5) / nquantiles
    dtype = _float_type(reference, historical)
    af, hist_q = xr.apply_ufunc(
        train_arrays,
        reference,
        historical.rename({TIME: "historical_time"}),
        input_core_dims=[[TIME], ["historical_time"]],
        output_core_dims=[TRAINED_DIMS, TRAINED_DIMS],
        join="override",
        dask="parallelized",
        output_dtypes=[dtype, dtype],
        dask_gufunc_kwargs={"output_sizes": {"month": 12, "quantiles": nquantiles}},
        kwargs={
            "months": (first_month(reference), first_month(historical)),
            "nodes": nodes,
            "multiplicative": kind == "*",
            "bound": MAX_FACTOR,
            "dtype": dtype,
            "threads": _threads(reference, historical),
        },
    )
    units = str(reference.attrs["units"])
    af.attrs = {
        "long_name": "quantile mapping adjustment factors",
        "units": units if kind == "+" else "1",
        "kind": kind,
    }
    hist_q.attrs = {"long_name": "quantiles of the model in the training period", "units": units}
    trained = xr.Dataset({"af": af, "hist_q": hist_q}, {"month": np.arange(1, 13)})
    return trained.assign_coords(quantiles=nodes)


@overload
def adjust(
    trained: xr.Dataset | xr.DataTree,
    sim: xr.DataArray,
    *,
    window_years: int | None = ...,
    engine: str = ...,
) -> xr.DataArray: ...


@overload
def adjust(
    trained: xr.Dataset | xr.DataTree,
    sim: xr.Dataset,
    *,
    window_years: int | None = ...,
    engine: str = ...,
) -> xr.Dataset: ...


def adjust(
    trained: xr.Dataset | xr.DataTree,
    sim: xr.DataArray | xr.Dataset,
    *,
    window_years: int | None = 30,
    engine: str = "auto",
) -> xr.DataArray | xr.Dataset:
    """Apply the factors of :func:`train` to a run of the same model.

    Lazy over places, scenarios and members where ``sim`` is dask-backed.

    Parameters
    ----------
    trained : Dataset or DataTree
        What :func:`train` returned (or the same, read from a file).
    sim : DataArray or Dataset
        Monthly series ``(time, place..., [scenario, member, layer])`` in the units of the
        training. Every scenario is ranked on its own.
    window_years : int or None
        For "qdm": a month's quantile is its rank among the same calendar month of this many
        years centred on its own; at the ends of a series the window is shifted inward, so
        that it keeps its length (a shorter series is one window). None ranks over the
        whole series, as xsdba does. The other methods rank against the training period.
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
    "eqm" (Deque 2007): ``af`` at the value's place among the historical quantiles. Both
    interpolate linearly within the calendar month, with constant tails. Multiplied values keep
    zero at zero; bounded variables (precipitation, snow cover, ...) are clipped to their bounds.

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
                    trained[name].to_dataset(), sim[name], window_years=window_years, engine=engine
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
    if window_years is not None and window_years < 2:
        raise DimensionError(f"window_years must be None or at least 2; found {window_years}.")
    check_sim(trained, sim)
    if chosen == "xsdba":
        from ._bias_xsdba import adjust_xsdba

        if method == "qdm" and window_years is not None:
            raise DataError(
                f"xsdba ranks over the whole series; window_years={window_years} needs "
                "engine='fast'. Type window_years=None to go through xsdba."
            )
        out = adjust_xsdba(trained, sim, method=method, kind=kind)
        low, high = limits(sim, kind)
        out = out.clip(low if np.isfinite(low) else None, high if np.isfinite(high) else None)
    else:
        out = _adjust_fast(trained, sim, method=method, kind=kind, window_years=window_years)
    return _finish(out, trained, sim, window_years if method == "qdm" else None, chosen)


def _adjust_fast(
    trained: xr.Dataset, sim: xr.DataArray, *, method: str, kind: str, window_years: int | None
) -> xr.DataArray:
    from ._quantile_kernels import adjust_arrays

    dtype = _float_type(sim)
    parts = [trained[name].chunk() if sim.chunks else trained[name] for name in ("af", "hist_q")]
    return xr.apply_ufunc(
        adjust_arrays,
        sim,
        *parts,
        input_core_dims=[[TIME], TRAINED_DIMS, TRAINED_DIMS],
        output_core_dims=[[TIME]],
        join="override",
        dask="parallelized",
        output_dtypes=[dtype],
        kwargs={
            "month": first_month(sim),
            "nodes": trained["quantiles"].values.astype("float64"),
            "delta": method == "qdm",
            "window": window_years,
            "multiplicative": kind == "*",
            "limits": limits(sim, kind),
            "dtype": dtype,
            "threads": _threads(sim, *parts),
        },
    )


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
        f"kind={attrs['kind']!r}, window_years={window_years}, engine={engine!r}), trained on "
        f"reference {attrs['reference_period']}, historical {attrs['historical_period']}"
    )
    earlier = str(sim.attrs.get("history", ""))
    result.attrs = {
        **sim.attrs,
        "bias_adjustment": attrs["method"],
        "bias_adjustment_kind": attrs["kind"],
        "history": f"{earlier}\n{line}" if earlier else line,
    }
    return result
