//! From values to Rust types.

use super::TypedError;
use super::special::ANY;
use crate::value::{Record, Value};
use serde::de::value::{BorrowedStrDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::collections::btree_map;

/// Reads a whole record.
pub(super) struct RecordDeserializer<'de>(pub(super) &'de Record);

/// Reads one value.
#[derive(Clone, Copy)]
pub(super) struct ValueDeserializer<'de>(pub(super) &'de Value);

type Done<V> = Result<V, TypedError>;

impl<'de> Deserializer<'de> for RecordDeserializer<'de> {
    type Error = TypedError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        visit_record(self.0, Names::Canonical, visitor)
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        visit_record(self.0, Names::Plain, visitor)
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Done<V::Value> {
        visit_record(self.0, Names::Plain, visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        visitor.visit_some(self)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Done<V::Value> {
        match name {
            ANY => self.deserialize_any(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Done<V::Value> {
        visit_variant(self.0, visitor)
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

impl<'de> ValueDeserializer<'de> {
    fn mismatch<V: Visitor<'de>>(self, visitor: &V) -> TypedError {
        let found = match self.0 {
            Value::Null => Unexpected::Unit,
            Value::Bool(b) => Unexpected::Bool(*b),
            Value::Int(n) | Value::Counter(n) | Value::Timestamp(n) => Unexpected::Signed(*n),
            Value::Uint(n) => Unexpected::Unsigned(*n),
            Value::Float(f) => Unexpected::Float(*f),
            Value::String(s) | Value::Text(s) => Unexpected::Str(s),
            Value::Bytes(b) => Unexpected::Bytes(b),
            Value::List(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
        };
        TypedError::invalid_type(found, visitor)
    }

    fn integer<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        match self.0 {
            Value::Int(n) | Value::Counter(n) | Value::Timestamp(n) => visitor.visit_i64(*n),
            Value::Uint(n) => visitor.visit_u64(*n),
            Value::Float(f) => match exact_integer(*f) {
                Some(Value::Uint(n)) => visitor.visit_u64(n),
                Some(Value::Int(n)) => visitor.visit_i64(n),
                _ => Err(self.mismatch(&visitor)),
            },
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn float<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        match self.0 {
            Value::Int(n) | Value::Counter(n) | Value::Timestamp(n) => visitor.visit_i64(*n),
            Value::Uint(n) => visitor.visit_u64(*n),
            Value::Float(f) => visitor.visit_f64(*f),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn string<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        match self.0 {
            Value::String(s) | Value::Text(s) => visitor.visit_borrowed_str(s),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn bytes<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        match self.0 {
            Value::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Value::String(s) | Value::Text(s) => visitor.visit_borrowed_bytes(s.as_bytes()),
            Value::List(items) => visit_list(items, visitor),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn list<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        match self.0 {
            Value::List(items) => visit_list(items, visitor),
            Value::Bytes(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())),
            _ => Err(self.mismatch(&visitor)),
        }
    }
}

macro_rules! through {
    ($via:ident: $($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
            self.$via(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for ValueDeserializer<'de> {
    type Error = TypedError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Int(n) | Value::Counter(n) => visitor.visit_i64(*n),
            Value::Uint(n) => visitor.visit_u64(*n),
            Value::Float(f) => visitor.visit_f64(*f),
            Value::String(s) | Value::Text(s) => visitor.visit_borrowed_str(s),
            Value::Bytes(b) => visitor.visit_borrowed_bytes(b),
            // Tagged, or whoever buffers the value and writes it back would turn it into an integer.
            Value::Timestamp(ms) => visit_tagged("$timestamp", *ms, visitor),
            Value::List(items) => visit_list(items, visitor),
            Value::Map(record) => visit_record(record, Names::Canonical, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        match self.0 {
            Value::Bool(b) => visitor.visit_bool(*b),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    through! {integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
    deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128}
    through! {float: deserialize_f32 deserialize_f64}
    through! {string: deserialize_char deserialize_str deserialize_string deserialize_identifier}
    through! {bytes: deserialize_bytes deserialize_byte_buf}
    through! {list: deserialize_seq}

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Done<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Done<V::Value> {
        match (name, self.0) {
            (ANY, Value::Text(text)) => visit_tagged("$text", text.as_str(), visitor),
            (ANY, Value::Counter(n)) => visit_tagged("$counter", *n, visitor),
            (ANY, _) => self.deserialize_any(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Done<V::Value> {
        self.list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Done<V::Value> {
        self.list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        match self.0 {
            Value::Map(record) => visit_record(record, Names::Plain, visitor),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Done<V::Value> {
        match self.0 {
            Value::Map(record) => visit_record(record, Names::Plain, visitor),
            Value::List(items) => visit_list(items, visitor),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Done<V::Value> {
        match self.0 {
            Value::String(s) | Value::Text(s) => {
                let name: BorrowedStrDeserializer<'_, TypedError> = BorrowedStrDeserializer::new(s);
                visitor.visit_enum(name)
            }
            Value::Map(record) => visit_variant(record, visitor),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        visitor.visit_unit()
    }
}

impl<'de> IntoDeserializer<'de, TypedError> for ValueDeserializer<'de> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// The integer that a float is, if it has no fraction and fits into 64 bits, signed or not.
fn exact_integer(float: f64) -> Option<Value> {
    const ABOVE_I64: f64 = 9_223_372_036_854_775_808.0;
    // Within these ranges the casts are exact.
    match float.fract() == 0.0 {
        true if (-ABOVE_I64..ABOVE_I64).contains(&float) => Some(Value::Int(float as i64)),
        true if (ABOVE_I64..2.0 * ABOVE_I64).contains(&float) => Some(Value::Uint(float as u64)),
        _ => None,
    }
}

fn visit_tagged<'de, V, T>(tag: &'static str, content: T, visitor: V) -> Done<V::Value>
where
    V: Visitor<'de>,
    T: IntoDeserializer<'de, TypedError>,
{
    visitor.visit_map(MapDeserializer::new(std::iter::once((tag, content))))
}

/// How a map's reader sees the names that begin with `$`.
#[derive(Clone, Copy, PartialEq)]
enum Names {
    /// As the user wrote them.
    Plain,
    /// Doubled, so that nobody takes a user's map for a tagged value.
    Canonical,
}

fn visit_record<'de, V: Visitor<'de>>(
    record: &'de Record,
    names: Names,
    visitor: V,
) -> Done<V::Value> {
    visitor.visit_map(Fields {
        rest: record.iter(),
        field: None,
        names,
    })
}

fn visit_list<'de, V: Visitor<'de>>(items: &'de [Value], visitor: V) -> Done<V::Value> {
    let mut list = Items { items, next: 0 };
    let value = visitor.visit_seq(&mut list)?;
    if list.next < items.len() {
        return Err(TypedError::invalid_length(
            items.len(),
            &format!("{} items", list.next).as_str(),
        ));
    }
    Ok(value)
}

fn visit_variant<'de, V: Visitor<'de>>(record: &'de Record, visitor: V) -> Done<V::Value> {
    let mut fields = record.iter();
    match (fields.next(), fields.next()) {
        (Some((name, content)), None) => visitor.visit_enum(Variant { name, content }),
        _ => Err(TypedError::custom(
            "expected an enum: a variant's name, or a map with that one name",
        )),
    }
}

struct Items<'de> {
    items: &'de [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for &mut Items<'de> {
    type Error = TypedError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Done<Option<T::Value>> {
        let index = self.next;
        let Some(item) = self.items.get(index) else {
            return Ok(None);
        };
        self.next += 1;
        seed.deserialize(ValueDeserializer(item))
            .map(Some)
            .map_err(|error| error.in_item(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Fields<'de> {
    rest: btree_map::Iter<'de, String, Value>,
    /// The field whose name was read and whose value comes next.
    field: Option<(&'de str, &'de Value)>,
    names: Names,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = TypedError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Done<Option<K::Value>> {
        let Some((name, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.field = Some((name, value));
        let key = match self.names {
            Names::Canonical if name.starts_with('$') => {
                seed.deserialize(format!("${name}").into_deserializer())
            }
            _ => seed.deserialize(NameDeserializer(name)),
        };
        key.map(Some).map_err(|error| error.in_field(name))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Done<T::Value> {
        let (name, value) = self
            .field
            .take()
            .ok_or_else(|| TypedError::custom("a map value was asked for before its key"))?;
        seed.deserialize(ValueDeserializer(value))
            .map_err(|error| error.in_field(name))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// Reads a field name, also as an integer or boolean key of a map.
struct NameDeserializer<'de>(&'de str);

macro_rules! parsed_name {
    ($($method:ident => $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
            match self.0.parse() {
                Ok(key) => visitor.$visit(key),
                Err(_) => Err(TypedError::invalid_type(Unexpected::Str(self.0), &visitor)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for NameDeserializer<'de> {
    type Error = TypedError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        visitor.visit_borrowed_str(self.0)
    }
    parsed_name! {
        deserialize_bool => visit_bool
        deserialize_i8 => visit_i8
        deserialize_i16 => visit_i16
        deserialize_i32 => visit_i32
        deserialize_i64 => visit_i64
        deserialize_i128 => visit_i128
        deserialize_u8 => visit_u8
        deserialize_u16 => visit_u16
        deserialize_u32 => visit_u32
        deserialize_u64 => visit_u64
        deserialize_u128 => visit_u128
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Done<V::Value> {
        visitor.visit_some(self)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Done<V::Value> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Done<V::Value> {
        let name: BorrowedStrDeserializer<'_, TypedError> = BorrowedStrDeserializer::new(self.0);
        visitor.visit_enum(name)
    }
    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

struct Variant<'de> {
    name: &'de str,
    content: &'de Value,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = TypedError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Done<(T::Value, Self)> {
        let name: BorrowedStrDeserializer<'_, TypedError> = BorrowedStrDeserializer::new(self.name);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> Variant<'de> {
    fn named<T>(&self, result: Done<T>) -> Done<T> {
        result.map_err(|error| error.in_field(self.name))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = TypedError;

    fn unit_variant(self) -> Done<()> {
        self.named(serde::Deserialize::deserialize(ValueDeserializer(
            self.content,
        )))
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Done<T::Value> {
        self.named(seed.deserialize(ValueDeserializer(self.content)))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Done<V::Value> {
        self.named(ValueDeserializer(self.content).list(visitor))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Done<V::Value> {
        self.named(ValueDeserializer(self.content).deserialize_struct("", &[], visitor))
    }
}
