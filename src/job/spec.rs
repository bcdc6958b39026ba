//! Text → [`Spec`] → checked [`Job`]: what serde cannot say of a job file is said here, all of it at once.

use super::Job;
use super::data::DataSpec;
use super::kind::{Kind, Spec};
use crate::document::{self, Problem};
use crate::gate::Rules;
use crate::recipe::Recipe;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::ops::Range;
use std::path::Path;
use toml_edit::{Document, DocumentMut, Item, Table, Value};

impl Spec {
    /// The job of a text, or every problem: of its form, then of its meaning.
    pub(super) fn read(file: &Path, text: &str, name: &str) -> Result<Job, Vec<Problem>> {
        let (spec, mut problems) = document::read::<Self>(file, text);
        let complete = problems.is_empty();
        let checked = spec.map(|spec| spec.check(file, text, name, complete));
        match checked {
            Some(Ok(job)) if problems.is_empty() => return Ok(job),
            // what no line shows may only be missing because its line was a problem already
            Some(Err(more)) => {
                let none_yet = problems.is_empty();
                problems.extend(more.into_iter().filter(|problem| none_yet || problem.place.is_some()));
            }
            _ => {}
        }
        problems.sort_by_key(|problem| problem.place.as_ref().map(|place| (place.line, place.column)));
        Err(problems)
    }

    /// The job, or everything that is impossible about it.
    fn check(mut self, file: &Path, text: &str, name: &str, complete: bool) -> Result<Job, Vec<Problem>> {
        let places = Places::of(text);
        let at = |key: &str, message: String| match places.find(key) {
            Some(span) => Problem::at(file, text, span, message),
            None => Problem::general(file, message),
        };
        let mut problems = Vec::new();
        let mut kinds = self.kinds();
        for kind in &mut kinds {
            if let Kind::Retrain(retrain) = kind {
                retrain.default_to_recipe(|key| places.find(&format!("retrain.{key}")).is_some());
            }
        }
        if let [first, others @ ..] = &kinds[..] {
            for second in others {
                let message = format!("is a second kind beside `{}`", first.name());
                problems.push(at(second.name(), message).help("a job does one thing; make two files of it"));
            }
        } else {
            let problem = Problem::general(file, "has no kind, so there is nothing to do");
            let names = Kind::NAMES.map(|name| format!("[{name}]")).join(", ");
            problems.push(problem.help(format!("say what the job does by a table of that name: one of {names}")));
        }
        let tables = kinds.iter().map(|kind| (kind.name(), kind.check())).chain([("trigger", self.trigger.check())]);
        let flaws = tables.flat_map(|(table, flaws)| flaws.into_iter().map(move |flaw| flaw.within(table)));
        for flaw in flaws {
            let problem = at(&flaw.key, flaw.message);
            problems.push(match flaw.help {
                Some(help) => problem.help(help),
                None => problem,
            });
        }
        if self.trigger.after.as_ref().is_some_and(|after| after.job == name) {
            problems.push(at("trigger.after.job", "is this job itself".to_owned()));
        }
        let Some(kind) = kinds.into_iter().next() else { return Err(problems) };
        if self.gate.is_some() && !kind.makes_versions() {
            let message = format!("a job of kind `{}` makes no versions that a gate could judge", kind.name());
            problems.push(at("gate", message));
        }
        if self.data != DataSpec::default() && !kind.makes_versions() {
            let message = format!("a job of kind `{}` takes data as each version was trained on it", kind.name());
            problems.push(at("data", message));
        }
        let gate = self.gate.unwrap_or_default();
        if complete && (Rules { champion_margin: 0.0, ..gate }) == Rules::NONE {
            let problem = at("gate", "sets no rule, so every version would pass".to_owned());
            problems.push(
                problem.help(
                    "set mae_max, mse_max, skill_min or better_than_champion, or leave [gate] out for the defaults",
                ),
            );
        }
        let limits = [("mae_max", gate.mae_max), ("mse_max", gate.mse_max), ("skill_min", gate.skill_min)];
        for (rule, limit) in limits {
            let Some(limit) = limit else { continue };
            let (fine, range) = match rule {
                "skill_min" => (limit <= 1.0 && limit.is_finite(), "at most 1"),
                _ => (limit >= 0.0 && limit.is_finite(), "at least 0"),
            };
            if !fine {
                problems.push(at(&format!("gate.{rule}"), format!("must be a number of {range}, not {limit}")));
            }
        }
        if !(0.0..1.0).contains(&gate.champion_margin) {
            let message = format!("must be a number from 0 to below 1, not {}", gate.champion_margin);
            problems.push(at("gate.champion_margin", message));
        }
        let recipe = if let Kind::Retrain(retrain) = &kind { retrain.recipe } else { Recipe::Level };
        let data = self.data.fill(recipe, &at, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Job {
            data,
            name: name.to_owned(),
            description: self.description,
            kind,
            triggers: self.trigger,
            policy: self.run,
            gate,
            alerts: self.alerts,
        })
    }
}

/// Where the values of a text stand.
struct Places<'a>(Option<Document<&'a str>>);

impl<'a> Places<'a> {
    fn of(text: &'a str) -> Self {
        Self(Document::parse(text).ok())
    }

    /// The range of the value at a dotted path such as `retrain.targets.2`.
    fn find(&self, path: &str) -> Option<Range<usize>> {
        let mut item = self.0.as_ref()?.as_item();
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            if let (Some(array), Ok(index)) = (item.as_array(), part.parse::<usize>()) {
                return array.get(index).and_then(Value::span);
            }
            item = item.get(part)?;
            if parts.peek().is_none() {
                return item.span();
            }
        }
        None
    }
}

/// Parts of a key in `--set`; job files nest two deep.
const MAX_DEPTH: usize = 8;

/// A job's name: its file's, in letters that do as a directory, a database key and a word in a mail's subject.
pub(super) fn name_of(file: &Path) -> Result<String, Vec<Problem>> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !stem.is_empty() && stem.len() <= 100 && stem.chars().all(fine) {
        return Ok(stem.to_owned());
    }
    let help = "rename it to letters, digits, `-` and `_`, at most 100 of them, such as weekly-retrain.toml";
    Err(vec![Problem::general(file, "a job is named like its file, and this name will not do").help(help)])
}

/// The text with `key=value` pairs set; a value that is not TOML is taken as text.
pub(super) fn with_overrides(file: &Path, text: &str, overrides: &[String]) -> Result<String, Vec<Problem>> {
    let wrong = |message: String| vec![Problem::general(file, message)];
    let mut document: DocumentMut =
        text.parse().map_err(|e: toml_edit::TomlError| wrong(format!("this is not TOML: {}", e.message())))?;
    for pair in overrides {
        let (path, value) = pair
            .split_once('=')
            .map(|(path, value)| (path.trim(), value.trim()))
            .filter(|(path, _)| {
                !path.is_empty() && path.split('.').count() <= MAX_DEPTH && path.split('.').all(|part| !part.is_empty())
            })
            .ok_or_else(|| wrong(format!("`{pair}` is not of the form KEY=VALUE, such as retrain.epochs=10")))?;
        let value: Value = value.parse().unwrap_or_else(|_| Value::from(value));
        let mut table: &mut Table = document.as_table_mut();
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                table.insert(part, Item::Value(value));
                break;
            }
            let inner = table.entry(part).or_insert_with(|| Item::Table(Table::new()));
            table = inner
                .as_table_mut()
                .ok_or_else(|| wrong(format!("`{pair}` sets something inside `{part}`, which is no table")))?;
        }
    }
    Ok(document.to_string())
}

/// A whole number from 1 to `MAX`.
pub(super) fn positive<'de, D: Deserializer<'de>, const MAX: u32>(deserializer: D) -> Result<u32, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match u32::try_from(number) {
        Ok(n) if (1..=MAX).contains(&n) => Ok(n),
        _ => Err(D::Error::custom(format!("must be a whole number from 1 to {MAX}, not {number}"))),
    }
}

/// A whole number from `MIN` to `MAX`.
pub(super) fn whole_from<'de, D: Deserializer<'de>, const MIN: u32, const MAX: u32>(
    deserializer: D,
) -> Result<u32, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match u32::try_from(number) {
        Ok(n) if (MIN..=MAX).contains(&n) => Ok(n),
        _ => Err(D::Error::custom(format!("must be a whole number from {MIN} to {MAX}, not {number}"))),
    }
}

/// A whole number of at least 0.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = i64::deserialize(deserializer)?;
    u64::try_from(number).map_err(|_| D::Error::custom(format!("must be a whole number of at least 0, not {number}")))
}

/// A share: 0 to below 1.
pub(super) fn fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    number(deserializer, |n| (0.0..1.0).contains(&n), "from 0 to below 1")
}

/// A step size: above 0, at most 1.
pub(super) fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    number(deserializer, |n| n > 0.0 && n <= 1.0, "above 0 and at most 1")
}

fn number<'de, D: Deserializer<'de>>(
    deserializer: D,
    fine: impl Fn(f64) -> bool,
    range: &str,
) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if fine(number) { Ok(number) } else { Err(D::Error::custom(format!("must be a number {range}, not {number}"))) }
}

/// A share that leaves something on both sides: above 0 and below 1.
pub(super) fn inner_share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    interval(deserializer).map(Some)
}

/// Splits of a rolling validation: 2 to 20.
pub(super) fn splits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match u32::try_from(number) {
        Ok(n) if (2..=20).contains(&n) => Ok(Some(n)),
        _ => Err(D::Error::custom(format!("must be a whole number from 2 to 20, not {number}"))),
    }
}

/// A share of truths: above 0 and below 1.
pub(super) fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    number(deserializer, |n| n > 0.0 && n < 1.0, "above 0 and below 1")
}
