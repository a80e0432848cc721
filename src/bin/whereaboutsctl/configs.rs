//! Network configurations in files: a config, a list of plugins, or NetworkAttachmentDefinitions.

use std::io::Read;
use std::path::Path;

use serde_json::Value;
use whereabouts::invocation::{LocalMachine, open_file};
use whereabouts::limits;
use whereabouts::request::{self, Linted, RequestError};

/// The names that the plugin answers to.
const NAMES: [&str; 2] = ["whereabouts", "whereaboots"];

/// A config that uses the plugin.
pub(crate) struct FoundConfig {
    /// Where it stands.
    pub(crate) origin: String,
    /// What is to be said of it.
    pub(crate) linted: Result<Linted, RequestError>,
}

/// All configs of `file` that use the plugin; `-` is standard input.
pub(crate) fn read(file: &Path) -> Result<Vec<FoundConfig>, String> {
    let name = file.display().to_string();
    let mut found = Vec::new();
    for document in documents(file)? {
        let (origin, config) = match &document["spec"]["config"] {
            Value::String(config) => {
                let resource = document["metadata"]["name"].as_str().unwrap_or("?");
                let config = serde_json::from_str(config);
                let config = config.map_err(|error| format!("{name}: {resource}: {error}"))?;
                let config = with_name(config, resource);
                (format!("{name}: {resource}"), config)
            }
            _ => (name.clone(), document),
        };
        found.extend(of_config(&origin, &config));
    }
    if found.is_empty() {
        return Err(format!("{name} has no config that uses whereabouts"));
    }
    Ok(found)
}

/// The documents of a file: JSON, or YAML of several.
pub(crate) fn documents(file: &Path) -> Result<Vec<Value>, String> {
    let text = text(file)?;
    let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    if text.trim_start().starts_with('{') {
        let value = serde_json::from_str(&text).map_err(|error| fail(&error))?;
        return Ok(vec![value]);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 2 * limits::DOCUMENT_NODES,
            max_nodes: limits::DOCUMENT_NODES,
            max_total_scalar_bytes: limits::DOCUMENT_BYTES,
        },
    };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(&text, options).map_err(|error| fail(&error))?;
    Ok(documents.into_iter().filter(|one| !one.is_null()).collect())
}

/// The text of a file, or of standard input.
pub(crate) fn text(file: &Path) -> Result<String, String> {
    let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(open_file(file).map_err(|error| fail(&error))?)
    };
    let mut text = String::new();
    let most = limits::DOCUMENT_BYTES;
    let read = source.take(most as u64 + 1).read_to_string(&mut text);
    if read.map_err(|error| fail(&error))? > most {
        return Err(fail(&format_args!("it has more than {most} bytes")));
    }
    Ok(text)
}

/// A NetworkAttachmentDefinition's config without a name gets its resource's, as Multus does it.
fn with_name(mut config: Value, resource: &str) -> Value {
    if let Some(object) = config.as_object_mut() {
        object.entry("name").or_insert_with(|| resource.into());
    }
    config
}

/// The config itself, or those of its plugins, which have the list's name and version.
fn of_config(origin: &str, config: &Value) -> Vec<FoundConfig> {
    let lint = |origin: String, config: &Value| FoundConfig {
        linted: request::lint(config.to_string().as_bytes(), &LocalMachine),
        origin,
    };
    match config["plugins"].as_array() {
        None if is_ours(config) => vec![lint(origin.to_owned(), config)],
        None => Vec::new(),
        Some(plugins) => {
            let ours = plugins
                .iter()
                .enumerate()
                .filter(|(_, plugin)| is_ours(plugin));
            let configs = ours.map(|(number, plugin)| {
                let mut plugin = plugin.clone();
                for key in ["name", "cniVersion"] {
                    plugin[key] = config[key].clone();
                }
                lint(format!("{origin}: plugins[{number}]"), &plugin)
            });
            configs.collect()
        }
    }
}

fn is_ours(config: &Value) -> bool {
    let kind = config["ipam"]["type"].as_str();
    kind.is_some_and(|kind| NAMES.contains(&kind))
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
}
