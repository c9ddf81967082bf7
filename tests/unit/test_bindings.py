"""The classes of the extension module: what Python can make of them, and what it cannot."""

import pickle

import pytest

from mosaic import _core

KINDS = ("METHOD", "GET", "GET_NOW", "SET", "STOP", "FUNCTION")


def test_tasks_are_made_by_calls_alone():
    with pytest.raises(TypeError, match="made by calling methods of proxies"):
        _core.Task()


@pytest.mark.parametrize("name", KINDS)
def test_kind_of_a_call_pickles_as_the_same_object(name):
    kind = getattr(_core.CallKind, name)
    assert pickle.loads(pickle.dumps(kind)) is kind


@pytest.mark.parametrize("limits", [{"memory": "much"}, {"spill_limit": "much"}])
def test_store_limits_name_the_option_that_is_wrong(limits):
    option = "warehouse_memory" if "memory" in limits else "spill_limit"
    with pytest.raises(ValueError, match=f"^{option}: .*much"):
        _core.StoreLimits(**limits)


def test_grace_of_workers_is_not_negative():
    with pytest.raises(ValueError, match=r"stop_grace .* not -1"):
        _core.WorkerLaunch(command=["true"], environment={}, workers=1, stop_grace=-1.0)
