//! Benchmarks of Headwater against its peers
