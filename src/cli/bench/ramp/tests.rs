use proptest::prelude::*;

use super::*;

const RULE: Rule = Rule { answered_at_least: 0.95, p99_at_most_times: 5.0 };

/// A step of ten seconds.
fn step(offered: f64, achieved: f64, p99: f64) -> Step {
    let spread = Spread { mean: p99, p50: p99, p90: p99, p95: p99, p99, p999: p99, max: p99 };
    Step {
        offered_per_second: offered,
        achieved_per_second: achieved,
        tokens_per_second: 0.0,
        seconds: 10.0,
        requests: (offered * 10.0) as u64,
        completed: (achieved * 10.0) as u64,
        errors: 0,
        wrong: 0,
        first_token_ms: Some(spread),
        between_tokens_ms: None,
        completion_ms: Some(spread),
        cpu_cores: None,
        rss_mib: None,
        generator_cpu_cores: 0.1,
        tries: 1,
        falls_behind: None,
    }
}

#[test]
fn a_rate_is_kept_up_with_while_it_is_answered_and_its_tail_holds() {
    let lowest = step(10.0, 10.0, 12.0);
    let judge = |step: &Step| RULE.judge(&lowest, step);
    assert_eq!(judge(&lowest), None);
    assert_eq!(judge(&step(100.0, 95.0, 60.0)), None, "both bounds just hold");
    assert!(judge(&step(100.0, 94.0, 12.0)).unwrap().contains("94 %"));
    assert!(judge(&step(100.0, 100.0, 60.1)).unwrap().contains("5.0 times"));
    let failing = Step { errors: 60, ..step(100.0, 100.0, 12.0) };
    assert!(judge(&failing).unwrap().contains("60 of 1000"));
    let without_tokens = Step { first_token_ms: None, ..step(100.0, 100.0, 70.0) };
    assert!(judge(&without_tokens).is_some(), "where there are no tokens, the answer's wait counts");
    assert_eq!(judge(&step(1.0, 0.9, 12.0)), None, "one answer of ten falls outside by chance");
}

#[test]
fn the_knee_is_before_the_first_rate_that_is_too_much() {
    let behind = |step: Step| Step { falls_behind: Some(String::new()), ..step };
    let (a, b, c) = (step(1.0, 1.0, 1.0), step(2.0, 2.0, 1.0), step(3.0, 3.0, 1.0));
    assert_eq!(knee(&[a.clone(), b.clone(), c.clone()]), Some(2));
    assert_eq!(knee(&[a.clone(), behind(b.clone()), c.clone()]), Some(0));
    assert_eq!(knee(&[behind(a), b, c]), None);
    assert_eq!(knee(&[]), None);
}

proptest! {
    /// Whatever a server can do, the search ends near it.
    #[test]
    fn the_search_ends_at_the_servers_capacity(capacity in 11.0..5_000.0f64, growth in 1.2..3.0f64) {
        let plan = Plan { lowest: 10.0, growth, steps: 60, rule: RULE };
        let (mut tried, mut refined) = (Vec::new(), 0);
        while let Some(rate) = next(&plan, &tried, refined) {
            refined += u32::from(tried.iter().any(|(_, keeps): &(f64, bool)| !keeps));
            tried.push((rate, rate <= capacity));
            prop_assert!(tried.len() <= 60);
        }
        let knee = tried.iter().filter(|(_, keeps)| *keeps).map(|(rate, _)| *rate).fold(0.0, f64::max);
        let closest = growth.powf(0.25);
        prop_assert!(knee <= capacity && knee * closest * 1.000_001 >= capacity, "{knee} of {capacity}: {tried:?}");
    }

    #[test]
    fn the_search_has_an_end_where_no_rate_is_too_much(growth in 1.1..3.0f64, steps in 1..30u32) {
        let plan = Plan { lowest: 1.0, growth, steps, rule: RULE };
        let mut tried = Vec::new();
        while let Some(rate) = next(&plan, &tried, 0) {
            tried.push((rate, true));
        }
        prop_assert_eq!(tried.len() as u32, steps);
    }
}
