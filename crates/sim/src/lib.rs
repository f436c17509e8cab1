//! Seeded simulation of Headwater peers: generated programs, networks and faults
