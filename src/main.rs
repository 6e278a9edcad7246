//! The `openclaw-server` command.

fn main() {}
