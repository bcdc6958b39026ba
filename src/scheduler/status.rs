//! What the daemon says of itself: to systemd, and in the state database for `retraind status`.

use super::core::Core;
use crate::store::{Lead, Store};
use sd_notify::NotifyState;

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct Status {
    said: String,
}

impl Status {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Another daemon schedules: this one is ready to take over, and has nothing else to do.
    pub(super) fn standing_by(&mut self, holder: &str) {
        let text = format!("standing by: {holder}");
        if self.said != text {
            tracing::info!("{text}");
            notify(&[NotifyState::Ready, NotifyState::Status(&text)]);
            self.said = text;
        }
    }

    /// How many jobs, what runs, what comes next; once each time that it changes.
    pub(super) async fn say(&mut self, store: &Store, lead: Lead, core: &Core) {
        let text = sentence(core);
        if text == self.said {
            return;
        }
        notify(&[NotifyState::Status(&text)]);
        match store.set_status(lead, &text).await {
            Ok(()) => self.said = text,
            // the next change says more than this one
            Err(error) => tracing::debug!(error = %crate::run::chain(&error), "the status could not be written down"),
        }
    }
}

/// Settings are read, the database is open, the place is held, what a crash left is taken up.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// From the loop itself: a loop that hangs says nothing.
pub(super) fn alive() {
    notify(&[NotifyState::Watchdog]);
}

pub(super) fn reloading() {
    // systemd from 253 on wants both in one message
    match NotifyState::monotonic_usec_now() {
        Ok(time) => notify(&[NotifyState::Reloading, time]),
        Err(error) => tracing::warn!(%error, "the clock cannot be read; systemd is not told of the reload"),
    }
}

pub(super) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping: waiting for workers")]);
}

/// Workers are still writing their checkpoints.
pub(super) fn more_time() {
    notify(&[NotifyState::ExtendTimeoutUsec(10_000_000)]);
}

fn sentence(core: &Core) -> String {
    let jobs = match core.n_jobs() {
        1 => "1 job".to_owned(),
        n => format!("{n} jobs"),
    };
    let running: Vec<String> = core.running().map(|run| format!("run {} of {}", run.id, run.job)).collect();
    let running = if running.is_empty() { String::new() } else { format!(", {} under way", running.join(", ")) };
    let next = core.next_fire().map_or_else(String::new, |(at, name)| {
        let zone = core.job(name).and_then(|job| job.triggers.cron.as_ref()?.timezone.parse::<chrono_tz::Tz>().ok());
        let zone = zone.unwrap_or(chrono_tz::Tz::UTC);
        format!(", next {name} {} {zone}", at.with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S %z"))
    });
    format!("{jobs}{running}{next}")
}

fn notify(states: &[NotifyState<'_>]) {
    // without systemd there is nobody to tell, and that is no error
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
