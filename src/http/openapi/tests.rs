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
fn every_route_is_documented_and_nothing_else_is() {
    let (documented, routed) = (documented(), routed());
    let missing: Vec<_> = routed.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&routed).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:#?}\ninvented: {invented:#?}");
}

/// All places of the document, the outermost first, with where they are.
fn walk<'t>(tree: &'t Tree, at: &str, seen: &mut impl FnMut(&str, &'t Tree)) {
    seen(at, tree);
    for (name, value) in tree.fields() {
        walk(value, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), seen);
    }
    for (place, item) in tree.items().iter().enumerate() {
        walk(item, &format!("{at}/{place}"), seen);
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_shared_part_is_used() {
    let document = merged().unwrap();
    let mut there = BTreeSet::new();
    let mut named = BTreeSet::new();
    walk(&document, "#", &mut |at, tree| {
        there.insert(at.to_owned());
        named.extend(tree.text("$ref").map(str::to_owned));
    });
    let nowhere: Vec<_> = named.difference(&there).collect();
    assert!(nowhere.is_empty(), "{nowhere:#?}");
    let shared = there.iter().filter(|at| at.starts_with("#/components/") && at.matches('/').count() == 3);
    let used =
        |at: &&String| at.contains("/securitySchemes/") || named.iter().any(|name| name.starts_with(*at));
    let unused: Vec<_> = shared.filter(|at| !used(at)).collect();
    assert!(unused.is_empty(), "{unused:#?}");
}

/// What a client can rely on is all there is. What others extend is closed by them.
#[test]
fn every_object_of_an_answer_is_closed() {
    let document = merged().unwrap();
    let mut open = Vec::new();
    let mut extended = BTreeSet::new();
    walk(&document, "#", &mut |at, tree| {
        let is_schema = at.contains("/schema") || at.starts_with("#/components/schemas/");
        let has_fields = tree.text("type") == Some("object") && tree.get("properties").is_some();
        let is_closed =
            ["additionalProperties", "unevaluatedProperties"].iter().any(|name| tree.get(name).is_some());
        if is_schema && has_fields && !is_closed {
            open.push(at.to_owned());
        }
        if at.contains("/allOf/") || is_closed {
            extended.extend(tree.text("$ref").map(str::to_owned));
        }
    });
    // Other people's clients send more than is read; and this document.
    let said_to_be = ["ChatCompletionRequest", "ChatMessage", "UiMessageRequest", "openapi.json"];
    open.retain(|at| !extended.contains(at) && !said_to_be.iter().any(|known| at.contains(known)));
    assert!(open.is_empty(), "{open:#?}");
}
