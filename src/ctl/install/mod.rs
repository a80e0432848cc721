//! `install` and `uninstall`: the plugin and what it reads, put onto a node.
//!
//! A file is never written in place, so a runtime that executes the plugin meanwhile has the old or the new one, whole,
//! and a process that runs the old one goes on. A note in each folder tells what was installed there. A file that the
//! note does not name, or that has changed since, belongs to somebody else: it is neither replaced nor removed.

mod api_access;
mod file;
mod note;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use whereabouts_cni::request::{self, CLUSTER_FILE_NAME};
use whereabouts_core::identity::Identity;

use self::api_access::{ApiOptions, Installed, KUBECONFIG, TOKEN};
use self::file::{is_already, put, read, remove, remove_stale};
use self::note::{Note, Standing};
use crate::output::Ending;
use crate::output::print;
use crate::repeat::repeat;

/// The names that the plugin answers to.
const NAMES: [&str; 2] = ["whereabouts", "whereaboots"];

/// The flat file's name beside what it names.
const FLAT_FILE: &str = "whereabouts.conf";

/// The name of the file with the node's name.
const NODE_NAME: &str = "nodename";

/// The files that have these names in the folder of the flat file.
const OWN_FILES: [&str; 5] = [FLAT_FILE, NODE_NAME, CLUSTER_FILE_NAME, KUBECONFIG, TOKEN];

/// Where the plugin and what it reads belong on the node.
#[derive(clap::Args)]
pub(crate) struct Place {
    /// The node's directory of CNI plugins.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    bin_dir: PathBuf,
    /// The node's directory of the flat file, and of what lies beside it.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/etc/cni/net.d/whereabouts.d"
    )]
    config_dir: PathBuf,
}

/// The files to install.
#[derive(clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "options are independent")]
pub(crate) struct Parts {
    /// The plugin [default: `whereabouts` beside this program].
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Install the plugin under its other name, whereaboots, too.
    #[arg(long)]
    other_name: bool,
    /// The flat file, installed as whereabouts.conf, for its owner's eyes only.
    #[arg(long, value_name = "FILE")]
    flat_file: Option<PathBuf>,
    /// A directory whose files (certificates, keys, a password) are installed beside the flat file,
    /// for their owner's eyes only. The flat file names them where they are on the node.
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// The node's name, installed as `nodename` beside the flat file.
    #[arg(long, value_name = "NAME", value_parser = node_name)]
    node_name: Option<String>,
    /// The cluster's identity, installed as `cluster` beside the flat file.
    #[arg(long, value_name = "ID")]
    cluster_id: Option<String>,
    /// Make the cluster's identity of this file, which is the same on all nodes of the cluster and on none of
    /// another: of its first certificate, or else of all of it.
    #[arg(long, value_name = "FILE", conflicts_with = "cluster_id")]
    cluster_id_from: Option<PathBuf>,
    #[command(flatten)]
    api: ApiOptions,
    /// Replace files that this program has not installed, or that have changed since: the plugin of another
    /// whereabouts, for example. Without it, they are an error and nothing is installed.
    #[arg(long)]
    replace_foreign: bool,
    /// Stay, install again what has changed every so often, and end on SIGTERM.
    #[arg(long)]
    stay: bool,
    /// With --stay: how often to look whether something has changed.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    every: Duration,
    /// With --stay: uninstall at the end.
    #[arg(long, requires = "stay")]
    then_uninstall: bool,
}

impl Parts {
    /// The cluster's identity, if it is told.
    fn cluster(&self) -> Result<Option<Identity>, String> {
        let wrong = |reason| format!("--cluster-id: it {reason}");
        match (&self.cluster_id, &self.cluster_id_from) {
            (Some(text), _) => Identity::new(text).map(Some).map_err(wrong),
            (None, Some(file)) => Ok(Some(Identity::of_file(&read(file)?))),
            (None, None) => Ok(None),
        }
    }
}

/// Installs, and stays if that is wanted.
pub(crate) fn install(place: &Place, parts: &Parts) -> Result<Ending, String> {
    let mut installed = Installed::default();
    install_once(place, parts, &mut installed)?;
    if parts.stay {
        repeat(parts.every, || install_once(place, parts, &mut installed))?;
        if parts.then_uninstall {
            return uninstall(place);
        }
    }
    Ok(Ending::AsItShould)
}

/// A file to be installed: its content and mode.
type Content = (Vec<u8>, u32);

fn install_once(place: &Place, parts: &Parts, installed: &mut Installed) -> Result<(), String> {
    let mut config = config_files(parts)?;
    // While the API server is away, the files of before stay, and all else is installed.
    let access = api_files(parts, installed);
    let missing = access.map(|files| config.extend(files)).err();
    let flat_file = match &parts.flat_file {
        Some(file) => BTreeMap::from([(FLAT_FILE.to_owned(), (read(file)?, 0o600))]),
        None => BTreeMap::new(),
    };
    // First what the plugin reads, and there last the flat file, as it names the others; then the plugin.
    let folders = [
        (&place.config_dir, config),
        (&place.config_dir, flat_file),
        (&place.bin_dir, plugins(parts)?),
    ];
    for (folder, files) in &folders {
        if !parts.replace_foreign {
            refuse_foreign(folder, files)?;
        }
    }
    for (folder, files) in &folders {
        install_into(folder, files)?;
    }
    missing.map_or(Ok(()), Err)
}

/// The files of the access to the API server, if it is wanted.
fn api_files(
    parts: &Parts,
    installed: &mut Installed,
) -> Result<BTreeMap<String, Content>, String> {
    let node = parts.node_name.as_deref();
    let Some(node) = node.filter(|_| parts.api.is_wanted()) else {
        return Ok(BTreeMap::new());
    };
    let files = parts.api.files(node, installed, SystemTime::now())?;
    Ok(BTreeMap::from([
        (TOKEN.to_owned(), (files.token, 0o600)),
        (KUBECONFIG.to_owned(), (files.kubeconfig, 0o600)),
    ]))
}

fn plugins(parts: &Parts) -> Result<BTreeMap<String, Content>, String> {
    let plugin = if let Some(file) = &parts.plugin {
        file.clone()
    } else {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        own.with_file_name(NAMES[0])
    };
    let content = read(&plugin)?;
    let count = if parts.other_name { 2 } else { 1 };
    let names = NAMES.into_iter().take(count);
    Ok(names
        .map(|name| (name.to_owned(), (content.clone(), 0o755)))
        .collect())
}

/// The files beside the flat file.
fn config_files(parts: &Parts) -> Result<BTreeMap<String, Content>, String> {
    let mut files = BTreeMap::new();
    if let Some(directory) = &parts.secrets {
        for (name, path) in files_of(directory)? {
            if OWN_FILES.contains(&name.as_str()) {
                return Err(format!("{}: no secret has this name", path.display()));
            }
            files.insert(name, (read(&path)?, 0o600));
        }
    }
    if let Some(name) = &parts.node_name {
        let content = format!("{name}\n").into_bytes();
        files.insert(NODE_NAME.to_owned(), (content, 0o644));
    }
    if let Some(identity) = parts.cluster()? {
        let content = format!("{identity}\n").into_bytes();
        files.insert(CLUSTER_FILE_NAME.to_owned(), (content, 0o644));
    }
    Ok(files)
}

/// The node's name as an argument: the plugin must find this same name in the file.
fn node_name(text: &str) -> Result<String, String> {
    request::check_node_name(text)?;
    Ok(text.to_owned())
}

fn refuse_foreign(folder: &Path, files: &BTreeMap<String, Content>) -> Result<(), String> {
    let note = Note::of(folder)?;
    for (name, (content, mode)) in files {
        let path = folder.join(name);
        if !is_already(&path, content, *mode) && note.standing(name)? == Standing::Foreign {
            return Err(format!(
                "{}: it was not installed by whereaboutsctl, or has changed since; --replace-foreign \
                 replaces it",
                path.display()
            ));
        }
    }
    Ok(())
}

fn install_into(folder: &Path, files: &BTreeMap<String, Content>) -> Result<(), String> {
    if files.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| fail(folder, &error))?;
    remove_stale(folder)?;
    let mut changed = files.clone();
    // The same file by other means stays somebody else's.
    changed.retain(|name, (content, mode)| !is_already(&folder.join(name), content, *mode));
    let mut note = Note::of(folder)?;
    // Noted before they are there: after a crash they are known all the same, old or new.
    for (name, (content, _)) in &changed {
        note.add(name, content);
    }
    note.save()?;
    for (name, (content, mode)) in &changed {
        let path = folder.join(name);
        put(&path, content, *mode)?;
        print(&format!("wrote {}\n", path.display()));
        note.settle(name, content);
    }
    note.save()
}

/// The regular files of a directory by name, links followed; Kubernetes' own (`..data`) left out.
fn files_of(directory: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let entries = fs::read_dir(directory).map_err(|error| fail(directory, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| fail(directory, &error))?.path();
        let name = path.file_name().unwrap_or_default();
        let name = name
            .to_str()
            .ok_or_else(|| format!("{}: its name is no text", path.display()))?;
        if name.starts_with('.') {
            continue;
        }
        let metadata = fs::metadata(&path).map_err(|error| fail(&path, &error))?;
        if metadata.is_file() {
            files.push((name.to_owned(), path.clone()));
        }
    }
    files.sort();
    Ok(files)
}

/// Removes what was installed, and names what is not this program's to remove.
pub(crate) fn uninstall(place: &Place) -> Result<Ending, String> {
    // First the plugin, then what it reads.
    let mut left = clear(&place.bin_dir, &NAMES)?;
    left.extend(clear(&place.config_dir, &OWN_FILES)?);
    for path in &left {
        let path = path.display();
        print(&format!(
            "left {path}: it was not installed by whereaboutsctl, or has changed since\n"
        ));
    }
    match fs::remove_dir(&place.config_dir) {
        Ok(()) => {}
        // Somebody else has something there, or it is where a volume of this container is mounted.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy
            ) => {}
        Err(error) => return Err(fail(&place.config_dir, &error)),
    }
    Ok(if left.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

/// Removes what was installed in a folder, and gives what is there of the noted and the usual names and is not this
/// program's.
fn clear(folder: &Path, usual: &[&str]) -> Result<Vec<PathBuf>, String> {
    remove_stale(folder)?;
    let mut note = Note::of(folder)?;
    let mut names = note.names();
    names.extend(usual.iter().map(|name| (*name).to_owned()));
    let mut left = Vec::new();
    for name in names {
        let path = folder.join(&name);
        match note.standing(&name)? {
            Standing::Absent => note.forget(&name),
            Standing::Own => {
                remove(&path)?;
                print(&format!("removed {}\n", path.display()));
                note.forget(&name);
            }
            Standing::Foreign => left.push(path),
        }
    }
    note.save()?;
    Ok(left)
}

fn fail(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
