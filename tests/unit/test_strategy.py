"""Placement strategies by name, class and object."""

import pytest

from mosaic.runtime import LeastLoaded, MonitorStrategy, RoundRobin, monitor_strategies
from mosaic.runtime.strategy import resolve


def test_round_robin_takes_each_in_turn():
    strategy = RoundRobin()
    assert [strategy.choose(["a", "b"]) for _ in range(3)] == ["a", "b", "a"]


def test_strategies_are_resolved():
    assert type(resolve("round-robin")) is RoundRobin
    assert type(resolve(LeastLoaded)) is LeastLoaded
    own = type("Own", (), {"choose": lambda self, workers: workers[0]})()
    assert resolve(own) is own
    assert set(map(type, map(resolve, monitor_strategies))) == {RoundRobin, LeastLoaded}
    with pytest.raises(ValueError, match="nonsense"):
        resolve("nonsense")
    with pytest.raises(TypeError):
        resolve(3)


@pytest.mark.parametrize(
    "given", [MonitorStrategy, MonitorStrategy(), type("Own", (LeastLoaded,), {})]
)
def test_a_strategy_that_cannot_choose_is_refused_before_anything_starts(given):
    with pytest.raises(TypeError, match="has to define choose"):
        resolve(given)
