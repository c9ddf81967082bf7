"""What workers print is shown under the cell whose calls print it."""

import pytest

from tests.support.kernels import kernel_with_runtime

SPEAKER = """
import ctypes, logging, subprocess

@mosaic.tessera
class Speaker:
    def __init__(self, greeting=None):
        if greeting:
            print(greeting)

    def say(self, text, stream="stdout"):
        print(text, file=getattr(sys, stream))

    async def say_async(self, text):
        print(text)

    def until(self, started, release, text):
        started.set()
        release.wait()
        print(text)

    async def until_async(self, started, release, first, second):
        print(first, end="")
        started.set()
        await release.wait_async()
        print(second)

    async def relay(self, other, started, release, text):
        started.set()
        await release.wait_async()
        await other.say(text)

    def directly(self, text):
        os.write(1, f"{text}\\n".encode())

    def through_a_program(self, text):
        subprocess.run(["echo", text], check=True)

    def in_a_thread(self, text):
        thread = threading.Thread(target=print, args=(text,))
        thread.start()
        thread.join()

    def log(self, text):
        mosaic.logger().warning(text)

    def unfinished(self, text):
        print(text, end="", flush=True)

one, two = Speaker.remote(runtime="worker:0:0"), Speaker.remote(runtime="worker:0:1")
"""


@pytest.fixture(scope="module")
def speaking(kernel, runner):
    runner.run(kernel.run(SPEAKER))
    return kernel


def said(cell, name="stdout"):
    """Lines without the names of the workers."""
    return [line.partition("] ")[2] or line for line in cell.lines(name)]


@pytest.fixture
def flags(speaking, request):
    """Names of two flags that no other test uses, and the flags."""
    started, release = (f"{request.node.name}-{which}" for which in ("started", "release"))
    return started, release, speaking.flag(started), speaking.flag(release)


async def test_lines_name_their_worker_and_keep_their_order(speaking):
    cell = await speaking.run('await one.say("first"); await one.say("second"); await two.say("")')
    lines = cell.lines()
    assert [line for line in lines if "0:0" in line] == [
        "[worker:0:0] first",
        "[worker:0:0] second",
    ]
    assert [line for line in lines if "0:0" not in line] == ["[worker:0:1] "]


async def test_cell_2_lines_come_in_order_with_the_cells_own(speaking):
    for turn in range(20):
        cell = await speaking.run(f"""
            print("before")
            await one.say("plain {turn}")
            print("between")
            await two.say_async("coroutine {turn}")
            print("after")
        """)
        assert cell.lines() == [
            "before",
            f"[worker:0:0] plain {turn}",
            "between",
            f"[worker:0:1] coroutine {turn}",
            "after",
        ]


async def test_cell_2_a_cell_ends_after_what_its_calls_printed(speaking):
    for turn in range(20):
        cell = await speaking.run(
            f'await one.say("{turn} " + "x" * 200_000); await two.say("{turn}")'
        )
        assert [len(line) for line in said(cell)] == [200_001 + len(str(turn)), len(str(turn))]


async def test_standard_error_too(speaking):
    cell = await speaking.run('await one.say("wrong", "stderr")')
    assert (cell.lines("stderr"), cell.lines()) == (["[worker:0:0] wrong"], [])


async def test_cell_1_a_call_prints_while_another_cell_runs(speaking, flags):
    started, release, has_started, may_go_on = flags
    first = await speaking.run(
        f'task = one.until(Flag("{started}"), Flag("{release}"), "of the first")'
    )
    await has_started.wait_async()
    second = speaking.start('await two.say("of the second"); await task; print("end")')
    may_go_on.set()
    await speaking.finish(second)
    assert said(first) == ["of the first"]
    assert set(said(second)) == {"of the second", "end"}


async def test_cell_1_a_line_comes_after_its_cell_has_ended(speaking, flags):
    started, release, has_started, may_go_on = flags
    cell = await speaking.run(f'one.until(Flag("{started}"), Flag("{release}"), "late"); None')
    await has_started.wait_async()
    assert cell.streams == []
    may_go_on.set()
    await speaking.until(lambda: said(cell) == ["late"], "the line")


async def test_cell_1_a_background_task_of_an_earlier_cell(speaking, flags):
    started, _, _, _ = flags
    first = await speaking.run(f"""
        async def later():
            await Flag("{started}").wait_async()
            await one.say("from the background")
            print("own")

        background = asyncio.create_task(later())
    """)
    second = await speaking.run(f'await two.say("mine"); Flag("{started}").set(); await background')
    assert set(said(first)) == {"from the background", "own"}
    assert said(second) == ["mine"]


async def test_cell_1_a_call_made_by_a_method(speaking, flags):
    started, release, has_started, may_go_on = flags
    first = await speaking.run(
        f'task = one.relay(two, Flag("{started}"), Flag("{release}"), "from one to two")'
    )
    await has_started.wait_async()
    second = speaking.start('await two.say("mine"); await task')
    may_go_on.set()
    await speaking.finish(second)
    assert said(first) == ["from one to two"]
    assert said(second) == ["mine"]


async def test_cell_1_coroutines_that_take_turns_on_one_worker(speaking, flags):
    started, release, has_started, may_go_on = flags
    first = await speaking.run(
        f'task = one.until_async(Flag("{started}"), Flag("{release}"), "beginning, ", "end")'
    )
    await has_started.wait_async()
    second = speaking.start(
        'other = Speaker.remote(runtime="worker:0:0"); await other.say_async("whole")'
    )
    await speaking.finish(second)
    may_go_on.set()
    await speaking.run("await task")
    assert said(first) == ["beginning, end"]
    assert said(second) == ["whole"]


async def test_what_does_not_go_through_pythons_streams(speaking):
    await speaking.run('await one.say("another cell")')
    cell = await speaking.run('await one.directly("past"); await one.through_a_program("started")')
    assert said(cell) == ["past", "started"]


async def test_threads_of_methods_and_of_cells(speaking):
    cell = await speaking.run("""
        def talk():
            one.in_a_thread("from a thread to a thread").wait()

        await asyncio.to_thread(talk)
        thread = threading.Thread(target=talk)
        thread.start()
        thread.join()
    """)
    assert said(cell) == ["from a thread to a thread"] * 2


async def test_a_log_message_of_a_worker(speaking):
    cell = await speaking.run('await one.log("careful")')
    # Without the time before it.
    assert [line.split(maxsplit=2)[2] for line in said(cell, "stderr")] == ["WARNING careful"]


async def test_a_line_that_is_never_ended(speaking):
    first = await speaking.run('await one.unfinished("no end")')
    second = await speaking.run('await one.say("next")')
    assert (said(first), said(second)) == (["no end"], ["next"])


@pytest.mark.parametrize(
    "code",
    [
        'await Speaker.remote("hello")',
        'await runtime.submit(print, "hello")',
        'await runtime.map(print, ["hello"])',
        "await runtime.exec('noisy', lambda _: print('hello'))",
        "Speaker.parameter('hello').say('hello', propagate=True)",
        'array = Speaker.remote(len=2); await array.say("hello", runtime="worker:0:1")',
        "@runtime.async_for([1])\nasync def loop(worker, item):\n"
        "    await one.say('hello')\nawait loop",
    ],
)
async def test_whatever_makes_the_call(speaking, code):
    cell = await speaking.run(code + '\nawait runtime.barrier(); await one.say("end")')
    assert set(said(cell)) == {"hello", "end"}


async def test_a_method_that_runs_in_the_kernel_itself(speaking, flags):
    started, release, has_started, may_go_on = flags
    await speaking.run(
        'local = Speaker.local(); await one.relay(local.proxy, *2 * [Flag("/")], "first")'
    )
    first = await speaking.run(
        f'task = one.relay(local.proxy, Flag("{started}"), Flag("{release}"), "here")'
    )
    await has_started.wait_async()
    second = speaking.start('print("mine"); await task')
    may_go_on.set()
    await speaking.finish(second)
    assert first.lines() == ["here"]
    assert second.lines() == ["mine"]


async def test_output_that_is_caught_is_not_shown(speaking):
    cell = await speaking.run("""
        import contextlib, io

        with contextlib.redirect_stdout(io.StringIO()) as caught:
            await one.say("caught")
            await eventually_async(caught.getvalue)
        caught.getvalue()
    """)
    assert cell.streams == []
    assert cell.results[0]["text/plain"] == r"'[worker:0:0] caught\n'"


async def test_methods_see_an_ordinary_stream(speaking):
    cell = await speaking.run("""
        def look():
            print("é ✓", end="\\n")
            sys.stdout.buffer.write(b"bytes\\n")
            sys.stdout.flush()
            return sys.stdout.fileno(), sys.__stdout__ is sys.stdout, sys.stdout.encoding.lower()

        await runtime.submit(look).result()
    """)
    assert said(cell) == ["é ✓", "bytes"]
    assert cell.results[0]["text/plain"] == "(1, True, 'utf-8')"


async def test_a_method_that_closes_its_stream_spoils_nothing_else():
    async with kernel_with_runtime(num_workers=1) as kernel:
        await kernel.run("await runtime.submit(lambda: sys.stdout.close())")
        cell = await kernel.run("""
            def warn():
                print("careful", file=sys.stderr)
                return "fine"

            await runtime.submit(warn).result()
        """)
        assert cell.results[0]["text/plain"] == "'fine'"
        assert said(cell, "stderr") == ["careful"]


async def test_a_callback_on_the_thread_that_shows_output(speaking):
    # It cannot wait for itself: that would take the whole limit, which is so long here that a busy machine is not.
    cell = await speaking.run("""
        import time
        from mosaic.notebook import cells
        usual, cells.DRAIN_TIMEOUT = cells.DRAIN_TIMEOUT, 20.0
        ended = threading.Event()

        def on_end(task):
            async def again():
                await one.say("again")

            began = time.monotonic()
            asyncio.run(again())
            took.append(time.monotonic() - began)
            ended.set()

        def call():
            task = one.say("first")
            task.add_done_callback(on_end)
            ended.wait(25)

        took = []
        await asyncio.to_thread(call)
        cells.DRAIN_TIMEOUT = usual
        took[0] < 10
    """)
    assert cell.results[0]["text/plain"] == "True"
    assert set(said(cell)) == {"first", "again"}


async def test_a_worker_that_takes_the_place_of_a_dead_one():
    async with kernel_with_runtime(num_workers=1) as kernel:
        cell = await kernel.run("""
            try:
                await runtime.submit(lambda: os.kill(os.getpid(), 9))
            except mosaic.RuntimeDisconnectedError:
                print("died")
            await runtime.wait_for_workers(1)
            await runtime.submit(print, "hello")
        """)
        assert set(cell.lines()) == {"died", "[worker:0:1] hello"}
        assert "SIGKILL" in cell.text("stderr")
