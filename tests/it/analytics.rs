//! Analytics: every figure equals a recount of what happened, and nobody is named.

mod recount;

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use jiff::civil::date;
use openclaw_actors::{
    answer::Outcome,
    clock,
    conversation::{
        record::Resolution,
        rehearsal::{Act, Played},
    },
    store::Store,
    writer::{Op, Writer},
};
use serde_json::{Value, json};

use self::recount::{Ask, Story, days_after, days_between, differences, recount, stories};
use crate::harness::{Client, Organization, Server, eventually, is_long, times};

/// All events of the organization.
#[track_caller]
fn log(client: &Client) -> Vec<Value> {
    let mut events = Vec::new();
    let mut after = "0".to_owned();
    loop {
        let page = client.get(&format!("/v1/events?limit=100&after={after}")).status(200);
        events.extend(page["data"].as_array().unwrap().iter().cloned());
        after = page["next_cursor"].as_str().unwrap().to_owned();
        if page["has_more"] == false {
            return events;
        }
    }
}

/// All of a list.
#[track_caller]
fn pages(client: &Client, path: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("{path}?limit=100{cursor}")).status(200);
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[track_caller]
fn totals(client: &Client, query: &str) -> Value {
    client.get(&format!("/v1/analytics?{query}")).status(200)["totals"].clone()
}

/// Waits for figures to become so; they have a second.
#[track_caller]
fn becomes(client: &Client, query: &str, pointer: &str, value: Value) {
    eventually(&format!("{pointer} becomes {value}"), || {
        (totals(client, query).pointer(pointer) == Some(&value)).then_some(())
    });
}

#[test]
fn an_organization_without_conversations_has_zeros_and_nulls_for_every_period() {
    let server = Server::start();
    let org = server.organization();
    let asked = org.get("/v1/analytics?from=2026-02-27&to=2026-03-01").status(200);
    let nothing = json!({
        "conversations": 0, "messages": 0, "completed": 0, "average_duration_seconds": null,
        "resolution_rate": null,
        "csat": {"average": null, "responses": 0, "distribution": {"1": 0, "2": 0, "3": 0, "4": 0, "5": 0}},
        "handovers": 0, "handover_rate": null, "containment_rate": null, "unanswered": 0,
        "first_token_ms": {"p50": null, "p95": null}, "answer_ms": {"p50": null, "p95": null},
        "estimated_hours_saved": 0.0,
    });
    let of = |start: &str| {
        let mut period = nothing.clone();
        period["period_start"] = json!(start);
        period
    };
    let right = json!({
        "interval": "day", "timezone": "UTC", "from": "2026-02-27", "to": "2026-03-01", "totals": nothing,
        "series": [of("2026-02-27"), of("2026-02-28"), of("2026-03-01")], "groups": [],
    });
    assert_eq!(*asked.json(), right);
    let default = org.get("/v1/analytics").status(200);
    assert_eq!(default["series"].as_array().unwrap().len(), 30);
    org.patch("/v1/organization", json!({"timezone": "Asia/Tokyo"})).status(200);
    eventually("the organization's zone is used", || {
        (org.get("/v1/analytics").status(200)["timezone"] == "Asia/Tokyo").then_some(())
    });
}

#[test]
fn what_cannot_be_answered_is_refused_by_name() {
    let server = Server::start();
    let org = server.organization();
    for (query, code, param) in [
        ("from=2025-01-01&to=2026-02-05", "range_too_long", "from"),
        ("from=2026-02-01&to=2026-01-31", "invalid_field", "from"),
        ("from=2026-2-1", "invalid_field", "from"),
        ("to=2026-02-30", "invalid_field", "to"),
        ("to=2026-02-03T00:00:00", "invalid_field", "to"),
        ("timezone=Mars%2FOlympus", "invalid_field", "timezone"),
        ("timezone=", "invalid_field", "timezone"),
        ("interval=year", "invalid_field", "interval"),
        ("group_by=customer", "invalid_field", "group_by"),
        ("channels=web", "unknown_field", "channels"),
    ] {
        org.get(&format!("/v1/analytics?{query}")).refused(400, code).naming(param);
    }
    org.get("/v1/analytics?from=2025-01-01&to=2026-02-04").status(200);
    org.get("/v1/analytics?from=2000-01-01&to=2026-02-04&interval=month").status(200);
    org.get("/v1/analytics/conversations?interval=day").refused(400, "unknown_field").naming("interval");
    org.get("/v1/analytics/conversations?format=xlsx").refused(400, "invalid_field").naming("format");
    let reader = org.restricted(&server, "conversations:read");
    for path in ["/v1/analytics", "/v1/analytics/conversations"] {
        reader.get(path).refused(403, "missing_scope").naming("analytics:read");
    }
    org.restricted(&server, "analytics:read").get("/v1/analytics").status(200);
}

#[test]
fn what_happens_shows_within_a_second_and_changes_move_it() {
    let server = Server::start();
    let org = server.organization();
    let zones = ["UTC", "Pacific/Auckland"];
    zones.iter().for_each(|zone| drop(totals(&org, &format!("timezone={zone}"))));
    let begun = org.post("/v1/conversations", json!({"channel": "web", "topic": "returns", "message": "hi"}));
    let path = format!("/v1/conversations/{}", begun.status(201)["conversation"]["id"].as_str().unwrap());
    // The promise is a second; whoever asks late has waited longer than that.
    thread::park_timeout(Duration::from_secs(1));
    assert_eq!(totals(&org, "")["messages"], 2);
    org.post(&format!("{path}/rating"), json!({"score": 2})).status(200);
    org.post(&format!("{path}/rating"), json!({"score": 5})).status(200);
    org.post(&format!("{path}/complete"), json!({"resolution": "resolved"})).status(200);
    for zone in zones {
        let query = format!("timezone={zone}&topic=returns");
        becomes(&org, &query, "/completed", json!(1));
        becomes(&org, &query, "/csat/distribution", json!({"1": 0, "2": 0, "3": 0, "4": 0, "5": 1}));
        becomes(&org, &query, "/resolution_rate", json!(1.0));
        becomes(&org, &query, "/estimated_hours_saved", json!(0.1));
    }
    org.patch("/v1/organization", json!({"minutes_per_conversation": 30})).status(200);
    becomes(&org, "", "/estimated_hours_saved", json!(0.5));
    // It is about something else, and goes on.
    org.patch(&path, json!({"topic": "delivery"})).status(200);
    org.post(&format!("{path}/messages"), json!({"content": "and then?"})).status(200);
    for zone in zones {
        becomes(&org, &format!("timezone={zone}&topic=returns"), "/conversations", json!(0));
        becomes(&org, &format!("timezone={zone}&topic=delivery"), "/messages", json!(4));
        becomes(&org, &format!("timezone={zone}&topic=delivery"), "/completed", json!(0));
    }
    let grouped = org.get("/v1/analytics?group_by=topic").status(200);
    assert_eq!(grouped["groups"].as_array().unwrap().len(), 1);
    assert_eq!(grouped["groups"][0]["topic"], "delivery");
}

#[test]
fn the_first_cited_article_says_what_a_conversation_is_about_unless_somebody_did() {
    let server = Server::with(&[("model.providers", "builtin")]);
    let org = server.organization();
    let article = json!({"title": "Delivery", "content": "Delivery takes two days.", "topic": "shipping"});
    org.post("/v1/knowledge?wait=indexed", article).status(201);
    let ask = |body: Value| {
        let begun = org.post("/v1/conversations", body).status(201);
        let id = begun["conversation"]["id"].as_str().unwrap().to_owned();
        org.get(&format!("/v1/conversations/{id}")).status(200)["topic"].clone()
    };
    assert_eq!(ask(json!({"message": "How long does delivery take?"})), "shipping");
    assert_eq!(ask(json!({"message": "How long does delivery take?", "topic": "own"})), "own");
    assert_eq!(ask(json!({"message": "What about submarines?"})), Value::Null);
    eventually("all three are counted", || {
        let grouped = org.get("/v1/analytics?group_by=topic").status(200);
        let counted = |topic: Value| {
            let found = grouped["groups"].as_array().unwrap().iter().find(|group| group["topic"] == topic);
            found.map_or(0, |group| group["totals"]["conversations"].as_i64().unwrap())
        };
        (counted(json!("shipping")) == 1 && counted(json!("own")) == 1 && counted(json!(null)) == 1)
            .then_some(())
    });
}

#[test]
fn erasing_conversations_changes_no_figure_and_an_erased_organization_leaves_none() {
    let mut server = Server::with(&[("server.admin_token", "an-operators-token")]);
    let org = server.organization();
    let counted = |path: &str| org.get(path).status(200).json().clone();
    let ids: Vec<String> = (0..6)
        .map(|number| {
            let body = json!({"channel": "web", "message": "hi", "customer": {"name": "Ada"}});
            let begun = org.post("/v1/conversations", body).status(201);
            let path = format!("/v1/conversations/{}", begun["conversation"]["id"].as_str().unwrap());
            org.post(&format!("{path}/rating"), json!({"score": 1 + number % 5})).status(200);
            org.post(&format!("{path}/complete"), json!({"resolution": "resolved"})).status(200);
            path
        })
        .collect();
    becomes(&org, "", "/completed", json!(6));
    becomes(&org, "", "/csat/responses", json!(6));
    let before = counted("/v1/analytics?group_by=channel");
    org.delete(&ids[0]).status(204);
    // Erased before they are folded: the process dies with it.
    let late = org.post("/v1/conversations", json!({"channel": "app", "message": "hi"})).status(201);
    let late = format!("/v1/conversations/{}", late["conversation"]["id"].as_str().unwrap());
    org.delete(&late).status(204);
    org.delete(&ids[1]).status(204);
    server.crash();
    becomes(&org, "", "/conversations", json!(7));
    becomes(&org, "channel=app", "/messages", json!(2));
    let web = counted("/v1/analytics?group_by=channel&channel=web");
    assert_eq!(web["totals"], before["totals"], "as it was before anything was erased");
    eventually("what the erasures left was taken", || {
        (server.number("SELECT COUNT(*) FROM erased_conversations") == 0).then_some(())
    });
    assert_eq!(server.number("SELECT COUNT(*) FROM erased_turns"), 0);
    let export = org.get("/v1/analytics/conversations?format=ndjson").status(200).text();
    assert_eq!(export.matches("\"status\":\"erased\"").count(), 3);
    assert!(!export.contains("Ada"));

    let operator = server.client_with("an-operators-token");
    operator.delete(&format!("/v1/organizations/{}", org.id)).status(204);
    for table in ["conversation_facts", "analytics_cells", "analytics_zones"] {
        assert_eq!(server.number(&format!("SELECT COUNT(*) FROM {table}")), 0, "{table}");
    }
}

#[test]
fn the_export_is_a_row_for_each_conversation_without_a_name_or_a_formula() {
    let server = Server::start();
    let org = server.organization();
    let topics = [json!("=1+1"), json!("a, \"b\"\nc"), json!("@x"), Value::Null];
    for topic in &topics {
        let body =
            json!({"channel": "web", "topic": topic, "message": "hi", "customer": {"name": "Ada Lovelace"}});
        org.post("/v1/conversations", body).status(201);
    }
    org.post("/v1/conversations", json!({"channel": "app"})).status(201);
    becomes(&org, "", "/conversations", json!(5));
    let csv = org.get("/v1/analytics/conversations?channel=web").status(200);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let text = csv.text();
    let mut lines = text.split("\r\n");
    assert_eq!(
        lines.next().unwrap(),
        "conversation_id,channel,topic,status,started_at,completed_at,resolution,rating,messages,\
         duration_seconds,handovers,unanswered"
    );
    for written in
        [",web,'=1+1,active,", ",web,\"a, \"\"b\"\"\nc\",active,", ",web,'@x,active,", ",web,,active,"]
    {
        assert!(lines.next().unwrap().contains(written), "{written} in {text}");
    }
    assert_eq!(lines.collect::<Vec<_>>(), [""]);
    assert!(!text.contains("Ada"));
    let ndjson = org.get("/v1/analytics/conversations?format=ndjson&topic=%3D1%2B1").status(200);
    assert_eq!(ndjson.header("content-type"), Some("application/x-ndjson"));
    let row: Value = serde_json::from_str(&ndjson.text()).unwrap();
    assert_eq!((&row["topic"], &row["messages"], &row["rating"]), (&json!("=1+1"), &json!(2), &Value::Null));
    assert_eq!(row.as_object().unwrap().len(), 12);
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }
}

const CHANNELS: [&str; 3] = ["web", "app", "mail"];
const TOPICS: [&str; 4] = ["returns", "delivery", "billing", "other"];
const ZONES: [&str; 4] = ["Europe/Amsterdam", "America/New_York", "Asia/Kolkata", "Pacific/Apia"];

/// Days around which conversations begin: both changes of the clock, in Europe and in America, and the ends of a year.
const DAYS: [(i16, i8, i8); 6] =
    [(2026, 3, 29), (2026, 10, 25), (2026, 3, 8), (2026, 11, 1), (2025, 12, 31), (2026, 2, 28)];

fn some_start(dice: &mut Dice) -> clock::Timestamp {
    let (year, month, day) = dice.pick(&DAYS);
    let midnight = date(year, month, day).in_tz("UTC").unwrap().timestamp().as_millisecond();
    let hours = dice.roll(60) as i64 - 18;
    // Many on the very edges of an hour.
    let within = dice.pick(&[0, 1, 3_599_999, 1_800_000, dice.0 as i64 % 3_600_000]).abs();
    clock::Timestamp(midnight + hours * 3_600_000 + within)
}

/// What is played beside the server, as another process would write it.
struct Player<'a> {
    writer: Writer,
    org: &'a Organization,
    dice: Dice,
    live: Vec<(Played, clock::Timestamp)>,
    /// What erased conversations were, as their events told before.
    erased: BTreeMap<String, Story>,
}

impl Player<'_> {
    /// Does something somewhere.
    async fn play(&mut self) {
        let dice = &mut self.dice;
        if self.live.len() < 3 || dice.roll(6) == 0 {
            let topic = dice.pick(&[None, Some(TOPICS[0]), Some(TOPICS[1]), Some(TOPICS[2])]);
            let at = some_start(dice);
            let (played, op) =
                Played::begin(self.org.id.parse().unwrap(), dice.pick(&CHANNELS), topic, at).unwrap();
            self.writer.commit(op).await.unwrap();
            self.live.push((played, at));
            return;
        }
        let place = dice.roll(self.live.len());
        let outcome = dice.pick(&[Outcome::Answered, Outcome::Unanswered, Outcome::SmallTalk]);
        let acts = match dice.roll(24) {
            0..=13 => vec![Act::Say("hello"), Act::Answer(outcome, dice.roll(900) as i64)],
            14..=15 => vec![Act::Say("hello"), Act::Fail],
            16 => vec![Act::Say("hello"), Act::Stop],
            17..=18 => vec![Act::Rate(1 + dice.roll(5) as i64)],
            19..=20 => {
                vec![Act::Complete(dice.pick(&[
                    None,
                    Some(Resolution::Resolved),
                    Some(Resolution::Unresolved),
                ]))]
            }
            21..=22 => {
                vec![Act::Topic(dice.pick(&[None, Some(TOPICS[0]), Some(TOPICS[2]), Some(TOPICS[3])]))]
            }
            _ => vec![Act::Erase],
        };
        let (played, at) = &mut self.live[place];
        if acts == [Act::Erase] {
            let path = format!("/v1/conversations/{}/events", played.id());
            self.erased.extend(stories(&pages(self.org, &path)));
        }
        let mut op = Op::default();
        for act in &acts {
            *at = at.plus_ms(1_000 + dice.roll(200_000) as i64);
            // In one commit with its answer: a server that starts goes on with whatever it finds unanswered.
            let done = played.act(*act, *at).unwrap_or_default();
            op.statements.extend(done.statements);
            op.rows.extend(done.rows);
            op.events.extend(done.events);
        }
        self.writer.commit(op).await.unwrap();
        if acts == [Act::Erase] {
            self.live.swap_remove(place);
        }
    }
}

async fn open(server: &Server) -> Store {
    match server.database_url() {
        Some(url) => Store::connect_postgres(&url).await.unwrap(),
        None => Store::open_sqlite(&server.data()).await.unwrap(),
    }
}

/// Questions of every kind about the days on which something happened.
fn some_question(dice: &mut Dice) -> Ask {
    let (first, last) = (date(2025, 12, 28), date(2026, 11, 4));
    let from = days_after(first, dice.roll(200) as i64);
    let to = days_after(from, dice.roll(days_between(from, last) as usize + 1) as i64);
    let (from, to) = dice.pick(&[(first, last), (from, to), (from, to)]);
    let mut some = |names: &[&'static str]| -> Vec<&'static str> {
        let most = dice.pick(&[0, 0, 1, 2]);
        (0..most).map(|_| dice.pick(names)).collect::<BTreeSet<_>>().into_iter().collect()
    };
    Ask {
        channels: some(&CHANNELS),
        topics: some(&TOPICS),
        zone: dice.pick(&ZONES),
        from,
        to,
        interval: dice.pick(&["day", "week", "month"]),
        group_by: dice.pick(&[None, Some("channel"), Some("topic")]),
    }
}

/// Everything that is wrong with the figures.
fn judge(org: &Organization, known: &BTreeMap<String, Story>, asks: &[Ask]) -> Vec<String> {
    let all: Vec<&Story> = known.values().collect();
    let each = |ask: &Ask| {
        let said = org.get(&ask.path()).status(200);
        let wrong = differences(said.json(), &recount(&all, ask, 6.0), "");
        wrong.into_iter().map(|wrong| format!("{}: {wrong}", ask.path())).collect::<Vec<_>>()
    };
    asks.iter().flat_map(each).collect()
}

#[test]
fn figures_equal_a_recount_from_the_log_over_time_zones_and_crashes() {
    // What is played lies months back: nobody else completes it.
    let mut server = Server::with(&[("conversations.idle_completion_minutes", "0")]);
    let org = server.organization();
    let seeds = times(2, 20);
    let mut known: BTreeMap<String, Story> = BTreeMap::new();
    let mut compared = 0;
    for seed in 1..=seeds as u64 {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (seed << 17));
        // Two zones are known before, two are built over what is there, in the middle of it all.
        let mut asks: Vec<Ask> = (0..times(24, 60)).map(|_| some_question(&mut dice)).collect();
        asks.iter_mut().take(8).for_each(|ask| ask.zone = ZONES[seed as usize % 2]);
        let acts = times(500, 2_500);
        let killed_at = acts / 2 + dice.roll(acts / 4);
        let runtime = actix::System::new();
        runtime.block_on(async {
            let store = open(&server).await;
            let writer = Writer::start(&store, &format!("player-{seed}")).await.unwrap();
            let erased = std::mem::take(&mut known);
            let mut player = Player { writer, org: &org, dice, live: Vec::new(), erased };
            for act in 0..acts {
                player.play().await;
                if act == killed_at {
                    server.crash();
                }
                if act % 100 == 60 {
                    // Somebody looks meanwhile, so that the figures are in use.
                    org.get(&asks[act % asks.len()].path()).status(200);
                }
            }
            player.writer.close().await;
            store.close().await;
            known = player.erased;
        });
        known.extend(stories(&log(&org)));
        // The promise is a second after the last event.
        thread::park_timeout(Duration::from_secs(1));
        let wrong = judge(&org, &known, &asks);
        compared += asks.len();
        assert!(wrong.is_empty(), "seed {seed}: {} differences\n{}", wrong.len(), wrong.join("\n"));
    }
    server.crash();
    println!("{compared} questions about {} conversations: 0 differences", known.len());
    assert!(is_long() || known.len() > 40);
}
