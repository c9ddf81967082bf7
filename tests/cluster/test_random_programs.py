"""Random graphs of calls give what the same program gives with local objects, call after call.

One caller, several tesserae, tasks and outputs as arguments: call order per tessera makes the outcome
the same on every run, whatever runs beside what. A failing seed is the test's parameter.
"""

import asyncio
import gc
import random

import pytest

import mosaic


class StepError(Exception):
    pass


@mosaic.tessera
class Mixer:
    """Everything it ever got leaves a trace in its state."""

    def __init__(self, seed):
        self.state = seed

    def mix(self, *values):
        for value in values:
            self.state = (self.state * 31 + value) % 1_000_003
        return self.state

    async def mix_async(self, *values):
        result = self.mix()
        for value in values:
            await asyncio.sleep(0)
            result = self.mix(value)
        return result

    def pair(self, value):
        return self.mix(value), value

    def table(self, value):
        return {"state": self.mix(value), "value": value}

    def fail_if_even(self, value):
        state = self.mix(value)
        if state % 2 == 0:
            raise StepError(state)
        return state


class Failed:
    """What a local call gives in place of a result."""

    def __init__(self, *errors):
        # Several, where several arguments failed: which one is told first is not settled.
        self.errors = {error.args for error in errors}


def run_local(mixer, method, values):
    failed = [value for value in values if isinstance(value, Failed)]
    if failed:
        together = Failed()
        together.errors = set().union(*(value.errors for value in failed))
        return together
    try:
        if method == "mix_async":
            return asyncio.run(mixer.mix_async(*values))
        return getattr(mixer, method)(*values)
    except StepError as error:
        return Failed(error)


def make_program(seed, length):
    """Return calls: tessera, method and arguments; an argument names an earlier call and a part."""
    chance = random.Random(seed)
    program = []
    scalars = []  # what may be an argument: (call, part)
    for i in range(length):
        method = chance.choice(["mix", "mix", "mix_async", "pair", "table", "fail_if_even"])
        count = chance.randint(0, 3) if method.startswith("mix") else 1
        arguments = [
            chance.choice(scalars) if scalars and chance.random() < 0.6 else chance.randint(0, 99)
            for _ in range(count)
        ]
        program.append((chance.randrange(4), method, arguments))
        parts = {"pair": [0, 1], "table": ["state", "value"]}.get(method, [None])
        scalars += [(i, part) for part in parts]
        scalars = scalars[-20:]
    return program


def expected_of(program):
    mixers = [Mixer(k) for k in range(4)]
    results = []
    for tessera, method, arguments in program:
        values = []
        for argument in arguments:
            if not isinstance(argument, tuple):
                values.append(argument)
                continue
            call, part = argument
            result = results[call]
            whole = part is None or isinstance(result, Failed)
            values.append(result if whole else result[part])
        results.append(run_local(mixers[tessera], method, values))
    return results, [mixer.state for mixer in mixers]


@pytest.mark.parametrize("seed", range(12))
def test_random_graph(runtime, seed):
    program = make_program(seed, 150)
    results, states = expected_of(program)
    mixers = [Mixer.remote(k) for k in range(4)]
    tasks = []
    for tessera, method, arguments in program:
        values = []
        for argument in arguments:
            if isinstance(argument, tuple):
                task, part = tasks[argument[0]], argument[1]
                values.append(task if part is None else task.outputs[part])
            else:
                values.append(argument)
        tasks.append(mixers[tessera][method](*values))
    for task, result in zip(tasks, results, strict=True):
        if isinstance(result, Failed):
            with pytest.raises(StepError) as info:
                task.wait(20)
            assert info.value.args in result.errors
        else:
            assert task.wait(20) == result
    assert [mixer["mix"]().wait(20) for mixer in mixers] == states


@pytest.mark.parametrize("seed", range(4))
async def test_random_graph_with_forgotten_tasks(runtime, seed):
    # Most handles are dropped at once; what depends on them must not notice.
    chance = random.Random(seed)
    program = [step for step in make_program(seed + 100, 300) if step[1] != "fail_if_even"]
    program = [
        (tessera, "mix", [a if isinstance(a, int) else 5 for a in arguments])
        for tessera, _, arguments in program
    ]
    _, states = expected_of(program)
    mixers = [Mixer.remote(k) for k in range(4)]
    for tessera, method, arguments in program:
        task = mixers[tessera][method](*arguments)
        if chance.random() < 0.1:
            await task
        del task
    gc.collect()
    assert [await mixer.mix().result() for mixer in mixers] == states
