//! Headwater for JavaScript: bindings over the headwater crate
