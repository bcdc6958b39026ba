//! What watching costs a training: processor time of the watcher, of composing and of looking for deliveries, while a run
//! of three models goes on. `cargo bench --bench watching`

use chrono::Utc;
use retraind::alert;
use retraind::settings::Settings;
use retraind::store::{Claim, Epoch, NewRun, Owner, RunTarget, Store, TargetState};
use std::sync::Arc;
use std::time::{Duration, Instant};

const WATCHED: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = Settings::default();
    settings.state.url = format!("sqlite://{}", dir.path().join("retraind.db").display());
    settings.smtp.host = Some("localhost".to_owned());
    settings.smtp.to = vec!["ann@example.org".to_owned()];
    let store = Store::open(&settings.state.url).await.expect("opened");
    let new = NewRun {
        run_key: "w/1",
        job: "weekly",
        kind: "retrain",
        cause: "bench",
        job_toml: "[retrain]\n",
        scheduled_for: None,
    };
    let run = store.begin_run(new, &Owner::this_process().expect("Linux")).await.expect("begun");
    let claim = Claim { run_id: run.id, attempt: run.attempt };
    for target in ["views", "likes", "comments"] {
        let row = RunTarget {
            target: target.to_owned(),
            state: TargetState::Running,
            epochs: None,
            best_epoch: None,
            seconds: None,
            version: None,
            verdict: None,
            reasons: Vec::new(),
            error: None,
        };
        store.save_target(claim, &row).await.expect("saved");
        store.mark_training(claim, target, false).await.expect("marked");
    }
    let writing = async {
        // an epoch of each model every second, as on the sample data
        let mut epoch = 0;
        loop {
            epoch += 1;
            for target in ["views", "likes", "comments"] {
                let loss = 1.0 / epoch as f64;
                let row = Epoch {
                    attempt: 1,
                    epoch,
                    loss,
                    val_loss: loss,
                    mae: loss,
                    val_mae: loss,
                    fixed_loss: loss,
                    seconds: 1.0,
                };
                store.record_epochs(claim, target, &[row]).await.expect("recorded");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let alone = measure(
        "the epochs' own rows",
        Box::pin(async {
            tokio::select! { () = writing => {}, () = tokio::time::sleep(WATCHED) => {} }
        }),
    )
    .await;
    let serving = alert::serve(store.clone(), settings, Arc::new(|_| ()), tokio::time::sleep(WATCHED));
    let watched = measure("watching", Box::pin(serving)).await;
    println!("{} of watching a second of training, {} of writing its epochs ({})", ms(watched), ms(alone), Utc::now());
}

async fn measure(what: &str, work: impl Future<Output = ()> + Unpin) -> Duration {
    let (before, began) = (processor_time(), Instant::now());
    work.await;
    let used = processor_time().saturating_sub(before);
    let per_second = used.div_f64(began.elapsed().as_secs_f64());
    println!("{what}: {} a second", ms(per_second));
    per_second
}

/// Of this process, all threads.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
