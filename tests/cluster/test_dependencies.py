"""Tasks as arguments: order, values that skip the caller, failures that show both sides."""

import asyncio

import pytest

import mosaic
from tests.support.actors import Blocker, Counter, Echo


@mosaic.tessera
class Step:
    def __init__(self):
        self.state = 0

    def start(self, value):
        return value

    def add(self, value, n=1):
        return value + n

    def total(self, *values, **named):
        return sum(values) + sum(named.values())

    def count_arguments(self, *args, **kwargs):
        return len(args), sorted(kwargs)

    def pair(self):
        return 10, 20

    def table(self):
        return {"a": 1, "b": 2}

    def fail(self, message="upstream broke"):
        raise ValueError(message)

    def kind(self, value):
        return type(value).__name__

    async def look_into(self, box):
        return await box["task"].result()

    async def outputs_of(self, box):
        return [await output.result() for output in box]

    def record(self, log, line, *_):
        log.add(line)
        return line

    async def graph(self, other, n):
        task = other.add(0)
        for _ in range(n - 1):
            task = other.add(task)
        return await task.result()


async def test_a_task_is_replaced_by_its_value(runtime):
    a, b = Step.remote(), Step.remote()
    assert await b.add(a.start(4), n=2).result() == 6
    assert await b.add(1, n=a.start(2)).result() == 3
    assert await b.total(a.start(1), 2, x=a.start(3), y=4).result() == 10


async def test_a_chain_over_both_workers(runtime):
    steps = [Step.remote(runtime=worker) for worker in runtime.workers]
    task = steps[0].start(0)
    for i in range(100):
        task = steps[i % 2].add(task)
    assert await task.result() == 100


async def test_a_diamond(runtime):
    a, b, c = (Step.remote() for _ in range(3))
    source = a.start(1)
    assert await a.total(b.add(source), c.add(source, 2), source).result() == 6


async def test_one_task_given_to_many_runs_once(runtime):
    counter = Counter.remote()
    source = counter.add(1)
    steps = [Step.remote() for _ in range(6)]
    assert [await s.add(source, 0).result() for s in steps] == [1] * 6
    assert await counter.value().result() == 1


async def test_outputs_as_arguments(runtime):
    a, b = Step.remote(), Step.remote()
    pair, table = a.pair(), a.table()
    assert await b.total(pair.outputs[1], table.outputs["b"], table.outputs.a).result() == 23
    assert await b.add(a.start(5).outputs[0]).result() == 6


async def test_a_missing_output_fails_the_call(runtime):
    a, b = Step.remote(), Step.remote()
    with pytest.raises(LookupError):
        await b.add(a.pair().outputs[5]).result()
    with pytest.raises(LookupError, match="zzz"):
        await b.add(a.table().outputs["zzz"]).result()


async def test_warehouse_references_as_arguments(runtime):
    reference = await runtime.put([1, 2])
    assert await Step.remote().kind(reference).result() == "list"
    assert await Step.remote().add(await runtime.put(4)).result() == 5


async def test_done_is_a_dependency_and_no_argument(runtime, flag, log):
    started, release = flag("started"), flag("release")
    blocker, step = Blocker.remote(), Step.remote()
    gate = blocker.until(started, release)
    positional = step.record(log, "positional", gate.done)
    keyword = step.count_arguments(1, x=2, after=gate.outputs.done)
    await started.wait_async()
    assert log.lines() == []
    release.set()
    assert await positional.result() == "positional"
    assert await keyword.result() == (1, ["x"])


async def test_done_of_a_task_that_failed(runtime):
    a, b = Step.remote(), Step.remote()
    with pytest.raises(ValueError, match="upstream broke"):
        await b.count_arguments(a.fail().done).result()
    with pytest.raises(ValueError, match="upstream broke"):
        await b.count_arguments(after=a.fail().done).result()


async def test_order_of_calls_does_not_depend_on_late_arguments(runtime, flag):
    started, release = flag("started"), flag("release")
    blocker, counter = Blocker.remote(), Counter.remote()
    late = blocker.until(started, release, 100)
    counter.add(late)
    counter.add(1)
    counter.add(2)
    await started.wait_async()
    release.set()
    assert await counter.order().result() == [100, 1, 2]


async def test_a_failed_dependency_shows_both(runtime):
    a, b = Step.remote(), Step.remote()
    task = b.add(a.fail("the mesh is broken"))
    with pytest.raises(ValueError, match="the mesh is broken") as info:
        await task.result()
    shown = _all_text(info.value)
    assert "fail" in shown, "the call that failed"
    assert "add" in shown, "the call that needed it"
    assert task.state == "failed"
    assert await b.add(1).result() == 2, "the tessera goes on"


async def test_failures_pass_down_a_chain(runtime):
    a, b = Step.remote(), Step.remote()
    task = a.fail()
    for i in range(10):
        task = (a, b)[i % 2].add(task)
    with pytest.raises(ValueError, match="upstream broke"):
        await task.result()


async def test_a_failed_dependency_never_runs_its_dependant(runtime, log):
    a, b = Step.remote(), Step.remote()
    with pytest.raises(ValueError, match="upstream broke"):
        await b.record(log, "ran", a.fail())
    assert log.lines() == []


async def test_tasks_in_containers_travel_as_references(runtime):
    a, b = Step.remote(), Step.remote()
    assert await b.kind({"task": a.start(3)}).result() == "dict"
    assert await b.look_into({"task": a.start(3)}).result() == 3
    pair = a.pair()
    assert await b.outputs_of([pair.outputs[1], pair.outputs[0]]).result() == [20, 10]


async def test_a_reference_in_a_container_does_not_hold_the_call_back(runtime, flag):
    release = flag("release")
    gate = Blocker.remote().until_async(flag("started"), release)
    assert await Step.remote().kind([gate]).result() == "list"
    release.set()
    await gate


async def test_tasks_as_results(runtime):
    task = Counter.remote(5).add(1)
    back = await Echo.remote().back([task]).result()
    assert await back[0].result() == 6


async def test_a_dependency_of_the_same_tessera(runtime):
    step = Step.remote()
    task = step.start(0)
    for _ in range(50):
        task = step.add(task)
    assert await task.result() == 50


async def test_graphs_built_inside_methods(runtime):
    assert await Step.remote().graph(Step.remote(), 20).result() == 20


async def test_arguments_are_kept_while_the_call_needs_them(runtime, flag):
    release = flag("release")
    gate = Blocker.remote().until(flag("started"), release, 1)
    step = Step.remote()
    # Nobody else holds the source, its tessera, or the proxy of the call.
    task = step.total(Echo.remote().back(41), gate)
    del gate, step
    release.set()
    assert await task.result() == 42


async def test_many_dependencies_of_one_call(runtime):
    sources = [Echo.remote() for _ in range(4)]
    tasks = [sources[i % 4].back(i) for i in range(200)]
    assert await Step.remote().total(*tasks).result() == sum(range(200))


async def test_dependencies_across_event_loops(runtime):
    source = Echo.remote().back(1)
    value = await asyncio.to_thread(lambda: Step.remote().add(source).wait(20))
    assert value == 2


def _all_text(error: BaseException) -> str:
    texts = []
    while error is not None:
        texts += [str(error), *getattr(error, "__notes__", [])]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)
