//! The only printer: reports on stdout as text or JSON, talk on stderr.

use crate::logging::Format;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    colours: bool,
    quiet: bool,
    /// Whether talk goes into the log, where that is the journal or JSON.
    logged: bool,
}

impl Output {
    pub(super) fn new(no_color: bool, quiet: bool) -> Self {
        let wanted = !no_color
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { colours: wanted, quiet, logged: false }
    }

    /// The same for a log of that form: one stream does not mix lines for people with JSON.
    pub(super) fn saying_it_by(self, format: Format) -> Self {
        Self { logged: format != Format::Text, ..self }
    }

    /// Whether a terminal shows what is said, so that bars may be drawn there.
    pub(super) fn draws(self) -> bool {
        !self.quiet && !self.logged && io::stderr().is_terminal()
    }

    pub(super) fn colours_on_stderr(self) -> bool {
        self.colours && io::stderr().is_terminal()
    }

    /// One line of a report.
    #[expect(clippy::unused_self, reason = "whoever prints has an output: commands are not to print by themselves")]
    pub(super) fn line(self, text: &str) -> io::Result<()> {
        unless_closed(writeln!(io::stdout().lock(), "{}", visible(text)))
    }

    /// Text as it was written, its lines included.
    #[expect(clippy::unused_self, reason = "as for `line`")]
    pub(super) fn raw(self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        unless_closed(write!(stdout, "{}", visible(text)).and_then(|()| stdout.flush()))
    }

    /// One JSON document.
    #[expect(clippy::unused_self, reason = "as for `line`")]
    pub(super) fn json(self, value: &impl Serialize) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        let json = serde_json::to_string_pretty(value)?;
        unless_closed(writeln!(stdout, "{json}"))
    }

    /// A table; where the terminal is too narrow for it, one block a row.
    pub(super) fn table(self, columns: &[Column], rows: &[Vec<String>]) -> io::Result<()> {
        let terminal = io::stdout().is_terminal();
        let table = build(columns, rows, terminal && self.colours);
        let width = if terminal { table.width().map_or(usize::MAX, usize::from) } else { usize::MAX };
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        let mut stdout = io::stdout().lock();
        if build(columns, rows, false).lines().all(|line| line.trim_end().chars().count() <= width) {
            return unless_closed(lines.iter().try_for_each(|line| writeln!(stdout, "{line}")));
        }
        let name_width = columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
        for (k, row) in rows.iter().enumerate() {
            if k > 0 {
                unless_closed(writeln!(stdout))?;
            }
            for (column, value) in columns.iter().zip(row).filter(|(_, value)| !value.is_empty()) {
                unless_closed(writeln!(stdout, "{:name_width$}  {}", column.name, visible(value)))?;
            }
        }
        Ok(())
    }

    /// Something said on the way.
    pub(super) fn say(self, text: &str) {
        match (self.quiet, self.logged) {
            (true, _) => {}
            (false, true) => tracing::info!("{text}"),
            (false, false) => to_stderr(&visible(text)),
        }
    }

    /// Something that deserves attention.
    pub(super) fn warn(self, text: &str) {
        match (self.quiet, self.logged) {
            (true, _) => {}
            (false, true) => tracing::warn!("{text}"),
            (false, false) => to_stderr(&format!("{} {}", self.paint("warning:", "33"), visible(text))),
        }
    }

    /// Why it did not work.
    pub(super) fn error(self, text: &str) {
        if self.logged {
            return tracing::error!("{text}");
        }
        to_stderr(&format!("{} {}", self.paint("error:", "31"), visible(text)));
    }

    fn paint(self, text: &str, colour: &str) -> String {
        if self.colours_on_stderr() { format!("\x1b[1;{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Whoever closed the pipe has seen enough; what the command comes to does not change by that.
fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Names and values come from files and databases: a terminal must not obey what stands in them.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn to_stderr(text: &str) {
    // a stderr that cannot be written to leaves nobody to tell
    writeln!(io::stderr().lock(), "{text}").unwrap_or_default();
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    name: &'static str,
    right: bool,
}

/// A column of words.
pub(super) const fn text(name: &'static str) -> Column {
    Column { name, right: false }
}

/// A column of numbers.
pub(super) const fn number(name: &'static str) -> Column {
    Column { name, right: true }
}

fn build(columns: &[Column], rows: &[Vec<String>], bold: bool) -> Table {
    let align = |column: &Column| if column.right { CellAlignment::Right } else { CellAlignment::Left };
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| {
        let cell = Cell::new(column.name).set_alignment(align(column));
        if bold { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    for row in rows {
        table.add_row(
            columns.iter().zip(row).map(|(column, value)| Cell::new(visible(value)).set_alignment(align(column))),
        );
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Skill, or what stands for one that is undefined.
pub(super) fn skill(value: Option<f64>) -> String {
    value.map_or_else(|| "undefined".to_owned(), |skill| format!("{skill:.3}"))
}

/// A count with its thousands apart.
pub(super) fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let mut out = String::from(sign);
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time to the second.
pub(super) fn time(value: chrono::DateTime<chrono::Utc>) -> String {
    value.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(visible("a\u{1b}[31mb\tc\n"), "a\\u{1b}[31mb\tc\n");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(skill(Some(-1.5)), "-1.500");
        for (value, expected) in [(0.0, "0"), (999.4, "999"), (1_000.0, "1,000"), (-12_345_678.0, "-12,345,678")] {
            assert_eq!(count(value), expected);
        }
    }
}
