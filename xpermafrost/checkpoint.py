"""One file of arrays and JSON: written whole, checked on reading, never executing anything.

The format is a zip of ``.npy`` arrays (readable by :func:`numpy.load` without pickle) and a
``meta.json``. Datasets are taken apart into arrays and put together again bit-equal.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ._files import atomic_path
from .errors import CheckpointError

FORMAT = "xpermafrost-model"
#: Mark of a training that was interrupted, see :mod:`xpermafrost._training_state`.
TRAINING = "xpermafrost-training"
VERSION = 1
_META = "meta.json"


def write_archive(
    path: str | os.PathLike[str],
    *,
    meta: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    datasets: Mapping[str, xr.Dataset],
    overwrite: bool = False,
    mark: str = FORMAT,
) -> None:
    """Write meta, arrays and Datasets to one file; ``mark`` says what kind of file it is.

    Raises
    ------
    OutputExistsError
        If the path exists and ``overwrite`` is False.
    """
    flat = dict(arrays)
    described: dict[str, Any] = {}
    for key, ds in datasets.items():
        described[key], parts = _take_apart(ds)
        flat.update({f"{key}/{name}": values for name, values in parts.items()})
    body = {"format": mark, "version": VERSION, "meta": dict(meta), "datasets": described}
    text = json.dumps({**body, "digest": _digest(body, flat)}, indent=1)
    with (
        atomic_path(path, overwrite=overwrite) as temporary,
        zipfile.ZipFile(temporary, "w") as file,
    ):
        file.writestr(_META, text)
        for name, values in flat.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(values), allow_pickle=False)
            file.writestr(f"{name}.npy", buffer.getvalue())


def read_archive(
    path: str | os.PathLike[str], *, mark: str = FORMAT
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, xr.Dataset]]:
    """Read what :func:`write_archive` wrote.

    Raises
    ------
    CheckpointError
        If the file is truncated, edited, pickled, foreign, or of a newer format.
    FileNotFoundError
        If there is no such file.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"no model file at {os.fspath(path)!r}.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if _META not in names:
                raise CheckpointError(_foreign(path, f"it has no {_META}"))
            content = json.loads(archive.read(_META))
            flat = {
                name.removesuffix(".npy"): np.lib.format.read_array(
                    io.BytesIO(archive.read(name)), allow_pickle=False
                )
                for name in names
                if name.endswith(".npy")
            }
    except zipfile.BadZipFile as error:
        raise CheckpointError(_foreign(path, f"not a whole zip file: {error}")) from error
    except CheckpointError:
        raise
    # what zipfile, zlib and numpy raise on damaged bytes (RuntimeError: "is encrypted")
    except (ValueError, EOFError, RuntimeError, IsADirectoryError, zlib.error) as error:
        raise CheckpointError(_foreign(path, str(error))) from error
    _verify(path, content, flat, mark)
    datasets = {
        key: _put_together(described, flat, key) for key, described in content["datasets"].items()
    }
    prefixes = tuple(f"{key}/" for key in datasets)
    arrays = {name: values for name, values in flat.items() if not name.startswith(prefixes)}
    return content["meta"], arrays, datasets


def _verify(path: object, content: Any, flat: dict[str, np.ndarray], mark: str) -> None:
    found = content.get("format") if isinstance(content, dict) else None
    if found == TRAINING != mark:
        raise CheckpointError(
            f"{str(path)!r} is the checkpoint of a training, not a model. Go on with it: "
            "xp.fit(..., checkpoint=path, resume=True), then fitted.save(path)."
        )
    if found != mark:
        raise CheckpointError(_foreign(path, "its format mark is missing"))
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{str(path)!r} has format version {content.get('version')}, this xpermafrost reads "
            f"{VERSION}. Install the version that wrote it, or fit again."
        )
    body = {key: value for key, value in content.items() if key != "digest"}
    if content.get("digest") != _digest(body, flat):
        raise CheckpointError(
            f"{str(path)!r} was changed after it was written: its checksum does not fit. "
            "Nothing was loaded; fit again or fetch an intact copy."
        )


def _foreign(path: object, why: str) -> str:
    return (
        f"{str(path)!r} is not an intact xpermafrost model ({why}). Models are written by "
        "fitted.save(path); pickles and torch files are never opened."
    )


def _digest(body: Mapping[str, Any], flat: Mapping[str, np.ndarray]) -> str:
    total = hashlib.sha256(json.dumps(body, sort_keys=True).encode())
    for name in sorted(flat):
        values = np.ascontiguousarray(flat[name])
        total.update(f"{name}{values.dtype.str}{values.shape}".encode())
        total.update(values.tobytes())
    return total.hexdigest()


def _take_apart(ds: xr.Dataset) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    described: dict[str, Any] = {"attrs": _plain(ds.attrs), "variables": {}}
    parts = {}
    for name, var in ds.variables.items():
        values = var.values
        if values.dtype == object or values.dtype.kind == "T":
            values = values.astype("U")
        row = {
            "dims": list(var.dims),
            "attrs": _plain(var.attrs),
            "coord": name in ds.coords,
            "dtype": values.dtype.str,
        }
        described["variables"][str(name)] = row
        parts[str(name)] = values.view("int64") if values.dtype.kind in "mM" else values
    return described, parts


def _put_together(described: Any, flat: dict[str, np.ndarray], key: str) -> xr.Dataset:
    data: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    for name, row in described["variables"].items():
        values = flat[f"{key}/{name}"]
        if np.dtype(row["dtype"]).kind in "mM":
            values = values.view(row["dtype"])
        (coords if row["coord"] else data)[name] = (tuple(row["dims"]), values, row["attrs"])
    return xr.Dataset(data, coords=coords, attrs=described["attrs"])


def _plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(key): value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for key, value in attrs.items()
    }
