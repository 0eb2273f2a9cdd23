"""The order of values from one sort of integers."""

from __future__ import annotations

import numpy as np
import pytest

from xpermafrost._quantile_sorting import order_of

SMALLEST = np.finfo("float32").smallest_subnormal


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_order_sorts_every_kind_of_number_with_nan_last(dtype):
    rng = np.random.default_rng(0)
    values = rng.normal(0.0, 1e3, size=(3, 4, 900)).astype(dtype)
    values[0] = values[0].round(-2)  # ties
    values[1, :, ::7] = np.nan
    values[1, :, 1::7] = -np.nan
    values[2, :, :8] = [0.0, -0.0, np.inf, -np.inf, SMALLEST, -SMALLEST, 3e38, -3e38]
    before = values.copy()
    order = order_of(values)
    found = np.take_along_axis(values, order, axis=-1)
    np.testing.assert_array_equal(found, np.sort(before, axis=-1))
    np.testing.assert_array_equal(np.sort(order, axis=-1), np.arange(900) + 0 * order)
    np.testing.assert_array_equal(values, before)


def test_both_zeros_are_equal():
    values = np.array([[[0.0, -0.0, 0.0, -0.0]]], "float32")
    np.testing.assert_array_equal(order_of(values), [[[0, 1, 2, 3]]])
