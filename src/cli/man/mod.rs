//! `retraind man` and `retraind completions`

mod command;
mod formats;

use super::Cli;
use super::exit::Failure;
use clap::CommandFactory;
use clap_complete::Shell;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Where to write retraind.1, retraind-run.1, …, retraind.toml.5, retraind-jobs.5; made where missing
    dir: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  retraind completions bash > ~/.local/share/bash-completion/completions/retraind
  retraind completions zsh  > ~/.zfunc/_retraind
  retraind completions fish > ~/.config/fish/completions/retraind.fish")]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

pub(super) fn man(args: &ManArgs) -> Result<ExitCode, Failure> {
    let failed = |source| Failure::Write { path: args.dir.clone(), source };
    fs::create_dir_all(&args.dir).map_err(failed)?;
    for page in pages().map_err(failed)? {
        let path = args.dir.join(&page.name);
        fs::write(&path, page.text).map_err(|source| Failure::Write { path, source })?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "retraind", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(ExitCode::SUCCESS)
}

/// A page of the manual.
struct Page {
    /// Of its file: `retraind-run.1`
    name: String,
    text: Vec<u8>,
}

fn pages() -> std::io::Result<Vec<Page>> {
    let mut pages = command::pages(Cli::command())?;
    pages.extend([formats::settings(), formats::jobs()]);
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The names that the commands have: `retraind`, `retraind-run`, …
    fn names(command: &clap::Command, name: &str) -> Vec<String> {
        let mut all = vec![name.to_owned()];
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
            all.extend(names(inner, &format!("{name}-{}", inner.get_name())));
        }
        all
    }

    #[test]
    fn every_command_and_every_format_has_a_page() {
        let mut expected: Vec<String> =
            names(&Cli::command(), "retraind").iter().map(|name| format!("{name}.1")).collect();
        expected.extend(["retraind.toml.5".to_owned(), "retraind-jobs.5".to_owned()]);
        expected.sort();
        let mut found: Vec<String> = pages().expect("pages").into_iter().map(|page| page.name).collect();
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn no_page_runs_lines_together() {
        for page in pages().expect("pages") {
            let text = String::from_utf8(page.text).expect("UTF-8");
            assert!(text.contains(".TH ") && text.contains(".SH NAME"), "{}", page.name);
            assert!(!text.contains(".SH EXTRA"), "{}: what follows the help has sections of its own", page.name);
        }
    }

    #[test]
    fn the_exit_codes_are_a_list_with_one_entry_each() {
        let page = pages().expect("pages").into_iter().find(|page| page.name == "retraind.1").expect("a page");
        let text = String::from_utf8(page.text).expect("UTF-8");
        let section = text.split(".SH \"EXIT STATUS\"").nth(1).expect("a section");
        let section = section.split("\n.SH ").next().expect("its text");
        for (codes, _) in super::super::exit::CODES {
            assert!(section.contains(&format!(".TP\n\\fB{codes}\\fR\n")), "{codes}: {section}");
        }
    }

    #[test]
    fn the_readme_lists_every_command() {
        let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
        let table = readme.split("## Commands").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the table");
        // `retraind runs [JOB]`, `show RUN`: the first words of what stands in quotes in the first column
        let listed: Vec<&str> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next())
            .flat_map(|cell| cell.split('`').step_by(2).collect::<Vec<_>>())
            .filter_map(|code| code.trim_start_matches("retraind ").split_whitespace().next())
            .collect();
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(listed.contains(&command.get_name()), "{} is not in {listed:?}", command.get_name());
        }
    }
}
