//! A monitor inside this process, with an agent and workers of their own, for the heads of a test.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use mosaic_core::event::Role;
use mosaic_runtime::engine::{Engine, EngineConfig, EngineError};
use mosaic_runtime::executor::closures::Closures;
use mosaic_runtime::launcher::monitor::{Monitor, MonitorConfig};
use mosaic_runtime::node::Launch;
use mosaic_runtime::node::directory::Directory;
use mosaic_runtime::roles::{self, MonitorAddress};
use rustix::process::Pid;

use super::{PATIENCE, Proxy, deadline};

/// The program that agents and workers are.
pub(crate) const MEMBER: &str = env!("CARGO_BIN_EXE_mosaic-test-member");

/// A monitor in this process; it stops at the end of the test, and leaves nothing.
pub(crate) struct Launcher {
    pub(crate) monitor: Monitor,
    key: PathBuf,
    workspace: tempfile::TempDir,
}

impl Launcher {
    pub(crate) fn start(in_process: bool) -> Self {
        let workspace = tempfile::tempdir().expect("a directory");
        let key = workspace.path().join("work").join("key");
        std::fs::create_dir(workspace.path().join("work")).expect("a directory");
        let place = Directory::create().expect("a place");
        std::fs::write(&key, place.path().display().to_string()).expect("a key");
        let config = MonitorConfig {
            agent: (!in_process).then(|| vec![OsString::from(MEMBER), "agent".into()]),
            key: key.clone(),
            report: |_| {},
        };
        let monitor = Monitor::start(place, config).expect("a monitor");
        Self {
            monitor,
            key,
            workspace,
        }
    }

    pub(crate) fn try_head(&self, launch: Launch) -> Result<Head, EngineError> {
        let monitor = MonitorAddress {
            directory: self.monitor.directory().into(),
            monitor: std::process::id(),
            key: self.key.clone(),
            commanded: false,
        };
        let executor = Closures::none().expect("a lane");
        roles::joining_head(&EngineConfig::default(), launch, monitor, executor).map(Head)
    }

    pub(crate) fn head(&self, workers: usize) -> Head {
        let head = self.try_head(launch(workers)).expect("a head");
        head.0
            .wait_ready(workers, deadline())
            .expect("every worker");
        head
    }

    pub(crate) fn agent(&self) -> Pid {
        self.monitor.wait_ready(deadline()).expect("an agent");
        let pid = self.monitor.agent().expect("a process");
        Pid::from_raw(pid.cast_signed()).expect("a number")
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let place = self.monitor.directory().to_path_buf();
        self.monitor.stop();
        let left = std::fs::read_dir(self.workspace.path()).expect("the workspace");
        assert_eq!(left.count(), 0, "the key or its folder is left");
        assert!(!place.exists());
    }
}

/// Workers that are what they should be.
pub(crate) fn launch(workers: usize) -> Launch {
    Launch {
        command: vec![MEMBER.into(), "worker".into()],
        environment: Vec::new(),
        workers,
        grace: PATIENCE,
    }
}

/// A head that has joined; it stops at the end of the test.
pub(crate) struct Head(pub(crate) Engine);

impl Head {
    pub(crate) fn actor(&self) -> Proxy {
        Proxy::build(&self.0, "Actor", None).expect("an actor")
    }

    pub(crate) fn workers(&self) -> Vec<String> {
        let members = self.0.members();
        let workers = members.iter().filter(|member| member.role == Role::Worker);
        workers.map(|member| member.uid.clone()).collect()
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.0.stop(Some(Duration::from_secs(5)));
    }
}
