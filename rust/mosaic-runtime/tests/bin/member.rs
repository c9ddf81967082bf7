//! A member of a runtime in a process of its own, for the tests in `processes.rs`.
//!
//! `worker` takes the seat that the node agent offers; `agent` is a node agent that a monitor starts; `head N` starts a runtime with N workers, prints its
//! directory and its workers' process ids, a line each, and waits to be killed; `fail` gives its reasons and fails.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use mosaic_core::event::Role;
use mosaic_runtime::engine::{EngineConfig, EngineError};
use mosaic_runtime::executor::closures::{Actor, Closures};
use mosaic_runtime::launcher::{AgentConfig, agent};
use mosaic_runtime::node::Launch;
use mosaic_runtime::roles::{self, WorkerConfig};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[1..] {
        ["worker"] => worker(),
        ["agent"] => AgentConfig::from_environment().and_then(|config| agent(&config)),
        ["head", workers] => head(arguments[0], workers.parse().expect("a number")),
        ["fail"] => {
            let _ = writeln!(
                std::io::stderr(),
                "first, it is late\nsecond, there is no fuel"
            );
            return ExitCode::from(3);
        }
        _ => return ExitCode::from(2),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn worker() -> Result<(), EngineError> {
    let executor = Closures::new(|_| Some(Box::new(perform) as Box<dyn Actor>))?;
    let engine = roles::worker(
        WorkerConfig::from_environment()?,
        &EngineConfig::default(),
        executor.clone(),
    )?;
    executor.run_lane(&engine);
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "ending without a word is what is tested"
)]
fn perform(method: &str, arguments: &Bytes, _: &[Bytes]) -> Result<Bytes, String> {
    match method {
        "echo" => Ok(arguments.clone()),
        "print" => {
            let mut out = std::io::stdout().lock();
            let printed = out.write_all(arguments).and_then(|()| out.flush());
            printed.map_err(|error| error.to_string())?;
            Ok(Bytes::new())
        }
        "pid" => Ok(std::process::id().to_string().into()),
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        "block" => loop {
            std::thread::park();
        },
        other => Err(format!("there is no method {other}")),
    }
}

fn head(program: &str, workers: usize) -> Result<(), EngineError> {
    let launch = Launch {
        command: vec![program.into(), "worker".into()],
        environment: Vec::new(),
        workers,
        grace: Duration::from_secs(5),
    };
    let engine = roles::head(&EngineConfig::default(), launch, Closures::none()?)?;
    engine.wait_ready(workers, None)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", engine.directory().display())?;
    for member in engine
        .members()
        .iter()
        .filter(|member| member.role == Role::Worker)
    {
        writeln!(out, "{}", member.pid)?;
    }
    out.flush()?;
    loop {
        std::thread::park();
    }
}
