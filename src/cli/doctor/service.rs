//! The service: whether systemd has its unit, how that is, and whether what the unit forbids is needed.

use super::host::{ask, written};
use super::{Finding, State};
use crate::settings::Settings;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const UNIT: &str = "retraind.service";
const PROPERTIES: &str = "--property=LoadState,ActiveState,SubState,UnitFileState,StatusText,User,ProcSubset,ProtectSystem,\
                          ProtectHome,StateDirectory,RuntimeDirectory,ReadWritePaths";

pub(super) async fn service(settings: &Settings) -> Vec<Finding> {
    // Source: sd_booted(3)
    if !Path::new("/run/systemd/system").is_dir() {
        let says = "this host does not run systemd; have `retraind daemon` started by what supervises it".to_owned();
        return vec![Finding { what: "service", state: State::Ok, says }];
    }
    let Some(shown) = ask("systemctl", &["show", UNIT, PROPERTIES]).await else {
        let says = format!("unknown: `systemctl show {UNIT}` gave no answer");
        return vec![Finding { what: "service", state: State::Warning, says }];
    };
    let unit = Unit::parse(&shown);
    let mut findings = vec![unit.health()];
    if unit.get("LoadState") == "loaded" {
        let user = match unit.get("User") {
            "" => Some(0),
            name => ask("id", &["-u", name]).await.and_then(|id| id.trim().parse().ok()),
        };
        findings.push(unit.sandbox(settings, user));
    }
    findings
}

/// What `systemctl show` says: `KEY=VALUE` lines.
struct Unit<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Unit<'a> {
    fn parse(shown: &'a str) -> Self {
        Self(shown.lines().filter_map(|line| line.split_once('=')).collect())
    }

    fn get(&self, key: &str) -> &str {
        self.0.get(key).copied().unwrap_or_default()
    }

    fn health(&self) -> Finding {
        let (active, sub, enabled) = (self.get("ActiveState"), self.get("SubState"), self.get("UnitFileState"));
        let (state, says) = match (self.get("LoadState"), active) {
            ("not-found", _) => (State::Warning, format!("{UNIT} is not installed; ops/install.sh installs it")),
            ("loaded", "active" | "reloading") if enabled == "disabled" => (
                State::Warning,
                format!("{active} ({sub}), but it does not start with the host: systemctl enable retraind"),
            ),
            ("loaded", "active" | "reloading") => {
                let status = self.get("StatusText");
                let status = if status.is_empty() { String::new() } else { format!(": {status}") };
                (State::Ok, format!("{active} ({sub}){status}"))
            }
            ("loaded", "failed") => (State::Missing, "failed; `journalctl -u retraind -e` shows why".to_owned()),
            ("loaded", "inactive") => {
                (State::Warning, "installed and not started; `systemctl enable --now retraind` starts it".to_owned())
            }
            ("loaded", _) => (State::Warning, format!("{active} ({sub})")),
            (load, _) => (State::Missing, format!("{UNIT} is {load}; `systemctl status retraind` shows why")),
        };
        Finding { what: "service", state, says }
    }

    /// What the unit's hardening hides or forbids that these settings need.
    fn sandbox(&self, settings: &Settings, user: Option<u32>) -> Finding {
        let mut wrong = Vec::new();
        let mut worst = State::Ok;
        for (what, path) in written(settings) {
            // one that is relative starts in the service's own directory
            if path.is_relative() {
                continue;
            }
            if let Some(because) = self.forbids_writing(&path) {
                wrong.push(format!(
                    "the service cannot write the {what} in {} ({because}); `systemctl edit retraind`, then [Service] \
                     ReadWritePaths={}",
                    path.display(),
                    path.display()
                ));
                worst = State::Missing;
            } else if let Some(owner) = foreign(&path, user) {
                let name = self.get("User");
                wrong.push(format!(
                    "the {what} in {} belongs to user id {owner}, and the service runs as {name}; \
                     `chown -R {name}: {}`, and use `sudo -u {name} retraind …` by hand",
                    path.display(),
                    path.display()
                ));
                worst = State::Missing;
            }
        }
        let read = [Some(&settings.jobs.dir), settings.onnxruntime.library.as_ref()];
        for path in read.into_iter().flatten().filter(|path| self.hides(path)) {
            wrong.push(format!("the service cannot see {} (ProtectHome={})", path.display(), self.get("ProtectHome")));
            worst = State::Missing;
        }
        if self.get("ProcSubset") == "pid" {
            wrong.push("ProcSubset=pid hides /proc/meminfo, so the alert on the host's memory cannot work".to_owned());
            worst = if worst == State::Missing { worst } else { State::Warning };
        }
        let says = if wrong.is_empty() { "the unit hides nothing that is needed".to_owned() } else { wrong.join("; ") };
        Finding { what: "hardening", state: worst, says }
    }

    fn forbids_writing(&self, path: &Path) -> Option<String> {
        if self.hides(path) || (in_homes(path) && self.get("ProtectHome") == "read-only") {
            return Some(format!("ProtectHome={}", self.get("ProtectHome")));
        }
        let own = |key: &str, base: &str| {
            let names = self.get(key).split_whitespace();
            names.map(|name| Path::new(base).join(name)).collect::<Vec<_>>()
        };
        let mut writable = own("StateDirectory", "/var/lib");
        writable.extend(own("RuntimeDirectory", "/run"));
        writable.extend(
            self.get("ReadWritePaths").split_whitespace().map(|p| PathBuf::from(p.trim_start_matches(['-', '+']))),
        );
        let strict = self.get("ProtectSystem") == "strict";
        (strict && !writable.iter().any(|dir| path.starts_with(dir))).then(|| "ProtectSystem=strict".to_owned())
    }

    fn hides(&self, path: &Path) -> bool {
        in_homes(path) && matches!(self.get("ProtectHome"), "yes" | "tmpfs")
    }
}

/// Source: systemd.exec(5), `ProtectHome=`
fn in_homes(path: &Path) -> bool {
    ["/home", "/root", "/run/user"].iter().any(|home| path.starts_with(home))
}

/// The owner of a directory that is somebody else's and that the service's user cannot write to.
fn foreign(path: &Path, user: Option<u32>) -> Option<u32> {
    let user = user.filter(|&user| user != 0)?;
    let found = path.metadata().ok()?;
    // members of its group, or everybody, may write: whoever set that up knows why
    (found.uid() != user && found.mode() & 0o022 == 0).then(|| found.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd 252 answers for the unit that is shipped.
    const SHOWN: &str = "User=retraind\nStateDirectory=retraind\nRuntimeDirectory=retraind\nProtectHome=yes\n\
                         ProtectSystem=strict\nReadWritePaths=\nProcSubset=all\nLoadState=loaded\nActiveState=active\n\
                         SubState=running\nStatusText=3 jobs\nUnitFileState=enabled\n";

    fn settings(dir: &str) -> Settings {
        let mut settings = Settings::default();
        settings.state.url = format!("sqlite://{dir}/retraind.db");
        settings.registry.dir = Path::new(dir).join("models");
        settings.runs.dir = Path::new(dir).join("runs");
        settings.jobs.dir = PathBuf::from("/etc/retraind/jobs");
        settings
    }

    fn check(change: (&str, &str), dir: &str, state: State, part: &str) {
        let shown = SHOWN.replace(change.0, change.1);
        let finding = Unit::parse(&shown).sandbox(&settings(dir), None);
        assert!(finding.state == state && finding.says.contains(part), "{:?} {}", change, finding.says);
    }

    #[test]
    fn what_the_unit_forbids_and_the_settings_need() {
        check(("", ""), "/var/lib/retraind", State::Ok, "nothing");
        check(("", ""), "/srv/retraind", State::Missing, "ReadWritePaths=/srv/retraind/models");
        check(("ReadWritePaths=", "ReadWritePaths=/srv"), "/srv/retraind", State::Ok, "nothing");
        check(("ReadWritePaths=", "ReadWritePaths=/home"), "/home/ann", State::Missing, "ProtectHome=yes");
        check(("ProtectHome=yes", "ProtectHome=read-only"), "/home/ann", State::Missing, "ProtectHome=read-only");
        check(("ProtectSystem=strict", "ProtectSystem=full"), "/srv/retraind", State::Ok, "nothing");
        check(("ProcSubset=all", "ProcSubset=pid"), "/var/lib/retraind", State::Warning, "/proc/meminfo");
        check(("", ""), "relative", State::Ok, "nothing");
    }

    #[test]
    fn somebody_elses_directory_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let mine = dir.path().metadata().expect("its owner").uid();
        assert_eq!(foreign(dir.path(), Some(mine + 1)), Some(mine));
        assert_eq!(foreign(dir.path(), Some(0)), None);
        assert_eq!(foreign(dir.path(), None), None);
        if mine != 0 {
            assert_eq!(foreign(dir.path(), Some(mine)), None);
        }
    }

    #[test]
    fn how_the_unit_is() {
        let check = |change: (&str, &str), state: State, part: &str| {
            let shown = SHOWN.replace(change.0, change.1);
            let finding = Unit::parse(&shown).health();
            assert!(finding.state == state && finding.says.contains(part), "{change:?} {}", finding.says);
        };
        check(("", ""), State::Ok, "active (running): 3 jobs");
        check(("=enabled", "=disabled"), State::Warning, "systemctl enable");
        check(("=active", "=failed"), State::Missing, "journalctl");
        check(("=active", "=inactive"), State::Warning, "enable --now");
        check(("=active", "=activating"), State::Warning, "activating");
        check(("=loaded", "=not-found"), State::Warning, "not installed");
        check(("=loaded", "=masked"), State::Missing, "masked");
    }
}
