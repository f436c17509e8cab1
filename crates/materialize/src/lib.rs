//! Keeps merged records as typed tables of newline-delimited JSON that Apache Drill queries
