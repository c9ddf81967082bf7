"""Faults of old that are gone, each named as it was seen: no hang, nothing lost, and the right error."""

import sys
import threading

import pytest

import mosaic
from mosaic.core import TaskProxy
from tests.support.actors import Blocker, Counter, Echo
from tests.support.rendezvous import soon


def meet(mine, theirs):
    """Be there at the same time as somebody else."""
    mine.set()
    theirs.wait()
    return True


@mosaic.tessera
class Solver:
    def __init__(self, *args, **kwargs):
        self.tries = 0

    def meet(self, mine, theirs):
        return meet(mine, theirs)

    def fails_twice(self):
        self.tries += 1
        if self.tries < 3:
            raise OSError(f"try {self.tries}")
        return self.tries

    async def fails_twice_async(self):
        return self.fails_twice()

    def exit(self, code):
        sys.exit(code)

    def interrupt(self):
        raise KeyboardInterrupt

    def odd(self):
        raise Odd("a", "b")

    def locked(self):
        raise Locked("held")


class Odd(Exception):
    """Is not made again from its arguments."""

    def __init__(self, first, second):
        super().__init__(first)


class Locked(Exception):
    """Cannot be pickled at all."""

    def __init__(self, message):
        super().__init__(message)
        self.lock = threading.Lock()


@mosaic.tessera
class Unbuildable:
    def __init__(self, *args, **kwargs):
        raise ValueError("cannot be built")

    def step(self):
        return 1


async def test_two_solvers_run_at_the_same_time_though_nobody_awaits_them(runtime, flag):
    first, second = (Solver.remote(runtime=worker) for worker in runtime.workers)
    one = first.meet(flag("one"), flag("two"))
    two = second.meet(flag("two"), flag("one"))
    assert await soon(mosaic.gather(one, two).result()) == [True, True]


async def test_a_chain_of_three_tasks_ends(runtime):
    first, second, third = (Echo.remote() for _ in range(3))
    assert await soon(third.back(second.back(first.back(1))).result()) == 1
    assert await soon(third.back_async(second.back_async(first.back_async(2))).result()) == 2


async def test_a_task_given_to_two_others_runs_once(runtime):
    counter, others = Counter.remote(), [Echo.remote() for _ in range(2)]
    task = counter.add(1)
    assert [await soon(other.back(task).result()) for other in others] == [1, 1]
    assert await counter.order().result() == [1]


async def test_a_late_argument_does_not_upset_the_order(runtime, flag):
    blocker, counter = Blocker.remote(runtime=runtime.workers[0]), Counter.remote()
    late = blocker.until(flag("started"), flag("release"), 1)
    tasks = [counter.add(late), counter.add(2), counter.add(3)]
    flag("release").set()
    await soon(tasks[-1])
    assert await counter.order().result() == [1, 2, 3]


async def test_a_barrier_waits_for_calls_that_are_pending(runtime, flag):
    blocker, counter = Blocker.remote(), Counter.remote()
    counter.add(blocker.until(flag("started"), flag("release"), 5))
    with pytest.raises(TimeoutError):
        await runtime.barrier(timeout=0.05)
    flag("release").set()
    await soon(runtime.barrier())
    assert await counter.get_attr("seen", immediate=True) == [5]


@pytest.mark.parametrize("method", ["fails_twice", "fails_twice_async"])
async def test_max_retries_does_not_deadlock(runtime, method):
    solver = Solver.remote(max_retries=2)
    assert await soon(solver[method]().result()) == 3
    with pytest.raises(OSError, match="try 2"):
        await soon(Solver.remote(max_retries=1)[method]().result())
    assert await soon(Solver.remote()[method](max_retries=2).result()) == 3


async def test_a_failing_constructor_fails_its_calls(runtime):
    proxy = Unbuildable.remote(name="x")
    calls = proxy.step(), proxy.step(), TaskProxy(proxy, "step")
    for waiting in (proxy, *calls, proxy.init_future):
        with pytest.raises(ValueError, match="cannot be built"):
            await soon(waiting)
    assert proxy.state == "failed"
    with pytest.raises(ValueError, match="cannot be built"):
        await soon(Unbuildable.remote(len=2))
    with pytest.raises(ValueError, match="cannot be built"):
        Unbuildable.parameter()


async def test_an_exception_that_does_not_unpickle_is_told(runtime):
    solver = Solver.remote()
    with pytest.raises(Odd, match="a"):
        await soon(solver.odd())
    with pytest.raises(mosaic.RemoteError, match=r"Locked.*held"):
        await soon(solver.locked())


@pytest.mark.parametrize("method", ["exit", "interrupt"])
async def test_leaving_in_a_method_fails_the_call_alone(runtime, method):
    solver = Solver.remote()
    args = (3,) if method == "exit" else ()
    with pytest.raises(mosaic.MosaicError):
        await soon(solver[method](*args))
    assert await soon(solver.get_attr("tries")) == 0


async def test_a_loop_runs_again_after_an_error(runtime):
    failing = True

    @runtime.async_for(range(4))
    async def loop(worker, item):
        if failing and item == 2:
            raise ValueError("item 2")
        return await runtime.submit(abs, -item, runtime=worker).result()

    with pytest.raises(ValueError, match="item 2"):
        await soon(loop)
    failing = False

    @runtime.async_for(range(4))
    async def again(worker, item):
        return await runtime.submit(abs, -item, runtime=worker).result()

    assert await soon(again) == [0, 1, 2, 3]


async def test_propagate_changes_the_root(runtime, warehouse):
    parameter = Counter.parameter(1)
    parameter.add(2, propagate=True)
    assert (parameter.count, await soon(parameter._tessera.value().result())) == (3, 3)
    there = await soon(runtime.submit(add_there, parameter).result())
    assert (there, await soon(parameter.pull(attr="count"))) == (13, 13)


def add_there(parameter):
    return parameter.add(10, propagate=True)


async def test_a_cached_parameter_arrives(runtime, warehouse):
    parameter = Counter.parameter(1, cached=True)
    parameter.count = 5
    await soon(parameter.push(attr="count", publish=True))
    assert await soon(runtime.submit(count_there, parameter).result()) == 5
    assert await soon(Echo.remote().back(parameter).result()) is not None


def count_there(parameter):
    return parameter.count


async def test_a_subclass_is_not_built_as_its_base(runtime):
    assert await soon(Finer.remote().name().result()) == "Finer"
    assert await soon(Finer.remote(len=2).name().result()) == ["Finer", "Finer"]


@mosaic.tessera
class Coarse:
    def name(self):
        return type(self).__name__


class Finer(Coarse):
    pass
