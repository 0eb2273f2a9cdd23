"""The errors and warnings of xpermafrost.

One root, :class:`PermafrostError`; each child is also the builtin a careful
caller would have caught (``ValueError``, ``KeyError``, ...). Every message says
what was needed, what was found and what to type.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PermafrostError(Exception):
    """Root of every error raised on purpose by xpermafrost."""


class _ReadableKeyError(PermafrostError, KeyError):
    def __str__(self) -> str:  # KeyError would show repr(message), with escaped quotes
        return str(self.args[0]) if self.args else ""


class MissingVariableError(_ReadableKeyError):
    """A variable that the step needs is not in the Dataset."""


class UnknownNameError(_ReadableKeyError):
    """A name (model, method, region set, ...) that is not registered."""


class ScenarioError(_ReadableKeyError):
    """A scenario that was asked for is absent, or scenarios do not fit together."""


class UnitsError(PermafrostError, ValueError):
    """Units are missing, unreadable or not those that the schema declares."""


class SourceError(PermafrostError, ValueError):
    """A variable's source or meaning is ambiguous, or its name and units disagree."""


class DimensionError(PermafrostError, ValueError):
    """A dimension is missing, unexpected, or chunked where it must be whole."""


class TimeAxisError(PermafrostError, ValueError):
    """Steps are duplicated, missing or unsorted, or not the months or days that are needed."""


class RegionError(PermafrostError, ValueError):
    """Regions are invalid, or do not fit the grid."""


class DataError(PermafrostError, ValueError):
    """The data cannot carry the step: all missing, too short, out of range."""


class LeakageError(PermafrostError, ValueError):
    """The requested split would let the model see what it is scored on."""


class ModelMismatchError(PermafrostError, ValueError):
    """A fitted model was given other regions, layers, features or units than its own."""


class NotFittedError(PermafrostError, ValueError, AttributeError):
    """A model or scaler was used before it was fitted."""


class CheckpointError(PermafrostError, ValueError):
    """A model file is truncated, edited, foreign or of another format."""


class OutputExistsError(PermafrostError, FileExistsError):
    """The output path exists; nothing is overwritten silently."""


class MissingDependencyError(PermafrostError, ImportError):
    """An optional package is needed for the step and cannot be imported."""


class PermafrostWarning(UserWarning):
    """Category of every warning raised by xpermafrost."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Build the error for a wrong name, with the close matches first.

    Parameters
    ----------
    kind : str
        What the name names ("model", "adjustment method", ...).
    name : object
        The name that was given.
    known : iterable of str
        The names that exist.

    Examples
    --------
    >>> str(unknown_name("model", "gur", ["gru", "tcn"]))
    "unknown model 'gur'; did you mean 'gru'? Known: 'gru', 'tcn'."
    """
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=2, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
    return UnknownNameError(f"unknown {kind} {name!r}{hint} Known: {', '.join(map(repr, names))}.")
