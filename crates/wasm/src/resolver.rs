//! Custom functions: JavaScript that makes one value of several.

use crate::error::thrown;
use crate::read;
use crate::value::{self, Place};
use headwater::{Policy, Resolver, Value};
use js_sys::{Array, Function};
use std::cell::Cell;
use std::sync::Arc;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str, error: &JsValue);
}

thread_local! {
    /// Whether a resolver runs: the database is locked meanwhile.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// An error inside of a resolver, which has to decide by its values alone.
pub(crate) fn not_inside() -> Result<(), JsValue> {
    if RUNNING.get() {
        let message = "a resolver decides by the values that it gets; it cannot use the database";
        return Err(thrown("bad-argument", message));
    }
    Ok(())
}

/// Resolvers by name and version, from pairs such as `longest@1` and a function.
pub(crate) fn all(pairs: &Array) -> Result<Vec<(String, u32, Resolver)>, JsValue> {
    pairs.iter().map(|pair| one(&Array::from(&pair))).collect()
}

fn one(pair: &Array) -> Result<(String, u32, Resolver), JsValue> {
    let id = value::string(&pair.get(0), &Place::argument("resolvers"))?;
    let Policy::Custom { name, version } = Policy::of_name(&format!("custom:{id}")) else {
        let message = format!("{id:?} names no resolver; use a name and a version: longest@1");
        return Err(thrown("bad-argument", &message));
    };
    let function = pair.get(1).dyn_into::<Function>().map_err(|other| {
        let message = format!(
            "resolver {id} must be a function, not {}",
            value::kind(&other)
        );
        thrown("bad-argument", &message)
    })?;
    let reported = Cell::new(false);
    let resolver = move |values: &[Value]| {
        let error = match call(&id, &function, values) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        // Records are read again and again: once is enough.
        if !reported.replace(true) {
            let message = format!(
                "The resolver {id} failed, which is not reported again; the last writer's value is shown, unresolved:"
            );
            console_error(&message, &error);
        }
        None
    };
    Ok((name, version, Arc::new(resolver)))
}

fn call(id: &str, function: &Function, values: &[Value]) -> Result<Value, JsValue> {
    let shown: Array = values.iter().map(read::value).collect();
    let outer = RUNNING.replace(true);
    let called = function.call1(&JsValue::UNDEFINED, &shown);
    RUNNING.set(outer);
    let mut place = Place::argument(&format!("the result of {id}"));
    let made = value::value(&called?, &mut place)?;
    // JavaScript does not tell a text from a string, nor a counter from a number: one of the values is given back as it is.
    let is_made = |candidate: &&Value| {
        value::value(&read::value(candidate), &mut place).is_ok_and(|shown| shown == made)
    };
    Ok(values.iter().rev().find(is_made).cloned().unwrap_or(made))
}
