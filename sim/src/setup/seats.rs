//! Containers whose attachments share seats. Real queues have so many seats that those of a history would
//! hardly ever meet at one.

use std::cell::RefCell;
use std::collections::BTreeMap;

use whereabouts_core::address::Name;
use whereabouts_core::claim::Attachment;
use whereabouts_store::keys::Spot;

thread_local! {
    /// The numbers found before. One history's names are those of the next.
    static FOUND: RefCell<BTreeMap<(u16, String), u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// The container of that name, in one of the seats that a history has, if it has but few.
pub(crate) fn container(seats: Option<u16>, name: String) -> String {
    match seats {
        Some(seats) => within(seats, &name),
        None => name,
    }
}

/// A name that begins with `name`, of a container whose `eth0` in the network `net` has one of the first
/// `seats`.
pub(crate) fn within(seats: u16, name: &str) -> String {
    let key = (seats, name.to_owned());
    let number = FOUND.with_borrow_mut(|found| {
        *found.entry(key).or_insert_with(|| {
            let sits = |number: &u64| of(&numbered(name, *number)) < seats;
            (0..u64::MAX).find(sits).expect("some name has such a seat")
        })
    });
    numbered(name, number)
}

fn numbered(name: &str, number: u64) -> String {
    format!("{name}-{number}")
}

/// The seat of a container's `eth0` in the network `net`.
pub(crate) fn of(container: &str) -> u16 {
    Spot::number_of(&Attachment {
        network: Name::new("net").expect("a name"),
        container: Name::new(container).expect("a name"),
        interface: "eth0".to_owned(),
    })
}
