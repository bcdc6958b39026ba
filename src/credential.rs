//! Secrets that are kept apart from the settings: the name of one → its text.
//!
//! systemd hands a service its credentials as files in a directory that nobody else can enter; elsewhere a file that only
//! its reader can open does the same.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const DIRECTORY_VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// A URL or a password is a line of text.
const MAX_BYTES: u64 = 64 << 10;
const WORLD_READABLE: u32 = 0o004;

/// Completes "failed to …". What stands in the file is in none of them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened or read.
    #[error("read the secret in {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Everybody on this host could read it, too.
    #[error(
        "use the secret in {}: every user of this host can read it (mode {mode:04o}); take that away with \
         `chmod o-rwx {}`, and change the secret where others may have seen it", .path.display(), .path.display()
    )]
    WorldReadable {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What stands in it is no secret.
    #[error("use the secret in {}: {reason}; the file must hold one line of text", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The file of credential `name` in the directory that systemd made for this service. None: there is none.
pub fn file_of(name: &str) -> Option<PathBuf> {
    let directory = std::env::var_os(DIRECTORY_VARIABLE).filter(|directory| !directory.is_empty())?;
    let file = Path::new(&directory).join(name);
    // one that is there and cannot be read is worth an error, not a guess
    (file.symlink_metadata().is_ok()).then_some(file)
}

/// The secret in a file, without the line break at its end.
///
/// Errors: the file is not there, is readable by everyone, or holds anything but one line of UTF-8.
pub fn read(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let unusable = |reason| Error::Unusable { path: path.to_owned(), reason };
    // a pipe would hold everybody up
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(unusable("it is no regular file"));
    }
    let mut file = File::open(path).map_err(failed)?;
    // of the file that is open: the name may mean another one by now
    let metadata = file.metadata().map_err(failed)?;
    if metadata.mode() & WORLD_READABLE != 0 {
        return Err(Error::WorldReadable { path: path.to_owned(), mode: metadata.mode() & 0o7777 });
    }
    if metadata.len() > MAX_BYTES {
        return Err(unusable("it is too long"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|_| unusable("it is not UTF-8"))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    match secret {
        "" => Err(unusable("it is empty")),
        secret if secret.contains(['\n', '\r', '\0']) => Err(unusable("it holds more than one line")),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn check(bytes: &[u8], mode: u32, expected: Result<&str, &str>) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        fs::write(&path, bytes).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        match (read(&path), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(part)) => {
                let said = error.to_string();
                assert!(said.contains(part), "{said}");
                assert!(!format!("{said} {error:?}").contains("s3cret"), "{error:?}");
            }
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn one_line_that_not_everybody_can_read() {
        check(b"s3cret", 0o600, Ok("s3cret"));
        check(b"s3cret\n", 0o400, Ok("s3cret"));
        check(b" s3 cret \r\n", 0o640, Ok(" s3 cret "));
        check(b"s3cret\n", 0o644, Err("chmod o-rwx"));
        check(b"s3cret\n", 0o604, Err("mode 0604"));
        check(b"s3cret\nmore\n", 0o600, Err("more than one line"));
        check(b"\n", 0o600, Err("empty"));
        check(b"s3cret\xff", 0o600, Err("UTF-8"));
        check("s".repeat(70_000).as_bytes(), 0o600, Err("too long"));
    }

    #[test]
    fn what_is_no_file_is_said_to_be_none() {
        assert!(matches!(read(Path::new("/dev/null")), Err(Error::Unusable { .. })));
        assert!(matches!(read(Path::new("/nowhere/secret")), Err(Error::Read { .. })));
    }
}
