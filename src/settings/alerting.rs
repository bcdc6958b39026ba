//! `[smtp]` and `[alerting]`: who is told, when, and by what.

use crate::credential;
use crate::job::addresses;
use lettre::message::Mailbox;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `[smtp]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Smtp {
    /// The mail server; where unset, no mail is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its port; where unset, 587 for `starttls`, 465 for `implicit`, 25 for `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the connection is protected.
    pub tls: Tls,
    /// Certificates (PEM) of an authority of one's own; where unset, those that browsers trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Longest time for one step: connecting, greeting, encryption, login, each command, the message.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// Who logs in; where unset, nobody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Their password; better given as `RETRAIND_SMTP__PASSWORD`, in a file or as systemd's credential `smtp-password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A file that holds the password and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Sender; where unset, `retraind@` this host.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "an_address")]
    pub from: Option<String>,
    /// Recipients, unless a job names its own.
    #[serde(deserialize_with = "addresses")]
    pub to: Vec<String>,
    /// Recipients of critical alerts; empty: those who get the others.
    #[serde(deserialize_with = "addresses")]
    pub to_critical: Vec<String>,
}

impl Default for Smtp {
    fn default() -> Self {
        Self {
            host: None,
            port: None,
            tls: Tls::Starttls,
            ca_file: None,
            timeout: Duration::from_secs(30),
            username: None,
            password: None,
            password_file: None,
            from: None,
            to: Vec::new(),
            to_critical: Vec::new(),
        }
    }
}

impl Smtp {
    /// The port that is set or usual.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::Starttls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        })
    }

    /// The password: as set, from its file, or systemd's credential `smtp-password`. Err: its file cannot be used.
    pub fn password(&self) -> Result<Option<String>, credential::Error> {
        secret(self.password.as_deref(), self.password_file.as_deref(), "smtp-password")
    }
}

/// `[smtp] tls`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Plain, then upgraded; refused where the server cannot.
    Starttls,
    /// From the first byte.
    Implicit,
    /// Not at all: for a server on this host.
    None,
}

/// `[alerting]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alerting {
    /// This host's name in messages; where unset, the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How long a first alert waits for others of its job, so that they go out as one message.
    #[serde(with = "crate::duration")]
    pub group_wait: Duration,
    /// How often is said again what still holds.
    #[serde(with = "crate::duration")]
    pub repeat_every: Duration,
    /// How long a message is tried before it is given up.
    #[serde(with = "crate::duration")]
    pub give_up_after: Duration,
    /// Alerts as POST requests.
    pub webhook: Webhook,
    /// Alerts as the standard input of a program.
    pub command: Command,
}

impl Default for Alerting {
    fn default() -> Self {
        Self {
            host: None,
            group_wait: Duration::from_secs(30),
            repeat_every: Duration::from_hours(12),
            give_up_after: Duration::from_hours(5 * 24),
            webhook: Webhook::default(),
            command: Command::default(),
        }
    }
}

impl Alerting {
    /// This host's name in messages.
    pub fn host(&self) -> String {
        let system = || fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
        self.host.clone().or_else(|| system().ok()).unwrap_or_else(|| "localhost".to_owned())
    }
}

/// `[alerting.webhook]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// Where to; where unset, nothing is posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What the body is signed with: `X-Retraind-Signature: sha256=` and the HMAC-SHA256 in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// A file that holds the secret and nothing else; else systemd's credential `webhook-secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// What is posted.
    pub style: Style,
    /// Longest time for one request.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
}

impl Default for Webhook {
    fn default() -> Self {
        Self { url: None, secret: None, secret_file: None, style: Style::Json, timeout: Duration::from_secs(30) }
    }
}

impl Webhook {
    /// The secret: as set, from its file, or systemd's credential `webhook-secret`. Err: its file cannot be used.
    pub fn secret(&self) -> Result<Option<String>, credential::Error> {
        secret(self.secret.as_deref(), self.secret_file.as_deref(), "webhook-secret")
    }
}

/// `[alerting.webhook] style`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// Every fact, by name.
    Json,
    /// `{"text": …}`, as Slack, Mattermost and others take it.
    Slack,
}

/// `[alerting.command]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments; empty: none is run. The alert is on its standard input, as JSON.
    pub run: Vec<String>,
    /// Longest time it may take; then it is ended and run again later.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
}

impl Default for Command {
    fn default() -> Self {
        Self { run: Vec::new(), timeout: Duration::from_secs(30) }
    }
}

fn an_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    match text.as_ref().map(|text| text.parse::<Mailbox>()) {
        Some(Err(_)) => Err(D::Error::custom(
            "is no mail address, such as \"retraind@example.org\" or \"retraind <retraind@example.org>\"",
        )),
        _ => Ok(text),
    }
}

/// A secret: as set, else systemd's credential of that name, else what its file holds.
fn secret(value: Option<&str>, file: Option<&Path>, name: &str) -> Result<Option<String>, credential::Error> {
    if let Some(value) = value {
        return Ok(Some(value.to_owned()));
    }
    credential::file_of(name).or_else(|| file.map(Path::to_owned)).map(|file| credential::read(&file)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_password_is_taken_from_where_it_is_said_to_be() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("password");
        fs::write(&file, "se cret\n").expect("written");
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
        mode(0o600);
        let smtp = Smtp { password_file: Some(file.clone()), ..Smtp::default() };
        assert_eq!(smtp.password().expect("read").as_deref(), Some("se cret"));
        mode(0o644);
        assert!(matches!(smtp.password(), Err(credential::Error::WorldReadable { .. })));
        let both = Smtp { password: Some("set".to_owned()), ..smtp };
        assert_eq!(both.password().expect("read").as_deref(), Some("set"));
        let missing = Smtp { password_file: Some(dir.path().join("none")), ..Smtp::default() };
        assert!(matches!(missing.password(), Err(credential::Error::Read { .. })));
    }
}
