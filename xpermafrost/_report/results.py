"""Everything that a report tells, computed once."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from .._protocols import refuse_leaks, scored_span, trained_on
from .._scenario_names import RUNS
from ..adjustment_tables import _pair as weakest_and_strongest
from ..adjustment_tables import adjustment_report
from ..attributions import group_features, importance
from ..concentrations import GASES
from ..ensembles import PERIODS, ensemble_mean, period_means
from ..errors import (
    DataError,
    DimensionError,
    NotFittedError,
    PermafrostError,
    PermafrostWarning,
    TimeAxisError,
)
from ..evaluation import evaluate
from ..experiment import choose_scenarios, reference_of
from ..explanation import explain, explain_scenarios
from ..features import needed_variables
from ..forcing import future_start
from ..hybrid import Fitted, PersistenceModel
from ..preparation import Period, training_period
from ..projection import project, reference_mean
from ..scenario_checks import ScenarioReport, check_scenarios
from ..schema import FREEZING_POINT, MEMBER, SCENARIO, TIME, location_dims

#: Years that a period has at the least; :func:`xpermafrost.period_means` leaves shorter ones out.
LEAST_YEARS = 10


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a report is asked for; see :func:`xpermafrost.report`."""

    scenarios: Sequence[str] | str | None
    baselines: Sequence[str] | str
    test: Period | None
    periods: Sequence[Period] | None
    method: str
    reference_period: Period | None
    extend: str | None
    explain: bool
    windows: int
    bootstrap: int
    seed: int
    device: str


@dataclass(frozen=True, kw_only=True)
class Projected:
    """A projection, and what is told of it."""

    #: ``(scenario, [esm, realization, member,] place, layer, time)`` [degC].
    whole: xr.DataArray
    #: The mean over climate models, their runs, and networks.
    mean: xr.DataArray
    #: Means over the periods, and their change from the reference's mean [K], of every run.
    means: xr.DataArray
    change: xr.DataArray
    #: The true change [K] where the world is simulated.
    truth: xr.DataArray | None
    #: Share of inputs outside the training range ``(scenario, period)``, and of all months.
    outside: xr.DataArray
    checks: ScenarioReport


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Attributions of one model: within the record, and of the difference of two scenarios."""

    why: xr.Dataset
    bars: xr.Dataset
    lags: xr.Dataset
    difference: xr.Dataset | None


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that a report tells."""

    asked: Asked
    ds: xr.Dataset
    reference: xr.Dataset
    place: str
    models: Mapping[str, Fitted]
    scenarios: list[str]
    variables: list[str]
    periods: list[Period]
    fingerprint: str
    checks: ScenarioReport
    adjustment: xr.DataTree
    projections: Mapping[str, Projected]
    scores: xr.Dataset | None
    explained: Mapping[str, Explained]
    warned: list[str] = field(default_factory=list)


def fitted_models(models: Sequence[Fitted] | Fitted) -> dict[str, Fitted]:
    """Models by the names that the scoreboard gives them; refuses what is not fitted."""
    given: list[Any] = list(models) if isinstance(models, list | tuple) else [models]
    for model in given:
        if isinstance(model, str):
            raise NotFittedError(
                f"report needs fitted models; {model!r} is a name. Fit it before, with years left "
                f"for the test: ds.permafrost.fit({model!r}, train=('2001', '2018')), or load it: "
                "xp.load_model('FILE.xpm')."
            )
        if not isinstance(model, Fitted):
            raise NotFittedError(
                "report needs what fit, fit_hybrid, fit_persistence or load_model return; got "
                f"{type(model).__name__}. Baselines are scored beside them: baselines=['ridge']."
            )
    if not given:
        raise DataError("report needs a fitted model; got none. Type ds.permafrost.fit('gru').")
    names = [model.name for model in given]
    if len(set(names)) != len(names):
        names = [f"{n}_{k}" if names.count(n) > 1 else n for k, n in enumerate(names)]
    return dict(zip(names, given, strict=True))


def gather(
    ds: xr.Dataset,
    models: Mapping[str, Fitted],
    asked: Asked,
    tell: Callable[[str], object],
) -> Results:
    """Compute what a report tells, every part once; the quick refusals come first."""
    names = choose_scenarios(ds, scenario=asked.scenarios)  # type: ignore[arg-type]
    place = _place(reference_of(ds))
    periods = _periods(ds, names, asked.periods)
    variables = _variables(ds, models)
    scored = _left_to_score(reference_of(ds), list(models.values()), asked.test)
    ds = ds.compute()  # read once: it is of regions, and every part of the report reads it
    reference = reference_of(ds)
    with _noted() as warned:
        tell("projecting")
        base = reference_mean(ds)
        projections = {n: _projected(ds, n, m, models, names, periods, base, asked)
                       for n, m in models.items()}  # fmt: skip
        tell("adjustment, checks")
        adjustment = adjustment_report(
            ds,
            variables=variables,
            scenario=names,
            method=asked.method,
            reference_period=asked.reference_period,
            extend=asked.extend,
            horizons=periods,
        )
        checks = check_scenarios(ds[variables])
        tell("scoring")
        scores = _scores(ds, list(models.values()), asked) if scored else None
        explained: dict[str, Explained] = {}
        networks: dict[int, str] = {}  # a network, alone and with its persistence, is one
        for name, model in models.items() if asked.explain else ():
            network = model.model if isinstance(model, PersistenceModel) else model
            if id(network) not in networks:
                tell(f"explaining {name}")
                explained[name] = _explained(ds, network, names, periods[-1], asked)
            networks.setdefault(id(network), name)
    return Results(
        asked=asked,
        ds=ds,
        reference=reference,
        place=place,
        models=models,
        scenarios=names,
        variables=variables,
        periods=periods,
        fingerprint=_fingerprint(ds, [*variables, "tsl"]),
        checks=checks,
        adjustment=adjustment,
        projections=projections,
        scores=scores,
        explained=explained,
        warned=warned,
    )


@contextmanager
def _noted() -> Iterator[list[str]]:
    """The texts of our own warnings; they are given to the caller again when all is done."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=PermafrostWarning)
        yield found
    for one in caught:
        if issubclass(one.category, PermafrostWarning):
            found.append(str(one.message))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    found[:] = list(dict.fromkeys(found))


def _place(reference: xr.Dataset) -> str:
    if "tsl" not in reference:
        raise DataError(
            "report needs the soil temperature 'tsl' of the reference, which models are scored "
            f"against; the Dataset has {list(reference.data_vars)}."
        )
    places = location_dims(reference["tsl"])
    if len(places) != 1:
        raise DimensionError(
            f"report tells of regions or stations, along one dimension; the Dataset has {places}. "
            "Reduce it before the training: ds.permafrost.reduce(xp.alaska_bands())."
        )
    return str(places[0])


def _variables(ds: xr.Dataset, models: Mapping[str, Fitted]) -> list[str]:
    """Forcing that the models read and that is adjusted."""
    read: dict[str, None] = {}
    for model in models.values():
        read.update(dict.fromkeys(needed_variables(model.spec.features)))
    return [n for n in read if n in ds and SCENARIO in ds[n].dims and n not in GASES]


def _periods(ds: xr.Dataset, names: Sequence[str], asked: Sequence[Period] | None) -> list[Period]:
    """Those asked for, if they are whole years of every scenario; else what there is."""
    starts, ends = (ds[f"period_{side}"].sel({SCENARIO: list(names)}) for side in ("start", "end"))
    start, end = starts.max().values, ends.min().values
    first = int(str(start)[:4]) + (str(start)[5:7] != "01")
    last = int(str(end)[:4]) - (str(end)[5:7] != "12")
    if asked is not None:
        if not asked or any(int(a) < first or int(b) > last or int(a) > int(b) for a, b in asked):
            raise TimeAxisError(
                f"periods are first and last years within {first} to {last}, which every scenario "
                f"has; got {list(asked)}. Type periods=[('{max(first, last - 19)}', '{last}')]."
            )
        return [(str(a), str(b)) for a, b in asked]
    there = [(a, b) for a, b in PERIODS if first <= int(a) and int(b) <= last]
    if there:
        return there
    ahead = max(first, int(str(future_start(ds))[:4]))  # whole years: a reference may end midway
    if ahead > last:
        raise TimeAxisError(
            f"no scenario goes on after the reference: they end in {last}, a projection would "
            f"begin in {ahead}."
        )
    return [(str(max(ahead, last - 19)), str(last))]


def _projected(
    ds: xr.Dataset,
    name: str,
    model: Fitted,
    models: Mapping[str, Fitted],
    names: list[str],
    periods: Sequence[Period],
    base: xr.DataArray,
    asked: Asked,
) -> Projected:
    try:
        whole = project(
            ds,
            model,
            scenario=names,
            method=asked.method,
            reference_period=asked.reference_period,
            extend=asked.extend,
            members="all",
            device=asked.device,
        )
    except PermafrostError as error:
        if len(models) == 1:
            raise
        raise type(error)(f"model {name!r}: {error}") from error
    mean = ensemble_mean(whole) if set(RUNS) & set(whole.dims) else whole
    mean = mean.mean(MEMBER, keep_attrs=True) if MEMBER in mean.dims else mean
    means = period_means(whole.reset_coords("outside_training_range", drop=True), periods=periods)
    truth = None
    if "tsl_truth" in ds:
        real = ds["tsl_truth"].sel({SCENARIO: names, TIME: whole[TIME]}).compute()
        truth = period_means(real, periods=periods) - FREEZING_POINT - base
    outside = whole["outside_training_range"]
    over = [d for d in outside.dims if d not in (SCENARIO, TIME)]
    return Projected(
        whole=whole,
        mean=mean,
        means=means,
        change=(means - base).transpose(*means.dims),
        truth=truth,
        outside=period_means(outside.mean(over), periods=periods).transpose(SCENARIO, "period"),
        checks=check_scenarios(mean),
    )


def _left_to_score(reference: xr.Dataset, models: list[Fitted], test: Period | None) -> bool:
    """Whether months are left that no model has seen; refuses a test on others before the work."""
    last = reference[TIME].values[-1]
    ends = [np.datetime64(str(model.info["train_end"])) for model in models]
    if test is None and any(end >= last.astype(end.dtype) for end in ends):
        return False
    if all(model.spec.step == "month" for model in models):  # projections refuse others
        period = training_period(reference, trained_on(models), step="month")
        refuse_leaks(models, scored_span(reference, period, test, "month"))
    return True


def _scores(ds: xr.Dataset, models: list[Fitted], asked: Asked) -> xr.Dataset:
    return evaluate(
        ds,
        models,
        baselines=asked.baselines,
        test=asked.test,
        bootstrap=asked.bootstrap,
        seed=asked.seed,
        device=asked.device,
    )


def _explained(
    ds: xr.Dataset, network: Any, names: list[str], period: Period, asked: Asked
) -> Explained:
    why = explain(network, ds, windows=asked.windows, seed=asked.seed, device=asked.device)
    groups = group_features(why)
    several = np.unique(why[TIME].dt.year.values).size > 1
    interval = 0.95 if several else None
    difference = None
    one_run = not set(RUNS) & set(ds.dims)
    if len(names) > 1 and one_run:
        weak, strong = weakest_and_strongest(names)
        difference = explain_scenarios(
            network,
            ds,
            scenario=strong,
            against=weak,
            period=period,
            adjustment=asked.method,
            reference_period=asked.reference_period,
            extend=asked.extend,
            device=asked.device,
        )
    return Explained(
        why=why,
        bars=importance(groups, interval=interval, seed=asked.seed),
        lags=importance(groups, ["feature", "lag"], interval=None),
        difference=difference,
    )


def _fingerprint(ds: xr.Dataset, names: Sequence[str]) -> str:
    """SHA-256 of the values and labels that went in."""
    total = hashlib.sha256()
    for name in sorted(set(names)):
        da = ds[name].compute()
        total.update(f"{name} {da.dims} {da.shape} {da.attrs.get('units')}".encode())
        for dim in da.dims:
            labels = da[dim].values if dim in da.coords else np.arange(da.sizes[dim])
            total.update(" ".join(map(str, labels.tolist())).encode())
        total.update(np.ascontiguousarray(da.values, dtype="float64").tobytes())
    return total.hexdigest()


__all__ = ["Asked", "Explained", "Projected", "Results", "fitted_models", "gather"]
