//! `install` and `uninstall`: the plugin and what it reads, put onto a node.
//!
//! A file is never written in place: a unique temporary file beside it is written, synced and renamed
//! over it, so a runtime that executes the plugin meanwhile has the old or the new one, whole, and a
//! process that runs the old one goes on. What is in the folder of the flat file is noted there, so
//! that it can be removed again.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use whereabouts::identity::Identity;
use whereabouts::invocation::read_file;
use whereabouts::limits;
use whereabouts::request::CLUSTER_FILE_NAME;

use crate::Ending;
use crate::output::print;
use crate::stay::stay;

/// The names that the plugin answers to.
const NAMES: [&str; 2] = ["whereabouts", "whereaboots"];

/// The file that notes what was installed beside it.
const NOTE: &str = ".installed-by-whereaboutsctl";

/// What the names of temporary files begin with.
const TEMPORARY: &str = ".whereabouts-install-";

/// After this long, nobody still writes a temporary file.
const STALE: Duration = Duration::from_hours(1);

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

/// What is to be installed.
#[derive(clap::Args)]
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
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// The cluster's identity, installed as `cluster` beside the flat file.
    #[arg(long, value_name = "ID")]
    cluster_id: Option<String>,
    /// Make the cluster's identity of this file, which is the same on all nodes of the cluster and on none of
    /// another: of its first certificate, or else of all of it.
    #[arg(long, value_name = "FILE", conflicts_with = "cluster_id")]
    cluster_id_from: Option<PathBuf>,
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
    install_once(place, parts)?;
    if parts.stay {
        stay(parts.every, || install_once(place, parts))?;
        if parts.then_uninstall {
            return uninstall(place);
        }
    }
    Ok(Ending::AsItShould)
}

fn install_once(place: &Place, parts: &Parts) -> Result<(), String> {
    // First what the plugin reads, then the plugin.
    install_config(&place.config_dir, parts)?;
    let plugin = if let Some(file) = &parts.plugin {
        file.clone()
    } else {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        own.with_file_name(NAMES[0])
    };
    fs::create_dir_all(&place.bin_dir).map_err(|error| fail(&place.bin_dir, &error))?;
    remove_stale(&place.bin_dir)?;
    let content = read(&plugin)?;
    put(&place.bin_dir.join(NAMES[0]), &content, 0o755)?;
    if parts.other_name {
        put(&place.bin_dir.join(NAMES[1]), &content, 0o755)?;
    }
    Ok(())
}

fn install_config(folder: &Path, parts: &Parts) -> Result<(), String> {
    let mut files: Vec<(String, Vec<u8>, u32)> = Vec::new();
    if let Some(directory) = &parts.secrets {
        for (name, path) in files_of(directory)? {
            files.push((name, read(&path)?, 0o600));
        }
    }
    if let Some(name) = &parts.node_name {
        files.push((
            "nodename".to_owned(),
            format!("{name}\n").into_bytes(),
            0o644,
        ));
    }
    if let Some(identity) = parts.cluster()? {
        let content = format!("{identity}\n").into_bytes();
        files.push((CLUSTER_FILE_NAME.to_owned(), content, 0o644));
    }
    // Last, as it names the others.
    if let Some(file) = &parts.flat_file {
        files.push(("whereabouts.conf".to_owned(), read(file)?, 0o600));
    }
    if files.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| fail(folder, &error))?;
    remove_stale(folder)?;
    // Noted before they are there, so that nothing is left behind.
    let mut noted = noted(folder)?;
    noted.extend(files.iter().map(|(name, ..)| name.clone()));
    let note = noted.into_iter().collect::<Vec<_>>().join("\n");
    put(&folder.join(NOTE), note.as_bytes(), 0o644)?;
    for (name, content, mode) in files {
        put(&folder.join(name), &content, mode)?;
    }
    Ok(())
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

/// Removes what was installed.
pub(crate) fn uninstall(place: &Place) -> Result<Ending, String> {
    // First the plugin, then what it reads.
    for name in NAMES {
        remove(&place.bin_dir.join(name))?;
    }
    remove_stale(&place.bin_dir)?;
    let folder = &place.config_dir;
    for name in noted(folder)? {
        remove(&folder.join(name))?;
    }
    remove(&folder.join(NOTE))?;
    remove_stale(folder)?;
    match fs::remove_dir(folder) {
        Ok(()) => {}
        // Somebody else has something there.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
            ) => {}
        Err(error) => return Err(fail(folder, &error)),
    }
    Ok(Ending::AsItShould)
}

fn noted(folder: &Path) -> Result<BTreeSet<String>, String> {
    let path = folder.join(NOTE);
    match fs::read_to_string(&path) {
        // A note cannot lead out of its folder.
        Ok(note) => Ok(note
            .lines()
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(fail(&path, &error)),
    }
}

/// Makes `path` a file of this content and mode, unless it is.
fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), String> {
    if is_already(path, content, mode) {
        return Ok(());
    }
    let folder = path.parent().expect("a file is in a folder");
    let temporary = folder.join(temporary_name());
    let written = write(&temporary, content, mode).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        // It fails only where there is nothing to remove.
        let _ = fs::remove_file(&temporary);
        fail(path, &error)
    })?;
    let folder = File::open(folder).and_then(|folder| folder.sync_all());
    folder.map_err(|error| fail(path, &error))?;
    print(&format!("wrote {}\n", path.display()));
    Ok(())
}

fn is_already(path: &Path, content: &[u8], mode: u32) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return false;
    };
    metadata.is_file()
        && metadata.permissions().mode() & 0o7777 == mode
        && fs::read(path).is_ok_and(|there| there == content)
}

/// Another process may be at the same, perhaps with the same number in another container.
fn temporary_name() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = since.unwrap_or_default().as_nanos();
    format!("{TEMPORARY}{}-{nanos:x}", std::process::id())
}

fn write(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Removes what an installation that was killed has left.
fn remove_stale(folder: &Path) -> Result<(), String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(folder, &error)),
    };
    for entry in entries.filter_map(Result::ok) {
        let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if is_temporary && age.is_some_and(|age| age >= STALE) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Ok(()) => print(&format!("removed {}\n", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(fail(path, &error)),
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let read = read_file(path, limits::DOCUMENT_BYTES);
    read.map(|file| file.bytes)
        .map_err(|error| fail(path, &error))
}

fn fail(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
