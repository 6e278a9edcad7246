//! `Query<T>`: the parameters after `?`, checked like a body; and `PathId<T>`.
//!
//! A repeated parameter is a list (`channel=web&channel=app`), `metadata[order]=8812` is an entry of a map, and what
//! `T` does not name is refused when `T` denies unknown fields. A route whose handler reads no parameters has none: see
//! `Strict`.

use std::ops::Deref;

use actix_web::{Error as ActixError, FromRequest, Handler, HttpMessage, HttpRequest, dev::Payload, web};
use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, Ready, ready},
};
use percent_encoding::percent_decode_str;
use serde::{
    Deserializer,
    de::{
        DeserializeOwned, Error as _, IntoDeserializer, Visitor,
        value::{Error, MapDeserializer, SeqDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{error::ApiError, refusal::refusal};

/// The parameters after `?`.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

/// Ids in the path. A malformed one names nothing: 404.
#[derive(Debug, Clone, Copy)]
pub struct PathId<T>(pub T);

impl<T> Deref for Query<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Deref for PathId<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Parameters::of(request).and_then(Parameters::read).map(Self))
    }
}

/// Parameters of which none matters: whoever probes or speaks a dialect may add their own.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnyParameters;

impl FromRequest for AnyParameters {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        request.extensions_mut().insert(ParametersRead);
        ready(Ok(Self))
    }
}

/// Some extractor of the handler looks at the parameters.
struct ParametersRead;

/// A handler behind the rule that parameters which none of its arguments reads are refused.
#[derive(Clone)]
pub(super) struct Strict<F>(pub(super) F);

/// All arguments of a handler, with nothing left of the request's parameters.
pub(super) struct AllRead<Args>(Args);

impl<F: Handler<Args>, Args> Handler<AllRead<Args>> for Strict<F> {
    type Output = F::Output;
    type Future = F::Future;

    fn call(&self, AllRead(args): AllRead<Args>) -> F::Future {
        self.0.call(args)
    }
}

impl<Args: FromRequest + 'static> FromRequest for AllRead<Args> {
    type Error = ActixError;
    type Future = LocalBoxFuture<'static, Result<Self, ActixError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let args = Args::from_request(request, payload);
        let request = request.clone();
        async move {
            // First, because the caller is among them: a stranger learns nothing of what a route takes.
            let args = args.await.map_err(Into::into)?;
            let is_read = request.extensions().contains::<ParametersRead>();
            if !is_read
                && let Some((name, _)) = Parameters::parse(request.query_string())?.0.into_iter().next()
            {
                return Err(ApiError::unknown_field(name).into());
            }
            Ok(Self(args))
        }
        .boxed_local()
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for PathId<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let path = web::Path::<T>::from_request(request, payload).into_inner();
        ready(path.map(|path| Self(path.into_inner())).map_err(|_| ApiError::not_found()))
    }
}

/// What a parameter was given.
enum Given {
    /// `name=value`, once or more often.
    Values(Vec<String>),
    /// `name[key]=value`.
    Entries(Vec<(String, String)>),
}

/// All parameters, in the order of their first occurrence.
pub(super) struct Parameters(Vec<(String, Given)>);

impl Parameters {
    /// Those of a request, which are its handler's to judge from now on.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        request.extensions_mut().insert(ParametersRead);
        Self::parse(request.query_string())
    }

    pub(super) fn parse(query: &str) -> Result<Self, ApiError> {
        let mut parameters = Self(Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            let value = decode(value)?;
            match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
                Some((name, key)) => parameters.entry(name.to_owned(), key.to_owned(), value)?,
                None => parameters.value(name, value)?,
            }
        }
        Ok(parameters)
    }

    fn value(&mut self, name: String, value: String) -> Result<(), ApiError> {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, Given::Values(values))) => values.push(value),
            Some((_, Given::Entries(_))) => return Err(mixed(name)),
            None => self.0.push((name, Given::Values(vec![value]))),
        }
        Ok(())
    }

    fn entry(&mut self, name: String, key: String, value: String) -> Result<(), ApiError> {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, Given::Entries(entries))) => entries.push((key, value)),
            Some((_, Given::Values(_))) => return Err(mixed(name)),
            None => self.0.push((name, Given::Entries(vec![(key, value)]))),
        }
        Ok(())
    }

    /// Takes those of these names out.
    pub(super) fn split_off(&mut self, names: &[&str]) -> Self {
        let (taken, left) =
            std::mem::take(&mut self.0).into_iter().partition(|(name, _)| names.contains(&name.as_str()));
        self.0 = left;
        Self(taken)
    }

    pub(super) fn read<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        let map = MapDeserializer::new(self.0.into_iter());
        serde_path_to_error::deserialize(map)
            .map_err(|error| refusal(&error.path().to_string(), &error.inner().to_string()))
    }
}

fn mixed(name: String) -> ApiError {
    ApiError::invalid_field(name, "it is given both plainly and with a key in brackets")
}

fn decode(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(decoded) if !decoded.contains('\0') => Ok(decoded.into_owned()),
        Ok(_) => Err(ApiError::bad_request("invalid_field", "a parameter must not hold the character NUL")),
        Err(_) => Err(ApiError::bad_request("invalid_field", "a parameter is not UTF-8")),
    }
}

impl Given {
    fn once(self) -> Result<String, Error> {
        match self {
            Self::Values(values) => match <[String; 1]>::try_from(values) {
                Ok([value]) => Ok(value),
                Err(_) => Err(Error::custom("it is given more than once")),
            },
            Self::Entries(_) => Err(Error::custom("it takes no key in brackets")),
        }
    }
}

impl IntoDeserializer<'_, Error> for Given {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident => $visit:ident, $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let value = self.once()?;
            visitor.$visit(value.parse().map_err(|_| Error::custom(concat!("it must be ", $what)))?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Given {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.once()?)
    }

    parsed! {
        deserialize_bool => visit_bool, "true or false";
        deserialize_i32 => visit_i32, "a whole number";
        deserialize_i64 => visit_i64, "a whole number";
        deserialize_u16 => visit_u16, "a whole number from 0";
        deserialize_u32 => visit_u32, "a whole number from 0";
        deserialize_u64 => visit_u64, "a whole number from 0";
        deserialize_f64 => visit_f64, "a number";
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Values(values) => {
                let each = values.into_iter().map(|value| Self::Values(vec![value]));
                visitor.visit_seq(SeqDeserializer::new(each))
            }
            Self::Entries(_) => Err(Error::custom("it takes no key in brackets")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Entries(entries) => visitor.visit_map(MapDeserializer::new(entries.into_iter())),
            Self::Values(_) => Err(Error::custom("it needs a key in brackets")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let value: StringDeserializer<Error> = self.once()?.into_deserializer();
        value.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u128 f32 char str string bytes byte_buf unit unit_struct tuple tuple_struct struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize, Default, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Grouping {
        #[default]
        Day,
        Week,
    }

    #[derive(Debug, Deserialize, Default, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Filters {
        q: Option<String>,
        limit: Option<u32>,
        channel: Vec<String>,
        metadata: BTreeMap<String, String>,
        interval: Grouping,
    }

    fn read(query: &str) -> Result<Filters, ApiError> {
        Parameters::parse(query).and_then(Parameters::read)
    }

    #[test]
    fn parameters_are_text_numbers_lists_maps_and_words() {
        let filters =
            read("q=a+b%20%C3%A9&limit=7&channel=web&channel=app&metadata%5Border%5D=1&interval=week");
        assert_eq!(
            filters.expect("taken"),
            Filters {
                q: Some("a b é".into()),
                limit: Some(7),
                channel: vec!["web".into(), "app".into()],
                metadata: BTreeMap::from([("order".into(), "1".into())]),
                interval: Grouping::Week,
            }
        );
        assert_eq!(read("").expect("taken"), Filters::default());
    }

    #[test]
    fn a_refusal_names_the_parameter_at_fault() {
        for (query, code, param) in [
            ("limits=5", "unknown_field", Some("limits")),
            ("limit=five", "invalid_field", Some("limit")),
            ("limit=5&limit=6", "invalid_field", Some("limit")),
            ("limit[a]=5", "invalid_field", Some("limit")),
            ("interval=year", "invalid_field", Some("interval")),
            ("metadata=5", "invalid_field", Some("metadata")),
            ("metadata=5&metadata[a]=5", "invalid_field", Some("metadata")),
            ("q=%00", "invalid_field", None),
            ("q=%ff", "invalid_field", None),
        ] {
            let error = read(query).expect_err("must be refused");
            let shown: Value = serde_json::from_slice(&error.body(None)).expect("JSON");
            assert_eq!((error.code(), shown["error"]["param"].as_str()), (code, param), "{query}: {error}");
        }
    }
}
