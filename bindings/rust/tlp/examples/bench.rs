//! Tokens per second of a greedy decode loop: bench MODEL [N [PLAN]]

use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let path = args.get(1).ok_or("usage: bench MODEL [N [PLAN]]")?;
    let n: usize = args.get(2).map_or(Ok(128), |x| x.parse())?;
    let model = tlp::Model::open(path)?;
    let plan = tlp::Plan::parse(&model, args.get(3).map_or("serial", |x| x))?;
    let mut session = tlp::Session::new(&plan, &Default::default())?;
    let mut sampler = tlp::Sampler::new(&model, &Default::default())?;
    session.prefill(&model.tokenize("Once upon a time", tlp::BOS)?)?;
    let begin = Instant::now();
    for _ in 0..n {
        let token = session.sample(0, &mut sampler)?;
        session.decode(token)?;
    }
    println!("{:.2} tokens/s", n as f64 / begin.elapsed().as_secs_f64());
    Ok(())
}
