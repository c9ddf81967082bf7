"""Arrays of operators are called by ``runtime=worker``, keep their results, and run backwards after all shots are done.

The second loop reaches an element by a proxy made by hand, from nothing but the uids that the first loop noted.
"""

import asyncio
import sys

import numpy as np

import mosaic
from mosaic.core import ArrayProxy, TaskProxy, TesseraProxy
from mosaic.core.base import CMDBase, ProxyBase
from mosaic.types import awaitable_types

SIZE, SHOTS = 400, 7


@mosaic.tessera(max_retries=1)
class Layer:
    """Multiplies by a weight, with a bend."""

    def __init__(self, *args, **kwargs):
        self.scale = kwargs.pop("scale", 1.0)
        self.kept = {}

    async def __call__(self, weight, signal, **kwargs):
        shot = kwargs.pop("shot")
        if isinstance(signal, awaitable_types):
            signal = await signal.result()
        bent = np.sin(self.scale * weight * signal)
        self.kept[shot] = weight, signal
        return bent, self._tessera.uid, self.runtime.uid

    async def __backward__(self, shot, grad, **kwargs):
        if isinstance(grad, tuple):
            (grad,) = grad
        if type(grad) in awaitable_types:
            grad = await grad.result()
        weight, signal = self.kept.pop(shot)
        inner = self.scale * np.cos(self.scale * weight * signal) * grad
        return {"weight": inner * signal, "signal": inner * weight}

    def how_many(self):
        return len(self.kept)


def by_hand(cls, uid, where):
    proxy = TesseraProxy(cls, runtime=where, uid=uid)
    proxy.init_future.set_result(True)
    proxy.state_changed("listening")
    return proxy


async def backward(proxy, *args):
    task = TaskProxy(proxy, "__backward__", *args)
    await proxy._init_task(task, *args)
    await task.init_future
    return task


def expected(weights, signals):
    gradient = np.zeros_like(weights)
    for signal in signals:
        first = np.sin(weights[0] * signal)
        inner = 2.0 * np.cos(2.0 * weights[1] * first) * np.sin(2.0 * weights[1] * first)
        gradient[1] += inner * first
        inner = np.cos(weights[0] * signal) * inner * weights[1]
        gradient[0] += inner * signal
    return gradient


async def main(runtime):
    generator = np.random.default_rng(2)
    weights = generator.normal(size=(2, SIZE))
    signals = [generator.normal(size=SIZE) for _ in range(SHOTS)]
    first = Layer.remote(len=runtime.num_workers)
    second = Layer.remote(scale=2.0, len=runtime.num_workers)
    await first
    kinds = [isinstance(first, cls) for cls in (ArrayProxy, CMDBase, ProxyBase)]
    bad = kinds != [True, True, False] or not hasattr(first, "_tessera") or hasattr(first, "shape")

    @runtime.async_for(range(SHOTS))
    async def forwards(worker, shot):
        middle = first(weights[0], signals[shot], shot=shot, runtime=worker)
        last = second(weights[1], middle.outputs[0], shot=shot, runtime=worker)
        places = [await task.outputs[place].result() for task in (middle, last) for place in (1, 2)]
        return last.outputs[0], places

    done = await forwards
    kept = sum(await first.how_many().result())
    gradient = np.zeros_like(weights)

    @runtime.async_for(range(SHOTS))
    async def backwards(worker, shot):
        output, (uid, where, last_uid, last_where) = done[shot]
        last = by_hand(Layer, last_uid, last_where)
        task = await backward(last, shot, output)
        below = await backward(by_hand(Layer, uid, where), shot, task.outputs["signal"])
        gradient[1] += await task.outputs.weight.result()
        gradient[0] += await below.outputs["weight"].result()
        try:
            len(task.outputs)
        except TypeError:
            return task.done
        raise AssertionError("outputs have no length")

    await asyncio.gather(*(await backwards))
    right = expected(weights, signals)
    error = np.abs(gradient - right).max() / np.abs(right).max()
    left = sum(await first.how_many().result())
    print(f"gradient {error:.1e}, kept {kept}, left {left}", flush=True)
    return bad or not error < 1e-12 or (kept, left) != (SHOTS, 0)


if __name__ == "__main__":
    sys.exit(mosaic.run(main, num_workers=2))
