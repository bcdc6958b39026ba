//! `retraind doctor`

mod host;
mod service;

use super::exit::{Failure, UNAVAILABLE};
use super::output::{Output, count, time};
use crate::data::{self, Target};
use crate::registry::Registry;
use crate::run::{chain, this_program};
use crate::settings::{self, Loaded, Settings};
use crate::store::{self, OutboxState, Store};
use crate::{alert, job, runtime};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 69 when something that retraind needs is missing.")]
pub(super) struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// One thing looked at.
#[derive(Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    says: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Missing,
}

pub(super) async fn doctor(args: &Args, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let loaded = settings::load(config)?;
    let settings = &loaded.settings;
    let mut findings = vec![
        settings_file(&loaded),
        state_database(settings).await,
        recorded_counts(settings).await,
        job_files(settings),
        registry(settings),
        onnxruntime(settings).await,
        mail(settings).await,
        outbox(settings).await,
        host::memory(),
    ];
    findings.extend(host::disks(settings));
    findings.push(host::clock().await);
    findings.extend(service::service(settings).await);
    if args.json {
        output.json(&findings)?;
    } else {
        let words = |state| match state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Missing => "MISSING",
        };
        for Finding { what, state, says } in &findings {
            output.line(&format!("{:8} {what}: {says}", words(*state)))?;
        }
    }
    let missing = findings.iter().any(|finding| finding.state == State::Missing);
    Ok(if missing { ExitCode::from(UNAVAILABLE) } else { ExitCode::SUCCESS })
}

fn settings_file(loaded: &Loaded) -> Finding {
    let mut says = loaded.file.as_ref().map_or("no file: the defaults".to_owned(), |file| file.display().to_string());
    for (key, origin) in &loaded.secrets {
        let _ = write!(says, "; {key} from {origin}");
    }
    match loaded.exposed_secret() {
        Some(exposed) => Finding { what: "settings", state: State::Warning, says: exposed },
        None => Finding { what: "settings", state: State::Ok, says },
    }
}

async fn state_database(settings: &Settings) -> Finding {
    let described = async {
        let Some(store) = Store::open_existing(&settings.state.url).await? else { return Ok(None) };
        let described = store.describe().await?;
        store.check_writable().await?;
        Ok::<_, store::Error>(Some(described))
    };
    let (state, says) = match described.await {
        Ok(None) => (State::Warning, format!("{}: not there yet; the first run makes it", settings.state.url)),
        Ok(Some(d)) => {
            let (runs, versions) = (d.n_runs, d.n_versions);
            let text = format!(
                "{} {} at {}, schema {}: {runs} run(s), {versions} version(s)",
                d.backend, d.server_version, d.location, d.schema_version
            );
            (State::Ok, text)
        }
        Err(error) => (State::Missing, format!("failed to {}", chain(&error))),
    };
    Finding { what: "state database", state, says }
}

async fn recorded_counts(settings: &Settings) -> Finding {
    let source = &settings.source;
    let described =
        async { data::Source::connect(&source.url, &source.table, source.statement_timeout).await?.describe().await };
    let (state, says) = match described.await {
        Ok(d) if d.rows == 0 => {
            (State::Warning, format!("{} {}: the table {} is empty", d.backend, d.version, source.table))
        }
        Ok(d) => {
            let newest = d.newest.map_or("unknown".to_owned(), time);
            let about = if d.estimated { "about " } else { "" };
            let rows = count(d.rows as f64);
            let videos =
                if d.videos > 0 { format!(" of {about}{} video(s)", count(d.videos as f64)) } else { String::new() };
            let text = format!("{} {}: {about}{rows} rows{videos}, newest {newest}", d.backend, d.version);
            if d.missing_indexes.is_empty() {
                (State::Ok, text)
            } else {
                let lacks =
                    |index: &data::MissingIndex| format!("; without an index {}: {}", index.without, index.create);
                (State::Warning, d.missing_indexes.iter().map(lacks).fold(text, |text, lack| text + &lack))
            }
        }
        Err(error) => (State::Missing, format!("failed to {}", chain(&error))),
    };
    Finding { what: "recorded counts", state, says }
}

fn job_files(settings: &Settings) -> Finding {
    let (state, says) = match job::files(&settings.jobs.dir) {
        Err(problem) => (State::Missing, problem.to_string().replace("\n  ", "; ")),
        Ok(files) => {
            let broken = files.iter().filter(|file| job::Job::read(file, &[]).is_err()).count();
            let dir = settings.jobs.dir.display();
            match (files.len(), broken) {
                (0, _) => (State::Warning, format!("none in {dir}")),
                (n, 0) => (State::Ok, format!("{n} in {dir}")),
                (n, broken) => {
                    (State::Missing, format!("{broken} of {n} in {dir} have problems; `retraind check` shows them"))
                }
            }
        }
    };
    Finding { what: "job files", state, says }
}

fn registry(settings: &Settings) -> Finding {
    let opened = || {
        let registry = Registry::at(&settings.registry.dir);
        let (mut versions, mut damaged) = (0, Vec::new());
        for target in Target::ALL {
            for version in registry.versions(target)? {
                versions += 1;
                if registry.verify(target, version).is_err() {
                    damaged.push(format!("{target}/{version}"));
                }
            }
            let champion = registry.champion(target)?;
            if let Some(missing) = champion.filter(|c| !registry.path(target, *c).is_dir()) {
                damaged.push(format!("{target}/champion (names {missing}, which is not there)"));
            }
        }
        if !registry.root().exists() {
            return Ok((versions, damaged));
        }
        // publishing writes here; better said now than after an hour of training
        tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(registry.root())
            .map_err(|source| crate::registry::Error::Write { path: registry.root().to_owned(), source })?;
        Ok::<_, crate::registry::Error>((versions, damaged))
    };
    let dir = settings.registry.dir.display();
    let (state, says) = match opened() {
        Ok(_) if !settings.registry.dir.exists() => {
            (State::Warning, format!("{dir}: not there yet; the first version makes it"))
        }
        Ok((n, damaged)) if damaged.is_empty() => (State::Ok, format!("{dir}, writable: {n} version(s), all intact")),
        Ok((n, damaged)) => {
            let text = format!("{dir}: {n} version(s), {} damaged: {}", damaged.len(), damaged.join(", "));
            (State::Missing, text)
        }
        Err(error) => (State::Missing, format!("failed to {}", chain(&error))),
    };
    Finding { what: "registry", state, says }
}

async fn onnxruntime(settings: &Settings) -> Finding {
    let (state, says) = match runtime::find(settings.onnxruntime.library.as_deref(), &this_program()).await {
        Ok(probed) => (State::Ok, format!("{} from {}", probed.version, probed.path.display())),
        Err(error) => (State::Missing, format!("failed to {}", chain(&error))),
    };
    Finding { what: "ONNX Runtime", state, says }
}

async fn mail(settings: &Settings) -> Finding {
    let smtp = &settings.smtp;
    let host = smtp.host.as_deref().unwrap_or_default();
    let (state, says) = match (&smtp.host, smtp.to.as_slice()) {
        (None, _) => (State::Warning, "no server is set under [smtp] host".to_owned()),
        (Some(_), to) => match alert::reach_mail_server(settings).await {
            Err(error) => (State::Missing, error),
            Ok(()) if to.is_empty() => (State::Warning, format!("{host} answers; [smtp] to names no recipient")),
            Ok(()) => (State::Ok, format!("{host} answers; recipients: {}", to.join(", "))),
        },
    };
    Finding { what: "mail server", state, says }
}

/// What could not be delivered so far.
async fn outbox(settings: &Settings) -> Finding {
    let undelivered = async {
        match Store::open_existing(&settings.state.url).await? {
            Some(store) => store.undelivered_messages().await,
            None => Ok(Vec::new()),
        }
    };
    let (state, says) = match undelivered.await {
        Err(error) => (State::Missing, format!("failed to {}", chain(&error))),
        Ok(rows) => {
            let dead = rows.iter().filter(|row| row.state == OutboxState::Dead).count();
            let tried = rows.iter().filter(|row| row.state == OutboxState::Pending && row.attempts > 0).count();
            match (dead, tried) {
                (0, 0) => (State::Ok, "every alert was delivered".to_owned()),
                (dead, tried) => {
                    let last = rows.iter().rev().find_map(|row| row.last_error.as_deref());
                    let last = last
                        .filter(|last| !last.is_empty())
                        .map_or_else(String::new, |last| format!("; the last: {last}"));
                    let says = format!("{dead} message(s) given up, {tried} tried again later{last}");
                    (State::Warning, format!("{says}; `retraind alerts` lists them"))
                }
            }
        }
    };
    Finding { what: "alerts", state, says }
}
