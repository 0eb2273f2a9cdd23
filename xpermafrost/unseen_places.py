"""Space for time: learned at some places, scored at others, as the warm stand for a future."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ._checks import marks_of, require_variables
from ._pooled_baselines import OWN_RECORD, POOLED, fit_pooled, pooled_climatology
from ._protocols import PROTOCOLS
from .baselines import NEEDS
from .errors import DataError, DimensionError, LeakageError, MissingVariableError, RegionError
from .evaluation import score
from .experiment import reference_of
from .features import default_features
from .fitted import FittedModel, Predictor
from .preparation import Period, training_period
from .schema import TIME, location_dims
from .training import TrainingConfig, fit
from .windows import WindowSpec


def space_for_time(
    ds: xr.Dataset,
    models: Sequence[str | FittedModel] | str | FittedModel | None = None,
    *,
    train_places: Sequence[object],
    test_places: Sequence[object],
    baselines: Sequence[str] | str = "all",
    train: Period | str = "all",
    test: Period | None = None,
    length: int | None = None,
    horizon: int = 0,
    features: Sequence[str] | None = None,
    members: int = 1,
    seed: int = 0,
    config: TrainingConfig | None = None,
    pretrain: xr.Dataset | str | None = "auto",
    bootstrap: int = 500,
    device: str = "cpu",
    jobs: int | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Train at some places and score at others that no model has seen.

    Warm places stand for the future of cold ones, a test of extrapolation on real soil. Nothing of
    the soil at the test places is known to anyone: networks answer as for an unknown place
    (``fit(places="any")``); ridge and boosting are fitted on all training places together; of
    climatology, trend, TTOP, energy balance and the soil column the mean is taken over what was
    fitted at each training place. The persistences, which read the soil's own record, are left out.

    Parameters
    ----------
    ds : Dataset
        Canonical and monthly, with ``tsl`` and one location dimension; or an experiment Dataset.
    models : list of str or FittedModel, optional
        Networks to fit at the training places, or what was fitted with ``places="any"``; by
        default a GRU.
    train_places, test_places : list
        Labels, none in both.
    baselines : "all", list of str
        Of those that answer for an unseen place.
    train, test : tuple of str, optional
        Years of training and of scores; by default all, as the places differ. Neighbours share
        their weather: to keep that apart as well, give years that do not overlap.
    length, horizon, features, members, seed, config, pretrain, device, jobs, progress
        As in :func:`xpermafrost.fit`; ridge and boosting read ``features``, by default all that
        are usual.
    bootstrap : int
        Resamples of whole years for the 95 % intervals; 0 for none.

    Returns
    -------
    Dataset
        As of :func:`evaluate`, at the test places; ``anomaly_skill`` is measured against the mean
        climatology of the training places. :func:`scoreboard` prints it.

    Raises
    ------
    LeakageError
        If a place is in both lists, or a model has learned a test place.
    RegionError
        If a place is unknown.
    DimensionError
        If locations have two dimensions.
    DataError
        If a model or baseline cannot answer for an unseen place.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> scores = space_for_time(
    ...     canonical(years=6), [], train_places=["middle", "north"], test_places=["south"],
    ...     baselines=["climatology", "boosting"], bootstrap=0,
    ... )  # fmt: skip
    >>> rmse = scores["rmse_pooled"]
    >>> bool(rmse.sel(model="boosting") < rmse.sel(model="climatology"))
    True
    """
    reference = reference_of(ds)
    require_variables(reference, ("tsl",), step="space for time")
    learned, unseen = _places(reference, train_places, test_places)
    period = training_period(learned, train)
    time = unseen[TIME] if test is None else unseen[TIME].sel({TIME: slice(*test)})
    if not time.size:
        raise DataError(f"no test month in {test}; the data have {_span(unseen[TIME])}.")
    plan = PROTOCOLS["default"]
    models = plan.models if models is None else models
    models = [models] if isinstance(models, str | FittedModel) else list(models)
    _refuse(models, np.asarray(unseen[_dim(unseen)].values))
    chosen, without = _pooled(baselines, reference, horizon)
    nets: list[Predictor] = []
    for model in models:
        if isinstance(model, str):
            model = fit(
                learned,
                model,
                train=train,
                length=length,
                horizon=horizon,
                features=features,
                members=members,
                seed=seed,
                config=config,
                pretrain=pretrain,
                places="any",
                device=device,
                jobs=jobs,
                progress=progress,
            )
        nets.append(model)
    spec = WindowSpec(
        length=length,  # type: ignore[arg-type]
        horizon=horizon,
        features=tuple(features or default_features(reference)),
    )
    predictors = [*nets, *(fit_pooled(n, learned, train=train, spec=spec) for n in chosen)]
    if not predictors:
        raise DataError("nothing to evaluate: pass models, baselines, or both.")
    scores = score(
        unseen,
        predictors,
        test=(time.values[0], time.values[-1]),
        bootstrap=bootstrap,
        seed=seed,
        course=pooled_climatology(learned, slice(*period)),
    )
    return scores.assign_attrs(
        protocol="space-for-time",
        training_places=", ".join(str(p) for p in train_places),
        test_places=", ".join(str(p) for p in test_places),
        training_period=f"{str(period[0])[:7]} to {str(period[1])[:7]}",
        features_of_regressions=", ".join(spec.features),
        skill="against the mean climatology of the training places",
        baselines_left_out=without or "none",
        **marks_of(ds),
    )


def _dim(ds: xr.Dataset) -> str:
    return str(location_dims(ds["tsl"])[0])


def _span(time: xr.DataArray) -> str:
    return f"{str(time.values[0])[:7]} to {str(time.values[-1])[:7]}"


def _places(
    ds: xr.Dataset, train: Sequence[object], test: Sequence[object]
) -> tuple[xr.Dataset, xr.Dataset]:
    dims = location_dims(ds["tsl"])
    if len(dims) != 1:
        raise DimensionError(
            f"space for time needs one location dimension, such as 'station'; 'tsl' has {dims}. "
            "Stack a grid first: ds.stack(cell=('lat', 'lon')), and drop the water."
        )
    dim = str(dims[0])
    both = [p for p in test if p in list(train)]
    if both:
        raise LeakageError(
            f"{both} are both learned and scored; a score there is no test of an unseen place. "
            "Take them out of train_places or test_places."
        )
    known = ds[dim].values.tolist()
    unknown = [p for p in (*train, *test) if p not in known]
    if unknown or not len(train) or not len(test):
        raise RegionError(
            f"space for time needs places to learn and places to score, of {dim!r} {known}; "
            f"got train_places={list(train)}, test_places={list(test)}."
        )
    return ds.sel({dim: list(train)}), ds.sel({dim: list(test)})


def _refuse(models: Sequence[str | FittedModel], unseen: np.ndarray) -> None:
    """What cannot, or must not, answer for the test places."""
    for model in models:
        if isinstance(model, str):
            if "+" in model:
                raise DataError(
                    f"{model!r} holds what was fitted to a place's own soil, which an unseen place "
                    f"has not; type {model.split('+')[-1 if model.startswith('column') else 0]!r}."
                )
            continue
        if not (isinstance(model, FittedModel) and model.portable):
            raise DataError(
                f"{model.name!r} answers for its own places only. Fit it at the training places "
                "for any: fit(ds, places='any')."
            )
        seen = set(model.template[model.location_dims[0]].values.tolist())
        shared = [place for place in unseen.tolist() if place in seen]
        if shared:
            raise LeakageError(
                f"{model.name!r} has learned {shared}, which are scored. Fit it without them."
            )


def _pooled(baselines: Sequence[str] | str, ds: xr.Dataset, horizon: int) -> tuple[list[str], str]:
    """Baselines that answer for an unseen place; of ``"all"``, which are left out and why."""
    if baselines != "all":
        asked = [baselines] if isinstance(baselines, str) else list(baselines)
        own = [name for name in asked if name in OWN_RECORD]
        if own:
            raise DataError(
                f"{own} read the soil's own record, which an unseen place has not. Choose among "
                f"{list(POOLED)}."
            )
        return asked, ""
    left = dict.fromkeys(OWN_RECORD, "it reads the soil's own record")
    for name, needs in NEEDS.items():
        if horizon:
            left[name] = "it reads the month that it answers, horizon 1 does not"
            continue
        try:
            require_variables(ds, needs(ds), step=name)
        except MissingVariableError:
            left[name] = "variables that it needs are not there"
    kept = [name for name in POOLED if name not in left]
    return kept, "; ".join(f"{name} ({why})" for name, why in left.items())


__all__ = ["space_for_time"]
