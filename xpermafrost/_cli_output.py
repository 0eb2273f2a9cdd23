"""What the command line writes: files, tables, and lines for people."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from ._cli_arguments import VECTOR
from ._scenario_places import is_gridded
from .errors import DimensionError, OutputExistsError, PermafrostWarning


def free(path: Path | None, overwrite: bool, *, inputs: Sequence[str] = ()) -> None:
    """Refuse a target before the work, not after it."""
    if path is None or path.is_dir():  # GeoTIFFs are named, and refused, when they are made
        return
    if path.resolve() in {Path(item).resolve() for item in inputs}:
        raise OutputExistsError(f"{str(path)!r} is read and would be replaced; choose another.")
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"{str(path)!r} exists and is not overwritten silently; remove it, choose another "
            "path, or pass --overwrite."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {str(path.parent)!r} does not exist; create it.")


def fits(path: Path, ds: xr.Dataset) -> None:
    """A grid is no set of outlines and the other way round; said before the training."""
    if path.is_dir() and not (is_gridded(ds) or {"y", "x"} <= set(ds.dims)):
        raise DimensionError(
            f"{str(path)!r} is a folder, which takes GeoTIFFs of a grid; these are means over "
            "regions, or stations. Type -o FILE.nc, or FILE.gpkg."
        )
    if path.suffix in VECTOR and is_gridded(ds):
        raise DimensionError(
            f"{path.name!r} takes regions or stations, and the data are a grid. Type --regions, "
            "or -o with FILE.nc or an existing folder for GeoTIFFs."
        )


def write(obj: xr.DataArray | xr.Dataset, path: Path, regions: Any, overwrite: bool) -> None:
    from .gis import to_geotiff, to_netcdf, to_vector

    if path.is_dir():
        files = to_geotiff(obj, path, overwrite=overwrite)
        show(f"wrote {len(files)} GeoTIFFs to {path}")
        return
    if path.suffix in VECTOR:
        to_vector(obj, path, regions, overwrite=overwrite)
    else:
        to_netcdf(obj, path, overwrite=overwrite)
    sizes = ", ".join(f"{name} {size}" for name, size in obj.sizes.items())
    show(f"wrote {path}: {sizes}")


def scores_text(scores: xr.Dataset) -> str:
    from .evaluation import scoreboard

    table = scoreboard(scores)
    return table.to_string(float_format="{:.2f}".format, na_rep="-", line_width=None)


def means_text(out: xr.DataArray) -> str:
    """Means over periods and places, of the uppermost and the deepest layer; none of a grid."""
    from .ensembles import period_means

    if {"lat", "lon"} <= set(out.dims):
        return "The means of a grid depend on its cells' areas: see --regions."
    means = period_means(out)
    over = [str(d) for d in means.dims if d not in ("scenario", "layer", "period")]
    means = means.mean(over).dropna("period", how="all")
    lines = [f"Means of whole years, {out.attrs['units']}, plain mean over {', '.join(over)}:"]
    for k in dict.fromkeys((0, means.sizes["layer"] - 1)):
        layer = means.isel(layer=k)
        frame = layer.drop_vars("layer").transpose("scenario", "period").to_pandas()
        text = frame.to_string(na_rep="-", float_format="{:.2f}".format)
        lines.append(f"depth {float(layer['depth']):.2f} m\n{text}")
    return "\n".join(lines) if means.sizes["period"] else "No period has ten whole years."


def show(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def tell(message: str) -> None:
    sys.stderr.write(f"xpermafrost: {' '.join(message.split())}\n")


def progress(what: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"... {what}\n")


@contextmanager
def warnings_in_a_line(*, everything: bool) -> Iterator[None]:
    """Our own warnings as a line of text; those of other packages with ``--debug`` only."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Any, category: Any, filename: str, lineno: int, *rest: Any) -> None:
            if issubclass(category, PermafrostWarning):
                tell(f"warning: {message}")
            elif everything:
                usual(message, category, filename, lineno)

        warnings.showwarning = show  # type: ignore[assignment]
        yield
