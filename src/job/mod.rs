//! Jobs: files that people edit. Text goes in, checked [`Job`]s or every problem come out.

mod alerts;
mod data;
mod evaluate;
mod exec;
mod kind;
mod policy;
mod predict;
mod retrain;
mod spec;
mod together;

pub use alerts::Alerts;
pub(crate) use alerts::addresses;
pub use evaluate::Evaluate;
pub use exec::Exec;
pub use kind::Kind;
pub use policy::{Executor, Overlap, Policy};
pub use predict::Predict;
pub use retrain::{Challenger, Retrain};
pub use together::{check_together, starts_after};

use crate::document::Problem;
use crate::gate::Rules;
use crate::grid;
use crate::trigger::Triggers;
use kind::Spec;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::fs;
use std::path::{Path, PathBuf};

/// The job that is shipped, `retraind demo` runs and messages name as an example.
pub const WEEKLY_RETRAIN: (&str, &str) =
    ("weekly-retrain", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/weekly-retrain.toml")));

/// Every job that is shipped, by name and text: what stands in `jobs/`.
pub const SHIPPED: &[(&str, &str)] = &[
    WEEKLY_RETRAIN,
    ("data-volume-retrain", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/data-volume-retrain.toml"))),
    ("evaluation", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/evaluation.toml"))),
];

/// Jobs to copy from, which are shipped and not in force.
pub const EXAMPLES: &[(&str, &str)] =
    &[("exec", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/examples/exec.toml")))];

/// A job file is a page of text.
const MAX_BYTES: u64 = 1 << 16;

/// A job as checked: everything it says is possible, everything it leaves out has its default.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The file's name without `.toml`.
    pub name: String,
    /// What it is for, in the writer's words.
    pub description: String,
    /// What it does.
    pub kind: Kind,
    /// When it starts by itself.
    pub triggers: Triggers,
    /// How its runs are run.
    pub policy: Policy,
    /// How recorded rows become what a model sees.
    pub data: grid::Settings,
    /// What a version must reach.
    pub gate: Rules,
    /// When to warn.
    pub alerts: Alerts,
}

impl Job {
    /// Reads a job from text. `file` gives the name and stands in messages; `overrides` are `key = value` pairs such
    /// as `retrain.epochs=10` that replace what the text says.
    pub fn parse(file: &Path, text: &str, overrides: &[String]) -> Result<Self, Vec<Problem>> {
        let name = spec::name_of(file)?;
        // the file's own problems come first, with places as its writer sees them
        let job = Spec::read(file, text, &name)?;
        if overrides.is_empty() {
            return Ok(job);
        }
        let set = PathBuf::from(format!("{} with --set {}", file.display(), overrides.join(" --set ")));
        // on the job as it would run, so that setting one rule of a gate that is left out leaves the others in force
        let text = spec::with_overrides(&set, &job.to_toml(), overrides)?;
        Spec::read(&set, &text, &name)
    }

    /// Reads a job file.
    pub fn read(file: &Path, overrides: &[String]) -> Result<Self, Vec<Problem>> {
        let text = text_of(file).map_err(|problem| vec![problem])?;
        Self::parse(file, &text, overrides)
    }

    /// The job as TOML with defaults filled in; reading it gives the same job.
    pub fn to_toml(&self) -> String {
        toml_edit::ser::to_string_pretty(self).expect("tables of plain values are TOML")
    }
}

impl Serialize for Job {
    /// As in a job file, defaults filled in.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut file = serializer.serialize_map(None)?;
        file.serialize_entry("description", &self.description)?;
        self.kind.serialize_into(&mut file)?;
        if self.triggers != Triggers::default() {
            file.serialize_entry("trigger", &self.triggers)?;
        }
        file.serialize_entry("run", &self.policy)?;
        if self.kind.makes_versions() {
            file.serialize_entry("data", &self.data)?;
            file.serialize_entry("gate", &self.gate)?;
        }
        file.serialize_entry("alerts", &self.alerts)?;
        file.end()
    }
}

/// What stands in a job file.
fn text_of(file: &Path) -> Result<String, Problem> {
    // a pipe would hold everybody up, and a device never ends
    match fs::metadata(file) {
        Ok(found) if !found.is_file() => return Err(Problem::general(file, "is no regular file")),
        Ok(found) if found.len() > MAX_BYTES => {
            return Err(Problem::general(file, format!("is larger than {MAX_BYTES} bytes, which no job file is")));
        }
        _ => {}
    }
    fs::read_to_string(file).map_err(|e| Problem::general(file, format!("could not be read: {e}")))
}

/// A file's name without its ending, whether or not it will do as a job's.
pub fn stem(file: &Path) -> String {
    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The job files of a directory, sorted by name. Err: the directory cannot be read.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>, Problem> {
    let unreadable = |e: std::io::Error| {
        Problem::general(dir, format!("the directory of job files could not be read: {e}"))
            .help("name one under `[jobs] dir` in retraind.toml, or run in a directory that has `jobs/`")
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The job of that name in `dir`. Err: there is none (with what there is), or its file has problems.
pub fn find(dir: &Path, name: &str, overrides: &[String]) -> Result<Job, Vec<Problem>> {
    let name = name.strip_suffix(".toml").unwrap_or(name);
    let file = dir.join(format!("{name}.toml"));
    if file.is_file() && spec::name_of(&file)? == name {
        return Job::read(&file, overrides);
    }
    let names: Vec<String> = files(dir).map_err(|problem| vec![problem])?.iter().map(|file| stem(file)).collect();
    let closest = names
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let help = match (closest, names.is_empty()) {
        (Some((_, known)), _) => format!("did you mean `{known}`? There is: {}", names.join(", ")),
        (None, false) => format!("there is: {}", names.join(", ")),
        (None, true) => format!("there are no job files in {}", dir.display()),
    };
    Err(vec![Problem::general(&file, format!("there is no job `{name}`")).help(help)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Target;

    fn parse(text: &str) -> Result<Job, Vec<Problem>> {
        Job::parse(Path::new("jobs/w.toml"), text, &[])
    }

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = match parse(text) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}\nlacks {expected}");
        }
    }

    #[test]
    fn shipped_jobs_are_right() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs");
        let files = files(&dir).expect("a directory");
        assert!(!files.is_empty());
        let examples = super::files(&dir.join("examples")).expect("a directory");
        for file in files.into_iter().chain(examples) {
            let job = Job::read(&file, &[]).unwrap_or_else(|p| panic!("{}", p[0]));
            assert!(!job.description.is_empty());
            let again = Job::parse(&file, &job.to_toml(), &[]).expect("what we write we read");
            assert_eq!(again, job);
        }
    }

    #[test]
    fn defaults_are_the_references() {
        let job = parse("[retrain]\n").expect("a job");
        let Kind::Retrain(retrain) = &job.kind else { panic!("a retrain") };
        assert_eq!(retrain.targets, Target::ALL);
        let training = retrain.training();
        assert_eq!((training.epochs, training.batch_size, training.patience), (50, 32, 10));
        assert_eq!((training.hidden, training.dense, training.dropout), (50, 25, 0.2));
        assert_eq!(job.gate, Rules::default());
        let with_gate = parse("[retrain]\n[gate]\nmae_max = 0.1\n").expect("a job");
        assert_eq!(with_gate.gate, Rules { mae_max: Some(0.1), ..Rules::NONE });
        assert_eq!(job.data, grid::Settings::of(grid::Grid::AsRecorded));
    }

    #[test]
    fn every_mistake_is_pointed_at() {
        check("", &["has no kind"]);
        check("[retrain]\n[predict]\n", &["w.toml:2:1: is a second kind beside `retrain`"]);
        check("[predict]\n[gate]\nmae_max = 1\n", &["w.toml:2:1: a job of kind `predict` makes no versions"]);
        check("[exec]\ncommand = []\n", &["w.toml:2:11: names no program"]);
        check("[retrain]\n[run]\nattempts = 0\n", &["w.toml:3:12: must be a whole number from 1"]);
        check(
            "[retrain]\n[exec]\ncommand = []\n[trigger.cron]\nschedule = \"0 0 31 2 *\"\n",
            &["is a second kind", "command", "w.toml:5:12"],
        );
        check("[trigger.cron]\nschedule = \"61 * * * *\"\n", &["has no kind", "w.toml:2:12"]);
        check("[exec]\n[trigger.cron]\nschedule = \"61 * * * *\"\n", &["missing field `command`", "w.toml:3:12"]);
        check("[retrain]\n[trigger.degradation]\nmae_ratio = 1\n", &["w.toml:3:13: must be a number above 1"]);
        check("[retrain]\n[trigger.after]\njob = \"w\"\n", &["w.toml:3:7: is this job itself"]);
        check("[retrian]\n", &["w.toml:1:2: unknown field `retrian`"]);
        check("[retrain]\nepoch = 3\n", &["w.toml:2:1: unknown field `epoch`"]);
        check("[retrain]\nepochs = -5\n", &["w.toml:2:10: must be a whole number from 1 to 100000, not -5"]);
        check("[retrain]\nepochs = 2.5\n", &["w.toml:2:10: invalid type: floating point"]);
        check("[retrain]\ndropout = 1.0\n", &["w.toml:2:11: must be a number from 0 to below 1, not 1"]);
        check("[retrain]\nlearning_rate = 0\n", &["w.toml:2:17: must be a number above 0 and at most 1, not 0"]);
        check("[retrain]\ntargets = []\n", &["w.toml:2:11: names no target"]);
        check(
            "[retrain]\ntargets = [\"views\", \"likes\", \"views\"]\n",
            &["w.toml:2:30: target `views` is named twice"],
        );
        check("[retrain]\ntargets = [\"view\"]\n", &["w.toml:2:12: unknown variant `view`"]);
        check("[retrain]\n[gate]\n", &["w.toml:2:1: sets no rule"]);
        check("[retrain]\n[gate]\nbetter_than_champion = true\nchampion_margin = 1.5\n", &["w.toml:4:19: must be a"]);
        check(
            "[retrain]\nrecipe = \"level\"\nhorizon = 2\nchallengers = [\"ridge\"]\n",
            &["w.toml:3:11: recipe `level` forecasts one row ahead", "w.toml:4:15: recipe `level` has no linear part"],
        );
        check("[retrain]\n[data]\ngrid = \"7m\"\n", &["w.toml:3:8: unknown variant `7m`"]);
        check("[retrain]\n[data]\nvalidation_share = 1\n", &["w.toml:3:20: must be a number above 0 and below 1"]);
        check(
            "[retrain]\nrecipe = \"increment\"\n[data]\ngrid = \"as-recorded\"\n",
            &["w.toml:4:8: recipe `increment` needs an even grid"],
        );
        check(
            "[retrain]\nrecipe = \"level\"\n[data]\nvalidation = \"rolling\"\n",
            &["w.toml:4:14: recipe `level` validates as the reference does"],
        );
        check("[retrain]\n[gate]\nmae_max = nan\n", &["w.toml:3:11: must be a number of at least 0, not NaN"]);
        check(
            "[retrain]\n[trigger.cron]\nschedule = \"0 0 30 2 *\"\ntimezone = \"Etc/UTC\"\n",
            &["w.toml:3:12: `0 0 30 2 *` never fires"],
        );
        check(
            "[retrain]\n[trigger.cron]\nschedule = \"0 25 * * *\"\ntimezone = \"Mars/Base\"\n",
            &["w.toml:3:12: `0 25 * * *` is no schedule", "w.toml:4:12: `Mars/Base` is no time zone"],
        );
        check("[retrain]\n[trigger.cronn]\nschedule = \"0 3 * * *\"\n", &["w.toml:2:10: unknown field `cronn`"]);
        check("[retrain]\n[alerts]\ntraining_longer_than = \"soon\"\n", &["w.toml:3:24: "]);
        check("[retrain]\n[alerts]\nmemory_above_percent = 180\n", &["w.toml:3:24: must be a number above 0"]);
        check(
            "[retrain]\nepochs = 0\ntargets = [\"x\"]\n[trigger.cron]\nschedule = \"0 0 31 2 *\"\n[gate]\nmea_max = 1\n",
            &["w.toml:2:10:", "w.toml:3:12:", "w.toml:5:12: `0 0 31 2 *` never fires", "w.toml:7:1:"],
        );
    }

    #[test]
    fn a_setting_can_be_overridden() {
        let set = |overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
            Job::parse(Path::new("w.toml"), "[retrain]\nepochs = 5\n", &overrides)
        };
        let job = set(&["retrain.epochs=10", "retrain.targets=[\"likes\"]", "gate.skill_min=0.5"]).expect("a job");
        let Kind::Retrain(retrain) = &job.kind else { panic!("a retrain") };
        assert_eq!((retrain.training().epochs, retrain.targets.as_slice()), (10, &[Target::Likes][..]));
        assert_eq!(job.gate.skill_min, Some(0.5));
        for (wrong, says) in [
            ("retrain.epochs", "not of the form KEY=VALUE"),
            ("retrain.epochs=-1", "must be a whole number from 1"),
            ("retrain.epoch=1", "unknown field `epoch`"),
            ("retrain.epochs.x=1", "is no table"),
            ("=1", "not of the form KEY=VALUE"),
        ] {
            let problems = set(&[wrong]).expect_err("wrong");
            assert!(problems[0].to_string().contains(says), "{}", problems[0]);
        }
        // a bare word is taken as text
        assert!(set(&["description=hello"]).is_ok_and(|job| job.description == "hello"));
    }

    #[test]
    fn the_jobs_that_are_shipped_are_those_of_the_directory() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs");
        let names: Vec<String> =
            files(&dir).expect("files").iter().map(|f| spec::name_of(f).expect("a name")).collect();
        let mut shipped: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
        shipped.sort_unstable();
        assert_eq!(names, shipped);
        for (name, text) in SHIPPED {
            let job = Job::parse(&dir.join(format!("{name}.toml")), text, &[]);
            assert!(job.is_ok_and(|job| !job.description.is_empty()), "{name}");
        }
    }

    #[test]
    fn names_of_files_are_checked() {
        for (file, fine) in [("weekly-retrain.toml", true), ("a b.toml", false), ("é.toml", false), ("A_1.toml", true)]
        {
            assert_eq!(Job::parse(Path::new(file), "[retrain]\n", &[]).is_ok(), fine, "{file}");
        }
    }
}
