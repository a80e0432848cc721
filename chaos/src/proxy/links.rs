//! The links between parties: whether, and when, bytes of one party reach another. Pure but for telling the proxies.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

/// Somebody who sends or is sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// All clients of the cluster.
    Clients,
    /// A member of the cluster, by its number.
    Member(usize),
    /// An API server, by its number.
    Server(usize),
}

/// Whether bytes pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passage {
    /// They do.
    #[default]
    Open,
    /// They are kept, and delivered once the link is open again, as TCP does over a cut cable.
    /// Nobody is told.
    Held,
    /// Connections are reset, old ones and new ones.
    Reset,
    /// So many chunks pass; of the next one half does, and then the connection is reset. Counted
    /// over all connections of a proxy.
    ResetAfter(u32),
}

/// One direction between two parties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// How long each byte is on its way.
    pub delay: Duration,
    /// Whether it arrives.
    pub passage: Passage,
}

impl Link {
    /// A link that delivers everything after `delay`.
    pub fn delayed(delay: Duration) -> Self {
        Self {
            delay,
            passage: Passage::Open,
        }
    }

    /// A link without delay with this passage.
    pub fn with(passage: Passage) -> Self {
        Self {
            delay: Duration::ZERO,
            passage,
        }
    }
}

/// All links that are not as they should be, by sender and receiver.
type Troubled = BTreeMap<(Party, Party), Link>;

/// The links between all parties, each direction by itself. Clones are the same links; a change
/// takes effect at once on connections that exist.
#[derive(Clone, Debug)]
pub struct Links(watch::Sender<Troubled>);

impl Default for Links {
    fn default() -> Self {
        Self(watch::Sender::new(Troubled::new()))
    }
}

impl Links {
    /// Sets what happens on the way from `from` to `to`.
    pub fn set(&self, from: Party, to: Party, link: Link) {
        self.0.send_modify(|troubled| {
            if link == Link::default() {
                troubled.remove(&(from, to));
            } else {
                troubled.insert((from, to), link);
            }
        });
    }

    /// Sets both directions between two parties.
    pub fn set_both(&self, one: Party, other: Party, link: Link) {
        self.set(one, other, link);
        self.set(other, one, link);
    }

    /// Lets everything pass at once.
    pub fn heal(&self) {
        self.0.send_modify(Troubled::clear);
    }

    pub(super) fn direction(&self, from: Party, to: Party) -> Direction {
        Direction {
            troubled: self.0.subscribe(),
            ends: (from, to),
        }
    }
}

/// One direction, as a connection sees it.
#[derive(Clone, Debug)]
pub(super) struct Direction {
    troubled: watch::Receiver<Troubled>,
    ends: (Party, Party),
}

impl Direction {
    /// The link as it is now.
    pub(super) fn link(&self) -> Link {
        let troubled = self.troubled.borrow();
        troubled.get(&self.ends).copied().unwrap_or_default()
    }

    /// Ends when bytes pass, or the connection must be reset: the link as it is then.
    pub(super) async fn not_held(&mut self) -> Link {
        self.changed_to(|passage| passage != Passage::Held).await;
        self.link()
    }

    /// Ends when connections are to be reset.
    pub(super) async fn is_reset(&mut self) {
        self.changed_to(|passage| passage == Passage::Reset).await;
    }

    async fn changed_to(&mut self, wanted: impl Fn(Passage) -> bool) {
        let ends = self.ends;
        let is_so = |troubled: &Troubled| {
            let link = troubled.get(&ends).copied().unwrap_or_default();
            wanted(link.passage)
        };
        let links_are_gone = self.troubled.wait_for(is_so).await.is_err();
        assert!(
            !links_are_gone,
            "a proxy keeps the links of its connections"
        );
    }
}
