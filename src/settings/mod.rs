//! Settings of the host: defaults, under `retraind.toml`, under secrets kept apart, under `RETRAIND_*` variables.

mod alerting;
mod load;

pub use alerting::{Alerting, Command, Smtp, Style, Tls, Webhook};
pub use load::{Loaded, jobs_dir, load, secret_variables};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Everything that is set for a host. The defaults work with no file at all, in the working directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What retraind remembers.
    pub state: State,
    /// Where the recorded counts are.
    pub source: Source,
    /// The job files.
    pub jobs: Jobs,
    /// The versions.
    pub registry: Registry,
    /// What runs leave while they work.
    pub runs: Runs,
    /// The scheduler.
    pub daemon: Daemon,
    /// The library that judges and serves.
    pub onnxruntime: OnnxRuntime,
    /// The server that takes mail.
    pub smtp: Smtp,
    /// When alerts are told, and by what besides mail.
    pub alerting: Alerting,
    /// Forecasting.
    pub predict: Predict,
}

/// `[state]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// `sqlite://PATH` or `postgres://…`
    pub url: String,
    /// A file that holds the url in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
}

impl Default for State {
    fn default() -> Self {
        Self { url: "sqlite://retraind.db".to_owned(), url_file: None }
    }
}

/// `[source]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// `sqlite://PATH` or `postgres://…`; only `retraind import` writes there.
    pub url: String,
    /// A file that holds the url in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// Name of the table, `schema.table` in PostgreSQL where needed.
    pub table: String,
    /// Longest time one statement may take.
    #[serde(with = "crate::duration")]
    pub statement_timeout: Duration,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            url: "sqlite://data.db".to_owned(),
            url_file: None,
            table: "video_stats_processed".to_owned(),
            statement_timeout: Duration::from_mins(5),
        }
    }
}

/// `[jobs]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// Directory of the job files.
    pub dir: PathBuf,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { dir: PathBuf::from("jobs") }
    }
}

/// `[registry]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// Directory of the versions.
    pub dir: PathBuf,
}

impl Default for Registry {
    fn default() -> Self {
        Self { dir: PathBuf::from("models") }
    }
}

/// `[runs]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runs {
    /// Directory of the runs' logs and checkpoints: `DIR/RUN/`.
    pub dir: PathBuf,
    /// How long after a run's end the daemon removes its directory.
    #[serde(with = "crate::duration")]
    pub keep_for: Duration,
}

impl Runs {
    /// Where a run keeps its log, its checkpoints, and what its program leaves.
    pub fn of(&self, run_id: i64) -> PathBuf {
        self.dir.join(run_id.to_string())
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self { dir: PathBuf::from("runs"), keep_for: Duration::from_hours(24 * 365) }
    }
}

/// `[daemon]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Daemon {
    /// Runs at once, those of `retraind run` included; at least 1.
    pub max_running: std::num::NonZeroU32,
    /// How long a worker that is to end (cancelled, out of time) may take from SIGTERM to SIGKILL.
    #[serde(with = "crate::duration")]
    pub grace: Duration,
    /// The same when the daemon stops, for the workers to write their checkpoints.
    #[serde(with = "crate::duration")]
    pub stop_grace: Duration,
    /// After how much silence a worker on another host counts as gone. On this host its process is looked at instead.
    #[serde(with = "crate::duration")]
    pub worker_silence: Duration,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            max_running: std::num::NonZeroU32::MIN,
            grace: Duration::from_secs(30),
            stop_grace: Duration::from_mins(1),
            worker_silence: Duration::from_mins(2),
        }
    }
}

/// `[onnxruntime]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OnnxRuntime {
    /// The library; where unset, `ORT_DYLIB_PATH`, then the places that `make` and `ops/install.sh` use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,
}

/// `[predict]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Predict {
    /// Longest time between two rows of a window; a video with a longer gap is not forecast.
    #[serde(with = "crate::duration")]
    pub longest_gap: Duration,
}

impl Default for Predict {
    fn default() -> Self {
        Self { longest_gap: Duration::from_hours(6) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_sample_file_is_right_and_shows_the_defaults() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/retraind.toml");
        let text = fs::read_to_string(&file).expect("the sample");
        let sample: Settings = document::parse(&file, &text).unwrap_or_else(|p| panic!("{}", p[0]));
        assert_eq!(sample, Settings::default());
    }

    #[test]
    fn mistakes_in_a_file_are_pointed_at() {
        let text = "[state]\nurll = \"x\"\n[smtp]\ntls = \"ssl\"\nport = 99999\n";
        let problems = document::parse::<Settings>(Path::new("r.toml"), text).expect_err("three mistakes");
        let lines: Vec<_> = problems.iter().map(|p| p.place.as_ref().map(|place| place.line)).collect();
        assert_eq!(lines, [Some(2), Some(4), Some(5)]);
    }
}
