//! `gc`: what a node holds without need, shown first and then released.
//!
//! Two ways tell what is needed: a runtime's list of valid attachments, or the network namespaces
//! that are there. Claims of other nodes are never looked at.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use whereabouts_clock::Clock;
use whereabouts_cni::invocation::LocalMachine;
use whereabouts_cni::request::{self};
use whereabouts_core::claim::BootId;
use whereabouts_core::escaped;
use whereabouts_core::registry::Released;
use whereabouts_core::verbs;
use whereabouts_core::verbs::ValidAttachment;
use whereabouts_etcd::SystemClock;

use crate::configs;
use crate::connection::{Connection, DatastoreOptions};
use crate::netns::{self, Namespaces};
use crate::output::Ending;
use crate::output::shown::{COLUMNS, Shown};
use crate::output::{
    Consent, Decision, Output, Progress, are, counted, say, say_lines, stamp_lines, table,
};
use crate::repeat::repeat;
use crate::selection::{Selection, choose_on_node, selector, warn_of};

/// The id of the boot, from the kernel.
pub(crate) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Which claims of which node are not needed.
#[derive(clap::Args)]
pub(crate) struct Unneeded {
    /// The node [default: this one, as the plugin calls it].
    #[arg(long, value_name = "NAME", value_parser = selector)]
    node: Option<String>,
    /// Only claims of this network; with --valid, the `name` of the file by default.
    #[arg(long, value_name = "NAME", value_parser = selector)]
    network: Option<String>,
    /// Not needed is what this list does not have: a config with `cni.dev/valid-attachments`, as a
    /// runtime gives it to GC; `-` is standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "netns")]
    valid: Option<PathBuf>,
    /// Not needed is what was added in a network namespace below /run/netns or /var/run/netns that
    /// is gone. To be run on the node itself, where these folders are the node's. A claim that cannot be judged
    /// stays: its folder is not here, cannot be read, or is empty.
    #[arg(long, conflicts_with = "valid")]
    netns: bool,
    /// With --netns, spare claims younger than this. A claim of an earlier boot of the node is not spared.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// With --netns, the file with the id of the node's boot: `boot_id_path` of the plugin's configuration.
    #[arg(long, value_name = "FILE", default_value = BOOT_ID)]
    boot_id_path: PathBuf,
    /// With --netns and --yes: stay, do it every so often, and end on SIGTERM.
    #[arg(long, value_name = "TIME", requires_all = ["netns", "yes"],
        value_parser = humantime::parse_duration)]
    every: Option<Duration>,
}

/// Releases the claims that are not needed, once or every so often.
pub(crate) fn gc(
    etcd: &DatastoreOptions,
    unneeded: &Unneeded,
    consent: &Consent,
    output: Output,
) -> Result<Ending, String> {
    let Some(every) = unneeded.every else {
        return collect(etcd, unneeded, consent, output);
    };
    stamp_lines();
    let act = || collect(etcd, unneeded, consent, output).map(drop);
    if let Err(reason) = act() {
        say!("whereaboutsctl: {reason}");
    }
    repeat(every, act)?;
    Ok(Ending::AsItShould)
}

fn collect(
    etcd: &DatastoreOptions,
    options: &Unneeded,
    consent: &Consent,
    output: Output,
) -> Result<Ending, String> {
    let node = node_or_this(options.node.as_deref())?;
    let rule = Rule::of(options)?;
    let connection = Connection::open(etcd)?;
    let Unused {
        chosen,
        unjudged,
        spared,
    } = unneeded(&connection, &node, rule)?;
    if !chosen.claims.is_empty() {
        connection.confirm()?;
    }
    let rows: Vec<Vec<String>> = chosen.claims.iter().map(Shown::row).collect();
    say_lines(&table(COLUMNS, &rows));
    let count = chosen.claims.len();
    let question = format!("Release {} of node {node}?", counted(count, "claim"));
    let decision = match count {
        0 => Decision::DryRun,
        _ => consent.ask(&question),
    };
    let (released, stayed) = match decision {
        Decision::Refused => return Ok(Ending::Found),
        Decision::DryRun => (0, 0),
        Decision::Go => release_all(&connection, &chosen.claims),
    };
    let claims: Vec<Value> = chosen.claims.iter().map(Shown::value).collect();
    let value = json!({
        "node": node, "unneeded": claims, "released": released, "stayed": stayed,
        "unjudged": unjudged, "spared": spared,
    });
    output.print(&value, || {
        let node = escaped::line(&node);
        let (claims, are, were) = (counted(count, "claim"), are(count), are(released));
        let spared = match spared {
            0 => String::new(),
            spared => format!(
                "{} without a network namespace spared: younger than {} (--grace)\n",
                counted(spared, "claim"),
                humantime::format_duration(options.grace)
            ),
        };
        format!("{claims} of node {node} {are} not needed, {released} {were} released, {stayed} stayed\n{spared}")
    });
    Ok(if stayed + unjudged == 0 && chosen.unreadable.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

/// Each is released as it was shown, or stays.
pub(super) fn release_all(connection: &Connection, claims: &[Shown]) -> (u64, u64) {
    let (mut released, mut stayed) = (0, 0);
    let mut progress = Progress::new("claims released");
    for shown in claims {
        match connection.release(&shown.attachment, &shown.claim) {
            Ok(Released::Done) => {
                released += 1;
                progress.add(1);
            }
            Ok(Released::Changed(_)) => {
                stayed += 1;
                say!("{} has changed, and stays", shown.attachment);
            }
            Err(error) => {
                stayed += 1;
                say!("{} stays: {error}", shown.attachment);
            }
        }
    }
    (released, stayed)
}

/// `gc --netns` without anybody to ask.
pub(crate) struct Reaper {
    /// How to reach the datastore. It is looked up for each run: files may come late, and certificates change.
    pub(crate) etcd: DatastoreOptions,
    /// For which node, if not for this one.
    pub(crate) node: Option<String>,
    /// Claims that are younger are spared.
    pub(crate) grace: Duration,
    /// The file with the id of the boot.
    pub(crate) boot_id_path: PathBuf,
}

/// The counts of one run of the reaper.
pub(crate) struct Reaped {
    /// Claims that it has released as their network namespace is gone.
    pub(crate) without_netns: u64,
    /// Claims that it has released as they are of an earlier boot of the node.
    pub(crate) of_earlier_boots: u64,
    /// Claims that are not needed and stay.
    pub(crate) stayed: u64,
    /// Claims that stay because nobody can tell whether they are needed.
    pub(crate) unjudged: u64,
}

impl Reaper {
    /// Releases what is not needed now.
    pub(crate) fn reap(&self) -> Result<Reaped, String> {
        let boot = boot_of(&self.boot_id_path)?;
        self.reap_by(boot, Rule::netns(None, self.grace, boot)?)
    }

    /// Releases what is of earlier boots. It needs no folder of namespaces: a node that has just started may have none.
    pub(crate) fn reap_earlier_boots(&self) -> Result<Reaped, String> {
        let boot = boot_of(&self.boot_id_path)?;
        self.reap_by(boot, Rule::EarlierBoot { boot })
    }

    fn reap_by(&self, boot: BootId, rule: Rule) -> Result<Reaped, String> {
        let node = node_or_this(self.node.as_deref())?;
        let connection = Connection::open(&self.etcd)?;
        let Unused {
            chosen, unjudged, ..
        } = unneeded(&connection, &node, rule)?;
        // After they were read: an identity that comes later finds no claims.
        connection.confirm()?;
        for shown in &chosen.claims {
            say!("not needed: {}", shown.row().join(" "));
        }
        let (of_earlier_boots, of_this): (Vec<Shown>, Vec<Shown>) = chosen
            .claims
            .into_iter()
            .partition(|shown| is_of_earlier_boot(shown, boot));
        let (of_earlier_boots, stayed_of_them) = release_all(&connection, &of_earlier_boots);
        let (without_netns, stayed) = release_all(&connection, &of_this);
        Ok(Reaped {
            without_netns,
            of_earlier_boots,
            stayed: stayed + stayed_of_them,
            unjudged,
        })
    }
}

fn node_or_this(node: Option<&str>) -> Result<String, String> {
    node.map(str::to_owned)
        .or_else(|| request::node_name(&LocalMachine))
        .ok_or_else(|| "this node's name is not known; say --node".to_owned())
}

/// The claims that are not needed.
struct Unused {
    chosen: Selection,
    /// Claims of which nobody can tell whether they are needed.
    unjudged: u64,
    /// Claims that are not needed, and are too young to be released.
    spared: u64,
}

fn unneeded(connection: &Connection, node: &str, rule: Rule) -> Result<Unused, String> {
    let chosen = choose_on_node(connection, node, |shown| {
        shown.claim.value.owner.node.as_deref() == Some(node) && !rule.needs(shown)
    })?;
    warn_of(&chosen.unreadable);
    let spared = rule.spared();
    let mut unjudged = 0;
    for (reason, count) in rule.unjudged() {
        let claims = counted(count, "claim");
        say!("whereaboutsctl: not judged, so not released: {claims}: {reason}");
        unjudged += count;
    }
    Ok(Unused {
        chosen,
        unjudged,
        spared,
    })
}

/// Nothing of an earlier boot lives.
fn is_of_earlier_boot(shown: &Shown, boot: BootId) -> bool {
    let then = shown.claim.value.owner.boot;
    then.is_some_and(|then| then != boot)
}

fn boot_of(path: &Path) -> Result<BootId, String> {
    let fail =
        |reason: &dyn std::fmt::Display| format!("--boot-id-path {}: {reason}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| fail(&error))?;
    let text = text.trim();
    let shown = escaped::line(text);
    text.parse()
        .map_err(|reason| fail(&format!("\"{shown}\" {reason}")))
}

/// The rule that tells whether a claim is needed.
enum Rule {
    /// It is in the list of a network.
    Valid {
        network: String,
        valid: BTreeSet<ValidAttachment>,
    },
    /// It is of this boot, or of an unknown one.
    EarlierBoot { boot: BootId },
    /// It is of this boot, or of an unknown one; and its network namespace is there, or cannot be judged, or it is too
    /// young.
    Netns {
        network: Option<String>,
        namespaces: Namespaces,
        grace: Duration,
        boot: BootId,
        /// Claims that only their age has saved.
        spared: Cell<u64>,
    },
}

impl Rule {
    fn of(unneeded: &Unneeded) -> Result<Self, String> {
        let Some(file) = &unneeded.valid else {
            let network = unneeded.network.clone();
            let boot = boot_of(&unneeded.boot_id_path)?;
            return Self::netns(network, unneeded.grace, boot);
        };
        let text = configs::text(file)?;
        let wrong = |reason: &str| format!("{}: {reason}", file.display());
        let config: Value =
            serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
        let valid = request::valid_attachments(text.as_bytes());
        let valid = valid.map_err(|error| wrong(&error.details()))?;
        let valid = valid
            .ok_or_else(|| wrong("it has no cni.dev/valid-attachments: nothing is collected"))?;
        let named = config["name"].as_str().map(str::to_owned);
        let network = unneeded.network.clone().or(named);
        let network = network.ok_or_else(|| wrong("it has no name; say --network"))?;
        Ok(Self::Valid { network, valid })
    }

    fn netns(network: Option<String>, grace: Duration, boot: BootId) -> Result<Self, String> {
        netns::expect_folder()?;
        Ok(Self::Netns {
            network,
            namespaces: Namespaces::default(),
            grace,
            boot,
            spared: Cell::new(0),
        })
    }

    /// Why claims could not be judged, and how many.
    fn unjudged(self) -> BTreeMap<String, u64> {
        match self {
            Self::Valid { .. } | Self::EarlierBoot { .. } => BTreeMap::new(),
            Self::Netns { namespaces, .. } => namespaces.unknown(),
        }
    }

    fn spared(&self) -> u64 {
        match self {
            Self::Valid { .. } | Self::EarlierBoot { .. } => 0,
            Self::Netns { spared, .. } => spared.get(),
        }
    }

    fn needs(&self, shown: &Shown) -> bool {
        let attachment = &shown.attachment;
        match self {
            Self::Valid { network, valid } => {
                let valid = valid.iter().collect();
                attachment.network.as_str() != network || verbs::is_valid(attachment, &valid)
            }
            Self::EarlierBoot { boot } => !is_of_earlier_boot(shown, *boot),
            Self::Netns {
                network,
                namespaces,
                grace,
                boot,
                spared,
            } => {
                let of_other = |name: &String| name != attachment.network.as_str();
                let age = SystemClock
                    .since_epoch()
                    .checked_sub(shown.claim.value.created);
                let is_young = age.is_none_or(|age| age < *grace);
                if network.as_ref().is_some_and(of_other) {
                    return true;
                }
                if is_of_earlier_boot(shown, *boot) {
                    return false;
                }
                let netns = shown.claim.value.owner.netns.as_deref();
                if netns.is_none_or(|netns| !namespaces.is_gone(netns)) {
                    return true;
                }
                spared.set(spared.get() + u64::from(is_young));
                is_young
            }
        }
    }
}
