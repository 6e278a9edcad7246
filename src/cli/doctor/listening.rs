//! The addresses: free, or taken by a server of ours, or by somebody else?

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use actix_web::http::StatusCode;

use super::finding::Finding;
use crate::{
    cli::own_server::ask,
    config::{Server, TlsFiles},
};

pub(super) async fn examine(server: &Server) -> Vec<Finding> {
    let mut findings = vec![address("listen address", server.listen, server.tls.files().as_ref()).await];
    if let Some(operators) = server.ops_listen {
        findings.push(address("ops address", operators, None).await);
    }
    findings
}

async fn address(check: &'static str, address: SocketAddr, tls: Option<&TlsFiles>) -> Finding {
    if address.port() == 0 {
        return Finding::ok(check, "the start takes a free port");
    }
    let Err(error) = TcpListener::bind(address) else {
        return Finding::ok(check, format!("{address} is free"));
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => taken(check, address, tls).await,
        io::ErrorKind::AddrNotAvailable => {
            Finding::fail(check, format!("{address} is not an address of this machine"))
                .advise("listen on 127.0.0.1, or on an address that `ip address` shows")
        }
        io::ErrorKind::PermissionDenied => {
            Finding::fail(check, format!("{address} is not allowed to this user"))
                .advise("take a port from 1024, or give the program CAP_NET_BIND_SERVICE")
        }
        _ => Finding::fail(check, format!("{address} cannot be listened on: {error}")),
    }
}

async fn taken(check: &'static str, address: SocketAddr, tls: Option<&TlsFiles>) -> Finding {
    match ask(address, tls, "/healthz").await {
        Some(StatusCode::SERVICE_UNAVAILABLE) => {
            Finding::warn(check, format!("an OpenClaw server answers on {address} that it is too busy"))
                .advise("see server.max_connections and the file limit")
        }
        Some(_) => Finding::ok(check, format!("an OpenClaw server answers on {address}")),
        None => Finding::fail(check, format!("{address} is taken by something that is no OpenClaw server"))
            .advise("stop that, or listen elsewhere: --listen, or server.listen and server.ops_listen"),
    }
}
