//! An upstream that speaks OpenAI's API: where it is, how it is called, why it gave nothing, and when it is called
//! again. What is asked of it is the business of whoever asks: a model that chats, or one that embeds.

mod address;
pub(crate) mod breaker;
mod caller;
mod failure;
pub(crate) mod retry;

pub(crate) use self::caller::Caller;
pub use self::{
    address::{ApiKey, BaseUrl},
    breaker::{FAILURES_TO_OPEN, OPEN_FOR},
    failure::{Failure, Kind},
};
