//! Addresses that a config or a request states.

use whereabouts_core::address::Address;

use super::json::Text;
use super::notation::Host;

/// An address that a config or a request states.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stated {
    /// The key, and the text of the address.
    pub(super) text: Text,
    /// The address.
    pub(super) address: Address,
    /// The prefix length, if the text has one.
    pub(super) length: Option<u8>,
    /// The gateway, if the address has one of its own.
    pub(super) gateway: Option<Address>,
}

impl Stated {
    /// An address without a gateway of its own.
    pub(super) fn new(text: Text, host: Host) -> Self {
        Self {
            text,
            address: host.address,
            length: host.length,
            gateway: None,
        }
    }
}
