//! The plugin.

fn main() {}
