//! A real browser, and the shops whose pages it shows: `tests/clients/browser.mjs` is its other half.

use std::{cell::RefCell, env};

use serde_json::{Value, json};

use super::{Program, clients::Clients, eventually};

/// A headless Chromium.
pub(crate) struct Browser {
    driver: RefCell<Driver>,
    /// Of the server with the shops' pages.
    port: u64,
}

struct Driver {
    /// Until it is dropped.
    program: Option<Program>,
    answers_heard: usize,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let mut command = Clients::with_chromium().node("clients/browser.mjs");
        command.env("NO_PROXY", "*");
        let mut driver = Driver { program: Some(Program::of(command)), answers_heard: 0 };
        let port = driver.answer().as_u64().unwrap();
        Self { driver: RefCell::new(driver), port }
    }

    /// Where a shop's pages come from: `shop` is `http://shop.localhost:…`.
    pub(crate) fn origin(&self, shop: &str) -> String {
        format!("http://{shop}.localhost:{}", self.port)
    }

    /// Opens a page of a shop; its scripts find `about` as `window.shop`.
    #[track_caller]
    pub(crate) fn open(&self, shop: &str, page: &str, about: Value) -> Page<'_> {
        self.open_at(&format!("{}/{page}", self.origin(shop)), about)
    }

    /// Opens a page of anybody.
    #[track_caller]
    pub(crate) fn visit(&self, url: &str) -> Page<'_> {
        self.open_at(url, Value::Null)
    }

    #[track_caller]
    fn open_at(&self, url: &str, about: Value) -> Page<'_> {
        let number = self.ask(json!({ "open": url, "shop": about })).as_u64().unwrap();
        Page { browser: self, number }
    }

    #[track_caller]
    fn ask(&self, order: Value) -> Value {
        let mut driver = self.driver.borrow_mut();
        driver.program.as_mut().unwrap().say(&order.to_string());
        driver.answer()
    }
}

impl Driver {
    #[track_caller]
    fn answer(&mut self) -> Value {
        let program = self.program.as_ref().unwrap();
        let out = program.until("the browser answers", |out| out.matches('\n').count() > self.answers_heard);
        let answer: Value = serde_json::from_str(out.lines().nth(self.answers_heard).unwrap()).unwrap();
        self.answers_heard += 1;
        assert_eq!(answer.get("failed"), None, "the page failed");
        answer["done"].clone()
    }
}

impl Drop for Driver {
    /// It cleans up after itself when it is told that nothing more comes.
    fn drop(&mut self) {
        let program = self.program.take().unwrap();
        if !std::thread::panicking() {
            program.ended();
        }
    }
}

/// A page that is open.
pub(crate) struct Page<'b> {
    browser: &'b Browser,
    number: u64,
}

impl Page<'_> {
    /// What JavaScript comes to in the page.
    #[track_caller]
    pub(crate) fn run(&self, code: &str) -> Value {
        self.browser.ask(json!({ "page": self.number, "run": code }))
    }

    /// Waits until JavaScript in the page comes to something true, which it gives.
    #[track_caller]
    pub(crate) fn until(&self, code: &str) -> Value {
        let is_true = |value: &Value| !matches!(value, Value::Null | Value::Bool(false)) && value != "";
        eventually(code, || Some(self.run(code)).filter(is_true))
    }

    #[track_caller]
    pub(crate) fn reload(&self) {
        self.browser.ask(json!({ "page": self.number, "reload": true }));
    }

    /// The address of each request that it has sent.
    #[track_caller]
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = self.browser.ask(json!({ "page": self.number, "asked": true }));
        asked.as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// What a developer reads in its console.
    #[track_caller]
    pub(crate) fn console(&self) -> String {
        let lines = self.browser.ask(json!({ "page": self.number, "console": true }));
        let lines: Vec<_> = lines.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        lines.join("\n")
    }
}
