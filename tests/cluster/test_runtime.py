"""Starting and stopping: `run`, `init`, `session`, `interactive`. Each test has its own runtime."""

import asyncio
import os
import threading
import time

import pytest

import mosaic
from tests.support.actors import Counter, Echo
from tests.support.scripts import run_script
from tests.support.tables import shown


def environment(name):
    return os.environ.get(name)


@pytest.fixture(autouse=True)
def no_runtime_is_left():
    """Keep a test that fails in the middle from failing the others."""
    yield
    mosaic.clear_runtime()


def test_run_returns_mains_value():
    async def main(runtime):
        assert runtime is mosaic.runtime()
        return await Counter.remote(1).add(2).result()

    assert mosaic.run(main, num_workers=1) == 3


def test_run_raises_mains_exception_after_the_stop():
    pids = []

    async def main(runtime):
        pids.append(await Echo.remote().pid().result())
        raise LookupError("from main")

    with pytest.raises(LookupError, match="from main"):
        mosaic.run(main, num_workers=1)
    assert not os.path.exists(f"/proc/{pids[0]}"), "the worker was stopped first"


def test_an_empty_main():
    async def main(runtime):
        pass

    assert mosaic.run(main, num_workers=2) is None


def test_run_again_and_again():
    async def main(runtime):
        return await Counter.remote(runtime.num_workers).value().result()

    assert [mosaic.run(main, num_workers=n) for n in (1, 2, 1)] == [1, 2, 1]


def test_main_may_leave_calls_running():
    async def main(runtime):
        Echo.remote().back(1)
        return "left"

    assert mosaic.run(main, num_workers=1) == "left"


def test_init_and_stop():
    runtime = mosaic.init(num_workers=1)
    try:
        assert mosaic.runtime() is not None
        assert runtime is None or runtime is mosaic.runtime()
        assert Counter.remote(1).add(1).wait() == 2
    finally:
        mosaic.stop()
    assert mosaic.runtime() is None
    with pytest.raises((RuntimeError, mosaic.MosaicError)):
        Counter.remote()


def test_stop_twice_and_without_a_runtime():
    mosaic.stop()
    mosaic.init(num_workers=1)
    mosaic.stop()
    mosaic.stop()
    mosaic.clear_runtime()
    assert mosaic.runtime() is None


def test_session():
    with mosaic.session(num_workers=1) as runtime:
        assert mosaic.runtime() is runtime
        assert Echo.remote().back("x").wait() == "x"
    assert mosaic.runtime() is None


def test_session_stops_after_an_exception():
    with pytest.raises(KeyError), mosaic.session(num_workers=1):
        raise KeyError("inside")
    assert mosaic.runtime() is None


def test_a_loop_serves_one_runtime_after_another(runner):
    async def host():
        hosted = Counter.local(1)
        return await asyncio.wait_for(hosted.proxy.add(1).result(), 20)

    for _ in range(2):
        with mosaic.session(num_workers=1):
            assert runner.run(host()) == 2


def test_a_second_runtime_is_refused_or_the_same():
    with mosaic.session(num_workers=1) as runtime:
        try:
            second = mosaic.init(num_workers=1)
        except (RuntimeError, mosaic.MosaicError) as error:
            assert "runtime" in str(error).lower()  # noqa: PT017
        else:
            assert second in {None, runtime}
        assert Echo.remote().back(1).wait() == 1


def test_interactive_in_a_running_loop():
    async def cells():
        await mosaic.interactive("on", num_workers=2)
        assert mosaic.runtime().num_workers == 2
        assert mosaic.runtime().mode == "interactive"
        assert await Counter.remote(1).add(1).result() == 2
        await mosaic.interactive("off")
        assert mosaic.runtime() is None
        await mosaic.interactive("on", num_workers=1)
        assert await Counter.remote(1).add(4).result() == 5
        await mosaic.interactive("off")

    asyncio.run(cells())


def test_what_a_runtime_tells():
    with mosaic.session(num_workers=2) as runtime:
        assert runtime.num_workers == 2
        assert len(runtime.workers) == 2
        assert {worker.uid for worker in runtime.workers} == {"worker:0:0", "worker:0:1"}
        assert sorted(tuple(worker.indices) for worker in runtime.workers) == [(0, 0), (0, 1)]
        assert runtime.num_nodes == 1
        assert [node.uid for node in runtime.nodes] == ["node:0"]
        assert runtime.uid == "head"
        assert runtime.mode == "local"
        for name in ("indices", "address", "port"):
            assert hasattr(runtime, name)


def test_getters():
    with mosaic.session(num_workers=2) as runtime:
        assert mosaic.get_worker("worker:0:1").uid == "worker:0:1"
        assert mosaic.get_node("node:0").uid == "node:0"
        assert mosaic.get_head().uid == "head"
        assert mosaic.get_monitor().uid == "monitor"
        assert mosaic.get_event_loop() is not None
        assert list(mosaic.get_workers().values()) == list(runtime.workers)


def test_unknown_names_of_the_module():
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = mosaic.no_such_thing
    with pytest.raises(AttributeError):
        mosaic.get_local_warehouse()
    with mosaic.session(num_workers=1), pytest.raises(AttributeError, match="no_such_thing"):
        _ = mosaic.no_such_thing


def test_runtime_after_importing_the_package_of_that_name():
    import mosaic.runtime

    with mosaic.session(num_workers=1) as runtime:
        assert mosaic.runtime() is runtime
        assert isinstance(runtime, mosaic.runtime.Runtime)


async def test_wait_for_workers(fresh):
    await fresh.wait_for_workers(2, timeout=20)
    with pytest.raises(TimeoutError, match="3"):
        await fresh.wait_for_workers(3, timeout=0.05)


def test_default_number_of_workers_follows_the_affinity():
    out, _ = run_script(
        """
        import os
        import mosaic

        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        with mosaic.session() as runtime:
            print(runtime.num_workers)
        """
    )
    assert out.split() == ["1"]


def test_num_threads_reaches_the_workers():
    with mosaic.session(num_workers=1, num_threads=3) as runtime:
        task = runtime.submit(environment, "OMP_NUM_THREADS")
        assert task.wait() == "3"


def test_more_threads_than_cores_leave_one_worker():
    with mosaic.session(num_threads=1000) as runtime:
        assert runtime.num_workers == 1
        assert runtime.submit(abs, -1).wait() == 1


@pytest.mark.parametrize("number", [0, -1, "two", 1.5], ids=repr)
def test_impossible_numbers_of_workers(number):
    with (
        pytest.raises((ValueError, TypeError), match="num_workers"),
        mosaic.session(num_workers=number),
    ):
        pass
    assert mosaic.runtime() is None


def test_misspelt_options_are_refused():
    with pytest.raises(TypeError, match="num_worker"), mosaic.session(num_worker=1):
        pass


def test_workers_share_directory_and_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A_VARIABLE_OF_MINE", "its value")
    with mosaic.session(num_workers=1) as runtime:
        assert runtime.submit(os.getcwd).wait() == str(tmp_path)
        assert runtime.submit(environment, "A_VARIABLE_OF_MINE").wait() == "its value"


def test_no_tcp_port_on_one_host():
    import psutil

    with mosaic.session(num_workers=1) as runtime:
        runtime.submit(int).wait()
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = [c for p in processes for c in p.net_connections("inet") if not c.raddr]
    assert listening == []


def test_no_processes_but_the_workers():
    import psutil

    with mosaic.session(num_workers=2) as runtime:
        runtime.submit(int).wait()
        assert len(psutil.Process().children(recursive=True)) == 2


def test_started_from_another_thread():
    results = []

    def work():
        with mosaic.session(num_workers=1):
            results.append(Echo.remote().back(5).wait())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(40)
    assert results == [5]


def test_run_inside_a_running_loop_explains_itself():
    async def main():
        async def inner(runtime):
            return 1

        with pytest.raises((RuntimeError, mosaic.MosaicError), match=r"(?i)loop|interactive"):
            mosaic.run(inner, num_workers=1)

    asyncio.run(main())
    assert mosaic.runtime() is None


def test_signal_handlers_of_programs_are_kept():
    import signal

    def mine(number, frame):
        pass

    previous = signal.signal(signal.SIGUSR1, mine), signal.signal(signal.SIGTERM, mine)
    try:
        with mosaic.session(num_workers=1):
            assert signal.getsignal(signal.SIGUSR1) is mine
            assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGUSR1, previous[0])
        signal.signal(signal.SIGTERM, previous[1])
    before = signal.getsignal(signal.SIGINT)
    with mosaic.session(num_workers=1):
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_a_coroutine_function_may_be_the_first_that_a_worker_runs():
    # The loop's thread is then the first to import much: others must not take it for the main thread.
    async def names():
        import threading

        main = await asyncio.to_thread(threading.main_thread)
        return threading.current_thread() is main, await asyncio.sleep(0, 5)

    with mosaic.session(num_workers=1) as runtime:
        assert runtime.submit(names).wait(20) == (False, 5)


def _go_on(started, ended):
    started.set()
    time.sleep(1.5)  # the method's own work
    ended.set()


def test_a_running_method_gets_the_time_that_the_stop_gives(flag):
    started, ended = flag("started"), flag("ended")
    with mosaic.session(num_workers=1, stop_grace=20) as runtime:
        task = runtime.submit(_go_on, started, ended)
        started.wait()
    assert ended.is_set()
    assert task.state == "failed", "its result came too late"


def test_after_the_stop_they_show_what_is_left():
    with mosaic.session(num_workers=1) as runtime:
        proxy, array = Counter.remote(1), Echo.remote(len=2)
        local, parameter = Counter.local(), Echo.parameter()
        task, tasks = proxy.add(1), array.back(1)
        tasks.wait()
        task.wait()
        reference = runtime.put("value")
        reference.wait()
        things = [proxy, array, local, parameter, task, tasks, reference, runtime]
        things += [task.outputs[0], task.done]
    for thing in things:
        assert "Traceback" not in repr(thing)
        shown(thing)
    assert shown(proxy).row()["state"] == "stopped"
    assert shown(runtime).row() == {"state": "stopped"}
