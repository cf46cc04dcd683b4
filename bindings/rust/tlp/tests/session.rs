//! Models, plans, sessions and samplers.

mod common;

use std::ops::ControlFlow;
use std::panic::{catch_unwind, AssertUnwindSafe};
use tlp::{Error, GenerateOptions, Model, Plan, Pooling, Sampler, Session, SessionOptions};

fn open(name: &str, n_seq: i32) -> (Model, Session) {
    let model = Model::open(common::tiny(name)).unwrap();
    let plan = Plan::parse(&model, "par:1-2").unwrap();
    let options = SessionOptions {
        n_seq,
        n_thread: 1,
        ..Default::default()
    };
    let session = Session::new(&plan, &options).unwrap();
    (model, session)
}

fn argmax(row: &[f32]) -> i32 {
    let mut best = 0;
    for (i, x) in row.iter().enumerate() {
        if *x > row[best] {
            best = i;
        }
    }
    best as i32
}

#[test]
fn text_has_exact_bytes() {
    let (model, _) = open("bytes", 1);
    let bytes: Vec<u8> = (0..=255).collect();
    let valid = "a\0b \u{e9}\u{4e2d}\n";
    let ids = model.tokenize(valid, 0).unwrap();
    assert_eq!(model.detokenize(&ids, 0).unwrap(), valid.as_bytes());
    let ids: Vec<i32> = (0..256).collect();
    assert_eq!(model.detokenize(&ids, 0).unwrap(), bytes);
    assert!(model.is_end(256) && !model.is_end(0));
}

#[test]
fn greedy_tokens_are_those_of_the_logits() {
    let (model, mut session) = open("greedy", 1);
    let mut sampler = Sampler::new(&model, &Default::default()).unwrap();
    session.prefill(&[1, 2, 3]).unwrap();
    let tokens: Vec<i32> = session
        .tokens(&mut sampler)
        .take(10)
        .map(|t| t.unwrap())
        .collect();
    assert!(!tokens.is_empty());
    session.clear(0).unwrap();
    session.prefill(&[1, 2, 3]).unwrap();
    for token in tokens {
        assert_eq!(argmax(session.logits(0).unwrap()), token);
        assert_eq!(session.top(0, 1).unwrap()[0].token, token);
        session.decode(token).unwrap();
    }
}

#[test]
fn greedy_text_of_smollm2_is_that_of_its_logits() {
    let path = match common::smollm2() {
        Some(path) => path,
        None => return,
    };
    let model = Model::open(path).unwrap();
    let plan = Plan::parse(&model, "par:12-13").unwrap();
    let mut session = Session::new(&plan, &Default::default()).unwrap();
    let mut sampler = Sampler::new(&model, &Default::default()).unwrap();
    let prompt = model
        .tokenize("The capital of France is", tlp::BOS)
        .unwrap();
    session.prefill(&prompt).unwrap();
    let options = GenerateOptions {
        n_predict: 8,
        ..Default::default()
    };
    let mut text = String::new();
    session
        .generate(&mut sampler, &options, |piece| {
            text += piece;
            ControlFlow::Continue(())
        })
        .unwrap();
    session.clear(0).unwrap();
    session.prefill(&prompt).unwrap();
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(argmax(session.logits(0).unwrap()));
        session.decode(ids[ids.len() - 1]).unwrap();
    }
    assert_eq!(model.detokenize(&ids, 0).unwrap(), text.as_bytes());
}

#[test]
fn panics_pass_c() {
    let (model, mut session) = open("panics", 1);
    let mut greedy = Sampler::new(&model, &Default::default()).unwrap();
    session.prefill(&[1, 2]).unwrap();
    let options = GenerateOptions {
        ignore_end: true,
        ..Default::default()
    };
    let panic = catch_unwind(AssertUnwindSafe(|| {
        session.generate(&mut greedy, &options, |_| panic!("in text"))
    }));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"in text"));
    let mut sampler =
        Sampler::with_logits(&model, &Default::default(), |_| panic!("in logits")).unwrap();
    session.clear(0).unwrap();
    session.prefill(&[1, 2]).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| session.sample(0, &mut sampler)));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"in logits"));
    session.sample(0, &mut greedy).unwrap(); // the session goes on
    let options = tlp::tune::MakeOptions {
        depth: 3,
        ..Default::default()
    };
    let ids: Vec<i32> = (0..64).collect();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let mut progress = |_| panic!("in progress");
        let session = SessionOptions::default();
        tlp::tune::make(&model, &ids, &options, &session, Some(&mut progress))
    }));
    assert_eq!(panic.err().unwrap().downcast_ref(), Some(&"in progress"));
}

#[test]
fn another_thread_aborts() {
    let (_, mut session) = open("abort", 1);
    let handle = session.abort_handle();
    std::thread::spawn(move || handle.abort()).join().unwrap();
    assert!(matches!(session.prefill(&[1]), Err(Error::Canceled(_))));
    session.prefill(&[1]).unwrap();
    let handle = session.abort_handle();
    drop(session);
    handle.abort(); // the handle keeps the session
}

#[test]
fn hostile_input_is_an_error() {
    let missing = common::folder().join("missing.gguf");
    let error = Model::open(missing).err().unwrap();
    assert!(matches!(error, Error::Io(_)), "{:?}", error);
    assert!(error.text().contains("missing.gguf"));
    let whole = std::fs::read(common::tiny("whole")).unwrap();
    let cut = common::folder().join("cut.gguf");
    for n in [0, 3, 40, 2000, whole.len() - 1] {
        std::fs::write(&cut, &whole[..n]).unwrap();
        let error = Model::open(&cut).err().unwrap();
        assert!(error.text().contains("cut.gguf"), "{}", error);
    }
    assert!(matches!(Model::open("a\0b"), Err(Error::Invalid(_))));
    let (model, mut session) = open("hostile", 1);
    assert!(Plan::parse(&model, "par:9-99").is_err());
    assert!(matches!(Plan::parse(&model, "a\0"), Err(Error::Invalid(_))));
    assert!(session.prefill(&[100000]).is_err());
    assert!(session.prefill(&[]).is_err());
    assert!(session.logits(7).is_err());
    assert!(session.eval(&[1, 2], &[0]).is_err());
    assert!(session.load(0, b"nonsense").is_err());
}

#[test]
fn sequences_are_forked_and_saved() {
    let (_, mut session) = open("sequences", 2);
    session.prefill(&[5, 6, 7]).unwrap();
    let row = session.logits(0).unwrap().to_vec();
    session.fork(1, 0).unwrap();
    assert_eq!(session.tokens_of(1).unwrap(), [5, 6, 7]);
    let saved = session.save(0).unwrap();
    session.clear(0).unwrap();
    session.load(0, &saved).unwrap();
    assert_eq!(session.pos(0), 3);
    session.rewind(0, 2).unwrap();
    session.eval(&[7], &[0]).unwrap();
    assert_eq!(session.logits(0).unwrap(), &row[..]);
    session.clear(1).unwrap();
    let vector = session.embed(1, &[1, 2], Pooling::Mean).unwrap();
    let norm: f32 = vector.iter().map(|x| x * x).sum();
    assert!((norm - 1.0).abs() < 1e-4);
    let ppl = tlp::eval::perplexity(&mut session, &[1, 2, 3, 4], 4).unwrap();
    assert!(ppl > 1.0 && ppl.is_finite());
}

#[test]
fn plans_are_made_and_models_quantized() {
    let (model, _) = open("tune", 1);
    let ids: Vec<i32> = (0..128).map(|i| i * 7 % 256).collect();
    let session = SessionOptions {
        n_ctx: 32,
        n_thread: 1,
        ..Default::default()
    };
    let options = tlp::tune::MakeOptions {
        depth: 3,
        ..Default::default()
    };
    let mut calls = 0;
    let mut count = |_| {
        calls += 1;
        ControlFlow::Continue(())
    };
    let plan = tlp::tune::make(&model, &ids, &options, &session, Some(&mut count)).unwrap();
    assert_eq!(plan.cost(2).unwrap().effective_depth, 3);
    assert!(calls > 0);
    let mut cancel = |_| ControlFlow::Break(());
    let made = tlp::tune::make(&model, &ids, &options, &session, Some(&mut cancel));
    assert!(matches!(made, Err(Error::Canceled(_))));
    let path = common::folder().join("q8.gguf");
    let report = tlp::tune::quantize(&model, &path, Some("Q8_0"), None).unwrap();
    assert!(report.n_converted > 0);
    assert!(Model::open(path).is_ok());
}

#[test]
fn unknown_tokens_are_harmless() {
    let (model, mut session) = open("unknown", 1);
    let mut sampler = Sampler::new(&model, &Default::default()).unwrap();
    for token in [-1, 257, i32::MAX, i32::MIN] {
        assert!(!model.is_end(token));
        assert!(model.piece(token).is_err());
        assert!(model.detokenize(&[token], 0).is_err());
        sampler.accept(token);
        assert!(session.decode(token).is_err());
    }
    session.decode(1).unwrap();
    session.sample(0, &mut sampler).unwrap();
}
