//! Conversations: one supervised actor each, which is the only writer of its history.

mod actor;
pub mod directory;
pub mod feed;
mod history;
mod machine;
pub mod messages;
#[cfg(test)]
mod model_check;
pub mod reader;
pub mod record;
pub mod rehearsal;
pub mod sql;
#[cfg(test)]
mod tests;
mod turn;
