"""The tutorial runs as it stands, and what it says is so."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.kernels import Kernel

TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial.ipynb"

CHECK = """{
    "hottest": hottest.state, "times": times, "misfit": (history[0], history[-1]), "found": found,
    "falls": all(later < earlier for earlier, later in zip(history, history[1:])),
    "error": float(abs(start.value - truth).max()), "copies": len({id(one) for one in profiles}),
}"""


def test_it_is_committed_without_outputs():
    notebook = nbformat.read(TUTORIAL, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


def text_of(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


@pytest.mark.slow
async def test_it_runs():
    notebook = nbformat.read(TUTORIAL, as_version=4)
    *cells, off = notebook.cells
    assert '"off"' in off.source
    check = nbformat.v4.new_code_cell(CHECK)
    notebook.cells = [*cells, check, off]
    kernel = Kernel()
    client = NotebookClient(notebook, km=kernel.manager, timeout=60, shutdown_kernel="immediate")
    try:
        await client.async_execute(cleanup_kc=False, **kernel.start_options)
        kernel.assert_nothing_left()
    finally:
        await client._async_cleanup_kernel()
        kernel.close()
    found = ast.literal_eval(check.outputs[0].data["text/plain"])
    assert found["hottest"] == "done"
    assert found["times"] == [500] * 4
    assert found["falls"]
    assert found["misfit"][1] < found["misfit"][0] / 100
    assert found["found"] == 20
    # Of ten degrees; what flows apart cannot be brought back entirely.
    assert found["error"] < 2.5
    shown = [cell for cell in notebook.cells if cell.cell_type == "code"]
    by_source = {cell.source.splitlines()[0]: cell for cell in shown}
    assert "at time 200 the hottest cell has" in text_of(by_source["rod = Rod.remote()"])
    assert text_of(by_source["try:"]).startswith("refused: index 1000")
    tables = [
        output.data["text/html"]
        for cell in shown
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    titles = ["Runtime head", "Task", "Stored value", "Parameter", "Array of 2 tesserae"]
    assert [title for title in titles if any(f">{title}" in table for table in tables)] == titles
