//! Settings of the host: defaults, under `retraind.toml`, under secrets kept apart, under `RETRAIND_*` variables.

mod load;

pub use load::{Loaded, load};

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
    /// The library that judges and serves.
    pub onnxruntime: OnnxRuntime,
    /// The server that takes mail.
    pub smtp: Smtp,
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
}

impl Default for Runs {
    fn default() -> Self {
        Self { dir: PathBuf::from("runs") }
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

/// `[smtp]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Smtp {
    /// The mail server; where unset, no mail is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its port; where unset, 587 for `starttls`, 465 for `implicit`, 25 for `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the connection is protected.
    pub tls: Tls,
    /// Who logs in; where unset, nobody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Their password; better given as `RETRAIND_SMTP__PASSWORD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Recipients.
    pub to: Vec<String>,
}

impl Default for Smtp {
    fn default() -> Self {
        Self { host: None, port: None, tls: Tls::Starttls, username: None, password: None, from: None, to: Vec::new() }
    }
}

/// `[smtp] tls`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Plain, then upgraded; refused where the server cannot.
    Starttls,
    /// From the first byte.
    Implicit,
    /// Not at all: for a server on this host.
    None,
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
