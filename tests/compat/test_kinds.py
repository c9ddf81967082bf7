"""What programs ask of an object, wherever it is, has the answers of mosaic 1.2."""

import json
import sys
from pathlib import Path

import pytest

from tests.compat import kinds
from tests.support.scripts import ROOT, run_in

FACTS = Path(__file__).with_name("kinds_1_2.json")

INSTANCES = ("instance head", "instance worker", "self worker")

MORE = {name: {"has has_tessera", "has is_proxy", "has is_tessera"} for name in INSTANCES} | {
    "task in list worker": {"has outputs"}
}
"""Names that our objects may have beyond those of 1.2. Flags of instances are False, as a missing one is taken for."""

FEWER = {name: {"has _tessera"} for name in ("ref head", "ref in list worker")}
"""A reference stands for no tessera."""


@pytest.fixture(scope="module")
def facts():
    return json.loads(FACTS.read_text())


def agrees(found, facts):
    assert found.keys() == facts["true"].keys()
    differences = {}
    for name, true in facts["true"].items():
        expected = (set(true) | MORE.get(name, set())) - FEWER.get(name, set())
        if expected != set(found[name]):
            differences[name] = sorted(expected ^ set(found[name]))
    assert differences == {}


async def test_objects_of_imported_classes(runtime, warehouse, facts):
    agrees(await kinds.observe(runtime, facts["asked"]), facts)


def test_objects_of_classes_of_a_script(tmp_path, facts):
    out, _ = run_in(
        tmp_path, [sys.executable, kinds.__file__, str(FACTS)], env={"PYTHONPATH": str(ROOT)}
    )
    agrees(json.loads(out.splitlines()[-1]), facts)


async def test_the_flags_of_instances_are_false(runtime):
    asker = kinds.Asker.local([])
    instance = asker.obj
    assert (instance.has_tessera, instance.is_proxy, instance.is_tessera) == (False,) * 3
