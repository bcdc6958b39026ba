//! What a crash leaves between the state database and the registry, made by hand, and how it is put in order.

#[path = "support/onnxruntime.rs"]
mod onnxruntime;

use retraind::data::{Source, Target, sample};
use retraind::job::Job;
use retraind::registry::Version;
use retraind::run::{self, Context};
use retraind::settings::Settings;
use retraind::store::{NewPromotion, PromotionKind, PromotionState};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const FIRST: Version = Version::FIRST;

/// A registry with two versions of `views`, the second in service, and the job that made them.
async fn two_versions(dir: &Path) -> Context {
    let mut settings = Settings::default();
    settings.state.url = format!("sqlite://{}", dir.join("retraind.db").display());
    settings.source.url = format!("sqlite://{}", dir.join("data.db").display());
    settings.registry.dir = dir.join("models");
    settings.onnxruntime.library = Some(onnxruntime::place());
    let source = &settings.source;
    Source::import(&source.url, &source.table, Duration::from_mins(1), &sample(1), |_, _| ()).await.expect("imported");
    let mut context = Context::open(settings).await.expect("opened");
    context.program = env!("CARGO_BIN_EXE_retraind").into();
    let job = "[retrain]\ntargets = [\"views\"]\nepochs = 1\nhidden = 2\ndense = 1\n[gate]\nmae_max = 100.0\n";
    let job = Job::parse(Path::new("small.toml"), job, &[]).expect("a job");
    for _ in 0..2 {
        let stop = Arc::new(AtomicBool::new(false));
        run::run(&context, &job, "test", stop, Arc::new(|_| ())).await.expect("began").result.expect("ended");
    }
    assert_eq!(context.registry.champion(Target::Views).expect("read"), Some(FIRST.next()));
    context
}

async fn back_to_first(context: &Context) -> i64 {
    let new = NewPromotion {
        target: "views",
        version: "v0001",
        previous_version: Some("v0002"),
        kind: PromotionKind::Promote,
        cause: "a test",
    };
    context.store.begin_promotion(None, new).await.expect("begun").id
}

async fn state_of(context: &Context, id: i64) -> PromotionState {
    let promotions = context.store.promotions(None).await.expect("read");
    promotions.into_iter().find(|promotion| promotion.id == id).expect("there").state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_cut_short_ends_as_the_champion_file_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let context = two_versions(dir.path()).await;

    let before = back_to_first(&context).await;
    run::reconcile(&context).await.expect("settled");
    assert_eq!(state_of(&context, before).await, PromotionState::Abandoned, "the file was not swapped");

    let after = back_to_first(&context).await;
    context.registry.set_champion(Target::Views, FIRST).expect("swapped");
    run::reconcile(&context).await.expect("settled");
    assert_eq!(state_of(&context, after).await, PromotionState::Done, "the file was swapped");

    // whoever promotes next settles what is pending instead of stumbling over it
    let left = back_to_first(&context).await;
    run::promote(&context, Target::Views, FIRST.next(), false).await.expect("promoted");
    assert_eq!(state_of(&context, left).await, PromotionState::Done);
    assert_eq!(context.registry.champion(Target::Views).expect("read"), Some(FIRST.next()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_published_and_not_registered_is_registered() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut context = two_versions(dir.path()).await;
    // another database: it knows none of them
    context.store = retraind::store::Store::open(&format!("sqlite://{}", dir.path().join("new.db").display()))
        .await
        .expect("opened");
    run::reconcile(&context).await.expect("registered");
    let versions = context.store.versions(Some("views")).await.expect("read");
    let names: Vec<&str> = versions.iter().map(|row| row.version.as_str()).collect();
    assert_eq!(names, ["v0002", "v0001"]);
    assert!(versions.iter().all(|row| row.run_id.is_none()), "runs of another database are not ours");
    run::reconcile(&context).await.expect("nothing left to do");
    assert_eq!(context.store.versions(None).await.expect("read").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_given_up_attempt_published_is_set_aside() {
    let dir = tempfile::tempdir().expect("a directory");
    let context = two_versions(dir.path()).await;
    // as if run 1 had gone to another attempt while its first one published v0003
    let (from, to) = (context.registry.path(Target::Views, FIRST), dir.path().join("models/views/v0003"));
    fs::create_dir(&to).expect("a directory");
    for entry in fs::read_dir(from).expect("read") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
    let text = fs::read_to_string(to.join("metadata.json")).expect("read");
    fs::write(to.join("metadata.json"), text.replace("\"attempt\": 1", "\"attempt\": 0")).expect("written");
    run::reconcile(&context).await.expect("put in order");
    assert!(!to.exists(), "it is no version any more");
    assert_eq!(context.store.versions(None).await.expect("read").len(), 2);
}
