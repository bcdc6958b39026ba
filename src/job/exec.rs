//! Kind `exec`: run a program. The door for steps that retraind does not have.

use crate::document::Flaw;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[exec]`. What the program is given and may say stands in `run/exec.rs` and `jobs/examples/exec.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// Where it works. Default: where the daemon does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Environment variables, over those of the daemon. Not for secrets: this file is stored with every run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Passed to the program as `settings` on its standard input: whatever it understands.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, serde_json::Value>,
}

impl Exec {
    pub(super) fn check(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        if self.command.first().is_none_or(String::is_empty) {
            let help = "name the program and its arguments, such as [\"/usr/local/bin/export-report\", \"--daily\"]";
            flaws.push(Flaw::at("command", "names no program").help(help));
        }
        for name in self.environment.keys().filter(|name| name.is_empty() || name.contains(['=', '\0'])) {
            flaws.push(Flaw::at("environment", format!("`{name}` is no name of a variable")));
        }
        flaws
    }
}
