//! A shop's pages in a real browser, on another origin than the server: what they may read, and what they are refused.

use serde_json::{Value, json};

use crate::harness::{
    Organization, Server,
    browser::{Browser, Page},
};

/// A shop with a publishable key for its pages.
pub(crate) struct Shop {
    pub(crate) server: Server,
    pub(crate) org: Organization,
    pub(crate) browser: Browser,
    key: String,
}

impl Shop {
    pub(crate) fn open(server: Server) -> Self {
        let (org, browser) = (server.organization(), Browser::start());
        let origins = [browser.origin("shop")];
        let new = json!({ "kind": "publishable", "name": "shop", "allowed_origins": origins });
        let made = org.post("/v1/keys", new).status(201);
        let key = made["secret"].as_str().unwrap().to_owned();
        Self { server, org, browser, key }
    }

    /// What the shop's pages know of the server.
    pub(crate) fn about(&self) -> Value {
        json!({ "api": format!("http://{}", self.server.address()), "key": self.key })
    }

    /// The shop's page that knows how to ask, shown by whom it may not be too.
    pub(crate) fn page(&self, shop: &str) -> Page<'_> {
        self.page_with(shop, self.about())
    }

    pub(crate) fn page_with(&self, shop: &str, about: Value) -> Page<'_> {
        let page = self.browser.open(shop, "shop.html", about);
        page.until("window.ready");
        page
    }
}

#[test]
fn a_page_of_the_shop_reads_answers_refusals_and_their_headers() {
    let shop = Shop::open(Server::start());
    let page = shop.page("shop");
    let begun = page.run("ask('POST', '/v1/conversations', { body: { message: 'Hello' } })");
    assert_eq!((&begun["status"], &begun["body"]["turn"]["status"]), (&json!(201), &json!("completed")));
    let headers = begun["headers"].as_object().unwrap();
    for exposed in ["x-request-id", "ratelimit", "ratelimit-policy"] {
        assert!(headers.contains_key(exposed), "{exposed}: {headers:?}");
    }
    let talk = format!("/v1/conversations/{}", begun["body"]["conversation"]["id"].as_str().unwrap());
    let token = begun["body"]["client_token"]["token"].as_str().unwrap();
    let read =
        |limit: u32| page.run(&format!("ask('GET', '{talk}/messages?limit={limit}', {{ as: '{token}' }})"));
    assert_eq!(read(20)["body"]["data"].as_array().unwrap().len(), 2);
    // A customer's token has thirty requests a minute; what comes after says when to ask again.
    let refused = (0..40).map(|_| read(1)).find(|answer| answer["status"] == 429).unwrap();
    assert_eq!(refused["body"]["error"]["code"], "rate_limited");
    assert!(refused["headers"]["retry-after"].as_str().unwrap().parse::<u32>().unwrap() >= 1);

    // A header of the page's own is asked for before it is sent, and a method that is not simple.
    let patch = format!(
        "ask('PATCH', '{talk}', {{ as: '{token}', body: {{}}, headers: {{ 'X-Request-Id': 'of-the-page' }} }})"
    );
    assert_eq!(page.run(&patch)["headers"]["x-request-id"], "of-the-page");
}

#[test]
fn a_page_of_somebody_else_is_told_that_it_may_not_use_the_shops_key() {
    let shop = Shop::open(Server::start());
    let page = shop.page("evil");
    let refused = page.run("ask('POST', '/v1/conversations', { body: { message: 'Hello' } })");
    assert_eq!(
        (&refused["status"], &refused["body"]["error"]["code"]),
        (&json!(403), &json!("origin_not_allowed"))
    );
    assert!(page.console().contains("its origin must be among the key's `allowed_origins`"));
    // Nor a token that one of the shop's pages was given.
    let own = shop.page("shop").run("begin('Hello')");
    let stolen = format!(
        "ask('GET', '{}', {{ as: '{}' }})",
        own["path"].as_str().unwrap(),
        own["token"].as_str().unwrap()
    );
    assert_eq!(page.run(&stolen)["body"]["error"]["code"], "origin_not_allowed");
    // A frame without an origin of its own says `null`.
    let framed = "new Promise((resolve) => {
        onmessage = ({ data }) => resolve(data);
        const frame = document.createElement('iframe');
        frame.sandbox = 'allow-scripts';
        frame.srcdoc = `<script>
            fetch('${shop.api}/v1/conversations', { method: 'POST', headers: { Authorization: 'Bearer ${shop.key}' } })
                .then((answer) => answer.json()).then((read) => parent.postMessage(read, '*'));
        <\\/script>`;
        document.body.append(frame);
    })";
    assert_eq!(shop.page("shop").run(framed)["error"]["code"], "origin_not_allowed");
    let talks = shop.org.get("/v1/conversations").status(200);
    assert_eq!(talks["data"].as_array().unwrap().len(), 1);
}

#[test]
fn a_secret_key_in_a_page_is_refused_with_the_reason_in_its_console() {
    let shop = Shop::open(Server::start());
    let page = shop.page("shop");
    let refused = page.run(&format!("ask('GET', '/v1/conversations', {{ as: '{}' }})", shop.org.primary_key));
    assert_eq!(refused["body"]["error"]["code"], "secret_key_in_browser");
    let console = page.console();
    assert!(console.contains("a secret key was sent by a web page, where anyone can read it"), "{console}");
    assert!(!console.contains(&shop.org.primary_key), "{console}");
}
