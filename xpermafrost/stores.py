"""Zarr stores, written block by block in constant memory: whole, to be resumed, or absent."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import math
import os
import shutil
import sys
import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ._blocks import span_of
from ._cf import with_line
from ._files import refuse_taken
from ._memory import Peak, fitting, free
from ._optional import require
from .errors import DataError, OutputExistsError, PermafrostWarning
from .gis import to_cf
from .schema import location_dims

#: Blocks computed together, for each thread.
AT_ONCE = 4

Region = dict[str, slice]


def to_zarr(
    obj: xr.DataArray | xr.Dataset,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool | None = None,
) -> Path:
    """Write a Zarr store (format 2, CF-1.11), block by block: whole, or not at all.

    The blocks are the dask chunks; a few are computed and written at a time, by the scheduler
    that is set (threads, or the workers of ``dask.distributed``, which need the same folder).
    The store is built in the folder ``.NAME.unfinished`` beside its place and moved there at last.

    Parameters
    ----------
    obj : DataArray or Dataset
        As for :func:`xpermafrost.to_cf`, which is applied. Uneven chunks are made even.
    path : path-like
        Target; its folder must exist.
    overwrite : bool, default False
        Replace an existing store; begin an unfinished one anew.
    resume : bool, default False
        Go on with what a run before left unfinished, if there is any, and leave the blocks that
        are done if this one fails. The data must be the same: sizes, chunks, labels and attributes
        are compared, values cannot be.
    progress : bool, optional
        Show a progress bar; by default in a terminal only.

    Returns
    -------
    Path
        The store: ``xp.from_cf(xr.open_zarr(path))``.

    Raises
    ------
    OutputExistsError
        If ``path`` exists and ``overwrite`` is False; or an unfinished store of it, and neither
        ``resume`` nor ``overwrite`` says what to do with it; or another process writes it.
    FileNotFoundError
        If the folder does not exist.
    DataError
        If a block cannot be computed, named by its coordinates; or the unfinished store is of
        other data; or the workers of a cluster cannot hold a block of the answer.
    OSError
        If it cannot be written: a full disk. Without ``resume`` nothing is left behind.
    MissingDependencyError
        Without zarr.

    Warns
    -----
    PermafrostWarning
        If the threads together would take more memory than is free, by what the first block
        took: fewer blocks are computed at a time.

    Examples
    --------
    >>> import tempfile
    >>> from xpermafrost.testing import gridded
    >>> ds = gridded(years=2).chunk(lat=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = xr.open_zarr(to_zarr(ds[["tas"]], folder + "/tas.zarr"))
    ...     again["tas"].dims, again["tas"].chunks[1]
    (('time', 'lat', 'lon'), (1, 1, 1))
    """
    zarr = require("zarr", purpose="to_zarr", install="pip install 'xpermafrost[zarr]'")
    target = Path(path)
    refuse_taken(target, overwrite=overwrite)
    ds = _even(to_cf(obj))
    ds.attrs["history"] = with_line(ds.attrs.get("history"), f"to_zarr({target.name!r})")
    with _unfinished(target, ds, overwrite=overwrite, resume=resume) as folder:
        _write(ds, folder, target, progress)
        zarr.consolidate_metadata(folder / "store", zarr_format=2)
        _publish(folder / "store", target, aside=folder / "before")
    return target


def _publish(store: Path, target: Path, *, aside: Path) -> None:
    """Move the finished store to its place; what was there stays if that fails."""
    try:
        if target.exists():
            os.replace(target, aside)
        os.replace(store, target)
    except BaseException:  # an interruption too must leave what was there
        if aside.exists() and not target.exists():
            os.replace(aside, target)
        raise


def _even(ds: xr.Dataset) -> xr.Dataset:
    """Chunks of one size along each dimension, the last one smaller at most."""
    ds = ds.unify_chunks()
    uneven = {d: max(c) for d, c in ds.chunksizes.items() if len(set(c[:-1])) > 1 or c[-1] > c[0]}
    for name, da in ds.variables.items():
        if da.chunks is not None:  # those in memory stay there
            ds[name] = da.chunk({d: n for d, n in uneven.items() if d in da.dims})
            ds[name].encoding.pop("chunks", None)
            if not da.dims:
                ds[name] = ds[name].compute()
    return ds


@contextmanager
def _unfinished(target: Path, ds: xr.Dataset, *, overwrite: bool, resume: bool) -> Iterator[Path]:
    """The folder in which the store is built; it is gone afterwards, or there to be resumed."""
    from filelock import FileLock, Timeout

    folder = target.with_name(f".{target.name}.unfinished")
    if folder.exists() and not (resume or overwrite):
        raise OutputExistsError(
            f"{str(folder)!r} holds what a run before left unfinished of {target.name!r}. Go on "
            "with resume=True, begin anew with overwrite=True, or remove it."
        )
    folder.mkdir(exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            done = False
            try:
                _begin(folder, ds, resume=resume)
                yield folder
                done = True
            except OSError as error:
                raise _told(error, target) from error
            finally:
                if done or not resume:
                    shutil.rmtree(folder)
    except Timeout as error:
        raise OutputExistsError(
            f"another process is writing {str(target)!r}. Wait for it, or choose another path."
        ) from error


def _told(error: OSError, target: Path) -> OSError:
    if error.errno != errno.ENOSPC:
        return error
    free = shutil.disk_usage(target.parent).free / 1e9
    text = f"the disk is full: {str(target)!r} could not be written ({free:.1f} GB are free)"
    return OSError(errno.ENOSPC, text, str(target))


def _begin(folder: Path, ds: xr.Dataset, *, resume: bool) -> None:
    """Coordinates, attributes and the places of the data, unless a run before wrote them."""
    plan, wanted = folder / "plan.json", _plan(ds)
    if resume and plan.exists():
        found = json.loads(plan.read_text())
        other = [key for key in wanted if found.get(key) != wanted[key]]
        if other:
            raise DataError(
                f"{str(folder)!r} was begun with other data: its {', '.join(other)} differ. "
                "Begin anew with overwrite=True and resume=False."
            )
        return
    for old in folder.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
        elif old.name != "lock":
            old.unlink()
    (folder / "done").mkdir()
    ds.to_zarr(folder / "store", mode="w", compute=False, consolidated=False, zarr_format=2)
    plan.write_text(json.dumps(wanted))


def _plan(ds: xr.Dataset) -> dict[str, str]:
    """What a resumed run must have in common with the one before, as hashes."""
    lazy = {str(n): v for n, v in ds.variables.items() if v.chunks is not None}
    known = {str(n): v for n, v in ds.variables.items() if v.chunks is None}
    attrs = {k: v for k, v in ds.attrs.items() if k not in ("history", "xpermafrost_layout")}
    parts: dict[str, Any] = {
        "sizes and chunks": {n: [v.dims, v.shape, v.chunks, str(v.dtype)] for n, v in lazy.items()},
        "labels": {n: [v.dims, str(v.dtype), _digest(v.values)] for n, v in known.items()},
        "attributes": [attrs, {n: v.attrs for n, v in lazy.items()}],
    }
    return {
        key: hashlib.sha256(json.dumps(part, sort_keys=True, default=str).encode()).hexdigest()
        for key, part in parts.items()
    }


def _digest(values: np.ndarray) -> str:
    plain = values.astype(str) if values.dtype == object else np.ascontiguousarray(values)
    return hashlib.sha256(plain.tobytes()).hexdigest()


def _regions(ds: xr.Dataset) -> Iterator[Region]:
    """Every block: chunks along the dimensions that are split."""
    split = {str(d): np.cumsum((0, *c)).tolist() for d, c in ds.chunksizes.items()}
    axes = [[slice(a, b) for a, b in itertools.pairwise(edges)] for edges in split.values()]
    for slices in itertools.product(*axes):
        yield dict(zip(split, slices, strict=True))


def _write(ds: xr.Dataset, folder: Path, target: Path, progress: bool | None) -> None:
    """Compute and write the blocks that are not done, a few at a time."""
    from tqdm.auto import tqdm

    names = [name for name, da in ds.variables.items() if da.chunks is not None]
    if not names:
        return
    _check_workers(ds, names)
    blocks = list(enumerate(_regions(ds)))
    todo = [each for each in blocks if not (folder / "done" / str(each[0])).exists()]
    count = max(1, AT_ONCE * _threads())
    shown = sys.stderr.isatty() if progress is None else progress
    with (
        tqdm(
            total=len(blocks), initial=len(blocks) - len(todo), desc="blocks", disable=not shown
        ) as bar,
        ExitStack() as fewer,
    ):
        if len(todo) > 1 and _client() is None:  # what one block takes tells how many fit
            with Peak() as taken:
                _group(ds, names, todo[:1], folder, target)
            fewer.enter_context(_as_many_as_fit(taken.bytes, ds, target))
            todo = todo[1:]
            bar.update()
        for first in range(0, len(todo), count):
            some = todo[first : first + count]
            _group(ds, names, some, folder, target)
            bar.update(len(some))


def _group(
    ds: xr.Dataset,
    names: list[Hashable],
    some: Sequence[tuple[int, Region]],
    folder: Path,
    target: Path,
) -> None:
    """Some blocks together; if that fails, each has another chance, and is told from the others."""
    try:
        _compute(ds, names, some, folder)
        return
    except OSError:
        raise
    except Exception:
        left = [one for one in some if not (folder / "done" / str(one[0])).exists()]
    for number, region in left:
        try:
            _compute(ds, names, [(number, region)], folder)
        except OSError:
            raise
        except Exception as error:
            where = span_of(ds.isel(region), tuple(region))
            raise DataError(
                f"the block {where} of {str(target)!r} cannot be computed: "
                f"{type(error).__name__}: {error}{_hint(error, ds)}"
            ) from error


def _as_many_as_fit(each: int, ds: xr.Dataset, target: Path) -> AbstractContextManager[object]:
    """As many threads as the memory holds blocks of ``each`` bytes; fewer are told."""
    import dask

    threads, fit = _threads(), fitting(each)
    if fit >= threads:
        return nullcontext()
    warnings.warn(
        f"the first block of {target.name!r} took {each / 1e9:.1f} GB: {threads} threads would "
        f"take {threads * each / 1e9:.1f} GB, and {free() / 1e9:.1f} GB are free. {fit} at a time. "
        f"Smaller blocks keep every thread at work: type {_smaller(ds, fit / threads)}.",
        PermafrostWarning,
        stacklevel=4,
    )
    return dask.config.set(scheduler="threads", num_workers=fit, pool=None)


def _smaller(ds: xr.Dataset, part: float) -> str:
    """The line to type for blocks of that part of the size."""
    split = {d: c[0] for d, c in ds.chunksizes.items() if d in location_dims(ds) and c[0] > 1}
    if not split:
        return "ds.chunk(...) with fewer values a block"
    side = part ** (1 / len(split))
    return f"ds.chunk({', '.join(f'{d}={max(1, int(n * side))}' for d, n in split.items())})"


def _check_workers(ds: xr.Dataset, names: list[Hashable]) -> None:
    """Refuse a cluster whose workers cannot hold a block of the answer in every thread."""
    client = _client()
    if client is None:
        return
    chunks = {d: max(c) for d, c in ds.chunksizes.items()}
    block = sum(
        math.prod(chunks.get(d, n) for d, n in ds[name].sizes.items()) * ds[name].dtype.itemsize
        for name in names
    )
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    least = min(
        (w["memory_limit"] / w["nthreads"] for w in workers if w["memory_limit"]), default=0
    )
    if least and block > least:
        raise DataError(
            f"a worker of the cluster has {least / 1e9:.2g} GB a thread, and a block of the answer "
            f"alone is {block / 1e9:.2g} GB. Fewer workers, Client(n_workers=..., "
            f"threads_per_worker=1), or smaller blocks, {_smaller(ds, least / block / 4)}."
        )


def _hint(error: Exception, ds: xr.Dataset) -> str:
    """What to try where memory was short."""
    if not isinstance(error, MemoryError) and type(error).__name__ != "KilledWorker":
        return ""
    return f" Most often the memory was short: fewer workers, or {_smaller(ds, 0.25)}."


def _compute(
    ds: xr.Dataset, names: list[Hashable], some: Sequence[tuple[int, Region]], folder: Path
) -> None:
    import dask

    tasks = []
    for number, region in some:
        # what lacks a dimension of the blocks is written with the first along it
        mine = [
            name
            for name in names
            if all(d in ds[name].dims or cut.start == 0 for d, cut in region.items())
        ]
        part = ds[mine].isel(region)
        part = part.drop_vars([n for n in part.variables if n not in mine])
        cuts = {d: cut for d, cut in region.items() if d in part.dims}
        # fused with a lone block, what all blocks share would be sent with each
        with dask.config.set({"optimization.fuse.active": False}):
            written = part.to_zarr(
                folder / "store", region=cuts, compute=False, consolidated=False, zarr_format=2
            )
        tasks.append(dask.delayed(_mark)(written, str(folder / "done" / str(number))))
    dask.compute(*tasks)


def _mark(written: object, path: str) -> None:
    Path(path).touch()


def _client() -> Any:
    """The client of dask.distributed, if one is the scheduler."""
    import dask

    client: Any = getattr(dask.base.get_scheduler(), "__self__", None)
    return client if hasattr(client, "nthreads") else None


def _threads() -> int:
    """Threads of the scheduler that is set."""
    import dask

    client = _client()
    if client is not None:
        return sum(client.nthreads().values())
    for pool in (dask.config.get("scheduler", None), dask.config.get("pool", None)):
        if hasattr(pool, "_max_workers"):  # an executor
            return int(pool._max_workers)
    if dask.base.get_scheduler() in (dask.get, dask.local.get_sync):
        return 1
    return int(dask.config.get("num_workers", None) or dask.system.CPU_COUNT)


__all__ = ["to_zarr"]
