//! A training written down, so that it can go on where it stood: same bytes at the end as without the interruption.
//!
//! One safetensors file, replaced whole: parameters, Adam's moments, the best parameters so far and the epochs as
//! tensors, the rest as JSON in its header. Order of windows and dropout follow from the seed and the position alone.

use super::adam::Adam;
use super::{Epoch, Settings};
use crate::data::DataVersion;
use crate::host;
use crate::model::Errors;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, SafeTensorError, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const EXTENSION: &str = "checkpoint";
/// Header key of our part.
const HEADER: &str = "retraind";
/// A write may take this share of the time since the last one; 3 %.
const LARGEST_SHARE: f64 = 0.03;
/// Where an epoch takes longer than this, one is written within it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What a training comes from. It goes on only from a checkpoint that comes from the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The rows.
    pub data: DataVersion,
    /// Which of their columns, or what else sets this training apart from others on the same rows.
    pub target: String,
    /// How they became windows.
    pub recipe: String,
    /// How it trains, the seed included.
    pub settings: Settings,
    /// Windows to train and to validate on.
    pub windows: [usize; 2],
    /// The program: another one may round in another order.
    pub program_version: String,
}

impl Origin {
    /// What differs, in words, with both values.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |name: &str, a: String, b: String| {
            if a != b {
                found.push(format!("{name} {b} instead of {a}"));
            }
        };
        compare("data", self.data.sha256.clone(), other.data.sha256.clone());
        compare("target", self.target.clone(), other.target.clone());
        compare("recipe", self.recipe.clone(), other.recipe.clone());
        compare("settings", format!("{:?}", self.settings), format!("{:?}", other.settings));
        compare("windows", format!("{:?}", self.windows), format!("{:?}", other.windows));
        compare("program version", self.program_version.clone(), other.program_version.clone());
        found
    }
}

/// Where a training is written down.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The file; its directory is made where missing.
    pub path: PathBuf,
    /// What the training comes from.
    pub origin: Origin,
}

/// Why a checkpoint could not be used or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// `read` or `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not what this program writes.
    #[error("use the checkpoint {}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// How far a training is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub(super) parameters: Vec<f32>,
    pub(super) adam: Adam,
    /// Parameters of the best epoch; as long as the others.
    pub(super) best: Vec<f32>,
    /// That epoch and its validation loss.
    pub(super) best_epoch: Option<(usize, f64)>,
    /// Epochs that are over.
    pub(super) epochs: Vec<Epoch>,
    /// Windows of the present epoch trained on.
    pub(super) position: usize,
    /// Their errors.
    pub(super) errors: Errors,
    /// Time that the present epoch took before `since`.
    pub(super) spent: Duration,
}

/// The header's part that is no tensor. Numbers that must not lose a bit are tensors or bits.
#[derive(Serialize, Deserialize)]
struct Header {
    origin: Origin,
    steps: u64,
    best_epoch: Option<usize>,
    position: usize,
    n: usize,
    n_absolute: usize,
}

/// Bytes of each tensor.
type Tensors = HashMap<String, Vec<u8>>;

/// What [`Origin`] a checkpoint has. None: there is no file.
pub fn peek(path: &Path) -> Result<Option<Origin>, CheckpointError> {
    Ok(read(path)?.map(|(header, _)| header.origin))
}

/// Files in `dir` that trainings were written down in. A directory that is missing has none.
pub fn checkpoints(dir: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(files(dir)?.into_iter().filter(|path| is_checkpoint(path)).collect())
}

/// Removes them, and what killed processes left half written: the run is over.
pub fn remove_checkpoints(dir: &Path) -> io::Result<()> {
    leavings(dir)?.iter().try_for_each(fs::remove_file)
}

/// What that would remove.
pub fn leavings(dir: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(files(dir)?.into_iter().filter(|path| is_checkpoint(path) || host::is_half_written(path)).collect())
}

fn is_checkpoint(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    entries.map(|entry| entry.map(|entry| entry.path())).collect()
}

impl Checkpoint {
    /// Where a training called `name` is written down: a file in `dir`.
    pub fn new(dir: &Path, name: &str, origin: Origin) -> Self {
        Self { path: dir.join(format!("{name}.{EXTENSION}")), origin }
    }

    /// How far the training is. None: there is no file. Err with [`CheckpointError::Damaged`]: not of this training.
    pub(super) fn load(&self) -> Result<Option<State>, CheckpointError> {
        let Some((header, tensors)) = read(&self.path)? else { return Ok(None) };
        let differences = self.origin.differences(&header.origin);
        if !differences.is_empty() {
            return Err(self.damaged(format!("it belongs to another training: {}", differences.join(", "))));
        }
        state(&header, tensors).map(Some).map_err(|reason| self.damaged(reason))
    }

    pub(super) fn save(&self, state: &State) -> Result<(), CheckpointError> {
        let bytes = self.bytes(state).map_err(|error| self.damaged(error.to_string()))?;
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir).map_err(|source| self.file("write", source))?;
        }
        host::replace(&self.path, &bytes).map_err(|source| self.file("write", source))
    }

    fn bytes(&self, state: &State) -> Result<Vec<u8>, SafeTensorError> {
        let header = Header {
            origin: self.origin.clone(),
            steps: state.adam.steps,
            best_epoch: state.best_epoch.map(|(epoch, _)| epoch),
            position: state.position,
            n: state.errors.n,
            n_absolute: state.errors.n_absolute,
        };
        let header = serde_json::to_string(&header).expect("plain structs with text keys are JSON");
        let numbers = [
            state.best_epoch.map_or(f64::NAN, |(_, loss)| loss),
            state.errors.loss,
            state.errors.absolute,
            state.spent.as_secs_f64(),
        ];
        let epochs: Vec<f64> = state.epochs.iter().flat_map(row).collect();
        let f32s = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        let f64s = |values: &[f64]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        let n = state.parameters.len();
        let tensors = [
            ("parameters", Dtype::F32, vec![n], f32s(&state.parameters)),
            ("adam.first", Dtype::F32, vec![n], f32s(&state.adam.first)),
            ("adam.second", Dtype::F32, vec![n], f32s(&state.adam.second)),
            ("best", Dtype::F32, vec![n], f32s(&state.best)),
            ("numbers", Dtype::F64, vec![numbers.len()], f64s(&numbers)),
            ("epochs", Dtype::F64, vec![state.epochs.len(), EPOCH_COLUMNS], f64s(&epochs)),
        ];
        let views = tensors
            .iter()
            .map(|(name, kind, shape, bytes)| Ok((*name, TensorView::new(*kind, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, SafeTensorError>>()?;
        safetensors::serialize(views, Some(HashMap::from([(HEADER.to_owned(), header)])))
    }

    fn file(&self, what: &'static str, source: io::Error) -> CheckpointError {
        CheckpointError::File { what, path: self.path.clone(), source }
    }

    fn damaged(&self, reason: String) -> CheckpointError {
        CheckpointError::Damaged { path: self.path.clone(), reason }
    }
}

const EPOCH_COLUMNS: usize = 7;

fn row(e: &Epoch) -> [f64; EPOCH_COLUMNS] {
    [e.epoch as f64, e.loss, e.val_loss, e.mae, e.val_mae, e.fixed_loss, e.seconds]
}

fn read(path: &Path) -> Result<Option<(Header, Tensors)>, CheckpointError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CheckpointError::File { what: "read", path: path.to_owned(), source }),
    };
    let damaged = |reason: String| CheckpointError::Damaged { path: path.to_owned(), reason };
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
    let header = metadata.metadata().as_ref().and_then(|map| map.get(HEADER));
    let header = header.ok_or_else(|| damaged(format!("its header has no `{HEADER}`")))?;
    let header = serde_json::from_str(header).map_err(|e| damaged(e.to_string()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    Ok(Some((header, tensors.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect())))
}

fn state(header: &Header, mut tensors: Tensors) -> Result<State, String> {
    let mut take = |name: &str| tensors.remove(name).ok_or_else(|| format!("it holds no `{name}`"));
    let f32s = |bytes: Vec<u8>| -> Vec<f32> { bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect() };
    let f64s = |bytes: Vec<u8>| -> Vec<f64> { bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect() };
    let [parameters, first, second, best] =
        [take("parameters")?, take("adam.first")?, take("adam.second")?, take("best")?].map(f32s);
    if [&first, &second, &best].iter().any(|other| other.len() != parameters.len()) {
        return Err("its tensors have different sizes".to_owned());
    }
    let [best_loss, loss, absolute, spent] =
        f64s(take("numbers")?).try_into().map_err(|_| "it holds not four numbers".to_owned())?;
    let epochs = f64s(take("epochs")?)
        .chunks_exact(EPOCH_COLUMNS)
        .map(|e| Epoch {
            epoch: e[0] as usize,
            loss: e[1],
            val_loss: e[2],
            mae: e[3],
            val_mae: e[4],
            fixed_loss: e[5],
            seconds: e[6],
        })
        .collect();
    Ok(State {
        parameters,
        adam: Adam { steps: header.steps, first, second },
        best,
        best_epoch: header.best_epoch.map(|epoch| (epoch, best_loss)),
        epochs,
        position: header.position,
        errors: Errors { n: header.n, loss, n_absolute: header.n_absolute, absolute },
        spent: Duration::try_from_secs_f64(spent).map_err(|e| e.to_string())?,
    })
}

/// When to write.
pub(super) struct Rhythm {
    last: Instant,
    cost: Duration,
}

impl Rhythm {
    pub(super) fn new() -> Self {
        Self { last: Instant::now(), cost: Duration::ZERO }
    }

    /// Whether it is time at the end of an epoch: where epochs are short, not after each.
    pub(super) fn is_due(&self) -> bool {
        self.cost.as_secs_f64() <= LARGEST_SHARE * self.last.elapsed().as_secs_f64()
    }

    /// Whether it is time within an epoch.
    pub(super) fn is_overdue(&self) -> bool {
        self.last.elapsed() >= LONGEST_WAIT && self.is_due()
    }

    pub(super) fn wrote(&mut self, began: Instant) {
        (self.last, self.cost) = (Instant::now(), began.elapsed());
    }
}
