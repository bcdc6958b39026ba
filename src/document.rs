//! TOML that people edit: text goes in, a value or every problem with its place comes out.
//!
//! Serde stops at the first mistake. Here a mistaken entry is noted, blanked out (so that the places of the others
//! stay), and the rest is read again, until nothing is left to complain about.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item, Table, Value};

/// More than anybody mends at a time.
const MAX_PROBLEMS: usize = 50;

/// One thing wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, or whatever else was read.
    pub file: PathBuf,
    /// Line and column, counted from 1, with the line's text and how many characters are meant.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What would work.
    pub help: Option<String>,
}

/// Something impossible about settings, told by those who know what they mean and not where they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Which setting: a dotted path from the table that the teller knows.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would work.
    pub help: Option<String>,
}

impl Flaw {
    /// A flaw of the setting `key`.
    pub fn at(key: &str, message: impl Into<String>) -> Self {
        Self { key: key.to_owned(), message: message.into(), help: None }
    }

    /// Adds what would work.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same, seen from the table above.
    #[must_use]
    pub fn within(self, table: &str) -> Self {
        Self { key: format!("{table}.{}", self.key), ..self }
    }
}

/// Where in a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    #[serde(skip)]
    text: String,
    #[serde(skip)]
    width: usize,
}

impl Place {
    /// The place of a range of bytes.
    pub fn of(text: &str, span: Range<usize>) -> Self {
        let start = span.start.min(text.len());
        let begin = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let width = text.get(start..span.end.clamp(start, end)).map_or(1, |t| t.chars().count().max(1));
        Self {
            line: text[..start].matches('\n').count() + 1,
            column: text[begin..start].chars().count() + 1,
            text: text[begin..end].trim_end().to_owned(),
            width,
        }
    }
}

impl Problem {
    /// A problem that no line shows.
    pub fn general(file: &Path, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place: None, message: message.into(), help: None }
    }

    /// A problem at a range of bytes of `text`.
    pub fn at(file: &Path, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { place: Some(Place::of(text, span)), ..Self::general(file, message) }
    }

    /// Whether the line shown, or the message, may hold a password.
    pub fn may_show_a_secret(&self) -> bool {
        let signs = ["pas", "secret", "token", "//", "@"];
        // recipients are no secrets, whatever stands in them
        let harmless = |key: &str| matches!(key.trim(), "to" | "to_critical" | "from");
        self.place.as_ref().is_some_and(|place| {
            let recipients =
                place.text.split_once('=').is_some_and(|(key, rest)| harmless(key) && !rest.contains("//"));
            !recipients && signs.iter().any(|sign| place.text.contains(sign))
        })
    }

    /// The same without the line and without the value that stands there.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        if !self.message.starts_with("unknown field") {
            "has a wrong value, which is not shown because it may hold a password".clone_into(&mut self.message);
        }
        if let Some(place) = &mut self.place {
            place.text.clear();
        }
        self
    }

    /// Adds what would work.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl fmt::Display for Problem {
    /// `file:line:column: message`, the line with the place marked, and the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(place) = self.place.as_ref().filter(|place| !place.text.is_empty()) {
            let number = place.line.to_string();
            let margin = " ".repeat(number.len());
            // tabs are kept, so that the marks stand below what they mark
            let indent: String =
                place.text.chars().take(place.column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
            write!(f, "\n  {number} | {}\n  {margin} | {indent}{}", place.text, "^".repeat(place.width))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Reads `text`; `file` is for the messages. A value comes back only when there are no problems.
pub fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, Vec<Problem>> {
    match read(file, text) {
        (Some(value), problems) if problems.is_empty() => Ok(value),
        (_, problems) => Err(problems),
    }
}

/// Reads `text`: its problems, and what could be read besides them, so that the rest can be checked, too.
pub fn read<T: DeserializeOwned>(file: &Path, text: &str) -> (Option<T>, Vec<Problem>) {
    let (mut problems, mut blanked) = (Vec::new(), Vec::new());
    let mut rest = text.to_owned();
    loop {
        let document = match Document::parse(rest.as_str()) {
            Ok(document) => document,
            // the text as written is tried first, so this is the writer's mistake
            Err(e) => {
                let message = format!("this is not TOML: {}", e.message().trim());
                problems.push(Problem::at(file, text, e.span().unwrap_or(0..0), message));
                return (None, problems);
            }
        };
        let error = match toml_edit::de::from_str::<T>(&rest) {
            Ok(value) => return (Some(value), problems),
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let entry = enclosing(document.as_table(), &span, &rest);
        let missing = error.message().strip_prefix("missing field `").and_then(|name| name.split('`').next());
        // what is missing because it was blanked out has been complained about
        if !missing.is_some_and(|name| blanked.iter().any(|key| key == name)) {
            let mut problem = Problem::at(file, text, span, error.message().trim());
            problem.help = suggestion(error.message());
            problems.push(problem);
        }
        let Some((key, range)) = entry.filter(|_| problems.len() < MAX_PROBLEMS) else { return (None, problems) };
        blank(&mut rest, range);
        blanked.push(key);
    }
}

/// The smallest entry that holds `span`: its key, and the range from the beginning of its line to its end. For a table
/// whose header is meant (its name is wrong, or something is missing in it) that is the whole table.
fn enclosing(table: &Table, span: &Range<usize>, text: &str) -> Option<(String, Range<usize>)> {
    for (name, item) in table {
        let key = table.key(name).and_then(toml_edit::Key::span)?;
        match item {
            Item::Value(value) => {
                let end = value.span().map_or(key.end, |v| v.end);
                // a dotted key begins before its last part
                let start = text[..key.start].rfind('\n').map_or(0, |at| at + 1);
                if start <= span.start && span.start < end.max(key.start + 1) {
                    return Some((name.to_owned(), start..end));
                }
            }
            Item::Table(inner) => {
                if let Some(found) = enclosing(inner, span, text) {
                    return Some(found);
                }
                let Some(whole) = inner.span() else { continue };
                let header = key.start <= span.start && span.end <= key.end;
                if header || *span == whole {
                    return Some((name.to_owned(), extent(inner, whole)));
                }
            }
            _ => {}
        }
    }
    None
}

/// From a table's header to the end of the last thing in it.
fn extent(table: &Table, header: Range<usize>) -> Range<usize> {
    let mut end = header.end;
    for (name, item) in table {
        let key = table.key(name).and_then(toml_edit::Key::span);
        let inner = match item {
            Item::Value(value) => Value::span(value),
            Item::Table(inner) => inner.span().map(|header| extent(inner, header)),
            other => other.span(),
        };
        end = [key, inner].into_iter().flatten().map(|range| range.end).fold(end, usize::max);
    }
    header.start..end
}

/// Overwrites a range with spaces; lines stay where they are.
fn blank(text: &mut String, range: Range<usize>) {
    let spaces: String = text[range.clone()].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
    text.replace_range(range, &spaces);
}

/// "unknown field `maee`, expected one of `mae`, `mse`" → "did you mean `mae`?"
fn suggestion(message: &str) -> Option<String> {
    let (unknown, expected) = message.split_once(", expected ")?;
    let mistaken = unknown.strip_prefix("unknown ")?.split('`').nth(1)?;
    let known = expected.split('`').skip(1).step_by(2);
    let (closest, score) =
        known.map(|name| (name, strsim::jaro_winkler(mistaken, name))).max_by(|a, b| a.1.total_cmp(&b.1))?;
    (score > 0.8).then(|| format!("did you mean `{closest}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(default)]
        name: String,
        #[serde(default)]
        inner: Inner,
        needy: Option<Needy>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Needy {
        must: String,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(default)]
        count: u8,
        #[serde(default)]
        list: Vec<u8>,
    }

    fn check(text: &str, expected: &[&str]) {
        let found = match parse::<Sample>(Path::new("f.toml"), text) {
            Ok(_) => Vec::new(),
            Err(problems) => problems,
        };
        let first_lines: Vec<String> =
            found.iter().map(|p| p.to_string().lines().next().expect("a line").to_owned()).collect();
        assert_eq!(first_lines, expected, "{text}");
    }

    #[test]
    fn all_problems_at_once_with_their_places() {
        check("name = \"x\"\n[inner]\ncount = 3\n", &[]);
        check("name = 3\n", &["f.toml:1:8: invalid type: integer `3`, expected a string"]);
        check(
            "nam = 3\nname = 4\n[inner]\n  count = -1\nlist = [\n 1,\n 300,\n]\n[other]\nx = 1\n",
            &[
                "f.toml:1:1: unknown field `nam`, expected one of `name`, `inner`, `needy`",
                "f.toml:2:8: invalid type: integer `4`, expected a string",
                "f.toml:4:11: invalid value: integer `-1`, expected u8",
                "f.toml:7:2: invalid value: integer `300`, expected u8",
                "f.toml:9:2: unknown field `other`, expected one of `name`, `inner`, `needy`",
            ],
        );
        // a mistaken value is no missing one, and what is missing does not hide what comes after it
        check(
            "[needy]\nmust = 3\n[inner]\nx = 1\n",
            &[
                "f.toml:2:8: invalid type: integer `3`, expected a string",
                "f.toml:4:1: unknown field `x`, expected `count` or `list`",
            ],
        );
        check(
            "[needy]\n[inner]\nx = 1\n",
            &["f.toml:1:1: missing field `must`", "f.toml:3:1: unknown field `x`, expected `count` or `list`"],
        );
        check("inner.count = 3\ninner.cuont = 3\n", &["f.toml:2:7: unknown field `cuont`, expected `count` or `list`"]);
        check("name = \n", &["f.toml:1:8: this is not TOML: string values must be quoted, expected literal string"]);
    }

    #[test]
    fn a_problem_shows_its_line() {
        let problems = parse::<Sample>(Path::new("jobs/w.toml"), "[inner]\ncuont = 1\n").expect_err("a typo");
        assert_eq!(
            problems[0].to_string(),
            "jobs/w.toml:2:1: unknown field `cuont`, expected `count` or `list`\n  2 | cuont = 1\n    | ^^^^^\n  \
             help: did you mean `count`?"
        );
    }
}
