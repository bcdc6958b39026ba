//! Logging: what the rooms say by `tracing` → the journal's fields, lines that people read, or lines of JSON.
//!
//! Fields named `job`, `run_id`, `target` and `event` mean the same everywhere, so `journalctl RETRAIND_RUN_ID=17` finds
//! all that a run said, whichever process said it.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt as text};

/// Names the form that the log has where the command line does not.
pub const FORMAT_VARIABLE: &str = "RETRAIND_LOG_FORMAT";
/// Names what is logged, as `tracing_subscriber`'s `EnvFilter` reads it.
pub const FILTER_VARIABLE: &str = "RETRAIND_LOG";
/// Set by systemd for those whose stderr is the journal: `DEVICE:INODE` of that stream.
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";
/// Before our fields' names in the journal.
const PREFIX: &str = "RETRAIND";

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines on stderr.
    Text,
    /// Objects on stderr, one a line.
    Json,
    /// The journal's own protocol, with fields.
    Journal,
}

impl Format {
    /// Words for [`FromStr`].
    pub const WORDS: [&'static str; 3] = ["text", "json", "journal"];
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "journal" => Ok(Self::Journal),
            _ => Err(UnknownFormat(word.to_owned())),
        }
    }
}

/// A word that is no [`Format`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no form of the log; there is text, json and journal")]
pub struct UnknownFormat(String);

/// How to log.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// What was asked for; else `RETRAIND_LOG_FORMAT`, else what stderr is.
    pub format: Option<Format>,
    /// What is logged unless `RETRAIND_LOG` says otherwise, as `EnvFilter` reads it.
    pub filter: &'a str,
    /// Colours, where lines go to a terminal.
    pub colours: bool,
}

/// Starts logging, once a process. Gives the form that the log has; Err: `RETRAIND_LOG_FORMAT` holds an unknown word.
pub fn start(settings: Settings<'_>) -> Result<Format, UnknownFormat> {
    let wished = match settings.format {
        Some(format) => Some(format),
        None => match std::env::var(FORMAT_VARIABLE) {
            Ok(word) if !word.is_empty() => Some(word.parse()?),
            _ => None,
        },
    };
    let format = wished.unwrap_or(if stderr_is_the_journal() { Format::Journal } else { Format::Text });
    let journal = if format == Format::Journal { journal() } else { None };
    // a journal that cannot be reached leaves stderr, which it may be reading
    let format = if format == Format::Journal && journal.is_none() { Format::Text } else { format };
    let lines = match format {
        Format::Journal => None,
        Format::Json => {
            Some(text::layer().json().flatten_event(true).with_current_span(false).with_writer(io::stderr).boxed())
        }
        Format::Text => {
            let layer = text::layer().with_writer(io::stderr).with_target(false).with_ansi(settings.colours);
            // a person sees when something is said; a file is read later, and the journal has its own clock
            let untimed = io::IsTerminal::is_terminal(&io::stderr()) || stderr_is_the_journal();
            Some(if untimed { layer.without_time().boxed() } else { layer.boxed() })
        }
    };
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(settings.filter));
    tracing_subscriber::registry().with(lines).with(journal).with(filter).init();
    Ok(format)
}

fn journal() -> Option<tracing_journald::Layer> {
    let layer = tracing_journald::layer().ok()?;
    Some(
        layer
            .with_field_prefix(Some(PREFIX.to_owned()))
            .with_syslog_identifier("retraind".to_owned())
            .with_priority_mappings(
                // systemd's own habit: a finished step is information, not a notice
                PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() },
            ),
    )
}

/// Whether stderr goes to the journal: where it was redirected, the variable is still there and no longer true.
pub fn stderr_is_the_journal() -> bool {
    let Ok(named) = std::env::var(JOURNAL_VARIABLE) else { return false };
    let stderr = io::stderr();
    let Ok(stream) = stderr.as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata()) else {
        return false;
    };
    is_stream(&named, stream.dev(), stream.ino())
}

fn is_stream(named: &str, device: u64, inode: u64) -> bool {
    named.split_once(':').is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Journal => "journal",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_a_format_and_back() {
        for word in Format::WORDS {
            assert_eq!(word.parse::<Format>().map(|format| format.to_string()), Ok(word.to_owned()));
        }
        let error = "jsn".parse::<Format>().expect_err("no format");
        assert_eq!(error.to_string(), "`jsn` is no form of the log; there is text, json and journal");
    }

    #[test]
    fn a_stream_is_told_by_device_and_inode() {
        let check = |named: &str, expected: bool| assert_eq!(is_stream(named, 9, 4711), expected, "{named}");
        check("9:4711", true);
        check("9:4712", false);
        check("8:4711", false);
        check("9", false);
        check("", false);
        check("9:x", false);
    }
}
