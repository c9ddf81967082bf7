"""``parameter.ref`` and ``runtime.put(parameter)``: references to the root, wherever they are used."""

import copy
import gc

import numpy as np
import pytest

import mosaic
from mosaic import types
from mosaic.core import ParameterMixin
from tests.support.actors import Echo
from tests.support.rendezvous import eventually_async


@mosaic.tessera
class Field:
    def __init__(self, n=0):
        self.data = np.full(4, float(n))
        self.grad = 0.0

    def accumulate(self, part):
        self.grad = self.grad + part

    def total(self):
        return float(self.data.sum())

    async def pass_on(self, solver):
        """Give a reference to itself to another, which asks it while this method runs."""
        root = mosaic.core.TesseraProxy(Field, uid=self._tessera.uid)
        return await solver.about(root.make_parameter(1).ref).result()

    async def ask(self, references):
        """Ask a reference inside the process of its root."""
        found = await references[0].value()
        return found.total(), found is self, found._tessera.uid


@mosaic.tessera
class Solver:
    def about(self, field):
        kinds = isinstance(field, Field), isinstance(field, ParameterMixin), field.is_proxy
        return kinds, field.total(), field._tessera.uid

    def add(self, field, part):
        field.accumulate(part, propagate=True)

    async def put(self, field):
        """Put a parameter from a worker."""
        field.data[:] = 7.0
        reference = await mosaic.runtime().put(field)
        return reference.uid, (await reference.value()).total()

    async def inside(self, values):
        reference = values[0]
        found = await mosaic.runtime().get(reference)
        return type(reference) in types.awaitable_types, reference.uid, found.total()

    def give(self):
        return self._tessera.make_parameter().ref


async def test_a_reference_tells_what_it_is(runtime, warehouse):
    field = await Field.parameter(1)
    reference = field.ref
    assert isinstance(reference, types.WarehouseObject)
    assert isinstance(reference, types.awaitable_types)
    assert type(reference) in types.awaitable_types
    assert reference.uid == field._tessera.uid
    assert reference.warehouse_id == "warehouse:0"
    assert (reference.state, reference.nbytes) == ("done", None)
    assert await reference is reference
    assert reference == field.ref
    assert {reference, field.ref} == {reference}
    assert reference != Field.parameter().ref
    assert reference.uid in repr(reference)
    assert "warehouse:0" in reference._repr_html_()
    assert await reference.size() >= 32
    assert not hasattr(reference, "_tessera")
    assert not hasattr(reference, "total")


async def test_its_value_is_a_parameter_with_the_roots_state(runtime, warehouse):
    field = await Field.parameter(1)
    first = await field.ref.value()
    assert isinstance(first, ParameterMixin)
    assert first._tessera.uid == field._tessera.uid
    assert (first.total(), first is field) == (4.0, False)
    field._tessera.accumulate(2.0)
    field.data[:] = 3.0
    await field.push("data")
    for found in (await field.ref.value(), await runtime.get(field.ref), await field.ref.result()):
        assert (found.total(), found.grad) == (12.0, 2.0)
    # Of the caller's own, tied to the root.
    first.accumulate(5.0, propagate=True)
    assert (field.grad, await field.get("grad")) == (0.0, 7.0)


async def test_put_pushes_and_gives_the_reference(runtime, warehouse):
    for publish in (False, True):
        field = await Field.parameter(1)
        field.data[:] = 2.0
        reference = await runtime.put(field, publish=publish)
        assert reference == field.ref
        assert reference.uid == field._tessera.uid
        assert await field._tessera.total().result() == 8.0
        kinds, total, uid = await Solver.remote().about(reference).result()
        assert (kinds, total, uid) == ((True, True, True), 8.0, reference.uid)
        assert (await reference.value()).total() == 8.0
        assert (reference.nbytes is not None) is publish


async def test_as_an_argument_it_is_read_when_the_call_is_made(runtime, warehouse):
    field = await Field.parameter(1)
    solver = Solver.remote()
    before = solver.about(field.ref)
    field.data[:] = 5.0
    await field.push("data")
    after = solver.about(field=field.ref)
    assert [(await task.result())[1] for task in (before, after)] == [4.0, 20.0]
    published = await runtime.put(field, publish=True)
    field.data[:] = 6.0
    await field.push("data")
    # The node has one copy of what was published; the value is the root's of now.
    assert (await solver.about(published).result())[1] == 20.0
    assert (await published.value()).total() == 24.0
    await solver.add(published, 3.0)
    assert await field.get("grad") == 3.0


async def test_it_travels(runtime, warehouse):
    field = await Field.parameter(2)
    solver = Solver.remote()
    for reference in (field.ref, await runtime.put(field, publish=True)):
        assert await solver.inside([reference]).result() == (True, reference.uid, 8.0)
        (back,) = await Echo.remote().back([reference]).result()
        assert (back, (await back.value()).total()) == (reference, 8.0)
        assert copy.copy(reference) == reference


async def test_workers_put_and_make_them(runtime, warehouse):
    field = await Field.parameter(1)
    solver = Solver.remote()
    assert await solver.put(field).result() == (field._tessera.uid, 28.0)
    assert await field._tessera.total().result() == 28.0
    reference = await solver.give().result()
    assert reference.uid == solver.uid
    assert reference.warehouse_id == solver.runtime_id


async def test_where_the_root_lives_its_value_is_a_copy(runtime, warehouse):
    field = await Field.parameter(1)
    assert (await field._tessera.pass_on(Solver.remote()).result())[1] == 4.0
    told = await field._tessera.ask([field.ref]).result()
    assert told == (4.0, False, field._tessera.uid)
    local = Field.local_parameter(2)
    found = await local.ref.value()
    assert (found.total(), found is local, found._tessera.uid) == (8.0, False, local._tessera.uid)
    assert (await runtime.put(local)).warehouse_id == "head"


async def test_a_cached_parameter_gives_one_that_is_cached(runtime, warehouse):
    field = await Field.parameter(1, cached=True)
    field.data[:] = 2.0
    reference = await runtime.put(field, publish=True)
    found = await reference.value()
    assert (found.cached, found.total()) == (True, 8.0)
    assert (await Solver.remote().about(reference).result())[1] == 8.0


async def test_the_warehouses_proxy_puts_parameters_likewise(runtime, warehouse):
    field = await Field.parameter(1)
    field.data[:] = 4.0
    reference = await mosaic.get_local_warehouse().put_remote(field)
    assert (reference, await field._tessera.total().result()) == (field.ref, 16.0)


async def test_a_reference_keeps_the_root_and_drop_does_not_end_it(runtime, warehouse):
    field = await Field.parameter(1)
    reference = await runtime.put(field, publish=True)
    await reference.drop()
    await reference.drop()
    with pytest.raises(mosaic.ObjectLostError, match="dropped"):
        await reference.value()
    assert await field._tessera.total().result() == 4.0
    kept, root = field.ref, field._tessera
    del field
    gc.collect()
    assert (await kept.value()).total() == 4.0
    del kept, reference
    gc.collect()
    assert await root.total().result() == 4.0


async def test_a_published_state_does_not_keep_the_root(runtime, warehouse, log):
    @mosaic.tessera
    class Mortal:
        def __init__(self, log):
            self.log = log

        def __del__(self):
            if getattr(self, "is_tessera", False):
                self.log.add("gone")

    field = await Mortal.parameter(log)
    reference = await runtime.put(field, publish=True)
    await reference
    del field, reference
    gc.collect()
    await eventually_async(lambda: log.lines() == ["gone"], "the root is freed")


async def test_of_a_lost_root_and_of_none(runtime, warehouse):
    field = await Field.parameter(1)
    reference = field.ref
    await mosaic.stop_tessera(field)
    with pytest.raises(
        mosaic.ObjectLostError, match=f"the root of the parameter {reference.uid}, a Field, is lost"
    ):
        await reference.value()
    with pytest.raises(mosaic.ObjectLostError, match="is lost"):
        await reference.size()
    assert reference.state == "failed"
