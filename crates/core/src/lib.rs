//! Headwater's data model: databases, records and how concurrent edits merge; no I/O and no clock
