//! What an organization's answers are made of: its articles, cut into passages and kept searchable.

pub mod analysis;
pub mod article;
pub mod index;
pub mod language;
pub mod markup;
pub mod passages;
mod stop_words;
