//! The product behind OpenClaw Server: actors, their rules and their SQL.
