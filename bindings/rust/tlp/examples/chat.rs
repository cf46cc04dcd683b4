//! Chat in the terminal: chat MODEL [PLAN]

use std::io::{BufRead, Write};
use tlp::{Engine, EngineOptions, EventKind, Message, Request};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let path = args.get(1).ok_or("usage: chat MODEL [PLAN]")?;
    let model = tlp::Model::open(path)?;
    let plan = tlp::Plan::parse(&model, args.get(2).map_or("serial", |x| x))?;
    let engine = Engine::new(&plan, &EngineOptions::default())?;
    engine.start()?;

    let mut messages = Vec::new();
    print!("> ");
    std::io::stdout().flush()?;
    for line in std::io::stdin().lock().lines() {
        messages.push(Message::new("user", line?));
        engine.submit(&Request::chat(messages.clone()))?;
        let mut answer = String::new();
        for event in engine.events() {
            let event = event?;
            if let Some(error) = event.error {
                return Err(error.into());
            }
            print!("{}", event.text);
            std::io::stdout().flush()?;
            answer += &event.text;
            if event.kind == EventKind::End {
                break;
            }
        }
        messages.push(Message::new("assistant", answer));
        print!("\n> ");
        std::io::stdout().flush()?;
    }
    Ok(())
}
