//! Stream text under a plan: generate MODEL [PLAN [PROMPT]]

use std::io::Write;
use std::ops::ControlFlow;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let path = args.get(1).ok_or("usage: generate MODEL [PLAN [PROMPT]]")?;
    let plan = args.get(2).map_or("serial", |x| x);
    let prompt = args.get(3).map_or("Once upon a time", |x| x);

    let model = tlp::Model::open(path)?;
    let plan = tlp::Plan::parse(&model, plan)?;
    let mut session = tlp::Session::new(&plan, &Default::default())?;
    let mut sampler = tlp::Sampler::new(&model, &Default::default())?;
    session.prefill(&model.tokenize(prompt, tlp::BOS)?)?;
    let options = tlp::GenerateOptions {
        n_predict: 64,
        ..Default::default()
    };
    session.generate(&mut sampler, &options, |text| {
        print!("{}", text);
        match std::io::stdout().flush() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    println!();
    Ok(())
}
