"""`remote`, `local`, `select_worker`: how objects come to live in workers."""

import os

import pytest

import mosaic
from tests.support.actors import Counter, Echo
from tests.support.rendezvous import Flag, Log


@mosaic.tessera
class Slow:
    """Is not built before a flag is set."""

    def __init__(self, release: Flag, log: list | None = None):
        release.wait()
        self.calls = []

    def note(self, x):
        self.calls.append(x)
        return list(self.calls)


@mosaic.tessera
class Broken:
    def __init__(self, message="no such mesh", log: Log | None = None, good_after=99):
        if log is not None:
            log.add("init")
            if len(log.lines()) > good_after:
                return
        raise ValueError(message, 7)

    def hello(self):
        return "hello"


@mosaic.tessera(max_retries=2)
class Options:
    def __init__(self, *args, **kwargs):
        self.args = args
        self.kwargs = kwargs

    def given(self):
        return self.args, self.kwargs


class Child(Counter):
    """A subclass that nobody decorated."""

    def value(self):
        return -self.count

    def kind(self):
        return type(self).__name__


@mosaic.tessera
class Grandchild(Child):
    """One that somebody did, with keywords of its own."""

    def __init__(self, *args, **kwargs):
        self.colour = kwargs.pop("colour", "red")
        super().__init__(*args, **kwargs)

    def paint(self):
        return self.colour


def test_remote_returns_before_the_object_exists(runtime, flag):
    release = flag("release")
    proxy = Slow.remote(release)
    tasks = [proxy.note(i) for i in range(5)]
    assert proxy.state == "pending"
    assert not any(task.done() for task in tasks)
    release.set()
    assert [task.wait() for task in tasks] == [list(range(i + 1)) for i in range(5)]


async def test_awaiting_a_proxy_waits_for_the_object(runtime, flag):
    release = flag("release")
    proxy = Slow.remote(release)
    release.set()
    assert (await proxy) is proxy
    assert proxy.state == "listening"


def test_object_lives_in_a_worker(runtime):
    assert Echo.remote().pid().wait() != os.getpid()


def test_arguments_reach_init(runtime):
    args, kwargs = Options.remote(1, "two", three=[3]).given().wait()
    assert args == (1, "two")
    assert kwargs == {"three": [3]}


async def test_tasks_and_proxies_are_arguments_of_init(runtime):
    counter = Counter.remote(5)
    args, kwargs = await Options.remote(counter.add(2), other=counter).given().result()
    assert args == (7,)
    assert await kwargs["other"].value().result() == 7


async def test_options_do_not_reach_init(runtime):
    worker = runtime.workers[0]
    proxy = Options.remote(1, runtime=worker, max_retries=1, max_restarts=1, is_async=True, size=9)
    assert await proxy.given().result() == ((1,), {"size": 9})


async def test_uid_can_be_chosen(runtime):
    proxy = Options.remote(uid="tess-options-mine")
    assert proxy.uid == "tess-options-mine"
    assert proxy.given().tessera_id == "tess-options-mine"
    assert await proxy.given().result() == ((), {})


async def test_uids_name_the_class_and_differ(runtime):
    one, two = Echo.remote(), Echo.remote()
    assert one.uid.startswith("tess-echo-")
    assert one.uid != two.uid


async def test_runtime_option_places_the_object(runtime):
    for worker in runtime.workers:
        by_proxy = await Echo.remote(runtime=worker)
        by_uid = await Echo.remote(runtime=worker.uid)
        assert by_proxy.runtime_id == by_uid.runtime_id == worker.uid
        assert await by_proxy.pid().result() == await by_uid.pid().result()


async def test_placement_uses_every_worker(runtime):
    proxies = [Echo.remote() for _ in range(4)]
    for proxy in proxies:
        await proxy
    assert {p.runtime_id for p in proxies} == {w.uid for w in runtime.workers}


async def test_unknown_runtime_is_refused(runtime):
    with pytest.raises((mosaic.MosaicError, ValueError, LookupError), match="worker:0:77"):
        await Echo.remote(runtime="worker:0:77")


async def test_failing_constructor_raises_everywhere(runtime):
    proxy = Broken.remote("no such mesh")
    early = proxy.hello()
    for awaitable in (proxy, early, early.result(), proxy.hello().result(), proxy.get_attr("x")):
        with pytest.raises(ValueError, match="no such mesh") as info:
            await awaitable
        assert info.value.args == ("no such mesh", 7)
    assert proxy.state == "failed"


def test_failing_constructor_raises_in_synchronous_code(runtime):
    with pytest.raises(ValueError, match="no such mesh"):
        Broken.remote().hello().wait()


async def test_worker_survives_a_failing_constructor(runtime):
    worker = runtime.workers[0]
    echo = Echo.remote(runtime=worker)
    with pytest.raises(ValueError, match="no such mesh"):
        await Broken.remote(runtime=worker)
    assert await echo.back(1).result() == 1


async def test_construction_is_retried(runtime, log):
    proxy = Broken.remote(log=log, good_after=2, max_retries=2)
    assert await proxy.hello().result() == "hello"
    assert len(log.lines()) == 3


async def test_construction_is_not_retried_unasked(runtime, log):
    with pytest.raises(ValueError, match="no such mesh"):
        await Broken.remote(log=log)
    assert len(log.lines()) == 1


async def test_missing_arguments_of_init(runtime):
    with pytest.raises(TypeError, match="release"):
        await Slow.remote()


def test_subclasses_are_built_as_what_they_are(runtime):
    child = Child.remote(3)
    assert child.kind().wait() == "Child"
    assert child.value().wait() == -3
    grandchild = Grandchild.remote(4, colour="blue")
    assert grandchild.kind().wait() == "Grandchild"
    assert grandchild.paint().wait() == "blue"
    assert grandchild.value().wait() == -4


async def test_classes_from_functions(runtime):
    @mosaic.tessera
    class Inner:
        def __init__(self):
            self.where = where

        def hello(self):
            return f"hello from {self.where}"

    where = "a closure"
    assert await Inner.remote().hello().result() == "hello from a closure"


async def test_classes_from_exec(runtime):
    namespace = {"__name__": "__main__", "mosaic": mosaic}
    exec(
        "@mosaic.tessera\n"
        "class Cell:\n"
        "    def hello(self):\n"
        "        return helper() + 1\n"
        "def helper():\n"
        "    return 41\n",
        namespace,
    )
    assert await namespace["Cell"].remote().hello().result() == 42


async def test_redefined_class_is_the_new_one(runtime):
    # What running a notebook's cell a second time does.
    answers = []
    for n in (1, 2):
        namespace = {"__name__": "__main__", "mosaic": mosaic}
        exec(
            f"@mosaic.tessera\nclass Cell:\n    def hello(self):\n        return {n}\n",
            namespace,
        )
        answers.append(await namespace["Cell"].remote().hello().result())
    assert answers == [1, 2]


async def test_select_worker(runtime):
    uids = {worker.uid for worker in runtime.workers}
    assert await Echo.select_worker() in uids
    assert {await Echo.select_worker() for _ in range(4)} <= uids
    assert await Echo.select_worker("worker:0:1") == "worker:0:1"
    assert await Echo.select_worker(runtime.workers[0]) == runtime.workers[0].uid


async def test_local_is_hosted_here_and_callable_from_workers(runtime):
    hosted = Echo.local()
    assert isinstance(hosted.obj, Echo)
    caller = Echo.remote()
    assert await caller.call(hosted, "pid").result() == os.getpid()
    assert await caller.call(hosted, "back", [1, 2]).result() == [1, 2]
    assert await caller.call(hosted, "back_async", "x").result() == "x"


async def test_local_objects_state_is_shared_with_its_callers(runtime):
    hosted = Counter.local(1)
    assert await Echo.remote().call(hosted, "add", 4).result() == 5
    assert hosted.obj.count == 5
