//! Network configurations in files: each document by itself, so that a broken one hides no other.

mod folders;
mod resources;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use whereabouts_cni::invocation::{LocalMachine, Machine, open_file};
use whereabouts_cni::request::{self, Linted, RequestError};
use whereabouts_core::limits;

use crate::output::tree::Tree;
pub(crate) use folders::FlatFileFolders;
use resources::{Carried, Content, carried};

/// The names that the plugin answers to.
const NAMES: [&str; 2] = ["whereabouts", "whereaboots"];

/// Plugins of Multus, which hand an ADD on to the plugins of other configurations.
const MULTUS: [&str; 2] = ["multus", "multus-shim"];

/// The `file` of an object that no file has.
const CLUSTER: &str = "the cluster";

/// The place of a part of a file.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The file, as it was named.
    pub(crate) file: String,
    /// The number of the document, from 1 on, in a file of several.
    pub(crate) document: Option<usize>,
    /// Kind, namespace and name of a Kubernetes resource.
    pub(crate) object: Option<String>,
    /// The key in a list of plugins.
    pub(crate) key: Option<String>,
}

/// A part of a file.
pub(crate) struct Found {
    /// Where it stands.
    pub(crate) origin: Origin,
    /// Its content.
    pub(crate) finding: Finding,
    /// The paths of keys that stand twice in it.
    pub(crate) repeated: Vec<String>,
}

/// The content of a part.
pub(crate) enum Finding {
    /// A config that uses the plugin.
    Config(Box<FoundConfig>),
    /// Nothing that uses the plugin, and why it does not.
    Nothing(String),
    /// A network that the owner of its resource refuses, and why.
    Wrong(String),
    /// A part that cannot be read, and why.
    Unread(String),
}

/// A config that uses the plugin.
pub(crate) struct FoundConfig {
    /// It, with name and version of its list.
    pub(crate) config: Value,
    /// All plugins of its list; none if it stands alone.
    pub(crate) chain: Arc<[Value]>,
    /// The findings of whereabouts itself.
    pub(crate) linted: Result<Linted, RequestError>,
}

/// All that is in `file`; `-` is standard input.
pub(crate) fn read(file: &Path) -> Vec<Found> {
    let mut origin = Origin {
        file: file.display().to_string(),
        document: None,
        object: None,
        key: None,
    };
    let documents = match content(file).map(|text| trees(&text)) {
        Ok(documents) => documents,
        Err(reason) => return vec![Found::of(origin, Finding::Unread(reason))],
    };
    if documents.is_empty() {
        let nothing = Finding::Nothing("there is nothing in it".to_owned());
        return vec![Found::of(origin, nothing)];
    }
    let is_one = documents.len() == 1;
    let mut found = Vec::new();
    for (number, document) in (1..).zip(documents) {
        origin.document = (!is_one).then_some(number);
        match document {
            Ok(tree) => {
                let carried = carried(tree).into_iter();
                found.extend(carried.flat_map(|one| of_carried(&LocalMachine, &origin, one)));
            }
            Err(reason) => found.push(Found::of(origin.clone(), Finding::Unread(reason))),
        }
    }
    found
}

/// All that an object of the API server has. `machine` has the files that its configurations name.
pub(crate) fn of_object(machine: &dyn Machine, object: Value) -> Vec<Found> {
    let origin = Origin {
        file: CLUSTER.to_owned(),
        document: None,
        object: None,
        key: None,
    };
    let config = object["spec"]["config"].as_str().unwrap_or_default();
    if config.len() > MOST_BYTES {
        let why = format!("spec.config has more than {MOST_BYTES} bytes, and is not looked at");
        return vec![Found::of(origin, Finding::Unread(why))];
    }
    // A JSON object of the API server has each key once.
    let tree = Tree {
        value: object,
        repeated: Vec::new(),
    };
    let carried = carried(tree).into_iter();
    let found = carried.flat_map(|one| of_carried(machine, &origin, one));
    bounded(&origin, found.collect())
}

/// The documents of a file, all of which can be read.
pub(crate) fn documents(file: &Path) -> Result<Vec<Value>, String> {
    let fail = |reason: String| format!("{}: {reason}", file.display());
    let value = |tree: Result<Tree, String>| match tree?.whole() {
        Ok(value) => Ok(value),
        Err(key) => Err(format!("{key} is given twice")),
    };
    let trees = trees(&text(file)?);
    trees
        .into_iter()
        .map(|tree| value(tree).map_err(fail))
        .collect()
}

/// The text of a file, or of standard input.
pub(crate) fn text(file: &Path) -> Result<String, String> {
    content(file).map_err(|reason| format!("{}: {reason}", file.display()))
}

/// A named pipe would not end before a process writes to it. So a file is a stored one, or a pipe
/// that the shell has opened (`<(…)`).
fn content(file: &Path) -> Result<String, String> {
    let is_opened = ["/dev/stdin", "/dev/fd", "/proc/self/fd"]
        .iter()
        .any(|folder| file.starts_with(folder));
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else if is_opened {
        Box::new(File::open(file).map_err(|error| error.to_string())?)
    } else if file.is_dir() {
        return Err("it is a folder: name the files in it".to_owned());
    } else {
        Box::new(open_file(file).map_err(|error| error.to_string())?)
    };
    let most = limits::DOCUMENT_BYTES;
    let mut bytes = Vec::new();
    let read = source.take(most as u64 + 1).read_to_end(&mut bytes);
    if read.map_err(|error| error.to_string())? > most {
        return Err(format!("it has more than {most} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_owned())
}

/// Each document of `text`: values of JSON, or documents of YAML.
fn trees(text: &str) -> Vec<Result<Tree, String>> {
    let text = text.trim_start_matches('\u{feff}');
    let mut trees = Vec::new();
    for (skipped, document) in split(text) {
        let body = document.strip_prefix("---").unwrap_or(document);
        if Tree::is_json(body) {
            trees.extend(Tree::each_of_json(body, skipped));
        } else {
            trees.push(Tree::of_yaml(document, skipped));
        }
    }
    trees.retain(|tree| !tree.as_ref().is_ok_and(Tree::is_null));
    trees
}

/// The documents of a stream of YAML that are more than comments, each with the number of lines
/// before it. No other line of YAML 1.2 may begin as a marker does (section 9.1.2), and no line of
/// JSON.
fn split(text: &str) -> Vec<(u64, &str)> {
    let mut documents = Vec::new();
    let (mut begin, mut begin_line, mut end) = (0, 0, 0);
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        if is_marker(line, "---") || is_marker(line, "...") {
            documents.push((begin_line, &text[begin..end]));
            let is_end = line.starts_with('.');
            begin = if is_end { end + line.len() } else { end };
            begin_line = if is_end { number + 1 } else { number };
        }
        end += line.len();
    }
    documents.push((begin_line, &text[begin..]));
    documents.retain(|(_, document)| has_content(document));
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    let rest = line.strip_prefix(marker);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

fn has_content(document: &str) -> bool {
    let body = document.strip_prefix("---").unwrap_or(document);
    let mut lines = body.lines().map(str::trim_start);
    lines.any(|line| !line.is_empty() && !line.starts_with(['#', '%']))
}

fn of_carried(machine: &dyn Machine, origin: &Origin, carried: Carried) -> Vec<Found> {
    let mut origin = origin.clone();
    origin.object = carried.object;
    let mut found = match carried.content {
        Content::Config(config) => of_config(machine, &origin, config),
        Content::Nothing(why) => vec![Found::of(origin, Finding::Nothing(why))],
        Content::Wrong(why) => vec![Found::of(origin, Finding::Wrong(why))],
        Content::Unread(why) => vec![Found::of(origin, Finding::Unread(why))],
    };
    if let Some(first) = found.first_mut() {
        first.repeated = carried.repeated;
    }
    found
}

/// Bytes of a configuration in an object. A cluster's memory is not its author's to fill.
const MOST_BYTES: usize = 64 << 10;

/// Configurations of an object that are looked at. More of them are in no object by accident, and each is compared with
/// each.
const MOST_PARTS: usize = 32;

/// The first configurations, and a word on the rest.
fn bounded(origin: &Origin, mut found: Vec<Found>) -> Vec<Found> {
    if found.len() > MOST_PARTS {
        found.truncate(MOST_PARTS);
        let why =
            format!("it has more than {MOST_PARTS} configurations; the rest are not looked at");
        found.push(Found::of(origin.clone(), Finding::Unread(why)));
    }
    found
}

/// The config itself, or those of its plugins, which have the list's name and version.
fn of_config(machine: &dyn Machine, origin: &Origin, config: Value) -> Vec<Found> {
    let found = |finding| Found::of(origin.clone(), finding);
    let chain = match (&config["plugins"], &config["delegates"]) {
        (Value::Array(plugins), _) => Arc::<[Value]>::from(plugins.clone()),
        (_, Value::Array(delegates)) => return of_delegates(machine, origin, delegates),
        _ if is_ours(&config) => {
            return vec![found(Finding::lint(machine, config, Arc::from([])))];
        }
        _ => return vec![found(Finding::Nothing(why_not(&config)))],
    };
    let numbered = chain.iter().enumerate();
    let ours: Vec<Found> = numbered
        .filter(|(_, plugin)| is_ours(plugin))
        .map(|(number, plugin)| {
            let mut plugin = plugin.clone();
            for key in ["name", "cniVersion"] {
                plugin[key] = config[key].clone();
            }
            let mut origin = origin.clone();
            origin.enter(&format!("plugins[{number}]"));
            Found::of(origin, Finding::lint(machine, plugin, chain.clone()))
        })
        .collect();
    if !ours.is_empty() {
        return ours;
    }
    let why: Vec<String> = chain.iter().map(why_not).collect();
    vec![found(Finding::Nothing(why.join("; ")))]
}

/// The configs to which Multus hands each ADD on.
fn of_delegates(machine: &dyn Machine, origin: &Origin, delegates: &[Value]) -> Vec<Found> {
    let found = delegates.iter().enumerate().flat_map(|(number, delegate)| {
        let mut origin = origin.clone();
        origin.enter(&format!("delegates[{number}]"));
        of_config(machine, &origin, delegate.clone())
    });
    found.collect()
}

fn is_ours(config: &Value) -> bool {
    let kind = config["ipam"]["type"].as_str();
    kind.is_some_and(|kind| NAMES.contains(&kind))
}

/// Why a config is none of ours.
fn why_not(config: &Value) -> String {
    match (config["type"].as_str(), config["ipam"]["type"].as_str()) {
        (Some(kind), _) if MULTUS.contains(&kind) => format!(
            "{kind} gives no address itself: lint the configuration of the cluster's network that it names, and the NetworkAttachmentDefinitions"
        ),
        (Some(kind), Some(ipam)) => format!("{kind} takes its addresses from {ipam}"),
        (Some(kind), None) => format!("{kind} has no ipam"),
        (None, _) => "it is no network configuration".to_owned(),
    }
}

impl Found {
    fn of(origin: Origin, finding: Finding) -> Self {
        Self {
            origin,
            finding,
            repeated: Vec::new(),
        }
    }
}

impl Finding {
    fn lint(machine: &dyn Machine, config: Value, chain: Arc<[Value]>) -> Self {
        let linted = request::lint(config.to_string().as_bytes(), machine);
        Self::Config(Box::new(FoundConfig {
            config,
            chain,
            linted,
        }))
    }
}

impl Origin {
    fn enter(&mut self, key: &str) {
        self.key = Some(match &self.key {
            None => key.to_owned(),
            Some(parent) => format!("{parent}.{key}"),
        });
    }

    /// It, for a reader who looks at `other`.
    pub(crate) fn seen_from(&self, other: &Self) -> String {
        let text = self.to_string();
        let inside = text.strip_prefix(&format!("{}: ", other.file));
        inside
            .filter(|_| self.file == other.file)
            .unwrap_or(&text)
            .to_owned()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(number) = self.document {
            write!(f, ": document {number}")?;
        }
        for part in [&self.object, &self.key].into_iter().flatten() {
            write!(f, ": {part}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More values than a YAML reader takes by default: 20,000 addresses of IPPools have so many.
    #[test]
    fn documents_may_be_as_large_as_the_ranges_of_another_allocator() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("pools.yaml");
        let text = format!("---\n{}", "- {a: 1, b: 2}\n".repeat(60_000));
        std::fs::write(&file, text).expect("the folder can be written");
        let read = documents(&file).expect("it is YAML");
        assert_eq!(read[0].as_array().map(Vec::len), Some(60_000));
    }

    #[test]
    fn a_document_with_a_repeated_key_is_none_that_all_of_can_be_taken_from() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("pools.json");
        std::fs::write(&file, r#"{"a": {"b": 1, "b": 2}}"#).expect("the folder can be written");
        let reason = documents(&file).expect_err("b is repeated");
        assert!(
            reason.ends_with("pools.json: a.b is given twice"),
            "{reason}"
        );
    }

    fn check(text: &str, expected: &[(u64, &str)]) {
        assert_eq!(split(text), expected, "{text:?}");
    }

    #[test]
    fn documents_end_at_markers_and_comments_alone_are_none() {
        check("", &[]);
        check("# a\n---\n# b\n---\n", &[]);
        check("a: 1", &[(0, "a: 1")]);
        check(
            "---\na: 1\n---\nb: 2\n",
            &[(0, "---\na: 1\n"), (2, "---\nb: 2\n")],
        );
        check(
            "%YAML 1.2\n--- {a: 1}\n...\nb: 2",
            &[(1, "--- {a: 1}\n"), (3, "b: 2")],
        );
        check(
            "a: |\n  ---\n  b\n----\n",
            &[(0, "a: |\n  ---\n  b\n----\n")],
        );
        check(
            "a: 1\r\n---\r\nb: 2\r\n",
            &[(0, "a: 1\r\n"), (1, "---\r\nb: 2\r\n")],
        );
    }
}
