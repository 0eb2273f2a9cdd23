"""Parts of a model for its one file: the file of the network within, a baseline's state."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

from .errors import CheckpointError

#: Name of the array of bytes that is the file of the model within.
PART = "part"


class Saved(Protocol):
    """What has a file."""

    def save(self, path: str | os.PathLike[str]) -> None: ...


def file_of(model: Saved) -> np.ndarray:
    """The bytes that ``model.save`` writes, as an array."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PART
        model.save(path)
        return np.frombuffer(path.read_bytes(), dtype="uint8")


def from_bytes(load: Callable[[Path], Any], content: bytes) -> Any:
    """What ``load`` reads from a file of these bytes: how models are unpickled."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PART
        path.write_bytes(content)
        return load(path)


def pack(value: Any, arrays: dict[str, np.ndarray], datasets: dict[str, xr.Dataset]) -> Any:
    """A description for JSON; what it refers to is added to ``arrays`` and ``datasets``.

    Raises
    ------
    CheckpointError
        If something is neither labelled data, an array, a number nor a word: a fitted regressor.

    Examples
    --------
    >>> arrays, datasets = {}, {}
    >>> state = {"bounds": np.array([[0.0, 0.1]]), "names": ("tas", "snd")}
    >>> unpack(pack(state, arrays, datasets), arrays, datasets)["names"]
    ('tas', 'snd')
    """
    if isinstance(value, dict):
        return {"dict": {str(k): pack(v, arrays, datasets) for k, v in value.items()}}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [pack(v, arrays, datasets) for v in value]}
    if isinstance(value, np.ndarray):
        arrays[key := f"state_array_{len(arrays)}"] = value
        return {"array": key}
    if isinstance(value, xr.DataArray):
        key = _add(value.to_dataset(name="values"), datasets)
        return {"dataarray": key, "name": value.name}
    if isinstance(value, xr.Variable):
        return {"variable": _add(xr.Dataset({"values": value.to_base_variable()}), datasets)}
    if isinstance(value, xr.Dataset):
        return {"dataset": _add(value, datasets)}
    if isinstance(value, np.generic):
        return {"plain": value.item()}
    if value is None or isinstance(value, str | int | float):
        return {"plain": value}
    raise CheckpointError(f"a {type(value).__name__} is not saved: fit again where it is needed.")


def _add(ds: xr.Dataset, datasets: dict[str, xr.Dataset]) -> str:
    datasets[key := f"state_data_{len(datasets)}"] = ds
    return key


def unpack(
    described: dict[str, Any], arrays: dict[str, np.ndarray], datasets: dict[str, xr.Dataset]
) -> Any:
    """What :func:`pack` described."""
    kind, content = next(iter(described.items()))
    if kind == "dict":
        return {name: unpack(each, arrays, datasets) for name, each in content.items()}
    if kind in ("list", "tuple"):
        parts = [unpack(each, arrays, datasets) for each in content]
        return parts if kind == "list" else tuple(parts)
    if kind == "array":
        return arrays[content]
    if kind == "plain":
        return content
    if kind == "dataarray":
        return datasets[content]["values"].rename(described["name"])
    return datasets[content]["values"].variable if kind == "variable" else datasets[content]


__all__ = ["PART", "file_of", "from_bytes", "pack", "unpack"]
