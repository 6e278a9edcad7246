//! What an organization's answers are made of: its articles, cut into passages and kept searchable.

mod actor;
pub mod analysis;
pub mod article;
mod batch;
pub mod embeddings;
mod handle;
mod idle;
pub mod import;
pub mod index;
pub mod language;
pub mod markup;
pub mod messages;
pub mod passages;
mod remembered;
mod shelf;
mod sql;
mod stop_words;
mod tell;
#[cfg(test)]
mod tests;
mod unanswered;

pub use handle::{IndexStatus, Knowledge, Options};
pub use sql::{ListArticles, unanswered::Unanswered};
