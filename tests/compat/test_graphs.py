"""Operators that make calls of their own: they take tasks, return tasks, and build graphs across processes."""

import asyncio

import pytest

import mosaic
from mosaic.core import TaskProxy
from mosaic.errors import MosaicError


@mosaic.tessera
class Scale:
    def __init__(self, factor, **kwargs):
        self.factor = factor
        self.runs = 0
        super().__init__(**kwargs)

    def apply(self, value):
        self.runs += 1
        return self.factor * value

    async def __call__(self, value, *args, **kwargs):
        self.runs += 1
        await asyncio.sleep(0)
        return self.factor * value

    async def pair(self, value):
        return value, self.factor * value

    async def named(self, value):
        return {"before": value, "after": self.factor * value}

    async def through(self, other, value, **kwargs):
        """Call another, and give its task back rather than its value."""
        return other(value, **kwargs)

    async def chain(self, operators, value):
        """Build a chain of tasks here, with none of them awaited."""
        for operator in operators:
            value = operator(value)
        return await value.result()

    async def fan(self, operators, value):
        tasks = [operator(value) for operator in operators]
        return await mosaic.gather(tasks).result()

    async def takes(self, tasks):
        return [await task.result() for task in tasks]

    def count(self):
        return self.runs


@pytest.fixture
def operators(runtime):
    return [Scale.remote(factor, runtime=runtime.workers[factor % 2]) for factor in (1, 2, 3, 4)]


async def test_a_long_chain_that_nobody_awaits_on_the_way(runtime, operators):
    value = 1
    for _ in range(10):
        for operator in operators:
            value = operator.apply(value)
    assert await value.result() == 24**10


async def test_chains_built_in_a_worker(runtime, operators):
    first = operators[0]
    assert await first.chain(operators[1:] * 5, 1).result() == 24**5
    assert await first.fan(operators[1:], 2).result() == [4, 6, 8]


async def test_a_task_given_to_two_others_runs_once(runtime, operators):
    one, two, three, _ = operators
    task = one(5)
    both = two(task), three(task), two(task.outputs[0])
    assert await mosaic.gather(both).result() == [10, 15, 10]
    assert await one.count().result() == 1


async def test_a_method_may_return_a_task(runtime, operators):
    one, two, three, _ = operators
    task = await two.through(three, 7).result()
    assert isinstance(task, TaskProxy)
    assert await task.result() == 21
    assert await one.takes([task]).result() == [21]


async def test_outputs_feed_others(runtime, operators):
    one, two, three, _ = operators
    pair, named = two.pair(5), three.named(5)
    assert await one(pair.outputs[1]).result() == 10
    assert await one(named.outputs["after"]).result() == 15
    assert await one(named.outputs.before).result() == 5
    assert await two.takes([pair.outputs[0], named.outputs.after]).result() == [5, 15]


async def test_an_operator_may_be_given_earlier_tasks_of_its_own(runtime, operators):
    # They have ended when it looks, whether their ends have been told or not.
    two = operators[1]
    for number in range(50):
        earlier = [two.pair(number), two.apply(number)]
        assert await two.takes(earlier).result() == [(number, 2 * number), 2 * number]


async def test_done_is_an_order_and_no_argument(runtime, operators):
    one, two, _, _ = operators
    first = one(1)
    assert await two(3, first.done).result() == 6
    assert await two(3, first.outputs.done, after=first.done).result() == 6


async def test_a_failure_reaches_the_end_of_a_chain(runtime, operators):
    one, two, three, _ = operators
    with pytest.raises(TypeError):
        await three(two(one.apply(None))).result()


async def test_a_late_argument_does_not_change_the_order(runtime, operators, flag):
    one, _, _, _ = operators
    slow = runtime.submit(wait_for, flag("release"), runtime=runtime.workers[0])
    early, late = one.apply(slow), one.count()
    flag("release").set()
    assert await late.result() == 1
    assert await early.result() == 5


def wait_for(release):
    release.wait()
    return 5


async def test_arrays_pick_the_element_of_a_worker(runtime):
    solvers = Scale.remote(2, len=runtime.num_workers)

    @runtime.async_for(range(8))
    async def loop(worker, number):
        task = solvers(number, None, problem="p", runtime=worker)
        await task.init_future
        assert task.runtime_id == worker.uid
        return await task.result()

    assert await loop == [2 * number for number in range(8)]
    assert sum(await solvers.count().result()) == 8
    assert [await task.result() for task in await solvers(1)] == [2, 2]


async def test_init_future_of_arrays(runtime):
    solvers = Scale.remote(2, len=2)
    assert await solvers.init_future
    assert solvers.init_future.done()
    solvers.state_changed("listening")
    tasks = solvers(3)
    tasks.state_changed("queued")
    assert await tasks.init_future
    assert (tasks.init_future.done(), tasks.init_future.result()) == (True, True)
    assert await tasks.result() == [6, 6]
    with pytest.raises(TypeError):
        await Scale.remote(len=2).init_future


async def test_a_loop_within_a_method_waits_for_others(runtime, operators):
    task = operators[0].takes([operator(10) for operator in operators[1:]])
    assert await task.result() == [20, 30, 40]


async def test_operators_that_call_each_other(runtime):
    there, back = (
        Bouncer.remote(runtime=runtime.workers[0]),
        Bouncer.remote(runtime=runtime.workers[1], is_async=True),
    )
    assert await there.bounce(back, 3).result() == ["worker:0:0", "worker:0:1"]


@mosaic.tessera
class Bouncer:
    async def bounce(self, other, times):
        here = self.runtime.uid
        return [here, *await other.catch().result()]

    async def catch(self):
        return [self.runtime.uid]

    async def ask_itself(self):
        return await self._tessera.proxy.catch().result()


async def test_who_waits_for_itself_is_told(runtime):
    with pytest.raises(MosaicError, match="is_async"):
        await asyncio.wait_for(Bouncer.remote().ask_itself().result(), 10)


@mosaic.tessera
class Model:
    """Made by a method, and used where it was made."""

    def __init__(self, value=0):
        self.value = value

    def make(self, value):
        return Model(value)

    def add(self, value):
        self.value += value
        return self.value


async def test_methods_of_a_result_where_it_lies(runtime):
    made = Model.remote().make(5)
    assert await made.remote.add(1).result() == 6
    assert await made.remote.add(1).result() == 7
