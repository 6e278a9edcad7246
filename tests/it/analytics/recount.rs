//! Every figure again, slowly: straight from the events, conversation by conversation, without anything of the server.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{
    Timestamp, ToSpan, Unit,
    civil::{Date, Weekday},
    tz::TimeZone,
};
use serde_json::{Value, json};

/// One conversation, as its events tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    pub(crate) channel: String,
    pub(crate) topic: Option<String>,
    pub(crate) started: Timestamp,
    completed: bool,
    resolved: bool,
    rating: Option<i64>,
    spoken: Vec<Timestamp>,
    handovers: i64,
    accepted: bool,
    unanswered: i64,
    first_tokens: Vec<i64>,
    answers: Vec<i64>,
}

/// What is asked of the server, and so of the recount.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) zone: &'static str,
    pub(crate) from: Date,
    pub(crate) to: Date,
    pub(crate) interval: &'static str,
    pub(crate) channels: Vec<&'static str>,
    pub(crate) topics: Vec<&'static str>,
    pub(crate) group_by: Option<&'static str>,
}

impl Ask {
    pub(crate) fn path(&self) -> String {
        let mut path = format!(
            "/v1/analytics?timezone={}&from={}&to={}&interval={}",
            self.zone, self.from, self.to, self.interval
        );
        self.channels.iter().for_each(|channel| path += &format!("&channel={channel}"));
        self.topics.iter().for_each(|topic| path += &format!("&topic={topic}"));
        self.group_by.iter().for_each(|by| path += &format!("&group_by={by}"));
        path
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().map(|text| text.parse().unwrap())
}

fn since(from: &Value, to: &Value) -> Option<i64> {
    Some(time(to)?.as_millisecond() - time(from)?.as_millisecond())
}

/// The stories that these events tell, in their order.
pub(crate) fn stories<'a>(events: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, Story> {
    let mut stories: BTreeMap<String, Story> = BTreeMap::new();
    for event in events {
        let Some(id) = event["conversation_id"].as_str() else { continue };
        let kind = event["type"].as_str().unwrap();
        if kind == "conversation.deleted" {
            continue;
        }
        let story = stories.entry(id.to_owned()).or_default();
        let data = &event["data"];
        let conversation = &data["conversation"];
        if conversation.is_object() {
            story.channel = conversation["channel"].as_str().unwrap().to_owned();
            story.topic = conversation["topic"].as_str().map(str::to_owned);
            story.started = time(&conversation["started_at"]).unwrap();
            story.completed = conversation["status"] == "completed";
            story.resolved = conversation["resolution"] == "resolved";
            story.rating = conversation["rating"]["score"].as_i64();
        }
        match kind {
            "message.received" | "message.sent" if data["message"]["role"] != "system" => {
                story.spoken.push(time(&data["message"]["created_at"]).unwrap());
            }
            "turn.completed" => {
                let turn = &data["turn"];
                story.first_tokens.extend(since(&turn["queued_at"], &turn["first_token_at"]));
                story.answers.extend(since(&turn["queued_at"], &turn["completed_at"]));
                story.unanswered += i64::from(turn["outcome"] == "unanswered");
            }
            "handover.requested" => story.handovers += 1,
            "handover.accepted" => story.accepted = true,
            _ => {}
        }
    }
    stories
}

/// What the server should say, but for percentiles, of which `None` stands for nothing.
pub(crate) fn recount(stories: &[&Story], ask: &Ask, minutes: f64) -> Value {
    let zone = TimeZone::get(ask.zone).unwrap();
    let local = |story: &Story| story.started.to_zoned(zone.clone()).date();
    let chosen: Vec<&Story> = stories
        .iter()
        .copied()
        .filter(|story| (ask.from..=ask.to).contains(&local(story)))
        .filter(|story| ask.channels.is_empty() || ask.channels.contains(&&*story.channel))
        .filter(|story| {
            ask.topics.is_empty() || story.topic.as_deref().is_some_and(|topic| ask.topics.contains(&topic))
        })
        .collect();
    let mut starts = BTreeSet::new();
    let mut day = ask.from;
    while day <= ask.to {
        starts.insert(period_of(day, ask.interval));
        day = day.tomorrow().unwrap();
    }
    let series: Vec<Value> = starts
        .iter()
        .map(|start| {
            let of = chosen.iter().copied().filter(|story| period_of(local(story), ask.interval) == *start);
            let mut figures = figures(&of.collect::<Vec<_>>(), minutes);
            figures["period_start"] = json!(start.to_string());
            figures
        })
        .collect();
    let mut groups: BTreeMap<Option<String>, Vec<&Story>> = BTreeMap::new();
    for story in &chosen {
        match ask.group_by {
            Some("channel") => groups.entry(Some(story.channel.clone())).or_default().push(story),
            Some(_) => groups.entry(story.topic.clone()).or_default().push(story),
            None => {}
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(name, of)| (std::cmp::Reverse(of.len()), name.clone().unwrap_or_default()));
    let by = ask.group_by.unwrap_or("channel");
    let groups: Vec<Value> =
        groups.iter().map(|(name, of)| json!({by: name, "totals": figures(of, minutes)})).collect();
    json!({
        "interval": ask.interval, "timezone": ask.zone, "from": ask.from.to_string(), "to": ask.to.to_string(),
        "totals": figures(&chosen, minutes), "series": series, "groups": groups,
    })
}

fn period_of(day: Date, interval: &str) -> Date {
    match interval {
        "day" => day,
        "week" => {
            let mut monday = day;
            while monday.weekday() != Weekday::Monday {
                monday = monday.yesterday().unwrap();
            }
            monday
        }
        _ => Date::new(day.year(), day.month(), 1).unwrap(),
    }
}

fn figures(stories: &[&Story], minutes: f64) -> Value {
    let count = |is: &dyn Fn(&Story) -> bool| stories.iter().filter(|story| is(story)).count() as f64;
    let share = |part: f64, whole: f64| if whole == 0.0 { Value::Null } else { json!(part / whole) };
    let all = stories.len() as f64;
    let completed = count(&|story| story.completed);
    let contained = count(&|story| story.completed && !story.accepted);
    let durations: i64 =
        stories.iter().filter(|story| story.completed).map(|story| story.duration_ms()).sum();
    let scores: Vec<i64> = stories.iter().filter_map(|story| story.rating).collect();
    let given = |score: i64| scores.iter().filter(|given| **given == score).count();
    json!({
        "conversations": stories.len(),
        "messages": stories.iter().map(|story| story.spoken.len()).sum::<usize>(),
        "completed": completed as i64,
        "average_duration_seconds": share(durations as f64 / 1_000.0, completed),
        "resolution_rate": share(count(&|story| story.completed && story.resolved), completed),
        "csat": {
            "average": share(scores.iter().sum::<i64>() as f64, scores.len() as f64),
            "responses": scores.len(),
            "distribution": {"1": given(1), "2": given(2), "3": given(3), "4": given(4), "5": given(5)},
        },
        "handovers": count(&|story| story.handovers > 0) as i64,
        "handover_rate": share(count(&|story| story.handovers > 0), all),
        "containment_rate": share(contained, completed),
        "unanswered": stories.iter().map(|story| story.unanswered).sum::<i64>(),
        "first_token_ms": percentiles(stories.iter().flat_map(|story| &story.first_tokens)),
        "answer_ms": percentiles(stories.iter().flat_map(|story| &story.answers)),
        "estimated_hours_saved": contained * minutes / 60.0,
    })
}

impl Story {
    fn duration_ms(&self) -> i64 {
        let (first, last) = (self.spoken.iter().min(), self.spoken.iter().max());
        first.zip(last).map_or(0, |(first, last)| last.as_millisecond() - first.as_millisecond())
    }
}

fn percentiles<'a>(times: impl Iterator<Item = &'a i64>) -> Value {
    let mut times: Vec<i64> = times.copied().collect();
    times.sort_unstable();
    let at = |share: f64| match times.len() {
        0 => Value::Null,
        all => json!(times[((share * all as f64).ceil() as usize).clamp(1, all) - 1]),
    };
    json!({"p50": at(0.5), "p95": at(0.95)})
}

/// Where what the server says differs from the recount: counts exactly, rates by less than a rounding, percentiles by
/// no more than 2 %.
pub(crate) fn differences(said: &Value, right: &Value, path: &str) -> Vec<String> {
    match (said, right) {
        (Value::Object(said), Value::Object(right)) => {
            let names: BTreeSet<&String> = said.keys().chain(right.keys()).collect();
            let each = |name: &&String| match (said.get(*name), right.get(*name)) {
                (Some(said), Some(right)) => differences(said, right, &format!("{path}.{name}")),
                _ => vec![format!("{path}.{name} is only there once")],
            };
            names.iter().flat_map(each).collect()
        }
        (Value::Array(said), Value::Array(right)) if said.len() == right.len() => {
            let each = |(at, (said, right)): (usize, (&Value, &Value))| {
                differences(said, right, &format!("{path}[{at}]"))
            };
            said.iter().zip(right).enumerate().flat_map(each).collect()
        }
        (Value::Number(said), Value::Number(right)) => {
            let (said, right) = (said.as_f64().unwrap(), right.as_f64().unwrap());
            let allowed = if path.ends_with(".p50") || path.ends_with(".p95") { 0.02 } else { 1e-12 };
            let off = (said - right).abs() > allowed * right.abs();
            if off { vec![format!("{path}: {said} instead of {right}")] } else { Vec::new() }
        }
        _ if said == right => Vec::new(),
        _ => vec![format!("{path}: {said} instead of {right}")],
    }
}

/// So many days later.
pub(crate) fn days_after(day: Date, days: i64) -> Date {
    day.checked_add(days.days()).unwrap()
}

/// Days between two.
pub(crate) fn days_between(from: Date, to: Date) -> i64 {
    from.until((Unit::Day, to)).unwrap().get_days().into()
}
