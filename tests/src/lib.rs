//! Whole-system tests of Headwater
