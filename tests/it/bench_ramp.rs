//! `bench --ramp`: rates rise until the server no longer keeps up, and the report says where that was.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{bench, bench_in_private, honest, is_spread, number, report, server_that_says};

fn steps(report: &Value) -> &Vec<Value> {
    report["ramp"]["steps"].as_array().unwrap()
}

/// The knee is the last rate before the first that was too much, and every row adds up.
#[track_caller]
fn is_sound(report: &Value) {
    let steps = steps(report);
    let offered: Vec<f64> = steps.iter().map(|step| number(&step["offered_per_second"])).collect();
    assert!(offered.is_sorted_by(|a, b| a < b), "{report}");
    let first_lost = steps.iter().position(|step| !step["falls_behind"].is_null());
    let knee = first_lost.unwrap_or(steps.len()).checked_sub(1);
    let expected = knee.map_or(Value::Null, |knee| steps[knee]["offered_per_second"].clone());
    assert_eq!(report["ramp"]["knee_per_second"], expected, "{report}");
    assert_eq!(report["ramp"]["knee_is_beyond"], first_lost.is_none(), "{report}");
    let lowest = number(&steps[0]["first_token_ms"]["p99"]);
    for step in steps {
        is_spread(&step["first_token_ms"]);
        is_spread(&step["completion_ms"]);
        let (rate, achieved) = (number(&step["offered_per_second"]), number(&step["achieved_per_second"]));
        if step["falls_behind"].is_null() {
            let due = rate * number(&step["seconds"]);
            assert!(achieved * number(&step["seconds"]) + 1.01 >= due * 0.95, "it did not keep up: {step}");
            assert!(number(&step["first_token_ms"]["p99"]) <= lowest * 5.001, "it was slow: {step}");
        }
    }
    let sum = |name: &str| steps.iter().map(|step| number(&step[name])).sum::<f64>();
    assert_eq!(
        (number(&report["requests"]), number(&report["completed"])),
        (sum("requests"), sum("completed"))
    );
}

#[test]
fn rates_rise_over_a_private_server_with_its_costs_at_each() {
    let output = bench_in_private(&[
        "--ramp",
        "--rate",
        "10",
        "--ramp-growth",
        "3",
        "--ramp-steps",
        "2",
        "--duration",
        "0.5",
        "--tokens",
        "5",
        "--json",
    ]);
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    assert_eq!(steps(&report).first().unwrap()["offered_per_second"], json!(10.0), "{report}");
    is_sound(&report);
    for step in steps(&report) {
        assert!(number(&step["cpu_cores"]) >= 0.0 && number(&step["rss_mib"]) > 1.0, "{step}");
        assert!(number(&step["generator_cpu_cores"]) >= 0.0, "{step}");
    }
}

#[test]
fn the_knee_of_a_server_that_answers_one_after_the_other_is_below_what_it_can_do() {
    // A request every 60 ms: 16 per second, and not one more.
    let url = format!("http://{}", server_that_says(&honest(), Duration::from_millis(60)));
    let output = bench(&[
        "--url",
        &url,
        "--key",
        "x",
        "--ramp",
        "--rate",
        "4",
        "--ramp-growth",
        "3",
        "--ramp-steps",
        "3",
        "--duration",
        "1.5",
        "--json",
    ]);
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    is_sound(&report);
    let last = steps(&report).last().unwrap();
    assert_eq!((&last["offered_per_second"], &last["tries"]), (&json!(36.0), &json!(2)), "{report}");
    assert!(last["falls_behind"].is_string(), "36 per second are more than 16: {report}");
    assert!(number(&report["ramp"]["knee_per_second"]) < 17.0, "{report}");
    // Whoever asked while there was a queue waited for all before: a loop that waits for answers would not see it.
    assert!(number(&last["first_token_ms"]["p99"]) > 500.0, "{report}");
}
