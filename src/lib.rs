//! The runtime behind customer-service chat: HTTP, configuration and the command line around `openclaw-actors`.

pub mod article_file;
pub mod cli;
pub mod config;
pub mod data;
pub mod demo;
pub mod http;
pub mod server;
pub mod telemetry;
