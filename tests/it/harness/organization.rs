//! An organization of this test's own.

use std::ops::Deref;

use serde_json::Value;

use super::{Client, Server};

/// Speaks with the organization's primary key, as a client.
#[derive(Debug, Clone)]
pub(crate) struct Organization {
    pub(crate) id: String,
    pub(crate) primary_key: String,
    pub(crate) secondary_key: String,
    client: Client,
}

impl Organization {
    #[track_caller]
    pub(crate) fn create(server: &Server, name: &str) -> Self {
        let made = server.run(&["org", "create", name, "--json"]);
        assert!(made.status.success(), "{made:?}");
        let made: Value = serde_json::from_str(&made.out).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let primary_key = text(&made["primary_key"]);
        Self {
            id: text(&made["organization"]["id"]),
            secondary_key: text(&made["secondary_key"]),
            client: server.client_with(&primary_key),
            primary_key,
        }
    }

    /// A client whose key holds only these scopes: `"conversations:read,conversations:write"`.
    #[track_caller]
    pub(crate) fn restricted(&self, server: &Server, scopes: &str) -> Client {
        self.key(server, &["--scopes", scopes])
    }

    /// A client of conversations whose key has no limits.
    #[track_caller]
    pub(crate) fn unlimited(&self, server: &Server) -> Client {
        let scopes = "conversations:read,conversations:write,conversations:delete,handover:write";
        self.key(server, &["--scopes", scopes, "--rate-limit", "unlimited"])
    }

    #[track_caller]
    fn key(&self, server: &Server, what: &[&str]) -> Client {
        let arguments = [&["keys", "create", "--org", &self.id, "--json"], what].concat();
        let made = server.run(&arguments);
        assert!(made.status.success(), "{made:?}");
        let made: Value = serde_json::from_str(&made.out).unwrap();
        server.client_with(made["secret"].as_str().unwrap())
    }
}

impl Deref for Organization {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}
