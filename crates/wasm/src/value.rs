//! JavaScript's values as Headwater's. What has no exact form is an error that names where it stands.

use crate::error::thrown;
use headwater::{Record, Value};
use js_sys::{Array, Date, JsString, Object, Reflect, Symbol, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

/// The largest integer that a JavaScript number holds without doubt.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;
/// Deeper than any record may nest, so that a deep value gets the engine's error instead of a full stack.
const MAX_DEPTH: usize = 100;

/// Where in the argument a value stands, and what encloses it.
#[derive(Default)]
pub(crate) struct Place {
    path: String,
    enclosing: Vec<JsValue>,
}

impl Place {
    /// The argument of this name.
    pub fn argument(name: &str) -> Self {
        Self {
            path: name.to_owned(),
            enclosing: Vec::new(),
        }
    }

    /// Runs `read` one step further inside `object`.
    pub fn within<T>(
        &mut self,
        object: &JsValue,
        step: &str,
        read: impl FnOnce(&mut Self) -> Result<T, JsValue>,
    ) -> Result<T, JsValue> {
        if self.enclosing.contains(object) {
            return Err(self.error("contains itself"));
        }
        if self.enclosing.len() >= MAX_DEPTH {
            return Err(self.error("nests too deep; flatten the record"));
        }
        let length = self.path.len();
        self.path.push_str(step);
        self.enclosing.push(object.clone());
        let result = read(self);
        self.enclosing.pop();
        self.path.truncate(length);
        result
    }

    /// An error about the value here.
    pub fn error(&self, problem: &str) -> JsValue {
        thrown("bad-value", &format!("{} {problem}", self.path))
    }
}

/// The kind of a wrapped value, such as `text`; `None` for a plain one.
pub(crate) fn wrapper(value: &JsValue) -> Option<String> {
    if !value.is_object() {
        return None;
    }
    let kind = Reflect::get(value, &Symbol::for_("headwater")).ok()?;
    kind.as_string()
}

/// A property that a wrapper carries.
pub(crate) fn property(value: &JsValue, name: &str) -> JsValue {
    Reflect::get(value, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

/// A record from a plain object.
pub(crate) fn record(value: &JsValue, place: &mut Place) -> Result<Record, JsValue> {
    let object = plain_object(value)
        .ok_or_else(|| place.error(&format!("must be a plain object, not {}", kind(value))))?;
    map(&object, place)
}

/// One value.
pub(crate) fn value(value: &JsValue, place: &mut Place) -> Result<Value, JsValue> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    if let Some(truth) = value.as_bool() {
        return Ok(Value::Bool(truth));
    }
    if let Some(number) = value.as_f64() {
        return Ok(of_number(number));
    }
    if value.is_bigint() {
        return of_bigint(value, place);
    }
    if value.is_string() {
        return string(value, place).map(Value::String);
    }
    if let Some(date) = value.dyn_ref::<Date>() {
        let at = date.get_time();
        return if at.is_finite() {
            Ok(Value::Timestamp(at as i64))
        } else {
            Err(place.error("is an invalid Date"))
        };
    }
    if let Some(bytes) = value.dyn_ref::<Uint8Array>() {
        return Ok(Value::Bytes(bytes.to_vec()));
    }
    if Array::is_array(value) {
        return list(value.unchecked_ref(), place).map(Value::List);
    }
    match wrapper(value).as_deref() {
        Some("text") => return string(&property(value, "text"), place).map(Value::Text),
        Some("counter") => {
            return integer(&property(value, "value"), place).map(Value::Counter);
        }
        Some(edit) => return Err(place.error(&format!("is {edit}(), which only a patch takes"))),
        None => {}
    }
    match plain_object(value) {
        Some(object) => map(&object, place).map(Value::Map),
        None => Err(place.error(&format!(
            "is {}, which has no form as a value; use null, booleans, numbers, bigints, strings, Date, Uint8Array, \
             arrays or plain objects",
            kind(value)
        ))),
    }
}

/// The elements of an array.
pub(crate) fn list(array: &Array, place: &mut Place) -> Result<Vec<Value>, JsValue> {
    let items = array.iter().enumerate();
    items
        .map(|(index, item)| {
            place.within(array, &format!("[{index}]"), |place| value(&item, place))
        })
        .collect()
}

/// A string, unless it is not Unicode.
pub(crate) fn string(value: &JsValue, place: &Place) -> Result<String, JsValue> {
    let Some(text) = value.as_string() else {
        return Err(place.error(&format!("must be a string, not {}", kind(value))));
    };
    // Half of a surrogate pair arrives as a replacement character, so only then is it worth a closer look.
    let unicode = !text.contains('\u{fffd}')
        || value
            .dyn_ref::<JsString>()
            .is_some_and(JsString::is_valid_utf16);
    if unicode {
        Ok(text)
    } else {
        Err(place.error("has half of a surrogate pair, which is not Unicode"))
    }
}

/// A 64-bit integer from a number or a bigint.
pub(crate) fn integer(value: &JsValue, place: &Place) -> Result<i64, JsValue> {
    let found = match value.as_f64() {
        Some(number) => Some(of_number(number)),
        None if value.is_bigint() => Some(of_bigint(value, place)?),
        None => None,
    };
    match found {
        Some(Value::Int(integer)) => Ok(integer),
        _ => Err(place.error("must be an integer of 64 bits; use a bigint above 2^53")),
    }
}

/// The entries of a plain object; one whose value is `undefined` counts as absent.
fn map(object: &Object, place: &mut Place) -> Result<Record, JsValue> {
    let mut record = Record::new();
    for (name, field) in fields(object, place)? {
        if field.is_undefined() {
            continue;
        }
        let field = place.within(object, &format!(".{name}"), |place| value(&field, place))?;
        record.insert(name, field);
    }
    Ok(record)
}

/// The names and values of a plain object.
pub(crate) fn fields(object: &Object, place: &Place) -> Result<Vec<(String, JsValue)>, JsValue> {
    if Object::get_own_property_symbols(object).length() > 0 {
        return Err(place.error("has a symbol for a name; names are strings"));
    }
    let names = Object::keys(object);
    names
        .iter()
        .map(|name| {
            let field = Reflect::get(object, &name)?;
            Ok((string(&name, place)?, field))
        })
        .collect()
}

/// The object, if it is neither of a class nor a function.
pub(crate) fn plain_object(value: &JsValue) -> Option<Object> {
    if !value.is_object() || Array::is_array(value) {
        return None;
    }
    let object: &Object = value.unchecked_ref();
    let prototype: JsValue = Reflect::get_prototype_of(object).ok()?.into();
    // That of plain objects is the end of the chain, in every frame.
    let plain = prototype.is_null()
        || Reflect::get_prototype_of(&prototype).is_ok_and(|next| JsValue::from(next).is_null());
    plain.then(|| object.clone())
}

fn of_number(number: f64) -> Value {
    let negative_zero = number == 0.0 && number.is_sign_negative();
    if number.fract() == 0.0 && number.abs() <= MAX_SAFE_INTEGER && !negative_zero {
        Value::Int(number as i64)
    } else {
        Value::Float(number)
    }
}

fn of_bigint(value: &JsValue, place: &Place) -> Result<Value, JsValue> {
    if let Ok(integer) = i64::try_from(value.clone()) {
        return Ok(Value::Int(integer));
    }
    u64::try_from(value.clone())
        .map(Value::from)
        .map_err(|_| place.error("is a bigint outside 64 bits; write it as a string"))
}

/// What it is, in words for an error message.
pub(crate) fn kind(value: &JsValue) -> String {
    if value.is_null() {
        return "null".to_owned();
    }
    if !value.is_object() {
        let kind = value.js_typeof().as_string().unwrap_or_default();
        return match kind.as_str() {
            "undefined" => kind,
            _ => format!("a {kind}"),
        };
    }
    let class = Reflect::get(value, &"constructor".into())
        .and_then(|class| Reflect::get(&class, &"name".into()))
        .ok()
        .and_then(|name| name.as_string());
    match class {
        Some(class) if !class.is_empty() => format!("an instance of {class}"),
        _ => "an object of a class".to_owned(),
    }
}
