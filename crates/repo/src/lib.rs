//! A local-first replication engine: records edited offline, merged as CRDTs, never lost

pub mod storage;
