"""Random programs that put, pass, write, read, pass on and drop arrays give what a plain model gives.

The model is a dictionary of values: of an array of noise it knows the seed and what was written to it. Every array
that is seen anywhere is compared whole. The store is small, so that part of them is on disk at any time; in some
programs a worker is killed in the middle. A failing program is the test's parameter.
"""

import asyncio
import contextlib
import gc
import os
import random
import signal

import numpy as np
import pytest

import mosaic
from tests.support.rendezvous import eventually_async

STEPS = 150


def content(seed: int, length: int, writes: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Return an array as the model knows it."""
    array = np.random.default_rng(seed).integers(0, 1 << 40, length)
    for at, value in writes:
        array[at] = value
    return array


@mosaic.tessera
class Shelf:
    def __init__(self):
        self.arrays = {}

    def pid(self):
        return os.getpid()

    def keep(self, key, array):
        self.arrays[key] = array

    def write(self, key, at, value):
        self.arrays[key][at] = value

    def give(self, key):
        return self.arrays[key]

    def forget(self, key):
        del self.arrays[key]

    def check(self, key, model):
        np.testing.assert_array_equal(self.arrays[key], content(*model))


class Program:
    """One run: the shelves, what the driver holds, and the model of both."""

    def __init__(self, runtime, seed, faults):
        self.runtime = runtime
        self.rng = random.Random(seed)
        self.faults = faults
        self.shelves = {}
        self.own = {}
        self.next = 0

    async def start(self):
        for worker in self.runtime.workers:
            shelf = await Shelf.remote(runtime=worker)
            self.shelves[shelf] = {}

    def number(self):
        self.next += 1
        return self.next

    def pick(self, things):
        things = list(things)
        return self.rng.choice(things) if things else None

    def make(self):
        """Make an array, in the store or not: what the driver holds of it, and its model."""
        seed, length = self.number(), self.rng.choice([10, 20_000, 100_000, 700_000])
        array = content(seed, length, ())
        kind = self.rng.randrange(4)
        if kind == 0:
            # All of the memory may be looked at, at this moment.
            with contextlib.suppress(mosaic.MemoryOverflowError):
                array = mosaic.asarray(array)
        elif kind == 1:
            array = self.runtime.put(array)
        self.own[self.number()] = (array, (seed, length, ()))

    async def step(self):
        key = self.pick(self.own)
        shelf = self.pick(self.shelves)
        kept = self.shelves[shelf]
        name = self.pick(kept)
        match self.rng.randrange(10):
            case 0 | 1:
                self.make()
            case 2 | 3 if key is not None:
                array, model = self.own[key]
                number = self.number()
                shelf.keep(number, array)
                kept[number] = model
            case 4 if key is not None and isinstance(self.own[key][0], np.ndarray):
                array, (seed, length, writes) = self.own[key]
                at, value = self.rng.randrange(length), self.number()
                array[at] = value
                self.own[key] = (array, (seed, length, (*writes, (at, value))))
            case 5 if name is not None:
                seed, length, writes = kept[name]
                at, value = self.rng.randrange(length), self.number()
                shelf.write(name, at, value)
                kept[name] = (seed, length, (*writes, (at, value)))
            case 6 if name is not None:
                # On to another shelf, which gets it as a task.
                other = self.pick(self.shelves)
                number = self.number()
                other.keep(number, shelf.give(name))
                self.shelves[other][number] = kept[name]
            case 7 if name is not None:
                array = await shelf.give(name).result()
                np.testing.assert_array_equal(array, content(*kept[name]))
                self.own[self.number()] = (array, kept[name])
            case 8 if name is not None:
                await shelf.check(name, kept[name])
                if self.rng.random() < 0.5:
                    shelf.forget(name)
                    del kept[name]
            case 9 if key is not None:
                array, model = self.own.pop(key)
                if not isinstance(array, np.ndarray):
                    np.testing.assert_array_equal(await array.value(), content(*model))

    async def crash(self):
        shelf = self.pick(self.shelves)
        await mosaic.gather([one.pid() for one in self.shelves])
        uid, pid = shelf.runtime_id, await shelf.pid().result()
        del self.shelves[shelf]
        os.kill(pid, signal.SIGKILL)
        await eventually_async(lambda: uid not in [worker.uid for worker in self.runtime.workers])

    async def run(self):
        await self.start()
        for step in range(STEPS):
            if self.faults and step == STEPS // 2:
                await self.crash()
            await self.step()
        for shelf, kept in self.shelves.items():
            await mosaic.gather([shelf.check(name, model) for name, model in kept.items()])
        for held, model in self.own.values():
            array = held if isinstance(held, np.ndarray) else await held.value()
            np.testing.assert_array_equal(array, content(*model))
        self.own.clear()
        for shelf in self.shelves:
            await shelf.stop()
        self.shelves.clear()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("faults", [False, True], ids=["calm", "deadly"])
@pytest.mark.parametrize("seed", range(6))
async def test_arrays_are_what_the_model_says(seed, faults, tmp_path):
    settings = {"warehouse_memory": "24MB", "spill_directory": tmp_path}
    async with mosaic.session(num_workers=3, **settings) as runtime:
        program = Program(runtime, seed, faults)
        await asyncio.wait_for(program.run(), 100)
        del program
        gc.collect()

        async def nothing_is_left():
            report = await runtime.memory()
            used = sum(part.disk_used for part in report.processes.values())
            return not report.buffers and report.taken == 0 and used == 0

        await eventually_async(nothing_is_left)
