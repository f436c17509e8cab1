//! Declarations of collections.

use crate::error::thrown;
use crate::value::{self, Place};
use headwater::{CollectionSchema, DeleteRule, FieldType, LakeColumn, Policy, TYPE_NAMES};
use wasm_bindgen::JsValue;

/// A schema from an object of `fields`, `partitions`, `delete` and `version`, each of which may be left out.
pub(crate) fn schema(from: &JsValue) -> Result<CollectionSchema, JsValue> {
    let place = Place::argument("schema");
    let mut schema = CollectionSchema::new();
    for (name, part) in object(from, &place)? {
        if part.is_undefined() {
            continue;
        }
        match name.as_str() {
            "fields" => {
                for (name, declared) in object(&part, &Place::argument("schema.fields"))? {
                    schema = field(schema, name, &declared)?;
                }
            }
            "partitions" => schema = schema.partitions(whole(&part, "partitions")?),
            "version" => schema = schema.version(whole(&part, "version")?),
            "delete" => schema = schema.delete(delete_rule(&part)?),
            other => return Err(bad(&format!("a schema has no {other:?}"))),
        }
    }
    Ok(schema)
}

/// A field is declared with its type alone, or with any of a type, a policy and a column.
fn field(
    mut schema: CollectionSchema,
    name: String,
    declared: &JsValue,
) -> Result<CollectionSchema, JsValue> {
    if declared.is_undefined() {
        return Ok(schema);
    }
    if let Some(kind) = declared.as_string() {
        return Ok(schema.field(name, field_type(&kind)?));
    }
    let place = Place::argument(&format!("schema.fields.{name}"));
    for (part, given) in object(declared, &place)? {
        if given.is_undefined() {
            continue;
        }
        let text = |given: &JsValue| value::string(given, &place);
        schema = match part.as_str() {
            "type" => schema.field(name.clone(), field_type(&text(&given)?)?),
            "policy" => schema.policy(name.clone(), policy(&text(&given)?)?),
            "column" if given == JsValue::FALSE => schema.column(name.clone(), LakeColumn::Hidden),
            "column" => match given.as_string() {
                Some(column) => schema.column(name.clone(), column),
                None => return Err(bad(&format!("the column of {name:?} is a name or false"))),
            },
            other => {
                let message =
                    format!("field {name:?} has a type, a policy and a column, but no {other:?}");
                return Err(bad(&message));
            }
        };
    }
    Ok(schema)
}

fn object(value: &JsValue, place: &Place) -> Result<Vec<(String, JsValue)>, JsValue> {
    let object = value::plain_object(value).ok_or_else(|| {
        place.error(&format!(
            "must be a plain object, not {}",
            value::kind(value)
        ))
    })?;
    value::fields(&object, place)
}

fn whole(value: &JsValue, name: &str) -> Result<u32, JsValue> {
    match value.as_f64() {
        Some(number) if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number) => {
            Ok(number as u32)
        }
        _ => Err(bad(&format!("{name} is an integer from 0 to {}", u32::MAX))),
    }
}

fn field_type(name: &str) -> Result<FieldType, JsValue> {
    match FieldType::of_name(name) {
        FieldType::Other(unknown) => {
            Err(bad(&format!("{unknown:?} is not a type; use {TYPE_NAMES}")))
        }
        known => Ok(known),
    }
}

/// What a declared column is in JavaScript: its name, or false.
pub(crate) fn column_value(column: &LakeColumn) -> JsValue {
    match column {
        LakeColumn::Named(name) => name.into(),
        LakeColumn::Hidden => JsValue::FALSE,
    }
}

fn policy(name: &str) -> Result<Policy, JsValue> {
    match Policy::of_name(name) {
        Policy::Other(unknown) => Err(bad(&format!(
            "{unknown:?} is not a policy; use last-writer, max, min, union, keep-all or custom:NAME@VERSION"
        ))),
        known => Ok(known),
    }
}

fn delete_rule(value: &JsValue) -> Result<DeleteRule, JsValue> {
    match value.as_string().as_deref() {
        Some("edit-wins") => Ok(DeleteRule::EditWins),
        Some("delete-wins") => Ok(DeleteRule::DeleteWins),
        other => {
            let found = other.map_or_else(|| value::kind(value), |name| format!("{name:?}"));
            let message = format!("delete is edit-wins or delete-wins, not {found}");
            Err(bad(&message))
        }
    }
}

fn bad(message: &str) -> JsValue {
    thrown("bad-argument", message)
}
