//! What can answer.

use actix_web::web::{Data, Json as Answer};
use serde::Serialize;

use super::{
    auth::{Caller, ReadConversations},
    query::AnyParameters,
};
use crate::server::Parts;

/// As OpenAI's clients read it.
#[derive(Serialize)]
pub(super) struct Models {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
}

/// The models that a message may name; the first is asked when it names none.
pub(super) async fn list(
    _: Caller<ReadConversations>,
    _: AnyParameters,
    parts: Data<Parts>,
) -> Answer<Models> {
    let models = parts.directory.models().names();
    let data =
        models.map(|id| Model { id: id.to_owned(), object: "model", created: 0, owned_by: "openclaw" });
    Answer(Models { object: "list", data: data.collect() })
}
