"""Operators: their calls run where they live, and build the graph that gradients go back along."""

import mosaic
from mosaic import types
from mosaic.core import TesseraProxy
from mosaic.core.base import CMDBase

from .variables import Step


def differentiable(value):
    return hasattr(value, "needs_grad") and value.needs_grad


@mosaic.tessera
class Operator:
    """Turns variables into others, and their gradients back."""

    def __init__(self, *args, **kwargs):
        self.name = kwargs.pop("name", type(self).__name__.lower())
        self.kept = {}
        self.calls = 0
        super().__init__(*args, **kwargs)

    async def forward(self, call, *args, **kwargs):
        raise NotImplementedError

    async def backward(self, call, grad, *args, **kwargs):
        raise NotImplementedError

    def itself(self):
        """Return what others call this by: a proxy made by hand where it is hosted."""
        if not hasattr(self, "_tessera"):
            return self
        assert isinstance(self._tessera, CMDBase)
        assert not self.is_proxy
        proxy = TesseraProxy(type(self), runtime=self.runtime.uid, uid=self._tessera.uid)
        proxy.init_future.set_result(True)
        proxy.state_changed("listening")
        assert proxy._cls.cls is type(self)
        return proxy

    async def __call__(self, *args, **kwargs):
        values = []
        for arg in args:
            if type(arg) in types.awaitable_types:
                arg = await arg.result()  # noqa: PLW2901
            values.append(arg)
        self.calls += 1
        call = f"{self.name}-{self.calls}"
        outputs = await self.forward(call, *values, **kwargs)
        several = isinstance(outputs, tuple)
        outputs = outputs if several else (outputs,)
        if any(differentiable(value) for value in values):
            self.kept[call] = values, kwargs
            inputs = [source(value) for value in values]
            for output in outputs:
                output.needs_grad = True
                output.prev = Step(self.itself(), call, inputs)
        return outputs if several else outputs[0]

    async def adjoint(self, call, grad, **kwargs):
        """Return the gradient of each input; what is a leaf gets its own delivered."""
        values, given = self.kept.pop(call)
        grads = await self.backward(call, grad, *values, **{**given, **kwargs})
        grads = grads if isinstance(grads, tuple) else (grads,)
        for value, found in zip(values, grads, strict=True):
            if differentiable(value) and value.prev is None and found is not None:
                await self.give(value, found, **{**given, **kwargs})
        return grads

    async def give(self, variable, grad, **kwargs):
        key = f"{self.name}-{kwargs['problem'].shot.id:03d}"
        warehouse = await variable.deliver(key, grad)
        assert warehouse == self.runtime.get_local_warehouse().uid


def source(value):
    if not differentiable(value):
        return None
    return value if value.prev is None else value.prev
