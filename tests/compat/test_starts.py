"""`mosaic.init` and `mosaic.run` as programs of mosaic 1.2 call them."""

import pytest

import mosaic
from mosaic.runtime.head import POSITIONS


async def uid(runtime):
    return runtime.uid


async def both(runtime, word):
    return runtime.uid, word


def test_a_second_init_gives_the_runtime_that_runs():
    first = mosaic.init("head", num_workers=1, log_level="error", reuse_head=True)
    try:
        assert first is mosaic.runtime()
        assert mosaic.init() is first
        assert mosaic.init("head", num_workers=1, log_level="error") is first
        # What means nothing on one machine says nothing of the runtime.
        assert mosaic.init("head", (), "127.0.0.1", 3000, node_list=None, profile=False) is first
        with pytest.raises(mosaic.MosaicError, match=r"num_workers=1 instead of 2.*mosaic.stop"):
            mosaic.init(num_workers=2)
        with pytest.raises(mosaic.MosaicError, match=r"log_level='error' instead of 'debug'"):
            mosaic.init(log_level="debug")
        with pytest.raises(TypeError, match=r"'num_wokers' .did you mean 'num_workers'"):
            mosaic.init(num_wokers=1)
        assert mosaic.runtime() is first
        assert first.reuse_head is True
        # In a worker, too, where a library may call it.
        assert first.submit(init_again).wait() == "worker:0:0"
    finally:
        mosaic.stop()
    assert mosaic.runtime() is None


def test_what_is_not_given_counts_as_its_default():
    with mosaic.session(num_workers=1) as first:
        assert mosaic.init(log_level="perf", mode="local") is first
        with pytest.raises(mosaic.MosaicError, match=r"log_level='perf' instead of 'error'"):
            mosaic.init(log_level="error")


def init_again():
    return mosaic.init("head").uid


def test_options_by_position():
    given = dict.fromkeys(POSITIONS) | {"runtime_type": "head", "num_workers": 1, "num_threads": 2}
    runtime = mosaic.init(*given.values())
    try:
        assert (runtime.num_workers, runtime.num_threads) == (1, 2)
    finally:
        mosaic.stop()
    with pytest.raises(TypeError, match=r"runtime_type twice"):
        mosaic.init("head", runtime_type="head")
    with pytest.raises(TypeError, match=r"at most 24 options by position"):
        mosaic.init(*range(25))
    assert mosaic.runtime() is None


def test_the_type_of_the_runtime_is_no_argument_of_main():
    assert mosaic.run(uid, "head", num_workers=1, num_nodes=1) == "head"
    assert mosaic.run(both, "head", num_workers=1) == ("head", "head")
    with pytest.raises(TypeError):
        mosaic.run(uid, "other", num_workers=1)


@pytest.mark.parametrize("call", [lambda **given: mosaic.run(uid, **given), mosaic.init])
def test_unknown_options_name_the_nearest(call):
    with pytest.raises(TypeError, match=r"'monitor_strategi' .did you mean 'monitor_strategy'"):
        call(monitor_strategi="round-robin")
    with pytest.raises(TypeError, match=r"no option 'xyzzy'$"):
        call(xyzzy=1)
    assert mosaic.runtime() is None


def test_a_session_and_a_run_do_not_stop_the_runtime_of_another():
    mosaic.init(num_workers=1)
    try:
        with pytest.raises(mosaic.MosaicError, match=r"already"):
            mosaic.run(uid)
        with pytest.raises(mosaic.MosaicError, match=r"already"), mosaic.session():
            pass
        assert mosaic.runtime() is not None
    finally:
        mosaic.stop()


def test_too_few_workers_in_time_is_a_runtime_error():
    with pytest.raises(RuntimeError, match=r"\d of 1 workers take part after 0.001 s") as raised:
        mosaic.init(num_workers=1, timeout=0.001)
    assert isinstance(raised.value, TimeoutError)
    assert mosaic.runtime() is None
