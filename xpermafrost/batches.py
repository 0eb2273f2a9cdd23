"""Batches of windows, gathered in place: what the training reads, and a loop of one's own.

A window is a row of a strided view of one contiguous ``(location, time, feature)`` array; a batch
gathers some rows, and nothing else is copied. What is larger than memory is read in blocks of
places, each once a pass; of each block the windows are gathered in the same way.

Two orders by chance: all windows that are in memory, or those of some places at a time (``block``
of :class:`~xpermafrost.TrainingConfig`), which stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from ._block_batches import InBlocks
from ._block_preparation import BlockPrepared, prepare_blocks
from ._block_reading import feature_count, needs_blocks
from ._checks import choose, require_variables
from ._gathering import Batch, InMemory, Source, WindowData, generator_of
from ._training_config import TrainingConfig
from .errors import DataError
from .experiment import reference_of
from .features import default_features, needed_variables
from .preparation import Period, Prepared, prepare
from .schema import LAYER, location_dims
from .windows import WindowSpec


class WindowBatches:
    """``(x, y)`` batches of training windows, shuffled anew in each pass.

    ``x (window, step, feature)`` and ``y (window, layer)`` are float32 tensors, scaled by
    statistics of the training years; a missing target is NaN. Any loop takes them, and Lightning's
    ``Trainer.fit(model, batches)``. The seed decides the order of every pass.

    Parameters
    ----------
    source : Source
        From :func:`window_batches`, or :class:`InMemory` of one's own arrays.
    batch_size : int
    order : {"shuffled", "stored"}
        By chance, or place by place in the order of time (of what is in memory).
    seed : int
    prepared : Prepared or BlockPrepared, optional
        What the source was made of: :attr:`scaler`, :attr:`info`.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> batches = window_batches(canonical(years=5), length=12, batch_size=32)
    >>> x, y = next(iter(batches))
    >>> len(batches), tuple(x.shape), tuple(y.shape)
    (4, (32, 12, 7), (32, 4))
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int = 128,
        order: str = "shuffled",
        seed: int = 0,
        prepared: Prepared | BlockPrepared | None = None,
    ) -> None:
        choose("order", order, ("shuffled", "stored"))
        if order == "stored" and not isinstance(source, InMemory):
            raise DataError(
                "windows are read as stored from memory only; type order='shuffled', or load "
                "the Dataset first: ds.load()."
            )
        if batch_size < 1:
            raise DataError(f"batch_size must be positive; got {batch_size}.")
        self.source, self.batch_size, self.order, self.seed = source, batch_size, order, seed
        self._prepared, self._passes = prepared, 0

    def __len__(self) -> int:
        """Batches of the pass that comes."""
        return -(-self.source.windows(self._passes) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        number, self._passes = self._passes, self._passes + 1
        return self._pairs(self.epoch(number))

    def _pairs(self, batches: Iterator[Batch]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for x, _, y, weight in batches:
            yield x, y if self.source.complete else y.masked_fill(weight == 0, torch.nan)

    def epoch(self, number: int) -> Iterator[Batch]:
        """All of the batches of the pass ``number``: places and weights as well."""
        if isinstance(self.source, InMemory) and self.order == "stored":
            return self.source.stored(self.batch_size)
        return self.source.epoch(number, self.batch_size, generator=generator_of(self.seed, number))

    def validation(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """``(x, y)`` of the last ``validation_years`` of the training years."""
        return self._pairs(self.source.validation(self.batch_size))

    @property
    def scaler(self) -> xr.Dataset:
        """Statistics of the training years, see :func:`xpermafrost.scaling.fit_scaler`."""
        return self._known().scaler

    @property
    def info(self) -> dict[str, Any]:
        """Training years, numbers of windows, how they are read."""
        return self._known().info

    def _known(self) -> Prepared | BlockPrepared:
        if self._prepared is None:
            raise DataError("batches of plain arrays have no scaler; use xp.window_batches(ds).")
        return self._prepared


def prepare_windows(
    ds: xr.Dataset,
    spec: WindowSpec,
    *,
    train: Period | str | None,
    config: TrainingConfig,
    norms: xr.Dataset | None = None,
) -> Prepared | BlockPrepared:
    """Windows in memory, or in blocks where dask-backed data or the draw of places ask for them.

    ``info["reading"]`` tells which.
    """
    names = ["tsl", *needed_variables(spec.features)]
    require_variables(ds, names, step="fit")
    places = [str(d) for d in location_dims(ds[names])]
    width = feature_count(ds, spec.features)
    cells = int(np.prod([ds.sizes[d] for d in places]))
    drawn = config.locations_per_epoch
    options: dict[str, Any] = {
        "train": train,
        "transform": config.target,
        "validation_years": config.validation_years,
        "recency_years": config.recency_years,
        "norms": norms,
    }
    lazy = LAYER in ds["tsl"].dims and needs_blocks(ds, names, places, width, config.memory)
    if lazy or (drawn is not None and drawn < cells):
        return prepare_blocks(ds, spec, memory=config.memory, **options)
    return prepare(ds, spec, **options)


def window_batches(
    ds: xr.Dataset,
    *,
    train: Period | str | None = None,
    step: str = "month",
    length: int | None = None,
    horizon: int = 0,
    features: Sequence[str] | None = None,
    batch_size: int = 128,
    order: str = "shuffled",
    seed: int = 0,
    config: TrainingConfig | None = None,
    device: str = "cpu",
) -> WindowBatches:
    """Batches ``(x, y)`` of training windows for a loop of one's own, as :func:`fit` reads them.

    Data that fit ``config.memory`` are read once; dask-backed data beyond it in blocks of places,
    each once a pass, in an order by chance, the next one while the last is learned.

    Parameters
    ----------
    ds : Dataset
        Canonical forcing and ``tsl (location..., layer, time)`` [K], or an experiment Dataset.
    train, step, length, horizon, features
        As for :func:`xpermafrost.fit`.
    batch_size : int
    order : {"shuffled", "stored"}
        By chance, anew in each pass; or place by place in the order of time (in memory only).
    seed : int
        Decides the order of every pass.
    config : TrainingConfig, optional
        Of it: ``memory``, ``block``, ``locations_per_epoch``, ``target``, ``validation_years`` and
        ``recency_years``.
    device : str
        Where the tensors are.

    Returns
    -------
    WindowBatches
        Iterate over it as often as there are epochs; ``validation()`` has the windows held out.

    Raises
    ------
    MissingVariableError, UnitsError, TimeAxisError, DataError, DimensionError
        If the data cannot carry the training; the message says what to type.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> batches = window_batches(canonical(years=5), features=["tas", "snd"], length=12)
    >>> sum(len(x) for x, y in batches)         # 3 bands x 37 months with a year before them
    111
    """
    config = config or TrainingConfig()
    ds = reference_of(ds, every=step)
    spec = WindowSpec(
        length=length,  # type: ignore[arg-type]
        horizon=horizon,
        features=tuple(features or default_features(ds, step=step)),
        step=step,
    )
    prepared = prepare_windows(ds, spec, train=train, config=config)
    source = source_of(prepared, config, seed=seed, device=device)
    return WindowBatches(source, batch_size=batch_size, order=order, seed=seed, prepared=prepared)


def source_of(
    prepared: Prepared | WindowData | BlockPrepared,
    config: TrainingConfig,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> Source:
    """Where the batches come from: memory, or blocks of places."""
    if isinstance(prepared, BlockPrepared):
        return InBlocks(prepared, config, seed=seed, device=device)
    data = prepared if isinstance(prepared, WindowData) else WindowData.of(prepared)
    return InMemory(data, device=device, block=config.block)


__all__ = ["Batch", "InMemory", "WindowBatches", "WindowData", "window_batches"]
