//! Models that are opened and dropped leave no memory behind.

mod common;

fn resident_pages() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_thousand_models_are_dropped() {
    let path = common::tiny("memory");
    let mut before = 0;
    for i in 0..1000 {
        let model = tlp::Model::open(&path).unwrap();
        let plan = tlp::Plan::parse(&model, "par:1-2").unwrap();
        drop(model);
        assert!(!plan.text().unwrap().is_empty());
        if i == 100 {
            before = resident_pages();
        }
    }
    // A model has 150 KB of weights, so 900 leaks would be 30000 pages.
    assert!(resident_pages() - before < 1000);
}
