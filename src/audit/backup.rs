//! The file of a backup: a line of header, the entries, and a checksum over both.
//!
//! ```text
//! whereabouts backup 1 prefix=/whereabouts/v1/ revision=1234\n
//! (length of key, key below the prefix, length of value, value)*      lengths: 4 bytes, little endian
//! ffffffff, count of entries: 8 bytes, SHA-256 of everything before: 32 bytes
//! ```
//!
//! A backup has no locks and no tickets: they belong to running processes, and a lease cannot be
//! stored. This module knows nothing of the meaning of keys and values.

use std::io::{self, BufRead, Read, Write};

use sha2::{Digest, Sha256};

use whereabouts_core::limits;
use whereabouts_store::Revision;

const MAGIC: &str = "whereabouts backup";

/// The version of the format.
const VERSION: u32 = 1;

/// The mark in place of a key's length after the last entry.
const END: u32 = u32::MAX;

/// Longest header, in bytes.
const HEADER_BYTES: u64 = 1024;

/// The origin of the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The prefix of their keys.
    pub prefix: String,
    /// The revision at which they were read.
    pub revision: Revision,
}

/// A key without the prefix, and its value.
pub type Item = (Vec<u8>, Vec<u8>);

/// The reason why a file cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The first line is no header.
    #[error("it is no backup: its first line is no header of a backup")]
    Header,
    /// The file has another version of the format.
    #[error("it has format version {0}, this program reads {VERSION}")]
    Version(String),
    /// The file is too short or too long.
    #[error("it is incomplete or damaged")]
    Damaged,
    /// The checksum does not fit the content.
    #[error("it is damaged: its checksum does not fit its content")]
    Checksum,
}

/// A backup that is being written.
pub struct Writer<W> {
    to: W,
    hash: Sha256,
    count: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a backup.
    pub fn new(to: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self {
            to,
            hash: Sha256::new(),
            count: 0,
        };
        let Header { prefix, revision } = header;
        let line = format!("{MAGIC} {VERSION} prefix={prefix} revision={revision}\n");
        writer.write(line.as_bytes())?;
        Ok(writer)
    }

    /// Adds an entry. `key` has no prefix.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        for part in [key, value] {
            let length = u32::try_from(part.len()).ok();
            let length = length.filter(|length| *length <= limits::BACKUP_BYTES);
            let length = length
                .ok_or_else(|| io::Error::other("a key or a value is too long for a backup"))?;
            self.write(&length.to_le_bytes())?;
            self.write(part)?;
        }
        self.count += 1;
        Ok(())
    }

    /// Ends the backup, and returns the number of its entries.
    pub fn finish(mut self) -> io::Result<u64> {
        let count = self.count;
        self.write(&END.to_le_bytes())?;
        self.write(&count.to_le_bytes())?;
        self.to.write_all(&self.hash.finalize())?;
        self.to.flush()?;
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.to.write_all(bytes)
    }
}

/// A backup that is being read.
pub struct Reader<R> {
    from: R,
    hash: Sha256,
    count: u64,
    /// The content of the first line.
    pub header: Header,
}

impl<R: BufRead> Reader<R> {
    /// Begins to read a backup.
    pub fn new(mut from: R) -> Result<Self, BackupError> {
        let mut line = Vec::new();
        (&mut from)
            .take(HEADER_BYTES)
            .read_until(b'\n', &mut line)?;
        let header = parse_header(&line)?;
        let mut hash = Sha256::new();
        hash.update(&line);
        Ok(Self {
            from,
            hash,
            count: 0,
            header,
        })
    }

    /// The next entry; `None` at the end, if the count and the checksum fit. Until then the entries
    /// are not verified.
    pub fn next_entry(&mut self) -> Result<Option<Item>, BackupError> {
        let length = self.length()?;
        if length == END {
            self.check_end()?;
            return Ok(None);
        }
        let key = self.part(length)?;
        let length = self.length()?;
        let value = self.part(length)?;
        self.count += 1;
        Ok(Some((key, value)))
    }

    fn check_end(&mut self) -> Result<(), BackupError> {
        let mut count = [0; 8];
        self.read(&mut count)?;
        let mut checksum = [0; 32];
        exactly(&mut self.from, &mut checksum)?;
        if self.hash.clone().finalize()[..] != checksum {
            return Err(BackupError::Checksum);
        }
        let more = self.from.read(&mut [0])?;
        if u64::from_le_bytes(count) == self.count && more == 0 {
            Ok(())
        } else {
            Err(BackupError::Damaged)
        }
    }

    fn length(&mut self) -> Result<u32, BackupError> {
        let mut bytes = [0; 4];
        self.read(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn part(&mut self, length: u32) -> Result<Vec<u8>, BackupError> {
        if length > limits::BACKUP_BYTES {
            return Err(BackupError::Damaged);
        }
        let mut bytes = vec![0; length as usize];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        exactly(&mut self.from, bytes)?;
        self.hash.update(&*bytes);
        Ok(())
    }
}

fn exactly(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), BackupError> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Damaged,
        _ => BackupError::Io(error),
    })
}

fn parse_header(line: &[u8]) -> Result<Header, BackupError> {
    let line = std::str::from_utf8(line).ok();
    let line = line.and_then(|line| line.strip_suffix('\n'));
    let rest = line.and_then(|line| line.strip_prefix(MAGIC)?.strip_prefix(' '));
    let (version, rest) = rest
        .and_then(|rest| rest.split_once(' '))
        .ok_or(BackupError::Header)?;
    if version != VERSION.to_string() {
        return Err(BackupError::Version(version.to_owned()));
    }
    let parts = rest.strip_prefix("prefix=");
    let (prefix, revision) = parts
        .and_then(|parts| parts.rsplit_once(" revision="))
        .ok_or(BackupError::Header)?;
    Ok(Header {
        prefix: prefix.to_owned(),
        revision: revision.parse().map_err(|_| BackupError::Header)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            prefix: "/my place/".to_owned(),
            revision: 42,
        }
    }

    fn written(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, &header()).expect("a vector takes all");
        for (key, value) in entries {
            writer.add(key, value).expect("a vector takes all");
        }
        writer.finish().expect("a vector takes all");
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Item>, BackupError> {
        let mut reader = Reader::new(bytes)?;
        let mut entries = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            entries.push(entry);
        }
        assert_eq!(reader.header, header());
        Ok(entries)
    }

    const ENTRIES: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"b/c", b""), (b"", b"\n\0")];

    #[test]
    fn what_was_written_is_read() {
        let owned = ENTRIES.map(|(key, value)| (key.to_vec(), value.to_vec()));
        assert_eq!(read(&written(&ENTRIES)).expect("it is whole"), owned);
        assert_eq!(read(&written(&[])).expect("it is whole"), []);
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_found() {
        let whole = written(&ENTRIES);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(
                Reader::new(changed.as_slice()).is_err() || read_quietly(&changed).is_err(),
                "byte {at}"
            );
            assert!(read_quietly(&whole[..at]).is_err(), "cut at {at}");
        }
        let longer = [&whole[..], b"x"].concat();
        assert!(matches!(read(&longer), Err(BackupError::Damaged)));
    }

    fn read_quietly(bytes: &[u8]) -> Result<(), BackupError> {
        let mut reader = Reader::new(bytes)?;
        while reader.next_entry()?.is_some() {}
        Ok(())
    }

    proptest::proptest! {
        /// Any bytes are read or refused, also after a valid header.
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        ) {
            let headed = [b"whereabouts backup 1 prefix=/ revision=1\n", &bytes[..]].concat();
            for bytes in [&bytes, &headed] {
                if Reader::new(bytes.as_slice()).is_ok() {
                    let read = read_quietly(bytes);
                    proptest::prop_assert!(read.is_err(), "by chance, a checksum fits");
                }
            }
        }
    }

    #[test]
    fn another_version_is_named() {
        let other = b"whereabouts backup 2 prefix=/x/ revision=1\n".as_slice();
        let error = Reader::new(other).err().expect("not this version");
        assert_eq!(
            error.to_string(),
            "it has format version 2, this program reads 1"
        );
    }
}
