//! Requests of several threads.

mod common;

use std::collections::HashMap;
use tlp::{Engine, EngineOptions, Error, EventKind, Model, Plan, Request, StopReason};

fn engine(name: &str) -> Engine {
    let model = Model::open(common::tiny(name)).unwrap();
    let plan = Plan::parse(&model, "serial").unwrap();
    let mut options = EngineOptions::default();
    options.session.n_thread = 1;
    Engine::new(&plan, &options).unwrap()
}

#[test]
fn threads_submit() {
    let engine = engine("submit");
    engine.start().unwrap();
    let threads: Vec<_> = (0..4)
        .map(|i| {
            let engine = engine.clone();
            std::thread::spawn(move || {
                let mut request = Request::tokens(vec![i, i + 1]);
                request.n_predict = 5;
                request.n_choice = 2;
                request.n_top = 3;
                request.logprobs = true;
                request.ignore_end = true;
                engine.submit(&request).unwrap()
            })
        })
        .collect();
    let mut tokens: HashMap<u64, Vec<i32>> = threads
        .into_iter()
        .map(|t| (t.join().unwrap(), Vec::new()))
        .collect();
    let mut left = tokens.len();
    while left > 0 {
        let event = engine.next(None).unwrap().unwrap();
        if event.kind == EventKind::Token {
            assert_eq!(event.top.len(), 3);
            assert_eq!(event.top[0].token, event.token); // greedy
            assert_eq!(event.top[0].logprob, event.logprob);
            tokens.get_mut(&event.request).unwrap().push(event.token);
        }
        left -= usize::from(event.kind == EventKind::End);
    }
    assert!(tokens.values().all(|t| t.len() == 10));
    assert_eq!(engine.stats().unwrap().n_ended, 4);
}

#[test]
fn another_thread_cancels() {
    let engine = engine("cancel");
    let mut request = Request::tokens(vec![1, 2]);
    request.ignore_end = true;
    let id = engine.submit(&request).unwrap();
    let other = engine.clone();
    std::thread::spawn(move || other.cancel(id)).join().unwrap();
    while engine.step().unwrap() > 0 {}
    engine.stop();
    let events: Vec<_> = engine.events().map(|e| e.unwrap()).collect();
    assert_eq!(events.last().unwrap().kind, EventKind::End);
    assert!(events.iter().any(|e| e.stop_reason == StopReason::Cancel));
    assert!(matches!(engine.submit(&request), Err(Error::Closed(_))));
}
