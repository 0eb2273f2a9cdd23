"""Why a model says what it says: attributions to every feature and month that sum to its answer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr

from . import __version__
from ._attributed import WINDOW, Engine, attribute
from ._attribution_shap import ENGINES
from ._checks import choose, marks_of
from ._explained import Explainable, Subject, take_apart
from ._explained_windows import after_training, chosen, common, places, pools, training
from .errors import DataError, PermafrostWarning, ScenarioError
from .experiment import choose_scenarios, reference_of
from .features import needed_variables
from .forcing import scenario_forcing
from .preparation import Period
from .schema import LAYER, SCENARIO

#: Engines of :func:`explain`.
METHODS = ("expected_gradients", *ENGINES)
#: Windows explained at every location, and drawn as background, by protocol.
PROTOCOLS = {"default": (24, 100), "rahaman": (10, 100)}
#: What single precision leaves of a sum [K].
ROUNDING = 2e-5


def explain(
    fitted: Explainable,
    ds: xr.Dataset,
    *,
    layers: Sequence[int] | None = None,
    windows: int | str | Period | None = None,
    background: xr.Dataset | None = None,
    background_size: int | None = None,
    background_from: str = "location",
    method: str = "expected_gradients",
    tol: float = 0.01,
    protocol: str = "default",
    seed: int = 0,
    device: str = "cpu",
) -> xr.Dataset:
    """Attribute predicted soil temperatures to the features of every month of their windows.

    ``prediction = base_value + sum of attribution + residual``, in degC and K: the base value is
    the mean prediction over a background of windows from the training months, an attribution
    what one feature at one lag adds to it. The sum is checked for every window and layer, and what
    is missing is the ``residual``. Computes dask arrays.

    Parameters
    ----------
    fitted : FittedModel, HybridModel or FittedBaseline
        A network (of an ensemble, the mean over members is explained), a hybrid, or "ridge".
    ds : Dataset
        Canonical forcing of the model's locations, or an experiment Dataset, of which the
        reference is explained. Projected forcing comes from
        :func:`xpermafrost.forcing.scenario_forcing`.
    layers : sequence of int, optional
        Labels of the layers to explain; all by default.
    windows : int, "all" or tuple of str, optional
        As many windows of every location, drawn by ``seed``; or all; or those whose target is in
        a period, as ``("2019", "2023")``. By default 24.
    background : Dataset, optional
        Where the background windows are drawn from; by default the training months of ``ds`` (of
        ridge, which does not keep them, all months).
    background_size : int, optional
        Background windows, for every location; by default 100.
    background_from : {"location", "all"}
        "location": each location has its own background. "all": one background from all
        locations; the embedding of the location is then a feature, ``location``, at lag 0.
    method : str
        "expected_gradients", or for comparison shap's "shap_gradient" (200 samples),
        "shap_permutation" (minutes) and "shap_deep" (refused where it does not sum).
    tol : float
        Largest residual, as a share of ``prediction_std``; nodes are added until it is met.
    protocol : {"default", "rahaman"}
        "rahaman": 10 windows after the training months and 100 of the background, at every
        location and layer, as in the first study.
    seed : int
        Seed of the draws.
    device : str
        torch device.

    Returns
    -------
    Dataset
        ``attribution (window, layer, lag, feature)`` [K], NaN for ``location`` beyond lag 0;
        ``base_value``, ``prediction`` [degC], ``residual`` and ``prediction_std`` [K], the standard
        deviation of the explained part over the background, ``(window, layer)``;
        ``feature_value (window, lag, feature)`` in units of the feature (ridge: of the feature
        before anomalies); ``outside_training_range (window, feature)``, share of the window
        (not for ridge). ``window`` has the coordinates location and ``time`` (of the target);
        ``lag`` counts months (or days) back from the target.

    Raises
    ------
    ModelMismatchError, MissingVariableError, UnitsError, TimeAxisError
        If the data are not of the kind that the model was fitted on.
    DataError
        If the model cannot be explained, the background has fewer than two windows, no window is
        whole, or a method does not sum on this network.

    Warns
    -----
    PermafrostWarning
        If residuals are beyond ``tol``.

    Notes
    -----
    Of a network that learned departures from the climatology, the climatology of the explained
    month is part of the base value. Of a hybrid, the column's own answer counts among the
    attributions of its features ``tsl_column_*``, at lag 0.

    Expected gradients (Erion et al. 2021, eq. 4) are integrated gradients (Sundararajan et al.
    2017, eq. 1) averaged over all background windows; see
    :func:`xpermafrost._attribution.expected_gradients`. For ridge they are exact: weight x
    (value - mean of the background).

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> from xpermafrost.training import TrainingConfig, fit
    >>> ds = canonical(years=5)
    >>> gru = fit(ds, "gru", length=12, config=TrainingConfig(epochs=2))
    >>> why = explain(gru, ds, windows=2, background_size=20)
    >>> dict(why["attribution"].sizes)
    {'window': 6, 'layer': 4, 'lag': 12, 'feature': 7}
    >>> total = why["base_value"] + why["attribution"].sum(("lag", "feature"))
    >>> bool((abs(total - why["prediction"]) <= 0.01 * why["prediction_std"] + 1e-4).all())
    True
    """
    choose("method", method, METHODS)
    choose("background_from", background_from, ("location", "all"))
    choose("protocol", protocol, PROTOCOLS)
    if protocol != "default" and (windows, background_size) != (None, None):
        raise DataError(f"protocol={protocol!r} sets windows and background_size; leave them out.")
    count, size = PROTOCOLS[protocol]
    size = size if background_size is None else background_size
    if size < 2:
        raise DataError(
            f"a base value is the mean over a background; {size} window(s) is no mean. Type "
            "background_size=100, the default."
        )
    rng = np.random.default_rng(seed)
    subject = take_apart(fitted, _one_forcing(ds, fitted), device=device)
    other, trained = subject, training(fitted)
    if background is not None:
        other, trained = take_apart(fitted, _one_forcing(background, fitted), device=device), None
    span = after_training(fitted, subject) if protocol == "rahaman" else None
    numbers = chosen(subject, count if windows is None else windows, rng, span)
    across = background_from == "all"
    drawn = pools(subject, other, numbers, trained=trained, across=across, size=size, rng=rng)
    engine = Engine(
        method=method,
        layers=_layer_numbers(subject, layers),
        tol=tol,
        seed=seed,
        device=device,
        across=across,
    )
    out = attribute(fitted, subject, other, numbers, drawn, engine)
    _check_sums(out, tol, method)
    return out.assign_attrs(
        **_provenance(fitted, ds),
        method=method,
        tolerance=tol,
        background=f"{size} windows of {background_from}, seed {seed}",
        protocol=protocol,
        comment="prediction = base_value + sum of attribution over lag and feature + residual",
    )


def explain_scenarios(
    fitted: Explainable,
    ds: xr.Dataset,
    *,
    scenario: str,
    against: str,
    period: Period = ("2081", "2100"),
    layers: Sequence[int] | None = None,
    adjustment: str = "qdm",
    reference_period: Period | None = None,
    extend: str | None = None,
    tol: float = 0.01,
    device: str = "cpu",
) -> xr.Dataset:
    """Attribute the difference between two projections to their features.

    For every location and month of ``period`` the path leads from the window of ``against`` to
    the window of ``scenario``; the attributions are integrated gradients (Sundararajan et al. 2017,
    eq. 1) and sum to the difference of the two predictions. Computes dask arrays.

    Parameters
    ----------
    fitted : FittedModel, HybridModel or FittedBaseline
        As in :func:`explain`.
    ds : Dataset
        An experiment Dataset.
    scenario, against : str
        Names of two scenarios, as "rcp85" and "rcp26".
    period : tuple of str
        First and last year (or month) of the targets.
    layers : sequence of int, optional
        Labels of the layers to explain; all by default.
    adjustment, reference_period, extend
        Adjustment of the forcing: ``method``, ``reference_period`` and ``extend`` of
        :func:`xpermafrost.project`.
    tol : float
        Largest residual, as a share of ``prediction_std``.
    device : str
        torch device.

    Returns
    -------
    Dataset
        As :func:`explain`: ``base_value`` is the prediction under ``against``, ``prediction`` that
        under ``scenario``, ``attribution`` [K] the parts of their difference;
        ``feature_difference (window, lag, feature)`` is that of the inputs;
        ``outside_training_range (window, feature)`` tells which features were extrapolated under
        ``scenario``.

    Raises
    ------
    ScenarioError
        If a scenario is absent, or both are the same.
    DataError
        If no month of ``period`` is answered in both.

    Warns
    -----
    PermafrostWarning
        If residuals are beyond ``tol``.

    Examples
    --------
    >>> from xpermafrost.testing import experiment
    >>> from xpermafrost.training import TrainingConfig, fit
    >>> ds = experiment()
    >>> gru = fit(ds, "gru", length=12, config=TrainingConfig(epochs=2))
    >>> why = explain_scenarios(
    ...     gru, ds, scenario="rcp85", against="rcp26", period=("2016", "2017"), layers=[1]
    ... )
    >>> why.sizes["window"]                                   # 3 bands x 24 months
    72
    """
    if scenario == against:
        raise ScenarioError(f"{scenario!r} does not differ from itself; name another 'against'.")
    names = choose_scenarios(ds, scenario=[scenario, against])
    forcing = scenario_forcing(
        ds,
        names,
        variables=needed_variables(fitted.spec.features),
        method=adjustment,
        reference_period=reference_period,
        extend=extend,
    )
    one, two = (take_apart(fitted, forcing[n], device=device) for n in (scenario, against))
    numbers, partners = common(one, two, period)
    drawn = {k: partners[one.windows.location[numbers] == k] for k in places(one, numbers)}
    method = "expected_gradients"  # of one path for each window: integrated gradients
    engine = Engine(
        method=method, layers=_layer_numbers(one, layers), tol=tol, device=device, paired=True
    )
    out = attribute(fitted, one, two, numbers, drawn, engine)
    _check_sums(out, tol, method)
    out["feature_difference"] = (out["feature_value"] - two.values(partners)).assign_attrs(
        long_name=f"feature under {scenario} minus under {against}"
    )
    return out.assign_attrs(
        **_provenance(fitted, ds),
        method="integrated gradients from scenario to scenario",
        tolerance=tol,
        scenario=scenario,
        against=against,
        period=f"{period[0]} to {period[1]}",
        adjustment=adjustment,
        comment=f"prediction ({scenario}) = base_value ({against}) + sum of attribution over lag "
        "and feature + residual",
    )


def _one_forcing(ds: xr.Dataset, fitted: Explainable) -> xr.Dataset:
    if SCENARIO not in ds.dims:
        return ds
    return reference_of(ds, every=fitted.spec.step)


def _layer_numbers(subject: Subject, layers: Sequence[int] | None) -> np.ndarray:
    known = subject.prediction[LAYER].values.tolist()
    if layers is None:
        return np.arange(len(known))
    unknown = [layer for layer in layers if layer not in known]
    if unknown or not len(layers):
        raise DataError(
            f"layers={list(layers)} are not layers of the model; its labels are {known}, counted "
            "from the surface."
        )
    return np.array([known.index(layer) for layer in layers])


def _check_sums(out: xr.Dataset, tol: float, method: str) -> None:
    """Warn where attributions do not sum; refuse a method that should sum exactly and does not."""
    missing = abs(out["residual"])
    scaled = missing / out["prediction_std"].clip(ROUNDING)
    bad = missing > tol * out["prediction_std"] + ROUNDING
    if not bool(bad.any()):
        return
    worst, rms = float(scaled.max()), float(np.sqrt((scaled**2).mean()))
    if method == "shap_deep":
        raise DataError(
            f"shap's DeepExplainer does not sum on this network: it leaves {100 * rms:.0f} % of a "
            "standard deviation of the prediction unexplained (rms), as it has no rule for "
            "recurrent layers, attention and some activations. Type method='expected_gradients'."
        )
    warnings.warn(
        f"attributions of {int(bad.any(LAYER).sum())} of {out.sizes[WINDOW]} windows miss the "
        f"prediction by more than tol={tol:g} of its standard deviation, at worst by {worst:.3g} "
        f"(rms {rms:.3g}); 'residual' holds what is missing.",
        PermafrostWarning,
        stacklevel=3,
    )


def _provenance(fitted: Explainable, ds: xr.Dataset) -> dict[str, str]:
    name = str(getattr(fitted, "id", fitted.name))
    call = f"xpermafrost {__version__}: explain(model={name})"
    lines = [line for line in (str(ds.attrs.get("history", "")), call) if line]
    return {"model": name, "history": "\n".join(lines), **marks_of(ds)}
