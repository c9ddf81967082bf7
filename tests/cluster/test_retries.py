"""`max_retries`: run again, as often as was asked, and never unasked."""

import pytest

import mosaic
from tests.support.rendezvous import Log
from tests.support.scripts import run_script


class Flaky:
    """Fails the first `failures` times."""

    def __init__(self, log: Log, failures: int):
        self.log = log
        self.failures = failures

    def work(self, value="worked"):
        self.log.add("run")
        if len(self.log.lines()) <= self.failures:
            raise OSError(5, f"attempt {len(self.log.lines())}")
        return value

    async def work_async(self):
        return self.work()

    def other(self):
        return "other"


@mosaic.tessera
class Plain(Flaky):
    pass


@mosaic.tessera(max_retries=2)
class Patient(Flaky):
    pass


async def test_a_failing_call_is_not_repeated_unasked(runtime, log):
    with pytest.raises(OSError, match="attempt 1"):
        await Plain.remote(log, 1).work()
    assert len(log.lines()) == 1


@pytest.mark.parametrize("method", ["work", "work_async"])
async def test_option_of_the_decorator(runtime, log, method):
    assert await Patient.remote(log, 2)[method]().result() == "worked"
    assert len(log.lines()) == 3


async def test_option_of_remote(runtime, log):
    assert await Plain.remote(log, 2, max_retries=2).work().result() == "worked"
    assert len(log.lines()) == 3


async def test_option_of_the_call(runtime, log):
    assert await Plain.remote(log, 1).work("mine", max_retries=1).result() == "mine"
    assert len(log.lines()) == 2


async def test_the_call_site_wins(runtime, log):
    with pytest.raises(OSError, match="attempt 1"):
        await Patient.remote(log, 1).work(max_retries=0)
    assert len(log.lines()) == 1


async def test_remote_wins_over_the_decorator(runtime, log):
    with pytest.raises(OSError, match="attempt 1"):
        await Patient.remote(log, 1, max_retries=0).work()
    assert len(log.lines()) == 1


async def test_the_last_failure_is_raised(runtime, log):
    with pytest.raises(OSError, match="attempt 3"):
        await Patient.remote(log, 99).work()
    assert len(log.lines()) == 3


async def test_calls_behind_a_retried_one_keep_their_order(runtime, log):
    patient = Patient.remote(log, 2)
    first = patient.work()
    assert await patient.other().result() == "other"
    assert first.done()


def test_every_retry_is_logged():
    out, err = run_script(
        """
        import mosaic

        @mosaic.tessera(max_retries=2)
        class Flaky:
            def __init__(self):
                self.runs = 0

            def work(self):
                self.runs += 1
                if self.runs < 3:
                    raise OSError(5, f"attempt {self.runs}")
                return self.runs

        with mosaic.session(num_workers=1):
            assert Flaky.remote().work().wait() == 3
        """
    )
    lines = [line for line in (out + err).splitlines() if "Flaky.work" in line]
    assert len(lines) == 2
    for number, line in enumerate(lines, 1):
        assert f"attempt {number}" in line


async def test_a_cancelled_call_is_not_retried(runtime, flag):
    cancelled = flag("cancelled")

    @mosaic.tessera
    class Sleeper:
        async def sleep(self, started, cancelled):
            started.set()
            import asyncio

            try:
                await asyncio.Event().wait()
            finally:
                assert not cancelled.is_set(), "ran again"
                cancelled.set()

        def hello(self):
            return "hello"

    started = flag("started")
    sleeper = Sleeper.remote(max_retries=5)
    task = sleeper.sleep(started, cancelled)
    await started.wait_async()
    task.cancel()
    await cancelled.wait_async()
    assert await sleeper.hello().result() == "hello"
    assert task.state == "cancelled"
