//! JSON whose fields stay in the order in which they were written: people read the document.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Number, Value};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Object(Vec<(String, Tree)>),
    Array(Vec<Tree>),
    /// Text, a number, a truth value or null.
    Leaf(Value),
}

impl Default for Tree {
    fn default() -> Self {
        Self::Object(Vec::new())
    }
}

impl Tree {
    /// `{"$ref": …}`
    pub(super) fn reference(to: &str) -> Self {
        Self::Object(vec![("$ref".to_owned(), Self::Leaf(to.into()))])
    }

    /// The field of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.fields().iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The text of that field.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Self::Leaf(Value::String(text))) => Some(text),
            _ => None,
        }
    }

    /// All fields; none of what is no object.
    pub(super) fn fields(&self) -> &[(String, Self)] {
        match self {
            Self::Object(fields) => fields,
            Self::Array(_) | Self::Leaf(_) => &[],
        }
    }

    pub(super) fn fields_mut(&mut self) -> &mut [(String, Self)] {
        match self {
            Self::Object(fields) => fields,
            Self::Array(_) | Self::Leaf(_) => &mut [],
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            Self::Object(_) | Self::Leaf(_) => &[],
        }
    }

    /// The field of that name, an empty object if it was not there; `None` where this is no object.
    pub(super) fn entry(&mut self, name: &str) -> Option<&mut Self> {
        let Self::Object(fields) = self else { return None };
        let at = fields.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            fields.push((name.to_owned(), Self::default()));
            fields.len() - 1
        });
        Some(&mut fields[at].1)
    }

    /// Adds items to the list of that name.
    pub(super) fn append(&mut self, name: &str, items: Vec<Self>) {
        match self.entry(name) {
            Some(Self::Array(there)) => there.extend(items),
            Some(there) => *there = Self::Array(items),
            None => {}
        }
    }

    /// Adds a field unless it is there.
    pub(super) fn or_insert(&mut self, name: &str, value: impl FnOnce() -> Self) {
        if let Self::Object(fields) = self
            && !fields.iter().any(|(known, _)| known == name)
        {
            fields.push((name.to_owned(), value()));
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(fields) => serializer.collect_map(fields.iter().map(|(name, value)| (name, value))),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Leaf(leaf) => leaf.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut fields: Vec<(String, Tree)> = Vec::new();
        while let Some((name, value)) = map.next_entry()? {
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format!("`{name}` stands there twice")));
            }
            fields.push((name, value));
        }
        Ok(Tree::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::Array(items))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf(text.into()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
        Number::from_f64(value)
            .map(|number| Tree::Leaf(number.into()))
            .ok_or_else(|| E::custom("not a number"))
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stay_where_they_stand_and_none_stands_twice() {
        let text = r#"{"z":1,"a":[true,null,-2,0.5,"é\n"],"m":{}}"#;
        let tree: Tree = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&tree).unwrap(), text);
        assert!(serde_json::from_str::<Tree>(r#"{"a":{"b":1,"b":2}}"#).is_err());
    }
}
