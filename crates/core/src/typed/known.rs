//! Which fields a type knows, asked of its `Deserialize`.
//!
//! A struct names its fields when it is deserialised. So it is offered to a deserialiser that takes note of them and then
//! gives up, and for each field once more, to get at what is nested in it.

use crate::value::{Record, Value};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// How deep nested structs are followed; a type can hold itself.
const DEPTH: usize = 8;

/// The fields that a writer knows. What it does not know it leaves as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Known {
    /// All there are: what the writer leaves out is to go.
    #[default]
    All,
    /// These, and what is known inside of them.
    Fields(BTreeMap<String, Known>),
}

impl Known {
    /// The fields of `T`: those of a struct, at every depth; all if it is a map, an enum, or a struct that flattens others.
    pub fn of<T: for<'de> Deserialize<'de>>() -> Self {
        inside(
            &mut Vec::new(),
            &|path| match T::deserialize(Probe { path }) {
                Err(Answer::Fields(fields)) => Some(fields),
                Ok(_) | Err(Answer::Nothing) => None,
            },
        )
    }

    /// Whether the writer knows a field of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Fields(fields) => fields.contains_key(name),
        }
    }

    /// What is written over `old`: `new`, and what the writer does not know of `old`.
    pub(crate) fn with_unknown(&self, new: &Record, old: Record) -> Record {
        let mut whole = new.clone();
        for (name, old) in old {
            match (whole.get_mut(&name), old) {
                (None, old) if !self.has(&name) => {
                    whole.insert(name, old);
                }
                (Some(Value::Map(new)), Value::Map(old)) => {
                    *new = self.within(&name).with_unknown(new, old);
                }
                _ => {}
            }
        }
        whole
    }

    /// What it knows inside of a field.
    pub(crate) fn within(&self, name: &str) -> &Self {
        match self {
            Self::All => &Self::All,
            Self::Fields(fields) => fields.get(name).unwrap_or(&Self::All),
        }
    }
}

type Names = &'static [&'static str];

fn inside(path: &mut Vec<&'static str>, probe: &dyn Fn(&[&'static str]) -> Option<Names>) -> Known {
    let Some(names) = probe(path).filter(|_| path.len() < DEPTH) else {
        return Known::All;
    };
    let mut fields = BTreeMap::new();
    for name in names {
        path.push(name);
        fields.insert((*name).to_owned(), inside(path, probe));
        path.pop();
    }
    Known::Fields(fields)
}

/// What a probe ends with.
#[derive(Debug)]
enum Answer {
    Fields(Names),
    Nothing,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a probe gives no value")
    }
}

impl std::error::Error for Answer {}

impl serde::de::Error for Answer {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Nothing
    }
}

/// Follows `path` through structs and answers with the fields of the struct at its end.
struct Probe<'p> {
    path: &'p [&'static str],
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Answer;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: Names,
        visitor: V,
    ) -> Result<V::Value, Answer> {
        match self.path.split_first() {
            None => Err(Answer::Fields(fields)),
            Some((name, rest)) => visitor.visit_map(OneField {
                name: Some(name),
                rest,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Answer> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Answer> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Answer> {
        Err(Answer::Nothing)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map enum identifier ignored_any
    }
}

/// A map of one field.
struct OneField<'p> {
    name: Option<&'static str>,
    rest: &'p [&'static str],
}

impl<'de> MapAccess<'de> for OneField<'_> {
    type Error = Answer;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Answer> {
        use serde::de::IntoDeserializer as _;
        let name = self.name.take();
        name.map(|name| seed.deserialize(name.into_deserializer()))
            .transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Answer> {
        seed.deserialize(Probe { path: self.rest })
    }
}
