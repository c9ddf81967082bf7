"""Parameters away from where they were made: sent, cached, made of proxies, their own roots."""

import asyncio
import copy
import gc
import os

import numpy as np
import pytest

import mosaic
from mosaic.core import ParameterMixin
from tests.support.actors import Counter, Echo, Holder
from tests.support.fields import Field, User
from tests.support.rendezvous import Log, eventually_async

pytestmark = pytest.mark.usefixtures("warehouse")


# Sent elsewhere.


async def test_sent_it_carries_its_local_state(runtime):
    p = Field.parameter(1)
    p.value = 5
    assert await User.remote().value(p).result() == 5
    assert await p._tessera.value == 1


async def test_param_3_sent_it_is_tied_to_the_same_root(runtime):
    p = Field.parameter(1)
    described = await User.remote().describe(p).result()
    assert described == (True, True, True, p._tessera.uid, "warehouse:0", True)
    assert await User.remote().change(p, 2).result() == 3
    assert p.value == 1
    assert await p.pull("value") == 3


async def test_inside_other_objects(runtime):
    p = Field.parameter(1)
    assert await User.remote().in_a_box({"field": p}).result() == (p._tessera.uid, 2)
    assert await p.pull("value") == 2
    stored = await runtime.put([p])
    (back,) = await stored.value()
    assert back._tessera.uid == p._tessera.uid
    outer = Field.parameter(p)
    assert (await outer._tessera.value)._tessera.uid == p._tessera.uid


async def test_made_by_a_worker(runtime):
    (p,) = await User.remote().make(4).result()
    assert p.value == 4
    assert p._tessera.runtime_id == "warehouse:0"
    p.add(1, propagate=True)
    assert await p.pull("value") == 5


async def test_the_root_gives_itself_away(runtime):
    p = Field.parameter(1)
    p.add(1, propagate=True)
    back = await p._tessera.itself().result()
    assert isinstance(back, ParameterMixin)
    assert (back._tessera.uid, back.value) == (p._tessera.uid, 2)


async def test_gradients_of_many_workers(runtime):
    p = Field.parameter()
    users = [User.remote(runtime=worker) for worker in runtime.workers]
    await mosaic.gather([users[i % 2].accumulate(p, np.ones(3)) for i in range(20)])
    assert (await p.pull(attr="grad")).tolist() == [20, 20, 20]
    await mosaic.gather([users[i % 2].accumulate_async(p, np.ones(3)) for i in range(20)])
    assert (await p.pull(attr="grad")).tolist() == [40, 40, 40]
    p.set("grad", None)
    assert await p.pull(attr="grad") is None


async def test_a_root_that_waits_for_a_method_which_changes_it(runtime):
    @mosaic.tessera
    class Asking(Field):
        async def ask(self, user, n):
            # The change can only come after this.
            await user.accumulate(self, n)
            return self.grad

    p = Asking.parameter()
    assert await asyncio.wait_for(p._tessera.ask(User.remote(), 3).result(), 20) is None
    assert await p.pull("grad") == 3


async def test_in_a_loop_over_items(runtime):
    p = Field.parameter()
    user = User.remote(len=runtime.num_workers)

    @runtime.async_for(range(10))
    async def loop(worker, i):
        await user.accumulate_async(p, i, runtime=worker)

    await loop
    assert await p.pull("grad") == 45


async def test_param_1_the_root_lives_as_long_as_somebody_refers_to_it(runtime, log):
    @mosaic.tessera
    class Mortal:
        def __init__(self, log: Log):
            self.log = log
            self.value = 1

        def __del__(self):
            log = self.log
            if self.is_tessera:
                log.add("root gone")

        def hello(self):
            return "hello"

    user = User.remote()
    p = Mortal.parameter(log)
    await user.keep(p)
    root = p._tessera
    del p
    gc.collect()
    assert await root.hello().result() == "hello"
    del root
    gc.collect()
    assert (await user.kept)[0]._tessera.uid
    await user.forget()
    await eventually_async(lambda: "root gone" in log.lines(), "the root is freed")


async def test_a_value_at_the_warehouse_as_an_argument(runtime):
    living = await runtime.exec("for a root", lambda _: [1])
    p = Field.parameter()
    for take in (p._tessera.take, lambda x: p.take(x, propagate=True)):
        take(living)
        await runtime.exec("for a root", lambda old: [*old, 2] if len(old) > 2 else old)
        await p._tessera.value
    await p._tessera.value
    append = await runtime.exec("append", lambda _, living: living.append("same"), (living,))
    await append
    assert (await p._tessera.value)[-1] == "same", "the root has the living value"
    user = User.remote()
    assert await user.value(Field.parameter(3)).result() == 3


# cached


async def test_cached_ones_come_without_their_state(runtime):
    p = Field.parameter(1, cached=True)
    user = User.remote()
    assert p.cached is True
    assert await user.value(p).result() == 1
    p.value = 5
    assert await user.value(p).result() == 1
    await p.push()
    assert await user.value(p).result() == 5
    assert await user.value_async(p).result() == 5


async def test_cached_ones_are_refreshed_by_publish(runtime):
    p = Field.parameter(1, cached=True)
    user = User.remote()
    await p
    p.add(1, propagate=True)
    await p.publish()
    assert await user.value(p).result() == 2
    p.value = 7
    await p.push("value", publish=True)
    assert await user.value(p).result() == 7


async def test_cached_ones_are_tied_and_their_own(runtime):
    p = Field.parameter([1], cached=True)
    user = User.remote()
    assert await user.change(p, [2]).result() == [1, 2]
    assert await p.pull("value") == [1, 2]
    described = await user.describe(p).result()
    assert described == (True, True, True, p._tessera.uid, "warehouse:0", True)
    back = await Echo.remote().back(p).result()
    assert back.cached is True
    assert (await Echo.remote().back([p]).result())[0]._tessera.uid == p._tessera.uid
    # A copy made here is one of the local state.
    assert copy.copy(p).value == [1, 2]


async def test_a_cached_one_that_comes_to_the_warehouse(runtime):
    p = Field.parameter(3, cached=True)
    q = Field.parameter()
    q.take(p, propagate=True)
    assert (await q._tessera.value)._tessera.uid == p._tessera.uid
    value = await runtime.exec("cached", lambda _, field: field.value, (p,))
    assert await value.value() == 3


async def test_a_cached_one_while_the_root_is_busy(runtime, flag):
    @mosaic.tessera
    class Busy:
        def __init__(self):
            self.value = 1

        async def pass_on(self, user):
            return await user.value(self).result()

        async def until(self, started, release):
            started.set()
            await release.wait_async()

    p = Busy.parameter(cached=True)
    user = User.remote()
    started, release = flag("started"), flag("release")
    running = p._tessera.until(started, release)
    await started.wait_async()
    assert await asyncio.wait_for(user.value(p).result(), 20) == 1
    release.set()
    await running
    assert await asyncio.wait_for(p._tessera.pass_on(user).result(), 20) == 1


# make_parameter


async def test_of_a_proxy(runtime):
    counter = Counter.remote(5)
    p = await counter.make_parameter()
    assert isinstance(p, Counter)
    assert isinstance(p, ParameterMixin)
    assert p._tessera.uid == counter.uid
    assert p.count == 5
    assert p.add(2, propagate=True) == 7
    assert await counter.value().result() == 7
    await counter.add(1)
    assert await p.pull("count") == 8
    p.count = 20
    await p.push("count")
    assert await counter.value().result() == 20


async def test_of_a_proxy_with_arguments(runtime):
    counter = Counter.remote(5)
    p = counter.make_parameter(1)
    assert p.count == 1
    assert await p.pull("count") == 5


def test_of_a_proxy_in_synchronous_code(runtime):
    p = Counter.remote(5).make_parameter()
    assert p.count == 5


async def test_of_a_proxy_cached(runtime):
    field = Field.remote(5)
    p = await field.make_parameter(cached=True)
    user = User.remote()
    assert await user.value(p).result() == 5
    p.value = 6
    await p.push()
    assert await user.value(p).result() == 6


async def test_of_an_array(runtime):
    array = Counter.remote(5, len=3)
    made = array.make_parameter()
    assert isinstance(made, list)
    for p in made:
        await p
    made[2].add(1, propagate=True)
    assert await array.value().result() == [5, 5, 6]


async def test_of_a_hosted_tessera(runtime):
    hosted = Counter.local(5)
    p = hosted.make_parameter()
    assert p.count == 5
    p.add(1)
    assert hosted.obj.count == 5
    await p.push("count")
    assert hosted.obj.count == 6
    assert Counter.local(5).make_parameter(3).count == 3


# local_parameter


async def test_a_local_root(runtime):
    p = Field.local_parameter(4)
    assert isinstance(p, Field)
    assert isinstance(p, ParameterMixin)
    assert (p.is_tessera, p.is_proxy, p.has_tessera) == (True, False, True)
    assert p._tessera.runtime_id == "head"
    assert p.add(1, propagate=True) == 5, "once"
    await p.push()
    assert await p.pull("value") == 5
    assert await p.get("value") == 5
    await p.set("value", 6)
    assert (await p) is p
    user = User.remote()
    assert await user.change(p, 2).result() == 8
    assert p.value == 8, "others change this very object"
    back = await Echo.remote().back(p).result()
    assert back.is_proxy
    assert back._tessera.uid == p._tessera.uid


async def test_a_local_root_in_a_worker(runtime):
    @mosaic.tessera
    class Maker:
        async def make(self):
            self.field = Field.local_parameter(1)
            return [self.field]

        async def value(self):
            return self.field.value

    maker = Maker.remote()
    (p,) = await maker.make().result()
    assert p._tessera.runtime_id == maker.runtime_id
    p.add(4, propagate=True)
    await p.pull()
    assert await maker.value().result() == 5


@pytest.mark.parametrize("cycle", [False, True])
async def test_a_local_root_outlives_its_maker_and_is_freed(runtime, log, cycle):
    @mosaic.tessera
    class Mortal:
        def __init__(self, log):
            self.log = log
            self.value = 1

        def __del__(self):
            self.log.add("gone")

    p = Mortal.local_parameter(log)
    user = User.remote()
    await user.keep(p._tessera.make_parameter(Log(os.devnull)))
    if cycle:
        p.itself = p
    del p
    gc.collect()
    (kept,) = await user.kept
    assert await kept.pull("value") == 1
    assert log.lines() == []
    del kept
    await user.forget()

    def freed():
        gc.collect()
        return log.lines() == ["gone"]

    await eventually_async(freed, "the root is freed")


async def test_in_holders(runtime):
    p = Field.parameter(2)
    holder = Holder.remote(p)
    del p
    gc.collect()
    back = await holder.give(0).result()
    assert back.add(1, propagate=True) == 3
    assert await back.pull("value") == 3
