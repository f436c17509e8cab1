//! Patches: plain values are set, wrapped ones say what else to do.

use crate::value::{self, Place, kind, property, wrapper};
use headwater::{Edit, Patch, Value};
use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};

/// A patch from a plain object.
pub(crate) fn patch(patch: &JsValue, place: &mut Place) -> Result<Patch, JsValue> {
    let Some(object) = value::plain_object(patch) else {
        return Err(place.error(&format!("must be a plain object, not {}", kind(patch))));
    };
    let fields = value::fields(&object, place)?.into_iter();
    fields
        .map(|(name, field)| {
            let edit = place.within(&object, &format!(".{name}"), |place| edit(&field, place))?;
            Ok((name, edit))
        })
        .collect()
}

fn edit(field: &JsValue, place: &mut Place) -> Result<Edit, JsValue> {
    if field.is_undefined() {
        return Err(place.error("is undefined; leave it out, or use `remove` to remove the field"));
    }
    match wrapper(field).as_deref() {
        Some("remove") => Ok(Edit::Remove),
        Some("increment") => Ok(Edit::Increment(value::integer(
            &property(field, "by"),
            place,
        )?)),
        Some("splice") => Ok(Edit::Splice {
            at: count(field, "at", place)?,
            delete: count(field, "delete", place)?,
            insert: value::string(&property(field, "insert"), place)?,
        }),
        Some("spliceList") => Ok(Edit::SpliceList {
            at: count(field, "at", place)?,
            delete: count(field, "delete", place)?,
            insert: elements(field, "insert", place)?,
        }),
        Some("reset") => value::value(&property(field, "value"), place).map(Edit::Reset),
        Some("add") => elements(field, "values", place).map(Edit::Add),
        Some("discard") => elements(field, "values", place).map(Edit::Discard),
        Some("merge") => {
            let fields = property(field, "fields");
            patch(&fields, place).map(Edit::Merge)
        }
        _ => value::value(field, place).map(Edit::Set),
    }
}

fn elements(field: &JsValue, name: &str, place: &mut Place) -> Result<Vec<Value>, JsValue> {
    let elements = property(field, name);
    if !Array::is_array(&elements) {
        return Err(place.error("needs an array of elements"));
    }
    value::list(elements.unchecked_ref(), place)
}

fn count(field: &JsValue, name: &str, place: &Place) -> Result<usize, JsValue> {
    let count = value::integer(&property(field, name), place)?;
    usize::try_from(count)
        .map_err(|_| place.error(&format!("has {count} for {name}, which is less than 0")))
}
