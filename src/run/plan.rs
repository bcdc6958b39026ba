//! What a retrain will take: threads, memory, and from earlier runs the time of an epoch.

use super::{Context, Error};
use crate::bytes::Bytes;
use crate::host::Memory;
use crate::job::{Job, Retrain};
use crate::recipe::{FEATURES, Prepared, Recipe, STEPS};
use crate::store::Owner;
use crate::train::{self, Budget};
use serde::Serialize;

/// The program itself and the ONNX Runtime library.
const PROGRAM: u64 = 120 << 20;
/// Times, three counts and three growth rates, in 64 bits each.
const SERIES_ROW: u64 = 7 * 8;
/// What preparing adds at most. `level`: a column a second time and the places of its rows, while the rows are sorted (each
/// column is let go as soon as it is scaled); `increment`: counts on the grid and features of its windows.
const fn prepared_row(recipe: Recipe) -> u64 {
    match recipe {
        Recipe::Level => 8 + 4,
        Recipe::Increment => 4 * (FEATURES.len() as u64 + 1),
    }
}

/// Whose limit it is where the job sets one.
pub const OF_JOB: &str = "what `retrain.memory_limit` allows";

/// How a run divides the host between its models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Division {
    /// Models to train.
    pub models: usize,
    /// How many train at the same time.
    pub side_by_side: usize,
    /// Threads of the run.
    pub threads: usize,
    /// Memory it will take, at most. Unit: bytes.
    pub memory: u64,
}

impl Division {
    /// As many models side by side as threads and memory allow. Err: not even one fits.
    pub(super) fn of(settings: &Retrain, models: usize, rows: usize, windows: usize) -> Result<Self, Error> {
        let limit = limit(settings);
        let threads = settings
            .threads
            .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), |threads| threads as usize);
        let shared = PROGRAM + rows as u64 * (SERIES_ROW + prepared_row(settings.recipe));
        let memory = |side_by_side: usize| {
            // a training makes its buffers for all threads: it gets those of the others when they are done
            let training = train::memory(&settings.training(), [STEPS, FEATURES.len()], 1, windows, threads);
            shared + side_by_side as u64 * training
        };
        let fitting = (1..=models.min(threads).max(1)).rev().find(|&n| limit.is_none_or(|limit| memory(n) <= limit.0));
        match fitting {
            Some(side_by_side) => Ok(Self { models, side_by_side, threads, memory: memory(side_by_side) }),
            None => Err(Error::TooLarge {
                needed: Bytes(memory(1)),
                limit: limit.unwrap_or(Bytes(0)),
                whose: if settings.memory_limit.is_some() { OF_JOB } else { "free on this host" },
            }),
        }
    }

    /// In a sentence.
    pub fn sentence(&self) -> String {
        let each = Budget::new(self.threads).share_of(self.side_by_side);
        let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        format!(
            "{} on {}: {} side by side, {} each; about {} of memory",
            plural(self.models, "model"),
            plural(self.threads, "thread"),
            self.side_by_side,
            plural(each, "thread"),
            Bytes(self.memory)
        )
    }
}

/// What a run may take: what its job says, else what is free now. None: the system does not say.
fn limit(settings: &Retrain) -> Option<Bytes> {
    settings.memory_limit.or_else(|| Memory::now().ok().map(|memory| Bytes(memory.total.saturating_sub(memory.used))))
}

/// What a retrain would do now.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Rows there are.
    pub rows: usize,
    /// Videos they belong to.
    pub videos: usize,
    /// Windows to train on.
    pub train_windows: usize,
    /// Windows to judge on.
    pub validation_windows: usize,
    /// Parameters of each network.
    pub parameters: usize,
    /// Threads and memory.
    pub division: Division,
    /// Seconds an epoch of one model took on this host, the median of the job's latest run here.
    pub epoch_seconds: Option<f64>,
    /// That run.
    pub epoch_seconds_of_run: Option<i64>,
}

/// Reads the rows, as the run would, and says what it would take.
pub async fn plan(context: &Context, job: &Job, settings: &Retrain, progress: impl FnMut(u64)) -> Result<Plan, Error> {
    let (series, _) = context.source().await?.read(progress).await?;
    let (rows, videos) = (series.len(), series.videos.len());
    let prepared: Prepared =
        tokio::task::block_in_place(|| settings.recipe.prepare(series, &job.data, &settings.options()))?;
    let first = settings.targets[0];
    let (train, validation) = (prepared.train(first).len(), prepared.validation(first).len());
    let host = Owner::this_process()?.host;
    let earlier = context.store.epoch_seconds(&job.name, &host).await?;
    Ok(Plan {
        rows,
        videos,
        train_windows: train,
        validation_windows: validation,
        parameters: parameters(settings, &prepared),
        division: Division::of(settings, settings.targets.len(), rows, train)?,
        epoch_seconds: earlier.map(|(_, seconds)| seconds),
        epoch_seconds_of_run: earlier.map(|(run, _)| run),
    })
}

/// Parameters of one network.
fn parameters(settings: &Retrain, prepared: &Prepared) -> usize {
    let training = settings.training();
    match prepared.pools.first() {
        None => training.config(FEATURES.len(), 1).n_parameters(),
        Some(pool) => train::mixture_config(pool, &training).n_parameters(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Retrain {
        toml_edit::de::from_str(text).expect("settings")
    }

    #[test]
    fn models_share_threads_and_memory() {
        let of = |text: &str| Division::of(&settings(text), 3, 7708, 6118);
        let one = of("threads = 1").expect("fits");
        assert_eq!((one.side_by_side, one.threads), (1, 1));
        let four = of("threads = 4\nmemory_limit = \"4 GiB\"").expect("fits");
        assert_eq!((four.side_by_side, four.threads), (3, 4));
        // a little less than all three take
        let limit = four.memory - 1;
        let fewer = of(&format!("threads = 4\nmemory_limit = \"{limit} B\"")).expect("fits");
        assert!(fewer.side_by_side < 3 && fewer.memory <= limit, "{fewer:?}");
        let error = of("memory_limit = \"64 MiB\"").expect_err("too small");
        assert!(error.to_string().contains("64 MiB"), "{error}");
    }

    #[test]
    fn a_division_in_words() {
        let division = Division { models: 3, side_by_side: 2, threads: 2, memory: 200 << 20 };
        assert_eq!(
            division.sentence(),
            "3 models on 2 threads: 2 side by side, 1 thread each; about 200 MiB of memory"
        );
    }
}
