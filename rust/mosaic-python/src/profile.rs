//! The file of a profile, as Python reads it.

use mosaic_runtime::telemetry::{self, Batch, Process, Record};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::waiting::detach;

/// Read the contents of a file: the records that are whole, and how many bytes belong to none.
#[pyfunction]
pub(crate) fn read_profile<'py>(
    py: Python<'py>,
    contents: &[u8],
) -> PyResult<(Bound<'py, PyList>, u64)> {
    let profile = detach(py, || telemetry::parse(contents));
    let profile =
        profile.map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?;
    let records = PyList::empty(py);
    for record in profile.records {
        let fields = match record {
            Record::Process(process) => process_fields(py, &process)?,
            Record::Batch(batch) => batch_fields(py, *batch)?,
        };
        records.append(fields)?;
    }
    Ok((records, profile.torn))
}

fn process_fields<'py>(py: Python<'py>, process: &Process) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("runtime", process.runtime)?;
    fields.set_item("uid", &process.uid)?;
    fields.set_item("pid", process.pid)?;
    fields.set_item("anchor", (process.anchor.ticks, process.anchor.monotonic))?;
    fields.set_item("wall", process.wall)?;
    Ok(fields)
}

fn batch_fields(py: Python<'_>, batch: Batch) -> PyResult<Bound<'_, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("runtime", batch.runtime)?;
    fields.set_item("anchor", (batch.anchor.ticks, batch.anchor.monotonic))?;
    fields.set_item("callees", batch.callees)?;
    fields.set_item("names", batch.names)?;
    fields.set_item("dropped", batch.dropped)?;
    for (name, table) in [
        ("created", batch.created),
        ("parents", batch.parents),
        ("links", batch.links),
        ("queued", batch.queued),
        ("started", batch.started),
        ("done", batch.done),
        ("coded", batch.coded),
        ("failed", batch.failed),
        ("moved", batch.moved),
        ("spans", batch.spans),
        ("functions", batch.functions),
    ] {
        fields.set_item(name, PyBytes::new(py, &table))?;
    }
    Ok(fields)
}
