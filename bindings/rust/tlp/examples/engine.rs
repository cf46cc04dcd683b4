//! Many requests at a time: engine MODEL PROMPT...

use std::collections::BTreeMap;
use tlp::{Engine, EngineOptions, EventKind, Request};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let path = args.get(1).ok_or("usage: engine MODEL PROMPT...")?;
    let model = tlp::Model::open(path)?;
    let plan = tlp::Plan::parse(&model, "serial")?;
    let engine = Engine::new(&plan, &EngineOptions::default())?;
    engine.start()?;

    let mut texts = BTreeMap::new();
    for prompt in &args[2..] {
        let mut request = Request::tokens(model.tokenize(prompt, tlp::BOS)?);
        request.n_predict = 32;
        texts.insert(engine.submit(&request)?, prompt.clone());
    }
    let mut left = texts.len();
    while left > 0 {
        let event = engine.next(None)?.ok_or("no event")?;
        if let Some(text) = texts.get_mut(&event.request) {
            text.push_str(&event.text);
        }
        left -= usize::from(event.kind == EventKind::End);
    }
    for text in texts.values() {
        println!("{}\n", text);
    }
    Ok(())
}
