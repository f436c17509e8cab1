//! Errors as JavaScript throws them.

use headwater::storage::StorageError;
use headwater::{Error, WriteError};
use js_sys::Reflect;
use wasm_bindgen::JsValue;

/// A JavaScript `Error` named `HeadwaterError`, with a code that programs can rely on.
pub(crate) fn thrown(code: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    error.set_name("HeadwaterError");
    // Setting a property of an object that was just made cannot fail.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

/// An error of the engine's as JavaScript throws it.
pub(crate) fn of_engine(error: Error) -> JsValue {
    thrown(code(&error), &error.to_string())
}

fn code(error: &Error) -> &'static str {
    match error {
        Error::Storage(StorageError::Full { .. }) => "storage-full",
        Error::Storage(StorageError::Blocked { .. } | StorageError::Locked { .. }) => {
            "storage-blocked"
        }
        Error::Storage(StorageError::Corrupt { .. }) => "storage-corrupt",
        Error::Storage(StorageError::Closed { .. }) | Error::Closed => "closed",
        Error::Storage(_) => "storage-failed",
        Error::Write(refused) => code_of_write(refused),
        Error::Typed(_) => "bad-value",
        Error::NotSaved { .. } => "not-saved",
        Error::UnknownName { .. } => "unknown-name",
        Error::NameTaken { .. } => "name-taken",
        Error::BadUrl { .. } => "bad-url",
        Error::Denied { .. } => "denied",
        Error::NotInSync { .. } => "not-in-sync",
        _ => "internal",
    }
}

fn code_of_write(refused: &WriteError) -> &'static str {
    match refused {
        WriteError::Key { .. } => "bad-key",
        WriteError::CollectionName { .. } => "bad-collection",
        WriteError::Partitions { .. } => "bad-argument",
        WriteError::NotFound { .. } => "not-found",
        WriteError::TypeMismatch { .. } => "type-mismatch",
        WriteError::WrongKind { .. } => "wrong-kind",
        WriteError::OutOfRange { .. } => "out-of-range",
        WriteError::CounterOverflow { .. } => "counter-overflow",
        WriteError::NothingToSettle { .. } => "nothing-to-settle",
        WriteError::NothingToUndo { .. } => "nothing-to-undo",
        WriteError::NotTheAuthor { .. } => "not-the-author",
        WriteError::NotARecord { .. } => "bad-value",
        WriteError::TooDeep { .. } => "too-deep",
        WriteError::TooLarge { .. } | WriteError::TooManyOperations { .. } => "too-large",
        // Of transactions, which JavaScript does not make.
        WriteError::Changed { .. }
        | WriteError::UnknownVersion { .. }
        | WriteError::Repeated { .. } => "bad-argument",
        WriteError::OneOf { source, .. } => code_of_write(source),
        WriteError::Internal { .. } => "internal",
    }
}
