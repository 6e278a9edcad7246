//! The published document as something to ask: operations by their requests, values by their schemas.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use jsonschema::{Draft, Registry, Validator};
use serde_json::Value;

use super::Said;

/// Read once for all tests of the process.
pub(super) static DOCUMENT: LazyLock<Document> = LazyLock::new(Document::read);

/// The name under which schemas refer to it.
const NAME: &str = "urn:openapi";

pub(super) struct Document {
    pub(super) json: &'static Value,
    registry: Registry<'static>,
    /// Compiled when first asked for: a test needs a few of them.
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// Where an operation stands in the document.
pub(super) struct Operation {
    pub(super) place: String,
}

impl Operation {
    /// Where a part of it stands.
    pub(super) fn at(&self, names: &[&str]) -> String {
        format!("{}{}", self.place, pointer(names))
    }
}

/// A JSON pointer.
pub(super) fn pointer(names: &[&str]) -> String {
    names.iter().map(|name| format!("/{}", escaped(name))).collect()
}

/// A name as part of a JSON pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Document {
    fn read() -> Self {
        let text = openclaw_server::http::openapi::text().unwrap();
        // For as long as the process, as everything that is compiled of it.
        let json: &'static Value = Box::leak(Box::new(serde_json::from_slice(&text).unwrap()));
        let resource = Draft::Draft202012.create_resource_ref(json);
        let registry = Registry::new().add(NAME, resource).unwrap().prepare().unwrap();
        Self { json, registry, validators: Mutex::default() }
    }

    /// What is there, and where it stands by itself, if it refers to something else.
    pub(super) fn resolved(&self, place: &str) -> Option<(String, &Value)> {
        let found = self.json.pointer(place)?;
        match found["$ref"].as_str() {
            Some(to) => self.resolved(to.strip_prefix('#')?),
            None => Some((place.to_owned(), found)),
        }
    }

    /// Is it as the schema there says?
    pub(super) fn is_valid(&self, schema: &str, value: &Value) -> Result<(), String> {
        if self.json.pointer(schema).is_none() {
            return Err(format!("there is no schema at {schema}"));
        }
        let validator =
            Arc::clone(self.validators.lock().unwrap().entry(schema.to_owned()).or_insert_with(|| {
                // Its pointer in a URI.
                let place = schema.replace('%', "%25").replace('{', "%7B").replace('}', "%7D");
                let refers = serde_json::json!({ "$ref": format!("{NAME}#{place}") });
                let options =
                    jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
                Arc::new(
                    options
                        .with_registry(&self.registry)
                        .build(&refers)
                        .unwrap_or_else(|error| panic!("{schema}: {error}")),
                )
            }));
        if validator.is_valid(value) {
            return Ok(());
        }
        let each = validator.iter_errors(value).map(|error| format!("{} ({})", error, error.instance_path()));
        Err(each.collect::<Vec<_>>().join("; "))
    }

    /// The operation that a request asks for. HEAD asks for what GET does.
    pub(super) fn operation(&self, said: &Said) -> Option<Operation> {
        let template = self.template(said.path())?;
        let method = said.method.to_lowercase();
        let method = if method == "head" { "get" } else { &method };
        let place = pointer(&["paths", template, method]);
        let found = self.json.pointer(&place)?;
        // There is no HEAD of a stream.
        let streams = found["responses"]["200"]["content"].get("text/event-stream").is_some()
            || found["responses"].get("101").is_some();
        (said.method != "HEAD" || !streams).then_some(Operation { place })
    }

    /// The methods that a path has, as the router lists them.
    pub(super) fn methods(&self, path: &str) -> Vec<&'static str> {
        let item = self.template(path).map(|template| &self.json["paths"][template]);
        let has = |method: &&str| item.is_some_and(|item| item.get(method.to_lowercase()).is_some());
        ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().filter(has).collect()
    }

    /// The template that a path is of: the one that says most of it.
    fn template(&self, path: &str) -> Option<&str> {
        let matches = |template: &str| {
            let (mut wanted, mut given) = (template.split('/'), path.split('/'));
            loop {
                match (wanted.next(), given.next()) {
                    (None, None) => return true,
                    (Some(wanted), Some(given)) if wanted == given => {}
                    (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
                    _ => return false,
                }
            }
        };
        let templates = self.json["paths"].as_object()?.keys().map(String::as_str);
        templates.filter(|template| matches(template)).min_by_key(|template| template.matches('{').count())
    }

    /// The parameters of an operation, each with where it is described.
    pub(super) fn parameters(&self, operation: &Operation) -> Vec<(String, &Value)> {
        let (path, _) = operation.place.rsplit_once('/').unwrap_or_default();
        let each = [path, &operation.place].into_iter().flat_map(|place| {
            let described = self.json.pointer(&format!("{place}/parameters")).and_then(Value::as_array);
            (0..described.map_or(0, Vec::len)).map(move |at| format!("{place}/parameters/{at}"))
        });
        each.map(|at| self.resolved(&at).unwrap_or_else(|| panic!("{at} leads nowhere"))).collect()
    }

    /// Does that kind of credential open it?
    pub(super) fn opens_with(&self, operation: &Operation, kind: &str) -> bool {
        let security = self.json.pointer(&operation.at(&["security"])).and_then(Value::as_array);
        security.is_some_and(|all| all.iter().any(|one| one.get(kind).is_some()))
    }

    /// Is a text, as it stands in a query or a header, as the schema there says? `times` is how often it is given.
    pub(super) fn takes(&self, schema: &str, text: &str, times: usize) -> Result<(), String> {
        let (place, described) =
            self.resolved(schema).ok_or_else(|| format!("there is no schema at {schema}"))?;
        if described["type"] == "array" {
            let each = format!("{place}/items");
            return text.split(',').try_for_each(|one| self.takes(&each, one, 1));
        }
        if times > 1 {
            return Err("it is given more than once".to_owned());
        }
        let kind = described["type"].as_str().unwrap_or_default();
        let value = match serde_json::from_str(text) {
            Ok(value @ Value::Number(_)) if ["integer", "number"].contains(&kind) => value,
            Ok(value @ Value::Bool(_)) if kind == "boolean" => value,
            _ => text.into(),
        };
        self.is_valid(&place, &value)
    }
}
