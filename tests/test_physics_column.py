"""The soil column against known answers, and what soil and snow properties promise."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xpermafrost.errors import DataError, DimensionError, TimeAxisError, UnknownNameError
from xpermafrost.physics import analytic, column, snow, soil

DAY = column.SECONDS_PER_DAY


def uniform(nodes, columns=1, **changes):
    values = {
        "heat_capacity_thawed": 2.6e6,
        "heat_capacity_frozen": 1.9e6,
        "conductivity_thawed": 1.2,
        "conductivity_frozen": 2.0,
        "latent_heat": 1.2e8,
        "freezing_width": 0.2,
    } | changes
    return {name: np.full((nodes, columns), value) for name, value in values.items()}


def run(surface, properties, edges, start, **options):
    """Every step of every node; ``surface`` is (step, column)."""
    resistance = options.pop("resistance", np.zeros_like(surface))
    return column.solve(
        surface,
        resistance,
        properties,
        column.enthalpy_of(start, properties),
        steps=options.pop("steps", np.ones(len(surface), int)),
        weights=np.eye(len(edges) - 1),
        edges=edges,
        **options,
    )


def neumann_error(dz, hours, days=120, width=1e-3):
    edges = np.concatenate([np.arange(0, 2.5, dz), 2.5 * 1.08 ** np.arange(0, 40)])
    nodes = edges.size - 1
    properties = uniform(nodes, freezing_width=width)
    solution = analytic.neumann(
        surface=5.0,
        initial=-2.0,
        conductivity_above=1.2,
        conductivity_below=2.0,
        heat_capacity_above=2.6e6,
        heat_capacity_below=1.9e6,
        latent_heat=1.2e8,
    )
    steps = days * 24 // hours
    surface = np.full((steps, 1), 5.0)
    start = np.full((nodes, 1), -2.0)
    result = run(surface, properties, edges, start, step_seconds=hours * 3600.0)
    # The front by its latent heat: what has thawed, not where 0 is interpolated.
    share = 1.0 + np.clip(result.enthalpy[:, 0], -1.2e8, 0) / 1.2e8
    frozen_start = column.enthalpy_of(start, properties)[:, 0]
    share -= 1.0 + np.clip(frozen_start, -1.2e8, 0) / 1.2e8
    front = float((share * np.diff(edges)).sum())
    profile = solution.temperature(0.5 * (edges[1:] + edges[:-1]), days * DAY)
    worst = np.abs(result.temperature[-1, :, 0] - profile).max()
    return front / float(solution.front(days * DAY)) - 1.0, worst


def test_neumann_front_within_one_per_cent():
    error, worst = neumann_error(dz=0.01, hours=6)
    assert abs(error) < 0.01
    assert worst < 0.1


def test_neumann_front_on_a_coarse_grid_with_daily_steps():
    error, _ = neumann_error(dz=0.04, hours=24)
    assert abs(error) < 0.02


def test_neumann_error_vanishes_with_step_and_grid():
    """With a sharp front the error falls to a tenth of a per cent, in first order of the step."""
    errors = [neumann_error(dz, hours, width=1e-5)[0] for dz, hours in ((0.02, 12), (0.01, 6))]
    errors.append(neumann_error(0.005, 3, width=1e-5)[0])
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.15)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(1.0, abs=0.15)
    assert abs(errors[2]) < 0.0015


def harmonic_errors(nodes_per_metre=20, steps_per_day=1):
    a, mean, amplitude = 2.0 / 1.9e6, -15.0, 10.0
    edges = np.linspace(0, 25, 25 * nodes_per_metre + 1)
    depth = 0.5 * (edges[1:] + edges[:-1])
    properties = uniform(depth.size, latent_heat=0.0, conductivity_thawed=2.0)
    dt = DAY / steps_per_day
    time = np.arange(1, 365 * 4 * steps_per_day + 1) * dt
    start = analytic.harmonic_wave(depth, 0.0, mean=mean, amplitude=amplitude, diffusivity=a)
    surface = analytic.harmonic_wave(0.0, time, mean=mean, amplitude=amplitude, diffusivity=a)
    result = run(surface[:, None], properties, edges, start[:, None], step_seconds=dt)
    year = 365 * steps_per_day
    angle = 2 * np.pi * time[-year:] / analytic.YEAR_SECONDS
    series = result.temperature[-year:, :, 0]
    found = 2 / year * (np.exp(-1j * angle) @ series)
    decay = depth / analytic.damping_depth(a)
    wanted = amplitude * np.exp(-decay) * np.exp(-1j * (decay + np.pi / 2))
    within = decay < 1.5
    amplitude_error = np.abs(np.abs(found) / np.abs(wanted) - 1)[within].max()
    phase_error = np.abs(np.angle(found / wanted))[within].max() / (2 * np.pi)
    return amplitude_error, phase_error


def test_harmonic_wave_amplitude_and_phase_within_one_per_cent():
    amplitude_error, phase_error = harmonic_errors()
    assert amplitude_error < 0.01
    assert phase_error < 0.01


def test_step_converges_in_first_order():
    errors = [harmonic_errors(nodes_per_metre=20, steps_per_day=n)[0] for n in (1, 2, 4)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 1.0, atol=0.05)


def test_grid_converges_in_second_order():
    """Means over fixed layers against the finest grid, at the same step."""

    def layer_means(nodes_per_metre):
        edges = np.linspace(0, 16, 16 * nodes_per_metre + 1)
        properties = uniform(edges.size - 1, latent_heat=0.0, conductivity_thawed=2.0)
        time = np.arange(1, 731) * DAY
        surface = analytic.harmonic_wave(0.0, time, mean=-15.0, amplitude=10.0, diffusivity=1e-6)
        start = np.full((edges.size - 1, 1), -15.0)
        result = run(surface[:, None], properties, edges, start, tolerance=1e-8)
        layers = column.layer_weights(edges, (0.0, 1.0, 2.0, 4.0))
        return result.temperature[-365:, :, 0] @ layers.T

    finest = layer_means(64)
    errors = [np.abs(layer_means(n) - finest).max() for n in (2, 4, 8)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 2.0, atol=0.25)


def seasonal(years, columns, seed=0):
    rng = np.random.default_rng(seed)
    day = np.arange(365 * years)
    season = -18 * np.cos(2 * np.pi * (day - 20) / 365)
    mean = np.linspace(-12, 4, columns)
    noise = rng.normal(0, 4, (day.size, columns))
    return season[:, None] + mean + noise


def test_heat_is_conserved_over_decades():
    edges = column.DEFAULT_EDGES
    properties = uniform(len(edges) - 1, 40)
    surface = seasonal(30, 40)
    resistance = np.where(surface < 0, 1.0, 0.1)
    start = np.full((len(edges) - 1, 40), -1.0)
    before = column.enthalpy_of(start, properties)
    result = run(
        *(surface, properties, edges, start),
        resistance=resistance,
        bottom_flux=0.05,
        steps=np.full(365, 30),
    )
    change = ((result.enthalpy - before) * np.diff(edges)[:, None]).sum(axis=0)
    turnover = (np.abs(result.ground_heat_flux) * 30 * DAY).sum(axis=0)
    closure = np.abs(change - result.heat_in)
    assert (closure / np.abs(change)).max() < 1e-6
    assert (closure / turnover).max() < 1e-9
    np.testing.assert_allclose(
        result.ground_heat_flux.sum(axis=0) * 30 * DAY + 0.05 * 30 * 365 * DAY, result.heat_in
    )


def test_heat_is_conserved_over_a_century():
    """A thawing climate, snow with heat, geothermal flux: closure 1e-6 of the change."""
    edges = column.DEFAULT_EDGES
    nodes, years = len(edges) - 1, 100
    properties = uniform(nodes, 8)
    surface = seasonal(years, 8) + np.linspace(0, 6, 365 * years)[:, None]
    resistance = np.where(surface < 0, 2.0, 0.02)
    start = np.full((nodes, 8), -3.0)
    before = column.enthalpy_of(start, properties)
    result = run(
        *(surface, properties, edges, start),
        resistance=resistance,
        snow_heat=np.where(surface < 0, 1e5, 0.0),
        bottom_flux=0.06,
        steps=np.full(years, 365),
    )
    change = ((result.enthalpy - before) * np.diff(edges)[:, None]).sum(axis=0)
    assert (np.abs(change - result.heat_in) / np.abs(change)).max() < 1e-6


def test_phase_change_gives_back_what_it_took():
    """Thaw from -5 to 5 degC and refreeze: heat in is the closed form of the enthalpy."""
    edges = np.linspace(0, 1, 21)
    properties = uniform(20, freezing_width=0.05)
    start = np.full((20, 1), -5.0)
    steps = 365 * 8
    warm = np.full((steps, 1), 5.0)
    thawed = run(warm, properties, edges, start)
    np.testing.assert_allclose(thawed.temperature[-1], 5.0, atol=1e-3)
    frozen = column.solve(
        np.full((steps, 1), -5.0),
        np.zeros((steps, 1)),
        properties,
        thawed.enthalpy,
        steps=np.ones(steps, int),
        weights=np.eye(20),
        edges=edges,
    )
    wanted = 2.6e6 * 5 + 1.9e6 * 5 + 1.2e8 * 5 / 5.05
    np.testing.assert_allclose(thawed.heat_in, wanted, rtol=1e-6)
    np.testing.assert_allclose(thawed.heat_in + frozen.heat_in, 0.0, atol=1e-6 * wanted)


def test_heat_is_conserved_where_iterations_are_cut_off():
    edges = column.DEFAULT_EDGES
    properties = uniform(len(edges) - 1, 3, freezing_width=1e-3)
    surface = seasonal(3, 3)
    start = np.full((len(edges) - 1, 3), -0.5)
    result = run(*(surface, properties, edges, start), max_iterations=1)
    before = column.enthalpy_of(start, properties)
    change = ((result.enthalpy - before) * np.diff(edges)[:, None]).sum(axis=0)
    np.testing.assert_allclose(change, result.heat_in, rtol=1e-8)
    assert result.iterations == 1


def test_a_step_of_ten_days_stays_stable():
    edges = column.DEFAULT_EDGES
    properties = uniform(len(edges) - 1, 5)
    daily = seasonal(10, 5)
    start = np.full((len(edges) - 1, 5), -1.0)
    fine = run(daily, properties, edges, start, steps=np.full(365, 10))
    coarse = daily.reshape(365, 10, 5).mean(axis=1)
    slow = run(coarse, properties, edges, start, step_seconds=10 * DAY)
    assert np.abs(slow.temperature - fine.temperature).max() < 2.5
    assert np.abs((slow.temperature - fine.temperature)[:, 17:]).max() < 0.6


def test_columns_do_not_know_of_each_other():
    edges = column.DEFAULT_EDGES
    surface = seasonal(2, 70)
    start = np.full((len(edges) - 1, 70), -1.0)
    together = run(surface, uniform(len(edges) - 1, 70), edges, start, tolerance=1e-6)
    for j in (0, 31, 32, 69):
        alone = run(
            *(surface[:, [j]], uniform(len(edges) - 1), edges, start[:, [j]]), tolerance=1e-6
        )
        np.testing.assert_allclose(
            alone.temperature[:, :, 0], together.temperature[:, :, j], atol=1e-4
        )


def test_same_bits_with_one_and_two_threads():
    edges = column.DEFAULT_EDGES
    args = (seasonal(1, 70), uniform(len(edges) - 1, 70), edges, np.full((25, 70), -1.0))
    one, two = run(*args, threads=1), run(*args, threads=2)
    np.testing.assert_array_equal(one.temperature, two.temperature)


def test_missing_forcing_stays_missing_and_leaves_the_neighbours_alone():
    edges = column.DEFAULT_EDGES
    surface = seasonal(1, 3)
    clean = run(surface, uniform(25, 3), edges, np.full((25, 3), -1.0), tolerance=1e-6)
    surface[100, 1] = np.nan
    holed = run(surface, uniform(25, 3), edges, np.full((25, 3), -1.0), tolerance=1e-6)
    assert np.isnan(holed.temperature[100:, :, 1]).all()
    assert not np.isnan(holed.temperature[:100, :, 1]).any()
    assert np.isnan(holed.thaw_depth[100:, 1]).all()
    np.testing.assert_allclose(holed.temperature[..., 2], clean.temperature[..., 2], atol=1e-4)


def test_shapes_are_checked():
    with pytest.raises(DimensionError, match=r"shape \(step, column\) = \(10, 1\)"):
        run(np.zeros((9, 1)), uniform(25), column.DEFAULT_EDGES, np.zeros((25, 1)), steps=[10])
    with pytest.raises(DimensionError, match="reach beyond the column"):
        column.layer_weights((0, 1, 2), (0, 3))


def test_enthalpy_and_temperature_are_inverse():
    cold = np.array([-40.0, -5, -0.5, -0.01, 0, 0.3, 20])
    edges = np.linspace(0, 7, 8)
    properties = uniform(7)
    result = run(
        *(np.zeros((1, 1)), properties, edges, cold[:, None]),
        resistance=np.full((1, 1), 1e12),
        step_seconds=1e-6,
    )
    np.testing.assert_allclose(result.temperature[0, :, 0], cold, atol=1e-9)


# ---------------------------------------------------------------- heat held by the snow


def snow_season(days=400):
    day = np.arange(days)
    surface = -12 - 14 * np.sin(2 * np.pi * day / 365) + 6 * np.sin(2 * np.pi * day / 17)
    return surface[:, None]


def test_a_store_without_heat_changes_no_bit():
    edges = column.DEFAULT_EDGES
    args = (snow_season(), uniform(25), edges, np.full((25, 1), -2.0))
    resistance = np.full((400, 1), 2.0)
    bare = run(*args, resistance=resistance)
    empty = run(*args, resistance=resistance, snow_heat=np.zeros((400, 1)))
    np.testing.assert_array_equal(bare.temperature, empty.temperature)
    np.testing.assert_array_equal(empty.snow_temperature, snow_season()[-1].astype("float32"))


def test_the_store_is_nearly_a_resolved_snow_pack():
    """0.4 m of snow as ten nodes of the column, as a resistance, and as one with a store."""
    k, capacity, depth = 0.088, 250.0 * snow.HEAT_ICE, 0.4
    surface = snow_season()
    soil_edges = np.array(column.DEFAULT_EDGES)
    start = np.full((25, 1), -2.0)
    with_snow = np.concatenate([np.linspace(-depth, 0, 11)[:-1], soil_edges]) + depth
    values = {"conductivity_thawed": k, "conductivity_frozen": k, "latent_heat": 0.0}
    values |= {"heat_capacity_thawed": capacity, "heat_capacity_frozen": capacity}
    pack = uniform(10, **values)
    stacked = {name: np.vstack([pack[name], uniform(25)[name]]) for name in pack}
    resolved = run(surface, stacked, with_snow, np.vstack([np.full((10, 1), -12.0), start]))
    resistance = np.full(surface.shape, depth / k)
    without = run(surface, uniform(25), soil_edges, start, resistance=resistance)
    options = {"resistance": resistance, "snow_temperature": -12.0}
    heat = np.full(surface.shape, depth * capacity)
    stored = run(surface, uniform(25), soil_edges, start, **options, snow_heat=heat)
    truth = resolved.temperature[60:, 10:]
    error = np.abs(stored.temperature[60:] - truth).max()
    assert error < 0.35 * np.abs(without.temperature[60:] - truth).max()
    assert error < 0.25


# ---------------------------------------------------------------- the labelled interface


def daily(years=2, mean=-6.0):
    time = xr.date_range("2001-01-01", f"{2000 + years}-12-31")
    season = mean - 18 * np.cos(2 * np.pi * (time.day_of_year.values - 20) / 365)
    return xr.DataArray(season + 273.15, coords={"time": time}, dims="time", attrs={"units": "K"})


def silt(nodes=25):
    share = xr.DataArray(np.full(nodes, 0.6), dims="node")
    return soil.column_properties(share, 0 * share, 0.38 + 0 * share)


def test_simulate_keeps_places_and_labels():
    places = xr.DataArray([-1.0, 0.0, 2.0], coords={"band": ["n", "m", "s"]}, dims="band")
    ts = daily() + places
    before = ts.copy(deep=True)
    out = column.simulate(ts.transpose("time", "band"), silt())
    assert out["tsl"].dims == ("band", "layer", "time")
    assert out["tsl"].sizes == {"band": 3, "layer": 4, "time": 24}
    assert out["band"].values.tolist() == ["n", "m", "s"]
    assert out["tsl"].attrs["units"] == "K"
    assert out["depth_bnds"].values[-1].tolist() == [1.0, 2.89]
    assert str(out["time"].values[1]) == "2001-02-01T00:00:00.000000000"
    assert bool((out["tsl"].diff("band") > 0).all())
    xr.testing.assert_identical(ts, before)
    one = column.simulate(ts.sel(band="m"), silt())
    np.testing.assert_allclose(one["tsl"], out["tsl"].sel(band="m"), atol=5e-3)


def test_a_restart_goes_on_exactly():
    ts = daily(2)
    whole = column.simulate(ts, silt(), initial=268.15)
    first = column.simulate(ts.sel(time="2001"), silt(), initial=268.15)
    second = column.simulate(ts.sel(time="2002"), silt(), initial=first["enthalpy"])
    np.testing.assert_array_equal(second["tsl"], whole["tsl"].sel(time="2002"))


def test_layers_are_means_over_their_bounds():
    out = column.simulate(daily(1), silt())
    thickness = out["node_depth_bnds"].diff("bnds").squeeze("bnds")
    inside = (out["node_depth"] > 0.28) & (out["node_depth"] < 1.0)
    mean = out["tsl_node"].where(inside, drop=True).weighted(thickness.where(inside, drop=True))
    np.testing.assert_allclose(mean.mean("node"), out["tsl"].isel(layer=2))


def test_snow_warms_the_winter_and_thaw_depth_says_what_it_means():
    ts = daily(2)
    depth = xr.where(ts < 273.15, 0.4, 0.0)
    bare = column.simulate(ts, silt(), spinup=5)
    insulated = column.simulate(
        ts, silt(), resistance=snow.thermal_resistance(depth, 250.0), spinup=5
    )
    winter = {"time": "2002-02", "layer": 1}
    assert float((insulated["tsl"].sel(winter) - bare["tsl"].sel(winter)).squeeze()) > 5
    assert float(bare["thaw_depth"].sel(time="2002-01").squeeze()) == 0.0
    assert 0.5 < float(bare["thaw_depth"].max()) < 2.0
    warm = column.simulate(daily(1, mean=25.0), silt(), initial=288.15)
    assert bool(warm["thaw_depth"].isnull().all())  # thawed below the profile


def test_what_is_thawed_beneath_permafrost_is_no_thaw_depth():
    ts = daily(4)
    cold = column.simulate(ts, silt(), spinup=5)
    kelvin = cold["tsl_node"].isel(time=-1)
    thawed_base = xr.where(cold["node_depth"] > 12.0, 1.0, kelvin - 273.15)
    properties = {name: silt()[name].values for name in column.PROPERTIES}
    state = xr.DataArray(column.enthalpy_of(thawed_base.values, properties), dims="node")
    out = column.simulate(ts, silt(), initial=state)
    base = out["tsl_node"].isel(node=-1) - 273.15
    assert float(base.min()) > 0.3
    lasting = slice("2002", None)  # frozen for a year of the run
    depth, without = out["thaw_depth"].sel(time=lasting), cold["thaw_depth"].sel(time=lasting)
    np.testing.assert_allclose(depth, without, atol=0.2)  # a little deeper over a warm base
    assert bool((depth[depth["time.month"] == 3] == 0.0).all())
    assert bool((depth.groupby("time.year").max(skipna=False) > 0.5).all())


def test_frost_on_thawed_ground_does_not_hide_that_it_is_thawed():
    out = column.simulate(daily(3, mean=6.0), silt(), initial=279.15)
    surface = out["tsl_node"].isel(node=0) - 273.15
    assert float(surface.min()) < -1.0
    frost = out["thaw_depth"].sel(time=out["time.month"].isin([4, 5]))  # thaws from above
    assert bool(((frost > 0.3) & (frost < 2.0)).all())
    assert bool(out["thaw_depth"].drop_sel(time=frost["time"]).isnull().all())
    # autumn over permafrost: the surface is frozen, the ground below it not yet
    back = column.simulate(daily(3), silt(), spinup=5, average="step")
    day = {"time": "2003-10-08"}
    assert float(back["tsl_node"].isel(node=0).sel(day)) < 273.15
    assert 0.5 < float(back["thaw_depth"].sel(day)) < 1.5


def test_zero_curtain():
    """In autumn the wet soil stays near 0 degC for weeks; dry soil does not."""
    ts = daily(1)
    share = xr.DataArray(np.full(25, 0.6), dims="node")
    dry = soil.column_properties(share, 0 * share, 0.02 + 0 * share)
    days = []
    for properties in (silt(), dry):
        out = column.simulate(ts, properties, average="step", spinup=8)
        autumn = out["tsl_node"].isel(node=7).sel(time=slice("2001-08", "2001-12")) - 273.15
        days.append(int((np.abs(autumn) < 0.5).sum()))
    assert days[0] > 20
    assert days[0] > 1.8 * days[1]


def test_simulate_refuses_what_it_cannot_use():
    with pytest.raises(TimeAxisError, match="equal steps"):
        column.simulate(daily(1).isel(time=[0, 1, 5]), silt())
    with pytest.raises(DataError, match="in K; the values look like degC"):
        column.simulate(daily(1) - 273.15, silt())
    with pytest.raises(UnknownNameError, match="did you mean 'month'"):
        column.simulate(daily(1), silt(), average="months")


# ---------------------------------------------------------------- soil and snow


def test_conductivity_orders_as_in_nature():
    def k(mineral, organic, water, frozen):
        return float(soil.conductivity(mineral, organic, water, frozen=frozen))

    assert k(0.55, 0, 0.45, True) > k(0.55, 0, 0.45, False) > k(0.55, 0, 0.1, False)
    assert k(0, 0.1, 0.9, True) > k(0, 0.1, 0.9, False) > k(0, 0.1, 0.2, False)
    assert k(0, 0.1, 0.0, False) == pytest.approx(0.05)
    assert 1.0 < k(0.55, 0, 0.45, False) < 2.0
    assert 1.9 < k(0.55, 0, 0.45, True) < 3.0


def test_volume_fractions_refuse_soil_without_pores():
    with pytest.raises(DataError, match="no pore space"):
        soil.volume_fractions(np.array(0.0), np.array(2700.0))


def test_sturm_conductivity_joins_at_its_break():
    density = xr.DataArray([155.9, 156.1, 400.0])
    k = snow.conductivity(density)
    assert float(abs(k[1] - k[0])) < 1e-3
    assert float(k[2]) == pytest.approx(0.138 - 0.404 + 3.233 * 0.16)


def test_snow_classes_are_those_of_sturm():
    """Densities [kg m-3] after table 4 of Sturm et al. (2010), at their limits."""
    late, early = np.array(181), np.array(274)
    assert float(snow.class_density(np.array(1.0), late, kind="taiga")) == pytest.approx(217)
    assert float(snow.class_density(np.array(50.0), late, kind="tundra")) == pytest.approx(
        363, abs=1
    )
    for kind, row in snow.SNOW_CLASSES.items():
        first = row[1] + (row[0] - row[1]) * (1 - np.exp(92 * row[3]))
        got = snow.class_density(np.array(0.0), early, kind=kind)
        assert float(got) == pytest.approx(1000 * first)
    day = xr.DataArray([244, 300, 1, 100, 243], dims="time")
    density = snow.class_density(0 * day + 0.3, day, kind="prairie")
    assert density.dims == ("time",)
    assert (np.diff(density.values) >= 0).all()
    with pytest.raises(UnknownNameError, match="did you mean 'tundra'"):
        snow.class_density(np.array(0.1), late, kind="tundr")


def test_thermal_resistance_tells_no_snow_from_no_data():
    depth = xr.DataArray([0.0, np.nan, 0.4], dims="time")
    density = xr.DataArray([np.nan, 200.0, 250.0], dims="time")
    resistance = snow.thermal_resistance(depth, density)
    assert float(resistance[0]) == 0.0
    assert np.isnan(resistance[1])
    assert float(resistance[2]) == pytest.approx(0.4 / 0.0876, rel=1e-2)


def test_degree_day_snow_conserves_water_and_melts():
    time = xr.date_range("2001-10-01", "2002-09-30")
    tas = 265 - 15 * np.cos(2 * np.pi * (time.day_of_year.values - 20) / 365)
    tas = xr.DataArray(tas, coords={"time": time}, dims="time")
    pack = snow.degree_day_snow(tas, 0 * tas + 1.0 / 86400)
    cold = tas < 272
    fallen = float((pack["prsn"] * 86400).where(cold).cumsum("time").sel(time="2002-03-01"))
    assert float(pack["snw"].sel(time="2002-03-01")) == pytest.approx(fallen, rel=0.1)
    assert float(pack["snw"].sel(time="2002-08-01")) == 0.0
    assert np.isnan(pack["snow_density"].sel(time="2002-08-01"))
    density = pack["snow_density"].dropna("time")
    assert 110 < float(density.min()) < float(density.max()) < 405
    assert float(pack["snow_density"].sel(time="2002-03-01")) > 190


def test_degree_day_snow_leaves_missing_missing():
    time = xr.date_range("2001-10-01", periods=6)
    tas = xr.DataArray([260, 260, np.nan, 260, 260, 260.0], coords={"time": time}, dims="time")
    pack = snow.degree_day_snow(tas, 0 * tas + 1.0 / 86400)
    assert np.isnan(pack["snw"].values).tolist() == [False, False, True, True, True, True]
