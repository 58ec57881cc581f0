"""The made-up weather behaves like weather."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.sources.synthetic import FieldSpec
from pipeline.ingest.sources.synthetic.climate import KNOWN, Air, Places
from pipeline.ingest.sources.synthetic.draws import address, key, mix, normal, uniform
from pipeline.ingest.sources.synthetic.waves import Floats, Times, Waves, Wind, ornstein_uhlenbeck

HOUR, DAY = 3600, 86_400
START = 1_577_836_800  # 2020-01-01
EASTWARD = Wind(10.0, np.pi / 2, 0)
TURNING = Wind(8.0, 1.0, 10 * DAY)


def waves(**fields: float) -> Waves:
    defaults = {"length": 3e5, "memory": 2 * DAY, "diffusivity": 1e5}
    return Waves(3, 128, **(defaults | fields), wind=EASTWARD)


def air(times: Times, longitude: Floats, latitude: Floats, *, wind: Wind = TURNING, **fields: FieldSpec) -> Air:
    model = Waves(3, 128, length=3e5, memory=2 * DAY, diffusivity=1e5, wind=wind)
    middle = (float(np.mean(longitude)), float(np.mean(latitude)))
    return Air(model, wind, Places(longitude, latitude, middle), times, HOUR, fields)


def test_the_bits_are_those_of_splitmix64() -> None:
    # The first two outputs of the reference implementation from the seed 0.
    mixed = mix(np.array([0, 0x9E3779B97F4A7C15], np.uint64))
    assert [hex(int(one)) for one in mixed] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


def test_draws_are_uniform_normal_and_unrelated() -> None:
    number = np.arange(20_000)
    drawn = uniform(key("a"), number)
    assert 0 < drawn.min() < drawn.max() < 1
    assert np.histogram(drawn, 10, (0, 1))[0] == pytest.approx([2000] * 10, abs=200)
    one, two, shifted = normal(key("a"), number), normal(key("b"), number), normal(key("a"), number + 1)
    assert (one.mean(), one.std()) == pytest.approx((0, 1), abs=0.03)
    assert np.corrcoef([one, two, shifted])[np.triu_indices(3, 1)] == pytest.approx([0, 0, 0], abs=0.03)


@settings(max_examples=30, deadline=None)
@given(times=st.lists(st.integers(-10 * DAY, 10 * DAY), min_size=1, max_size=20))
def test_any_time_can_be_computed_without_earlier_ones(times: list[int]) -> None:
    rates, streams = np.array([1e-5, 1e-4, 1e-3]), address(key("x"), np.arange(3))
    together = ornstein_uhlenbeck(START + np.array(times), rates, streams)
    alone = [ornstein_uhlenbeck(START + np.array([time]), rates, streams)[0] for time in times]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("step", [7, 600, 3600, DAY])
def test_an_ornstein_uhlenbeck_process_forgets_exponentially(step: int) -> None:
    rates, streams = np.full(4000, 0.2 / step), address(key("x"), np.arange(4000))
    values = ornstein_uhlenbeck(START + 11 + step * np.arange(40), rates, streams)
    assert (values.mean(), values.var()) == pytest.approx((0, 1), abs=0.03)
    for lag in (1, 3, 10):
        assert np.mean(values[lag:] * values[:-lag]) == pytest.approx(np.exp(-0.2 * lag), abs=0.03)
    # Markov: given the present, past and future are unrelated.
    rho = np.exp(-0.2)
    after, before = values[2:] - rho * values[1:-1], values[:-2] - rho * values[1:-1]
    assert np.mean(after * before) == pytest.approx(0, abs=0.02)


def test_a_field_has_unit_variance_and_the_covariance_of_matern() -> None:
    model = waves()
    places = np.array([[0, 1.5e5, 3e5, 6e5], [0, 0, 0, 0]])
    times = START + np.arange(0, 4000 * DAY, 10 * DAY)
    values = model.amplitudes(times, "z") @ model.basis(places)
    distance = np.sqrt(5) * places[0] / 3e5
    matern = (1 + distance + distance**2 / 3) * np.exp(-distance)
    # Where it is without wind: ten days of wind carry a field far away, and the same in all places.
    assert np.mean(values * values[:, :1], axis=0) == pytest.approx(matern, abs=0.12)


def test_the_field_moves_with_the_wind() -> None:
    model = waves(memory=20 * DAY, diffusivity=0)
    spacing, hours = 18_000.0, 10  # 10 m s-1 are 360 km in ten hours: twenty places
    line = np.stack([np.arange(120) * spacing, np.zeros(120)])
    times = START + np.arange(0, 300 * DAY, 3 * DAY)
    now, later = (model.amplitudes(at, "z") @ model.basis(line) for at in (times, times + hours * HOUR))
    shifts = np.arange(-30, 31)
    agreement = [np.mean(now[:, 30:90] * later[:, 30 + shift : 90 + shift]) for shift in shifts]
    assert shifts[np.argmax(agreement)] == 20
    assert max(agreement) == pytest.approx(np.mean(now**2) * np.exp(-10 / 480), rel=0.05)
    assert agreement[10] < 0.3 * max(agreement)  # as far against the wind


def test_correlation_decays_faster_at_small_scales() -> None:
    times = START + np.arange(0, 2000 * DAY, 5 * DAY)

    def kept(hours: int, **fields: float) -> float:
        model = waves(**fields)
        here, there = np.zeros((2, 1)), np.array([[hours * HOUR * 10.0], [0.0]])
        now, later = (model.amplitudes(at, "z") for at in (times, times + hours * HOUR))
        return float(np.mean((now @ model.basis(here)) * (later @ model.basis(there))))

    assert kept(12) > kept(48) > kept(144)
    assert kept(48, diffusivity=0) == pytest.approx(np.exp(-1), abs=0.12)
    assert kept(24, length=5e4) < 0.6 * kept(24, length=3e5)
    model = waves()
    assert kept(24) == pytest.approx(float(np.mean(np.exp(-model.rates * DAY))), abs=0.12)


def test_displacement_by_a_turning_wind() -> None:
    times = START + np.arange(0, 10 * DAY, HOUR)
    middle = (TURNING.at(times[:-1]) + TURNING.at(times[1:])) / 2
    np.testing.assert_allclose(np.diff(TURNING.carried(times), axis=0), middle * HOUR, atol=5)
    np.testing.assert_allclose(TURNING.carried(times + 10 * DAY), TURNING.carried(times), atol=1e-3)
    np.testing.assert_allclose(np.hypot(*TURNING.at(times).T), 8.0)
    assert EASTWARD.at(times[:1]) == pytest.approx(np.array([[10.0, 0.0]]), abs=1e-9)


def test_it_is_warmest_at_three_in_the_afternoon_of_local_time() -> None:
    times = START + np.arange(0, 200 * DAY, HOUR)
    longitude = np.array([0.0, 90.0, -150.0])
    temperature = air(times, longitude, np.full(3, 45.0)).true("air_temperature")
    by_hour = temperature.reshape(200, 24, 3).mean(axis=0)
    assert by_hour.argmax(axis=0).tolist() == [15, 9, 1]  # UTC
    assert by_hour.max(axis=0) - by_hour.min(axis=0) == pytest.approx([8, 8, 8], abs=1)


def test_summer_is_in_july_in_the_north_and_in_january_in_the_south() -> None:
    times = START + np.arange(0, 4 * 365 * DAY, DAY)
    temperature = air(times, np.zeros(3), np.array([50.0, 0.0, -50.0])).true("air_temperature")
    month = times.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12
    mean = np.array([temperature[month == one].mean(axis=0) for one in range(12)])
    assert mean[:, 0].argmax() == 6
    assert mean[:, 2].argmax() in (0, 1)
    assert np.ptp(mean[:, 1]) < 0.25 * np.ptp(mean[:, 0])


def test_every_variable_is_within_physical_limits() -> None:
    times = START + np.arange(0, 365 * DAY, 5 * HOUR)
    weather = air(times, np.linspace(-10, 10, 12), np.linspace(35, 60, 12))
    found = {name: weather.true(name) for name in KNOWN}
    assert {values.shape for values in found.values()} == {(len(times), 12)}
    assert all(np.isfinite(values).all() for values in found.values())
    assert found["precipitation_amount"].min() == 0
    assert 0.05 < np.mean(found["precipitation_amount"] > 0) < 0.4
    assert 0 <= found["relative_humidity"].min() < found["relative_humidity"].max() <= 100
    assert np.all(found["dew_point_temperature"] <= found["air_temperature"])
    assert np.all(found["wind_speed_of_gust"] > found["wind_speed"])
    dark = weather.elevation < 0
    assert np.all(found["surface_downwelling_shortwave_flux_in_air"][dark] == 0)
    assert np.all(found["surface_downwelling_shortwave_flux_in_air"][~dark] > 0)
    assert 0.4 < dark.mean() < 0.6


def test_speed_direction_and_components_are_consistent() -> None:
    times = START + np.arange(0, 20 * DAY, HOUR)
    weather = air(times, np.array([0.0, 3.0]), np.array([50.0, 51.0]))
    speed, angle = weather.true("wind_speed"), np.radians(weather.true("wind_from_direction"))
    np.testing.assert_allclose(-speed * np.sin(angle), weather.true("eastward_wind"), atol=1e-9)
    np.testing.assert_allclose(-speed * np.cos(angle), weather.true("northward_wind"), atol=1e-9)
    assert np.mean(weather.true("eastward_wind"), axis=1) == pytest.approx(TURNING.at(times)[:, 0], abs=12)


@pytest.mark.parametrize("latitude", [50.0, -50.0])
def test_pressure_is_in_balance_with_the_wind(latitude: float) -> None:
    apart = 0.01  # degrees
    longitude = np.array([0.0, -apart, apart, 0.0, 0.0])
    latitudes = latitude + np.array([0.0, 0.0, 0.0, -apart, apart])
    at_eight = START + np.arange(0, 30 * DAY, DAY) + 8 * HOUR  # the daily cycle of the wind passes through 0
    weather = Air(waves(), TURNING, Places(longitude, latitudes, (0.0, latitude)), at_eight, HOUR, {})
    pressure = weather.true("air_pressure_at_mean_sea_level") * 100
    metres = np.radians(apart) * 6.371e6
    turning = 1.2 * 2 * 7.292e-5 * np.sin(np.radians(latitude))
    east = -(pressure[:, 4] - pressure[:, 3]) / (2 * metres) / turning
    north = (pressure[:, 2] - pressure[:, 1]) / (2 * metres * np.cos(np.radians(latitude))) / turning
    np.testing.assert_allclose(east, weather.true("eastward_wind")[:, 0], atol=0.05)
    np.testing.assert_allclose(north, weather.true("northward_wind")[:, 0], atol=0.05)


def test_a_described_variable_has_mean_spread_and_cycles() -> None:
    times = START + np.arange(0, 1500 * DAY, DAY)
    recipe = FieldSpec(mean=50.0, spread=4.0)
    values = air(times, np.zeros(1), np.full(1, 50.0), load=recipe).true("load")
    assert (values.mean(), values.std()) == pytest.approx((50, 4), rel=0.1)
    capped = air(times, np.zeros(1), np.full(1, 50.0), load=FieldSpec(spread=4.0, minimum=-1.0, maximum=2.0)).true(
        "load"
    )
    assert (capped.min(), capped.max()) == (-1.0, 2.0)
