//! Where settings come from, and which of them wins: variables over credentials over `*_file` over the file's own keys.

use super::Settings;
use crate::credential;
use crate::document::{self, Problem};
use figment::Figment;
use figment::error::{Actual, Kind};
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const PREFIX: &str = "RETRAIND_";
const CONFIG_VARIABLE: &str = "RETRAIND_CONFIG";
const PLACES: [&str; 2] = ["/etc/retraind/retraind.toml", "retraind.toml"];

/// Variables that begin like settings and are none.
const NOT_SETTINGS: [&str; 3] = ["config", "log", "log_format"];

/// Addresses that may hold a password, and the systemd credentials that may stand for them. Each may also come from the
/// file that the key of the same name with `_file` after it names. The mail's and the webhook's are read when one is sent:
/// whoever may not read them can use the rest.
const SECRETS: [(&str, &str); 2] = [("state.url", "state-url"), ("source.url", "source-url")];

/// Settings that are text whatever they look like: figment would take a password of digits for a number.
const TEXTS: [&str; 13] = [
    "state.url",
    "state.url_file",
    "source.url",
    "source.url_file",
    "source.table",
    "smtp.host",
    "smtp.username",
    "smtp.password",
    "smtp.password_file",
    "smtp.from",
    "alerting.host",
    "alerting.webhook.url",
    "alerting.webhook.secret",
];

/// Settings and where they come from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file read, if there was one.
    pub file: Option<PathBuf>,
    /// Where each secret came from that the settings file does not hold itself: its key, and a file or a variable.
    pub secrets: Vec<(&'static str, String)>,
}

impl Loaded {
    /// What an operator should mend though it works: a password in a settings file that everyone can read.
    pub fn exposed_secret(&self) -> Option<String> {
        let file = self.file.as_deref()?;
        let mode = fs::metadata(file).ok()?.mode();
        if mode & 0o004 == 0 {
            return None;
        }
        let written: Settings = document::parse(file, &fs::read_to_string(file).ok()?).ok()?;
        let held = [
            ("state.url", names_a_password(&written.state.url)),
            ("source.url", names_a_password(&written.source.url)),
            ("smtp.password", written.smtp.password.is_some()),
            ("alerting.webhook.secret", written.alerting.webhook.secret.is_some()),
        ];
        let (key, _) = held.into_iter().find(|(_, held)| *held)?;
        Some(format!(
            "{} can be read by every user of this host and holds a password ({key}): move it into a file of its own \
             ({key}_file) or a systemd credential, or `chmod o-rwx` the settings",
            file.display()
        ))
    }
}

/// Whether an address holds a password, by its user part or its query.
fn names_a_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) || rest.contains("password=")
}

/// `config`, else the file `RETRAIND_CONFIG` names, else the first of the usual places there is.
fn file_of(config: Option<&Path>) -> Option<PathBuf> {
    let named = config
        .map(Path::to_owned)
        .or_else(|| std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
    named.or_else(|| PLACES.map(PathBuf::from).into_iter().find(|place| place.is_file()))
}

/// The directory of job files as the settings name it, whatever else is wrong with them, which [`load`] has said: settings that
/// cannot be read at all name none.
pub fn jobs_dir(config: Option<&Path>) -> PathBuf {
    let text = file_of(config).and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let figment = Figment::from(Toml::string(&text)).merge(environment());
    let named = figment.find_value("jobs.dir").ok().and_then(Value::into_string);
    named.map_or_else(|| Settings::default().jobs.dir, PathBuf::from)
}

/// Reads the settings: `config`, else the file `RETRAIND_CONFIG` names, else the first of the usual places there is.
pub fn load(config: Option<&Path>) -> Result<Loaded, Vec<Problem>> {
    let file = file_of(config);
    let text = match &file {
        None => String::new(),
        Some(file) => fs::read_to_string(file).map_err(|e| {
            let help = "name another with --config FILE, or leave it out to work with the defaults";
            vec![Problem::general(file, format!("could not be read: {e}")).help(help)]
        })?,
    };
    let mut problems = Vec::new();
    if let Some(file) = &file
        && let Err(found) = document::parse::<Settings>(file, &text)
    {
        problems.extend(found.into_iter().map(|p| if p.may_show_a_secret() { p.without_secrets() } else { p }));
    }
    // the environment alone, so that its mistakes are shown beside the file's
    if let Err(found) = extract(&Figment::from(Serialized::defaults(Settings::default())).merge(environment())) {
        problems.extend(found);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let written = Figment::from(Serialized::defaults(Settings::default())).merge(Toml::string(&text));
    let figment = written.clone().merge(environment());
    let place = file.as_deref().unwrap_or(Path::new("settings"));
    let (secrets, apart) = secrets_kept_apart(&figment, &Figment::from(Toml::string(&text)), place)?;
    let figment = apart.into_iter().fold(written, |figment, pair| figment.merge(pair)).merge(environment());
    Ok(Loaded { settings: extract(&figment)?, file, secrets })
}

type Apart = (Vec<(&'static str, String)>, Vec<(&'static str, String)>);

/// Secrets from credentials and files: where each is from, and what it is.
fn secrets_kept_apart(figment: &Figment, written: &Figment, file: &Path) -> Result<Apart, Vec<Problem>> {
    let (mut origins, mut values, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (key, credential) in SECRETS {
        if std::env::var_os(variable(key)).is_some() {
            origins.push((key, variable(key)));
            continue;
        }
        let file_key = format!("{key}_file");
        let named = figment.find_value(&file_key).ok().and_then(Value::into_string).map(PathBuf::from);
        if named.is_some() && written.find_value(key).is_ok() && written.find_value(&file_key).is_ok() {
            let both = format!("sets both {key} and {file_key}");
            problems.push(Problem::general(file, both).help("take one of them away"));
            continue;
        }
        let Some(path) = credential::file_of(credential).or(named) else { continue };
        match credential::read(&path) {
            Ok(secret) => {
                origins.push((key, path.display().to_string()));
                values.push((key, secret));
            }
            Err(error) => problems.push(Problem::general(file, format!("{key}: failed to {error}"))),
        }
    }
    if problems.is_empty() { Ok((origins, values)) } else { Err(problems) }
}

/// The variables that may hold secrets.
pub fn secret_variables() -> impl Iterator<Item = String> {
    let others = ["smtp.password", "alerting.webhook.url", "alerting.webhook.secret"];
    SECRETS.iter().map(|(key, _)| *key).chain(others).map(variable)
}

/// The variable of a setting: `state.url` → `RETRAIND_STATE__URL`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

fn environment() -> Figment {
    let texts: Vec<String> = TEXTS.iter().map(|key| key.replace('.', "__")).collect();
    let ignored: Vec<&str> = NOT_SETTINGS.into_iter().chain(texts.iter().map(String::as_str)).collect();
    let mut figment = Figment::from(Env::prefixed(PREFIX).ignore(&ignored).split("__"));
    for key in TEXTS {
        if let Ok(value) = std::env::var(variable(key)) {
            figment = figment.merge((key, value));
        }
    }
    figment
}

fn extract(figment: &Figment) -> Result<Settings, Vec<Problem>> {
    figment.extract().map_err(|errors| {
        errors
            .into_iter()
            .map(|e| {
                let variable = format!("{PREFIX}{}", e.path.join("__").to_uppercase());
                let help = "variables are named RETRAIND_TABLE__KEY, such as RETRAIND_SMTP__PASSWORD";
                let message = match &e.kind {
                    // the text may be a whole URL with its password, put into the wrong variable
                    Kind::InvalidType(Actual::Str(_), expected) | Kind::InvalidValue(Actual::Str(_), expected) => {
                        format!("must be {expected}, and its value (not shown: it may hold a password) is text")
                    }
                    kind => kind.to_string(),
                };
                Problem::general(Path::new(&variable), message).help(help)
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_texts_and_have_variables() {
        for (key, _) in SECRETS {
            assert!(TEXTS.contains(&key) && TEXTS.contains(&format!("{key}_file").as_str()), "{key}");
        }
        assert_eq!(variable("alerting.webhook.secret"), "RETRAIND_ALERTING__WEBHOOK__SECRET");
    }

    #[test]
    fn addresses_that_hold_a_password() {
        let check = |url: &str, expected: bool| assert_eq!(names_a_password(url), expected, "{url}");
        check("postgres://u:p@h/d", true);
        check("postgres://u@h/d?password=p", true);
        check("postgres://u@h:5432/d", false);
        check("postgres:///d?host=/run/postgresql", false);
        check("sqlite:///var/lib/a:b@c.db", false);
    }
}
