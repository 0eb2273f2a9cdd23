"""Models made of parts: a soil column and a network on its residual, and the memory of errors.

The column brings the physics: freezing, snow, memory, and an answer to climates that no
training year has seen. The network, given forcing and the column's own answer, learns the rest.
Names say the parts: ``"gru"``, ``"column+gru"``, ``"gru+persistence"``,
``"column+gru+persistence"``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from torch import nn

from . import fitted
from ._blocks import is_lazy
from ._checks import marks_of, require_variables, step_name, without_attrs
from ._explains import Explains
from ._state_archive import PART, file_of, from_bytes, pack, unpack
from .baselines import BASELINES, FittedBaseline, fit_baseline
from .checkpoint import read_archive, write_archive
from .climatology import climatology, usual
from .errors import CheckpointError, DataError
from .experiment import reference_of
from .features import default_features
from .fitted import FittedModel
from .persistence import SUFFIX, PersistenceModel, learn_damping, rehearsal
from .preparation import Period, training_period
from .products import predict_blocks, soil_temperature
from .schema import FREEZING_POINT, LAYER, TIME, location_dims
from .training import TrainingConfig, fit, fit_many
from .windows import WindowSpec

#: The column's answer as a variable [K] that the network reads, one feature a layer.
COLUMN = "tsl_column"

#: Names of hybrids in ``evaluate`` and ``project`` begin so.
PREFIX = "column+"


@dataclass(frozen=True, kw_only=True)
class HybridModel(Explains):
    """The soil column, and a network on its residual; made by :func:`fit_hybrid`.

    Attributes
    ----------
    column : FittedBaseline
    net : FittedModel
        Its target is the residual of the damped column, shifted to 273.15 K.
    course : DataArray (location..., layer, month)
        Usual course of the column's year in training [degC]; harmonics where daily.
    share : DataArray (layer)
        Share of the column's departures from it that observations bear out in training, 0..1.
    """

    column: FittedBaseline
    net: FittedModel
    course: xr.DataArray
    share: xr.DataArray

    @property
    def name(self) -> str:
        """``column+gru`` and the like."""
        return f"{PREFIX}{self.net.name}"

    @property
    def id(self) -> str:
        """As that of the network: architecture and hash."""
        return f"{PREFIX}{self.net.id}"

    @property
    def info(self) -> dict[str, Any]:
        """Training period and provenance, of the network."""
        return self.net.info

    @property
    def spec(self) -> WindowSpec:
        """Window of the network; features of both but the column's answer."""
        spec = self.net.spec
        own = [name for name in spec.features if name != COLUMN]
        both = tuple(dict.fromkeys([*own, *self.column.spec.features]))
        return WindowSpec(length=spec.length, horizon=0, features=both, step=spec.step)

    def predict(
        self, ds: xr.Dataset, *, members: str = "mean", device: str = "cpu"
    ) -> xr.DataArray:
        """Soil temperature ``([member,] location..., layer, time)`` [degC].

        Parameters, errors and laziness are those of :meth:`FittedModel.predict`.
        """
        if is_lazy(ds):
            return predict_blocks(self, ds, members=members, device=device)
        column = self.column.predict(ds)
        rest = self.net.predict(_with_column(ds, column), members=members, device=device)
        damped = _damped(column, self.course, self.share)
        kelvin = (damped + rest + FREEZING_POINT).transpose(*rest.dims)
        source = rest.attrs.get("source")
        return soil_temperature(kelvin, model=self.id, source=source, **marks_of(ds))

    def outside_training_range(self, ds: xr.Dataset) -> xr.DataArray:
        """As :meth:`FittedModel.outside_training_range`, the column's answer among the inputs."""
        return self.net.outside_training_range(_with_column(ds, self.column.predict(ds)))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """As :meth:`FittedModel.save`: one file, for :func:`xpermafrost.load_model`."""
        arrays = {PART: file_of(self.net)}
        datasets = {"hybrid": xr.Dataset({"course": self.course, "share": self.share})}
        meta = {
            "parts": "column",
            "baseline": self.column.name,
            "spec": vars(self.column.spec),
            "state": pack(self.column.state, arrays, datasets),
        }
        write_archive(path, meta=meta, arrays=arrays, datasets=datasets, overwrite=overwrite)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to other processes as the bytes of its file."""
        return from_bytes, (load_model, file_of(self).tobytes())


def fit_hybrid(
    ds: xr.Dataset,
    model: str | type[nn.Module] = "gru",
    *,
    train: Period | str | None = None,
    step: str = "month",
    length: int | None = None,
    features: Sequence[str] | None = None,
    members: int = 1,
    seed: int = 0,
    config: TrainingConfig | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "cpu",
    jobs: int | None = None,
    progress: bool | None = None,
) -> HybridModel:
    """Calibrate the soil column on the training years, then train a network on its residual.

    Parameters are those of :func:`fit`; the window always ends with the target month, whose
    forcing the column needs. The column's answer, one feature a layer, joins the ``features``.
    Its departures from the usual course of the year count by the share that the observed ones of
    the training years bear out (a regression through the origin, by layer): near 1 where soil and
    snow are known well, about one half at stations of which only snow depth is known.

    Parameters
    ----------
    ds : Dataset
        Canonical with ``tsl``, air or skin temperature, and snow; or an experiment Dataset.
    model, train, step, length, features, members, seed, config, options, device, jobs, progress
        See :func:`xpermafrost.fit`.

    Returns
    -------
    HybridModel
        For :func:`project` and :func:`evaluate`, as a fitted network is.

    Raises
    ------
    MissingVariableError
        Without air or skin temperature, or snow.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=5, locations=["here"])[["tas", "snd", "tsl"]]
    >>> both = fit_hybrid(ds, "gru", length=12, config=TrainingConfig(epochs=2))
    >>> both.name, both.predict(ds).dims
    ('column+gru', ('band', 'layer', 'time'))
    """
    reference = reference_of(ds, every=step)
    require_variables(reference, ("tsl",), step="fit_hybrid")
    first, last = training_period(reference, train, step=step)
    years = (step_name(first, step), step_name(last, step))
    column = fit_baseline("column", reference, train=years, spec=WindowSpec(step=step))
    answer = column.predict(reference).compute()
    course, share = _borne_out(reference["tsl"], answer, slice(first, last), step)
    rest = reference["tsl"] - _damped(answer, course, share)  # [K] - [degC]: around 273.15 K
    learned = _with_column(reference, answer).assign(
        tsl=rest.transpose(*reference["tsl"].dims).assign_attrs(reference["tsl"].attrs)
    )
    net = fit(
        learned,
        model,
        train=years,
        step=step,
        length=length,
        features=[*(features or default_features(reference, step=step)), COLUMN],
        members=members,
        seed=seed,
        config=config,
        options=options,
        device=device,
        jobs=jobs,
        progress=progress,
    )
    return HybridModel(column=column, net=net, course=course, share=share)


def _borne_out(
    tsl: xr.DataArray, answer: xr.DataArray, period: slice, step: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """The column's usual course, and the share of its departures that is observed, by layer."""
    observed = tsl.sel({TIME: period}).compute().reset_coords(drop=True)
    made = answer.sel({TIME: period}).reset_coords(drop=True).pipe(without_attrs)
    course = climatology(made, step=step)
    known = made.where(observed.notnull())
    seen, felt = (da - usual(climatology(da, step=step), da[TIME]) for da in (observed, known))
    places = [d for d in felt.dims if d != LAYER]
    share = (seen * felt).sum(places) / (felt**2).sum(places)
    return course, share.fillna(1.0).clip(0.0, 1.0).pipe(without_attrs)


def _damped(answer: xr.DataArray, course: xr.DataArray, share: xr.DataArray) -> xr.DataArray:
    """The column with its departures from the usual course of the year multiplied by ``share``."""
    here = course.sel({d: answer[d] for d in location_dims(course)})
    normal = usual(here, answer[TIME]).assign_coords({LAYER: answer[LAYER]})
    return normal + share.assign_coords({LAYER: answer[LAYER]}) * (answer - normal)


#: What a training returns.
Fitted = FittedModel | HybridModel | PersistenceModel


def architecture(name: str) -> str:
    """Name of the network in ``"gru"``, ``"column+gru"`` or ``"column+gru+persistence"``.

    Examples
    --------
    >>> architecture("column+gru+persistence")
    'gru'
    """
    return name.removeprefix(PREFIX).removesuffix(SUFFIX)


def fit_persistence(
    ds: xr.Dataset,
    model: str = "gru",
    *,
    train: Period | str | None = None,
    step: str = "month",
    length: int | None = None,
    horizon: int = 0,
    features: Sequence[str] | None = None,
    members: int = 1,
    seed: int = 0,
    config: TrainingConfig | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "cpu",
    jobs: int | None = None,
    progress: bool | None = None,
) -> PersistenceModel:
    """Train a network, or hybrid, that also knows its own errors up to the month before.

    For forecasts one month ahead where soil temperature is observed, on equal terms with
    persistence; see :mod:`xpermafrost.persistence`. The model is trained twice: on all training
    years, and without the last quarter of them (at least two), to see how fast its errors fade on
    years that it has not learned. In a projection no soil is observed: the correction fades out.

    Parameters
    ----------
    ds : Dataset
        Canonical with ``tsl``, or an experiment Dataset.
    model : str
        ``"gru"``, ``"column+gru"`` and the like.
    train, step, length, horizon, features, members, seed, config, options, device, jobs, progress
        See :func:`xpermafrost.fit`.

    Returns
    -------
    PersistenceModel
        For :func:`project` and :func:`evaluate`, as a fitted network is.

    Raises
    ------
    DataError
        With fewer than four training years.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=6)
    >>> both = fit_persistence(ds, "gru", length=12, config=TrainingConfig(epochs=2))
    >>> both.name, both.predict(ds).dims
    ('gru+persistence', ('band', 'layer', 'time'))
    """
    found = fit_named(
        ds,
        [f"{model.removesuffix(SUFFIX)}{SUFFIX}"],
        train=train,
        step=step,
        length=length,
        horizon=horizon,
        features=features,
        members=members,
        seed=seed,
        config=config,
        options=options,
        device=device,
        jobs=jobs,
        progress=progress,
    )[0]
    assert isinstance(found, PersistenceModel)
    return found


def fit_named(
    ds: xr.Dataset,
    names: Sequence[str],
    *,
    train: Period | str | None,
    step: str,
    length: int | None,
    horizon: int,
    features: Sequence[str] | None,
    members: int,
    seed: int,
    config: TrainingConfig | None,
    options: Mapping[str, Any] | None = None,
    device: str,
    jobs: int | None,
    progress: bool | None,
) -> list[Fitted]:
    """Train networks side by side, then hybrids, then what persistence needs; in their order."""
    common: dict[str, Any] = {
        "step": step,
        "length": length,
        "features": features,
        "members": members,
        "seed": seed,
        "config": config,
        "options": options,
        "device": device,
        "jobs": jobs,
        "progress": progress,
    }
    hybrids = [name for name in names if name.startswith(PREFIX)]
    if hybrids and horizon:
        raise DataError(
            f"{hybrids[0]!r} reads the month that it answers; horizon={horizon} does not. "
            "Leave it out, or type horizon=0."
        )
    remembering = [name for name in names if name.endswith(SUFFIX)]
    if remembering:  # before the long work: are there years enough?
        reference = reference_of(ds, every=step)
        require_variables(reference, ("tsl",), step=f"fit {remembering[0]!r}")
        early, late = rehearsal(reference, training_period(reference, train, step=step), step=step)
    made: dict[str, Fitted] = dict(_fit_parts(ds, names, horizon, train, common))
    if remembering:
        observed = reference["tsl"].compute() - FREEZING_POINT
        for base, tried in _fit_parts(ds, remembering, horizon, early, common).items():
            damping = learn_damping(observed - tried.predict(reference).compute(), late, step=step)
            made[f"{base}{SUFFIX}"] = PersistenceModel(model=made[base], damping=damping)
    return [made[name] for name in names]


def _fit_parts(
    ds: xr.Dataset,
    names: Sequence[str],
    horizon: int,
    train: Period | str | None,
    common: dict[str, Any],
) -> dict[str, FittedModel | HybridModel]:
    """Networks and hybrids by name, without their persistence."""
    bases = list(dict.fromkeys(name.removesuffix(SUFFIX) for name in names))
    alone = [name for name in bases if not name.startswith(PREFIX)]
    made: dict[str, FittedModel | HybridModel] = {}
    if alone:
        fits = fit_many(ds, alone, horizon=horizon, train=train, **common)
        made.update(zip(alone, fits, strict=True))
    for name in bases:
        if name not in made:
            made[name] = fit_hybrid(ds, architecture(name), train=train, **common)
    return made


def load_model(path: str | os.PathLike[str]) -> Fitted:
    """Load a network or hybrid that its ``save`` wrote; predictions are bit-equal.

    Nothing in the file is executed. A network of your own is found by its name: register it
    first with :func:`xpermafrost.register_model`.

    Raises
    ------
    CheckpointError
        If the file is truncated, edited, pickled or foreign.
    UnknownNameError
        If the architecture is not registered.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=6)
    >>> model = fit_persistence(ds, "gru", length=12, config=TrainingConfig(epochs=2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/gru.xpm")
    ...     again = load_model(f"{folder}/gru.xpm")
    >>> again.predict(ds).identical(model.predict(ds))
    True
    """
    meta, arrays, datasets = read_archive(path)
    if "parts" not in meta:
        return fitted.load_model(path)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / Path(path).name
        part.write_bytes(arrays[PART].tobytes())
        inner = load_model(part)
    if meta["parts"] == "persistence":
        return PersistenceModel(model=inner, damping=datasets["damping"])
    if not isinstance(inner, FittedModel):
        raise CheckpointError(f"{str(path)!r} holds a {meta['parts']} around no network.")
    spec = WindowSpec(**{**meta["spec"], "features": tuple(meta["spec"]["features"])})
    name, state = meta["baseline"], unpack(meta["state"], arrays, datasets)
    column = FittedBaseline(name=name, spec=spec, state=state, run=BASELINES[name][1])
    own = datasets["hybrid"]
    return HybridModel(column=column, net=inner, course=own["course"], share=own["share"])


def _with_column(ds: xr.Dataset, answer: xr.DataArray) -> xr.Dataset:
    own = (answer + FREEZING_POINT).pipe(without_attrs).assign_attrs(units="K")
    keep = [n for n in ds.data_vars if TIME not in ds[n].dims or n != COLUMN]
    return ds[keep].assign({COLUMN: own})


__all__ = [
    "Fitted",
    "HybridModel",
    "PersistenceModel",
    "architecture",
    "fit_hybrid",
    "fit_named",
    "fit_persistence",
    "load_model",
]
