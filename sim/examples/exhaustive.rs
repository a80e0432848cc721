//! Explores all small worlds and prints what was found.
fn main() {
    let only = std::env::args().nth(1);
    let begun = std::time::Instant::now();
    let report = whereabouts_sim::exhaustive::run(2, |scenario| {
        only.as_ref()
            .is_none_or(|only| scenario.name.contains(only.as_str()))
    });
    println!("{report}{:?}", begun.elapsed());
}
