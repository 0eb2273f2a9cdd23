"""The closed solutions against what defines them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xpermafrost.errors import DataError
from xpermafrost.physics import analytic

THAW = {
    "surface": 5.0,
    "initial": -2.0,
    "conductivity_above": 1.2,
    "conductivity_below": 2.0,
    "heat_capacity_above": 2.6e6,
    "heat_capacity_below": 1.9e6,
    "latent_heat": 1.2e8,
}


def test_wave_obeys_the_heat_equation():
    a, z, t, dz, dt = 8e-7, 1.3, 5e6, 1e-3, 100.0

    def wave(depth, time):
        return analytic.harmonic_wave(depth, time, mean=-4, amplitude=12, diffusivity=a)

    change = (wave(z, t + dt) - wave(z, t - dt)) / (2 * dt)
    bend = (wave(z + dz, t) - 2 * wave(z, t) + wave(z - dz, t)) / dz**2
    assert change == pytest.approx(a * bend, rel=1e-4)
    assert wave(0.0, analytic.YEAR_SECONDS / 4) == pytest.approx(8.0)


def test_wave_at_the_damping_depth_is_one_over_e():
    depth = analytic.damping_depth(8e-7)
    time = np.linspace(0, analytic.YEAR_SECONDS, 3650)
    wave = analytic.harmonic_wave(depth, time, mean=0, amplitude=10, diffusivity=8e-7)
    assert wave.max() == pytest.approx(10 / math.e, rel=1e-5)


def test_neumann_balances_heat_at_its_front():
    solution = analytic.neumann(**THAW)
    t, eps, dt = 60 * 86400.0, 1e-5, 10.0
    front = solution.front(t)
    assert solution.temperature(front - 1e-9, t) == pytest.approx(0.0, abs=1e-6)
    assert solution.temperature(front + 1e-9, t) == pytest.approx(0.0, abs=1e-6)
    above = -1.2 * (0.0 - solution.temperature(front - eps, t)) / eps
    below = -2.0 * (solution.temperature(front + eps, t) - 0.0) / eps
    speed = (solution.front(t + dt) - solution.front(t - dt)) / (2 * dt)
    assert above - below == pytest.approx(1.2e8 * speed, rel=1e-3)


def test_neumann_reaches_stefan_where_only_latent_heat_counts():
    bare = THAW | {"initial": 0.0, "heat_capacity_above": 1.0e3}
    front = analytic.neumann(**bare).front(100 * 86400.0)
    stefan = analytic.stefan_depth(500.0, conductivity=1.2, latent_heat=1.2e8)
    assert float(front) == pytest.approx(float(stefan), rel=1e-3)


def test_neumann_freezes_as_it_thaws():
    mirrored = THAW | {"surface": -5.0, "initial": 2.0}
    assert analytic.neumann(**mirrored).eigenvalue == analytic.neumann(**THAW).eigenvalue


def test_neumann_refuses_temperatures_on_one_side():
    with pytest.raises(DataError, match="opposite sides of 0 degC; got 5 and 2"):
        analytic.neumann(**(THAW | {"initial": 2.0}))
