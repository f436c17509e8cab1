//! Seeded simulation of Headwater peers: concurrent programs, their delivery in any order, and what must hold after.
//!
//! [`run`] plays one program: a few peers write to the same handful of records while their changes travel late, twice,
//! out of order and in batches, and some peers restart from what they stored. The program is a function of its seed.
//! An [`Oracle`](oracle::Oracle) that knows nothing of automerge follows who had seen which write and says what the
//! merged records may hold. [`Coverage`] counts the conflicts that really came about.

pub mod acts;
pub mod coverage;
pub mod declared;
pub mod exact;
pub mod field;
pub mod generate;
pub mod laws;
pub mod meetings;
pub mod model;
pub mod oracle;
pub mod order;
pub mod peer;
pub mod program;
pub mod register;
pub mod rng;
pub mod ruled;
pub mod sets;
pub mod undo;

pub use coverage::Coverage;
pub use program::{Failure, run};
