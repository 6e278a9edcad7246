//! What an organization's answers are made of: its articles, cut into passages and kept searchable.

mod actor;
pub mod analysis;
pub mod article;
mod handle;
pub mod index;
pub mod language;
pub mod markup;
pub mod messages;
pub mod passages;
mod shelf;
mod sql;
mod stop_words;
#[cfg(test)]
mod tests;

pub use handle::{IndexStatus, Knowledge};
pub use sql::ListArticles;
