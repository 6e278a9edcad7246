//! Examples of what stands around conversations: see `contract_examples`.

use serde_json::json;

use crate::{
    contract_examples::{Examples, shop},
    harness::{
        Server, eventually,
        webhook::{self, hook, receiver, settled, talk},
    },
};

#[test]
fn examples_of_knowledge_are_what_the_server_answers() {
    let (_server, org) = shop();
    let mut examples = Examples::of("knowledge");
    let new = json!({
        "external_id": "returns", "title": "Returns", "topic": "returns", "url": "https://shop.example/returns",
        "content": "# Returns\n\nYou can return a parcel within 30 days."
    });
    let article = org.post("/v1/knowledge", new.clone()).status(201);
    examples.take("new_article", "An article of the shop", &new);
    examples.take("article", "As it can be found", article.json());
    examples.take("articles", "A page of one", org.get("/v1/knowledge?limit=1").status(200).json());
    let found = org.get("/v1/knowledge/search?q=return+a+parcel&limit=1").status(200);
    examples.take("search_results", "One article with its best passage", found.json());
    examples.take("index_status", "All can be found", org.get("/v1/knowledge/status").status(200).json());
    talk(&org, "Do you sell boats?");
    let asked = org.get("/v1/knowledge/unanswered").status(200);
    examples.take("unanswered_questions", "One question", asked.json());
    examples.hold();
}

#[test]
fn examples_of_imports_are_what_the_server_answers() {
    let (_server, org) = shop();
    let mut examples = Examples::of("imports");
    let line =
        json!({"external_id": "opening", "title": "Opening hours", "content": "Open from nine to five."});
    let request = org.request("POST", "/v1/knowledge/import?source=cms&wait=indexed");
    let lines = format!("{line}\n{{\"external_id\": \"broken\"}}\n");
    let import = request.header("Content-Type", "application/x-ndjson").body(lines).send().status(202);
    examples.take("import_line", "An article", &line);
    examples.take("import", "One of two lines was taken", import.json());
    examples.hold();
}

#[test]
fn examples_of_webhooks_are_what_the_server_answers() {
    let server = webhook::server(&[("webhooks.nameservers", "127.0.0.1:9")]);
    let org = server.organization();
    let mut examples = Examples::of("webhooks");
    let new = json!({"url": "https://shop.example/hooks", "events": ["handover.*"], "channels": ["web"]});
    examples.take("new_webhook", "Told of handovers on the web", &new);
    let made = org.post("/v1/webhooks", new).status(201);
    examples.take("issued_webhook", "With the secret that is shown once", made.json());
    examples.take("webhooks", "A page of one", org.get("/v1/webhooks").status(200).json());
    let receiver = receiver();
    let told = hook(&org, &receiver, json!({"events": ["message.received"]}));
    talk(&org, "Where is my parcel?");
    let delivered = settled(&org, &told, "delivered", 1);
    let id = delivered[0]["id"].as_str().unwrap();
    let delivery = org.get(&format!("/v1/deliveries/{id}")).status(200);
    examples.take("delivery", "Delivered at the first attempt", delivery.json());
    let deliveries = org.get(&format!("{}/deliveries", told.path)).status(200);
    examples.take("deliveries", "A page of one", deliveries.json());
    examples.take("message_received", "A customer's message", &receiver.asked()[0].body);
    examples.hold();
}

#[test]
fn examples_of_handovers_are_what_the_server_answers() {
    let (_server, org) = shop();
    let mut examples = Examples::of("handovers");
    let conversation = talk(&org, "Where is my parcel?");
    let asked = json!({"note": "A regular customer.", "target": "returns", "timeout_seconds": 600});
    let path = format!("/v1/conversations/{conversation}/handover");
    let handover = org.post(&path, asked.clone()).status(201);
    examples.take("new_handover", "For a team", &asked);
    examples.take("requested_handover", "Nobody has come yet", handover.json());
    let agent = json!({"agent": {"id": "a-1", "name": "Grace"}});
    let path = format!("/v1/handovers/{}/accept", handover["id"].as_str().unwrap());
    let accepted = org.post(&path, agent.clone()).status(200);
    examples.take("agent", "Who takes over", &agent);
    examples.take("accepted_handover", "A person has it", accepted.json());
    examples.hold();
}

#[test]
fn examples_of_keys_are_what_the_server_answers() {
    let (_server, org) = shop();
    let mut examples = Examples::of("keys");
    let new = json!({"name": "Inbox", "scopes": ["conversations:read", "handover:write"]});
    let issued = org.post("/v1/keys", new.clone()).status(201);
    examples.take("new_key", "For those who take over", &new);
    examples.take("issued_key", "With the secret that is shown once", issued.json());
    let page = json!({"kind": "publishable", "name": "Shop", "allowed_origins": ["https://shop.example"]});
    let issued = org.post("/v1/keys", page.clone()).status(201);
    examples.take("new_publishable_key", "For a web page", &page);
    examples.take("publishable_key", "As it is listed", &issued["key"]);
    examples.hold();
}

#[test]
fn examples_of_organizations_are_what_the_server_answers() {
    const ADMIN_TOKEN: &str = "the operator's own token, of this test";
    let server = Server::with(&[("server.admin_token", ADMIN_TOKEN)]);
    let mut examples = Examples::of("organizations");
    let new = json!({"name": "Shop", "timezone": "Europe/Amsterdam", "languages": ["nl", "en"]});
    let made = server.client_with(ADMIN_TOKEN).post("/v1/organizations", new.clone()).status(201);
    examples.take("new_organization", "A shop in Amsterdam", &new);
    examples.take("made_organization", "With the keys that are shown once", made.json());
    let patch =
        json!({"opening_hours": {"monday": [{"opens": "09:00", "closes": "17:30"}]}, "retention_days": 365});
    let owner = server.client_with(made["primary_key"].as_str().unwrap());
    let changed = owner.patch("/v1/organization", patch.clone()).status(200);
    examples.take("organization_patch", "Open on Mondays", &patch);
    examples.take("organization", "As it is then", changed.json());
    examples.hold();
}

#[test]
fn examples_of_figures_are_what_the_server_answers() {
    let (_server, org) = shop();
    let mut examples = Examples::of("analytics");
    let conversation = talk(&org, "Where is my parcel?");
    let path = format!("/v1/conversations/{conversation}");
    org.post(&format!("{path}/rating"), json!({"score": 5})).status(200);
    let completed = org.post(&format!("{path}/complete"), json!({"resolution": "resolved"})).status(200);
    let day = &completed["started_at"].as_str().unwrap()[..10];
    let figures = format!("/v1/analytics?from={day}&to={day}&timezone=UTC&group_by=channel");
    examples.take("figures", "A day with one conversation", org.get(&figures).status(200).json());
    examples.hold();
}

#[test]
fn examples_of_the_log_are_what_the_server_answers() {
    let (_server, org) = shop();
    let mut examples = Examples::of("events");
    talk(&org, "Where is my parcel?");
    let events = org.get("/v1/events?types=message.sent").status(200);
    examples.take("events", "A page of one", events.json());
    examples.hold();
}

#[test]
fn examples_of_the_audit_log_are_what_the_server_answers() {
    let (_server, org) = shop();
    let mut examples = Examples::of("audit");
    org.post("/v1/keys", json!({"name": "Inbox"})).status(201);
    let entries = eventually("the entry is there", || {
        let entries = org.get("/v1/audit?action=key.created&limit=1").status(200);
        (!entries["data"].as_array().unwrap().is_empty()).then_some(entries)
    });
    examples.take("audit_entries", "A page of one", entries.json());
    examples.hold();
}
