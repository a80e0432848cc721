//! The operator's tool: one module for each command; this one knows their names and how they end.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it meets the machine"
)]
// All that it says passes `output`, which escapes it.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod admission;
mod commands;
mod configs;
mod connection;
mod foreign;
mod in_pod;
mod install;
mod listening;
mod netns;
mod networks;
mod output;
mod reconcile;
mod repeat;
mod selection;
mod serve;
mod store_api;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use ipnet::IpNet;
use whereabouts_cni::plugin;

use commands::{
    backup, check, claims, cluster, gc, import, lint, map, migrate, owners, queue, ranges, release,
    restore, watch,
};
use connection::{DatastoreOptions, ReadOptions, is_plugin};
use output::order::{ClaimOrder, RangeOrder};
use output::{Consent, Ending, OutputOption, say};
use selection::{Filter, PoolOption};

/// The options that all commands have in common.
const COMMON: &str = "\
Exit status: 0 if all is well; 1 if something was found, or refused by the person asked or by what is
stored, or if standard output takes no more; 2 if the command could not be carried out.

The first of these that names a datastore tells how to reach it: the options --etcd-host, --local-path and
--configuration-path; the variables WHEREABOUTS_ETCD_HOST and so on, one for each option; a context of
~/.config/whereabouts/config.yaml (--context); the node's flat file, such as
/etc/cni/net.d/whereabouts.d/whereabouts.conf; etcdctl's variables ETCDCTL_ENDPOINTS and so on. It gives the
secrets, too. --local-path reads the file of a host without etcd.

Commands that change something show what they are about to do and ask; --dry-run only shows, --yes does
not ask.";

/// What is different for a plugin of kubectl.
const PLUGIN: &str = "\
ranges, map, claims, show, owners, queue and check read through the API server and the page, unless an option
names a datastore. They need no credential of the datastore, and log in as kubectl does: --context and the like
are kubectl's. Other commands, and check --repair, go to the datastore itself.";

/// Looks at the addresses that whereabouts has given, and puts them in order.
#[derive(Parser)]
#[command(name = "whereaboutsctl", version, after_long_help = COMMON, after_help = "More: whereaboutsctl help, or COMMAND --help.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show how much of each range is taken.
    ///
    /// TAKEN counts the addresses of the range that anybody holds, HELD those that were given through
    /// this very range: ranges that overlap share their addresses. SIZE is what the range can give by
    /// the configs of --config, or else by what its claims and networks state. Without --config a range
    /// has a line while something is held of it, or a network of Kubernetes names it.
    #[command(
        after_help = "Example: whereaboutsctl ranges --config /etc/cni/net.d/10-storage.conflist"
    )]
    Ranges {
        #[command(flatten)]
        etcd: ReadOptions,
        /// Configs, of all kinds that `lint` takes: show their ranges, too.
        #[arg(long, value_name = "FILE")]
        config: Vec<PathBuf>,
        /// Sort by this column: the fullest or largest range first.
        #[arg(long, value_name = "COLUMN")]
        sort_by: Option<RangeOrder>,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Draw a picture of a range's addresses.
    ///
    /// Up to 4,096 addresses have a character each; then each stands for a power of two of them.
    #[command(after_help = "Example: whereaboutsctl map 192.168.2.0/24")]
    Map {
        #[command(flatten)]
        etcd: ReadOptions,
        /// The range.
        #[arg(value_name = "CIDR")]
        range: IpNet,
        #[command(flatten)]
        pool: PoolOption,
        /// A config, of any kind that `lint` takes, that has the range: show what it gives, too.
        #[arg(long, value_name = "FILE")]
        config: Vec<PathBuf>,
        #[command(flatten)]
        output: OutputOption,
    },
    /// List claims: who holds which addresses.
    #[command(after_help = "Example: whereaboutsctl claims --node node-7 --range 192.168.2.0/24")]
    Claims {
        #[command(flatten)]
        etcd: ReadOptions,
        #[command(flatten)]
        filter: Filter,
        /// Sort by this column. Without it the list begins at once, and each page of it is in the order of addresses.
        #[arg(long, value_name = "COLUMN")]
        sort_by: Option<ClaimOrder>,
        #[command(flatten)]
        output: OutputOption,
    },
    /// List durable owners: the names of pods that keep addresses in sticky networks.
    ///
    /// An owner is at rest, or a container has the addresses: `show` tells them then. `release` ends an owner at rest.
    #[command(after_help = "Examples: whereaboutsctl owners; whereaboutsctl owners default/web-0")]
    Owners {
        #[command(flatten)]
        etcd: ReadOptions,
        /// An address that is kept at rest, or [NAMESPACE/]POD.
        #[arg(value_name = "WHAT", value_parser = selection::selector)]
        what: Option<String>,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Show all there is to know of an address, a pod or a container.
    #[command(
        after_help = "Examples: whereaboutsctl show 192.168.2.7; whereaboutsctl show default/web-0"
    )]
    Show {
        #[command(flatten)]
        etcd: ReadOptions,
        /// An address, [NAMESPACE/]POD, or the beginning of a container's id.
        #[arg(value_name = "WHAT", value_parser = selection::selector)]
        what: String,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Show what is given and freed, as it happens.
    ///
    /// With -o json each change is a line of JSON, with -o yaml a document.
    Watch {
        #[command(flatten)]
        etcd: DatastoreOptions,
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Show who holds the lock of a busy range, and who waits for it.
    ///
    /// A lock is held, or offered to those who wait until one of them takes it. LEASE LEFT falls to 0
    /// when its holder has died; then another takes the lock. A ticket stays until its request is served
    /// or taken back, also when its process has died. Neither says when it was written: SINCE ABOUT is
    /// the age of the last claim made before that (`<`: it is younger) or of the first after it (`>`).
    Queue {
        #[command(flatten)]
        etcd: ReadOptions,
        /// Only the range with this CIDR.
        #[arg(value_name = "CIDR")]
        range: Option<IpNet>,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Take back what an attachment holds, as its DEL would; or what all of a node, a pod or a range hold.
    ///
    /// Shows the claims and asks. Only a claim as it was shown is released; one that changes meanwhile
    /// stays. No pod is asked: if it is alive, its address will be given to another one. A durable owner keeps what its
    /// attachment held. If WHAT means no claim but a durable owner at rest, that owner ends.
    #[command(after_help = "Examples:
  whereaboutsctl release 192.168.2.7 --dry-run
  whereaboutsctl release --node node-7 --all     all claims of a node that is gone
  whereaboutsctl release --range 10.0.0.0/24 --all --older-than 30d --force")]
    Release {
        #[command(flatten)]
        etcd: DatastoreOptions,
        /// An address, [NAMESPACE/]POD, or the beginning of a container's id; of one claim.
        #[arg(value_name = "WHAT", value_parser = selection::selector)]
        what: Option<String>,
        #[command(flatten)]
        filter: Filter,
        /// All claims that fit the other options, without WHAT.
        #[arg(long, conflicts_with = "what")]
        all: bool,
        /// Only claims that are older. Age tells nothing of a pod's life, so this needs --force.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "force",
            conflicts_with = "what")]
        older_than: Option<Duration>,
        /// Release claims by their age alone.
        #[arg(long)]
        force: bool,
        /// Only if the claim is at this revision, as `claims` and `show` tell it.
        #[arg(long, value_name = "REVISION", requires = "what")]
        revision: Option<i64>,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Take back what a node holds without need.
    ///
    /// For networks that no runtime calls GC for, such as those that Multus adds, and for nodes that
    /// are gone: `gc --node NAME --valid -` with an empty list takes back all of a node's network.
    #[command(after_help = "Examples:
  whereaboutsctl gc --netns                      on the node itself, as root
  whereaboutsctl gc --node node-7 --valid - <<< '{\"name\": \"storage\", \"cni.dev/valid-attachments\": []}'")]
    Gc {
        #[command(flatten)]
        etcd: DatastoreOptions,
        #[command(flatten)]
        unneeded: gc::Unneeded,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Release the claims of pods that cannot live any more, by the word of the API server.
    ///
    /// A claim is released if two answers, a grace apart, tell that no pod has its UID, and its node cannot run the pod any
    /// more: the node is Ready and was heard of for two graces since, its Node object has been gone for the grace, or it has
    /// the taint node.kubernetes.io/out-of-service. Each error means that the claim is in use.
    ///
    /// To delete the Node object of a node that is cut off, while its pods live, is to say that they are dead. The command
    /// waits until every claim without a pod is judged: a little longer than the grace, or two.
    #[command(after_help = "Example: whereaboutsctl reconcile --dry-run")]
    Reconcile(reconcile::ReconcileOptions),
    /// Stay: reconcile claims again and again, as the leader of several controllers.
    ///
    /// In Kubernetes, deploy/kubernetes/base runs it. It serves /metrics, /healthz and /readyz, and ends on SIGTERM and
    /// SIGINT. With --webhook-listen it judges networks for the API server.
    #[command(after_help = "Example: whereaboutsctl controller --kubeconfig /root/.kube/config")]
    Controller(reconcile::ControllerOptions),
    /// Show which cluster the keys belong to, or say so.
    ///
    /// Two clusters that share their keys by mistake would take back each other's addresses. So the keys carry
    /// the identity of the cluster that uses them first, and no other gets addresses there. `--set` is for a
    /// cluster whose identity has changed, such as by a new CA, and for keys of before there was one.
    #[command(after_help = "Example: whereaboutsctl cluster --set 5f0c8d1be2a94c37")]
    Cluster {
        #[command(flatten)]
        etcd: DatastoreOptions,
        /// From now on they belong to this one.
        #[arg(long, value_name = "ID")]
        set: Option<String>,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Check everything that must be true at rest, and repair it.
    ///
    /// What is found, and what --repair does about it, each in one transaction that is refused if what
    /// it rests on has changed:
    ///
    ///   is not marked as taken        the bit of the claimed address is set
    ///   is marked, nobody holds it    the bit is cleared, unless a claim cannot be read
    ///   is both open and full         one block is made of both, of the claims' bits
    ///   is open without a free bit    the block is moved to full
    ///   is full, the next is missing  the next block is made, empty
    ///   is held by two                nothing: `release` one of them, then --repair at once, as the
    ///                                 other's address is marked as free until then
    ///   cannot be held by anybody     nothing: `release` it
    ///   a block cannot be read        it is rebuilt from the claims, unless one of them cannot be read;
    ///                                 one of another format version only if --damaged names it
    ///   a claim cannot be read        nothing; if --damaged names it, it is removed: first make sure that
    ///                                 its pod is gone, as its addresses become free
    ///   another key cannot be read    nothing: a newer version may know it
    #[command(verbatim_doc_comment)]
    Check {
        #[command(flatten)]
        etcd: ReadOptions,
        #[command(flatten)]
        repair: check::RepairOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Say what is wrong with configs, what they overlap with, and how much they give.
    ///
    /// Files are YAML or JSON, of one or several documents: network configurations, lists of plugins,
    /// ConfigMaps, NetworkAttachmentDefinitions, and Lists (`kubectl get ... -o yaml`). Networks of
    /// operators are read as well: NVIDIA's (MacvlanNetwork, HostDeviceNetwork, IPoIBNetwork), SR-IOV's
    /// (SriovNetwork, SriovIBNetwork, OVSNetwork) and OpenShift's (Network).
    ///
    /// Exit status: 1 if there is an error, such as a configuration that fails. Warnings and notes leave
    /// it 0. It is 2 if a part could not be read; the other parts are looked at all the same.
    ///
    /// If --etcd-host or --configuration-path is given, what is in use is looked at, too.
    #[command(after_help = "Examples:
  whereaboutsctl lint net-attach-def.yaml /etc/cni/net.d/*.conflist
  kubectl get net-attach-def -A -o yaml | whereaboutsctl lint -")]
    Lint {
        #[command(flatten)]
        etcd: DatastoreOptions,
        /// The files; `-` is standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Claim what another allocator has remembered.
    ///
    /// Each attachment is claimed as by an ADD, so nothing that is held is taken. Where the source does
    /// not know interfaces, a container's claim is without one, and is released by the DEL of any
    /// interface of that container if it is the container's only claim in the network.
    #[command(
        after_help = "Example: kubectl get ippool -n kube-system 10.0.0.0-24 -o yaml | whereaboutsctl import ippools - --network storage --dry-run"
    )]
    Import {
        #[command(subcommand)]
        source: import::Source,
    },
    /// Take over all that whereabouts in Kubernetes remembers, or give it back.
    ///
    /// Pool, network, interface and node of each address come from its IPPool, the network configurations,
    /// and the pods' network-status. Ambiguous objects and contradictions are refused with the
    /// reason. Each attachment is claimed as by an ADD, so nothing that is held is taken, and it can be
    /// repeated. The exit status is 0 only if all addresses are taken over.
    ///
    /// Nobody may allocate meanwhile: docs/OPERATIONS.md has the order of steps.
    #[command(
        after_help = "Example: for kind in ippools overlappingrangeipreservations net-attach-def pods; do
           kubectl get $kind -A -o yaml >$kind.yaml; done
         whereaboutsctl migrate *.yaml"
    )]
    Migrate(migrate::Migration),
    /// Write all that is stored, as it is at one revision, to a new file.
    ///
    /// Locks and tickets are left out: they are of processes that run now. The file has a checksum, and no secret but what claims
    /// say of pods.
    Backup {
        #[command(flatten)]
        etcd: DatastoreOptions,
        /// The file, which must not exist.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Put back what a backup has.
    ///
    /// Below the prefix must be nothing, unless --replace says so. Nobody may add or delete meanwhile:
    /// what a backup says of pods that came or went since is wrong, so `gc` every node afterwards.
    Restore {
        #[command(flatten)]
        etcd: DatastoreOptions,
        #[command(flatten)]
        options: restore::RestoreOptions,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Put the plugin, and what it reads, onto a node.
    ///
    /// Needs no shell: an image of this program and the plugin alone can install both.
    Install {
        #[command(flatten)]
        place: install::Place,
        #[command(flatten)]
        parts: install::Parts,
    },
    /// Remove from a node what `install` has put there.
    Uninstall {
        #[command(flatten)]
        place: install::Place,
    },
    /// Print a script that completes commands and options in a shell.
    #[command(after_help = "Example: source <(whereaboutsctl completions bash)")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write a manual page of each command, for man, into a folder.
    #[command(hide = true)]
    ManPages {
        /// The folder, which must exist.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Stay: serve a web page of all addresses, metrics, a reaper, and the agent for traces.
    ///
    /// Without options it serves /metrics and /healthz. If --etcd-host or --configuration-path is
    /// given, etcd is followed: there are a web page, its API below /api/, and metrics of ranges. With
    /// --reap it releases what the node does not need; etcd is then found as by the other commands.
    /// With a collector it sends on the spans that the plugins on the node hand over. It only reads,
    /// unless --reap is given. Ends on SIGTERM and SIGINT.
    #[command(
        after_help = "Examples: whereaboutsctl serve --etcd-host 127.0.0.1:2379; whereaboutsctl serve --reap 10m"
    )]
    Serve(serve::ServeOptions),
}

fn main() -> ExitCode {
    plugin::outlive_file_limits();
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(told) if told.use_stderr() => {
            output::say_lines(&told.render().to_string());
            return ExitCode::from(2);
        }
        Err(told) => {
            output::print_exactly(&told.render().to_string());
            return ExitCode::SUCCESS;
        }
    };
    match carry_out(arguments.command) {
        Ok(Ending::AsItShould) => ExitCode::SUCCESS,
        Ok(Ending::Found) => ExitCode::from(1),
        Ok(Ending::Incomplete) => ExitCode::from(2),
        Err(reason) => {
            say!("whereaboutsctl: {reason}");
            ExitCode::from(2)
        }
    }
}

/// The arguments. As a plugin of kubectl, the tool is called by another name.
fn arguments() -> Result<Arguments, clap::Error> {
    let mut command = Arguments::command();
    if is_plugin() {
        command = command
            .name("kubectl-whereabouts")
            .bin_name("kubectl whereabouts")
            .after_help("More: kubectl whereabouts help, or COMMAND --help.")
            .after_long_help(format!("{PLUGIN}\n\n{COMMON}"));
    }
    Arguments::from_arg_matches(&command.try_get_matches()?)
}

fn completions(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, "whereaboutsctl", &mut script);
    output::print_exactly(&String::from_utf8_lossy(&script));
}

fn carry_out(command: Command) -> Result<Ending, String> {
    use Command as C;
    match command {
        C::Ranges {
            etcd,
            config,
            sort_by,
            output,
        } => ranges::ranges(&etcd, &config, sort_by, output.output),
        C::Map {
            etcd,
            range,
            pool,
            config,
            output,
        } => map::map(&etcd, range, &pool, &config, output.output),
        C::Claims {
            etcd,
            filter,
            sort_by,
            output,
        } => claims::claims(&etcd, &filter, sort_by, output.output),
        C::Owners { etcd, what, output } => owners::owners(&etcd, what.as_deref(), output.output),
        C::Show { etcd, what, output } => claims::show(&etcd, &what, output.output),
        C::Watch {
            etcd,
            filter,
            output,
        } => watch::watch(&etcd, &filter, output.output),
        C::Queue {
            etcd,
            range,
            output,
        } => queue::queue(&etcd, range, output.output),
        C::Release {
            etcd,
            what,
            filter,
            all,
            older_than,
            force: _,
            revision,
            consent,
            output,
        } => match what {
            Some(what) => {
                release::release(&etcd, &what, &filter, revision, &consent, output.output)
            }
            None if all => {
                release::release_many(&etcd, &filter, older_than, &consent, output.output)
            }
            None => Err(
                "say which claim (WHAT), or --all with an option such as --node or --pod"
                    .to_owned(),
            ),
        },
        C::Gc {
            etcd,
            unneeded,
            consent,
            output,
        } => gc::gc(&etcd, &unneeded, &consent, output.output),
        C::Reconcile(options) => reconcile::reconcile(&options),
        C::Controller(options) => reconcile::controller(&options),
        C::Cluster {
            etcd,
            set,
            consent,
            output,
        } => cluster::cluster(&etcd, set.as_deref(), &consent, output.output),
        C::Check {
            etcd,
            repair,
            output,
        } => check::check(&etcd, &repair, output.output),
        C::Lint {
            etcd,
            files,
            output,
        } => lint::lint(&etcd, &files, output.output),
        C::Import { source } => import::import(&source),
        C::Migrate(migration) => migrate::migrate(&migration),
        C::Backup { etcd, file, output } => backup::backup(&etcd, &file, output.output),
        C::Restore {
            etcd,
            options,
            output,
        } => restore::restore(&etcd, &options, output.output),
        C::Install { place, parts } => install::install(&place, &parts),
        C::Uninstall { place } => install::uninstall(&place),
        C::Serve(options) => serve::serve(&options),
        C::Completions { shell } => {
            completions(shell);
            Ok(Ending::AsItShould)
        }
        C::ManPages { folder } => {
            clap_mangen::generate_to(Arguments::command(), &folder)
                .map_err(|error| format!("{}: {error}", folder.display()))?;
            Ok(Ending::AsItShould)
        }
    }
}
