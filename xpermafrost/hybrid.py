"""A network that learns what the calibrated soil column leaves over.

The column brings the physics: freezing, snow, memory, and an answer to climates that no
training year has seen. The network, given forcing and the column's own answer, learns the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr
from torch import nn

from ._checks import require_variables, step_name
from .baselines import FittedBaseline, fit_baseline
from .errors import DataError
from .experiment import reference_of
from .features import default_features
from .fitted import FittedModel
from .preparation import Period, training_period
from .products import soil_temperature
from .schema import FREEZING_POINT, TIME
from .training import TrainingConfig, fit, fit_many
from .windows import WindowSpec

#: The column's answer as a variable [K] that the network reads, one feature a layer.
COLUMN = "tsl_column"

#: Names of hybrids in ``evaluate`` and ``project`` begin so.
PREFIX = "column+"


@dataclass(frozen=True, kw_only=True)
class HybridModel:
    """The soil column, and a network on its residual; made by :func:`fit_hybrid`.

    Attributes
    ----------
    column : FittedBaseline
    net : FittedModel
        Its target is the residual of the column, shifted to 273.15 K.
    """

    column: FittedBaseline
    net: FittedModel

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

        Parameters and errors are those of :meth:`FittedModel.predict`. Computes dask arrays.
        """
        column = self.column.predict(ds)
        rest = self.net.predict(_with_column(ds, column), members=members, device=device)
        kelvin = (column + rest + FREEZING_POINT).transpose(*rest.dims)
        return soil_temperature(kelvin, model=self.id, source=rest.attrs.get("source"))

    def outside_training_range(self, ds: xr.Dataset) -> xr.DataArray:
        """As :meth:`FittedModel.outside_training_range`, the column's answer among the inputs."""
        return self.net.outside_training_range(_with_column(ds, self.column.predict(ds)))


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
    answer = column.predict(reference)
    rest = reference["tsl"] - answer  # [K] - [degC]: around the freezing point in K
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
    return HybridModel(column=column, net=net)


#: What a training returns.
Fitted = FittedModel | HybridModel


def architecture(name: str) -> str:
    """Name of the network in ``"gru"`` or ``"column+gru"``.

    Examples
    --------
    >>> architecture("column+gru")
    'gru'
    """
    return name.removeprefix(PREFIX)


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
    device: str,
    jobs: int | None,
    progress: bool | None,
) -> list[Fitted]:
    """Train networks side by side, and hybrids (``"column+gru"``) after them, in their order."""
    hybrids = [name for name in names if name.startswith(PREFIX)]
    if hybrids and horizon:
        raise DataError(
            f"{hybrids[0]!r} reads the month that it answers; horizon={horizon} does not. "
            "Leave it out, or type horizon=0."
        )
    common: dict[str, Any] = {
        "train": train,
        "step": step,
        "length": length,
        "features": features,
        "members": members,
        "seed": seed,
        "config": config,
        "device": device,
        "jobs": jobs,
        "progress": progress,
    }
    alone = [name for name in names if name not in hybrids]
    made: dict[str, Fitted] = {}
    if alone:
        made.update(zip(alone, fit_many(ds, alone, horizon=horizon, **common), strict=True))
    for name in hybrids:
        made[name] = fit_hybrid(ds, architecture(name), **common)
    return [made[name] for name in names]


def _with_column(ds: xr.Dataset, answer: xr.DataArray) -> xr.Dataset:
    own = (answer + FREEZING_POINT).drop_attrs().assign_attrs(units="K")
    keep = [n for n in ds.data_vars if TIME not in ds[n].dims or n != COLUMN]
    return ds[keep].assign({COLUMN: own})


__all__ = ["Fitted", "HybridModel", "architecture", "fit_hybrid", "fit_named"]
