//! Erasing: afterwards nothing that a customer said, and nothing that was said of them, is found anywhere.

use serde_json::{Value, json};

use crate::{
    harness::{
        EventStream, Organization, Server, eventually,
        upstream::{Act, Asked, Upstream, answers, says},
        webhook::{Hook, hook, refuses, server, settled, talk},
    },
    upstream::stock,
};

/// As unusual as people's names are.
const ID: &str = "c-17 Ω/\"'";
const NAME: &str = "Zéphyrine \"Zed\" O'Quill 💬";
const EMAIL: &str = "zed.o'quill+\"x\"@exämple.test";

/// What none of the others share with anything else: parts of the names, and a word of each thing that was said.
const TRACES: [&str; 16] = [
    "c-17 Ω",
    "Zéphyrine",
    "O'Quill",
    "💬",
    "zed.o'quill",
    "exämple.test",
    "Zéphyrine-Marie",
    "vermilion",
    "magenta",
    "cobalt",
    "ochre",
    "sepia",
    "chartreuse",
    "sienna",
    "mauve",
    "my-own-name",
];

const PATH: &str = "/v1/customers/c-17%20%CE%A9%2F%22%27";

fn customer() -> Value {
    json!({"id": ID, "name": NAME, "email": EMAIL})
}

/// A model that answers in words of the question, or does not know.
fn model() -> Upstream {
    let upstream = Upstream::that(says(&["I do not know."]));
    upstream.by(|asked| {
        let question = asked.body["messages"].as_array().unwrap().last().unwrap()["content"].clone();
        match question.as_str().unwrap().contains("vermilion") {
            true => says(&["By e-mail, dear Zéphyrine, in ochre [1]."]),
            false => says(&["I do not know."]),
        }
    });
    upstream
}

/// An endpoint that repeats what it is told, after these acts.
fn echo(status: &'static str, first: Vec<Act>) -> Upstream {
    let upstream = Upstream::that(Vec::new());
    upstream.by(move |asked: &Asked| {
        let said = String::from_utf8_lossy(&asked.bytes).into_owned();
        first.iter().cloned().chain(answers(status, &[], &format!("so you say: {said}"))).collect()
    });
    upstream
}

/// Everything that a customer can leave behind.
struct Scene {
    server: Server,
    org: Organization,
    model: Upstream,
    /// Delivered, exhausted, held, and under way.
    hooks: Vec<Hook>,
    slow: Upstream,
    /// The answer under way and its conversation's stream.
    streams: [EventStream; 2],
    ids: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let model = model();
        let url = model.url();
        let server = server(&[
            ("model.providers", "openai,builtin"),
            ("model.openai.base_url", &url),
            ("model.openai.model", "test-model"),
        ]);
        let org = server.organization();
        stock(&org);
        let (well, badly, slow) = (
            echo("200 OK", vec![]),
            echo("500 Internal Server Error", vec![]),
            echo("200 OK", vec![Act::Wait]),
        );
        let made = |receiver: &Upstream, fields: Value| hook(&org, receiver, fields);
        let hooks = vec![
            made(&well, json!({})),
            made(&badly, json!({})),
            made(&Upstream::that(refuses()), json!({"enabled": false})),
            made(&slow, json!({"events": ["message.received"], "ordered": true})),
        ];
        let mut scene = Self {
            streams: [nothing(&org), nothing(&org)],
            ids: hooks.iter().map(|hook| hook.id.clone()).collect(),
            server,
            org,
            model,
            hooks,
            slow,
        };
        scene.talk();
        scene
    }

    fn talk(&mut self) {
        let org = self.org.clone();
        let start = |name: &str, body: Value| {
            let request = org.request("POST", "/v1/conversations").header("Idempotency-Key", name);
            request.json(&body).send().status(201)
        };
        let answered =
            start("my-own-name", json!({"customer": customer(), "message": "my vermilion parcel?"}));
        assert_eq!(answered["turn"]["outcome"], "answered", "{}", answered.text());
        let unanswered =
            start("another", json!({"customer": customer(), "message": "do sepia zebras hibernate?"}));
        assert_eq!(unanswered["turn"]["outcome"], "unanswered", "{}", unanswered.text());
        let path = |started: &Value| format!("/v1/conversations/{}", started["id"].as_str().unwrap());
        let first = path(&answered["conversation"]);
        org.post(&format!("{first}/rating"), json!({"score": 2, "comment": "too magenta"})).status(200);
        org.patch(
            &first,
            json!({"customer": {"name": "Zéphyrine-Marie"}, "metadata": {"chartreuse": "chartreuse"}}),
        )
        .status(200);
        let handover =
            org.post(&format!("{first}/handover"), json!({"note": "she waits in sienna"})).status(201);
        let handover = handover["id"].as_str().unwrap().to_owned();
        let accept = json!({"agent": {"id": "a-7", "name": "Bo"}});
        org.post(&format!("/v1/handovers/{handover}/accept"), accept).status(200);
        let said = json!({"content": "We look into the mauve one, Zéphyrine.", "role": "agent"});
        org.post(&format!("{first}/messages"), said).status(200);
        self.ids.push(handover);
        let slowly = json!({"tokens_per_second": 1, "tokens": 1000});
        let body = json!({"customer": customer(), "stream": true,
            "message": {"content": "a cobalt question", "model": "synthetic", "synthetic": slowly}});
        let mut answer = org.request("POST", "/v1/conversations").json(&body).stream();
        let running = answer.until("turn.started").data["conversation_id"].as_str().unwrap().to_owned();
        let watched = org.stream(&format!("/v1/conversations/{running}/stream?after=0"));
        self.streams = [answer, watched];
        for started in [&answered, &unanswered] {
            for id in ["/conversation/id", "/message/id", "/turn/id"] {
                self.ids.push(started.json().pointer(id).unwrap().as_str().unwrap().to_owned());
            }
        }
        self.ids.push(running);
        talk(&org, "a turquoise umbrella");
        // What is told: three starts, three messages, two replies, a rating, a patch, a handover asked for and
        // accepted, and what the agent said; and those of a bystander.
        for (hook, state) in self.hooks.iter().zip(["delivered", "exhausted", "held"]) {
            let found = settled(&org, hook, state, 16);
            self.ids.push(found[0]["id"].as_str().unwrap().to_owned());
        }
        eventually("one is under way", || (self.slow.times() > 0).then_some(()));
    }
}

/// A stream that has ended.
fn nothing(org: &Organization) -> EventStream {
    org.request("GET", "/v1/models").stream()
}

#[test]
fn nothing_of_an_erased_customer_is_found_anywhere() {
    let Scene { mut server, org, model, hooks, slow, streams, ids } = Scene::new();
    let (unanswered, kept) = ("/v1/knowledge/unanswered", "/v1/conversations?limit=100");
    assert!(org.get(unanswered).status(200).text().contains("sepia"));
    let asked = model.times();

    org.delete(PATH).status(204);
    org.delete(PATH).refused(404, "not_found");
    for stream in streams {
        let last = stream.last().expect("it is told");
        assert_eq!((&*last.kind, &last.data["reason"]), ("stream.closing", &json!("deleted")));
    }
    // What was under way comes to its end, and its answer is not kept.
    (0..100).for_each(|_| slow.go_on());
    eventually("the attempt has ended", || {
        let ended = "SELECT COUNT(*) FROM webhook_attempts WHERE duration_ms IS NULL AND error IS NULL";
        (server.number(ended) == 0).then_some(())
    });
    settled(&org, &hooks[0], "delivered", 19);

    let left = org.get(kept).status(200);
    assert_eq!(left["data"].as_array().unwrap().len(), 1, "another customer's is not touched");
    let mut shown = org.everything(&ids);
    for query in ["q=Z%C3%A9", "q=zed", "customer_id=c-17%20%CE%A9%2F%22%27"] {
        let found = org.get(&format!("/v1/conversations?{query}")).status(200);
        assert_eq!(found["data"], json!([]), "{query}");
        shown.push((query.to_owned(), found.text()));
    }
    for (path, answer) in &shown {
        for trace in TRACES {
            assert!(!answer.contains(trace), "{path} shows {trace}: {answer}");
        }
    }
    let audited = org.get("/v1/audit?action=customer.erased").status(200);
    let entry = &audited["data"][0];
    assert_eq!(
        (audited["data"].as_array().unwrap().len(), &entry["target"]["count"], &entry["actor"]["type"]),
        (1, &json!(3), &json!("key"))
    );
    let by_id = org.get("/v1/audit?customer_id=c-17%20%CE%A9%2F%22%27").status(200);
    assert_eq!(by_id["data"], audited["data"], "whoever knows the id can ask");
    // What the model said to them is not said to the next who asks the same.
    let again = org.post("/v1/conversations", json!({"message": "my vermilion parcel?"})).status(201);
    assert_eq!((&again["turn"]["cache"], model.times()), (&Value::Null, asked + 1));
    let path = format!("/v1/conversations/{}", again["conversation"]["id"].as_str().unwrap());
    org.delete(&path).status(204);
    let entry = &org.get("/v1/audit?action=conversation.erased").status(200)["data"][0];
    assert_eq!(entry["target"], json!({"type": "conversation", "id": path[18..], "count": null}));

    assert!(server.stop().success());
    assert!(!server.places_of("turquoise").is_empty(), "the search finds what is there");
    for trace in TRACES {
        assert_eq!(server.places_of(trace), [""; 0], "{trace}");
        assert!(!server.log().contains(trace), "the log shows {trace}");
    }
}

#[test]
fn no_page_remembers_what_was_erased_among_others() {
    let mut server = Server::start();
    let org = server.organization();
    // Of all lengths, so that pages split and are joined.
    let talk = |whose: &str, number: usize| {
        let text = format!("{whose}{number} ").repeat(1 + number * 37 % 300);
        let customer = json!({"id": whose, "name": format!("{whose} the {number}th")});
        let body =
            json!({"customer": customer, "message": text, "metadata": {"note": format!("{whose} again")}});
        let started = org.post("/v1/conversations", body).status(201);
        format!("/v1/conversations/{}", started["conversation"]["id"].as_str().unwrap())
    };
    for number in 0..100 {
        talk("vermilion", number);
        let path = talk("turquoise", number);
        let text = format!("once more, vermilion{number}").repeat(1 + number % 40);
        if number % 3 == 0 {
            org.post(&format!("{path}/messages"), json!({ "content": text })).status(200);
            org.delete(&path).status(204);
        }
    }
    org.delete("/v1/customers/vermilion").status(204);
    assert!(server.stop().success());
    assert!(!server.places_of("turquoise").is_empty());
    assert_eq!(server.places_of("vermilion"), [""; 0]);
}

#[test]
fn an_erasure_that_a_crash_cut_off_is_finished_at_the_next_start() {
    let mut server = Server::start();
    let (org, other) = (server.organization(), server.organization());
    let start = |org: &Organization, customer: &str| {
        org.post("/v1/conversations", json!({"customer": {"id": customer}, "message": "hello"})).status(201);
    };
    (0..5).for_each(|_| start(&org, "c-1"));
    start(&org, "c-2");
    start(&other, "c-1");
    // As it stands after two of seven.
    let entry = "aud_01m8000000000000000000000a";
    let noted = json!({"id": entry, "org": org.id, "by": "Operator", "action": "CustomerErased",
        "target": {"Customer": "a hash"}, "at": "2026-11-24T12:00:00.000Z"});
    server.kill();
    server.execute(&format!(
        "INSERT INTO customer_erasures (org_id, customer_id, begun_at, noted)
         VALUES ('{}', 'c-1', 9000000000000, '{noted}')",
        org.id
    ));
    server.execute(&format!(
        "INSERT INTO audit_log (id, org_id, action, actor_type, target_type, target_id, count, created_at)
         VALUES ('{entry}', '{}', 'customer.erased', 'operator', 'customer', 'a hash', 2, 1)",
        org.id
    ));
    server.start_again();
    eventually("it is finished", || {
        (server.number("SELECT COUNT(*) FROM customer_erasures") == 0).then_some(())
    });
    let left = org.get("/v1/conversations").status(200);
    assert_eq!(
        (left["data"].as_array().unwrap().len(), &left["data"][0]["customer"]["id"]),
        (1, &json!("c-2"))
    );
    assert_eq!(other.get("/v1/conversations").status(200)["data"].as_array().unwrap().len(), 1);
    let audited = org.get("/v1/audit?action=customer.erased").status(200);
    assert_eq!(audited["data"].as_array().unwrap().len(), 1);
    assert_eq!(audited["data"][0]["target"]["count"], 7, "each is counted once");
}

#[test]
fn a_customer_is_erased_by_a_key_that_may_and_in_its_organization_alone() {
    let server = Server::start();
    let (org, other) = (server.organization(), server.organization());
    let customer = json!({"customer": {"id": "c-1"}, "message": "hello"});
    for org in [&org, &other] {
        org.post("/v1/conversations", customer.clone()).status(201);
    }
    let path = "/v1/customers/c-1";
    org.restricted(&server, "conversations:read,conversations:write")
        .delete(path)
        .refused(403, "missing_scope")
        .naming("conversations:delete");
    server.client().delete(path).status(401);
    for nobody in ["c-2", "c", "%00", "%FF", "C-1", &"x".repeat(300)] {
        org.delete(&format!("/v1/customers/{nobody}")).refused(404, "not_found");
    }
    org.get(path).refused(405, "method_not_allowed");
    org.restricted(&server, "conversations:delete").delete(path).status(204);
    assert_eq!(org.get("/v1/conversations").status(200)["data"], json!([]));
    assert_eq!(other.get("/v1/conversations").status(200)["data"].as_array().unwrap().len(), 1);
    org.delete(path).refused(404, "not_found");
    // Nobody was erased by what was refused.
    let audited = org.get("/v1/audit?action=customer.erased").status(200);
    assert_eq!(audited["data"].as_array().unwrap().len(), 1);
    // They may come back.
    org.post("/v1/conversations", customer).status(201);
    org.delete(path).status(204);
}
