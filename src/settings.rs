//! Settings of the host: defaults, under `retraind.toml`, under `RETRAIND_*` environment variables.

mod alerting;

pub use alerting::{Alerting, Command, Smtp, Style, Tls, Webhook};

use crate::document::{self, Problem};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PREFIX: &str = "RETRAIND_";
const CONFIG_VARIABLE: &str = "RETRAIND_CONFIG";
const PLACES: [&str; 2] = ["/etc/retraind/retraind.toml", "retraind.toml"];

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
}

impl Default for State {
    fn default() -> Self {
        Self { url: "sqlite://retraind.db".to_owned() }
    }
}

/// `[source]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// `sqlite://PATH` or `postgres://…`; only `retraind import` writes there.
    pub url: String,
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
    /// The library; where unset, `ORT_DYLIB_PATH`, then the places that `make` and `ops/install` use.
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

/// Settings and where they come from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file read, if there was one.
    pub file: Option<PathBuf>,
}

/// Reads the settings: `config`, else the file `RETRAIND_CONFIG` names, else the first of the usual places there is.
pub fn load(config: Option<&Path>) -> Result<Loaded, Vec<Problem>> {
    let named = config
        .map(Path::to_owned)
        .or_else(|| std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
    let file = named.or_else(|| PLACES.map(PathBuf::from).into_iter().find(|place| place.is_file()));
    let text = match &file {
        None => String::new(),
        Some(file) => fs::read_to_string(file).map_err(|e| {
            let help = "name another with --config FILE, or leave it out to work with the defaults";
            vec![Problem::general(file, format!("could not be read: {e}")).help(help)]
        })?,
    };
    let mut problems = Vec::new();
    if let Some(file) = &file
        && let Err(found) = document::parse::<Settings>(file, &text)
    {
        problems.extend(found.into_iter().map(|p| if p.may_show_a_secret() { p.without_secrets() } else { p }));
    }
    // the environment alone, so that its mistakes are shown beside the file's
    if let Err(found) = extract(&Figment::from(Serialized::defaults(Settings::default())).merge(environment())) {
        problems.extend(found);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let figment =
        Figment::from(Serialized::defaults(Settings::default())).merge(Toml::string(&text)).merge(environment());
    Ok(Loaded { settings: extract(&figment)?, file })
}

/// Settings that are text whatever they look like: figment would take a password of digits for a number.
const TEXTS: [&str; 10] = [
    "state.url",
    "source.url",
    "source.table",
    "smtp.host",
    "smtp.username",
    "smtp.password",
    "smtp.from",
    "alerting.host",
    "alerting.webhook.url",
    "alerting.webhook.secret",
];

fn environment() -> Figment {
    let variable = |key: &str| key.replace('.', "__");
    let texts: Vec<String> = TEXTS.iter().map(|key| variable(key)).collect();
    let ignored: Vec<&str> = ["config", "log"].into_iter().chain(texts.iter().map(String::as_str)).collect();
    let mut figment = Figment::from(Env::prefixed(PREFIX).ignore(&ignored).split("__"));
    for key in TEXTS {
        if let Ok(value) = std::env::var(format!("{PREFIX}{}", variable(key).to_uppercase())) {
            figment = figment.merge((key, value));
        }
    }
    figment
}

fn extract(figment: &Figment) -> Result<Settings, Vec<Problem>> {
    figment.extract().map_err(|errors| {
        errors
            .into_iter()
            .map(|e| {
                let variable = format!("{PREFIX}{}", e.path.join("__").to_uppercase());
                let help = "variables are named RETRAIND_TABLE__KEY, such as RETRAIND_SMTP__PASSWORD";
                Problem::general(Path::new(&variable), e.kind.to_string()).help(help)
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
