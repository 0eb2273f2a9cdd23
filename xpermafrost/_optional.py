"""Optional packages: import when needed, with a message that says what for."""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import MissingDependencyError


def require(module: str, *, purpose: str, install: str) -> ModuleType:
    """Import ``module`` or say why it is needed and what to type.

    The import is tried, not looked up: some packages are found and then fail
    (xesmf without ESMF).

    Parameters
    ----------
    module : str
        Dotted name to import.
    purpose : str
        What it is needed for, as in "figures".
    install : str
        The command to type.

    Raises
    ------
    MissingDependencyError
        If the import fails for whatever reason.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise MissingDependencyError(
            f"{purpose} needs the package {module!r}, which could not be imported "
            f"({type(error).__name__}: {error}). Install it: {install}"
        ) from error
