//! The state database: one suite, run on each kind of database it can be.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use retraind::store::{
    Claim, Decision, Ending, Epoch, Error, Lead, Life, Metrics, NewAlert, NewMessage, NewPromotion, NewRun, Notice,
    OutboxState, Outcome, Owner, Prediction, PromotionKind, PromotionState, Run, RunState, RunTarget, Settlement, Step,
    Store, TargetState, Telling, Told, Version,
};
use sqlx::{ConnectOptions as _, Connection as _};
use support::postgres::Cluster;

mod support;

/// Each contract, once a database.
macro_rules! contracts {
    ($($name:ident,)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&super::Database::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&super::Database::postgres()).await;
            })+
        }
    };
}

contracts! {
    a_run_lives_and_ends,
    a_run_key_is_used_once,
    a_run_can_begin_with_an_owner,
    a_rejected_run_is_no_error,
    a_queued_run_can_be_cancelled_and_then_not_started,
    a_given_up_attempt_writes_nothing,
    states_move_as_the_model_says,
    one_schedules_at_a_time,
    epochs_come_back_as_recorded,
    targets_are_replaced_by_what_is_known_later,
    a_version_is_registered_once_and_never_changed,
    metrics_need_their_version,
    a_promotion_is_pending_until_settled,
    predictions_are_saved_all_or_none,
    an_alert_is_raised_once_an_onset,
    messages_are_written_with_what_they_tell,
    messages_keep_their_order_and_are_sent_by_one,
    trainings_are_marked_for_those_who_watch,
    the_dead_are_reaped_and_the_living_left_alone,
    a_killed_writer_leaves_whole_batches_and_is_reaped,
    many_writers_at_once_get_through,
    one_of_many_wins_a_run,
    many_open_a_new_database_at_once,
    opening_again_changes_nothing,
    a_newer_schema_is_refused,
    an_edited_migration_is_refused,
    the_examples_in_the_migrations_work,
    a_description_tells_the_facts,
}

/// A new, empty database.
struct Database {
    url: String,
    _directory: Option<tempfile::TempDir>,
}

impl Database {
    fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("retraind.db").display());
        Self { url, _directory: Some(directory) }
    }

    fn postgres() -> Self {
        Self { url: Cluster::shared().url("store"), _directory: None }
    }

    fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite")
    }

    async fn open(&self) -> Store {
        Store::open(&self.url).await.unwrap()
    }

    /// Runs a statement behind the program's back; returns its first column as text.
    async fn sql(&self, statement: &str) -> Vec<String> {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        if self.is_sqlite() {
            let options: sqlx::sqlite::SqliteConnectOptions = self.url.parse().unwrap();
            let mut connection = options.connect().await.unwrap();
            let rows = sqlx::query_scalar(statement).fetch_all(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            rows
        } else {
            let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(statement).fetch_all(&mut connection).await.unwrap()
        }
    }
}

fn new_run(run_key: &str) -> NewRun<'_> {
    NewRun { run_key, job: run_key, kind: "retrain", cause: "cron", job_toml: "[retrain]\n", scheduled_for: None }
}

fn some_owner() -> Owner {
    Owner { host: "trainer".into(), boot_id: "a1".into(), pid: 4242, process_start: 77 }
}

async fn started(store: &Store, run_key: &str) -> Claim {
    let run = store.enqueue_run(new_run(run_key)).await.unwrap();
    store.start_run(run.id, &some_owner()).await.unwrap()
}

fn epoch(attempt: i64, epoch: i64) -> Epoch {
    let loss = 1.0 / epoch as f64;
    Epoch {
        attempt,
        epoch,
        loss,
        val_loss: loss * 1.5,
        mae: loss / 2.0,
        val_mae: loss / 3.0,
        fixed_loss: loss / 1.5,
        seconds: 0.25,
    }
}

fn target(name: &str, state: TargetState) -> RunTarget {
    RunTarget {
        target: name.into(),
        state,
        epochs: None,
        best_epoch: None,
        seconds: None,
        version: None,
        verdict: None,
        reasons: vec![],
        error: None,
    }
}

fn version(name: &str, created_at: &str) -> Version {
    Version {
        target: "views".into(),
        version: name.into(),
        run_id: None,
        created_at: time(created_at),
        recipe: "increment".into(),
        training_data_version: "sha256:feed".into(),
        parent_version: None,
        verdict: "passed".into(),
        reasons: vec!["mae 0.001 ≤ 0.005".into()],
        metadata_sha256: "c0ffee".into(),
    }
}

fn metrics(version: &str, dataset: &str, mae: f64) -> Metrics {
    Metrics {
        target: "views".into(),
        version: version.into(),
        dataset: dataset.into(),
        measured_at: time("2026-03-01T03:10:00Z"),
        run_id: None,
        n_points: 1200,
        mae,
        mse: mae * mae,
        rmse: mae,
        mae_counts: Some(12.5),
        mae_last_value: Some(0.004),
        mae_drift: None,
        mae_seasonal: None,
        skill: Some(0.25),
        mae_drift_day: Some(0.0007),
        mase: Some(0.8),
        share_beaten: Some(1.0),
        coverage: Some(0.79),
        input_psi: None,
    }
}

fn promotion<'a>(version: &'a str, previous_version: Option<&'a str>) -> NewPromotion<'a> {
    NewPromotion {
        target: "views",
        version,
        previous_version,
        kind: if previous_version.is_some() { PromotionKind::Promote } else { PromotionKind::First },
        cause: "gate passed",
    }
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

async fn a_run_lives_and_ends(database: &Database) {
    let store = database.open().await;
    let queued = store.enqueue_run(new_run("weekly@2026-03-01T03:00Z")).await.unwrap();
    assert_eq!((queued.state, queued.attempt, &queued.owner), (RunState::Queued, 0, &None));
    assert_eq!((queued.claim(), queued.started_at, queued.ended_at), (None, None, None));
    assert_eq!(store.queued_runs().await.unwrap(), std::slice::from_ref(&queued));

    let claim = store.start_run(queued.id, &some_owner()).await.unwrap();
    let running = store.run(queued.id).await.unwrap();
    assert_eq!((running.state, running.attempt, &running.owner), (RunState::Running, 1, &Some(some_owner())));
    assert_eq!(running.claim(), Some(claim));
    assert_eq!(store.running_runs().await.unwrap(), std::slice::from_ref(&running));
    assert!(store.queued_runs().await.unwrap().is_empty());

    store.save_target(claim, &target("views", TargetState::Running)).await.unwrap();
    assert!(store.run(queued.id).await.unwrap().heard_at > running.heard_at, "each write is a sign of life");

    store.finish_run(claim, &Outcome::Succeeded).await.unwrap();
    let ended = store.run(queued.id).await.unwrap();
    assert_eq!((ended.state, ended.claim(), &ended.error), (RunState::Succeeded, None, &None));
    assert_eq!(ended.owner, Some(some_owner()), "who ran it stays known");
    assert!(ended.queued_at <= ended.started_at.unwrap() && ended.started_at <= ended.ended_at);
    assert!(store.running_runs().await.unwrap().is_empty());

    let other = NewRun { job: "evaluation", kind: "evaluate", ..new_run("evaluation@1") };
    let other = store.enqueue_run(other).await.unwrap();
    let ids = |runs: Vec<Run>| runs.into_iter().map(|run| run.id).collect::<Vec<_>>();
    assert_eq!(ids(store.runs(None, 10).await.unwrap()), [other.id, queued.id]);
    assert_eq!(ids(store.runs(None, 1).await.unwrap()), [other.id]);
    assert_eq!(ids(store.runs(Some(&queued.job), 10).await.unwrap()), [queued.id]);
    assert!(matches!(store.run(12345).await, Err(Error::NoSuchRun(12345))));
}

async fn a_run_key_is_used_once(database: &Database) {
    let store = database.open().await;
    let run = store.enqueue_run(new_run("weekly@1")).await.unwrap();
    for _ in 0..2 {
        match store.enqueue_run(new_run("weekly@1")).await.unwrap_err() {
            Error::RunKeyTaken { run_key, run_id } => assert_eq!((run_key.as_str(), run_id), ("weekly@1", run.id)),
            other => panic!("{other}"),
        }
    }
    let claim = store.start_run(run.id, &some_owner()).await.unwrap();
    store.finish_run(claim, &Outcome::Succeeded).await.unwrap();
    assert!(matches!(store.enqueue_run(new_run("weekly@1")).await, Err(Error::RunKeyTaken { .. })));
    assert_eq!(store.runs(None, 10).await.unwrap().len(), 1);
}

async fn a_run_can_begin_with_an_owner(database: &Database) {
    let store = database.open().await;
    let run = store.begin_run(new_run("weekly/person/1"), &some_owner()).await.unwrap();
    assert_eq!((run.state, run.attempt, run.owner.clone()), (RunState::Running, 1, Some(some_owner())));
    let error = store.begin_run(new_run("weekly/person/1"), &some_owner()).await.unwrap_err();
    assert!(matches!(error, Error::RunKeyTaken { run_id, .. } if run_id == run.id), "{error}");
    store.finish_run(run.claim().unwrap(), &Outcome::Succeeded).await.unwrap();
}

async fn a_rejected_run_is_no_error(database: &Database) {
    let store = database.open().await;
    let cases = [
        (Outcome::Rejected, RunState::Rejected, None),
        (Outcome::Failed("NUL \0 in a message".into()), RunState::Failed, Some("NUL \u{fffd} in a message")),
        (Outcome::Cancelled("by alice".into()), RunState::Cancelled, Some("by alice")),
        (Outcome::TimedOut("after 2 h".into()), RunState::TimedOut, Some("after 2 h")),
    ];
    for (outcome, state, error) in cases {
        let claim = started(&store, state.as_str()).await;
        store.finish_run(claim, &outcome).await.unwrap();
        let run = store.run(claim.run_id).await.unwrap();
        assert_eq!((run.state, run.error.as_deref()), (state, error));
    }
}

async fn a_queued_run_can_be_cancelled_and_then_not_started(database: &Database) {
    let store = database.open().await;
    let run = store.enqueue_run(new_run("weekly@1")).await.unwrap();
    store.cancel_queued_run(run.id, "by alice").await.unwrap();
    let cancelled = store.run(run.id).await.unwrap();
    assert_eq!((cancelled.state, cancelled.error.as_deref()), (RunState::Cancelled, Some("by alice")));

    let error = store.start_run(run.id, &some_owner()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("start run {}: it is cancelled, not queued", run.id));
    assert!(matches!(store.cancel_queued_run(run.id, "").await, Err(Error::NotInState { .. })));
    assert!(matches!(store.cancel_queued_run(99, "").await, Err(Error::NoSuchRun(99))));
    assert!(matches!(store.start_run(99, &some_owner()).await, Err(Error::NoSuchRun(99))));

    let claim = started(&store, "weekly@2").await;
    assert!(matches!(store.cancel_queued_run(claim.run_id, "").await, Err(Error::NotInState { .. })));
    assert_eq!(store.run(claim.run_id).await.unwrap().state, RunState::Running);
}

async fn a_given_up_attempt_writes_nothing(database: &Database) {
    let store = database.open().await;
    let first = started(&store, "weekly@1").await;
    let second = store.next_attempt(first, &Owner { pid: 4343, ..some_owner() }).await.unwrap();
    assert_eq!((second.run_id, second.attempt), (first.run_id, 2));
    assert_eq!(store.run(first.run_id).await.unwrap().owner.unwrap().pid, 4343);

    let refused = |error: Error| match error {
        Error::Fenced { attempt: 1, current: 2, state: RunState::Running, .. } => {}
        other => panic!("{other}"),
    };
    refused(store.record_epochs(first, "views", &[epoch(1, 1)]).await.unwrap_err());
    refused(store.save_target(first, &target("views", TargetState::Succeeded)).await.unwrap_err());
    refused(store.register_version(Some(first), &version("1", "2026-03-01T03:00:00Z"), &[]).await.unwrap_err());
    refused(store.record_metrics(Some(first), &[]).await.unwrap_err());
    refused(store.begin_promotion(Some(first), promotion("1", None)).await.unwrap_err());
    refused(store.next_attempt(first, &some_owner()).await.unwrap_err());
    refused(store.finish_run(first, &Outcome::Succeeded).await.unwrap_err());
    assert!(store.epochs(first.run_id, "views").await.unwrap().is_empty());
    assert!(store.targets(first.run_id).await.unwrap().is_empty());
    assert!(store.versions(None).await.unwrap().is_empty());
    assert!(store.promotions(None).await.unwrap().is_empty());

    store.record_epochs(second, "views", &[epoch(2, 1)]).await.unwrap();
    let promoted = store.begin_promotion(Some(second), promotion("1", None)).await.unwrap();
    assert_eq!(promoted.run_id, Some(second.run_id));
    store.finish_run(second, &Outcome::Succeeded).await.unwrap();
    let late = store.record_epochs(second, "views", &[epoch(2, 2)]).await.unwrap_err();
    assert_eq!(
        late.to_string(),
        format!("write for attempt 2 of run {}: the run is succeeded at attempt 2", second.run_id)
    );
    assert!(matches!(
        store.finish_run(Claim { run_id: 99, attempt: 1 }, &Outcome::Succeeded).await,
        Err(Error::NoSuchRun(99))
    ));
}

/// Attempts are picked freely, so most writes come from the wrong one.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ends: Vec<_> = RunState::ALL.iter().copied().filter(|state| state.is_final()).collect();
    let step = prop_oneof![
        3 => Just(Step::Start),
        2 => (0..4i64).prop_map(Step::NextAttempt),
        2 => (0..4i64).prop_map(Step::Requeue),
        2 => (0..4i64, prop::sample::select(ends)).prop_map(|(attempt, end)| Step::End(attempt, end)),
        1 => Just(Step::CancelQueued),
        3 => (0..4i64).prop_map(Step::Write),
    ];
    prop::collection::vec(step, 1..12)
}

async fn states_move_as_the_model_says(database: &Database) {
    let store = database.open().await;
    let lead = store.take_lead(&some_owner(), |_| true).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let cases = std::cell::Cell::new(0);
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) };
        proptest::test_runner::TestRunner::new(config)
            .run(&steps(), |steps| {
                cases.set(cases.get() + 1);
                runtime.block_on(obeys(&store, lead, &format!("case {}", cases.get()), &steps));
                Ok(())
            })
            .unwrap();
    })
    .await
    .unwrap();
}

async fn obeys(store: &Store, lead: Lead, run_key: &str, steps: &[Step]) {
    let id = store.enqueue_run(new_run(run_key)).await.unwrap().id;
    let mut life = Life::QUEUED;
    for step in steps {
        let claim = |attempt| Claim { run_id: id, attempt };
        let result = match *step {
            Step::Start => store.start_run(id, &some_owner()).await.map(|_| ()),
            Step::NextAttempt(attempt) => store.next_attempt(claim(attempt), &some_owner()).await.map(|_| ()),
            Step::Requeue(attempt) => store.requeue_run(lead, claim(attempt), Ending::Died, "model", None).await,
            Step::End(attempt, end) => store.finish_run(claim(attempt), &outcome(end)).await,
            Step::CancelQueued => store.cancel_queued_run(id, "model").await,
            Step::Write(attempt) => store.record_epochs(claim(attempt), "views", &[epoch(attempt, 1)]).await,
        };
        let next = life.after(*step);
        match &result {
            Ok(()) => assert!(next.is_some(), "{step:?} must be refused in {steps:?}"),
            Err(Error::Fenced { .. } | Error::NotInState { .. }) => {
                assert!(next.is_none(), "{step:?} refused in {steps:?}");
            }
            Err(other) => panic!("{step:?}: {other}"),
        }
        assert!(!life.state.is_final() || result.is_err(), "final is final: {step:?}");
        life = next.unwrap_or(life);
        let run = store.run(id).await.unwrap();
        assert_eq!((run.state, run.attempt), (life.state, life.attempt), "after {step:?} in {steps:?}");
        assert_eq!(run.ended_at.is_some(), life.state.is_final());
    }
    // a run that is left running would keep the next case's from starting
    if life.state == RunState::Running {
        store.finish_run(Claim { run_id: id, attempt: life.attempt }, &outcome(RunState::Failed)).await.unwrap();
    }
}

async fn one_schedules_at_a_time(database: &Database) {
    let store = database.open().await;
    let first = store.take_lead(&some_owner(), |_| false).await.unwrap();
    let decision = Decision { skipped_because: Some("none".into()), ..Decision::default() };
    let runs =
        [NewRun { job: "weekly", ..new_run("weekly/cron/1") }, NewRun { job: "weekly", ..new_run("weekly/cron/2") }];
    let fires = [("weekly", &decision, runs.to_vec())];
    let queued = store.fire(first, &fires).await.unwrap().into_iter().map(|runs| runs.len()).collect::<Vec<_>>();
    assert_eq!(queued, [2]);
    assert!(store.fire(first, &fires).await.unwrap().concat().is_empty(), "keys are used once");
    // whoever takes over shuts the other one out
    let second = store.take_lead(&Owner { pid: 4343, ..some_owner() }, |_| true).await.unwrap();
    assert!(matches!(store.fire(first, &[("weekly", &decision, Vec::new())]).await, Err(Error::NotLeading { .. })));
    assert!(matches!(store.start_attempt(first, 1, &some_owner(), "n").await, Err(Error::NotLeading { .. })));
    assert!(matches!(store.keep_lead(first).await, Err(Error::NotLeading { .. })));
    let claim = store.start_attempt(second, 1, &some_owner(), "nonce").await.unwrap();
    assert!(matches!(store.take_run(claim, "another", &some_owner()).await, Err(Error::Fenced { .. })));
    store.take_run(claim, "nonce", &Owner { pid: 4444, ..some_owner() }).await.unwrap();
    store.end_attempt(claim, Ending::Transient, "a word").await.unwrap();
    store.requeue_run(second, claim, Ending::Died, "not heard", None).await.unwrap();
    let words = store.attempts(1).await.unwrap();
    assert_eq!((words.len(), words[0].ending, words[0].error.as_deref()), (1, Ending::Transient, Some("a word")));
    assert!(matches!(store.take_run(claim, "nonce", &some_owner()).await, Err(Error::Fenced { .. })), "given up");
    let before = store.bell().await.unwrap().0;
    store.cancel_queued_run(1, "enough").await.unwrap();
    assert!(store.bell().await.unwrap().0 > before, "the scheduler is told");
    store.give_up_lead(second).await.unwrap();
    assert_eq!(store.scheduler().await.unwrap().owner, None);
}

fn outcome(end: RunState) -> Outcome {
    match end {
        RunState::Succeeded => Outcome::Succeeded,
        RunState::Rejected => Outcome::Rejected,
        RunState::Cancelled => Outcome::Cancelled("model".into()),
        RunState::TimedOut => Outcome::TimedOut("model".into()),
        _ => Outcome::Failed("model".into()),
    }
}

async fn epochs_come_back_as_recorded(database: &Database) {
    let store = database.open().await;
    let first = started(&store, "weekly@1").await;
    let batch: Vec<_> = (1..=5).map(|n| epoch(1, n)).collect();
    store.record_epochs(first, "views", &batch).await.unwrap();
    store.record_epochs(first, "views", &batch[3..]).await.unwrap(); // repeated after a lost answer
    store.record_epochs(first, "likes", &batch[..1]).await.unwrap();
    store.record_epochs(first, "likes", &[]).await.unwrap();
    assert_eq!(store.epochs(first.run_id, "views").await.unwrap(), batch);
    assert_eq!(store.epochs(first.run_id, "likes").await.unwrap(), batch[..1]);

    let second = store.next_attempt(first, &some_owner()).await.unwrap();
    let resumed = epoch(2, 5);
    store.record_epochs(second, "views", &[resumed]).await.unwrap();
    let all = store.epochs(first.run_id, "views").await.unwrap();
    assert_eq!((all.len(), all[4], all[5]), (6, batch[4], resumed));

    let diverged = Epoch { loss: f64::NAN, val_loss: f64::INFINITY, ..epoch(2, 6) };
    store.record_epochs(second, "comments", &[diverged]).await.unwrap();
    let read = store.epochs(first.run_id, "comments").await.unwrap()[0];
    assert!(read.loss.is_nan() && read.val_loss.is_nan() && read.mae.is_finite());
    assert!(serde_json::to_value(read).unwrap()["loss"].is_null());
}

async fn targets_are_replaced_by_what_is_known_later(database: &Database) {
    let store = database.open().await;
    let claim = started(&store, "weekly@1").await;
    for name in ["views", "likes"] {
        store.save_target(claim, &target(name, TargetState::Running)).await.unwrap();
    }
    let refused = RunTarget {
        epochs: Some(25),
        best_epoch: Some(15),
        seconds: Some(38.5),
        version: Some("20260301T030000Z".into()),
        verdict: Some("refused".into()),
        reasons: vec!["skill -0.3 < 0".into(), "mae 0.006 > 0.005".into()],
        ..target("views", TargetState::Rejected)
    };
    store.save_target(claim, &refused).await.unwrap();
    let likes = target("likes", TargetState::Running);
    assert_eq!(store.targets(claim.run_id).await.unwrap(), [likes, refused]);
}

async fn a_version_is_registered_once_and_never_changed(database: &Database) {
    let store = database.open().await;
    let claim = started(&store, "weekly@1").await;
    // Fractions of different lengths: as text they must still sort as times.
    let times = ["2026-03-01T03:00:00Z", "2026-03-01T03:00:00.1Z", "2026-03-01T03:00:00.100001Z"];
    let made: Vec<_> = times.iter().zip(["1", "2", "3"]).map(|(at, name)| version(name, at)).collect();
    for one in [1, 0, 2] {
        let one = Version { run_id: Some(claim.run_id), ..made[one].clone() };
        let measured = [metrics(&one.version, "validation", 0.001), metrics(&one.version, "holdout", 0.002)];
        for _ in 0..2 {
            store.register_version(Some(claim), &one, &measured).await.unwrap();
        }
        assert_eq!(store.metrics("views", &one.version).await.unwrap(), [measured[1].clone(), measured[0].clone()]);
    }
    let listed = store.versions(Some("views")).await.unwrap();
    assert_eq!(listed.iter().map(|one| &*one.version).collect::<Vec<_>>(), ["3", "2", "1"]);
    assert_eq!(listed[2], Version { run_id: Some(claim.run_id), ..made[0].clone() });
    assert!(store.versions(Some("likes")).await.unwrap().is_empty());

    let other = Version { metadata_sha256: "beef".into(), ..made[0].clone() };
    let error = store.register_version(Some(claim), &other, &[metrics("1", "late", 0.1)]).await.unwrap_err();
    assert!(matches!(error, Error::VersionTaken { .. }), "{error}");
    assert_eq!(store.metrics("views", "1").await.unwrap().len(), 2, "nothing of the refused one stays");

    // Nanoseconds are cut the same way on both databases.
    let fine = version("4", "2026-03-02T00:00:00.123456789Z");
    store.register_version(None, &fine, &[]).await.unwrap();
    assert_eq!(store.versions(None).await.unwrap()[0].created_at, time("2026-03-02T00:00:00.123456Z"));
}

async fn metrics_need_their_version(database: &Database) {
    let store = database.open().await;
    let error = store.record_metrics(None, &[metrics("7", "last week", 0.001)]).await.unwrap_err();
    assert_eq!(error.to_string(), "record metrics of views version 7: it is not registered");

    store.register_version(None, &version("7", "2026-03-01T03:00:00Z"), &[]).await.unwrap();
    let later = Metrics { measured_at: time("2026-03-08T00:00:00Z"), ..metrics("7", "last week", 0.001) };
    store.record_metrics(None, &[metrics("7", "last week", 0.001), later.clone()]).await.unwrap();
    let read = store.metrics("views", "7").await.unwrap();
    assert_eq!((read.len(), &read[0]), (2, &later));

    let broken = Metrics { mse: f64::NAN, ..later };
    let error = store.record_metrics(None, &[broken]).await.unwrap_err();
    assert_eq!(error.to_string(), "record mse of views version 7 on last week: NaN is no measurement");
}

async fn a_promotion_is_pending_until_settled(database: &Database) {
    let store = database.open().await;
    let first = store.begin_promotion(None, promotion("1", None)).await.unwrap();
    assert_eq!((first.state, first.kind, first.settled_at), (PromotionState::Pending, PromotionKind::First, None));
    let error = store.begin_promotion(None, promotion("2", Some("1"))).await.unwrap_err();
    assert!(matches!(error, Error::PromotionPending { id, .. } if id == first.id), "{error}");
    let likes = NewPromotion { target: "likes", ..promotion("1", None) };
    let likes = store.begin_promotion(None, likes).await.unwrap();
    assert_eq!(store.pending_promotions().await.unwrap(), [first.clone(), likes.clone()]);

    for _ in 0..2 {
        store.settle_promotion(first.id, Settlement::Done).await.unwrap();
    }
    let error = store.settle_promotion(first.id, Settlement::Abandoned).await.unwrap_err();
    assert_eq!(error.to_string(), format!("settle promotion {}: it is done already", first.id));
    assert!(matches!(store.settle_promotion(99, Settlement::Done).await, Err(Error::NoSuchPromotion(99))));

    let second = store.begin_promotion(None, promotion("2", Some("1"))).await.unwrap();
    store.settle_promotion(second.id, Settlement::Abandoned).await.unwrap();
    let listed = store.promotions(Some("views")).await.unwrap();
    let seen: Vec<_> = listed.iter().map(|one| (&*one.version, one.state, one.settled_at.is_some())).collect();
    assert_eq!(seen, [("2", PromotionState::Abandoned, true), ("1", PromotionState::Done, true)]);
    assert_eq!(store.pending_promotions().await.unwrap(), [likes]);
}

async fn predictions_are_saved_all_or_none(database: &Database) {
    let store = database.open().await;
    let one = Prediction {
        made_at: time("2026-03-01T04:00:00Z"),
        target: "views".into(),
        version: "1".into(),
        video_id: "eeMTs8R3tOY".into(),
        based_on: time("2026-03-01T03:59:00Z"),
        forecast_for: time("2026-03-01T04:00:00Z"),
        last_value: 12_345.0,
        forecast: 12_400.5,
        lower: Some(1000.0),
        upper: None,
    };
    let other = Prediction { target: "likes".into(), video_id: "jKlA7wS3SkE".into(), ..one.clone() };
    store.save_predictions(&[one.clone(), other.clone()]).await.unwrap();
    store.save_predictions(&[]).await.unwrap();
    assert_eq!(store.predictions(None, 10).await.unwrap(), [other.clone(), one.clone()]);
    assert_eq!(store.predictions(Some("views"), 10).await.unwrap(), std::slice::from_ref(&one));
    assert_eq!(store.predictions(None, 1).await.unwrap(), [other]);

    let broken = Prediction { forecast: f64::NAN, ..one.clone() };
    let error = store.save_predictions(&[one, broken]).await.unwrap_err();
    assert_eq!(error.to_string(), "record forecast of views for video eeMTs8R3tOY: NaN is no measurement");
    assert_eq!(store.predictions(None, 10).await.unwrap().len(), 2);
}

async fn the_dead_are_reaped_and_the_living_left_alone(database: &Database) {
    let store = database.open().await;
    store.enqueue_run(new_run("queued")).await.unwrap();
    let dead = store.begin_run(new_run("dead"), &some_owner()).await.unwrap().claim().unwrap();
    let this = Owner::this_process().unwrap();
    let alive = store.begin_run(new_run("alive"), &this).await.unwrap();
    // a daemon's runs are for the daemon to judge: it may take them up again
    let supervised = started(&store, "supervised").await;

    assert!(store.reap(|_| true).await.unwrap().is_empty());
    let reaped = store.reap(|owner| *owner == this).await.unwrap();
    assert_eq!(reaped.iter().map(|run| run.id).collect::<Vec<_>>(), [dead.run_id]);
    let run = store.run(dead.run_id).await.unwrap();
    let text = "the process that ran it is gone (killed or the host restarted)";
    assert_eq!((run.state, run.error.as_deref()), (RunState::Failed, Some(text)));
    assert_eq!(store.run(alive.id).await.unwrap().state, RunState::Running);
    assert!(store.reap(Owner::is_alive).await.unwrap().is_empty());
    assert_eq!(store.run(supervised.run_id).await.unwrap().state, RunState::Running);
    assert!(matches!(store.record_epochs(dead, "views", &[epoch(1, 1)]).await, Err(Error::Fenced { .. })));
}

const BATCH: i64 = 50;
const VICTIM: &str = "RETRAIND_TEST_VICTIM_WRITES_TO";

/// Not a test of its own: the process that the next one kills.
#[tokio::test]
async fn the_victim() {
    let Ok(url) = std::env::var(VICTIM) else { return };
    let store = Store::open(&url).await.unwrap();
    let run = store.begin_run(new_run("victim"), &Owner::this_process().unwrap()).await.unwrap();
    let claim = run.claim().unwrap();
    println!("run={};", run.id);
    for first in (1..).step_by(BATCH as usize) {
        let batch: Vec<_> = (first..first + BATCH).map(|n| epoch(claim.attempt, n)).collect();
        store.record_epochs(claim, "views", &batch).await.unwrap();
    }
}

async fn a_killed_writer_leaves_whole_batches_and_is_reaped(database: &Database) {
    let store = database.open().await;
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_victim", "--nocapture"])
        .env(VICTIM, &database.url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let id = loop {
        assert!(Instant::now() < deadline, "the victim never started");
        match store.running_runs().await.unwrap().first() {
            Some(run) if store.epochs(run.id, "views").await.unwrap().len() as i64 >= 2 * BATCH => break run.id,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert!(store.reap(Owner::is_alive).await.unwrap().is_empty(), "it lives");
    victim.kill().unwrap();
    assert_eq!(victim.wait().unwrap().signal(), Some(9));
    let mut said = String::new();
    victim.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains(&format!("run={id};")), "{said}");

    store.close().await;
    let store = database.open().await;
    let reaped = store.reap(Owner::is_alive).await.unwrap();
    assert_eq!(reaped.iter().map(|run| run.id).collect::<Vec<_>>(), [id]);
    let written = store.epochs(id, "views").await.unwrap();
    assert_eq!(written.len() as i64 % BATCH, 0, "half a batch was kept: {}", written.len());
}

/// Two handles, as a daemon and a worker have, with several tasks each.
async fn many_writers_at_once_get_through(database: &Database) {
    const TASKS: usize = 4;
    const RUNS: usize = 10;
    let stores = [database.open().await, database.open().await];
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        for (s, store) in stores.iter().enumerate() {
            let store = store.clone();
            tasks.spawn(async move {
                for n in 0..RUNS {
                    let claim = started(&store, &format!("{s}/{task}/{n}")).await;
                    store.record_epochs(claim, "views", &[epoch(1, 1), epoch(1, 2)]).await.unwrap();
                    store.save_target(claim, &target("views", TargetState::Succeeded)).await.unwrap();
                    store.runs(None, 5).await.unwrap();
                    store.finish_run(claim, &Outcome::Succeeded).await.unwrap();
                }
            });
        }
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    let runs = stores[0].runs(None, 1000).await.unwrap();
    assert_eq!(runs.len(), 2 * TASKS * RUNS);
    assert!(runs.iter().all(|run| run.state == RunState::Succeeded));
}

async fn one_of_many_wins_a_run(database: &Database) {
    let stores = [database.open().await, database.open().await];
    for round in 0..10 {
        let run_key = format!("round {round}");
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..8 {
            let (store, run_key) = (stores[n % 2].clone(), run_key.clone());
            tasks.spawn(async move {
                let (queued, id) = match store.enqueue_run(new_run(&run_key)).await {
                    Ok(run) => (1, run.id),
                    Err(Error::RunKeyTaken { run_id, .. }) => (0, run_id),
                    Err(other) => panic!("{other}"),
                };
                match store.start_run(id, &some_owner()).await {
                    Ok(_) => (queued, 1),
                    Err(Error::NotInState { found: RunState::Running, .. }) => (queued, 0),
                    Err(other) => panic!("{other}"),
                }
            });
        }
        let won = tasks.join_all().await.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert_eq!(won, (1, 1), "queued once and started once");
    }
}

async fn many_open_a_new_database_at_once(database: &Database) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let url = database.url.clone();
        tasks.spawn(async move {
            let store = Store::open(&url).await?;
            store.enqueue_run(new_run(&n.to_string())).await
        });
    }
    let opened: Result<Vec<_>, _> = tasks.join_all().await.into_iter().collect();
    assert_eq!(opened.unwrap().len(), 8);
}

async fn opening_again_changes_nothing(database: &Database) {
    let store = database.open().await;
    let claim = started(&store, "weekly@1").await;
    store.close().await;
    let migrations = "SELECT CAST(installed_on AS TEXT) || description FROM _sqlx_migrations ORDER BY version";
    let before = database.sql(migrations).await;
    let store = database.open().await;
    assert_eq!(database.sql(migrations).await, before);
    assert_eq!(store.run(claim.run_id).await.unwrap().claim(), Some(claim));
}

async fn a_newer_schema_is_refused(database: &Database) {
    database.open().await.close().await;
    database
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             SELECT 9999, 'from the future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        )
        .await;
    let error = Store::open(&database.url).await.unwrap_err();
    assert!(matches!(error, Error::NewerSchema { found: 9999, known: 3.., .. }), "{error:?}");
    assert!(!error.is_transient());
    let text = error.to_string();
    assert!(text.contains("it is at schema version 9999, this program knows versions up to"), "{text}");
}

async fn an_edited_migration_is_refused(database: &Database) {
    database.open().await.close().await;
    database.sql("UPDATE _sqlx_migrations SET checksum = '' WHERE version = 2").await;
    let error = Store::open(&database.url).await.unwrap_err();
    assert!(matches!(error, Error::AlteredSchema { version: 2, .. }), "{error:?}");
}

/// What the comments tell people to type is typed here.
fn new_alert(onset: &str) -> NewAlert<'_> {
    NewAlert {
        job: "weekly",
        target: "views",
        rule: "training_longer_than",
        onset,
        severity: "warning",
        run_id: Some(1),
        summary: "slow",
        facts: "{}",
        event: false,
    }
}

async fn an_alert_is_raised_once_an_onset(database: &Database) {
    let store = database.open().await;
    let first = store.raise_alert(new_alert("a")).await.unwrap().expect("new");
    assert_eq!(store.raise_alert(new_alert("a")).await.unwrap(), None, "it fires already");
    assert_eq!(store.raise_alert(new_alert("b")).await.unwrap(), None, "of one fingerprint only one fires");
    let other = store.raise_alert(NewAlert { target: "likes", ..new_alert("a") }).await.unwrap();
    assert!(other.is_some_and(|other| other > first));
    let resolve = |onset| store.resolve_alert("weekly", "views", "training_longer_than", onset, "over");
    assert!(!resolve(Some("b")).await.unwrap(), "another occurrence");
    assert!(resolve(Some("a")).await.unwrap() && !resolve(None).await.unwrap(), "once");
    assert_eq!(store.raise_alert(new_alert("a")).await.unwrap(), None, "that one is over");
    let again = store.raise_alert(new_alert("b")).await.unwrap().expect("a new occurrence");
    let open: Vec<i64> = store.open_alerts().await.unwrap().iter().map(|alert| alert.id).collect();
    assert_eq!(open, [first, other.unwrap(), again], "over, but nobody was told");
    let event = NewAlert { rule: "promotion", event: true, ..new_alert("promotion 1") };
    store.raise_alert(event.clone()).await.unwrap().expect("new");
    assert_eq!(store.raise_alert(event).await.unwrap(), None);
    let until = Utc::now() + Duration::from_mins(1);
    store.silence("promotion", "", until).await.unwrap();
    assert_eq!(store.silences(Utc::now()).await.unwrap().len(), 1);
    assert_eq!(store.silences(until).await.unwrap().len(), 0);
    assert_eq!(store.end_silence("promotion", "").await.unwrap(), 1);
    assert_eq!(store.silences(Utc::now()).await.unwrap().len(), 0);
}

fn message(alert_id: i64, address: &str, notice: Notice) -> NewMessage {
    NewMessage {
        channel: "email".to_owned(),
        address: address.to_owned(),
        topic: "weekly".to_owned(),
        message_id: format!("<{alert_id}.{notice}@trainer>"),
        subject: "slow".to_owned(),
        content: "{}".to_owned(),
        alerts: vec![(alert_id, notice)],
    }
}

async fn messages_are_written_with_what_they_tell(database: &Database) {
    let store = database.open().await;
    let alert_id = store.raise_alert(new_alert("a")).await.unwrap().unwrap();
    let at = Utc::now();
    let telling = Telling { alert_id, from: Told::Nothing, to: Told::Firing };
    let twice = [message(alert_id, "ann", Notice::Firing), message(alert_id, "ann", Notice::Firing)];
    assert!(store.tell(at, &[telling], &twice).await.is_err(), "one message to one address");
    assert_eq!(store.open_alerts().await.unwrap()[0].told, Told::Nothing, "all or nothing");
    assert!(store.tell(at, &[telling], &twice[..1]).await.unwrap());
    assert!(!store.tell(at, &[telling], &[message(alert_id, "bob", Notice::Firing)]).await.unwrap(), "told already");
    let reminder = Telling { from: Told::Firing, ..telling };
    assert!(!store.tell(at, &[reminder], &[]).await.unwrap(), "two that remind at one time are one");
    assert!(store.tell(at + Duration::from_secs(1), &[reminder], &[]).await.unwrap());
    let alert = &store.open_alerts().await.unwrap()[0];
    assert_eq!((alert.told, alert.n_notices), (Told::Firing, 1), "a reminder that goes to nobody is no notice");
    assert_eq!(store.messages().await.unwrap().len(), 1);
    assert_eq!(store.first_notices(alert_id).await.unwrap()[0].address, "ann");
}

async fn messages_keep_their_order_and_are_sent_by_one(database: &Database) {
    let store = database.open().await;
    let alert_id = store.raise_alert(new_alert("a")).await.unwrap().unwrap();
    let at = Utc::now();
    let telling = Telling { alert_id, from: Told::Nothing, to: Told::Firing };
    let firing = [message(alert_id, "ann", Notice::Firing), message(alert_id, "bob", Notice::Firing)];
    assert!(store.tell(at, &[telling], &firing).await.unwrap());
    let over = Telling { from: Told::Firing, to: Told::Resolved, ..telling };
    let recovery = [message(alert_id, "ann", Notice::Recovery), message(alert_id, "bob", Notice::Recovery)];
    assert!(store.tell(at + Duration::from_secs(1), &[over], &recovery).await.unwrap());
    let at = at + Duration::from_secs(2);
    let due = store.due_messages("email", at).await.unwrap();
    let whom: Vec<&str> = due.iter().map(|row| row.address.as_str()).collect();
    assert_eq!(whom, ["ann", "bob"], "the recoveries wait for what they follow");
    assert!(store.due_messages("webhook", at).await.unwrap().is_empty());
    let until = at + Duration::from_mins(1);
    assert!(store.lease_message(due[0].id, at, until).await.unwrap());
    assert!(!store.lease_message(due[0].id, at, until).await.unwrap(), "somebody has it");
    assert_eq!(store.due_messages("email", at).await.unwrap().len(), 1);
    assert!(store.lease_message(due[0].id, until, until + Duration::from_mins(1)).await.unwrap(), "he is gone");
    store.settle_message(due[0].id, OutboxState::Sent, None).await.unwrap();
    assert!(store.lease_message(due[1].id, at, until).await.unwrap());
    store.settle_message(due[1].id, OutboxState::Dead, Some("550 no such user")).await.unwrap();
    let rest = store.due_messages("email", at).await.unwrap();
    let mut follows = Vec::new();
    for row in &rest {
        follows.push((row.address.as_str(), store.follows_a_delivered_one(row).await.unwrap()));
    }
    assert_eq!(follows, [("ann", true), ("bob", false)]);
    let next = at + Duration::from_secs(30);
    store.postpone_message(rest[0].id, next, "451 later").await.unwrap();
    assert_eq!(store.due_messages("email", at).await.unwrap().len(), 1);
    assert_eq!(store.due_messages("email", next).await.unwrap()[0].last_error.as_deref(), Some("451 later"));
    let open: Vec<OutboxState> = store.undelivered_messages().await.unwrap().iter().map(|row| row.state).collect();
    assert_eq!(open, [OutboxState::Dead, OutboxState::Pending, OutboxState::Pending]);
}

async fn trainings_are_marked_for_those_who_watch(database: &Database) {
    let store = database.open().await;
    let claim = started(&store, "weekly@1").await;
    let row = target("views", TargetState::Running);
    store.save_target(claim, &row).await.unwrap();
    store.mark_training(claim, "views", false).await.unwrap();
    store.save_target(claim, &row).await.unwrap();
    let training = store.trainings(claim.run_id).await.unwrap().remove(0);
    assert!(training.training_started_at.is_some() && training.training_ended_at.is_none());
    store.mark_training(claim, "views", true).await.unwrap();
    assert!(store.trainings(claim.run_id).await.unwrap()[0].training_ended_at.is_some());
    // the clock of the next attempt begins anew
    let next = store.next_attempt(claim, &some_owner()).await.unwrap();
    assert!(store.mark_training(claim, "views", true).await.is_err(), "given up");
    store.save_target(next, &row).await.unwrap();
    assert_eq!(store.trainings(claim.run_id).await.unwrap()[0].training_started_at, None);
    store.record_epochs(next, "views", &[epoch(2, 7), epoch(2, 8)]).await.unwrap();
    let after: Vec<i64> =
        store.epochs_after(claim.run_id, "views", 2, 7).await.unwrap().iter().map(|e| e.epoch).collect();
    assert_eq!(after, [8]);
    assert!(store.runs_without_alerts().await.unwrap().is_empty());
    store.finish_run(next, &Outcome::Succeeded).await.unwrap();
    assert_eq!(store.runs_without_alerts().await.unwrap().len(), 1);
    store.mark_alerts_raised(claim.run_id).await.unwrap();
    assert!(store.runs_without_alerts().await.unwrap().is_empty());
}

async fn the_examples_in_the_migrations_work(database: &Database) {
    database.open().await.close().await;
    let kind = if database.is_sqlite() { "sqlite" } else { "postgres" };
    let directory = format!("{}/migrations/{kind}", env!("CARGO_MANIFEST_DIR"));
    let mut examples = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        // Examples are indented by five spaces and end with a semicolon.
        let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("--     ")).collect();
        for statement in lines.join("\n").split_inclusive(';') {
            let statement = statement.trim().trim_end_matches(';');
            database.sql(&format!("SELECT CAST(count(*) AS TEXT) FROM ({statement}) AS example")).await;
            examples += 1;
        }
    }
    assert!(examples >= 9, "{examples}");
}

async fn a_description_tells_the_facts(database: &Database) {
    let store = database.open().await;
    started(&store, "weekly@1").await;
    let told = store.describe().await.unwrap();
    assert_eq!(told.backend, if database.is_sqlite() { "SQLite" } else { "PostgreSQL" });
    assert!(told.server_version.chars().next().unwrap().is_ascii_digit(), "{}", told.server_version);
    assert!(told.schema_version >= 3 && told.size_bytes > 1000, "{told:?}");
    assert_eq!((told.n_runs, told.n_versions), (1, 0));
    assert_eq!(told.location, store.location());
}

#[tokio::test]
async fn both_databases_have_the_same_tables() {
    let (sqlite, postgres) = (Database::sqlite(), Database::postgres());
    sqlite.open().await.close().await;
    postgres.open().await.close().await;
    let mut in_sqlite = sqlite
        .sql(
            "SELECT m.name || '.' || c.name || CASE WHEN c.\"notnull\" + c.pk > 0 THEN ' needed' ELSE '' END
             FROM sqlite_schema m, pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT LIKE '%sql%'",
        )
        .await;
    let mut in_postgres = postgres
        .sql(
            "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN ' needed' ELSE '' END
             FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name NOT LIKE '%sql%'",
        )
        .await;
    in_sqlite.sort();
    in_postgres.sort();
    assert_eq!(in_sqlite, in_postgres);
    assert!(in_sqlite.contains(&"model_metrics.mae needed".to_owned()), "{in_sqlite:?}");
}

#[tokio::test]
async fn a_database_in_memory_works() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let claim = started(&store, "weekly@1").await;
    store.finish_run(claim, &Outcome::Succeeded).await.unwrap();
    assert_eq!(store.runs(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn files_that_cannot_be_opened_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let open = async |name: &str| Store::open(&format!("sqlite://{}", directory.path().join(name).display())).await;

    let error = open("missing/retraind.db").await.unwrap_err();
    let missing = directory.path().join("missing");
    assert_eq!(
        error.to_string(),
        format!(
            "open the state database {0}/retraind.db: directory {0} does not exist; create it or correct `[state] url`",
            missing.display()
        )
    );

    std::fs::write(directory.path().join("notes.txt"), "not a database, and long enough to be seen as none".repeat(9))
        .unwrap();
    let error = open("notes.txt").await.unwrap_err();
    assert!(matches!(error, Error::NotADatabase { .. }), "{error:?}");

    // Nobody can create files in /proc, root neither; a directory cannot be opened as a file.
    for url in ["sqlite:///proc/retraind.db".to_owned(), format!("sqlite://{}", directory.path().display())] {
        let error = Store::open(&url).await.unwrap_err();
        assert!(matches!(error, Error::Unwritable { .. }), "{error:?}");
        assert!(!error.is_transient());
    }
}

/// Holds the lock for a moment, as a backup tool does or a person with a shell.
async fn hold_the_lock(database: &Database) -> tokio::task::JoinHandle<()> {
    let options: sqlx::sqlite::SqliteConnectOptions = database.url.parse().unwrap();
    let mut shell = options.create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS shell (x); BEGIN IMMEDIATE").execute(&mut shell).await.unwrap();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        sqlx::raw_sql("COMMIT").execute(&mut shell).await.unwrap();
    })
}

#[tokio::test]
async fn whoever_holds_the_lock_is_waited_for() {
    let database = Database::sqlite();
    // A file that is not in WAL mode yet: turning that on fails at once while somebody writes.
    let holder = hold_the_lock(&database).await;
    let begun = Instant::now();
    let store = database.open().await;
    assert!(begun.elapsed() >= Duration::from_millis(500));
    holder.await.unwrap();

    let holder = hold_the_lock(&database).await;
    let begun = Instant::now();
    store.enqueue_run(new_run("weekly@1")).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(500));
    holder.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_is_a_passing_trouble() {
    let cluster = Cluster::start();
    let url = cluster.url("store");
    let store = Store::open(&url).await.unwrap();
    store.describe().await.unwrap();

    let missing = url.replace("/store_", "/nowhere_");
    let error = Store::open(&missing).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && !error.is_transient(), "{error:?}");

    drop(cluster);
    let begun = Instant::now();
    let error = store.describe().await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let error = Store::open(&url).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_password_is_never_shown() {
    let error = Store::open("postgres://ann:s3cret@127.0.0.1:1/state").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("postgres://ann@127.0.0.1:1/state"), "{error}");
    assert!(!format!("{error} {error:?}").contains("s3cret"));

    let url = Database::postgres().url.replace("postgres@", "postgres:s3cret@");
    let store = Store::open(&url).await.unwrap();
    assert!(!format!("{} {store:?} {:?}", store.location(), store.describe().await).contains("s3cret"));
}
