//! The certificate: usable, and for how long?

use std::time::Duration;

use super::finding::Finding;
use crate::{config::TlsFiles, server::Loaded};

const CHECK: &str = "certificate";

pub(super) fn examine(files: Option<&TlsFiles>) -> Option<Finding> {
    let loaded = match Loaded::read(files?) {
        Ok(loaded) => loaded,
        Err(error) => {
            return Some(Finding::fail(CHECK, error.to_string()).advise(
                "name the full chain and its private key, both in PEM, in server.tls.certificate and server.tls.key",
            ));
        }
    };
    let days = |left: Duration| left.as_secs() / 86_400;
    Some(match loaded.left() {
        None => Finding::fail(CHECK, "it has ended, so clients refuse this server")
            .advise("renew it; the running server takes the new files by itself"),
        Some(left) if loaded.ends_soon() => Finding::warn(CHECK, format!("it ends in {} days", days(left)))
            .advise("look why it was not renewed; the running server takes the new files by itself"),
        Some(left) => Finding::ok(CHECK, format!("it is good for {} more days", days(left))),
    })
}
