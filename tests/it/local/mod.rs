//! The datastore `local`: the built programs on a file, whatever happens to them and to it.

mod crowd;
mod faults;
mod kills;
mod syncs;
mod tool;
mod verbs;

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};
use whereabouts_store::keys::Keys;

use crate::ctl::tool;
use crate::plugin::{Answer, Call, Network, node_file};

/// A host whose claims are in a file of its own.
struct Host {
    folder: TempDir,
    flat_file: NamedTempFile,
}

impl Host {
    fn new() -> Self {
        Self::with(&json!({}))
    }

    /// A host whose flat file says this, too.
    fn with(more: &Value) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut keys = json!({
            "datastore": "local",
            "local_path": folder.path().join("local.db"),
            "node_name": "node-1",
        });
        let more = more.as_object().expect("keys are an object").clone();
        keys.as_object_mut().expect("an object").extend(more);
        Self {
            flat_file: node_file(&keys),
            folder,
        }
    }

    /// The file.
    fn path(&self) -> PathBuf {
        self.folder.path().join("local.db")
    }

    /// The file's log.
    fn log(&self) -> PathBuf {
        self.folder.path().join("local.db-wal")
    }

    fn network(&self, range: &str) -> Network {
        Network::of_node(self.flat_file.path()).ipam(json!({"range": range}))
    }

    /// A call of the tool on the file.
    fn tool(&self, arguments: &[&str]) -> Call {
        let flat_file = self.flat_file.path().display().to_string();
        tool(arguments)
            .argument("--configuration-path")
            .argument(&flat_file)
    }

    /// The answer of the tool in JSON.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let answer = self.tool(arguments).argument("-o").argument("json").run();
        answer.result()
    }

    /// That claims and bits are one, and that there are so many of either.
    #[track_caller]
    fn assert_at_rest(&self, claims: usize) {
        let audit = self.json(&["check"]);
        assert_eq!(audit["findings"], json!([]));
        for what in ["claims", "addresses", "set_bits"] {
            assert_eq!(audit[what], json!(claims), "{what} in {audit}");
        }
    }

    /// The addresses of all claims, by container.
    fn claims(&self) -> Vec<(String, String)> {
        let claims = self.json(&["claims"]);
        let claims = claims.as_array().expect("claims are a list").clone();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let pair = |claim: &Value| {
            let address = &claim["addresses"][0]["address"];
            (text(&claim["container"]), text(address))
        };
        claims.iter().map(pair).collect()
    }

    /// The file, as another program opens it.
    fn connect(&self) -> Connection {
        Connection::open(self.path()).expect("it can be opened")
    }

    /// Writes all of the log into the file, which is then without a log.
    fn fold(&self) {
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let connection = self.connect();
        let folded = connection.query_row(checkpoint, [], |row| row.get::<_, i64>(0));
        assert_eq!(folded, Ok(0), "nobody else is there");
        drop(connection);
        assert!(!self.log().exists());
    }

    /// Deletes one claim, and not its bits.
    fn forget_a_claim(&self) {
        let (from, until) = Keys::new(whereabouts_local::PREFIX).claims(None);
        let claim = "SELECT min(key) FROM entries WHERE key >= ? AND key < ?";
        let delete = format!("DELETE FROM entries WHERE key = ({claim})");
        let deleted = self.connect().execute(&delete, [from, until]);
        assert_eq!(deleted, Ok(1));
    }

    /// Overwrites a part of the file.
    fn damage(&self, offset: usize, bytes: &[u8]) {
        let mut content = fs::read(self.path()).expect("the file is there");
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
        fs::write(self.path(), content).expect("it is ours");
    }
}

/// The number of an address `10.0.x.y/…` of a result.
fn number(answer: &Answer) -> u32 {
    let address = answer.address();
    let address = address.split('/').next().expect("a text has a first part");
    let address: std::net::Ipv4Addr = address.parse().expect("an address");
    u32::from(address) - 0x0a00_0000
}
