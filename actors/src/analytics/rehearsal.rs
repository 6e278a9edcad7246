//! What the fold writes, without the events that it reads: for load tests, which fill stores.

use super::{
    facts::{CompletedTurn, Facts, Present},
    sql::facts,
};
use crate::{
    clock::Timestamp,
    ids::{ConversationId, OrgId},
    writer::Op,
};

/// A conversation as it is known once it is completed. `answers` are its turns: how many milliseconds each took to its
/// first text and to its end. `rating` beyond 5 is none.
pub fn known(
    op: &mut Op,
    org: OrgId,
    (channel, topic): (&str, &str),
    at: Timestamp,
    answers: &[(i64, i64)],
    rating: i64,
) {
    let ended = at.plus_ms(answers.iter().map(|(_, took)| took + 20_000).sum());
    let present = Present {
        channel: channel.to_owned(),
        topic: Some(topic.to_owned()),
        status: "completed".to_owned(),
        started_at: at,
        completed_at: Some(ended),
        resolution: Some("resolved".to_owned()),
        rating: Some(rating).filter(|rating| (1..=5).contains(rating)),
    };
    // As real ones, it sorts by when it began.
    let (begun, other) = (ConversationId::edge_at(at).as_u128(), ConversationId::generate().as_u128());
    let id = ConversationId::from_u128(begun | (other & ((1 << 80) - 1)));
    let mut known = Facts::begin(org, id.to_string(), present.clone()).with_present(present);
    known.messages = 2 * answers.len() as i64;
    known.spoken = Some((at, ended));
    known.unanswered = i64::from(rating == 1);
    for (first, took) in answers {
        known.answered(&CompletedTurn::of_times(at, Some(at.plus_ms(*first)), Some(at.plus_ms(*took))));
    }
    facts::put(op, &known);
}
