//! Channel `command`: a program of the operator's own, with the message as JSON on its standard input.

use super::{Channel, Undelivered};
use crate::alert::message::Message;
use crate::settings::Settings;
use serde_json::json;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// Bytes of what the program says that are kept.
const SAID: u64 = 64 * 1024;

pub(super) const CHANNEL: Channel = Channel {
    name: "command",
    addresses: |settings, _| settings.alerting.command.run.first().cloned().into_iter().collect(),
    limit: |settings| settings.alerting.command.timeout + Duration::from_secs(5),
    deliver: |settings, message, _| Box::pin(deliver(settings, message)),
};

async fn deliver(settings: &Settings, message: &Message) -> Result<(), Undelivered> {
    let later = |what: String| Undelivered::Later(what);
    let command = &settings.alerting.command;
    let Some((program, arguments)) = command.run.split_first() else {
        return Err(later("[alerting.command] run names no program any more".to_owned()));
    };
    let input = json!({
        "subject": message.subject(),
        "severity": message.severity(),
        "text": message.text(),
        "message": message,
    });
    let mut child = Command::new(program)
        .args(arguments)
        .env("RETRAIND_SUBJECT", message.subject())
        .env("RETRAIND_MESSAGE_ID", &message.message_id)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| later(format!("{program} cannot be started: {error}")))?;
    let work = async {
        if let Some(mut stdin) = child.stdin.take() {
            // a program that does not read its input is fine as long as it ends well
            stdin.write_all(input.to_string().as_bytes()).await.unwrap_or_default();
        }
        // the beginning is enough, and however much follows is no reason to hold it all
        let mut said = Vec::new();
        if let Some(mut stderr) = child.stderr.take() {
            (&mut stderr).take(SAID).read_to_end(&mut said).await?;
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
        }
        child.wait().await.map(|status| (status, said))
    };
    match tokio::time::timeout(command.timeout, work).await {
        Err(_) => Err(later(format!("{program} did not end within {}", crate::watch::time(command.timeout)))),
        Ok(Err(error)) => Err(later(format!("{program}: {error}"))),
        Ok(Ok((status, _))) if status.success() => Ok(()),
        Ok(Ok((status, said))) => {
            let said = String::from_utf8_lossy(&said);
            let said: String = said.lines().last().unwrap_or("it said nothing").chars().take(300).collect();
            Err(later(format!("{program} ended with {status}: {said}")))
        }
    }
}
