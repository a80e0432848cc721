//! The claims before a history begins: addresses that stay taken, and claims that were imported without the
//! interfaces of their containers.

use whereabouts_core::address::Name;
use whereabouts_core::claim::{Ask, Attachment, Owner, Want};

use super::knobs::Knobs;
use super::seats;
use crate::vocabulary::NodeId;

/// The interface of attachments that are there before a history begins, and that no runtime knows.
pub(crate) const HELD_BEFORE: &str = "before";

/// The attachment of that interface of a container in the network `net`.
pub(crate) fn attachment(container: &str, interface: &str) -> Attachment {
    Attachment {
        network: Name::new("net").expect("a name"),
        container: Name::new(container).expect("a name"),
        interface: interface.to_owned(),
    }
}

/// The containers of a node whose claims were imported.
pub(crate) fn containers(knobs: &Knobs, node: NodeId) -> Vec<String> {
    let named = |number| seats::container(knobs.seats, format!("n{}-import-{number}", node.0));
    (0..knobs.shape.imported_per_node()).map(named).collect()
}

/// The requests of all claims that exist before a history begins.
pub(crate) fn asks(knobs: &Knobs) -> Vec<Ask> {
    let configs = knobs.shape.configs();
    let ranges = configs.last().expect("at least one");
    let ask = |attachment, owner| Ask {
        attachment,
        wants: ranges.iter().map(Want::lowest).collect(),
        owner,
        may_take_over: false,
    };
    let held = (0..knobs.shape.held_before()).map(|number| {
        ask(
            attachment(&format!("b{number}"), HELD_BEFORE),
            Owner::default(),
        )
    });
    let imported = (0..knobs.nodes).map(NodeId).flat_map(|node| {
        let owner = Owner {
            node: knobs.name_of(node),
            ..Owner::default()
        };
        let containers = containers(knobs, node).into_iter();
        containers.map(move |name| {
            let nameless = attachment(&name, "eth0").without_interface();
            ask(nameless, owner.clone())
        })
    });
    held.chain(imported).collect()
}
