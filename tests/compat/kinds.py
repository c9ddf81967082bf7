"""Asks objects of every kind, in every place, what programs for mosaic 1.2 ask: what they are, and what they have.

Run as a program it prints the answers of its own run, whose classes are those of a script: ``python kinds.py FACTS``.
`kinds_1_2.json` has the answers of mosaic 1.2: what was asked, and for each object what was true.
"""

import json
import sys

import numpy as np

import mosaic
from mosaic import types
from mosaic.core import (
    ArrayProxy,
    ParameterMixin,
    Task,
    TaskProxy,
    Tessera,
    TesseraProxy,
)
from mosaic.core.base import Base, CMDBase, ProxyBase, RemoteBase

CLASSES = {
    cls.__name__: cls
    for cls in (
        ArrayProxy,
        Base,
        CMDBase,
        ParameterMixin,
        ProxyBase,
        RemoteBase,
        Task,
        TaskProxy,
        Tessera,
        TesseraProxy,
    )
}


def answers(value, asked):
    """Return which of the questions have the answer yes: ``is CLASS``, ``type in TUPLE``, ``has NAME``."""
    return [question for question in asked if answer(value, question)]


def answer(value, question):
    """Answer one of them."""
    kind, _, name = question.rpartition(" ")
    if kind == "has":
        return hasattr(value, name)
    if kind == "type in":
        return type(value) in getattr(types, name)
    return isinstance(value, CLASSES.get(name) or getattr(types, name))


@mosaic.tessera
class Asker:
    """Lives in a worker, and asks what comes to it."""

    def __init__(self, asked):
        self.asked = asked

    def ask(self, value):
        return answers(value, self.asked)

    def ask_the_first(self, values):
        return answers(values[0], self.asked)

    def ask_itself(self):
        return answers(self, self.asked)

    def ask_its_tessera(self):
        return answers(self._tessera, self.asked)

    def keep(self, value):
        self.kept = value

    def ask_what_it_keeps(self):
        return answers(self.kept, self.asked)

    async def ask_what_it_makes(self):
        made = await Asker.remote(self.asked)
        return answers(made, self.asked)


async def observe(runtime, asked):
    """Return the answers of objects of every kind, by their names and places."""
    local = Asker(asked)
    asker, other = await Asker.remote(asked), await Asker.remote(asked)
    array = await Asker.remote(asked, len=2)
    parameter = await Asker.parameter(asked)
    task = await other.ask(1)
    reference = await runtime.put(np.ones(3))
    root = parameter._tessera
    here = {
        "instance": local,
        "proxy": other,
        "array": array,
        "parameter": parameter,
        "task": task,
        "output": task.outputs[0],
        "done": task.outputs.done,
        "ref": reference,
    }
    found = {f"{name} head": answers(value, asked) for name, value in here.items()}
    found["_tessera of parameter head"] = answers(root, asked)
    for name in ("instance", "proxy", "array", "parameter"):
        found[f"{name} worker"] = await asker.ask(here[name]).result()
    for name in ("parameter", "proxy", "ref", "task", "output"):
        found[f"{name} in list worker"] = await asker.ask_the_first([here[name]]).result()
    await asker.keep(parameter)
    published = await runtime.put(parameter, publish=True)
    calls = {
        "self worker": asker.ask_itself(),
        "tess worker": asker.ask_its_tessera(),
        "made here worker": asker.ask_what_it_makes(),
        "parameter kept worker": asker.ask_what_it_keeps(),
        "parameter through put": asker.ask(published),
        "root warehouse": root.ask_itself(),
        "root tess warehouse": root.ask_its_tessera(),
    }
    return found | {name: await call.result() for name, call in calls.items()}


if __name__ == "__main__":
    with open(sys.argv[1]) as facts:
        print(json.dumps(mosaic.run(observe, json.load(facts)["asked"], num_workers=2)))
