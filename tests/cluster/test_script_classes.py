"""What the standard library makes in the classes and functions of a script, at the workers and back."""

from pathlib import Path

from tests.support import scripts
from tests.support.scripts import run_script

VALUES = Path(scripts.__file__).with_name("script_values.py")


def test_values_of_classes_of_the_script_arrive_as_they_were():
    out, err = run_script(VALUES.read_text())
    assert out.splitlines() == [
        "Shot(index=2, energy=2.0) 0.25 ['OnePlugin']",
        "int ['int', 'any']",
    ]
    assert err == ""


def test_locks_of_classes_and_modules_are_one_for_each_process():
    out, err = run_script(
        """
        import contextvars
        import functools
        import threading
        import mosaic

        LOCK = threading.Lock()
        DEPTH = contextvars.ContextVar("DEPTH", default=4)
        READY = threading.Event()
        READY.set()

        def synchronised(function):
            lock = threading.RLock()

            @functools.wraps(function)
            def inner(*args):
                with lock:
                    return function(*args)

            return inner

        class Store:
            lock = LOCK
            changed = threading.Condition(lock)
            slots = threading.BoundedSemaphore(2)
            gate = threading.Barrier(1)
            own = threading.local()

            def use(self):
                with self.changed:
                    assert self.lock.locked() and LOCK.locked()
                    self.changed.notify_all()
                with self.slots:
                    self.gate.wait()
                self.own.x = DEPTH.get()
                return self.own.x, READY.is_set()

        @mosaic.tessera
        class Holder:
            lock = LOCK

            def hold(self, store):
                with self.lock:
                    return store.lock is self.lock, id(self.lock)

        def locked(lock=LOCK):
            return lock is LOCK, LOCK.locked(), id(LOCK)

        @synchronised
        def guarded():
            return 5

        async def main(runtime):
            worker = runtime.workers[0]
            holder = Holder.remote(runtime=worker)
            with LOCK:  # held here, and free there
                same, there = await holder.hold(Store()).result()
                again = await runtime.submit(locked, runtime=worker).result()
            assert same and again == (True, False, there), (same, again, there)
            assert await runtime.submit(Store.use, Store()).result() == (4, True)
            assert await runtime.submit(guarded).result() == 5
            back = await runtime.submit(lambda: Store).result()
            assert back is Store and back.lock is LOCK
            assert (await runtime.submit(lambda: lambda: LOCK).result())() is LOCK

        mosaic.run(main, num_workers=2)
        print("all well")
        """
    )
    assert (out, err) == ("all well\n", "")


def test_what_cannot_be_sent_is_named():
    out, _ = run_script(
        """
        import queue
        import threading
        import mosaic

        class Cache:
            def __init__(self):
                self.lock = threading.Lock()

        class Waiting:
            jobs = queue.SimpleQueue()

        CACHE = Cache()

        def uses_cache():
            return CACHE

        class Recursive:
            def __init__(self):
                self.inner = {}

            def __getattr__(self, name):
                return self.inner[name]

        async def main(runtime):
            for function, *args in (
                (uses_cache,),
                (print, Waiting()),
                (print, Cache()),
                (print, [1, {"a": threading.Lock()}]),
                (print, Recursive()),
            ):
                try:
                    await runtime.submit(function, *args).result()
                except Exception as error:
                    print(type(error).__name__, str(error))

        mosaic.run(main, num_workers=1)
        """
    )
    lock = "TypeError cannot pickle '_thread.lock' object"
    *lines, last = out.splitlines()
    assert lines == [
        f"{lock}: attribute 'lock' of an object of class Cache, in global 'CACHE' of function uses_cache",
        "TypeError cannot pickle '_queue.SimpleQueue' object: attribute 'jobs' of class Waiting",
        f"{lock}: attribute 'lock' of an object of class Cache",
        lock,
    ]
    assert last.startswith("RecursionError Recursive.__getattr__ calls itself without end")
