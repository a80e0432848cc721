//! How a person says which pool and which claims are meant, and the search for them.

use std::net::IpAddr;

use clap::Args;
use ipnet::IpNet;
use whereabouts_core::address::Pool;
use whereabouts_core::claim::{Attachment, Claim};
use whereabouts_core::registry::Scope;

use crate::connection::Connection;
use crate::output::say;
use crate::output::shown::Shown;
use crate::output::shown_owner::ShownOwner;

/// The text of a selection. Text without a character would select everything, or the pool and node that have no
/// name: a script whose variable is empty must not do that.
pub(crate) fn selector(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        Err("it is empty, and would select anything")
    } else {
        Ok(text.to_owned())
    }
}

/// The same for a pod's name, which may end in `*`.
fn pod_selector(text: &str) -> Result<String, &'static str> {
    let name = text.rsplit('/').next().unwrap_or(text);
    selector(name.strip_suffix('*').unwrap_or(name))?;
    selector(text)
}

/// A pool, as it is chosen.
#[derive(Args, Clone)]
pub(crate) struct PoolOption {
    /// The pool, a config's `network_name` [default: the one that all configs share].
    #[arg(long, value_name = "NAME", value_parser = selector)]
    pool: Option<String>,
    /// The range has a pool of its own: its configs have `enable_overlapping_ranges: false`.
    #[arg(long)]
    own_pool: bool,
}

impl PoolOption {
    /// The pool of the range with this CIDR.
    pub(crate) fn of(&self, cidr: IpNet) -> Pool {
        Pool {
            name: self.pool.clone(),
            only: self.own_pool.then_some(cidr.trunc()),
        }
    }
}

/// Which claims are meant: all that fit everything that is said.
#[derive(Args, Clone, Default)]
pub(crate) struct Filter {
    /// Claims that hold an address of the range with this CIDR.
    #[arg(long, value_name = "CIDR")]
    range: Option<IpNet>,
    /// Claims that hold an address of this pool.
    #[arg(long, value_name = "NAME", value_parser = selector)]
    pool: Option<String>,
    /// Claims of this node.
    #[arg(long, value_name = "NAME", value_parser = selector)]
    pub(crate) node: Option<String>,
    /// Claims of pods of this namespace.
    #[arg(short, long, value_name = "NAME", value_parser = selector)]
    namespace: Option<String>,
    /// Claims of this pod. A `*` at the end stands for any end of its name.
    #[arg(long, value_name = "[NAMESPACE/]NAME", value_parser = pod_selector)]
    pod: Option<String>,
    /// Claims that hold this address.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// Claims of this network.
    #[arg(long, value_name = "NAME", value_parser = selector)]
    pub(crate) network: Option<String>,
    /// Claims of containers whose id begins so.
    #[arg(long, value_name = "ID", value_parser = selector)]
    container: Option<String>,
    /// Claims of this interface.
    #[arg(long, value_name = "NAME", value_parser = selector)]
    interface: Option<String>,
}

impl Filter {
    /// Whether nothing is said, so that all claims would fit.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            range,
            pool,
            node,
            namespace,
            pod,
            address,
            network,
            container,
            interface,
        } = self;
        let texts = [pool, node, namespace, pod, network, container, interface];
        range.is_none() && address.is_none() && texts.iter().all(|text| text.is_none())
    }

    /// Whether a durable owner of this network and interface is meant. It has no node and no container, so one that is
    /// chosen by anything else is not.
    pub(crate) fn fits_owner(&self, network: &str, interface: &str) -> bool {
        let rest = Self {
            network: None,
            interface: None,
            ..self.clone()
        };
        let says = |said: &Option<String>, text| said.as_ref().is_none_or(|said| said == text);
        rest.is_empty() && says(&self.network, network) && says(&self.interface, interface)
    }

    /// Whether `shown` is meant.
    pub(crate) fn fits(&self, shown: &Shown) -> bool {
        let Attachment {
            network,
            container,
            interface,
        } = &shown.attachment;
        let Claim { held, owner, .. } = &shown.claim.value;
        // A claim that waits for an address holds none.
        let is_of_any = self.range.is_none() && self.pool.is_none() && self.address.is_none();
        let held_fits = held.iter().any(|held| {
            fits(
                self.range.as_ref().map(IpNet::trunc).as_ref(),
                &held.range.cidr,
            ) && self
                .pool
                .as_ref()
                .is_none_or(|pool| held.range.pool.name.as_ref() == Some(pool))
                && fits(self.address.as_ref(), &IpAddr::from(held.address))
        });
        (is_of_any || held_fits)
            && self
                .node
                .as_ref()
                .is_none_or(|node| owner.node.as_ref() == Some(node))
            && (self.namespace.is_none() || self.namespace == owner.pod_namespace)
            && self.pod.as_ref().is_none_or(|pod| is_pod(shown, pod))
            && self
                .network
                .as_ref()
                .is_none_or(|name| name == network.as_str())
            && self
                .container
                .as_ref()
                .is_none_or(|id| container.as_str().starts_with(id.as_str()))
            && fits(self.interface.as_ref(), interface)
    }
}

fn fits<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

fn is_pod(shown: &Shown, text: &str) -> bool {
    let owner = &shown.claim.value.owner;
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    let of_namespace = namespace.is_none() || owner.pod_namespace.as_deref() == namespace;
    let of_name = owner.pod_name.as_deref().is_some_and(|pod| {
        let begin = name.strip_suffix('*');
        begin.map_or(pod == name, |begin| pod.starts_with(begin))
    });
    of_namespace && of_name
}

/// The name of one thing, as a person says it.
pub(crate) enum Word {
    /// An address.
    Address(IpAddr),
    /// A pod, or a container by the beginning of its id.
    Name(String),
}

impl Word {
    /// The meaning of `text`.
    pub(crate) fn of(text: &str) -> Self {
        match text.parse() {
            Ok(address) => Self::Address(address),
            Err(_) => Self::Name(text.to_owned()),
        }
    }

    /// Whether `shown` is meant.
    pub(crate) fn fits(&self, shown: &Shown) -> bool {
        match self {
            Self::Address(address) => {
                let mut held = shown.claim.value.held.iter();
                held.any(|held| IpAddr::from(held.address) == *address)
            }
            Self::Name(text) => {
                is_pod(shown, text) || shown.attachment.container.as_str().starts_with(text)
            }
        }
    }
}

/// The claims that are meant, and those that cannot be read.
pub(crate) struct Selection {
    /// In the order of their keys.
    pub(crate) claims: Vec<Shown>,
    /// Why each cannot be read.
    pub(crate) unreadable: Vec<String>,
}

/// Goes through all claims, of which few are meant.
pub(crate) fn choose(
    connection: &Connection,
    is_meant: impl Fn(&Shown) -> bool,
) -> Result<Selection, String> {
    let mut chosen = Selection {
        claims: Vec::new(),
        unreadable: Vec::new(),
    };
    connection.each_shown(|page| {
        for shown in page {
            match shown {
                Ok(shown) if is_meant(&shown) => chosen.claims.push(shown),
                Ok(_) => {}
                Err(reason) => chosen.unreadable.push(reason),
            }
        }
    })?;
    Ok(chosen)
}

/// Goes through the claims of one node, of which few are meant. The claims of other nodes are not read.
pub(crate) fn choose_on_node(
    connection: &Connection,
    node: &str,
    is_meant: impl Fn(&Shown) -> bool,
) -> Result<Selection, String> {
    let mut chosen = Selection {
        claims: Vec::new(),
        unreadable: Vec::new(),
    };
    let scope = Scope::Node {
        node,
        network: None,
        pod_uid: None,
    };
    connection.each_claim(scope, |read| match read {
        Ok((attachment, claim)) => {
            let shown = Shown { attachment, claim };
            chosen.claims.extend(is_meant(&shown).then_some(shown));
        }
        Err(reason) => chosen.unreadable.push(reason.to_string()),
    })?;
    Ok(chosen)
}

/// The durable owners that are meant, and those that cannot be read.
pub(crate) struct OwnerSelection {
    /// In the order of their keys.
    pub(crate) owners: Vec<ShownOwner>,
    /// Why each cannot be read.
    pub(crate) unreadable: Vec<String>,
}

/// Goes through all durable owners, of which few are meant.
pub(crate) fn choose_owners(
    connection: &Connection,
    is_meant: impl Fn(&ShownOwner) -> bool,
) -> Result<OwnerSelection, String> {
    let mut chosen = OwnerSelection {
        owners: Vec::new(),
        unreadable: Vec::new(),
    };
    connection.each_owner(|read| match read {
        Ok((owner, state)) => {
            let shown = ShownOwner { owner, state };
            chosen.owners.extend(is_meant(&shown).then_some(shown));
        }
        Err(reason) => chosen.unreadable.push(reason.to_string()),
    })?;
    Ok(chosen)
}

/// Says on stderr what could not be read.
pub(crate) fn warn_of(unreadable: &[String]) {
    for reason in unreadable {
        say!("whereaboutsctl: {reason}");
    }
}
