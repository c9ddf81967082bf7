"""Tracebacks of workers: file, line and source of what failed, wherever the code was written."""

from tests.support.scripts import run_script


def test_code_of_the_script_is_shown_with_file_line_and_source():
    out, _ = run_script(
        """
        import asyncio
        import pathlib
        import mosaic
        from mosaic.core import PickleClass

        def divide(x):
            return 1 // x  # in divide

        def make():
            def closure(x):
                return divide(x)  # in closure
            return closure

        class Base:
            def inherited(self, x):
                return divide(x)  # in inherited

        @mosaic.tessera
        class Solver(Base):
            def __init__(self, x=1):
                self.y = 1 // x  # in __init__

            def run(self, x):
                return self.inherited(x)  # in run

            async def group(self, x):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.coroutine(x))

            async def coroutine(self, x):
                return divide(x)  # in coroutine

            @property
            def bad(self):
                return divide(0)  # in bad

            async def ask(self, other):
                return await other.run(0).result()  # in ask

        def shown(lines, names, error):
            text = "\\n".join(error.__notes__)
            for name in names:
                number = next(n for n, line in enumerate(lines, 1) if line.endswith(f"# in {name}"))
                assert f'File "{__file__}", line {number}, in {name}' in text, (name, text)
                assert f"{lines[number - 1].strip()}\\n" in text, (name, text)
            print("shown", *names)

        async def main(runtime):
            lines = pathlib.Path(__file__).read_text().splitlines()
            solver, other = Solver.remote(), Solver.remote()
            for call, *names in (
                (lambda: runtime.submit(divide, 0), "divide"),
                (lambda: runtime.submit(make(), 0), "closure", "divide"),
                (lambda: runtime.submit(PickleClass(divide), 0), "divide"),
                (lambda: runtime.submit(lambda x: divide(x), 0), "divide"),
                (lambda: solver.run(0), "run", "inherited", "divide"),
                (lambda: solver.group(0), "coroutine", "divide"),
                (lambda: solver.ask(other), "ask", "run", "inherited", "divide"),
                (lambda: Solver.remote(0).run(1), "__init__"),
            ):
                try:
                    await call().result()
                except Exception as error:
                    shown(lines, names, error)
            try:
                await solver.bad
            except ZeroDivisionError as error:
                shown(lines, ["bad", "divide"], error)
            try:
                await runtime.map(divide, [1, 0])
            except ZeroDivisionError as error:
                shown(lines, ["divide"], error)

        mosaic.run(main, num_workers=2)
        """
    )
    assert out.splitlines() == [
        "shown divide",
        "shown closure divide",
        "shown divide",
        "shown divide",
        "shown run inherited divide",
        "shown coroutine divide",
        "shown ask run inherited divide",
        "shown __init__",
        "shown bad divide",
        "shown divide",
    ]


def test_source_that_only_the_driver_has_is_shown():
    # As a console or a notebook does it: a cell has a name and lines, and no file.
    out, _ = run_script(
        '''
        import linecache
        import mosaic

        CELL = """
        def divide(x):
            return (
                1 // x)

        async def relay(x):
            return await mosaic.runtime().submit(divide, x).result()
        """
        linecache.checkcache = lambda name=None: None
        linecache.cache["<cell 7>"] = (len(CELL), None, CELL.splitlines(True), "<cell 7>")
        exec(compile(CELL, "<cell 7>", "exec"))

        async def main(runtime):
            for function in (divide, relay):
                try:
                    await runtime.submit(function, 0).result()
                except ZeroDivisionError as error:
                    print(*error.__notes__, sep="\\n")

        mosaic.run(main, num_workers=1)
        '''
    )
    divide = '  File "<cell 7>", line 4, in divide\n    1 // x)\n'
    assert out.count(divide) == out.count("in divide") == 3
    assert "in relay\n    return await mosaic.runtime().submit(divide, x).result()\n" in out
