"""Writing files so that nothing is overwritten silently and nothing is half-written."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputExistsError


def refuse_taken(target: Path, *, overwrite: bool) -> None:
    """Raise where something is there that may not be replaced, or no folder is to hold it."""
    if target.exists() and not overwrite:
        raise OutputExistsError(
            f"{str(target)!r} exists and is not overwritten silently; "
            "remove it, choose another path, or pass overwrite=True."
        )
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {str(target.parent)!r} for {target.name!r} does not exist; create it."
        )


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; move it there on success, remove it on failure.

    Parameters
    ----------
    path : path-like
        Where the finished file shall be.
    overwrite : bool, default False
        Replace an existing file; otherwise it is an error, raised before anything is written.

    Raises
    ------
    OutputExistsError
        If ``path`` exists and ``overwrite`` is False.
    FileNotFoundError
        If the folder of ``path`` does not exist.
    """
    target = Path(path)
    refuse_taken(target, overwrite=overwrite)
    # The suffix stays last: writers choose the format by it.
    temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}.partial{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
