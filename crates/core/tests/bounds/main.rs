//! The bounded check of automerge's chunks: what automerge writes passes, what it would fail on does not.

mod bombs;
mod build;
mod corpus;
mod fit;
mod mutations;
