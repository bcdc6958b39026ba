//! Finding and loading the ONNX Runtime library.
//!
//! A missing, too old or broken library makes the loader panic, hang or crash. So each candidate is first opened by a
//! child process with a time limit; only one that survived it is loaded here.

use super::Error;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::process::Command;

/// The version that `ops/fetch-onnxruntime` brings and that the binding is made for.
pub const PINNED_VERSION: &str = "1.32.0";

const FILE_NAME: &str = "libonnxruntime.so";
/// How the child's answer begins.
const ANSWER: &str = "retraind: ONNX Runtime ";
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// What a library said of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// Where it lies.
    pub path: PathBuf,
    /// Its version, such as `1.32.0`.
    pub version: String,
}

/// A place looked at in vain.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Which file.
    pub path: PathBuf,
    /// Why it was looked at.
    pub because: &'static str,
    /// What was wrong.
    pub problem: String,
    /// The process that tried it was killed from outside or took too long: nothing is known of the library.
    pub undecided: bool,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.path.display(), self.because, self.problem)
    }
}

/// Where to look, in order: the setting alone if there is one, else `ORT_DYLIB_PATH` alone if set, else the places
/// that `make onnxruntime` and `ops/install.sh` use.
pub fn candidates(setting: Option<&Path>) -> Vec<(PathBuf, &'static str)> {
    if let Some(path) = setting {
        return vec![(path.to_owned(), "[onnxruntime] library")];
    }
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|p| !p.is_empty()) {
        return vec![(PathBuf::from(path), "ORT_DYLIB_PATH")];
    }
    let mut places = Vec::new();
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.join("lib/retraind")));
    if let Some(dir) = beside {
        places.push((dir.join(FILE_NAME), "beside the program"));
    }
    for dir in ["/usr/local/lib/retraind", "/usr/lib/retraind"] {
        places.push((Path::new(dir).join(FILE_NAME), "installed"));
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        // a relative one is to be ignored, says the XDG specification
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    if let Some(cache) = cache {
        let dir = cache.join("retraind/onnxruntime").join(PINNED_VERSION);
        places.push((dir.join(FILE_NAME), "fetched by make onnxruntime"));
    }
    places.dedup_by(|a, b| a.0 == b.0);
    places
}

/// The first library that works, after a child process has tried it.
///
/// `program` is the retraind to run as that child.
pub async fn find(setting: Option<&Path>, program: &Path) -> Result<Probed, Error> {
    let mut tried = Vec::new();
    for (path, because) in candidates(setting) {
        match probe(&path, program).await {
            Ok(probed) => return Ok(probed),
            Err(Problem { what, undecided }) => tried.push(Tried { path, because, problem: what, undecided }),
        }
    }
    Err(Error::NotFound { tried })
}

/// The library of [`find`], loaded into this process.
pub async fn open(setting: Option<&Path>, program: &Path) -> Result<Library, Error> {
    let probed = find(setting, program).await?;
    tracing::info!(version = %probed.version, path = %probed.path.display(), "ONNX Runtime found");
    match tokio::task::spawn_blocking(move || Library::load(&probed)).await {
        Ok(loaded) => loaded,
        Err(died) => std::panic::resume_unwind(died.into_panic()),
    }
}

/// Why a library is not used.
struct Problem {
    what: String,
    undecided: bool,
}

/// Asks a child process to load the library at `path`. Err: what went wrong, in words.
async fn probe(path: &Path, program: &Path) -> Result<Probed, Problem> {
    let problem = |what: String| Problem { what, undecided: false };
    let undecided = |what: String| Problem { what, undecided: true };
    if !path.exists() {
        return Err(problem("no such file".to_owned()));
    }
    let path = std::path::absolute(path).map_err(|e| problem(e.to_string()))?;
    let child = Command::new(program)
        .arg("probe-onnxruntime")
        .arg(&path)
        .arg(std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // an interrupt at the terminal is for us to follow; the child's death by it would say nothing of the library
        .process_group(0)
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(TIME_LIMIT, child).await {
        Err(_) => return Err(undecided(format!("loading it did not end within {} s", TIME_LIMIT.as_secs()))),
        Ok(Err(e)) => return Err(undecided(format!("the probing process did not start: {e}"))),
        Ok(Ok(output)) => output,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
        return Err(match (output.status.code(), output.status.signal()) {
            (Some(_), _) if said.contains("panicked at") => {
                problem("it is too old, or no ONNX Runtime at all".to_owned())
            }
            (Some(_), _) => problem(last.trim_start_matches("error: ").to_owned()),
            // nothing does that to itself: a stop, a person, or the kernel for memory
            (None, Some(number @ (2 | 9 | 15))) => {
                undecided(format!("the probing process was ended by signal {number} before it had loaded it"))
            }
            (None, _) => problem(format!("loading it crashed the probing process ({})", output.status)),
        });
    }
    // a library may say something of its own, and one that ends the process when it is loaded leaves a good exit code
    let said = String::from_utf8_lossy(&output.stdout);
    match said.lines().find_map(|line| line.strip_prefix(ANSWER)) {
        Some(version) => Ok(Probed { path, version: version.trim().to_owned() }),
        None => Err(problem("loading it ended the probing process without an answer".to_owned())),
    }
}

/// What the child says of a library of this version.
pub fn answer(version: &str) -> String {
    format!("{ANSWER}{version}")
}

/// The child's end: loads the library in this process and returns its version. Whatever becomes of the `parent`, a library
/// that hangs does not stay.
pub fn probe_here(path: &Path, parent: Option<i32>) -> Result<String, Error> {
    let failed = |source: std::io::Error| Error::Load { path: path.to_owned(), reason: source.to_string() };
    #[cfg(target_os = "linux")]
    if let Some(parent) = parent {
        let signal = rustix::process::Signal::KILL;
        rustix::process::set_parent_process_death_signal(Some(signal)).map_err(|error| failed(error.into()))?;
        // the parent may have ended before the signal was asked for
        if rustix::process::getppid().map(rustix::process::Pid::as_raw_nonzero).map(i32::from) != Some(parent) {
            return Err(failed(io::Error::other("the process that wanted to know has ended")));
        }
    }
    let version = version_of(path).map_err(failed)?;
    Library::load(&Probed { path: path.to_owned(), version: String::new() })?;
    Ok(version.unwrap_or_else(|| "of an unknown version".to_owned()))
}

/// The version that the library's exported symbols carry. They stand near its beginning: reading all of it would take longer
/// than loading it.
fn version_of(path: &Path) -> io::Result<Option<String>> {
    /// More than a symbol has.
    const OVERLAP: usize = 64;
    const PIECE: u64 = 1 << 18;
    let mut file = File::open(path)?;
    let mut piece = Vec::new();
    while (&mut file).take(PIECE).read_to_end(&mut piece)? > 0 {
        if let Some(version) = version_in(&piece) {
            return Ok(Some(version));
        }
        // a symbol may be cut in two
        piece.drain(..piece.len().saturating_sub(OVERLAP));
    }
    Ok(None)
}

/// A whole symbol `VERS_1.32.0`.
fn version_in(library: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"\0VERS_";
    let at = library.windows(MARK.len()).position(|bytes| bytes == MARK)? + MARK.len();
    let rest = &library[at..];
    let version = &rest[..rest.iter().position(|&b| b == 0)?];
    let numbers = version.iter().all(|&b| b.is_ascii_digit() || b == b'.');
    (numbers && !version.is_empty()).then(|| String::from_utf8_lossy(version).into_owned())
}

/// Proof that ONNX Runtime is loaded in this process; it stays so until the process ends.
#[derive(Clone, Copy)]
pub struct Library(&'static ort::environment::Environment);

/// One environment a process: ONNX Runtime allows no more. Kept for ever, since sessions refer to it.
static ENVIRONMENT: OnceLock<ort::environment::Environment> = OnceLock::new();

impl Library {
    /// Loads a probed library. The first call decides for the process.
    pub fn load(probed: &Probed) -> Result<Self, Error> {
        if let Some(environment) = ENVIRONMENT.get() {
            return Ok(Self(environment));
        }
        let failed = |reason: String| Error::Load { path: probed.path.clone(), reason };
        let environment = ort::init_from(&probed.path)
            .map_err(|e| failed(e.to_string()))?
            .with_telemetry(false)
            .build()
            .map_err(|e| failed(e.to_string()))?;
        // two threads may have come this far; either environment serves
        Ok(Self(ENVIRONMENT.get_or_init(|| environment)))
    }

    pub(super) fn environment(self) -> &'static ort::environment::Environment {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_symbols() {
        assert_eq!(version_in(b"\x7fELF..\0VERS_1.32.0\0OrtGetApiBase\0").as_deref(), Some("1.32.0"));
        assert_eq!(version_in(b"no library"), None);
        assert_eq!(version_in(b"..\0VERS_1.3"), None, "cut in two");
        let file = tempfile::NamedTempFile::new().expect("a file");
        for before in [0, (1 << 18) - 9, (1 << 18) + 1] {
            let text = [vec![b'.'; before].as_slice(), b"\0VERS_1.32.0\0", &[b'.'; 100]].concat();
            std::fs::write(file.path(), text).expect("written");
            assert_eq!(version_of(file.path()).expect("read").as_deref(), Some("1.32.0"), "{before}");
        }
        assert_eq!(version_in(b"\0VERS_x\0"), None);
    }
}
