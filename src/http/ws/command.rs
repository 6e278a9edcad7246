//! What a client says on a WebSocket, and how it is answered.

use std::rc::Rc;

use actix_web::{ResponseError, http::StatusCode, web::Data};
use openclaw_actors::{
    conversation::{
        messages::ConversationKey,
        record::{Message, Turn},
    },
    ids::TurnId,
    keys::{Principal, Scope},
    limiter::{Bucket, BucketId},
    metrics::METRICS,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    http::{
        auth,
        conversations::{MessageBody, Sender, StopOnDrop, messages, refused},
        error::ApiError,
        json,
    },
    server::Parts,
};

/// What a client may name its command by.
const REF_LONGEST: usize = 128;

/// A command that was carried out, or refused.
pub(super) struct Done {
    /// JSON.
    pub(super) answer: Vec<u8>,
    /// The turn that stops when the socket closes.
    pub(super) stops: Option<(TurnId, StopOnDrop)>,
}

#[derive(Serialize)]
struct Ack<'a> {
    r#type: &'static str,
    r#ref: Option<&'a str>,
    message: Option<Message>,
    turn: Option<Turn>,
}

#[derive(Serialize)]
struct Refused<'a> {
    r#type: &'static str,
    r#ref: Option<&'a str>,
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StopBody {
    turn_id: Option<TurnId>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TypingBody {
    role: Option<Sender>,
}

type Outcome = (Option<Message>, Option<Turn>, Option<(TurnId, StopOnDrop)>);

/// One client's standing.
struct Speaker {
    parts: Data<Parts>,
    principal: Principal,
    key: ConversationKey,
}

/// Reads a frame at once and carries it out in its own time.
pub(super) fn carry_out(
    parts: Data<Parts>,
    opener: Principal,
    key: ConversationKey,
    in_order: Rc<Mutex<()>>,
    words: &[u8],
) -> impl Future<Output = Done> + use<> {
    // What is refused before it is understood is named too, if it has a name.
    let read = read(words).map_err(|refusal| (name_of(words), refusal));
    async move {
        let (name, outcome) = match read {
            Ok((name, kind, body)) => {
                let outcome = match Speaker::now(parts, &opener, key, &in_order).await {
                    Ok(speaker) => speaker.act(&kind, &body).await,
                    Err(refusal) => Err(refusal),
                };
                (name, outcome)
            }
            Err((name, refusal)) => (name, Err(refusal)),
        };
        match outcome {
            Ok((message, turn, stops)) => {
                let ack = Ack { r#type: "ack", r#ref: name.as_deref(), message, turn };
                // Our own types always serialize.
                Done { answer: serde_json::to_vec(&ack).unwrap_or_default(), stops }
            }
            Err(error) => Done { answer: refusal(name.as_deref(), &error), stops: None },
        }
    }
}

/// A refusal as JSON.
pub(super) fn refusal(name: Option<&str>, error: &ApiError) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: &'a RawValue,
    }
    let body = error.body(None);
    let error = serde_json::from_slice(&body).ok().map(|Body { error }| error);
    serde_json::to_vec(&Refused { r#type: "error", r#ref: name, error }).unwrap_or_default()
}

/// What the client calls its command, if that much can be read of it.
pub(super) fn name_of(words: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        r#ref: Option<String>,
    }
    let named: Named = serde_json::from_slice(words).ok()?;
    named.r#ref.filter(|name| name.chars().count() <= REF_LONGEST)
}

/// `ref`, `type`, and the rest as a body of its own, so that it is checked like one.
fn read(words: &[u8]) -> Result<(Option<String>, String, Vec<u8>), ApiError> {
    let mut fields: Map<String, Value> = json::parse(words)?;
    let name = match fields.remove("ref") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if name.chars().count() <= REF_LONGEST => Some(name),
        Some(_) => {
            let message = format!("it must be a text of at most {REF_LONGEST} characters");
            return Err(ApiError::invalid_field("ref", message));
        }
    };
    let Some(Value::String(kind)) = fields.remove("type") else {
        return Err(ApiError::invalid_field("type", "it must be message.send, turn.stop or typing"));
    };
    Ok((name, kind, serde_json::to_vec(&fields).map_err(ApiError::internal)?))
}

impl Speaker {
    /// With what the key may do now: it may have changed since it opened the socket.
    async fn now(
        parts: Data<Parts>,
        opener: &Principal,
        key: ConversationKey,
        in_order: &Mutex<()>,
    ) -> Result<Self, ApiError> {
        let _turn = in_order.lock().await;
        let principal = auth::renewed(&parts, opener).await?;
        Ok(Self { parts, principal, key })
    }

    async fn act(&self, kind: &str, body: &[u8]) -> Result<Outcome, ApiError> {
        match kind {
            "message.send" => self.send(json::parse(body)?).await,
            "turn.stop" => {
                let StopBody { turn_id } = json::parse(body)?;
                self.require(Scope::ConversationsWrite)?;
                let stopped = self.parts.directory.stop(self.key, turn_id, false).await;
                Ok((None, stopped.map_err(|refusal| refused(self.key, refusal))?, None))
            }
            "typing" => {
                let TypingBody { role } = json::parse(body)?;
                let sender = role.unwrap_or_default();
                self.require(messages::scope_of(sender))?;
                let told = self.parts.directory.typing(self.key, sender.as_str()).await;
                told.map_err(|refusal| refused(self.key, refusal))?;
                Ok((None, None, None))
            }
            _ => Err(ApiError::invalid_field("type", "it must be message.send, turn.stop or typing")),
        }
    }

    fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.principal.holds(scope) { Ok(()) } else { Err(ApiError::permission_denied(scope.as_str())) }
    }

    /// Counted like the request that it stands for.
    async fn send(&self, body: MessageBody) -> Result<Outcome, ApiError> {
        self.require(messages::scope_of(body.sender()))?;
        let Some(quota) = self.principal.quota else { return self.store(body).await };
        let bucket = BucketId { bucket: Bucket::Requests, key: self.principal.bucket() };
        let limiter = &self.parts.limiter;
        let decision = limiter.take(bucket, quota, Instant::now()).await;
        let decision = decision.map_err(|error| ApiError::unavailable().caused_by(error))?;
        let Some(admission) = decision.admitted else {
            METRICS.rate_limited.inc();
            return Err(ApiError::rate_limited(decision.reset_after));
        };
        let stored = self.store(body).await;
        if let Err(refusal) = &stored
            && matches!(refusal.status_code(), StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE)
        {
            limiter.give_back(bucket, admission).await;
        }
        stored
    }

    async fn store(&self, body: MessageBody) -> Result<Outcome, ApiError> {
        let stops = body.stops_on_disconnect();
        let incoming = body.check("", &self.parts)?;
        let ((accepted, stops), _) =
            messages::store(self.parts.clone(), self.key, incoming, stops, None).await?;
        let stops = accepted.turn.as_ref().map(|turn| turn.id).zip(stops);
        Ok((accepted.message, accepted.turn, stops))
    }
}
