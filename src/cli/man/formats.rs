//! Section 5: the files that people edit, from the commented samples that are shipped.

use super::Page;
use super::command::verbatim;
use crate::job;
use clap_mangen::roff::{Roff, bold, roman};

const SAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/ops/retraind.toml"));
const SOURCE: &str = concat!("retraind ", env!("CARGO_PKG_VERSION"));

/// retraind.toml(5): the sample's comments are the reference, so that there is one.
pub(super) fn settings() -> Page {
    let mut roff = header("retraind.toml", "settings of the host for retraind");
    roff.control("SH", ["DESCRIPTION"]);
    let mut comment: Vec<&str> = Vec::new();
    let mut keys: Vec<&str> = Vec::new();
    for line in SAMPLE.lines().chain([""]) {
        if let Some(key) = key(line) {
            keys.push(key);
            continue;
        }
        // whatever follows an entry ends it
        if !keys.is_empty() || line.is_empty() {
            entry(&mut roff, &mut comment, &mut keys);
        }
        match line.strip_prefix('#') {
            Some(said) => comment.push(said.trim()),
            None if line.starts_with('[') => {
                roff.control("SH", [line]);
            }
            None => {}
        }
    }
    see_also(&mut roff, "retraind(1), retraind-jobs(5), systemd.exec(5)");
    Page { name: "retraind.toml.5".to_owned(), text: roff.to_roff().into_bytes() }
}

/// `#url = "…"` → `url = "…"`; a key is set in the sample by taking its `#` away.
fn key(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#').unwrap_or(line);
    let name = rest.split(" = ").next().filter(|name| *name != rest)?;
    (!name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')).then_some(rest)
}

fn entry(roff: &mut Roff, comment: &mut Vec<&str>, keys: &mut Vec<&str>) {
    for (k, key) in keys.drain(..).enumerate() {
        roff.control(if k == 0 { "TP" } else { "TQ" }, []);
        roff.text([bold(key)]);
    }
    for paragraph in comment.split(|line| line.is_empty()) {
        if !paragraph.is_empty() {
            roff.text([roman(paragraph.join(" "))]);
        }
    }
    comment.clear();
}

/// retraind-jobs(5): the rules that hold for every job file, and those that are shipped, in full.
pub(super) fn jobs() -> Page {
    let mut roff = header("retraind-jobs", "job files of retraind");
    roff.control("SH", ["DESCRIPTION"]);
    let said = [
        "A job is a TOML file in the directory that [jobs] dir of retraind.toml(5) names; its name is the file's without \
         .toml. One table says what the job does, tables under [trigger] when it starts by itself, [gate] what a version \
         must reach to go into service, and [alerts] when people are told.",
        "A key that is not known is an error. \"retraind check\" shows every problem of all files at once, with line and \
         column, and the next fire times; \"retraind run JOB --set TABLE.KEY=VALUE\" changes a value for one run.",
        "The jobs that are shipped follow, with comments on what can be set; the last is an example of a program of one's own.",
    ];
    for (k, paragraph) in said.into_iter().enumerate() {
        if k > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph)]);
    }
    for (name, text) in job::SHIPPED.iter().chain(job::EXAMPLES) {
        roff.control("SH", [&*name.to_uppercase()]);
        verbatim(&mut roff, &text.lines().collect::<Vec<_>>());
    }
    see_also(&mut roff, "retraind(1), retraind-check(1), retraind-run(1), retraind.toml(5)");
    Page { name: "retraind-jobs.5".to_owned(), text: roff.to_roff().into_bytes() }
}

fn header(name: &str, about: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("TH", [name, "5", "", SOURCE, "retraind"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} - {about}"))]);
    roff
}

fn see_also(roff: &mut Roff, pages: &str) {
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(pages)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_sample_has_an_entry() {
        let page = String::from_utf8(settings().text).expect("UTF-8");
        let keys: Vec<&str> = SAMPLE.lines().filter_map(key).collect();
        assert!(keys.len() > 15, "{keys:?}");
        for key in keys {
            let name = key.split(" = ").next().expect("a name");
            assert!(page.contains(&format!("\\fB{name} = ")), "{name}");
        }
        for table in SAMPLE.lines().filter(|line| line.starts_with('[')) {
            assert!(page.contains(&format!(".SH {table}\n")), "{table}");
        }
    }

    #[test]
    fn an_entry_is_told_from_a_sentence() {
        assert_eq!(key("#url = \"x\""), Some("url = \"x\""));
        assert_eq!(key("# The url = what?"), None);
        assert_eq!(key("# Default: unset."), None);
        assert_eq!(key("[state]"), None);
    }
}
