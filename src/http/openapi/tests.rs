use std::collections::BTreeSet;

use super::{around::METHODS, *};

type Operations = BTreeSet<(String, String)>;

fn documented() -> Operations {
    let document = merged().unwrap();
    let paths = document.get("paths").unwrap().fields().iter();
    paths
        .flat_map(|(path, item)| {
            let methods = item.fields().iter().filter(|(name, _)| METHODS.contains(&name.as_str()));
            methods.map(|(method, _)| (path.clone(), method.to_uppercase()))
        })
        .collect()
}

/// HEAD goes with GET, and is not documented by itself.
fn routed() -> Operations {
    let lines = crate::http::table();
    lines
        .iter()
        .flat_map(|line| {
            let methods = line.allowed();
            let methods: Vec<_> =
                methods.split(", ").filter(|name| *name != "HEAD").map(str::to_owned).collect();
            methods.into_iter().map(|method| (line.path.clone(), method))
        })
        .collect()
}

#[test]
fn nothing_is_documented_that_is_no_route() {
    let (documented, routed) = (documented(), routed());
    let invented: Vec<_> = documented.difference(&routed).collect();
    assert!(invented.is_empty(), "invented: {invented:#?}");
}

#[test]
fn a_name_stands_in_one_room_only() {
    let mut document = merged().unwrap();
    for again in [
        r#"{"paths":{"/v1/openapi.json":{}}}"#,
        r#"{"components":{"schemas":{"Error":{}}}}"#,
        r#"{"info":{}}"#,
        r#"{"paths":[]}"#,
    ] {
        add(&mut document, serde_json::from_str(again).unwrap()).expect_err(again);
    }
    let new = r#"{"components":{"schemas":{"New":{}}},"webhooks":{"new":{}},"tags":[{"name":"New"}]}"#;
    add(&mut document, serde_json::from_str(new).unwrap()).unwrap();
}
