//! What wakes the loop: a closed set. Every source sends into one channel.

use super::core::Seen;
use super::reload::Loaded;
use crate::store::Claim;
use chrono::{DateTime, Utc};
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};
use std::io;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;

/// One reason to look what is to be done.
#[derive(Debug)]
pub(super) enum Wake {
    /// Twice a second: the bell of the state database, logs of workers, the watchdog.
    Tick,
    /// The timer has gone off.
    Timer,
    /// The loop has slept until the next due time.
    Due,
    /// Something changed in the directory of job files.
    Files,
    /// The directory has been quiet for a moment.
    Settled,
    /// Job files were read.
    Loaded(Loaded),
    /// A worker is gone.
    Gone { claim: Claim, seen: Seen },
    /// Rows were counted.
    Counted { job: String, new_rows: Option<u64>, last_ended: Option<DateTime<Utc>> },
    /// SIGHUP: read everything again.
    Hangup,
    /// SIGTERM or SIGINT: stop; once more: faster.
    Terminate,
    /// SIGUSR1: say what is known.
    Dump,
}

/// Sends a wake for each signal that means something to the daemon.
pub(super) fn on_signals(send: &UnboundedSender<Wake>) -> io::Result<()> {
    type Make = fn() -> Wake;
    let wakes: [(SignalKind, Make); 4] = [
        (SignalKind::terminate(), || Wake::Terminate),
        (SignalKind::interrupt(), || Wake::Terminate),
        (SignalKind::hangup(), || Wake::Hangup),
        (SignalKind::user_defined1(), || Wake::Dump),
    ];
    for (kind, wake) in wakes {
        let (mut signals, send) = (signal(kind)?, send.clone());
        tokio::spawn(async move { while signals.recv().await.is_some() && send.send(wake()).is_ok() {} });
    }
    Ok(())
}

/// Sends a wake when something changes in `dir`; dropping what comes back ends that.
pub(super) fn on_files(dir: &Path, send: UnboundedSender<Wake>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // reading a file is an event as well, and we read them
        let changed = event.as_ref().map_or(true, |event| match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            _ => true,
        });
        if changed {
            // the loop is gone only when the daemon ends
            send.send(Wake::Files).unwrap_or_default();
        }
    })?;
    watcher.watch(dir, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
