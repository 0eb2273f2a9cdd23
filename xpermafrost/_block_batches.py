"""Batches of windows that do not fit the memory: pools of places, each read once an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain

import numpy as np
import torch

from ._block_preparation import BlockPrepared, Pick
from ._block_reading import ahead
from ._gathering import Batch, Gatherer, WindowData, generator_of, shuffled
from ._training_config import TrainingConfig
from .preparation import split_windows
from .schema import TIME

#: Units of places, at least, that an epoch of ``locations_per_epoch`` is drawn from.
SPREAD = 8


class InBlocks:
    """Batches of an epoch, from units of places read in an order by chance.

    The order follows from the seed and the number of the epoch alone; so an epoch can be entered
    anywhere, and what was passed is not read again. A thread reads the next pool meanwhile.
    """

    complete = False

    def __init__(
        self, prepared: BlockPrepared, config: TrainingConfig, *, seed: int, device: str = "cpu"
    ) -> None:
        self.prepared, self.config = prepared, config
        self.seed, self.device = seed, device
        self.sizes = prepared.sizes
        self.plan = lru_cache(maxsize=2)(self._plan)
        self._held_out: tuple[Gatherer, torch.Tensor] | None = None

    def windows(self, number: int) -> int:
        return sum(self._counts(self.plan(number)))

    def epoch(
        self, number: int, size: int, *, generator: torch.Generator, skip: int = 0
    ) -> Iterator[Batch]:
        pools = self.plan(number)
        ends = np.cumsum(self._counts(pools))
        first = int(np.searchsorted(ends, skip * size, side="right"))
        passed = skip * size - (int(ends[first - 1]) if first else 0)
        held: Batch | None = None
        data = ahead(self._read, pools[first:])
        for k, windows in enumerate(data, start=first):
            gatherer = Gatherer(windows, self.device)
            order = shuffled(
                windows.training,
                windows.location[windows.training],
                block=self.config.block,
                generator=generator_of(self.seed, number, k),
            )[passed:]
            passed = 0
            first_piece = 0 if held is None else size - len(held.x)
            parts = (
                gatherer.batches(order[:first_piece], size),
                gatherer.batches(order[first_piece:], size),
            )
            for batch in chain(*parts):
                held = batch if held is None else _joined(held, batch)
                if len(held.x) == size:
                    yield held
                    held = None
            del windows, gatherer  # before the next pool comes
        if held is not None:
            yield held

    def validation(self, size: int) -> Iterator[Batch]:
        """Of as many units as fit the memory, drawn once: the same windows in every epoch."""
        if not self.prepared.validation.any():
            return
        if self._held_out is None:
            self._held_out = self._read_validation()
        gatherer, numbers = self._held_out
        yield from gatherer.batches(numbers, size)

    def _plan(self, number: int) -> list[list[Pick]]:
        """Pools of the epoch ``number``."""
        prepared, wanted = self.prepared, self.config.locations_per_epoch
        rng = np.random.default_rng((self.seed, number))
        units = [prepared.units[k] for k in rng.permutation(len(prepared.units))]
        if wanted is None:
            return prepared.pools([Pick(unit, np.arange(unit.ids.size)) for unit in units])
        sizes = np.array([unit.ids.size for unit in units])
        reach = max(SPREAD, int(np.searchsorted(sizes.cumsum(), wanted)) + 1)
        units, sizes = units[:reach], sizes[:reach]
        # every place of these units has the same chance, whatever the size of its unit
        counts = rng.multivariate_hypergeometric(sizes, min(wanted, int(sizes.sum())))
        picks = [
            Pick(unit, np.sort(rng.choice(unit.ids.size, count, replace=False)))
            for unit, count in zip(units, counts, strict=True)
            if count
        ]
        return prepared.pools(picks)

    def _counts(self, pools: Sequence[Sequence[Pick]]) -> list[int]:
        count = self.prepared.training
        return [sum(int(count[p.unit.ids[p.some]].sum()) for p in pool) for pool in pools]

    def _read(self, pool: Sequence[Pick]) -> WindowData:
        prepared = self.prepared
        windows, target = prepared.read(pool)
        values = target[windows.location, windows.end]
        training, validation = split_windows(
            prepared.ds[TIME], windows, values, prepared.period, prepared.validation_years
        )
        ids = np.concatenate([pick.unit.ids[pick.some] for pick in pool])
        return WindowData(
            windows.cube,
            windows.rows,
            ids[windows.location],
            values,
            prepared.weight[windows.end],
            training,
            validation,
            prepared.spec.length,
        )

    def _read_validation(self) -> tuple[Gatherer, torch.Tensor]:
        """The validation windows of the first pool of units in an order by chance."""
        prepared = self.prepared
        rng = np.random.default_rng(self.seed)
        units = [prepared.units[k] for k in rng.permutation(len(prepared.units))]
        known = [np.flatnonzero(prepared.validation[unit.ids]) for unit in units]
        picks = [Pick(unit, some) for unit, some in zip(units, known, strict=True) if some.size]
        data = _later(self._read(prepared.pools(picks)[0]))
        return Gatherer(data, self.device), torch.from_numpy(data.validation)


def _later(data: WindowData) -> WindowData:
    """The same without the years before the validation windows; numbers stay as they are."""
    n_time = data.cube.shape[1]
    place, start = np.divmod(data.rows, n_time)
    first = int(start[data.validation].min())
    cube = np.ascontiguousarray(data.cube[:, first:])
    return replace(data, cube=cube, rows=place * (n_time - first) + start - first)


def _joined(one: Batch, two: Batch) -> Batch:
    return Batch(*(torch.cat(parts) for parts in zip(one, two, strict=True)))
