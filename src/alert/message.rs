//! A message as plain data, and its words: subject and text.

use super::{Condition, Severity};
use crate::store::Notice;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A subject is read in a list; what is longer is cut there anyway.
const SUBJECT: usize = 160;

/// What goes to people, whatever the channel. The same whenever it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The same whenever it is sent: whoever gets it twice can tell.
    pub message_id: String,
    /// The message that this one follows.
    pub in_reply_to: Option<String>,
    /// All messages that it follows.
    pub references: Vec<String>,
    /// This host.
    pub host: String,
    /// When it was written.
    pub written_at: DateTime<Utc>,
    /// Everybody who gets it.
    pub to: Vec<String>,
    /// What it says.
    pub items: Vec<Item>,
}

/// What a message says of one alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Number of the alert.
    pub alert_id: i64,
    /// Begins, goes on, is over.
    pub notice: Notice,
    /// The facts.
    pub condition: Condition,
    /// When and how it came to an end, if it has.
    pub over: Option<Over>,
    /// The losses so far: epoch, training, validation.
    pub curve: Vec<(i64, f64, f64)>,
}

/// How something came to an end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Over {
    /// When.
    pub at: DateTime<Utc>,
    /// How.
    pub how: String,
}

impl Item {
    /// `views: validation loss 3.1 × training loss`
    pub fn headline(&self) -> String {
        let state = match self.notice {
            Notice::Firing => "",
            Notice::Reminder => "still: ",
            Notice::Recovery => "over: ",
        };
        let by_now = if self.over.is_some() && self.notice == Notice::Firing { " (over by now)" } else { "" };
        format!("{state}{}{by_now}", self.matter())
    }

    /// The same without a word on whether it goes on.
    pub(super) fn matter(&self) -> String {
        let target = self.condition.target.as_ref().map_or_else(String::new, |target| format!("{target}: "));
        format!("{target}{}", self.condition.summary)
    }

    /// What is told besides the headline and the facts: nothing twice.
    pub(super) fn details(&self) -> impl Iterator<Item = &String> {
        let summary = one_line(&self.condition.summary);
        self.condition.details.iter().filter(move |detail| !summary.contains(&one_line(detail)))
    }

    /// What retraind did about it, while it holds.
    pub(super) fn done(&self) -> Option<&str> {
        self.over.is_none().then_some(self.condition.done.as_str())
    }

    /// What a person can do, and the commands for it. Nothing where people were told already and it is over.
    pub(super) fn advice(&self) -> Option<(&[String], Vec<&String>)> {
        let c = &self.condition;
        let still = |command: &&String| self.over.is_none() || !command.starts_with("retraind cancel");
        (self.notice != Notice::Recovery).then(|| (&c.advice[..], c.commands.iter().filter(still).collect()))
    }

    /// Name and value of each fact, in the order of reading.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let c = &self.condition;
        let mut facts = vec![("rule", c.rule.to_string())];
        facts.extend(c.value.clone().map(|value| ("value", value)));
        facts.extend(c.limit.clone().map(|limit| ("limit", limit)));
        let epoch = c.epoch.map_or_else(String::new, |epoch| format!(", epoch {epoch}"));
        facts.push(("since", format!("{}{epoch}", time(c.since))));
        if let Some(over) = &self.over {
            facts.push(("over", format!("{}: {}", time(over.at), over.how)));
        }
        match (c.run_id, c.job.as_str()) {
            (Some(run), job) => facts.push(("run", format!("{run} of {job}"))),
            (None, "") => {}
            (None, job) => facts.push(("job", job.to_owned())),
        }
        facts
    }
}

impl Message {
    /// The most urgent severity of what it says; what is over is not urgent.
    pub fn severity(&self) -> Severity {
        let urgent = self.items.iter().filter(|item| item.over.is_none());
        urgent.map(|item| item.condition.severity).max().unwrap_or(Severity::Info)
    }

    /// `[host] views: validation loss 3.1 × training loss, run 42 of weekly-retrain`
    pub fn subject(&self) -> String {
        let headlines: Vec<String> = self.items.iter().map(Item::headline).collect();
        let (count, headlines) = match headlines.len() {
            1 => (String::new(), headlines.join("")),
            n => (format!("{n} alerts: "), headlines.join("; ")),
        };
        let place = match self.items.first().map(|item| &item.condition) {
            Some(Condition { run_id: Some(run), job, .. }) => format!(", run {run} of {job}"),
            Some(Condition { job, .. }) if !job.is_empty() => format!(", {job}"),
            _ => String::new(),
        };
        let host = format!("[{}] ", self.host);
        let room = SUBJECT.saturating_sub(host.chars().count() + count.chars().count() + place.chars().count());
        // errors may have line breaks, and a subject has one line
        format!("{host}{count}{}{place}", cut(&one_line(&headlines), room))
    }

    /// The plain text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for item in &self.items {
            write!(text, "{}\n\n", item.headline()).expect("text");
            for (name, value) in item.facts() {
                line(&mut text, name, &value);
            }
            for detail in item.details() {
                line(&mut text, "", detail);
            }
            if let Some(done) = item.done() {
                write!(text, "\nWhat retraind did\n  {done}\n").expect("text");
            }
            if let Some((advice, commands)) = item.advice() {
                text.push_str("\nWhat you can do\n");
                advice.iter().for_each(|advice| writeln!(text, "  {advice}").expect("text"));
                text.push('\n');
                commands.iter().for_each(|command| writeln!(text, "    {command}").expect("text"));
            }
            text.push_str("\n--------\n\n");
        }
        text + &self.footer()
    }

    /// Who wrote it, and how to hear less of it.
    pub fn footer(&self) -> String {
        let mut footer = format!("retraind on {}, {}.\n", self.host, time(self.written_at));
        let goes_on = self.items.iter().filter(|item| item.over.is_none());
        let silences: BTreeSet<String> = goes_on
            .map(|Item { condition: Condition { rule, job, .. }, .. }| {
                let of = if job.is_empty() { String::new() } else { format!(" --job {job}") };
                format!("retraind alerts silence {rule}{of} --for 2h")
            })
            .collect();
        match silences.len() {
            0 => {}
            1 => write!(footer, "To hear nothing of it for a while: ").expect("text"),
            _ => writeln!(footer, "To hear nothing of it for a while, each by itself:").expect("text"),
        }
        silences.iter().for_each(|silence| writeln!(footer, "{silence}").expect("text"));
        footer
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    for (k, row) in value.lines().enumerate() {
        writeln!(text, "  {:7}{row}", if k == 0 { name } else { "" }).expect("text");
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}
