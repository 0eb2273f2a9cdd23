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


GROUND = {
    "conductivity_thawed": 1.0,
    "conductivity_frozen": 1.8,
    "heat_capacity_thawed": 2.8e6,
    "heat_capacity_frozen": 2.0e6,
    "latent_heat": 1.3e8,
}


def test_kudryavtsev_without_latent_heat_is_where_the_wave_stops_crossing_zero():
    dry = {n: 2.0e6 if "capacity" in n else 1.5 for n in GROUND} | {"latent_heat": 0.0}
    for mean in (-3.0, 3.0):  # thaw over permafrost and frost alike
        depth, table = analytic.kudryavtsev(mean, 12.0, **dry)
        expected = analytic.damping_depth(1.5 / 2.0e6) * math.log(4.0)
        assert float(depth) == pytest.approx(expected)
        assert float(table) == pytest.approx(mean)


def test_kudryavtsev_freezes_as_it_thaws():
    swapped = {
        name: GROUND[name.replace("thawed", "x").replace("frozen", "thawed").replace("x", "frozen")]
        for name in GROUND
    }
    thaw, below = analytic.kudryavtsev(-6.0, 15.0, **GROUND)
    frost, above = analytic.kudryavtsev(6.0, 15.0, **swapped)
    assert float(frost) == pytest.approx(float(thaw))
    assert float(above) == pytest.approx(-float(below))


@pytest.mark.parametrize(
    ("climate", "changes"),
    [
        ((-6.0, 15.0), {}),
        ((-10.0, 18.0), {"conductivity_thawed": 0.8, "latent_heat": 1.8e8}),
        ((-4.0, 14.0), {"conductivity_thawed": 1.5, "latent_heat": 0.7e8}),
    ],
)
def test_kudryavtsev_against_the_column(climate, changes):
    """Temperature within 0.05 K and thaw within 20 %, nearer than Stefan's."""
    from xpermafrost.physics import column

    (mean, swing), ground = climate, GROUND | changes
    edges = np.concatenate(
        [np.arange(0, 1.5, 0.025), 1.5 + 0.05 * np.cumsum(1.15 ** np.arange(25))]
    )
    day = np.arange(365 * 30) + 0.5
    surface = (mean + swing * np.sin(2 * np.pi * day / 365))[:, None].astype("float32")
    nodes = len(edges) - 1
    values = {**ground, "freezing_width": 0.005}
    soil = {name: np.full((nodes, 1), values[name]) for name in column.PROPERTIES}
    depth, table = analytic.kudryavtsev(mean, swing, **ground)
    run = column.solve(
        surface,
        np.zeros_like(surface),
        soil,
        column.enthalpy_of(np.full((nodes, 1), float(table)), soil),
        steps=np.ones(day.size, dtype="int64"),
        weights=np.eye(nodes),
        edges=edges,
    )
    thaw = float(run.thaw_depth[-365:, 0].max())
    middle = 0.5 * (edges[1:] + edges[:-1])
    annual = run.temperature[-365:, :, 0].mean(axis=0)
    assert float(table) == pytest.approx(np.interp(thaw, middle, annual), abs=0.05)
    assert 0.8 * thaw < float(depth) < thaw
    sums = float(surface[-365:].clip(0).sum())
    stefan = analytic.stefan_depth(
        sums, conductivity=ground["conductivity_thawed"], latent_heat=ground["latent_heat"]
    )
    assert abs(float(depth) - thaw) < abs(float(stefan) - thaw)


def test_kudryavtsev_where_the_surface_stays_on_one_side():
    depth, table = analytic.kudryavtsev(
        np.array([-20.0, 20.0, np.nan]), np.array([15.0, 15.0, 15.0]), **GROUND
    )
    np.testing.assert_array_equal(depth, [0.0, 0.0, np.nan])
    np.testing.assert_array_equal(table, [-20.0, 20.0, np.nan])


def test_ttop_is_the_surface_where_conductivities_are_equal():
    assert float(analytic.ttop(1000.0, 2825.0, conductivity_ratio=1.0)) == pytest.approx(-5.0)
    assert float(analytic.ttop(2825.0, 1000.0, conductivity_ratio=1.0)) == pytest.approx(5.0)


def test_ttop_permafrost_and_seasonal_frost_meet_at_zero():
    sums = analytic.ttop(np.array([999.0, 1000.0, 1001.0]), 600.0, conductivity_ratio=0.6)
    assert sums[0] < 0 < sums[2]
    np.testing.assert_allclose(sums, 0.0, atol=0.005)
    assert float(sums[2]) == pytest.approx(1.0 / 365)  # thawed ground conducts: not times 0.6


def test_ttop_n_factors_scale_the_air():
    by_factors = analytic.ttop(
        1000.0, 4000.0, conductivity_ratio=0.6, n_thawing=0.8, n_freezing=0.5, period=366.0
    )
    assert float(by_factors) == pytest.approx((0.6 * 800 - 2000) / 366)
