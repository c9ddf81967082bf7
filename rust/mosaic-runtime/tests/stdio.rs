//! What workers print, and the rounds that have it told.

use std::time::Duration;

use mosaic_runtime::engine::{Engine, EngineConfig};
use mosaic_runtime::executor::closures::Closures;
use mosaic_runtime::node::Launch;
use mosaic_runtime::notice::Notice;
use mosaic_runtime::roles;

/// A head whose only worker is a shell that never joins.
fn head(script: &str) -> Engine {
    let launch = Launch {
        command: ["sh", "-c", script].map(String::from).to_vec(),
        environment: Vec::new(),
        workers: 1,
        grace: Duration::ZERO,
    };
    let lane = Closures::none().expect("a lane");
    roles::head(&EngineConfig::default(), launch, lane).expect("a head")
}

/// What is told up to the first notice of that kind: lines with their origins.
fn lines_until(engine: &Engine, last: impl Fn(&Notice) -> bool) -> Vec<(Option<u32>, String)> {
    let mut lines = Vec::new();
    loop {
        for notice in engine.notices().take().expect("a running engine") {
            if let Notice::Output { origin, line, .. } = &notice {
                lines.push((*origin, String::from_utf8_lossy(line).into_owned()));
            }
            if last(&notice) {
                return lines;
            }
        }
    }
}

#[test]
fn stdio_1_lines_carry_the_origin_of_the_mark_before_them() {
    let engine = head(r"printf 'plain\n\033_mosaic 7\033\\marked\n'; exec sleep 60");
    let marked =
        |notice: &Notice| matches!(notice, Notice::Output { line, .. } if line == b"marked");
    assert_eq!(
        lines_until(&engine, marked),
        [(None, "plain".to_owned()), (Some(7), "marked".to_owned())]
    );
    engine.stop(None);
}

#[test]
fn stdio_2_a_round_ends_after_what_was_printed_before_it() {
    let places = tempfile::tempdir().expect("a directory");
    let turns = 20;
    let fifos: Vec<_> = (0..turns)
        .map(|turn| {
            let path = places.path().join(turn.to_string());
            rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU)
                .expect("a named pipe");
            path
        })
        .collect();
    // Prints, and says so past its output.
    let script = format!(
        "for turn in $(seq 0 {}); do echo line $turn; echo > '{}'/$turn; done; exec sleep 60",
        turns - 1,
        places.path().display()
    );
    let engine = head(&script);
    let mut heard = Vec::new();
    for (turn, fifo) in fifos.iter().enumerate() {
        std::fs::read(fifo).expect("the word of the worker");
        let token = turn as u64;
        engine.drain_output(token);
        heard.extend(lines_until(&engine, |notice| {
            *notice == Notice::Drained(token)
        }));
        // The next line may be there already.
        assert!(
            heard.contains(&(None, format!("line {turn}"))),
            "{turn}: {heard:?}"
        );
    }
    // Nobody reads any more: a round ends all the same.
    engine.stop(None);
    engine.drain_output(99);
}

/// `STDIO-3`: output is due until the program has handled it, wherever it is on its way.
#[test]
fn stdio_3_output_is_due_until_the_program_has_handled_it() {
    let engine = head(r"printf 'one\n'; exec sleep 60");
    let lines = lines_until(&engine, |notice| matches!(notice, Notice::Output { .. }));
    assert_eq!(lines, [(None, "one".to_owned())]);
    assert!(
        engine.output_is_due(),
        "the program handles what it has taken"
    );
    std::thread::scope(|scope| {
        let handled = scope.spawn(|| engine.notices().take());
        // The thread says that it has handled the line by asking for more.
        while engine.output_is_due() {
            std::thread::yield_now();
        }
        engine.stop(None);
        handled.join().expect("no panic");
    });
}
