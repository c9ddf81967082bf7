"""Who keeps a tessera alive, and when it goes."""

import asyncio
import gc

import pytest

import mosaic
from tests.support.actors import Counter, Echo, Holder, Mortal
from tests.support.rendezvous import eventually, eventually_async


@mosaic.tessera
class Maker:
    """Makes tesserae of its own."""

    def __init__(self):
        self.mine = []

    def make(self, log, name):
        return Mortal.remote(log, name)

    def make_and_keep(self, log, name):
        self.mine.append(Mortal.remote(log, name))
        return len(self.mine)

    def make_for_a_moment(self, log, name):
        Mortal.remote(log, name)

    def let_go(self):
        self.mine.clear()


def other_worker(runtime, uid):
    return next(worker.uid for worker in runtime.workers if worker.uid != uid)


async def gone(log, *names):
    gc.collect()
    await eventually_async(lambda: sorted(log.lines()) == sorted(names), f"{names} freed")


async def test_freed_when_the_last_proxy_goes(runtime, log):
    mortal = await Mortal.remote(log, "alone")
    again = mortal
    del mortal
    gc.collect()
    assert await again.hello().result() == "alone"
    assert log.lines() == []
    del again
    await gone(log, "alone")


def test_freed_in_synchronous_code(runtime, log):
    mortal = Mortal.remote(log, "sync")
    mortal.hello().wait()
    del mortal
    gc.collect()
    eventually(lambda: log.lines() == ["sync"], "freed")


async def test_freed_when_never_called(runtime, log):
    Mortal.remote(log, "never called")
    await gone(log, "never called")


async def test_calls_in_flight_keep_it_alive(runtime, log):
    mortal = Mortal.remote(log, "in flight")
    tasks = [mortal.hello() for _ in range(20)]
    del mortal
    gc.collect()
    assert [await task.result() for task in tasks] == ["in flight"] * 20
    del tasks
    await gone(log, "in flight")


async def test_passed_on_it_lives_with_its_new_holder(runtime, log):
    mortal = await Mortal.remote(log, "moved")
    holder = Holder.remote(runtime=other_worker(runtime, mortal.runtime_id))
    await holder.keep("m", mortal)
    del mortal
    gc.collect()
    assert await holder.ask("m", "hello").result() == "moved"
    assert log.lines() == []
    await holder.forget("m")
    await gone(log, "moved")


async def test_passed_in_flight_nobody_else_holds_it(runtime, log):
    # Between the caller's last proxy and the callee's first there is only the message.
    for i in range(20):
        holder = Holder.remote()
        kept = holder.keep("m", Mortal.remote(log, f"m{i}"))
        gc.collect()
        await kept
        assert await holder.ask("m", "hello").result() == f"m{i}"
        del holder, kept
    await gone(log, *(f"m{i}" for i in range(20)))


async def test_stored_in_another_tessera_it_goes_with_that(runtime, log):
    holder = Holder.remote(Mortal.remote(log, "inner"))
    assert await holder.ask(0, "hello").result() == "inner"
    assert log.lines() == []
    del holder
    await gone(log, "inner")


async def test_given_back_from_a_holder(runtime, log):
    holder = Holder.remote(Mortal.remote(log, "back"))
    mortal = await holder.give(0).result()
    await holder.forget(0)
    del holder
    gc.collect()
    assert await mortal.hello().result() == "back"
    del mortal
    await gone(log, "back")


async def test_made_and_returned_by_a_worker(runtime, log):
    maker = Maker.remote()
    mortal = await maker.make(log, "made elsewhere").result()
    assert await mortal.hello().result() == "made elsewhere"
    del maker
    gc.collect()
    assert await mortal.hello().result() == "made elsewhere"
    del mortal
    await gone(log, "made elsewhere")


async def test_made_and_kept_by_a_worker(runtime, log):
    maker = Maker.remote()
    await maker.make_and_keep(log, "kept")
    await maker.make_for_a_moment(log, "for a moment")
    await gone(log, "for a moment")
    await maker.let_go()
    await gone(log, "for a moment", "kept")


async def test_an_unread_result_holds_the_proxy_in_it(runtime, log):
    task = Maker.remote().make(log, "in a result")
    await task
    gc.collect()
    assert log.lines() == []
    mortal = await task.result()
    assert await mortal.hello().result() == "in a result"
    del mortal, task
    await gone(log, "in a result")


async def test_stored_objects_keep_it_alive(runtime, log):
    reference = await runtime.put({"proxy": Mortal.remote(log, "stored")})
    gc.collect()
    assert log.lines() == []
    value = await reference.value()
    assert await value["proxy"].hello().result() == "stored"
    del value
    gc.collect()
    await reference.drop()
    del reference
    await gone(log, "stored")


async def test_copies_of_a_proxy_count_each(runtime, log):
    mortal = Mortal.remote(log, "copied")
    holders = [Holder.remote(mortal) for _ in range(4)]
    for holder in holders:
        await holder
    del mortal, holder
    while holders:
        gc.collect()
        assert await holders[0].ask(0, "hello").result() == "copied"
        assert log.lines() == []
        holders.pop()
    await gone(log, "copied")


async def test_arrays_free_all_their_elements(runtime, log):
    array = Mortal.remote(log, "element", len=3)
    await array
    del array
    await gone(log, *["element"] * 3)


async def test_many_come_and_go(runtime, log):
    mortals = [Mortal.remote(log, "many") for _ in range(300)]
    assert await mortals[-1].hello().result() == "many"
    del mortals
    await gone(log, *["many"] * 300)


async def test_a_task_as_argument_lives_until_it_was_used(runtime, log):
    holder = Holder.remote()
    kept = holder.keep("m", Maker.remote().make(log, "through a task"))
    gc.collect()
    await kept
    assert await holder.ask("m", "hello").result() == "through a task"
    del kept, holder
    await gone(log, "through a task")


async def test_proxies_come_back_as_the_same_tessera(runtime):
    counter = Counter.remote(1)
    echo = Echo.remote()
    for _ in range(5):
        again = await echo.back(counter).result()
        assert again.uid == counter.uid
        await again.add(1)
    assert await counter.value().result() == 6


async def test_tasks_passed_on_work_after_the_sender_let_go(runtime):
    holder = Holder.remote()
    await holder.keep("t", [Echo.remote().back("value")])
    gc.collect()

    @mosaic.tessera
    class Reader:
        async def read(self, box):
            return await box[0].result()

    box = await holder.give("t").result()
    assert await Reader.remote().read(box).result() == "value"


async def test_nothing_pending_is_left(runtime):
    echo = Echo.remote()
    await asyncio.gather(*(echo.back(i) for i in range(100)))
    await runtime.barrier(timeout=20)


async def test_references_are_not_made_by_pickling_alone(runtime):
    import pickle

    counter = Counter.remote(1)
    await counter
    try:
        data = pickle.dumps(counter)
    except Exception as error:
        # Refusing is fine: outside a message nothing would count the reference.
        assert str(error)  # noqa: PT017
    else:
        assert await pickle.loads(data).value().result() == 1


def test_proxies_left_at_the_end_do_no_harm():
    from tests.support.scripts import run_script

    _, err = run_script(
        """
        import mosaic
        from tests.support.actors import Counter

        with mosaic.session(num_workers=1):
            counter = Counter.remote(1)
            task = counter.add(1)
            assert task.wait() == 2
        try:
            counter.value().wait()
        except (mosaic.MosaicError, RuntimeError) as error:
            print(type(error).__name__)
        else:
            raise SystemExit("a stopped runtime answered")
        """
    )
    assert "Traceback" not in err


@pytest.mark.parametrize("count", [1, 50])
async def test_collecting_a_cycle_of_tesserae_by_stop(runtime, log, count):
    # Counts do not see cycles: `stop` does.
    holders = [Holder.remote(Mortal.remote(log, "cycle")) for _ in range(count)]
    for i, holder in enumerate(holders):
        await holder.keep("next", holders[(i + 1) % count])
    for holder in holders:
        await holder.stop()
    del holder, holders
    await gone(log, *["cycle"] * count)
