//! The plugin as a runtime has it: a program, executed once for each ADD and DEL.

use std::io;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use whereabouts_core::claim::{Attachment, Owner};
use whereabouts_fixtures::binaries::Profile;

/// The plugin's program, and the config it is given.
#[derive(Clone, Debug)]
pub struct Plugin {
    program: PathBuf,
    config: String,
}

impl Plugin {
    /// The program at `program` with this network config.
    pub fn new(program: &Path, config: &Value) -> Self {
        Self {
            program: program.to_path_buf(),
            config: config.to_string(),
        }
    }

    /// Executes it for `verb` (`ADD`, `DEL`) and gives its answer on stdout, or says what went
    /// wrong.
    pub fn execute(
        &self,
        verb: &str,
        attachment: &Attachment,
        owner: &Owner,
    ) -> Result<String, String> {
        let run = || -> io::Result<_> {
            let mut process = Command::new(&self.program)
                .env_clear()
                .envs(variables(verb, attachment, owner))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let mut stdin = process.stdin.take().expect("stdin is a pipe");
            stdin.write_all(self.config.as_bytes())?;
            drop(stdin);
            process.wait_with_output()
        };
        let output = run().map_err(|error| format!("{}: {error}", self.program.display()))?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            Ok(stdout)
        } else {
            let stderr = String::from_utf8_lossy(&output.stderr);
            Err(format!("{verb} of {attachment}: {stdout}{stderr}"))
        }
    }
}

fn variables(verb: &str, attachment: &Attachment, owner: &Owner) -> Vec<(&'static str, String)> {
    let arguments = [
        ("K8S_POD_NAMESPACE", &owner.pod_namespace),
        ("K8S_POD_NAME", &owner.pod_name),
        ("K8S_POD_UID", &owner.pod_uid),
    ];
    let arguments = arguments.map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
    // As runtimes do, for plugins that do not know a pod's UID.
    let ignore = Some("IgnoreUnknown=1".to_owned());
    let arguments: Vec<String> = [ignore].into_iter().chain(arguments).flatten().collect();
    vec![
        ("CNI_COMMAND", verb.to_owned()),
        ("CNI_CONTAINERID", attachment.container.to_string()),
        ("CNI_IFNAME", attachment.interface.clone()),
        ("CNI_NETNS", owner.netns.clone().unwrap_or_default()),
        ("CNI_PATH", "/opt/cni/bin".to_owned()),
        ("CNI_ARGS", arguments.join(";")),
    ]
}

/// A program of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The plugin as it is shipped.
    Plugin,
    /// The plugin with a planted bug.
    Sabotaged,
}

impl Program {
    /// Its package and its own name.
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Plugin => ["whereabouts-cni", "whereabouts"],
            Self::Sabotaged => ["whereabouts-chaos", "sabotaged"],
        }
    }
}

/// Builds the plugin as it is shipped (release), and says where it is.
pub fn build() -> Result<PathBuf, String> {
    build_program(Program::Plugin)
}

/// Builds a program (release), and says where it is.
pub fn build_program(program: Program) -> Result<PathBuf, String> {
    let [package, name] = program.names();
    whereabouts_fixtures::binaries::build(package, name, Profile::Release)
}
