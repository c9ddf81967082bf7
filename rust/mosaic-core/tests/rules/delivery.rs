//! `DELIVERY-1`: who asks whether a call has reached its host is told once, and not before.

use mosaic_core::call::FailureKind;
use mosaic_core::event::Event;
use mosaic_core::id::{RuntimeId, TaskId};
use mosaic_core::payload::Payload;

use crate::net::{HEAD, Net, ONE, kind, value};

/// Ask, without delivering anything.
fn ask(net: &mut Net, at: RuntimeId, task: TaskId) -> u64 {
    let handle = net.number();
    net.feed(at, Event::DeliveryRequested { task, handle });
    handle
}

fn there(net: &Net, handle: u64) -> bool {
    let empty = mosaic_core::call::Outcome::Value(Payload::default());
    net.settled.get(&handle) == Some(&empty)
}

#[test]
fn delivery_1_it_is_told_when_the_call_is_there_and_need_not_have_run() {
    let mut net = Net::new(1);
    let tessera = net.construct(HEAD, ONE);
    net.slow(HEAD, ONE);
    let task = net.call(HEAD, tessera);
    let (first, second) = (ask(&mut net, HEAD, task), ask(&mut net, HEAD, task));
    net.deliver();
    assert!(!net.settled.contains_key(&first), "it is still on its way");
    net.fast(HEAD, ONE);
    assert!(there(&net, first) && there(&net, second));
    assert_eq!(net.runs(ONE), [task]);
    net.finish(task, value("1"));
    let late = ask(&mut net, HEAD, task);
    assert!(there(&net, late));
}

#[test]
fn delivery_1_a_call_that_waits_for_the_window_is_not_there() {
    let mut net = Net::with(1, |config| config.window_calls = 1);
    let tessera = net.construct(HEAD, ONE);
    let (first, second) = (net.call(HEAD, tessera), net.call(HEAD, tessera));
    let asked = ask(&mut net, HEAD, second);
    net.deliver();
    assert!(!net.settled.contains_key(&asked));
    net.finish(first, value("1"));
    assert!(there(&net, asked));
    net.finish(second, value("2"));
}

#[test]
fn delivery_1_a_call_that_ends_on_its_way_says_how() {
    let mut net = Net::with(1, |config| config.window_calls = 1);
    let tessera = net.construct(HEAD, ONE);
    let (first, second) = (net.call(HEAD, tessera), net.call(HEAD, tessera));
    net.deliver();
    let asked = ask(&mut net, HEAD, second);
    net.feed(HEAD, Event::CancelRequested(second));
    assert_eq!(kind(&net.settled[&asked]), Some(FailureKind::Cancelled));
    net.slow(HEAD, ONE);
    let third = net.call(HEAD, tessera);
    let asked = ask(&mut net, HEAD, third);
    net.kill(ONE);
    assert_eq!(net.failure(first), Some(FailureKind::Disconnected));
    assert_eq!(kind(&net.settled[&asked]), Some(FailureKind::Disconnected));
}

#[test]
fn delivery_1_a_call_that_is_sent_again_arrives_where_it_runs() {
    let mut net = Net::new(2);
    let (tessera, construction) = net.begin(HEAD, ONE, |submission| submission.restarts = 1);
    net.finish(construction, value(""));
    net.slow(HEAD, ONE);
    let task = net.call_with(HEAD, tessera, |submission| submission.resends = 1);
    let asked = ask(&mut net, HEAD, task);
    net.kill(ONE);
    net.finish(construction, value(""));
    assert!(there(&net, asked));
    net.finish(task, value("2"));
}
