"""What notebooks show of tesserae, tasks, values and runtimes: short tables of what is known already."""

import numpy as np
import pytest

import mosaic
from tests.support.actors import Blocker, Counter, Echo
from tests.support.rendezvous import eventually_async
from tests.support.tables import shown


@mosaic.tessera
class Angle:
    def __init__(self, name="<script>alert(1)</script>"):
        self.name = name

    def __repr__(self):
        return f"Angle({self.name})"


@mosaic.tessera
class Drawn:
    def _repr_html_(self):
        return "<b>mine</b>"


async def test_a_tessera(runtime):
    proxy = await Counter.remote(1, runtime="worker:0:1")
    table = shown(proxy)
    assert table.row() == {
        "uid": proxy.uid,
        "class": "Counter",
        "state": "listening",
        "runtime": "worker:0:1",
    }
    await proxy.stop()
    assert shown(proxy).row()["state"] == "stopped"


async def test_a_tessera_that_is_being_built(runtime, flag):
    started, release = flag("started"), flag("release")
    blocker = await Blocker.remote(runtime="worker:0:0")
    task = blocker.until(started, release)
    await started.wait_async()
    waiting = Counter.remote(runtime="worker:0:0")
    later = waiting.add(1)
    assert shown(waiting).row()["state"] == "pending"
    assert shown(later).row()["state"] in {"pending", "queued"}
    assert shown(task).row() == {
        "uid": task.uid,
        "call": "Blocker.until",
        "state": "queued",
        "runtime": "worker:0:0",
        "size": "–",
    }
    release.set()
    await later


async def test_an_array_of_tesserae(runtime):
    array = await Echo.remote(len=2)
    table = shown(array)
    assert "Array of 2 tesserae" in table.text
    assert [row[-1] for row in table.rows[1:]] == array.runtime_id
    tasks = array.back(1)
    await tasks
    table = shown(tasks)
    assert [row[2] for row in table.rows] == ["state", "done", "done"]


async def test_long_arrays_are_cut(runtime):
    array = await Echo.remote(len=50)
    table = shown(array)
    assert len(table.rows) == 21
    assert "and 30 more" in table.text


async def test_a_task_and_its_outputs(runtime):
    task = await Echo.remote().back(np.ones(1_000_000))
    await task.result()
    row = shown(task).row()
    assert (row["state"], row["size"]) == ("done", "8.0 MB")
    for thing in (task.outputs[0], task.done):
        assert shown(thing).row()["uid"] == task.uid
    failing = Echo.remote().fail(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await failing
    assert shown(failing).row()["state"] == "failed"


async def test_stored_values(runtime, warehouse):
    reference = await runtime.put(np.ones(1_000_000))
    assert shown(reference).row() == {
        "uid": reference.uid,
        "state": "done",
        "warehouse": "head",
        "size": "8.0 MB",
    }
    living = await runtime.exec("<b>total</b>", lambda _: 1)
    assert shown(living).row()["uid"] == "<b>total</b>"
    await living.drop()
    await reference.drop()
    assert shown(reference).row()["state"] == "dropped"


async def test_the_stores_memory(runtime):
    reference = await runtime.put(np.ones(1_000_000))
    table = shown(await runtime.memory())
    assert " taken" in table.text
    assert {"8.0 MB", "memory of head", "head"} <= set(table.row().values())
    await reference.drop()


async def test_parameters(runtime, warehouse):
    parameter = Angle.parameter()
    await parameter
    table = shown(parameter)
    assert table.row() == {
        "root": parameter._tessera.uid,
        "class": "Angle",
        "state": "listening",
        "runtime": "warehouse:0",
    }
    # Escaped, and its class's own representation with it.
    assert "Angle(<script>alert(1)</script>)" in table.text
    assert Drawn.parameter()._repr_html_() == "<b>mine</b>"


async def test_a_runtime(runtime):
    table = shown(runtime)
    assert "Runtime head, local" in table.text
    found = {row[0]: row[2] for row in table.rows[1:]}
    assert {worker.uid: str(worker.pid) for worker in runtime.workers}.items() <= found.items()
    worker = await runtime.submit(lambda: mosaic.runtime()._repr_html_()).result()
    assert "Runtime worker:0:" in worker


async def test_a_tessera_hosted_here(runtime):
    assert shown(Counter.local(1)).row()["runtime"] == "head"


async def test_asking_for_html_sends_nothing(runtime, flag):
    started, release = flag("started"), flag("release")
    blocker = await Blocker.remote()
    task = blocker.until(started, release)
    await started.wait_async()
    await eventually_async(lambda: runtime.engine.pending <= 1, "nothing else under way")
    unplaced = Echo.remote(runtime="worker:0:0")
    before = runtime.engine.pending
    for thing in (blocker, task, unplaced, runtime, task.outputs[0], task.done):
        thing._repr_html_()
    # What IPython looks for on anything that it shows.
    for name in ("_repr_html_", "_ipython_display_", "_repr_mimebundle_", "_repr_png_"):
        assert getattr(task.remote, name, None) is None
        getattr(blocker, name, None)
    assert runtime.engine.pending == before
    release.set()
    await task
