//! Section 1: a page for each command, from what `--help` says.

use super::Page;
use crate::cli::exit;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;

/// What the main page says of variables.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("RETRAIND_CONFIG", "The settings file, where --config names none."),
    (
        "RETRAIND_<TABLE>__<KEY>",
        "A setting, over what the file says, such as RETRAIND_SOURCE__URL; see retraind.toml(5).",
    ),
    ("CREDENTIALS_DIRECTORY", "Set by systemd: secrets named like their settings, such as source-url, are read there."),
    ("RETRAIND_LOG", "What is logged, over -v and -q, such as warn,retraind=debug."),
    ("RETRAIND_LOG_FORMAT", "text, json or journal, where --log-format says nothing."),
    ("ORT_DYLIB_PATH", "The ONNX Runtime library, where the settings name none."),
    ("NO_COLOR", "Where set, there are no colours."),
];

/// What the main page says of files.
const FILES: [(&str, &str); 4] = [
    ("/etc/retraind/retraind.toml", "Settings of the host; see retraind.toml(5)."),
    ("/etc/retraind/jobs/", "Jobs, one file each, where an installation puts them; see retraind-jobs(5)."),
    ("/var/lib/retraind/", "State, versions, and runs' logs and checkpoints, where an installation puts them."),
    ("./retraind.toml, ./jobs/, ./models/, ./runs/", "The same where nothing is set."),
];

pub(super) fn pages(command: Command) -> io::Result<Vec<Page>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    collect(&command, true, &mut pages)?;
    Ok(pages)
}

fn collect(command: &Command, main: bool, pages: &mut Vec<Page>) -> io::Result<()> {
    pages.push(page(command, main)?);
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        collect(inner, false, pages)?;
    }
    Ok(())
}

fn page(command: &Command, main: bool) -> io::Result<Page> {
    let man = Man::new(command.clone()).manual("retraind");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let mut rest = Roff::new();
    if command.get_subcommands().any(|inner| !inner.is_hide_set()) {
        subcommands(&mut rest, command);
    }
    if main {
        list(&mut rest, "EXIT STATUS", &exit::CODES);
        list(&mut rest, "ENVIRONMENT", &ENVIRONMENT);
        list(&mut rest, "FILES", &FILES);
    } else if let Some(help) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        after_help(&mut rest, &help.to_string());
    }
    rest.control("SH", ["SEE ALSO"]);
    let pages = ["retraind(1)", "retraind.toml(5)", "retraind-jobs(5)"];
    rest.text([roman(pages[usize::from(main)..].join(", "))]);
    text.extend_from_slice(rest.to_roff().as_bytes());
    Ok(Page { name: man.get_filename(), text })
}

fn subcommands(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["COMMANDS"]);
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        roff.control("TP", []);
        roff.text([bold(format!("{}(1)", inner.get_display_name().unwrap_or_else(|| inner.get_name())))]);
        roff.text([roman(inner.get_about().map(ToString::to_string).unwrap_or_default())]);
    }
}

fn list(roff: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (name, meaning) in entries {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*meaning)]);
    }
}

/// Paragraphs after the options: "Examples:" with indented lines, sentences on exit codes, and others.
fn after_help(roff: &mut Roff, text: &str) {
    let mut section = "";
    for paragraph in text.trim().split("\n\n") {
        let title = match paragraph {
            p if p.starts_with("Example") => "EXAMPLES",
            p if p.starts_with("Exits with") || p.starts_with("Exit codes") => "EXIT STATUS",
            _ => "NOTES",
        };
        if title == section {
            roff.control("PP", []);
        } else {
            roff.control("SH", [title]);
            section = title;
        }
        let (said, shown): (Vec<&str>, Vec<&str>) = paragraph.lines().partition(|line| !line.starts_with(' '));
        let said = said.join(" ");
        if !matches!(said.as_str(), "Examples:" | "Example:") {
            roff.text([roman(said)]);
        }
        let shown: Vec<&str> = shown.iter().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
        verbatim(roff, &shown);
    }
}

/// Lines as they are.
pub(super) fn verbatim(roff: &mut Roff, lines: &[&str]) {
    if lines.is_empty() {
        return;
    }
    roff.control("RS", ["4"]);
    roff.control("nf", []);
    for line in lines {
        // an empty line would be taken for the end of a paragraph by some readers
        match line.trim_end() {
            "" => roff.control("sp", []),
            line => roff.text([roman(line)]),
        };
    }
    roff.control("fi", []);
    roff.control("RE", []);
}
