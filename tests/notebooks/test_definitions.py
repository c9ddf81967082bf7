"""What cells define travels to the workers, also when a cell is run again with another definition."""


def value(cell):
    return cell.results[0]["text/plain"]


async def test_classes_and_functions_of_cells(kernel):
    await kernel.run("""
        import dataclasses, math

        scale = 2

        def scaled(x):
            return scale * x

        @dataclasses.dataclass
        class Point:
            x: float

        class Broken(ValueError):
            pass

        class Base:
            def __init__(self, point):
                self.point = point

            def move(self):
                return Point(scaled(self.point.x))

        @mosaic.tessera
        class Mover(Base):
            def fail(self):
                raise Broken("as told")
    """)
    cell = await kernel.run("""
        mover = Mover.remote(Point(math.pi))
        moved = await mover.move().result()
        try:
            await mover.fail()
        except Broken as error:
            caught = str(error).splitlines()[0]
        type(moved) is Point, moved.x == 2 * math.pi, caught, await runtime.map(scaled, [1, 2])
    """)
    assert value(cell) == "(True, True, 'as told', [2, 4])"
    # What a function finds outside of itself is what it is at the call.
    await kernel.run("scale = 3")
    cell = await kernel.run(
        "await runtime.map(scaled, [1, 2]), await runtime.submit(scaled, 1).result()"
    )
    assert value(cell) == "([3, 6], 3)"


async def test_a_class_that_is_defined_again(kernel):
    await kernel.run("""
        @mosaic.tessera
        class Version:
            def number(self):
                return 1

        old = await Version.remote()
        parameter = Version.parameter()
    """)
    await kernel.run("""
        @mosaic.tessera
        class Version:
            def number(self):
                return 2

            def added(self):
                return "new"

        new = await Version.remote()
    """)
    cell = await kernel.run("""
        [await one.number().result() for one in (old, new)], await new.added().result(), \
            parameter.number(), isinstance(parameter, Version), await old.number().result()
    """)
    assert value(cell) == "([1, 2], 'new', 1, False, 1)"
    cell = await kernel.finish(kernel.start("await old.added()"))
    assert cell.error.startswith("AttributeError")


async def test_a_method_that_is_replaced(kernel):
    await kernel.run("""
        @mosaic.tessera
        class Patched:
            def number(self):
                return 1

        before = await Patched.remote()
    """)
    cell = await kernel.run("""
        def number(self):
            return 2

        Patched.number = number
        after = await Patched.remote()
        await after.number().result()
    """)
    assert value(cell) == "2"


async def test_a_function_that_is_defined_again(kernel):
    await kernel.run("def answer(x):\n    return x + 1")
    first = await kernel.run("await runtime.map(answer, range(3))")
    await kernel.run("def answer(x):\n    return x + 2")
    second = await kernel.run("await runtime.map(answer, range(3))")
    assert (value(first), value(second)) == ("[1, 2, 3]", "[2, 3, 4]")


async def test_every_way_to_wait_in_a_cell(kernel):
    cell = await kernel.run("""
        echo = Echo.remote()
        async with asyncio.TaskGroup() as group:
            inner = group.create_task(echo.back(1).check_result())
        many = await asyncio.gather(*[echo.back(n).result() for n in range(3)])
        in_a_thread = await asyncio.to_thread(lambda: echo.back("thread").wait())
        await asyncio.wait_for(echo.back(2), 10)
        many, in_a_thread, await (await echo.back(4)).result()
    """)
    assert value(cell) == "([0, 1, 2], 'thread', 4)"


async def test_autoawait_may_be_off(kernel):
    try:
        await kernel.run("%autoawait False")
        # Calls start by themselves; what waits for them is a thread.
        cell = await kernel.run("""
            from concurrent.futures import ThreadPoolExecutor
            with ThreadPoolExecutor(1) as pool:
                found = pool.submit(lambda: Echo.remote().back("off").wait()).result()
            found
        """)
        assert value(cell) == "'off'"
    finally:
        await kernel.run("%autoawait True")
    assert value(await kernel.run("await Echo.remote().back('on').result()")) == "'on'"


async def test_a_cell_that_fails_leaves_the_runtime_alone(kernel):
    cell = await kernel.finish(kernel.start("task = Echo.remote().fail(KeyError('x')); await task"))
    assert cell.error.startswith("KeyError")
    assert value(await kernel.run("await Echo.remote().back('fine').result()")) == "'fine'"


async def test_the_lines_of_a_cell_that_failed_in_a_worker(kernel):
    await kernel.run("""
        def divide(x):
            return 1 // x  # in a cell
    """)
    cell = await kernel.run("""
        try:
            await runtime.submit(divide, 0).result()
        except ZeroDivisionError as error:
            print(error.__notes__[-1])
    """)
    where, source = cell.text().splitlines()[3:5]
    assert where.endswith("line 2, in divide")
    assert source == "    return 1 // x  # in a cell"
