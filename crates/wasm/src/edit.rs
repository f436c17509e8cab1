//! Patches: plain values are set, wrapped ones say what else to do.

use crate::value::{self, Place, kind, property, wrapper};
use headwater::{Edit, Patch};
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
        Some("spliceList") => {
            let insert = property(field, "insert");
            if !Array::is_array(&insert) {
                return Err(place.error("needs an array of elements to insert"));
            }
            Ok(Edit::SpliceList {
                at: count(field, "at", place)?,
                delete: count(field, "delete", place)?,
                insert: value::list(insert.unchecked_ref(), place)?,
            })
        }
        Some("merge") => {
            let fields = property(field, "fields");
            patch(&fields, place).map(Edit::Merge)
        }
        _ => value::value(field, place).map(Edit::Set),
    }
}

fn count(field: &JsValue, name: &str, place: &Place) -> Result<usize, JsValue> {
    let count = value::integer(&property(field, name), place)?;
    usize::try_from(count)
        .map_err(|_| place.error(&format!("has {count} for {name}, which is less than 0")))
}
