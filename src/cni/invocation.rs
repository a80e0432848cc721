//! The process as plain data: environment, program name and stdin; and the files of the machine.
//!
//! Only this module reads the process. It does not interpret the data: see [`crate::request`].

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::makedev;
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
use nix::unistd::Uid;

use whereabouts_core::limits;

/// Further variables that an invocation keeps, beside `CNI_*` and `OTEL_*`. They name the trace
/// that a runtime continues (W3C Trace Context). libcni passes them on.
const TRACE_VARIABLES: [&str; 2] = ["TRACEPARENT", "TRACESTATE"];

/// One execution of the plugin, as data. It is not `Debug`, because stdin may hold a password.
pub struct Invocation {
    /// `CNI_*`, `OTEL_*` and the trace variables, unchanged. They may not be UTF-8.
    pub variables: BTreeMap<String, OsString>,
    /// The name of the called program, without its directory.
    pub program: String,
    /// All of stdin. Without `CNI_COMMAND`, stdin is not read and this is empty.
    pub stdin: Result<Vec<u8>, StdinError>,
}

/// The reason why stdin is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StdinError {
    /// Stdin has more bytes than [`limits::STDIN_BYTES`].
    #[error("it has more than {max} bytes", max = limits::STDIN_BYTES)]
    TooLarge,
    /// The runtime has not closed stdin in time.
    #[error("it has not ended within {} ms", limits::STDIN_MS)]
    Late,
    /// A read failed.
    #[error("it cannot be read: {0}")]
    Unreadable(io::ErrorKind),
}

impl Invocation {
    /// The environment, the name and the stdin of this process.
    pub fn capture() -> Self {
        let variables: BTreeMap<String, OsString> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| is_kept(name))
            .collect();
        let program = std::env::args_os().next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or_default();
        let mut invocation = Self {
            variables,
            program: program.to_string_lossy().into_owned(),
            stdin: Ok(Vec::new()),
        };
        if invocation.variable("CNI_COMMAND").is_some() {
            let patience = Duration::from_millis(limits::STDIN_MS);
            invocation.stdin = read_stdin(InTime::new(io::stdin().lock(), patience));
        }
        invocation
    }

    /// The value of a variable. A variable that is set but empty counts as not set.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        let value = self.variables.get(name)?;
        (!value.is_empty()).then_some(value)
    }
}

fn is_kept(name: &str) -> bool {
    name.starts_with("CNI_") || name.starts_with("OTEL_") || TRACE_VARIABLES.contains(&name)
}

fn read_stdin(stdin: impl Read) -> Result<Vec<u8>, StdinError> {
    match read_at_most(stdin, limits::STDIN_BYTES) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(StdinError::TooLarge),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(StdinError::Late),
        Err(error) => Err(StdinError::Unreadable(error.kind())),
    }
}

/// A source with a deadline for its end, because a runtime may never close it.
struct InTime<R> {
    source: R,
    end: Instant,
}

impl<R> InTime<R> {
    fn new(source: R, patience: Duration) -> Self {
        let end = Instant::now() + patience;
        Self { source, end }
    }
}

impl<R: Read + AsFd> Read for InTime<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut waited = [PollFd::new(self.source.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waited, timeout)? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.source.read(buffer)
    }
}

/// All of `source`, or `None` if it has more than `most` bytes.
fn read_at_most(source: impl Read, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    source.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= most).then_some(bytes))
}

/// Whether standard output accepts nothing although a write to it succeeds. Rust's standard library
/// hides a standard output that is not open for writing. It replaces a closed one by `/dev/null`,
/// open for reading and writing. A shell's redirection to `/dev/null` is open for writing only.
pub(crate) fn is_stdout_closed() -> bool {
    takes_nothing(io::stdout()).unwrap_or(false)
}

fn takes_nothing(stream: impl AsFd) -> io::Result<bool> {
    let file = fs::File::from(stream.as_fd().try_clone_to_owned()?);
    let mode = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?) & OFlag::O_ACCMODE;
    let metadata = file.metadata()?;
    let is_null = metadata.file_type().is_char_device() && metadata.rdev() == makedev(1, 3);
    Ok(mode == OFlag::O_RDONLY || (mode == OFlag::O_RDWR && is_null))
}

/// The files and the name of the machine that a config may refer to.
pub trait Machine {
    /// The content of a regular file of at most [`limits::FILE_BYTES`]. Symbolic links are
    /// followed.
    fn read(&self, path: &Path) -> io::Result<File>;

    /// The path without symbolic links.
    fn real_path(&self, path: &Path) -> io::Result<PathBuf>;

    /// The name of the host, from the kernel.
    fn host_name(&self) -> Option<String>;

    /// The id of the boot, from the kernel.
    fn boot_id(&self) -> Option<String>;
}

/// The content of a file, with the facts that decide about its trust.
#[derive(Clone)]
pub struct File {
    /// The content.
    pub bytes: Vec<u8>,
    /// The Unix mode.
    pub mode: u32,
    /// Whether the file belongs to root or to the user of this process.
    pub is_ours: bool,
}

/// The content of a regular file of at most `most` bytes. Every file that a config or an option
/// names is read here, so no read blocks: pipes, devices and files that the kernel makes are
/// refused.
pub fn read_file(path: &Path, most: usize) -> io::Result<File> {
    let file = open_file(path)?;
    let metadata = file.metadata()?;
    let owners = [0, Uid::effective().as_raw()];
    match read_at_most(file, most)? {
        Some(bytes) => Ok(File {
            bytes,
            mode: metadata.mode(),
            is_ours: owners.contains(&metadata.uid()),
        }),
        None => Err(io::Error::other(format!("it has more than {most} bytes"))),
    }
}

/// Opens a regular file for reading, without waiting. Symbolic links are followed. A link to
/// nothing is a different error than an absent file.
pub fn open_file(path: &Path) -> io::Result<fs::File> {
    // The check precedes the opening, because the opening of a device may have an effect.
    match fs::metadata(path) {
        Ok(metadata) => expect_regular(&metadata)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
            return Err(io::Error::other(format!(
                "it is a link that leads to no file: {error}"
            )));
        }
        Err(error) => return Err(error),
    }
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = fs::File::options();
    let file = options.read(true).custom_flags(flags.bits()).open(path)?;
    // Another file may have the name now.
    expect_regular(&file.metadata()?)?;
    expect_stored(&file)?;
    Ok(file)
}

/// Refuses every file that is not a regular file.
pub(crate) fn expect_regular(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_file() {
        Ok(())
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

/// Refuses a file that the kernel makes. A read of `/proc/kmsg` blocks and consumes the messages. A
/// write to `/proc/sysrq-trigger` has an effect.
pub(crate) fn expect_stored(file: &fs::File) -> io::Result<()> {
    let kind = fstatfs(file)?.filesystem_type();
    if [PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&kind) {
        Err(io::Error::other("it is not stored, the kernel makes it"))
    } else {
        Ok(())
    }
}

/// The machine of this process.
#[derive(Clone, Copy, Debug)]
pub struct LocalMachine;

impl Machine for LocalMachine {
    fn read(&self, path: &Path) -> io::Result<File> {
        read_file(path, limits::FILE_BYTES)
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn host_name(&self) -> Option<String> {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
        Some(name.trim_end().to_owned())
    }

    fn boot_id(&self) -> Option<String> {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
    }
}

/// A machine with a few files, for tests.
#[cfg(test)]
pub(crate) mod fake {
    use std::collections::BTreeSet;

    use super::{BTreeMap, File, Machine, Path, PathBuf, io};

    /// The files by path, and the name of the host.
    #[derive(Default)]
    pub(crate) struct FakeMachine {
        pub(crate) files: BTreeMap<String, File>,
        pub(crate) broken: BTreeSet<String>,
        /// The symbolic links, with their targets.
        pub(crate) links: BTreeMap<PathBuf, PathBuf>,
        pub(crate) host: Option<String>,
        pub(crate) boot: Option<String>,
    }

    impl FakeMachine {
        /// The machine with one more file.
        pub(crate) fn with(mut self, path: &str, mode: u32, text: &str) -> Self {
            let bytes = text.as_bytes().to_vec();
            let is_ours = true;
            let file = File {
                bytes,
                mode,
                is_ours,
            };
            self.files.insert(path.to_owned(), file);
            self
        }

        /// The machine with a file that cannot be read.
        pub(crate) fn broken(mut self, path: &str) -> Self {
            self.broken.insert(path.to_owned());
            self
        }

        /// The machine with a host name.
        pub(crate) fn named(mut self, host: &str) -> Self {
            self.host = Some(host.to_owned());
            self
        }

        /// The machine whose kernel says this of its boot.
        pub(crate) fn booted(mut self, boot: &str) -> Self {
            self.boot = Some(boot.to_owned());
            self
        }
    }

    impl Machine for FakeMachine {
        fn read(&self, path: &Path) -> io::Result<File> {
            let path = path.to_str().unwrap_or_default();
            if self.broken.contains(path) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let file = self.files.get(path);
            file.cloned().ok_or(io::ErrorKind::NotFound.into())
        }

        fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
            let link = self.links.get(path).map(PathBuf::as_path);
            Ok(link.unwrap_or(path).to_owned())
        }

        fn host_name(&self) -> Option<String> {
            self.host.clone()
        }

        fn boot_id(&self) -> Option<String> {
            self.boot.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn only_cni_and_trace_variables_are_kept() {
        let kept = [
            "CNI_COMMAND",
            "CNI_ARGS",
            "TRACEPARENT",
            "TRACESTATE",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ];
        assert!(kept.into_iter().all(is_kept));
        let dropped = [
            "PATH",
            "HOME",
            "ETCD_PASSWORD",
            "cni_command",
            "TRACEPARENTS",
            "BAGGAGE",
        ];
        assert!(!dropped.into_iter().any(is_kept));
    }

    #[test]
    fn a_variable_that_is_set_but_empty_counts_as_not_set() {
        let invocation = Invocation {
            variables: [("CNI_IFNAME", ""), ("CNI_NETNS", "x")]
                .map(|(name, value)| (name.to_owned(), value.into()))
                .into(),
            program: String::new(),
            stdin: Ok(Vec::new()),
        };
        assert_eq!(invocation.variable("CNI_IFNAME"), None);
        assert_eq!(invocation.variable("CNI_PATH"), None);
        assert_eq!(invocation.variable("CNI_NETNS"), Some("x".as_ref()));
    }

    #[test]
    fn stdin_is_read_up_to_its_bound_and_no_further() {
        let most = vec![b' '; limits::STDIN_BYTES];
        assert_eq!(read_stdin(&*most).expect("at the bound").len(), most.len());
        assert!(matches!(
            read_stdin(io::repeat(b' ')),
            Err(StdinError::TooLarge)
        ));
    }

    #[test]
    fn stdin_that_nobody_closes_is_waited_for_in_vain_and_not_for_ever() {
        let (reader, mut writer) = io::pipe().expect("there are descriptors left");
        writer.write_all(b"{}").expect("it has room");
        let open = read_stdin(InTime::new(&reader, Duration::from_millis(1)));
        assert_eq!(open, Err(StdinError::Late));
        writer.write_all(b"[]").expect("it has room");
        drop(writer);
        let closed = read_stdin(InTime::new(&reader, Duration::from_secs(60)));
        assert_eq!(closed.as_deref(), Ok(&b"[]"[..]));
    }

    #[test]
    fn a_link_to_nothing_is_not_an_absent_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("link");
        symlink(folder.path().join("nothing"), &path).expect("a new name");
        let error = LocalMachine.read(&path).err().expect("it leads nowhere");
        assert_eq!(error.kind(), io::ErrorKind::Other, "{error}");
    }

    #[test]
    fn a_file_comes_with_its_mode_and_a_directory_is_none() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("secret");
        fs::write(&path, "text").expect("a new file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
        let file = LocalMachine.read(&path).expect("readable");
        assert_eq!(
            (file.bytes.as_slice(), file.mode & 0o777),
            (&b"text"[..], 0o640)
        );
        assert!(LocalMachine.read(directory.path()).is_err());
        let missing = LocalMachine.read(&directory.path().join("missing"));
        assert_eq!(
            missing.err().map(|error| error.kind()),
            Some(io::ErrorKind::NotFound)
        );
    }

    #[test]
    fn only_a_stored_regular_file_is_read_and_nothing_else_is_waited_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let fifo = folder.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).expect("a new name");
        // A writer that never writes.
        let writer = fs::File::options().read(true).write(true).open(&fifo);
        let writer = writer.expect("both ends need no other process");
        for (path, part) in [
            (fifo.as_path(), "not a regular file"),
            (Path::new("/dev/zero"), "not a regular file"),
            (Path::new("/dev/tty"), "not a regular file"),
            (Path::new("/proc/kmsg"), "the kernel makes it"),
            (Path::new("/proc/self/mem"), "the kernel makes it"),
            (
                Path::new("/sys/kernel/uevent_seqnum"),
                "the kernel makes it",
            ),
        ] {
            let error = LocalMachine.read(path).err().expect("it is refused");
            assert!(
                error.to_string().contains(part),
                "{}: {error}",
                path.display()
            );
        }
        drop(writer);
    }

    #[test]
    fn a_file_beyond_the_bound_is_an_error() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("large");
        fs::write(&path, vec![0; limits::FILE_BYTES + 1]).expect("a new file");
        assert!(LocalMachine.read(&path).is_err());
    }

    #[test]
    fn the_host_has_a_name_without_a_line_end() {
        let name = LocalMachine.host_name().expect("the kernel knows one");
        assert_eq!(name.trim(), name);
    }
}
