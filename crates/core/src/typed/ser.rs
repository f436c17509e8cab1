//! From Rust types to values.

use super::special;
use super::{TypedError, TypedProblem};
use crate::json;
use crate::value::{MAX_DEPTH, Record, Value};
use serde::ser::{
    Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Makes one value; `depth` is that of a list or map that starts here, 0 for the record itself.
#[derive(Clone, Copy)]
pub(super) struct ValueSerializer {
    depth: usize,
}

impl ValueSerializer {
    pub(super) fn record() -> Self {
        Self { depth: 0 }
    }

    pub(super) fn field() -> Self {
        Self { depth: 1 }
    }

    fn inside(self) -> Result<Self, TypedError> {
        if self.depth > MAX_DEPTH {
            return Err(TypedError::new(TypedProblem::TooDeep));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

type Done = Result<Value, TypedError>;

impl Serializer for ValueSerializer {
    type Ok = Value;
    type Error = TypedError;
    type SerializeSeq = ListSerializer;
    type SerializeTuple = ListSerializer;
    type SerializeTupleStruct = ListSerializer;
    type SerializeTupleVariant = ListSerializer;
    type SerializeMap = FieldsSerializer;
    type SerializeStruct = FieldsSerializer;
    type SerializeStructVariant = FieldsSerializer;

    fn serialize_bool(self, v: bool) -> Done {
        Ok(Value::Bool(v))
    }
    fn serialize_i8(self, v: i8) -> Done {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i16(self, v: i16) -> Done {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i32(self, v: i32) -> Done {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i64(self, v: i64) -> Done {
        Ok(Value::Int(v))
    }
    fn serialize_i128(self, v: i128) -> Done {
        i64::try_from(v)
            .map(Value::from)
            .or_else(|_| u64::try_from(v).map(Value::from))
            .map_err(|_| integer_range(v))
    }
    fn serialize_u8(self, v: u8) -> Done {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u16(self, v: u16) -> Done {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u32(self, v: u32) -> Done {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u64(self, v: u64) -> Done {
        Ok(Value::from(v))
    }
    fn serialize_u128(self, v: u128) -> Done {
        u64::try_from(v)
            .map(Value::from)
            .map_err(|_| integer_range(v))
    }
    fn serialize_f32(self, v: f32) -> Done {
        Ok(Value::Float(v.into()))
    }
    fn serialize_f64(self, v: f64) -> Done {
        Ok(Value::Float(v))
    }
    fn serialize_char(self, v: char) -> Done {
        Ok(Value::String(v.to_string()))
    }
    fn serialize_str(self, v: &str) -> Done {
        Ok(Value::String(v.to_owned()))
    }
    fn serialize_bytes(self, v: &[u8]) -> Done {
        Ok(Value::Bytes(v.to_vec()))
    }
    fn serialize_none(self) -> Done {
        Ok(Value::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Done {
        Ok(Value::Null)
    }
    fn serialize_unit_struct(self, _name: &'static str) -> Done {
        Ok(Value::Null)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Done {
        Ok(Value::String(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, v: &T) -> Done {
        Ok(special::marked(name, v.serialize(self)?))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        let mut fields = FieldsSerializer::map(self)?;
        fields.add(variant.to_owned(), value)?;
        Ok(Value::Map(fields.record))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListSerializer, TypedError> {
        ListSerializer::new(self, None, len)
    }
    fn serialize_tuple(self, len: usize) -> Result<ListSerializer, TypedError> {
        ListSerializer::new(self, None, Some(len))
    }
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        len: usize,
    ) -> Result<ListSerializer, TypedError> {
        ListSerializer::new(self, None, Some(len))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<ListSerializer, TypedError> {
        ListSerializer::new(self.inside()?, Some(variant), Some(len))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<FieldsSerializer, TypedError> {
        FieldsSerializer::map(self)
    }
    fn serialize_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<FieldsSerializer, TypedError> {
        if name == special::TAGGED {
            return Ok(FieldsSerializer {
                wrap: Wrap::Tagged,
                ..FieldsSerializer::unchecked(self)
            });
        }
        FieldsSerializer::map(self)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<FieldsSerializer, TypedError> {
        Ok(FieldsSerializer {
            wrap: Wrap::Variant(variant),
            ..FieldsSerializer::map(self.inside()?)?
        })
    }
}

fn integer_range(number: impl ToString) -> TypedError {
    TypedError::new(TypedProblem::IntegerRange {
        number: number.to_string(),
    })
}

fn variant_map(variant: &str, content: Value) -> Value {
    Value::Map(Record::from([(variant.to_owned(), content)]))
}

pub(super) struct ListSerializer {
    items: Vec<Value>,
    variant: Option<&'static str>,
    item: ValueSerializer,
}

impl ListSerializer {
    fn new(
        at: ValueSerializer,
        variant: Option<&'static str>,
        len: Option<usize>,
    ) -> Result<Self, TypedError> {
        Ok(Self {
            items: Vec::with_capacity(len.unwrap_or(0).min(1024)),
            variant,
            item: at.inside()?,
        })
    }

    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TypedError> {
        let index = self.items.len();
        let item = value
            .serialize(self.item)
            .map_err(|error| match self.variant {
                None => error.in_item(index),
                Some(variant) => error.in_item(index).in_field(variant),
            })?;
        self.items.push(item);
        Ok(())
    }

    fn done(self) -> Done {
        let list = Value::List(self.items);
        Ok(match self.variant {
            None => list,
            Some(variant) => variant_map(variant, list),
        })
    }
}

impl SerializeSeq for ListSerializer {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TypedError> {
        self.add(value)
    }
    fn end(self) -> Done {
        self.done()
    }
}

impl SerializeTuple for ListSerializer {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TypedError> {
        self.add(value)
    }
    fn end(self) -> Done {
        self.done()
    }
}

impl SerializeTupleStruct for ListSerializer {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TypedError> {
        self.add(value)
    }
    fn end(self) -> Done {
        self.done()
    }
}

impl SerializeTupleVariant for ListSerializer {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TypedError> {
        self.add(value)
    }
    fn end(self) -> Done {
        self.done()
    }
}

/// What the fields become at the end.
enum Wrap {
    Map,
    /// A map in a map under the variant's name.
    Variant(&'static str),
    /// One of the special values.
    Tagged,
}

pub(super) struct FieldsSerializer {
    record: Record,
    /// The key that waits for its value.
    key: Option<String>,
    wrap: Wrap,
    field: ValueSerializer,
}

impl FieldsSerializer {
    fn map(at: ValueSerializer) -> Result<Self, TypedError> {
        Ok(Self::unchecked(at.inside()?))
    }

    fn unchecked(field: ValueSerializer) -> Self {
        Self {
            record: Record::new(),
            key: None,
            wrap: Wrap::Map,
            field,
        }
    }

    fn add<T: Serialize + ?Sized>(&mut self, name: String, value: &T) -> Result<(), TypedError> {
        let result = match self.record.contains_key(&name) {
            true => Err(TypedError::new(TypedProblem::DuplicateName)),
            false => value.serialize(self.field),
        };
        match result {
            Ok(value) => {
                self.record.insert(name, value);
                Ok(())
            }
            Err(error) => Err(match self.wrap {
                Wrap::Map => error.in_field(&name),
                Wrap::Variant(variant) => error.in_field(&name).in_field(variant),
                Wrap::Tagged => error,
            }),
        }
    }

    fn done(self) -> Done {
        match self.wrap {
            Wrap::Map => Ok(Value::Map(self.record)),
            Wrap::Variant(variant) => Ok(variant_map(variant, Value::Map(self.record))),
            Wrap::Tagged => json::object(self.record.into_iter().collect())
                .map_err(|error| TypedError::new(TypedProblem::Type(error.to_string()))),
        }
    }
}

impl SerializeMap for FieldsSerializer {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), TypedError> {
        self.key = Some(key.serialize(KeySerializer)?);
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TypedError> {
        let missing = || TypedError::new(TypedProblem::Type("a map value without its key".into()));
        let key = self.key.take().ok_or_else(missing)?;
        self.add(key, value)
    }
    fn end(self) -> Done {
        self.done()
    }
}

impl SerializeStruct for FieldsSerializer {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), TypedError> {
        self.add(name.to_owned(), value)
    }
    fn end(self) -> Done {
        self.done()
    }
}

impl SerializeStructVariant for FieldsSerializer {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), TypedError> {
        self.add(name.to_owned(), value)
    }
    fn end(self) -> Done {
        self.done()
    }
}

/// Makes a field name of a map key.
struct KeySerializer;

type Key = Result<String, TypedError>;

fn not_a_key<T>(found: &'static str) -> Result<T, TypedError> {
    Err(TypedError::new(TypedProblem::Key { found }))
}

impl Serializer for KeySerializer {
    type Ok = String;
    type Error = TypedError;
    type SerializeSeq = Impossible<String, TypedError>;
    type SerializeTuple = Impossible<String, TypedError>;
    type SerializeTupleStruct = Impossible<String, TypedError>;
    type SerializeTupleVariant = Impossible<String, TypedError>;
    type SerializeMap = Impossible<String, TypedError>;
    type SerializeStruct = Impossible<String, TypedError>;
    type SerializeStructVariant = Impossible<String, TypedError>;

    fn serialize_bool(self, v: bool) -> Key {
        Ok(v.to_string())
    }
    fn serialize_i8(self, v: i8) -> Key {
        Ok(v.to_string())
    }
    fn serialize_i16(self, v: i16) -> Key {
        Ok(v.to_string())
    }
    fn serialize_i32(self, v: i32) -> Key {
        Ok(v.to_string())
    }
    fn serialize_i64(self, v: i64) -> Key {
        Ok(v.to_string())
    }
    fn serialize_i128(self, v: i128) -> Key {
        Ok(v.to_string())
    }
    fn serialize_u8(self, v: u8) -> Key {
        Ok(v.to_string())
    }
    fn serialize_u16(self, v: u16) -> Key {
        Ok(v.to_string())
    }
    fn serialize_u32(self, v: u32) -> Key {
        Ok(v.to_string())
    }
    fn serialize_u64(self, v: u64) -> Key {
        Ok(v.to_string())
    }
    fn serialize_u128(self, v: u128) -> Key {
        Ok(v.to_string())
    }
    fn serialize_f32(self, _: f32) -> Key {
        not_a_key("float")
    }
    fn serialize_f64(self, _: f64) -> Key {
        not_a_key("float")
    }
    fn serialize_char(self, v: char) -> Key {
        Ok(v.to_string())
    }
    fn serialize_str(self, v: &str) -> Key {
        Ok(v.to_owned())
    }
    fn serialize_bytes(self, _: &[u8]) -> Key {
        not_a_key("byte string")
    }
    fn serialize_none(self) -> Key {
        not_a_key("null")
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Key {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Key {
        not_a_key("null")
    }
    fn serialize_unit_struct(self, _: &'static str) -> Key {
        not_a_key("null")
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Key {
        Ok(variant.to_owned())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Key {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Key {
        not_a_key("enum variant with content")
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, TypedError> {
        not_a_key("list")
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, TypedError> {
        not_a_key("list")
    }
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, TypedError> {
        not_a_key("list")
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, TypedError> {
        not_a_key("enum variant with content")
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, TypedError> {
        not_a_key("map")
    }
    fn serialize_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStruct, TypedError> {
        not_a_key("map")
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, TypedError> {
        not_a_key("enum variant with content")
    }
}
