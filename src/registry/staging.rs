//! A version being written: beside its place, flushed, renamed.

use super::files::{self, Lock};
use super::{Error, Metadata, Registry, Version, file};
use crate::data::Target;
use crate::host;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// A version nobody sees yet. Dropped without [`Staging::publish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Staging {
    registry: Registry,
    target: Target,
    version: Version,
    dir: TempDir,
    files: BTreeMap<String, String>,
    _lock: Lock,
}

impl Staging {
    pub(super) fn begin(registry: &Registry, target: Target, used: Option<Version>) -> Result<Self, Error> {
        let lock = registry.lock(target)?;
        let parent = registry.target_dir(target);
        let failed = |source| Error::Write { path: parent.clone(), source };
        // whoever left these is dead: we hold the lock
        files::remove_leftovers(&parent).map_err(failed)?;
        let dir = tempfile::Builder::new().prefix(".staging-").tempdir_in(&parent).map_err(failed)?;
        // temporary directories are private; a version is for whoever serves forecasts
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).map_err(failed)?;
        let newest = registry.versions(target)?.pop();
        let highest = newest.max(registry.readable_champion(target)?).max(used);
        let version = highest.map_or(Version::FIRST, Version::next);
        Ok(Self { registry: registry.clone(), target, version, dir, files: BTreeMap::new(), _lock: lock })
    }

    /// The name the version will have.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Adds a file and flushes it.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.create(name, bytes)?;
        self.files.insert(name.to_owned(), files::sha256(bytes));
        Ok(())
    }

    /// Reads back a file written before: what is judged is what lies on the disk.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.dir.path().join(name);
        fs::read(&path).map_err(|source| Error::Read { path, source })
    }

    /// Adds `metadata.json` with the checksums of the others and makes the version visible, all at once.
    ///
    /// Returns the metadata as written and its sha256.
    pub fn publish(self, mut metadata: Metadata) -> Result<(Metadata, String), Error> {
        metadata.version = self.version;
        metadata.files.clone_from(&self.files);
        let mut json = serde_json::to_vec_pretty(&metadata)
            .map_err(|e| Error::Write { path: self.dir.path().join(file::METADATA), source: io::Error::other(e) })?;
        json.push(b'\n');
        self.create(file::METADATA, &json)?;
        let failed = |path: PathBuf| |source| Error::Write { path, source };
        host::flush_dir(self.dir.path()).map_err(failed(self.dir.path().to_owned()))?;
        let place = self.registry.path(self.target, self.version);
        fs::rename(self.dir.path(), &place).map_err(failed(place.clone()))?;
        // it is not temporary any more, nor at that path
        let _ = self.dir.keep();
        let parent = self.registry.target_dir(self.target);
        host::flush_dir(&parent).map_err(failed(parent))?;
        Ok((metadata, files::sha256(&json)))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.dir.path().join(name);
        files::create(&path, bytes).map_err(|source| {
            let path = self.registry.path(self.target, self.version).join(name);
            Error::Write { path, source }
        })
    }
}
