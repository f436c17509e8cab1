//! What a collection declares, from the type of its records.

use crate::catalog::{CollectionSchema, FieldType};
use crate::typed::{Bytes, Counter, Text, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A type of records, from which what a collection declares is known.
///
/// `#[derive(Schema)]` on a struct with serde's traits declares a type for each field, under the name that serde gives it.
/// Fields that serde skips or flattens are left out.
///
/// | Attribute | |
/// | --- | --- |
/// | `#[schema(version = 2)]` on the struct | the application's number for this schema |
/// | `#[schema(delete = "delete-wins")]` on the struct | the delete rule |
/// | `#[schema(policy = "max")]` on a field | its [`Policy`](crate::Policy), by name |
/// | `#[schema(kind = "timestamp")]` on a field | its [`FieldType`], by name, instead of the one of its Rust type |
/// | `#[schema(untyped)]` on a field | no type is declared |
/// | `#[schema(column = "headline")]` on a field | the name of its column in the tables that Drill queries |
/// | `#[schema(no_column)]` on a field | it has no column there |
pub trait Schema {
    /// What a collection of such records declares.
    fn schema() -> CollectionSchema;
}

/// The declared type of a field of this Rust type.
pub trait FieldKind {
    /// `None` if values of several types may stand there.
    fn kind() -> Option<FieldType>;
}

macro_rules! kinds {
    ($($kind:ident: $($rust:ty),+;)+) => {
        $($(impl FieldKind for $rust {
            fn kind() -> Option<FieldType> {
                Some(FieldType::$kind)
            }
        })+)+
    };
}

kinds! {
    Bool: bool;
    Int: i8, i16, i32, i64, isize, u8, u16, u32, u64, usize;
    Float: f32, f64;
    String: String, char;
    Text: Text;
    Counter: Counter;
    Timestamp: Timestamp;
    Bytes: Bytes;
}

impl<T: FieldKind> FieldKind for Option<T> {
    fn kind() -> Option<FieldType> {
        T::kind()
    }
}

impl<T: FieldKind> FieldKind for Box<T> {
    fn kind() -> Option<FieldType> {
        T::kind()
    }
}

macro_rules! containers {
    ($($kind:ident: $($rust:ident<$($parameter:ident),+>),+;)+) => {
        $($(impl<$($parameter),+> FieldKind for $rust<$($parameter),+> {
            fn kind() -> Option<FieldType> {
                Some(FieldType::$kind)
            }
        })+)+
    };
}

containers! {
    List: Vec<T>, BTreeSet<T>, HashSet<T>;
    Map: BTreeMap<K, V>, HashMap<K, V>;
}

impl FieldKind for crate::Value {
    fn kind() -> Option<FieldType> {
        None
    }
}
