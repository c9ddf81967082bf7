"""The page of a profile in a browser: its tables and its drawing say what the profile says."""

import json
import re
from collections import Counter

import numpy as np
import pytest

import mosaic
from mosaic.cli import mprof
from mosaic.profile import model, tables
from tests.support import browser, profiles

# A browser may have to be installed first.
pytestmark = [pytest.mark.timeout(280), pytest.mark.slow]

GUTTER = 132
"""Pixels on the left of the timeline that hold the names of processes."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def recorded(home, runner):
    browser.executable()
    return profiles.record(runner, home)


@pytest.fixture(scope="module")
def profile(recorded):
    return model.build(tables.read(recorded))


@pytest.fixture(scope="module")
def page(recorded):
    assert mprof.main([str(recorded), "--no-open"]) == 0
    return recorded.with_suffix(".html")


@pytest.fixture(scope="module")
def shown(page, home):
    return browser.document(page, home)


def seconds(text):
    """Turn a time as the page shows it into seconds."""
    if text == "0":
        return 0.0
    value, unit = text.split()
    return float(value) * {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit]


def column(rows, title):
    at = rows[0].index(title)
    return {row[0]: row[at] for row in rows[1:]}


def test_it_comes_up(shown, profile, recorded):
    assert shown.attributes["html"].get("data-state") == "ready"
    assert shown.texts["title"] == recorded.name
    total = sum(profiles.CALLS.values())
    assert f"{total} calls, 1 failed · 2 workers" in shown.texts["summary"]
    assert f"{total} of {total} calls in view" in shown.texts["shown"]
    assert not shown.texts.get("warning")


def test_the_table_of_calls_says_what_the_profile_says(shown, profile):
    rows, runs = shown.tables["calls"], profile.runs
    assert {name: int(count) for name, count in column(rows, "calls").items()} == profiles.CALLS
    names = np.array([profile.names[callee] for callee in runs.callee])
    for title, values in {
        "run, total": runs.running,
        "waiting for arguments": runs.waiting,
        "queueing": runs.queueing,
        "transfer": runs.transfer,
        "sending": runs.sending,
    }.items():
        for name, text in column(rows, title).items():
            assert seconds(text) == pytest.approx(values[names == name].sum() / 1e9, rel=0.01)
    assert column(rows, "failed")["Survey.fail"] == "1"
    waits = column(rows, "waiting for arguments")
    assert seconds(waits["Survey.adjoint"]) > 0
    assert waits["Survey.forward"] == "0"


def test_the_other_tables_do_too(shown, profile):
    processes = shown.tables["processes"]
    assert {row[0]: row[1] for row in processes[1:]} == {
        uid: str(pid) for uid, pid, _, _ in profile.processes
    }
    ran = Counter(profile.processes[host][0] for host in profile.runs.host)
    assert {k: int(v) for k, v in column(processes, "calls run").items() if v != "0"} == ran
    moved = Counter(
        (profile.processes[row["source"]][0], profile.processes[row["target"]][0])
        for row in profile.moved
    )
    assert moved
    transfers = shown.tables["transfers"][1:]
    assert {(row[0], row[1]): int(row[2]) for row in transfers} == moved
    functions = column(shown.tables["functions"], "calls")
    assert functions["_compute"] == "12"


def test_names_are_text(shown):
    assert profiles.NASTY in column(shown.tables["calls"], "calls")
    assert "img" not in shown.tags
    assert shown.texts.get("title") != "caught"


def pixels(page, home, fragment=""):
    image = pytest.importorskip("PIL.Image")
    with image.open(browser.picture(page, home, fragment)) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def colours(shown):
    """Return the colour of each name."""
    names = [row[0] for row in shown.tables["calls"][1:]]
    found = {}
    for name, style in zip(names, shown.swatches["calls"], strict=True):
        found[name] = tuple(int(part) for part in re.findall(r"\d+", style)[:3])
    return found


def widths(picture, colour):
    """Return how many pixels of each line have a colour, right of the names and within the timeline."""
    return (np.abs(picture[:, GUTTER:] - np.array(colour)).max(axis=2) <= 2).sum(axis=1)


def test_bars_are_as_long_as_the_runs(shown, profile, page, home):
    picture, palette, runs = pixels(page, home), colours(shown), profile.runs
    names = np.array([profile.names[callee] for callee in runs.callee])
    breadth = (widths(picture, palette["Survey.forward"])).max()
    assert breadth > 0
    drawn = {}
    for name in ("Survey.forward", "Survey.adjoint"):
        for host in set(runs.host):
            here = (names == name) & (runs.host == host)
            drawn[name, host] = runs.running[here].sum()
    # Each worker has a line of its own: the longest lines of a colour are those of the two workers.
    lines = {name: widths(picture, palette[name]) for name in ("Survey.forward", "Survey.adjoint")}
    for name, line in lines.items():
        longest = max(drawn[name, host] for host in set(runs.host))
        scale = longest / line.max()
        other = "Survey.adjoint" if name == "Survey.forward" else "Survey.forward"
        expected = max(drawn[other, host] for host in set(runs.host)) / scale
        # A few pixels at the ends of each bar are blended, or hold the name.
        assert lines[other].max() == pytest.approx(expected, rel=0.25, abs=12)


def test_a_part_is_shown_that_the_address_names(shown, profile, page, home):
    runs = profile.runs
    at = next(i for i in range(len(runs)) if profile.names[runs.callee[i]] == "Survey.forward")
    length = runs.returned[at] - runs.ran[at]
    alone = [(runs.ran[at] + length * part) / 1000 for part in (0.4, 0.6)]
    others = [
        i
        for i in range(len(runs))
        if i != at and runs.began[i] / 1000 < alone[1] and runs.done[i] / 1000 > alone[0]
    ]
    fragment = f"from={alone[0]}&to={alone[1]}"
    part = browser.document(page, home, fragment)
    assert f"{1 + len(others)} of {len(runs)} calls in view" in part.texts["shown"]
    lines = widths(pixels(page, home, fragment), colours(shown)["Survey.forward"])
    assert lines.max() > 1000, "the bar goes from end to end"


PROBE = """
<script>
// A browser that nobody looks at draws no frames, or few.
window.requestAnimationFrame = (draw) => setTimeout(draw, 1);
const probe = {}, text = (id) => document.getElementById(id).textContent;
const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
async function act() {
  const canvas = document.getElementById("timeline"), box = canvas.getBoundingClientRect();
  const middle = box.left + box.width / 2;
  for (let y = box.top; y < box.bottom; y += 4) {
    canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: middle, clientY: y }));
    if (!document.getElementById("hint").hidden) break;
  }
  probe.hint = text("hint");
  canvas.dispatchEvent(new PointerEvent("pointerleave"));
  probe.left = document.getElementById("hint").hidden;
  await frame();
  probe.part = text("shown");
  for (let i = 0; i < 60; i++) {
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: 100, clientX: middle, cancelable: true }));
  }
  await frame();
  probe.out = text("shown");
  for (let i = 0; i < 80; i++) canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "d" }));
  await frame();
  probe.end = text("shown");
  document.getElementById("all").click();
  await frame();
  probe.all = text("shown");
  probe.address = location.hash;
  const names = () => [...document.querySelectorAll("#calls tbody tr")].map((row) => row.children[0].textContent);
  document.querySelector("#calls th").click();
  probe.sorted = names();
  document.querySelector("#calls th").click();
  probe.turned = names();
  const out = document.createElement("pre");
  out.id = "probe";
  out.textContent = JSON.stringify(probe);
  document.body.append(out);
}
const wait = () => (document.documentElement.dataset.state === "ready" ? act() : setTimeout(wait, 20));
wait();
</script>
"""


def test_it_can_be_zoomed_moved_asked_and_sorted(profile, page, home):
    runs = profile.runs
    at = next(i for i in range(len(runs)) if profile.names[runs.callee[i]] == "Survey.forward")
    middle = (runs.ran[at] + runs.returned[at]) / 2000
    probed = home / "probed.html"
    probed.write_text(page.read_text().replace("</head>", PROBE + "</head>"))
    document = browser.document(probed, home, f"from={middle - 50}&to={middle + 50}")
    probe = json.loads(document.texts["probe"])
    assert probe["hint"].startswith("Survey")
    assert "called byhead" in probe["hint"]
    assert probe["left"], "the hint goes with the pointer"
    total = f"{len(runs)} of {len(runs)} calls in view"
    assert total not in probe["part"]
    assert total in probe["out"]
    assert total in probe["all"]
    assert re.fullmatch(r"#from=-?[\d.]+&to=[\d.]+", probe["address"])
    assert probe["sorted"] == probe["turned"][::-1]
    assert set(probe["sorted"]) == set(profiles.CALLS)


def test_a_torn_file_says_so(recorded, home):
    torn = home / "torn.mprof"
    torn.write_bytes(recorded.read_bytes()[:-5])
    assert mprof.main([str(torn), "--no-open"]) == 0
    document = browser.document(torn.with_suffix(".html"), home)
    assert "bytes of the file are torn" in document.texts["warning"]
    assert document.attributes["html"].get("data-state") == "ready"


def test_a_hundred_thousand_calls_are_shown(home, runner):
    async def drive(runtime):
        for _ in range(10):
            await mosaic.gather([runtime.submit(abs, -1) for _ in range(10_000)])

    file = home / "large.mprof"
    with mosaic.session(num_workers=2, profile=file) as runtime:
        runner.run(drive(runtime))
    assert mprof.main([str(file), "--no-open"]) == 0
    document = browser.document(file.with_suffix(".html"), home)
    assert document.attributes["html"].get("data-state") == "ready"
    assert "100,000 of 100,000 calls in view" in document.texts["shown"]
    assert column(document.tables["calls"], "calls") == {"abs": "100,000"}
