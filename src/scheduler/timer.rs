//! The next due time, set in tokio-cron-scheduler as a one-shot.
//!
//! The times are computed here and not there: it would freeze a zone's offset (its issue 107). Only the next one is set, so ten
//! thousand jobs cost one timer. The crate looks at its clock twice a second, so the loop also sleeps until the time that is
//! set, and starts what is due within milliseconds. A shot that is lost or comes early is made good by the loop's own tick.

use super::Error;
use super::wake::Wake;
use chrono::{DateTime, Utc};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;
use tokio_cron_scheduler::{Job, JobScheduler};

/// One timer.
pub(super) struct Timer {
    scheduler: JobScheduler,
    send: UnboundedSender<Wake>,
    set: Option<Shot>,
}

/// What is set.
struct Shot {
    at: DateTime<Utc>,
    id: uuid::Uuid,
    /// Until when the loop may sleep; none when it has.
    sleep: Option<Instant>,
}

impl Timer {
    pub(super) async fn start(send: UnboundedSender<Wake>) -> Result<Self, Error> {
        let scheduler = JobScheduler::new().await.map_err(failed)?;
        scheduler.start().await.map_err(failed)?;
        Ok(Self { scheduler, send, set: None })
    }

    /// It went off: whatever it is set to next is set anew.
    pub(super) fn went_off(&mut self) {
        self.set = None;
    }

    /// The loop has slept until it: it need not do so again.
    pub(super) fn reached(&mut self) {
        if let Some(shot) = &mut self.set {
            shot.sleep = None;
        }
    }

    /// Until when the loop may sleep.
    pub(super) fn instant(&self) -> Option<Instant> {
        self.set.as_ref().and_then(|shot| shot.sleep)
    }

    /// Sets it to `at`, instead of what it was set to. One that cannot be set costs half a second: the loop's tick sees to it.
    pub(super) async fn arm(&mut self, at: Option<DateTime<Utc>>) {
        if let Err(error) = self.set_to(at).await {
            tracing::warn!(%error, "a timer could not be set; the loop looks at the clock by itself");
        }
    }

    async fn set_to(&mut self, at: Option<DateTime<Utc>>) -> Result<(), Error> {
        if self.set.as_ref().map(|shot| shot.at) == at {
            return Ok(());
        }
        if let Some(Shot { id, .. }) = self.set.take() {
            // one that went off is gone already
            self.scheduler.remove(&id).await.map_err(failed)?;
        }
        let Some(at) = at else { return Ok(()) };
        let wait = (at - Utc::now()).to_std().unwrap_or_default();
        let send = self.send.clone();
        // Times years ahead are further than the clock can say; they are set again before then.
        let instant = Instant::now().checked_add(wait.min(std::time::Duration::from_hours(24)));
        let instant = instant.unwrap_or_else(Instant::now);
        let job = Job::new_one_shot_at_instant_async(instant, move |_, _| {
            // the loop is gone only when the daemon ends
            send.send(Wake::Timer).unwrap_or_default();
            Box::pin(std::future::ready(()))
        })
        .map_err(failed)?;
        let id = self.scheduler.add(job).await.map_err(failed)?;
        self.set = Some(Shot { at, id, sleep: Some(instant) });
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: tokio_cron_scheduler::JobSchedulerError) -> Error {
    Error::Timer(error.to_string())
}
