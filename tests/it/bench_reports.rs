//! What is made of reports of `bench`: pages, comparisons, sections of a document.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    bench::{QUICK, bench, report},
    harness::{Output, Server},
};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Nothing of the page comes from elsewhere, runs, or is anything but what we wrote.
#[track_caller]
fn stands_alone(page: &str) {
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for foreign in ["<script", "<link", "<img", "<iframe", " src=", "url(", "@import", "javascript:"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let links = page.matches("http").count();
    let known = page.matches("http-equiv").count() + page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(links, known + page.matches("--url http://").count(), "nothing is fetched");
    for needed in ["prefers-color-scheme:dark", "width=device-width", "lang=\"en\"", "default-src 'none'"] {
        assert!(page.contains(needed), "{needed}");
    }
    let plots = page.matches("<svg").count();
    assert!(plots >= 4, "only {plots} plots");
    assert_eq!((page.matches("<title id=").count(), page.matches("<desc id=").count()), (plots, plots));
    assert!(page.contains("<table") && page.contains("scope=\"row\""));
}

#[test]
fn a_page_shows_the_report_and_no_secret() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::start();
    let key = server.organization().primary_key;
    let url = format!("http://{}", server.address());
    let page = place.path().join("report.html");
    let output = bench(&[
        "--url",
        &url,
        "--key",
        &key,
        "--requests",
        "9",
        "--concurrency",
        "3",
        "--json",
        "--html",
        text(&page),
        "--title",
        "<script>alert(1)</script> & more",
    ]);
    assert!(output.status.success(), "{output:?}");
    let told = report(&output);
    let written = fs::read_to_string(&page).unwrap();
    stands_alone(&written);
    assert!(written.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"));
    for (name, text) in [("page", &written), ("report", &output.out)] {
        assert!(!text.contains(&key), "the key is in the {name}");
        assert!(text.contains("--key …"), "{name}: {text}");
    }
    // What was measured, on what, and by which program.
    let machine = &told["about"]["machine"];
    for shown in
        [machine["kernel"].as_str().unwrap(), env!("CARGO_PKG_VERSION"), "First token, p99", "Wrong answers"]
    {
        assert!(written.contains(shown), "{shown}");
    }
    // The server tells its own costs to whoever asks from this machine.
    let last = told["timeline"].as_array().unwrap().last().unwrap();
    assert!(last["cpu_cores"].is_number() && last["rss_mib"].as_f64().unwrap() > 1.0, "{told}");
    assert!(written.contains("CPU of the server over time") && told["server"].is_null());
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["report.html"], "nothing else stays");
}

#[test]
fn a_ramp_has_its_knee_on_the_page() {
    let place = tempfile::tempdir().unwrap();
    let page = place.path().join("ramp.html");
    let output = bench(&[
        "--ramp",
        "--rate",
        "10",
        "--ramp-growth",
        "2",
        "--ramp-steps",
        "2",
        "--duration",
        "0.5",
        "--tokens",
        "3",
        "--html",
        text(&page),
    ]);
    assert!(output.status.success(), "{output:?}");
    let written = fs::read_to_string(&page).unwrap();
    stands_alone(&written);
    for shown in ["Latency by rate", "CPU by rate", "Each rate", "class=\"mark\"", ">knee: "] {
        assert!(written.contains(shown), "{shown}");
    }
}

/// A report of a short run, in a file.
fn kept(folder: &Path) -> (std::path::PathBuf, Value) {
    let output = bench(&QUICK);
    assert!(output.status.success(), "{output:?}");
    let file = folder.join("a.json");
    fs::write(&file, &output.out).unwrap();
    (file, report(&output))
}

#[test]
fn two_reports_are_compared_figure_by_figure() {
    let place = tempfile::tempdir().unwrap();
    let (a, told) = kept(place.path());
    let b = place.path().join("b.json");
    let compare = |changed: &dyn Fn(&mut Value), more: &[&str]| -> Output {
        let mut other = told.clone();
        changed(&mut other);
        fs::write(&b, other.to_string()).unwrap();
        bench(&[&["compare", text(&a), text(&b)], more].concat())
    };
    let times = |report: &mut Value, factor: f64| {
        let p99 = report["first_token_ms"]["p99"].as_f64().unwrap();
        report["first_token_ms"]["p99"] = json!(p99 * factor);
    };
    let same = compare(&|_| {}, &["--json"]);
    assert!(same.status.success(), "{same:?}");
    let compared = report(&same);
    assert_eq!((&compared["worse"], &compared["better"]), (&json!(0), &json!(0)), "{compared}");
    assert!(compared["figures"].as_array().unwrap().iter().all(|pair| pair["a"] == pair["b"]), "{compared}");

    let worse = compare(&|report| times(report, 1.2), &["--json"]);
    assert_eq!(worse.status.code(), Some(1), "{worse:?}");
    let compared = report(&worse);
    let named = |pair: &&Value| pair["name"] == "first token p99";
    let pair = compared["figures"].as_array().unwrap().iter().find(named).unwrap();
    assert_eq!((&pair["verdict"], &compared["worse"]), (&json!("worse"), &json!(1)), "{compared}");
    assert!((pair["ratio"].as_f64().unwrap() - 1.2).abs() < 0.001, "{pair}");
    assert!(compare(&|report| times(report, 1.2), &["--tolerance", "25"]).status.success());
    assert!(compare(&|report| times(report, 0.5), &[]).status.success(), "better is not worse");
    // The longest wait is one request's.
    assert!(compare(&|report| report["first_token_ms"]["max"] = json!(9e9), &[]).status.success());
    let slower = compare(&|report| report["requests_per_second"] = json!(0.1), &[]);
    assert_eq!(slower.status.code(), Some(1), "{slower:?}");
    assert!(slower.out.contains("WORSE"), "{slower:?}");

    // Other options are another measurement.
    let other = compare(&|report| report["about"]["options"]["concurrency"] = json!(4), &[]);
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    assert!(other.err.contains("not of the same: concurrency is 3 and 4"), "{other:?}");
    let none = compare(&|report| *report = json!({"scenario": "stream"}), &[]);
    assert!(none.err.contains("that is not a report of this version's"), "{none:?}");

    let page = place.path().join("compared.html");
    let evil = |report: &mut Value| {
        report["about"]["title"] = json!("B");
        report["about"]["command"] = json!("<img onerror=x>");
        report["about"]["machine"]["kernel"] = json!("\"><script>");
    };
    let paged = compare(&evil, &["--html", text(&page)]);
    assert!(
        paged.status.success() && paged.out.contains("note: they ran on different machines"),
        "{paged:?}"
    );
    let written = fs::read_to_string(&page).unwrap();
    stands_alone(&written);
    assert!(written.contains("&lt;img onerror=x&gt;") && written.contains("A: first token"), "{written}");
}

#[test]
fn reports_become_sections_of_a_document_whose_prose_stays() {
    let place = tempfile::tempdir().unwrap();
    let (a, told) = kept(place.path());
    let page = place.path().join("figures.md");
    let with = |measured: &str| {
        format!("# Figures\n\n<!-- measured: begin -->{measured}<!-- measured: end -->\n\nProse.\n")
    };
    fs::write(&page, with("\nold\n")).unwrap();
    let write = || bench(&["page", "--out", text(&page), text(&a)]);
    let output = write();
    assert!(output.status.success(), "{output:?}");
    let written = fs::read_to_string(&page).unwrap();
    assert!(
        written.starts_with("# Figures\n") && written.ends_with("\n\nProse.\n") && !written.contains("old")
    );
    let p99 = told["first_token_ms"]["p99"].as_f64().unwrap();
    assert!(
        written.contains("### Streamed answers, 3 clients") && written.contains("| first token |"),
        "{written}"
    );
    assert!(written.contains(&format!("{p99:.2}").trim_end_matches('0').to_owned()), "{p99}: {written}");
    for link in written.split("](").skip(1) {
        let plot = fs::read_to_string(place.path().join(link.split(')').next().unwrap())).unwrap();
        assert!(plot.starts_with("<svg") && plot.contains("<title") && plot.contains("prefers-color-scheme"));
    }
    assert!(written.matches("](figures/a-").count() >= 4, "{written}");
    // Written again, it is the same.
    assert!(write().status.success());
    assert_eq!(fs::read_to_string(&page).unwrap(), written);
    fs::write(&page, "nothing marked").unwrap();
    let refused = write();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.err.contains("measured: begin"), "{refused:?}");
    assert_eq!(fs::read_to_string(&page).unwrap(), "nothing marked");
}
