"""The perfect-model test: a climate model's own past and soil, its own future, no adjustment.

What a model has learned from a climate model's historical run is asked about that climate model's
scenarios, whose soil temperature is known to the last month. Extrapolation is all that is tested:
forcing and truth come from one world, and nothing is adjusted.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ._change_scores import change_scores
from ._checks import check_monthly, marks_of, month_index, month_name, without_attrs
from ._protocols import (
    PROTOCOLS,
    baseline_features,
    choose_baselines,
    fit_predictors,
    refuse_leaks,
    trained_on,
    window_spec,
)
from .ensembles import annual_means
from .errors import (
    DataError,
    DimensionError,
    LeakageError,
    MissingVariableError,
    PermafrostWarning,
    ScenarioError,
)
from .experiment import choose_scenarios, combine, reference_of, scenarios_of, series_of
from .features import needed_variables
from .fitted import Predictor
from .global_warming import WINDOW, warming_level_years
from .hybrid import Fitted
from .preparation import Period
from .projection import scenario_forcing
from .schema import (
    FREEZING_POINT,
    HISTORICAL,
    REFERENCE,
    SCENARIO,
    TIME,
    location_dims,
    name_axis,
)
from .training import TrainingConfig

#: Years of the record where no reference says how long one is: those of ERA5-Land in the first
#: study, 2001-2023.
RECORD_YEARS = 23

#: Years whose change is scored, where no others are asked for.
PERIOD = ("2081", "2100")

#: Baselines that have no answer beyond the record.
_WITHOUT_FUTURE = "persistence"

Runs = xr.Dataset | xr.DataTree | Mapping[str, xr.Dataset]


def perfect_model_experiment(ds: Runs, *, train: Period | None = None) -> xr.Dataset:
    """The experiment whose reference is a climate model's own historical run.

    Its forcing is taken as it is and its soil temperature becomes the target. What is fitted on
    it (``fit(world, train="all")``) and projected (``project(world, model, method="none")``)
    can be compared with ``tsl_esm`` of the scenarios. On dask every variable is read once, to see
    which scenario lacks it; the result is lazy.

    Parameters
    ----------
    ds : Dataset, or mapping or DataTree of Dataset
        An experiment Dataset with ``tsl_esm``, see :func:`combine`; or canonical monthly Datasets
        with ``tsl`` by name: ``{"historical": ..., "rcp85": ...}``.
    train : tuple of str, optional
        Years of the historical run that are the record; by default its last ones, as many as the
        reference has soil temperatures for (23 where there is no reference).

    Returns
    -------
    Dataset
        With the scenarios that have a soil temperature of their own, and the variables that the
        record and all of them have.

    Raises
    ------
    MissingVariableError
        If there is no soil temperature of a climate model.
    ScenarioError
        If there is no ``historical``, or no scenario with soil temperature.
    DataError
        If the historical run does not hold the years, or lacks soil temperatures in them.

    Examples
    --------
    >>> from xpermafrost.testing import experiment
    >>> world = perfect_model_experiment(experiment(), train=("1998", "2005"))
    >>> world["scenario"].values.tolist()
    ['reference', 'historical', 'rcp26', 'rcp85']
    """
    runs, years = _runs(ds)
    past = runs[HISTORICAL]
    span = _record_span(past, train, years)
    record = past.sel({TIME: slice(*span)})
    _whole(record["tsl"], record["tsl"], HISTORICAL)
    out = combine(record, **runs)
    years_of = f"{span[0][:4]} to {span[1][:4]}"
    return out.assign_attrs(perfect_model=f"reference: the climate model's historical, {years_of}")


def _runs(ds: Runs) -> tuple[dict[str, xr.Dataset], int]:
    """A climate model's runs with ``tsl``, by name, and the years of a record."""
    if isinstance(ds, xr.Dataset):
        runs, years = _own_runs(ds)
    else:
        parts = ds.children if isinstance(ds, xr.DataTree) else ds
        given = {
            str(name): one.to_dataset() if isinstance(one, xr.DataTree) else one
            for name, one in parts.items()
        }
        runs = {n: one for n, one in given.items() if n != REFERENCE and "tsl" in one}
        years = RECORD_YEARS
    if HISTORICAL not in runs:
        raise ScenarioError(
            "the perfect-model test trains on the climate model's own 'historical' run with soil "
            f"temperature; found {sorted(runs)} with it. Join that run as well: "
            "ds.permafrost.with_scenarios({'historical': ..., 'rcp85': ...})."
        )
    if len(runs) == 1:
        raise ScenarioError(
            "the perfect-model test needs a scenario that carries soil temperature ('tsl') beside "
            "'historical'; found none. Join one: with_scenarios({..., 'rcp85': ...})."
        )
    for name, one in runs.items():
        check_monthly(one, step=f"the perfect-model test ({name})")
    common = [n for n in runs[HISTORICAL].data_vars if all(n in one for one in runs.values())]
    return {name: one[common] for name, one in runs.items()}, years


def _own_runs(ds: xr.Dataset) -> tuple[dict[str, xr.Dataset], int]:
    if "esm" in ds.dims:
        raise DimensionError(
            f"a perfect model is one climate model; the Dataset has {ds['esm'].values.tolist()}. "
            f"Select one: ds.sel(esm={str(ds['esm'].values[0])!r})."
        )
    if "tsl_esm" not in ds or SCENARIO not in ds.dims:
        raise MissingVariableError(
            "the perfect-model test needs a climate model's own soil temperature ('tsl_esm' beside "
            f"the scenarios); the Dataset has {[str(n) for n in ds.data_vars]}. Join CMIP files "
            "that carry 'tsl': era5.permafrost.with_scenarios(esm)."
        )
    static = [n for n, da in ds.data_vars.items() if TIME not in da.dims]
    forcing = [
        n
        for n, da in ds.data_vars.items()
        if SCENARIO in da.dims and TIME in da.dims and not str(n).endswith("_truth")
    ]
    runs = {}
    for name in (HISTORICAL, *scenarios_of(ds)):
        if name not in ds[SCENARIO].values:
            continue
        one = ds[[*forcing, *static]].sel({SCENARIO: name})
        one = one.sel({TIME: slice(one["period_start"].values, one["period_end"].values)})
        one = one.drop_vars([SCENARIO, "period_start", "period_end"], errors="ignore")
        lacking = [n for n in forcing if not bool(one[n].notnull().any())]
        if "tsl_esm" not in lacking:
            runs[name] = one.drop_vars(lacking).rename(tsl_esm="tsl")
    if "tsl" not in ds:
        return runs, RECORD_YEARS
    known = ds["tsl"].notnull().any([d for d in ds["tsl"].dims if d != TIME]).compute()
    return runs, int(np.unique(ds[TIME].dt.year.values[known.values]).size) or RECORD_YEARS


def _record_span(past: xr.Dataset, train: Period | None, years: int) -> Period:
    first, last = (pd.Timestamp(past[TIME].values[k]) for k in (0, -1))
    if train is None:
        until = last.year if last.month == 12 else last.year - 1
        since = max(until - years + 1, first.year + (first.month > 1))
        return f"{since}-01", f"{until}-12"
    begin, end = (pd.Period(str(year), "M" if "-" in str(year) else "Y") for year in train)
    start, stop = begin.asfreq("M", "start"), end.asfreq("M", "end")
    if start < first.to_period("M") or stop > last.to_period("M") or stop < start:
        raise DataError(
            f"the record {train[0]} to {train[1]} is not inside the climate model's historical "
            f"run ({first:%Y-%m} to {last:%Y-%m}); a model of the perfect-model test is fitted on "
            "that run: fit(xp.perfect_model_experiment(ds), train='all')."
        )
    return str(start), str(stop)


def _whole(da: xr.DataArray, record: xr.DataArray, name: str) -> None:
    """Raise where a place that has soil temperatures in the record lacks some."""
    missing = da.isnull() & record.notnull().any(TIME)
    if bool(missing.any()) or not bool(da.notnull().any()):
        months = missing.any([d for d in missing.dims if d != TIME]).values
        at = month_index(da[TIME])[months]
        where = f"first {month_name(int(at[0]))}" if at.size else "all of it"
        raise DataError(
            f"the soil temperature of {name!r} lacks {int(missing.sum())} values where the record "
            f"has some ({where}); the truth of the perfect-model test must be whole. Choose other "
            "years, or leave the scenario or the layer out."
        )


def perfect_model(
    ds: Runs,
    models: Sequence[str | Fitted] | str | Fitted | None = None,
    *,
    baselines: Sequence[str] | str = "all",
    train: Period | None = None,
    test: Period | None = None,
    scenarios: Sequence[str] | str = "all",
    length: int | None = None,
    horizon: int | None = None,
    features: Sequence[str] | None = None,
    members: int = 1,
    seed: int = 0,
    config: TrainingConfig | None = None,
    device: str = "cpu",
    jobs: int | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """What ``evaluate(protocol="perfect-model")`` does; its docstring describes the result.

    Parameters
    ----------
    ds, train
        See :func:`perfect_model_experiment`.
    models : list of str, FittedModel, HybridModel or PersistenceModel, optional
        Networks to fit on the record, or what was fitted on that experiment; by default a GRU.
    test : tuple of str, optional
        Years of which the change is scored; 2081-2100 by default.
    scenarios : "all", list of str
    baselines, length, horizon, features, members, seed, config, device, jobs, progress
        As in :func:`xpermafrost.evaluate`.

    Raises
    ------
    LeakageError
        If a model was fitted on months that are scored.
    DataError, MissingVariableError, ScenarioError

    Warns
    -----
    PermafrostWarning
        If a model was pretrained on a climate model, which may be the one that is scored.

    Examples
    --------
    >>> from xpermafrost.testing import experiment
    >>> scores = perfect_model(experiment(), [], baselines=["trend"], test=("2011", "2017"))
    >>> scores["change_error"].dims
    ('model', 'scenario', 'band', 'layer')
    """
    plan = PROTOCOLS["perfect-model"]
    models = plan.models if models is None else models
    models = [models] if isinstance(models, str | Fitted) else list(models)
    world = perfect_model_experiment(ds, train=train or trained_on(models))
    names = choose_scenarios(world, scenario=scenarios)  # type: ignore[arg-type]
    record = reference_of(world)
    test = test or plan.test or PERIOD
    truth = _truth(world, names, record, test)
    scored = truth[TIME].sel({TIME: slice(*test)}).values
    fitted = [m for m in models if isinstance(m, Fitted)]
    refuse_leaks(fitted, (scored[0], scored[-1]))
    _warn_of_lessons(fitted)
    spec, _ = window_spec(record, plan, models, "month", length, horizon, features)
    chosen, without = _future_baselines(baselines, world, spec.horizon, names)
    years = (str(record[TIME].values[0])[:7], str(record[TIME].values[-1])[:7])
    predictors, same = fit_predictors(
        record,
        models,
        chosen,
        spec,
        of_baselines=baseline_features(
            world, record, spec, names, asked=bool(features or plan.features)
        ),
        years=years,
        members=members,
        seed=seed,
        config=config or plan.config,
        device=device,
        jobs=jobs,
        progress=progress,
    )
    runs = _predicted(world, predictors, names, device)
    air = _air(world, names, record)
    levels = None if air is None else _level_years(air, truth, record)
    scores = change_scores(runs, truth, _soil(record["tsl"]), test, levels)
    if air is not None:
        warming = annual_means(air.sel({TIME: slice(*test)})).mean("year")
        note = {"units": "K", "long_name": "warming of the air in the test years"}
        scores = scores.assign_coords(warming=warming.assign_attrs(note))
    return scores.assign_attrs(
        protocol="perfect-model",
        training_period=f"{years[0]} to {years[1]} of the historical run",
        test_period=f"{str(scored[0])[:7]} to {str(scored[-1])[:7]}",
        adjustment="none: forcing and truth are of one climate model",
        features=", ".join(same.features),
        window=f"{same.length} months, horizon {same.horizon}",
        baselines_left_out=without,
        averaging="*_layer is over all locations, each weighing the same",
        **marks_of(world),
    )


def _warn_of_lessons(fitted: Sequence[Fitted]) -> None:
    for model in fitted:
        if (model.info.get("pretrain") or {}).get("source") == "climate model":
            warnings.warn(
                f"{model.name!r} was pretrained on a climate model through its scenarios. If that "
                "is the one that is scored, it has seen the answers: pretrain on another, or on "
                "the column.",
                PermafrostWarning,
                stacklevel=3,
            )


def _future_baselines(
    baselines: Sequence[str] | str, world: xr.Dataset, horizon: int, names: list[str]
) -> tuple[list[str], str]:
    chosen, without = choose_baselines(baselines, world, "month", horizon, names)
    if _WITHOUT_FUTURE in chosen:
        if baselines != "all":
            raise DataError(
                "'persistence' repeats last month's soil temperature and has no answer beyond the "
                "record; 'persistence_year' repeats the last year. Type "
                f"baselines={[n for n in chosen if n != _WITHOUT_FUTURE]}."
            )
        chosen.remove(_WITHOUT_FUTURE)
        without = "; ".join(
            text for text in (f"{_WITHOUT_FUTURE} (no answer beyond the record)", without) if text
        )
    return chosen, without or "none"


def _soil(da: xr.DataArray) -> xr.DataArray:
    """Soil temperature [degC], in memory."""
    da = da.drop_vars(["period_start", "period_end"], errors="ignore").drop_attrs(deep=False)
    return da.compute().astype("float64") - FREEZING_POINT


def _truth(world: xr.Dataset, names: list[str], record: xr.Dataset, test: Period) -> xr.DataArray:
    """The climate model's own soil temperature after the record [degC]; whole in ``test``."""
    last = record[TIME].values[-1]
    months = pd.period_range(pd.Period(test[0], "M"), pd.Period(test[1]).end_time, freq="M")
    if months[0].start_time <= pd.Timestamp(last):
        raise LeakageError(
            f"the test years {test[0]} to {test[1]} overlap the record, which ends in "
            f"{str(last)[:7]}. Choose later ones."
        )
    own = world["tsl_esm"].sel({SCENARIO: names})
    own = own.sel({TIME: own[TIME] > last})
    if own.sel({TIME: slice(*test)}).sizes[TIME] < len(months):
        raise DataError(
            f"the test years {test[0]} to {test[1]} are not in the scenarios, which end in "
            f"{str(world[TIME].values[-1])[:7]}. Choose others: test=('2041', '2060')."
        )
    own = _soil(own)
    for name in names:
        _whole(own.sel({SCENARIO: name}).sel({TIME: slice(*test)}), record["tsl"].compute(), name)
    return own


def _predicted(
    world: xr.Dataset, predictors: Sequence[Predictor], names: list[str], device: str
) -> dict[str, list[xr.DataArray]]:
    """Runs ``([member,] location..., layer, time)`` [degC] of the scenarios, by predictor.

    The forcing is the climate model's own. Its soil temperature ends with the record, so that no
    predictor can read what it is scored on.
    """
    needed: dict[str, None] = {}
    for predictor in predictors:
        needed.update(dict.fromkeys(needed_variables(predictor.spec.features)))
    forcing = scenario_forcing(world, names, variables=list(needed), method="none")
    labels = [p.name for p in predictors]
    if len(set(labels)) < len(labels):
        labels = [f"{n}_{k}" if labels.count(n) > 1 else n for k, n in enumerate(labels)]
    runs: dict[str, list[xr.DataArray]] = {}
    for label, predictor in zip(labels, predictors, strict=True):
        runs[label] = [
            predictor.predict(forcing[name], members="all", device=device)
            if isinstance(predictor, Fitted)
            else predictor.predict(forcing[name])
            for name in names
        ]
    return runs


def _air(world: xr.Dataset, names: list[str], record: xr.Dataset) -> xr.DataArray | None:
    """Air temperature above the record's ``(scenario, time)``, mean of all places [K]."""
    if "tas" not in record:
        return None
    places = location_dims(record["tas"])
    runs = [
        series_of(world, name)["tas"].mean(places).drop_vars(SCENARIO, errors="ignore")
        for name in names
    ]
    air = (
        xr.concat(runs, dim=name_axis(SCENARIO, names), join="outer").compute().pipe(without_attrs)
    )
    return air - annual_means(record["tas"].mean(places).compute()).mean("year")


def _level_years(air: xr.DataArray, truth: xr.DataArray, record: xr.Dataset) -> xr.DataArray | None:
    """When the air reaches 1, 2, 3, ... K, where there are years enough to say."""
    if truth.sizes[TIME] < 12 * WINDOW:
        return None
    years = record[TIME].dt.year.values
    top = annual_means(air).rolling(year=WINDOW).mean().max()
    levels = [float(k) for k in range(1, int(max(float(top), 0.0)) + 1)]
    return warming_level_years(air, levels=levels, baseline=(str(years[0]), str(years[-1])))


__all__ = ["perfect_model", "perfect_model_experiment"]
