"""What an evaluation compares and on which months: protocols, windows, baselines, leaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from ._checks import choose, step_name
from .baselines import BASELINES, NEEDS, fit_baseline
from .errors import DataError, LeakageError, MissingVariableError
from .experiment import scenarios_of
from .features import RAHAMAN_FEATURES, default_features, needed_variables
from .fitted import Predictor
from .hybrid import Fitted, architecture, fit_named
from .models import MODELS
from .preparation import Period
from .projection import scenario_has
from .schema import TIME, location_dims
from .training import TrainingConfig
from .windows import WindowSpec


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Every choice of an evaluation in one word.

    Attributes mirror the parameters of :func:`evaluate`; ``features`` that the Dataset lacks
    are left out and named in the result's attributes. ``truth`` is whose soil temperature is
    learned and scored: that of the ``"reference"``, or a climate model's own (``"esm"``).
    """

    models: tuple[str, ...]
    length: int | None
    horizon: int
    train: Period | None = None
    test: Period | None = None
    features: tuple[str, ...] | None = None
    adjustment: str = "qdm"
    truth: str = "reference"
    config: TrainingConfig | None = None


#: Protocols by name; ``default`` takes the window of the time step. ``rahaman`` is the first study:
#: 24 months, the next month's temperature, 2001-2018 against 2019-2023, its features and z, plain
#: quantile mapping, 50 epochs, five nets. ``perfect-model`` learns a climate model's own historical
#: run and is scored on the change in its scenarios.
PROTOCOLS: dict[str, Protocol] = {
    "default": Protocol(models=("gru",), length=None, horizon=0),
    "rahaman": Protocol(
        models=("tcn", "transformer", "conv1dlstm", "gru", "bilstm"),
        length=24,
        horizon=1,
        train=("2001", "2018"),
        test=("2019", "2023"),
        features=RAHAMAN_FEATURES,
        adjustment="eqm",
        config=TrainingConfig(epochs=50, target="raw"),
    ),
    "perfect-model": Protocol(
        models=("gru",),
        length=None,
        horizon=0,
        test=("2081", "2100"),
        adjustment="none",
        truth="esm",
    ),
}


def time_step(models: Sequence[str | Fitted], step: str | None) -> str:
    """The time step of what is fitted already, or the one asked for."""
    found = {model.spec.step for model in models if isinstance(model, Fitted)}
    asked = found | ({step} if step else set())
    if len(asked) > 1:
        raise DataError(
            f"models of months and of days are never mixed in one score; found {sorted(asked)}. "
            "Evaluate them apart."
        )
    return asked.pop() if asked else "month"


def trained_on(models: Sequence[str | Fitted]) -> Period | None:
    """Training period of what is fitted already, so that baselines see the same months."""
    for model in models:
        if isinstance(model, Fitted):
            return str(model.info["train_start"]), str(model.info["train_end"])
    return None


#: Locations up to which ``baselines="all"`` calibrates a soil column at each.
COLUMN_PLACES = 64


def wanted_scenarios(ds: xr.Dataset, changes: Sequence[str] | str) -> list[str]:
    wanted = scenarios_of(ds) if changes == "all" else changes
    return [wanted] if isinstance(wanted, str) else list(wanted)


def choose_baselines(
    names: Sequence[str] | str, ds: xr.Dataset, step: str, horizon: int, scenarios: list[str]
) -> tuple[list[str], str]:
    """Names of the baselines; for ``"all"``, which of them are left out and why."""
    if names != "all":
        asked = [names] if isinstance(names, str) else names
        return [choose("baseline", n, BASELINES) for n in asked], ""
    places = int(np.prod([ds.sizes[d] for d in location_dims(ds["tsl"])]))
    left: dict[str, str] = {}
    for name, needs in NEEDS.items():
        if step != "month" and name != "column":
            left[name] = "it takes months"
        elif horizon:
            left[name] = "it reads the time that it answers, horizon 1 does not"
        elif name == "column" and places > COLUMN_PLACES:
            left[name] = f"{places} locations; ask for it by name to calibrate each"
        else:
            try:
                scenario_has(ds, scenarios, list(needs(ds)))
            except MissingVariableError:
                left[name] = "variables that it needs are not there"
    kept = [n for n in BASELINES if n not in left]
    return kept, "; ".join(f"{name} ({why})" for name, why in left.items())


def window_spec(
    ds: xr.Dataset,
    plan: Protocol,
    models: Sequence[str | Fitted],
    step: str,
    length: int | None,
    horizon: int | None,
    features: Sequence[str] | None,
) -> tuple[WindowSpec, list[str]]:
    for name in models:
        if isinstance(name, str):
            choose("model", architecture(name), MODELS)
    ready = [m for m in models if isinstance(m, Fitted)]
    if ready:  # what is fitted already sets the window that the others get
        first = ready[0].spec
        odd = [m.name for m in ready if m.spec.horizon != first.horizon]
        if odd or (horizon is not None and horizon != first.horizon):
            raise DataError(
                f"models of horizon 0 and 1 are never mixed in one score; {odd or horizon} differ "
                f"from {ready[0].name!r} (horizon {first.horizon}). Evaluate them apart."
            )
        if features is not None or length not in (None, first.length):
            raise DataError(
                f"{ready[0].name!r} is fitted already, with a window of {first.length} {step}s and "
                f"the features {list(first.features)}; length= and features= are for models that "
                "are fitted here. Leave them out."
            )
        return first, []
    wanted = tuple(features or plan.features or ())
    lacking = [n for n in wanted if not set(needed_variables([n])) <= set(ds.data_vars)]
    if features and lacking:
        raise DataError(f"the features {lacking} are not in the Dataset.")
    spec = WindowSpec(
        step=step,
        length=length or plan.length,  # type: ignore[arg-type]
        horizon=plan.horizon if horizon is None else horizon,
        features=tuple(n for n in wanted if n not in lacking),
    )
    return spec, lacking


def scored_span(
    ds: xr.Dataset, training: tuple[np.datetime64, ...], test: Period | None, step: str
) -> tuple[np.datetime64, np.datetime64]:
    time = ds.indexes[TIME]
    if isinstance(test, str):
        raise LeakageError(
            f"a test period is a pair of years, later than the training years; got {test!r}. A "
            f"random split of a series is refused: neighbouring {step}s are alike."
        )
    inside = time[time > training[1]] if test is None else time[time.slice_indexer(*test)]
    if not inside.size:
        raise DataError(
            f"no test {step}: training ends {step_name(training[1], step)}, the data end "
            f"{step_name(time[-1], step)}. Train on fewer years: train=('2001', '2018')."
        )
    start, end = inside[0].to_datetime64(), inside[-1].to_datetime64()
    if start <= training[1] and end >= training[0]:
        raise LeakageError(
            f"test {step}s {step_name(start, step)} to {step_name(end, step)} overlap the "
            f"training {step}s {step_name(training[0], step)} to {step_name(training[1], step)}; "
            "a score there is no skill. "
            "Choose test years after the training years."
        )
    return start, end


def refuse_leaks(fitted: Sequence[Fitted], span: tuple[np.datetime64, np.datetime64]) -> None:
    for model in fitted:
        start, end = (np.datetime64(str(model.info[k])) for k in ("train_start", "train_end"))
        first, last = (stamp.astype(start.dtype) for stamp in span)  # months or days
        if first <= end and last >= start:
            raise LeakageError(
                f"{model.name!r} was trained on {start} to {end}; a score from "
                f"{first} on would be on {model.spec.step}s it has seen. Fit with "
                "train=('...', '...') that ends before the test."
            )


def baseline_features(
    ds: xr.Dataset,
    reference: xr.Dataset,
    spec: WindowSpec,
    scenarios: list[str],
    *,
    asked: bool,
) -> tuple[str, ...]:
    """Features of ridge and boosting: those that were asked for, else all that is there.

    A network may read a few variables only, as one of shipped weights does; no baseline is
    weak for want of the others. Empty where the scenarios do not have them all.
    """
    if asked:
        return spec.features
    full = dict.fromkeys([*default_features(reference, step=spec.step), *spec.features])
    dynamic = [name for name in needed_variables(list(full)) if TIME in reference[name].dims]
    try:
        scenario_has(ds, scenarios, dynamic)
    except MissingVariableError:
        return spec.features
    return tuple(full)


def fit_predictors(
    reference: xr.Dataset,
    models: Sequence[str | Fitted],
    chosen: Sequence[str],
    spec: WindowSpec,
    *,
    of_baselines: tuple[str, ...],
    years: Period,
    members: int,
    seed: int,
    config: TrainingConfig | None,
    device: str,
    jobs: int | None,
    progress: bool | None,
) -> tuple[list[Predictor], WindowSpec]:
    """What is fitted already, the networks named, and the baselines ``chosen``, in this order.

    The window of the networks with the features of ridge and boosting is returned as well.
    """
    fitted = [m for m in models if isinstance(m, Fitted)]
    names = [m for m in models if isinstance(m, str)]
    if names:
        fitted += fit_named(
            reference,
            names,
            train=years,
            step=spec.step,
            length=spec.length,
            horizon=spec.horizon,
            features=spec.features or None,
            members=members,
            seed=seed,
            config=config,
            device=device,
            jobs=jobs,
            progress=progress,
        )
    same = replace(
        spec,
        features=of_baselines
        or (fitted[0].spec.features if fitted else ())
        or default_features(reference, step=spec.step),
    )
    baselines = [fit_baseline(name, reference, train=years, spec=same) for name in chosen]
    predictors: list[Predictor] = [*fitted, *baselines]
    if not predictors:
        raise DataError("nothing to evaluate: pass models, baselines, or both.")
    return predictors, same
