//! What a store says of itself, for people who want to know where the memory is.

use mosaic_core::id::{BufferId, RuntimeId};

/// One buffer, for people who want to know where the memory is.
#[derive(Clone, Debug)]
pub struct BufferReport {
    /// Which.
    pub buffer: BufferId,
    /// Length in bytes.
    pub length: u64,
    /// It lies on disk.
    pub spilled: bool,
    /// How many views of this process show it.
    pub views: usize,
    /// It is exported to other processes.
    pub exported: bool,
    /// The runtimes that hold it.
    pub holders: Vec<RuntimeId>,
    /// What made the value in which it lies, where that value is kept here.
    pub what: String,
}

/// A process's part of the node's memory.
#[derive(Clone, Debug, Default)]
pub struct StoreReport {
    /// Most bytes that all processes of the node may take.
    pub limit: u64,
    /// Bytes that all of them have taken.
    pub taken_by_all: u64,
    /// Bytes that this process has taken: its buffers in memory, and idle memory kept warm.
    pub taken: u64,
    /// Bytes of its buffers in memory.
    pub in_memory: u64,
    /// Bytes of its buffers on disk, before compression.
    pub on_disk: u64,
    /// Bytes on disk.
    pub disk_used: u64,
    /// Its buffers.
    pub buffers: Vec<BufferReport>,
}
