"""Runs of days along the last axis."""

from __future__ import annotations

import numpy as np


def runs_of(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, first and one past last index of every run of True in ``mask (row, time)``.

    Examples
    --------
    >>> [a.tolist() for a in runs_of(np.array([[True, True, False, True]]))]
    [[0, 0], [0, 3], [2, 4]]
    """
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), dtype="int8")
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1)
    row, begin = np.nonzero(change == 1)
    return row, begin, np.nonzero(change == -1)[1]


def close_gaps(mask: np.ndarray, known: np.ndarray, gap: int) -> np.ndarray:
    """``mask`` with interruptions of up to ``gap`` known days between two runs closed."""
    if gap == 0:
        return mask
    row, begin, end = runs_of(~mask)
    inner = (begin > 0) & (end < mask.shape[1]) & (end - begin <= gap)
    missing = np.concatenate([np.zeros((len(mask), 1), int), np.cumsum(~known, axis=1)], axis=1)
    inner &= missing[row, end] == missing[row, begin]
    return mask | (paint(mask.shape, row[inner], begin[inner], end[inner], 1) > 0)


def paint(
    shape: tuple[int, ...],
    row: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    value: np.ndarray | int,
) -> np.ndarray:
    """An int8 array of 0 with ``value`` on every run; the runs do not touch.

    Examples
    --------
    >>> one = np.array([0]), np.array([1]), np.array([3])
    >>> paint((1, 4), *one, 2).tolist()
    [[0, 2, 2, 0]]
    """
    change = np.zeros((shape[0], shape[1] + 1), dtype="int8")
    change[row, begin] = value
    change[row, end] -= np.asarray(value, dtype="int8")
    return np.cumsum(change[:, :-1], axis=1, dtype="int8")
