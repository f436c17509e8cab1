//! Examples of Headwater: `embedded` (an application on the crate alone), `native-peer` (a peer that is told what to do
//! line by line) and `field-app` (a browser app, in its folder).

/// What the README shows works as it stands.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
