//! Promises of the server, each tested as its user would see it.

// Outside `#[test]` functions too: a harness that cannot do its work should fail loudly.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;
mod architecture;
mod bad_input;
mod harness;
mod keys;
mod knowledge;
mod limits;
mod shell;
