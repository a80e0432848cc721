//! Deterministic simulation of many nodes that allocate at once.
