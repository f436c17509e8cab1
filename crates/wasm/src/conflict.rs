//! Conflicts as plain objects, and how to settle them.

use crate::read::{self, author, object};
use crate::value::{self, Place, kind};
use headwater::{Claim, ClaimId, Conflict, ConflictEvent, Settlement, Value};
use js_sys::Array;
use wasm_bindgen::JsValue;

/// Conflicts as an array.
pub(crate) fn list(conflicts: &[Conflict]) -> Array {
    conflicts.iter().map(conflict).collect()
}

/// What a subscriber is told.
pub(crate) fn event(event: &ConflictEvent) -> JsValue {
    object([
        ("collection", (&event.collection).into()),
        ("key", (&event.key).into()),
        ("open", list(&event.open).into()),
    ])
}

fn conflict(conflict: &Conflict) -> JsValue {
    let losers: Array = conflict.losers.iter().map(claim).collect();
    let winner = conflict.winner.as_ref();
    object([
        ("collection", (&conflict.collection).into()),
        ("key", (&conflict.key).into()),
        ("field", path(&conflict.field).into()),
        ("kind", conflict.kind.name().into()),
        ("policy", (&conflict.policy).into()),
        ("shown", optional(conflict.shown.as_ref())),
        ("winner", winner.map_or(JsValue::UNDEFINED, claim)),
        ("losers", losers.into()),
        ("resolved", conflict.resolved.into()),
    ])
}

fn claim(claim: &Claim) -> JsValue {
    object([
        ("id", claim.id.to_string().into()),
        ("value", optional(claim.value.as_ref())),
        ("by", claim.by.as_ref().map_or(JsValue::UNDEFINED, author)),
    ])
}

fn optional(found: Option<&Value>) -> JsValue {
    found.map_or(JsValue::UNDEFINED, read::value)
}

/// The path of a field as an array.
pub(crate) fn path(path: &[String]) -> Array {
    path.iter().map(JsValue::from).collect()
}

/// The path of a field from an array.
pub(crate) fn path_from(path: &Array) -> Result<Vec<String>, JsValue> {
    let place = Place::argument("field");
    path.iter()
        .map(|name| value::string(&name, &place))
        .collect()
}

/// `{ accept: true }`, `{ keep: id }` or `{ write: value }`.
pub(crate) fn settlement(how: &JsValue) -> Result<Settlement, JsValue> {
    let mut place = Place::argument("settlement");
    let object = value::plain_object(how)
        .ok_or_else(|| place.error(&format!("must be a plain object, not {}", kind(how))))?;
    let fields = value::fields(&object, &place)?;
    match fields.as_slice() {
        [(name, accepted)] if name == "accept" && accepted.is_truthy() => Ok(Settlement::Accept),
        [(name, id)] if name == "keep" => {
            let id = place.within(how, ".keep", |place| value::string(id, place))?;
            Ok(Settlement::Keep(ClaimId(id)))
        }
        [(name, new)] if name == "write" => {
            let new = place.within(how, ".write", |place| value::value(new, place))?;
            Ok(Settlement::Write(new))
        }
        _ => Err(place.error("must be { accept: true }, { keep: ID } or { write: VALUE }")),
    }
}
