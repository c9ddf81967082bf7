"""Tessera classes that many tests use."""

import os
import select

import mosaic
from tests.support.rendezvous import Flag, Log


@mosaic.tessera
class Echo:
    """Gives back what it gets."""

    def back(self, value=None):
        return value

    def everything(self, *args, **kwargs):
        return args, kwargs

    def describe(self, value):
        return type(value).__name__, repr(value)

    def pid(self):
        return os.getpid()

    def fail(self, error):
        raise error

    async def back_async(self, value=None):
        return value

    async def call(self, other, name, *args):
        """Call a method of another tessera and return its value."""
        return await other[name](*args).result()


@mosaic.tessera
class Counter:
    """Counts, and remembers the order of what it was told."""

    def __init__(self, start=0):
        self.count = start
        self.seen = []

    def add(self, n=1):
        self.count += n
        self.seen.append(n)
        return self.count

    def value(self):
        return self.count

    def order(self):
        return list(self.seen)


@mosaic.tessera
class Blocker:
    """Runs for exactly as long as a test wants."""

    def until(self, started: Flag, release: Flag, value=None):
        started.set()
        release.wait()
        return value

    async def until_async(self, started: Flag, release: Flag, value=None):
        started.set()
        await release.wait_async()
        return value

    def note(self, log: Log, line):
        log.add(line)
        return line

    async def note_async(self, log: Log, line):
        log.add(line)
        return line

    def pid(self):
        return os.getpid()


@mosaic.tessera
class Holder:
    """Keeps things."""

    def __init__(self, *items):
        self.items = dict(enumerate(items))

    def keep(self, key, value):
        self.items[key] = value

    def give(self, key):
        return self.items[key]

    def forget(self, key):
        del self.items[key]

    async def ask(self, key, name, *args):
        return await self.items[key][name](*args).result()


@mosaic.tessera
class Mortal:
    """Writes its name down when it is freed."""

    def __init__(self, log: Log, name: str):
        self.log = log
        self.name = name

    def hello(self):
        return self.name

    def __del__(self):
        self.log.add(self.name)


def print_until_nobody_reads(line: bytes) -> int:
    """Print a line again and again, until the pipe of this process stays full; return how often."""
    os.set_blocking(1, False)
    count = 0
    while True:
        try:
            os.write(1, line)
            count += 1
        except BlockingIOError:
            if not select.select([], [1], [], 1.0)[1]:
                return count
