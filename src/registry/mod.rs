//! The registry: trained, measured versions on disk, and which of them is in service.
//!
//! In: files and [`Metadata`]. Out: versions that are whole or not there, and a champion that changes by one atomic
//! step. Knows directories and checksums; never Burn, ONNX Runtime or the database.
//!
//! ```text
//! models/<target>/v0001/{model.onnx, metadata.json, scaler.json, history.json, job.toml}
//! models/<target>/champion        the name of the version in service
//! models/<target>/.staging-…      a version being written; garbage when nobody holds .lock
//! ```

mod files;
mod metadata;
mod staging;
mod version;

pub use files::Lock;
pub use metadata::{Importance, Member, Metadata, Rolling};
pub use staging::Staging;
pub use version::Version;

use crate::data::Target;
use crate::host;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Names of the files in a version's directory.
pub mod file {
    /// The network.
    pub const MODEL: &str = "model.onnx";
    /// What the version is and how it was judged.
    pub const METADATA: &str = "metadata.json";
    /// How counts become features and forecasts become counts.
    pub const SCALER: &str = "scaler.json";
    /// The epochs of its training.
    pub const HISTORY: &str = "history.json";
    /// How much each feature matters, as a picture; only where the job asked.
    pub const IMPORTANCE: &str = "importance.svg";
    /// The job as it ran, defaults filled in.
    pub const JOB: &str = "job.toml";
    /// Beside the versions: which one is in service.
    pub(super) const CHAMPION: &str = "champion";
}

/// A directory of versions.
#[derive(Clone, Debug)]
pub struct Registry {
    root: PathBuf,
}

/// Why the registry could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be written.
    #[error("write {}: {source}", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or directory could not be read.
    #[error("read {}: {source}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what was registered.
    #[error(
        "trust {}: {problem}; it was damaged or changed after it was registered, so bring another version into \
         service (`retraind models {target}` lists them, `retraind promote {target} VERSION` or \
         `retraind rollback {target}`)", .path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Whose.
        target: Target,
        /// What does not fit.
        problem: String,
    },
    /// There is no such version.
    #[error("find version {version} of {target} in {}: there is {known}", .root.display())]
    NoSuchVersion {
        /// Whose.
        target: Target,
        /// Asked for.
        version: Version,
        /// The registry.
        root: PathBuf,
        /// What there is, in words.
        known: String,
    },
    /// Another process is publishing or promoting.
    #[error("lock {}: another process has held it for {seconds} s; try again when it is done", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
}

impl Registry {
    /// The registry in `root`, which is made when the first version is.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a version lies, or would.
    pub fn path(&self, target: Target, version: Version) -> PathBuf {
        self.target_dir(target).join(version.to_string())
    }

    /// All versions of a target, oldest first.
    pub fn versions(&self, target: Target) -> Result<Vec<Version>, Error> {
        let dir = self.target_dir(target);
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|source| Error::Read { path: dir.clone(), source })?,
        };
        let mut versions = Vec::new();
        for entry in entries {
            let name = entry.map_err(|source| Error::Read { path: dir.clone(), source })?.file_name();
            versions.extend(name.to_str().and_then(Version::from_directory));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    /// The version in service, if there is one.
    pub fn champion(&self, target: Target) -> Result<Option<Version>, Error> {
        let path = self.target_dir(target).join(file::CHAMPION);
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|source| Error::Read { path: path.clone(), source })?,
        };
        match String::from_utf8_lossy(&bytes).trim().parse() {
            Ok(version) => Ok(Some(version)),
            Err(problem) => Err(Error::Damaged { path, target, problem }),
        }
    }

    /// The same, with none where the file is there and names no version: for those who are about to replace it.
    pub fn readable_champion(&self, target: Target) -> Result<Option<Version>, Error> {
        match self.champion(target) {
            Err(Error::Damaged { .. }) => Ok(None),
            champion => champion,
        }
    }

    /// What a version says of itself, unverified but for its form.
    pub fn metadata(&self, target: Target, version: Version) -> Result<Metadata, Error> {
        let path = self.path(target, version).join(file::METADATA);
        let bytes = self.read(target, version, &path)?;
        serde_json::from_slice(&bytes).map_err(|e| Error::Damaged { path, target, problem: e.to_string() })
    }

    /// A version's metadata after every file beside it was compared with its checksum.
    pub fn verify(&self, target: Target, version: Version) -> Result<Metadata, Error> {
        let metadata = self.metadata(target, version)?;
        for name in metadata.files.keys() {
            self.verified(&metadata, target, version, name)?;
        }
        Ok(metadata)
    }

    /// The bytes of one file of a version, compared with the checksum in its metadata.
    pub fn verified(
        &self,
        metadata: &Metadata,
        target: Target,
        version: Version,
        name: &str,
    ) -> Result<Vec<u8>, Error> {
        let path = self.path(target, version).join(name);
        let bytes = self.read(target, version, &path)?;
        let (found, expected) = (files::sha256(&bytes), metadata.files.get(name));
        if expected == Some(&found) {
            return Ok(bytes);
        }
        let problem = match expected {
            Some(expected) => format!("its sha256 is {found}, not {expected} as {} says", file::METADATA),
            None => format!("{} does not list it", file::METADATA),
        };
        Err(Error::Damaged { path, target, problem })
    }

    /// Brings a version into service: one atomic step, flushed before and after.
    pub fn set_champion(&self, target: Target, version: Version) -> Result<(), Error> {
        let path = self.target_dir(target).join(file::CHAMPION);
        host::replace(&path, format!("{version}\n").as_bytes()).map_err(|source| Error::Write { path, source })
    }

    /// Starts a new version; waits while another process publishes one of the same target.
    ///
    /// Its number is above all there are, the champion's and `used`, the highest that somebody else remembers: a number
    /// is never given twice, also when a directory was deleted by hand.
    pub fn stage(&self, target: Target, used: Option<Version>) -> Result<Staging, Error> {
        Staging::begin(self, target, used)
    }

    /// Takes a version that must not be used out of the way; it is kept under a name that is no version's.
    pub fn set_aside(&self, target: Target, version: Version) -> Result<PathBuf, Error> {
        let _lock = self.lock(target)?;
        let (from, to) = (self.path(target, version), self.target_dir(target).join(format!(".refused-{version}")));
        let failed = |source| Error::Write { path: to.clone(), source };
        if to.exists() {
            fs::remove_dir_all(&to).map_err(failed)?;
        }
        fs::rename(from, &to).map_err(failed)?;
        Ok(to)
    }

    /// sha256 of a version's `metadata.json`, and through it of every file of the version.
    pub fn metadata_sha256(&self, target: Target, version: Version) -> Result<String, Error> {
        let path = self.path(target, version).join(file::METADATA);
        Ok(files::sha256(&self.read(target, version, &path)?))
    }

    /// Keeps other processes from publishing or promoting this target until the lock is dropped.
    pub fn lock(&self, target: Target) -> Result<Lock, Error> {
        let dir = self.target_dir(target);
        fs::create_dir_all(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
        Lock::take(dir.join(".lock"))
    }

    fn target_dir(&self, target: Target) -> PathBuf {
        self.root.join(target.to_string())
    }

    fn read(&self, target: Target, version: Version, path: &Path) -> Result<Vec<u8>, Error> {
        let error = match fs::read(path) {
            Ok(bytes) => return Ok(bytes),
            Err(error) => error,
        };
        let versions = self.versions(target)?;
        if error.kind() == io::ErrorKind::NotFound && !versions.contains(&version) {
            let known = match versions.as_slice() {
                [] => "none yet; `retraind run weekly-retrain` trains one".to_owned(),
                all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            };
            return Err(Error::NoSuchVersion { target, version, root: self.root.clone(), known });
        }
        Err(Error::Read { path: path.to_owned(), source: error })
    }
}
