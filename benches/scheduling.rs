//! A bare tokio-cron-scheduler, for `benches/peers/scheduling` to measure beside the daemon: every fire of a job appends its name
//! and the time. `make bench-scheduling` runs it; a process of its own, since its memory is measured.
//!
//! Arguments: a file with a line `NAME<TAB>SCHEDULE` for each job, and the file to append to. Says `ready`; SIGTERM ends it.

use chrono::Utc;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio_cron_scheduler::{Job, JobScheduler};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [schedules, fires] = arguments.as_slice() else {
        // `cargo bench` starts every bench.
        eprintln!("usage: scheduling SCHEDULES FIRES");
        return;
    };
    let mut terminated = signal(SignalKind::terminate()).expect("a signal");
    let fires = Arc::new(OpenOptions::new().create(true).append(true).open(fires).expect("a file"));
    let scheduler = JobScheduler::new().await.expect("a scheduler");
    for line in fs::read_to_string(schedules).expect("schedules").lines() {
        let (name, schedule) = line.split_once('\t').expect("a name and a schedule");
        let (name, fires) = (name.to_owned(), Arc::clone(&fires));
        let job = Job::new_async(schedule, move |_, _| {
            let (name, fires) = (name.clone(), Arc::clone(&fires));
            Box::pin(async move {
                let now = Utc::now().timestamp_micros();
                // a line is one write, so that nobody writes into another's line
                (&*fires).write_all(format!("{name} {now}\n").as_bytes()).expect("written");
            })
        });
        scheduler.add(job.expect("a job")).await.expect("added");
    }
    scheduler.start().await.expect("started");
    println!("ready");
    terminated.recv().await;
}
