//! Lists: how a page is asked for and what one looks like.
//!
//! A cursor is a position in the order of a list, not a count of rows, so it stays true while rows are added.

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::{Ready, ready};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{error::ApiError, query::Parameters};

const DEFAULT_LIMIT: u32 = 20;
const LARGEST_LIMIT: u32 = 100;

/// Changes when what a cursor holds does; an older one is refused, not misread.
const VERSION: u8 = 2;

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Oldest or smallest first.
    Asc,
    /// Newest or largest first.
    Desc,
}

/// The parameters of a list beside `limit`, `cursor` and `order`, and the order it has by default.
pub trait Filters: DeserializeOwned {
    /// Most lists show the newest first.
    const ORDER: Order = Order::Desc;

    /// What the rows are ordered by, if the list leaves a choice.
    fn sort(&self) -> &'static str {
        ""
    }
}

/// A list without filters, newest first.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoFilters {}

impl Filters for NoFilters {}

/// What a list was asked for: an extractor.
#[derive(Debug, Clone)]
pub struct List<F> {
    /// Which part of it.
    pub page: PageRequest,
    /// Of which rows.
    pub filters: F,
}

/// Which part of a list was asked for.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// How many rows, 1 to 100.
    pub limit: u32,
    /// Which end comes first.
    pub order: Order,
    sort: &'static str,
    cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageParameters {
    limit: Option<u32>,
    cursor: Option<String>,
    order: Option<Order>,
}

impl<F: Filters> FromRequest for List<F> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Parameters::of(request).and_then(Self::read))
    }
}

impl<F: Filters> List<F> {
    fn read(mut filters: Parameters) -> Result<Self, ApiError> {
        let page: PageParameters = filters.split_off(&["limit", "cursor", "order"]).read()?;
        let limit = page.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=LARGEST_LIMIT).contains(&limit) {
            return Err(ApiError::invalid_field("limit", format!("it must be from 1 to {LARGEST_LIMIT}")));
        }
        let order = page.order.unwrap_or(F::ORDER);
        let filters: F = filters.read()?;
        Ok(Self { page: PageRequest { limit, order, sort: filters.sort(), cursor: page.cursor }, filters })
    }
}

impl PageRequest {
    /// Where the page before ended: whatever [`Page::new`] was given as a row's position.
    ///
    /// # Errors
    /// 400 if this server did not make the cursor, or made it for another list or order.
    pub fn after<P: DeserializeOwned>(&self) -> Result<Option<P>, ApiError> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let position = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| {
            let (version, order, sort, position): (u8, Order, &str, P) =
                serde_json::from_slice(&bytes).ok()?;
            (version == VERSION && order == self.order && sort == self.sort).then_some(position)
        });
        position.map(Some).ok_or_else(|| ApiError::invalid_cursor("cursor"))
    }

    /// How many rows to read: one more than is shown tells whether there are more.
    #[must_use]
    pub fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }
}

/// The answer of every list.
#[derive(Debug, Clone, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// There are more.
    pub has_more: bool,
    /// Where they begin.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Of up to [`PageRequest::rows`] rows, read in the order asked for. `position` is what tells a row's place in
    /// that order and no other row has.
    pub fn new<P: Serialize>(mut rows: Vec<T>, request: &PageRequest, position: impl Fn(&T) -> P) -> Self {
        let has_more = rows.len() > request.limit as usize;
        rows.truncate(request.limit as usize);
        let last = rows.last().filter(|_| has_more);
        let next_cursor = last.map(|row| {
            let cursor = (VERSION, request.order, request.sort, position(row));
            // Numbers and text always serialize.
            URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
        });
        Self { data: rows, has_more, next_cursor }
    }

    /// The same page of what the rows look like from outside.
    pub fn map<U>(self, show: impl FnMut(T) -> U) -> Page<U> {
        let Self { data, has_more, next_cursor } = self;
        Page { data: data.into_iter().map(show).collect(), has_more, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<List<NoFilters>, ApiError> {
        Parameters::parse(query).and_then(List::read)
    }

    fn ask(query: &str) -> PageRequest {
        read(query).expect("taken").page
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let all: Vec<i64> = (0..7).collect();
        let mut seen = Vec::new();
        let mut query = "limit=3&order=asc".to_owned();
        loop {
            let request = ask(&query);
            let after: i64 = request.after().expect("a good cursor").unwrap_or(-1);
            let rows = all.iter().copied().filter(|&row| row > after).take(request.rows() as usize).collect();
            let page = Page::new(rows, &request, |row| *row);
            assert_eq!(page.has_more, page.next_cursor.is_some());
            seen.extend(page.data);
            match page.next_cursor {
                Some(cursor) => query = format!("limit=3&order=asc&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_cursor_from_elsewhere_is_refused() {
        let request = ask("order=asc&limit=1");
        let cursor = Page::new(vec![1, 2], &request, |row| *row).next_cursor.expect("more");
        for query in [
            "cursor=".to_owned(),
            "cursor=x".to_owned(),
            "cursor=%F0%9F%92%A3".to_owned(),
            format!("cursor={cursor}&order=desc"),
            format!("cursor={cursor}&order=asc&limit=1").replace("cursor=W", "cursor=X"),
        ] {
            let refused = ask(&query).after::<i64>().expect_err("must be refused");
            assert_eq!(refused.code(), "invalid_cursor", "{query}");
        }
        let other = ask(&format!("cursor={cursor}&order=asc"));
        assert!(other.after::<(i64, String)>().is_err(), "a position of another shape");
    }

    #[test]
    fn limits_are_from_1_to_100() {
        for query in ["limit=0", "limit=101", "limit=-1", "limit=", "order=up", "colour=red"] {
            assert!(read(query).is_err(), "{query}");
        }
        assert_eq!(ask("").limit, 20);
        assert_eq!(ask("limit=100").limit, 100);
    }
}
