//! A daemon's directory whose settings name a mail server, and what has been told when there is nothing left to tell.

use super::place::{self, Place};
use super::smtp::{MailHost, Server, subjects};
use super::{mail_settings, rows};
use serde_json::Value;
use std::fs;

/// Rules that hold or not by how a network learns, how fast, and what else the host does: off where a test does not ask for them.
const OFF: [&str; 6] = [
    "training_longer_than",
    "no_improvement_epochs",
    "validation_to_training_loss",
    "memory_above_percent",
    "no_better_than_naive",
    "promotion",
];

/// `[alerts]` with these lines.
pub(super) fn alerts(lines: &str) -> String {
    let is_set = |rule: &str| lines.lines().any(|line| line.starts_with(&format!("{rule} =")));
    let off: Vec<String> = OFF.iter().filter(|rule| !is_set(rule)).map(|rule| format!("{rule} = false\n")).collect();
    format!("[alerts]\n{}{lines}", off.concat())
}

/// A job of a program.
pub(super) fn exec(script: &str, more: &str) -> String {
    format!("[exec]\ncommand = [\"sh\", \"-c\", \"{script}\"]\n{more}")
}

pub(super) struct House {
    pub(super) place: Place,
    pub(super) host: MailHost,
    server: Option<Server>,
}

impl House {
    pub(super) fn new() -> Self {
        let (host, place) = (MailHost::new(), Place::new());
        let server = host.starttls();
        let file = place.path("retraind.toml");
        let settings = fs::read_to_string(&file).expect("read") + &mail_settings(&host, server.port);
        fs::write(file, settings).expect("written");
        place.job("canary", &exec("true", &alerts("")));
        Self { place, host, server: Some(server) }
    }

    /// The same with rows to train on and a job `weekly` that trains one small model.
    pub(super) fn training(retrain: &str, alerts_on: &str, more: &str) -> Self {
        let house = Self::new();
        let alerts = alerts(alerts_on);
        house.place.job(
            "weekly",
            &format!("[retrain]\ntargets = [\"views\"]\nhidden = 4\ndense = 2\n{retrain}[gate]\nmae_max = 1000.0\n{alerts}{more}"),
        );
        house.import(&rows());
        house
    }

    pub(super) fn import(&self, csv: &str) {
        fs::write(self.place.path("rows.csv"), csv).expect("written");
        self.place.stdout(&["import", "rows.csv"], 0);
    }

    /// Takes the mail server away.
    pub(super) fn close_mail(&mut self) {
        self.server = None;
    }

    pub(super) fn state(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.place.path("retraind.db")).expect("opened")
    }

    /// The number that a statement gives.
    pub(super) fn number(&self, sql: &str) -> i64 {
        self.state().query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Starts a run of `weekly` and waits until its training goes on; its worker.
    pub(super) fn train(&self) -> u32 {
        self.place.stdout(&["trigger", "weekly"], 0);
        let pid = self.place.pid_of(1);
        let begun = "SELECT COUNT(*) FROM run_targets WHERE training_started_at IS NOT NULL";
        self.place.wait_for("a training", || self.number(begun) == 1);
        pid
    }

    /// Every alert so far but those of `retraind alerts test`, oldest first, as the list says them.
    pub(super) fn alerts(&self) -> Vec<Value> {
        let report = self.place.json(&["alerts", "list", "--all", "--json"], 0);
        let mut alerts = report["alerts"].as_array().expect("a list").clone();
        alerts.retain(|alert| alert["rule"] != "test");
        alerts.reverse();
        alerts
    }

    /// Rule and state of each alert so far, oldest first.
    pub(super) fn states(&self) -> Vec<(String, String)> {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.alerts().iter().map(|alert| (word(&alert["rule"]), word(&alert["state"]))).collect()
    }

    /// Waits until the daemon has looked at everything that runs, and at everything that has ended.
    pub(super) fn look(&self) {
        self.place.stdout(&["trigger", "canary"], 0);
        let unseen = "SELECT COUNT(*) FROM runs
             WHERE alerts_raised_at IS NULL AND (ended_at IS NOT NULL OR job = 'canary')";
        self.place.wait_for("the ends of runs to be looked at", || self.number(unseen) == 0);
    }

    /// Tells and delivers what is to be told, without a daemon; every mail so far but the one that this is asked by.
    pub(super) fn deliver(&self) -> Vec<Value> {
        self.place.stdout(&["alerts", "test"], 0);
        let pending = "SELECT COUNT(*) FROM outbox WHERE state = 'pending'";
        self.place.wait_for("the outbox to be empty", || self.number(pending) == 0);
        let mut mails = self.host.mails();
        mails.retain(|mail| mail["headers"]["Subject"] != "[trainer] this is a test: alerts arrive");
        mails
    }

    /// Every mail that is sent of what has happened so far: looked at once more, told and delivered.
    pub(super) fn all_mails(&self) -> Vec<Value> {
        self.look();
        self.deliver()
    }

    /// Their subjects.
    pub(super) fn all_subjects(&self) -> Vec<String> {
        subjects(&self.all_mails())
    }

    /// Another daemon in the place of this one, which stops.
    pub(super) fn restart(&self, daemon: place::Daemon) -> place::Daemon {
        daemon.stop();
        self.place.daemon()
    }
}

/// An alert's rules and states, as [`House::states`] gives them.
pub(super) fn states(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(rule, state)| ((*rule).to_owned(), (*state).to_owned())).collect()
}
