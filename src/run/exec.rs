//! Kind `exec`: a program of one's own as a job.
//!
//! The program gets one JSON document on its standard input: `protocol` (1), `run` (`id`, `job`, `attempt`), `settings` (the
//! table `[exec.settings]`), `models` and `directory` (paths: the registry; where it may leave files of this run, kept between
//! attempts).
//!
//! On its standard output it may write lines of JSON, each an object with one of these keys; every other line is talk and goes
//! to the log, as does its standard error:
//! - `{"progress": 0.4, "message": "reading"}`: share done, 0 to 1; the message may be left out
//! - `{"metric": "rows", "value": 1234.0}`: a number to keep
//! - `{"artifact": "report", "path": "report.html"}`: a file that it made, from `directory` where not absolute
//!
//! Its exit code says how it went: 0 done, 3 done and refused (the run is `rejected`), 75 failed for a reason that may be gone
//! next time (`[run] attempts`), others failed. On SIGTERM it is to end soon; the same attempt is not started again, the run is.

use super::{Context, Error, ExecEnd};
use crate::event::{Event, Listener};
use crate::host::Cgroup;
use crate::job::{Exec, Job};
use crate::store::{Claim, Output};
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdout, Command};

const REFUSED: i32 = 3;
const TRANSIENT: i32 = 75;
/// 128 and the number of SIGKILL: what a shell ends with whose program was killed.
const KILLED: i32 = 137;
/// A line that is longer is talk, whatever it holds.
const LINE: usize = 64 * 1024;

/// What a line may say.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Line {
    Progress { progress: f64, message: Option<String> },
    Metric { metric: String, value: f64 },
    Artifact { artifact: String, path: PathBuf },
}

/// How long after a program's end word of a signal to both, or the rest of what it said, may take to come.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// Runs the program to its end. `Ok(false)` when it says that what it made is refused.
pub(super) async fn exec(
    context: &Context,
    job: &Job,
    settings: &Exec,
    claim: Claim,
    stop: &AtomicBool,
    listener: &Listener,
) -> Result<bool, Error> {
    let program = settings.command.first().cloned().unwrap_or_default();
    let failed = |problem: String, ended| Error::Exec { program: program.clone(), problem, ended };
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let directory = absolute(context.settings.runs.of(claim.run_id));
    std::fs::create_dir_all(&directory)
        .map_err(|e| failed(format!("{} could not be made: {e}", directory.display()), ExecEnd::Failed))?;
    let input = json!({
        "protocol": 1,
        "run": { "id": claim.run_id, "job": job.name, "attempt": claim.attempt },
        "settings": settings.settings,
        "models": absolute(context.settings.registry.dir.clone()),
        "directory": directory,
    });

    let mut command = Command::new(&program);
    command.args(&settings.command[1..]);
    // what a program is to know stands in its job file
    for variable in crate::settings::secret_variables() {
        command.env_remove(variable);
    }
    command.envs(&settings.environment);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    if let Some(dir) = &settings.directory {
        command.current_dir(dir);
    }
    let group = Cgroup::of(std::process::id());
    let kills = || group.as_ref().and_then(Cgroup::oom_kills);
    let kills_before = kills();
    let mut child = command.spawn().map_err(|e| failed(format!("it could not be started: {e}"), ExecEnd::Failed))?;
    if let Some(mut stdin) = child.stdin.take() {
        let document = input.to_string();
        // a program that does not read its input is fine
        tokio::spawn(async move { stdin.write_all(document.as_bytes()).await });
    }
    let (stdout, gone) = (child.stdout.take(), AtomicBool::new(false));
    let until_gone = async {
        let ended = child.wait().await;
        gone.store(true, Ordering::Relaxed);
        ended
    };
    let all = async { tokio::join!(read(context, claim, stdout, &directory, &gone, listener), until_gone).0 };
    let read = tokio::select! {
        read = all => Some(read),
        () = asked(stop) => None,
    };
    if let Some(read) = read {
        read?;
    } else if let Some(pid) = child.id() {
        // as a member of the worker's group it has had the signal already, unless it was started in the foreground
        terminate(pid);
    }
    let status = child.wait().await.map_err(|e| failed(format!("its end was not seen: {e}"), ExecEnd::Failed))?;
    if !matches!(status.code(), Some(0 | REFUSED)) {
        // a signal to the whole group may end the program before this process has heard of it
        tokio::time::timeout(HEARD_WITHIN, asked(stop)).await.unwrap_or_default();
    }
    match status.code() {
        Some(0) => Ok(true),
        Some(REFUSED) => Ok(false),
        _ if stop.load(Ordering::Relaxed) => Err(failed("it was stopped".to_owned(), ExecEnd::Stopped)),
        Some(TRANSIENT) => Err(failed("it ended with code 75: trying again may help".to_owned(), ExecEnd::Transient)),
        // killed, or its shell tells of a part of it that was
        None | Some(KILLED) if kills() > kills_before => {
            let why = "it was killed: the kernel has ended processes of its control group meanwhile, since no memory was left";
            Err(failed(why.to_owned(), ExecEnd::Failed))
        }
        Some(code) => Err(failed(format!("it ended with code {code}; the run's log may say why"), ExecEnd::Failed)),
        None => Err(failed(format!("it was killed ({status})"), ExecEnd::Failed)),
    }
}

/// Returns when somebody has asked for the end.
async fn asked(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        // one that is gone needs no signal
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap_or_default();
    }
}

/// Reads what it says until it closes its output, or is gone and nothing more comes: what it left behind may hold its output open.
async fn read(
    context: &Context,
    claim: Claim,
    stdout: Option<ChildStdout>,
    directory: &std::path::Path,
    gone: &AtomicBool,
    listener: &Listener,
) -> Result<(), Error> {
    let Some(stdout) = stdout else { return Ok(()) };
    let mut lines = BufReader::new(stdout);
    let mut bytes = Vec::new();
    // of a line that is too long, all pieces are talk
    let mut within = false;
    loop {
        bytes.clear();
        loop {
            let mut piece = (&mut lines).take((LINE - bytes.len()) as u64);
            let read = tokio::time::timeout(HEARD_WITHIN, piece.read_until(b'\n', &mut bytes)).await;
            if read.is_ok() || gone.load(Ordering::Relaxed) {
                break;
            }
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let cut = bytes.len() == LINE && !bytes.ends_with(b"\n");
        let whole = !cut && !within;
        within = cut;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        match parse(text).filter(|_| whole) {
            Some(Line::Progress { progress, message }) => {
                let message = message.map_or_else(String::new, |message| format!(": {message}"));
                listener(Event::Remark(format!("{:.0} %{message}", progress.clamp(0.0, 1.0) * 100.0)));
            }
            Some(Line::Metric { metric, value }) => {
                context.store.record_output(claim, &Output::Metric { name: metric, value }).await?;
            }
            Some(Line::Artifact { artifact, path }) => {
                let path = directory.join(path);
                if !path.exists() {
                    let lost = format!("the artifact `{artifact}` is not there (yet): {}", path.display());
                    listener(Event::Remark(lost));
                }
                let path = path.display().to_string();
                context.store.record_output(claim, &Output::Artifact { name: artifact, path }).await?;
            }
            None => listener(Event::Remark(text.to_owned())),
        }
    }
}

fn parse(line: &str) -> Option<Line> {
    if line.starts_with('{') { serde_json::from_str(line).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_from_talk() {
        let check = |line: &str, expected: Option<Line>| assert_eq!(parse(line), expected, "{line}");
        check("{\"progress\": 0.5}", Some(Line::Progress { progress: 0.5, message: None }));
        let message = Some("x".to_owned());
        check("{\"progress\": 1, \"message\": \"x\"}", Some(Line::Progress { progress: 1.0, message }));
        check("{\"metric\": \"rows\", \"value\": 3}", Some(Line::Metric { metric: "rows".to_owned(), value: 3.0 }));
        let path = PathBuf::from("a.html");
        check(
            "{\"artifact\": \"report\", \"path\": \"a.html\"}",
            Some(Line::Artifact { artifact: "report".to_owned(), path }),
        );
        for talk in ["", "hello", "{", "{\"metric\": \"rows\"}", "[1]", "{\"progress\": \"soon\"}"] {
            check(talk, None);
        }
    }
}
