//! `GET /v1/analytics/conversations`: one row per conversation, without a word or a name of anybody.

use actix_web::{Error, HttpResponse, http::header, web::Data};
use bytes::Bytes;
use futures_util::stream;
use openclaw_actors::{
    analytics::{After, facts::Facts},
    clock::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::Range;
use crate::{
    http::{
        auth::{Caller, ReadAnalytics},
        error::ApiError,
        query::Query,
    },
    server::Parts,
};

/// Conversations read at a time, and all that is held for a slow reader.
const PAGE: i64 = 500;

const COLUMNS: [&str; 12] = [
    "conversation_id",
    "channel",
    "topic",
    "status",
    "started_at",
    "completed_at",
    "resolution",
    "rating",
    "messages",
    "duration_seconds",
    "handovers",
    "unanswered",
];

/// Which conversations, and how they are written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct ExportParameters {
    from: Option<String>,
    to: Option<String>,
    timezone: Option<String>,
    channel: Vec<String>,
    topic: Vec<String>,
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Csv,
    Ndjson,
}

/// A row, in the order of the columns.
#[derive(Debug, Serialize)]
struct RowView<'a> {
    conversation_id: &'a str,
    channel: &'a str,
    topic: Option<&'a str>,
    status: &'a str,
    started_at: Timestamp,
    completed_at: Option<Timestamp>,
    resolution: Option<&'a str>,
    rating: Option<i64>,
    messages: i64,
    duration_seconds: f64,
    handovers: i64,
    unanswered: i64,
}

/// In the order of their start. A store that goes away breaks the answer off.
///
/// # Errors
/// A parameter is malformed, or the store is away.
pub(in crate::http) async fn conversations(
    caller: Caller<ReadAnalytics>,
    parameters: Query<ExportParameters>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let Query(ExportParameters { from, to, timezone, channel, topic, format }) = parameters;
    let range = Range { from, to, timezone, channels: channel, topics: topic };
    let org = caller.org;
    let (selection, _) = range.read(org, &parts).await?;
    parts.analytics.catch_up().await?;
    let mut after = After::default();
    // Read before the head is sent, so that a store that is away is said plainly.
    let first = parts.analytics.conversations(org, &selection, &mut after, PAGE).await?;
    let head = match format {
        Format::Csv => format!("{}\r\n", COLUMNS.join(",")),
        Format::Ndjson => String::new(),
    };
    let begin = Some((first, after, head));
    let pages = stream::try_unfold(begin, move |page| {
        let (parts, selection) = (parts.clone(), selection.clone());
        async move {
            let Some((facts, mut after, mut lines)) = page else { return Ok::<_, Error>(None) };
            for facts in &facts {
                write(&mut lines, format, facts)?;
            }
            let next = match (facts.len() as i64) < PAGE {
                true => None,
                false => {
                    let next = parts.analytics.conversations(org, &selection, &mut after, PAGE).await;
                    Some((next.map_err(ApiError::from)?, after, String::new()))
                }
            };
            Ok(Some((Bytes::from(lines), next)))
        }
    });
    let (kind, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "conversations.csv"),
        Format::Ndjson => ("application/x-ndjson", "conversations.ndjson"),
    };
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(pages))
}

fn write(lines: &mut String, format: Format, facts: &Facts) -> serde_json::Result<()> {
    let row = RowView {
        conversation_id: &facts.conversation,
        channel: &facts.channel,
        topic: facts.topic.as_deref(),
        status: &facts.status,
        started_at: facts.started_at,
        completed_at: facts.completed_at,
        resolution: facts.resolution.as_deref(),
        rating: facts.rating,
        messages: facts.messages,
        duration_seconds: facts.duration_ms() as f64 / 1_000.0,
        handovers: facts.handovers,
        unanswered: facts.unanswered,
    };
    match format {
        Format::Ndjson => {
            lines.push_str(&serde_json::to_string(&row)?);
            lines.push('\n');
        }
        Format::Csv => write_csv(lines, &row),
    }
    Ok(())
}

fn write_csv(lines: &mut String, row: &RowView<'_>) {
    let some = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    let fields = [
        row.conversation_id.to_owned(),
        field(row.channel),
        field(row.topic.unwrap_or_default()),
        row.status.to_owned(),
        row.started_at.to_string(),
        row.completed_at.map(|at| at.to_string()).unwrap_or_default(),
        row.resolution.unwrap_or_default().to_owned(),
        some(row.rating),
        row.messages.to_string(),
        row.duration_seconds.to_string(),
        row.handovers.to_string(),
        row.unanswered.to_string(),
    ];
    lines.push_str(&fields.join(","));
    lines.push_str("\r\n");
}

/// A client's text as a field (RFC 4180). What a spreadsheet would take for a formula gets an apostrophe before it.
fn field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_quoted_where_it_must_be_and_never_a_formula() {
        for (text, written) in [
            ("returns", "returns"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("@sum,a", "\"'@sum,a\""),
            ("-2", "'-2"),
            ("+31", "'+31"),
            ("\tx", "'\tx"),
            (" padded", "\" padded\""),
        ] {
            assert_eq!(field(text), written, "{text:?}");
        }
    }
}
