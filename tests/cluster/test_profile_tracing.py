"""The functions that methods call, in a profile: traced when asked for, left out when asked for."""

import asyncio
import gc
import inspect
import os
import sys
import weakref

import pytest

import mosaic
from mosaic import _core
from mosaic.profile import (
    global_profiler,
    model,
    no_profiler,
    profiler,
    skip_profile,
    tables,
    use_trace,
)


def leaf(n):
    total = 0
    for i in range(n):
        total += i
    return total


def branch(n):
    return leaf(n) + leaf(n)


def hidden(n):
    return leaf(n)


@skip_profile
def skipped(n):
    return branch(n)


@no_profiler
def quiet(n):
    return hidden(n)


@use_trace
def traced(n):
    return branch(n)


def another(*_):
    """A profiler of the program's own."""


LONG = 20_000
"""Turns of a loop that take longer than the shortest span that is recorded singly."""


@mosaic.tessera
class Tree:
    def grow(self, n=LONG):
        return branch(n)

    async def grow_slowly(self, n=LONG):
        branch(n)
        await asyncio.sleep(0)
        return branch(n)

    def grow_unseen(self):
        with no_profiler:
            hidden(1)
        with no_profiler():
            hidden(1)
        return skipped(1) + quiet(1)

    def grow_seen(self):
        return traced(LONG)

    def grow_in_a_block(self):
        hidden(1)
        with use_trace():
            branch(1)
        hidden(1)

    async def grow_in_a_coroutine(self):
        hidden(1)
        with use_trace:
            branch(1)
            await asyncio.sleep(0)
            branch(1)
        hidden(1)

    @use_trace
    async def grow_marked(self):
        branch(1)
        await asyncio.sleep(0)

    def grow_beside_another(self):
        sys.setprofile(lambda *_: None)
        try:
            with use_trace:
                branch(1)
            return sys.getprofile() is not None
        finally:
            sys.setprofile(None)

    def grow_and_leave_another(self):
        sys.setprofile(another)
        branch(1)

    def grow_where_another_was_left(self):
        branch(1)
        found = sys.getprofile() is another
        sys.setprofile(None)
        return found

    def grow_a_fork(self):
        engine = _core.engine()
        child = os.fork()
        if not child:
            branch(1)
            os._exit(engine.traced or engine.profile is not None)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def grow_and_wither(self, functions=40):
        codes = []
        for n in range(functions):
            namespace = {}
            exec(compile(f"def passing_{n}(): pass", __file__, "exec"), namespace)
            namespace[f"passing_{n}"]()
            codes.append(weakref.ref(namespace[f"passing_{n}"].__code__))
        del namespace
        gc.collect()
        return [code() for code in codes]

    def profile_of_the_thread(self):
        return sys.getprofile()


def record(runner, path, *methods, trace=False):
    """Call methods one after another, and return the profile."""
    return record_results(runner, path, *methods, trace=trace)[0]


def record_results(runner, path, *methods, trace=False):
    """Do so, and return what the methods returned too."""

    async def drive():
        tree = Tree.remote()
        if trace:
            profiler.start_trace()
        results = [await tree[method]().result() for method in methods]
        assert await tree.profile_of_the_thread().result() is None
        return results

    file = path / "run.mprof"
    with mosaic.session(num_workers=1, profile=file):
        results = runner.run(drive())
    return model.build(tables.read(file)), results


def counts(profile):
    ours = [f for f in profile.functions if __file__ in f[0]]
    return {name.rpartition(".")[2]: count for _, name, count, _, _ in ours}


def test_trace_1_what_methods_call_is_counted_and_nothing_else(runner, tmp_path):
    profile = record(runner, tmp_path, "grow", "grow", "grow_slowly", trace=True)
    assert counts(profile) == {
        "grow": 2,
        # Each step of a coroutine counts.
        "grow_slowly": 2,
        "branch": 4,
        "leaf": 8,
        "profile_of_the_thread": 1,
    }


def test_times_of_functions_add_up(runner, tmp_path):
    profile = record(runner, tmp_path, "grow", trace=True)
    times = {name: (total, own) for _, name, _, total, own in profile.functions}
    (grow,) = (t for name, t in times.items() if name.endswith("Tree.grow"))
    branch_total, branch_own = times["branch"]
    leaf_total, leaf_own = times["leaf"]
    assert leaf_total == pytest.approx(leaf_own)
    assert branch_total == pytest.approx(branch_own + leaf_total)
    assert grow[0] == pytest.approx(grow[1] + branch_total)


def test_spans_lie_within_their_run_and_within_each_other(runner, tmp_path):
    profile = record(runner, tmp_path, "grow", trace=True)
    runs = profile.runs
    (at,) = (i for i in range(len(runs)) if profile.names[runs.callee[i]] == "Tree.grow")
    names = [profile.span_names[span["function"]].split(" (")[0] for span in profile.spans]
    here = [(n, s) for n, s in zip(names, profile.spans, strict=True) if n in {"branch", "leaf"}]
    assert [name for name, _ in here] == ["branch", "leaf", "leaf"]
    outer = here[0][1]
    assert runs.began[at] <= outer["start"] < outer["end"] <= runs.done[at]
    for _, inner in here[1:]:
        assert outer["start"] <= inner["start"] < inner["end"] <= outer["end"]
        assert inner["depth"] == outer["depth"] + 1
    assert outer["process"] == runs.host[at]


def test_without_a_trace_no_function_is_recorded(runner, tmp_path):
    profile = record(runner, tmp_path, "grow")
    assert (profile.functions, len(profile.spans)) == ([], 0)


def test_functions_are_left_out_with_what_they_call(runner, tmp_path):
    profile = record(runner, tmp_path, "grow_unseen", trace=True)
    seen = counts(profile)
    assert seen.pop("grow_unseen") == 1
    assert not {"hidden", "skipped", "quiet", "branch", "leaf"} & set(seen)


def test_a_marked_function_is_traced_without_the_rest(runner, tmp_path):
    profile = record(runner, tmp_path, "grow", "grow_seen", "grow")
    assert counts(profile) == {"traced": 1, "branch": 1, "leaf": 2}


def test_a_block_is_traced(runner, tmp_path):
    profile = record(runner, tmp_path, "grow_in_a_block")
    assert counts(profile) == {"branch": 1, "leaf": 2}


def test_a_block_of_a_coroutine_is_traced_through_its_waits(runner, tmp_path):
    profile = record(runner, tmp_path, "grow_in_a_coroutine")
    seen = counts(profile)
    assert (seen["branch"], seen["leaf"]) == (2, 4)
    assert "hidden" not in seen


def test_a_marked_coroutine_is_traced(runner, tmp_path):
    profile = record(runner, tmp_path, "grow_marked")
    assert counts(profile)["branch"] == 1


@pytest.mark.parametrize("trace", [True, False])
def test_trace_2_a_profiler_of_the_program_is_left_alone(runner, tmp_path, trace):
    methods = ("grow_beside_another", "grow_in_a_block")
    profile, (still_there, _) = record_results(runner, tmp_path, *methods, trace=trace)
    assert still_there
    assert counts(profile)["branch"] == 1, "that of the call after it"


def test_trace_2_a_profiler_that_a_method_left_is_found_by_the_next(runner, tmp_path):
    methods = ("grow_and_leave_another", "grow_where_another_was_left", "grow")
    profile, (_, found, _) = record_results(runner, tmp_path, *methods, trace=True)
    assert found
    seen = counts(profile)
    assert seen["branch"] == 1, "that of the call after both"
    assert "grow_where_another_was_left" not in seen


def test_a_forked_process_records_nothing(runner, tmp_path):
    profile, (records,) = record_results(runner, tmp_path, "grow_a_fork", trace=True)
    assert records == 0
    assert "branch" not in counts(profile)
    assert counts(profile)["grow_a_fork"] == 1


def test_a_trace_keeps_no_function_alive(runner, tmp_path):
    profile, (codes,) = record_results(runner, tmp_path, "grow_and_wither", trace=True)
    assert codes == [None] * 40
    seen = counts(profile)
    # Whoever takes the place of another in memory has a name of its own.
    assert {seen[f"passing_{n}"] for n in range(40)} == {1}


def test_runtimes_of_one_process_number_functions_for_themselves(runner, tmp_path):
    async def drive():
        profiler.start_trace()
        hosted = Tree.local()
        await hosted.proxy.grow(1).result()

    for file in (tmp_path / "first.mprof", tmp_path / "second.mprof"):
        with mosaic.session(num_workers=1, profile=file):
            runner.run(drive())
        assert counts(model.build(tables.read(file))) == {"grow": 1, "branch": 1, "leaf": 2}


def test_tracing_is_switched(runner, tmp_path):
    async def drive():
        tree = Tree.remote()
        assert not profiler.tracing
        with use_trace:
            assert profiler.tracing
            await tree.grow()
        assert not profiler.tracing
        assert profiler.recording
        await tree.grow()
        profiler.start_trace()
        await tree.grow()
        profiler.stop_trace()
        await tree.grow()

    file = tmp_path / "run.mprof"
    with mosaic.session(num_workers=1, profile=file):
        runner.run(drive())
    profile = model.build(tables.read(file))
    assert counts(profile)["branch"] == 2


def test_traces_by_name(runner, tmp_path):
    async def drive():
        tree = Tree.remote()
        profiler.start_trace("outer")
        with use_trace("inner"):
            await tree.grow()
        assert profiler.tracing
        profiler.start_trace("other")
        profiler.stop_trace("outer")
        profiler.stop_trace("never begun")
        assert profiler.tracing
        await tree.grow()
        profiler.stop_trace("other")
        assert not profiler.tracing
        with use_trace("alone"):
            assert profiler.tracing
        assert not profiler.tracing
        profiler.start_trace("left")
        profiler.stop_trace()
        assert not profiler.tracing
        await tree.grow()
        profiler.start_trace("left")

    file = tmp_path / "run.mprof"
    with mosaic.session(num_workers=1, profile=file):
        runner.run(drive())
    assert counts(model.build(tables.read(file)))["branch"] == 2

    async def again():
        profiler.start_trace()
        # What another network had begun does not count here.
        profiler.stop_trace("something")
        assert not profiler.tracing

    with mosaic.session(num_workers=1, profile=tmp_path / "again.mprof"):
        runner.run(again())


def test_marks_with_brackets():
    @skip_profile()
    def one():
        return 1

    @skip_profile(stop_trace=True)
    async def two():
        return 2

    @use_trace("three")
    def three():
        return 3

    for function in (one, two):
        assert _core.NOT_TRACED in inspect.unwrap(function).__code__.co_consts
    assert (one(), asyncio.run(two()), three()) == (1, 2, 3)
    with use_trace("id"), no_profiler("id"):
        assert leaf(3) == 3
    assert "'id'" in repr(use_trace("id"))


def test_without_a_recording_a_trace_is_nothing(runner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def drive():
        profiler.start_trace()
        assert (profiler.recording, profiler.tracing) == (False, False)
        tree = Tree.remote()
        assert await tree.profile_of_the_thread().result() is None
        await tree.grow_seen()
        profiler.stop_trace()

    with mosaic.session(num_workers=1):
        runner.run(drive())
    assert list(tmp_path.iterdir()) == []


def test_marks_do_nothing_without_a_profile():
    assert traced(3) == quiet(3) + hidden(3) == skipped(3) == 6
    with use_trace, no_profiler:
        assert leaf(3) == 3
    assert sys.getprofile() is None


def test_marks_are_for_functions():
    for mark in (skip_profile, no_profiler, use_trace):
        with pytest.raises(TypeError):
            mark(3)
    with pytest.raises(TypeError, match="written in Python"):
        skip_profile(len)


def test_old_names_are_the_same():
    assert global_profiler is profiler is mosaic.profiler
