"""How many cores there are."""

import os

import pytest

from mosaic.system import cpu


@pytest.mark.parametrize(
    ("v2", "quota", "period", "expected"),
    [
        ("max 100000", None, None, None),
        ("150000 100000", None, None, 1.5),
        ("50000", None, None, 0.5),
        (None, "-1", "100000", None),
        (None, "300000", "100000", 3.0),
        (None, None, None, None),
        ("rubbish", None, None, None),
        (None, "100000", "0", None),
    ],
)
def test_the_quota_of_a_cgroup(v2, quota, period, expected):
    assert cpu.parse_quota(v2, quota, period) == expected


def test_affinity_is_respected():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cpu.cpu_count() == 1
        assert cpu.physical_cpu_count() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_cgroup_limit_is_respected(monkeypatch):
    monkeypatch.setattr(cpu, "_affinity", lambda: set(range(64)))
    monkeypatch.setattr(cpu, "cgroup_quota", lambda: 2.5)
    assert cpu.cpu_count() == 3
    monkeypatch.setattr(cpu, "cgroup_quota", lambda: 0.1)
    assert cpu.cpu_count() == 1


def test_two_threads_of_a_core_count_once(monkeypatch):
    siblings = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}
    monkeypatch.setattr(cpu, "_affinity", lambda: set(siblings))
    monkeypatch.setattr(cpu, "cgroup_quota", lambda: None)
    monkeypatch.setattr(
        cpu, "_read", lambda path: siblings[int(path.split("/cpu/cpu")[1].split("/")[0])]
    )
    assert cpu.physical_cpu_count() == 2
