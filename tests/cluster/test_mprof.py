"""The command ``mprof``: a page that stands alone, a trace for Perfetto, and clear words where neither can be had."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from importlib.resources import files

import pytest

from mosaic.cli import mprof
from tests.support import profiles


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, runner):
    return profiles.record(runner, tmp_path_factory.mktemp("profile"))


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def opened(monkeypatch):
    """What was opened in a browser, on a machine that has a screen."""
    seen = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", seen.append)
    return seen


def test_it_writes_a_page_beside_the_profile_and_opens_it(recorded, opened, capsys):
    assert mprof.main([str(recorded)]) == 0
    page = recorded.with_suffix(".html")
    assert capsys.readouterr().out == f"{page}\n"
    assert opened == [page.as_uri()]


def test_the_page_needs_nothing_else(recorded, tmp_path):
    page = tmp_path / "page.html"
    assert mprof.main([str(recorded), "-o", str(page), "--no-open"]) == 0
    text = page.read_text()
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?\s*(?:https?:)?//", text)
    assert "<!--" not in text, "every part is filled in"
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    "way", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "srcdoc"]
)
def test_no_part_of_the_page_makes_markup_of_text(way):
    assets = list(files("mosaic.profile").joinpath("assets").iterdir())
    assert {"page.html", "tables.js", "timeline.js"} <= {asset.name for asset in assets}
    assert [asset.name for asset in assets if way in asset.read_text("utf-8")] == []


def test_the_name_of_the_file_is_no_markup_either(recorded, tmp_path):
    odd = tmp_path / "<script>alert(1)<!--DATA-->.mprof"
    shutil.copy(recorded, odd)
    assert mprof.main([str(odd), "-o", str(tmp_path / "page.html"), "--no-open"]) == 0
    assert "alert(1)" not in (tmp_path / "page.html").read_text().replace(
        "&lt;script&gt;alert(1)", ""
    )


def test_it_opens_nothing_when_told(recorded, opened, tmp_path):
    mprof.main([str(recorded), "-o", str(tmp_path / "page.html"), "--no-open"])
    assert opened == []


def test_without_a_screen_it_opens_nothing(recorded, opened, tmp_path, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert mprof.main([str(recorded), "-o", str(tmp_path / "page.html")]) == 0
    assert opened == []
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")


def test_a_browser_that_does_not_start_is_no_failure(recorded, tmp_path, monkeypatch, capsys):
    import webbrowser

    def fail(_):
        raise webbrowser.Error("there is none")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", fail)
    assert mprof.main([str(recorded), "-o", str(tmp_path / "page.html")]) == 0
    assert "there is none" in capsys.readouterr().err


def test_without_a_name_it_takes_the_newest_of_the_workspace(
    recorded, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert mprof.main(["--no-open"]) == 1
    assert "there is no profile in mosaic-workspace/" in capsys.readouterr().err
    workspace = tmp_path / "mosaic-workspace"
    workspace.mkdir()
    for age, name in enumerate(["new", "old"]):
        shutil.copy(recorded, workspace / f"{name}.mprof")
        os.utime(workspace / f"{name}.mprof", (1e9 - age, 1e9 - age))
    assert mprof.main(["--no-open"]) == 0
    assert capsys.readouterr().out.endswith("new.html\n")
    shutil.rmtree(workspace)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.mprof"], "missing.mprof"),
        (["empty.mprof"], "is no profile of mosaic"),
        (["RECORDED", "-o", "RECORDED"], "would replace the profile itself"),
        (["RECORDED", "-o", "nowhere/page.html"], "nowhere"),
    ],
)
def test_what_cannot_be_done_is_said(recorded, workspace, capsys, arguments, words):
    (workspace / "empty.mprof").touch()
    said = [str(recorded) if word == "RECORDED" else word for word in arguments]
    before = recorded.read_bytes()
    assert mprof.main([*said, "--no-open"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("mprof: ")
    assert words in message
    assert recorded.read_bytes() == before


def test_it_is_a_command_of_its_own(recorded, tmp_path):
    page = tmp_path / "page.html"
    done = subprocess.run(
        [sys.executable, "-m", "mosaic.cli.mprof", recorded, "-o", page, "--no-open"],
        capture_output=True,
        text=True,
        timeout=40,
        check=True,
    )
    assert done.stdout.strip() == str(page)
    assert done.stderr == ""


# ------------------------------------------------------------------------------------- Perfetto


@pytest.fixture(scope="module")
def trace(recorded, tmp_path_factory):
    file = tmp_path_factory.mktemp("trace") / "trace.json"
    assert mprof.main([str(recorded), "--perfetto", "-o", str(file)]) == 0
    return json.loads(file.read_text())


def test_a_trace_lies_beside_the_profile(recorded, opened, capsys):
    assert mprof.main([str(recorded), "--perfetto"]) == 0
    assert capsys.readouterr().out.strip() == str(recorded.with_suffix(".json"))
    assert opened == []


def test_events_of_a_trace_are_complete_and_in_order(trace):
    events = trace["traceEvents"]
    named = [event for event in events if event["ph"] == "M"]
    timed = [event for event in events if event["ph"] != "M"]
    assert {event["ph"] for event in timed} == {"X", "b", "e", "s", "f"}
    assert all(isinstance(event["pid"], int) and isinstance(event["tid"], int) for event in events)
    times = [event["ts"] for event in timed]
    assert times == sorted(times)
    assert min(times) >= 0
    assert all(event["dur"] >= 0 for event in timed if event["ph"] == "X")
    threads = {(e["pid"], e["tid"]) for e in named if e["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in timed} <= threads
    names = {e["args"]["name"] for e in named if e["name"] == "process_name"}
    assert names == {"head", "worker:0:0", "worker:0:1"}


def test_a_trace_has_a_slice_for_each_run(trace):
    slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    ran = Counter(e["name"] for e in slices if e["cat"] == "call" and "ended" in e["args"])
    assert ran == profiles.CALLS
    failed = [e for e in slices if e["args"].get("ended") == "raised"]
    assert [event["name"] for event in failed] == ["Survey.fail"]
    traced = {event["name"].split(" (")[0] for event in slices if event["cat"] == "function"}
    assert {"Survey.forward", "_compute"} <= traced


def test_slices_of_a_thread_nest(trace):
    threads = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "X" and event["cat"] != "function" and "ended" in event["args"]:
            threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in threads.values():
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert end <= start + 1e-3


def test_flows_lead_from_each_call_to_its_run(trace):
    flows = defaultdict(dict)
    for event in trace["traceEvents"]:
        if event["ph"] in {"s", "f"}:
            assert event["ph"] not in flows[event["id"]]
            flows[event["id"]][event["ph"]] = event
    assert len(flows) == sum(profiles.CALLS.values())
    slices = {(e["pid"], e["tid"], e["ts"]) for e in trace["traceEvents"] if e["ph"] == "X"}
    for ends in flows.values():
        start, finish = ends["s"], ends["f"]
        assert start["ts"] <= finish["ts"]
        assert (start["name"], start["cat"]) == (finish["name"], finish["cat"])
        assert finish["bp"] == "e"
        for end in (start, finish):
            assert (end["pid"], end["tid"], end["ts"]) in slices, "a flow is bound to a slice"


def test_waits_begin_and_end(trace):
    open_ones = {}
    for event in trace["traceEvents"]:
        if event["ph"] in {"b", "e"}:
            key = (event["cat"], event["id"], event["name"])
            if event["ph"] == "b":
                assert key not in open_ones
                open_ones[key] = event["ts"]
            else:
                assert open_ones.pop(key) <= event["ts"]
    assert open_ones == {}
    waits = {e["name"] for e in trace["traceEvents"] if e["ph"] == "b"}
    assert "waiting for arguments: Survey.adjoint" in waits
