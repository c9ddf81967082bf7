"""``mrun --profile``: the program that it runs is profiled, workers and all."""

from collections import Counter

import pytest

from mosaic.profile import model, tables
from tests.support.launching import Mrun

PROGRAM = """
import mosaic

async def main(runtime):
    await mosaic.gather([runtime.submit(abs, -n) for n in range(50)])

mosaic.run(main, profile=False)
"""


@pytest.mark.parametrize("inproc", [False, True])
def test_a_program_under_mrun_is_profiled(inproc):
    options = ("-nw", "2", "--profile", *(["--inproc"] if inproc else []))
    with Mrun(PROGRAM, options=options) as script:
        assert script.wait() == 0
        script.assert_nothing_left()
        (file,) = (script.home / "mosaic-workspace").iterdir()
        assert str(file) in script.stderr
        profile = model.build(tables.read(file))
    assert [uid for uid, *_ in profile.processes] == ["head", "worker:0:0", "worker:0:1"]
    called = Counter(profile.names[callee] for callee in profile.runs.callee)
    assert called == {"abs": 50}
    assert {model.status_text(status) for status in profile.runs.status} == {"done"}


def test_the_path_that_the_variable_names_counts_under_mrun_too(tmp_path):
    file = tmp_path / "here.mprof"
    with Mrun(PROGRAM, options=("-nw", "1"), env={"MOSAIC_PROFILE": str(file)}) as script:
        assert script.wait() == 0
        assert not list(script.home.rglob("*.mprof"))
    assert len(model.build(tables.read(file)).runs) == 50


def test_without_the_option_there_is_no_profile():
    with Mrun(PROGRAM, options=("-nw", "1")) as script:
        assert script.wait() == 0
        assert not list(script.home.rglob("*.mprof"))
