//! `retraind run`, which watches itself and tells what it sees before it ends.

use super::smtp::{MailHost, Server, part, subjects};
use super::{ENDLESS, STANDSTILL, mail_settings, rows, stop, text};
use retraind::alert;
use retraind::settings::Settings;
use retraind::store::{Alert, AlertState, RunState, Store};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(super) struct Place {
    pub(super) dir: TempDir,
    pub(super) host: MailHost,
    _server: Server,
}

impl Place {
    /// A job of one small model, with `retrain` and `alerts` added to its tables.
    pub(super) fn new(retrain: &str, alerts: &str) -> Self {
        let host = MailHost::new();
        let server = host.start(&json!({ "tls": "starttls" }));
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("jobs")).expect("a directory");
        let job = format!(
            "[retrain]\ntargets = [\"views\"]\nhidden = 4\ndense = 2\n{retrain}\n[gate]\nmae_max = 1000.0\n\
             [alerts]\npromotion = false\nno_better_than_naive = false\n{alerts}\n"
        );
        fs::write(dir.path().join("jobs/weekly.toml"), job).expect("written");
        let settings = mail_settings(&host, server.port);
        fs::write(dir.path().join("retraind.toml"), settings).expect("written");
        let place = Self { dir, host, _server: server };
        fs::write(place.dir.path().join("rows.csv"), rows()).expect("written");
        assert!(place.command(&["import", "rows.csv"]).status().expect("started").success());
        place
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_retraind"));
        command.current_dir(self.dir.path()).args(arguments).env("RETRAIND_CONFIG", "retraind.toml");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    pub(super) fn start(&self) -> Child {
        self.command(&["run", "weekly"]).spawn().expect("it starts")
    }

    pub(super) fn url(&self) -> String {
        format!("sqlite://{}", self.dir.path().join("retraind.db").display())
    }

    /// As the program reads them there.
    pub(super) fn settings(&self) -> Settings {
        let text = fs::read_to_string(self.dir.path().join("retraind.toml")).expect("read");
        let mut settings: Settings = toml_edit::de::from_str(&text).expect("settings");
        settings.state.url = self.url();
        settings
    }

    pub(super) async fn store(&self) -> Store {
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            match Store::open(&self.url()).await {
                Ok(store) => return store,
                // the run under test is making the tables
                Err(error) if error.is_transient() && Instant::now() < deadline => sleep(Duration::from_millis(50)),
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(super) async fn alerts(&self) -> Vec<Alert> {
        let mut alerts = self.store().await.alerts(100).await.expect("read");
        alerts.reverse();
        alerts
    }
}

pub(super) fn end(mut child: Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id() as i32).expect("a pid"), signal).expect("sent");
    child.wait().expect("ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_training_is_told_while_it_goes_on_and_its_end_once() {
    let place = Place::new(
        ENDLESS,
        "training_longer_than = \"2s\"\nno_improvement_epochs = false\nvalidation_to_training_loss = false\nmemory_above_percent = false",
    );
    let child = place.start();
    let mails = place.host.wait_for(1);
    assert_eq!(subjects(&mails), ["[trainer] views: training for longer than 2s, run 1 of weekly"]);
    assert!(text(&mails[0]).contains("limit  2s"), "{}", text(&mails[0]));
    let [slow] = place.alerts().await.try_into().expect("one alert");
    assert_eq!((slow.state, slow.rule.as_str()), (AlertState::Firing, "training_longer_than"));
    let store = place.store().await;
    assert_eq!(store.run(1).await.expect("read").state, RunState::Running, "it still goes on");
    let began = store.trainings(1).await.expect("read")[0].training_started_at.expect("begun");
    assert!(slow.first_seen - began >= chrono::TimeDelta::seconds(2), "not before its time");
    // long enough for a second mail, if there were one
    sleep(Duration::from_secs(4));
    end(child, Signal::TERM);
    let mails = place.host.mails();
    assert_eq!(mails.len(), 2, "{:?}", subjects(&mails));
    assert_eq!(subjects(&mails)[1], "[trainer] over: views: training for longer than 2s, run 1 of weekly");
    assert_eq!(mails[1]["headers"]["In-Reply-To"], mails[0]["headers"]["Message-ID"]);
    assert_eq!(place.alerts().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_is_told_of_by_who_watches_it() {
    let place = Place::new(
        ENDLESS,
        "training_longer_than = \"4s\"\nno_improvement_epochs = false\nvalidation_to_training_loss = false\nmemory_above_percent = false",
    );
    let child = place.start();
    let pid = Pid::from_raw(child.id() as i32).expect("a pid");
    let deadline = Instant::now() + Duration::from_mins(2);
    let store = loop {
        let store = place.store().await;
        let trainings = store.trainings(1).await.expect("read");
        if trainings.first().is_some_and(|training| training.training_started_at.is_some()) {
            break store;
        }
        assert!(Instant::now() < deadline, "no training begins: {trainings:?}");
        sleep(Duration::from_millis(50));
    };
    stop(&place.dir.path().join("retraind.db"), pid);
    assert!(place.alerts().await.is_empty());
    // as the daemon does it
    let settings = place.settings();
    let (ending, over) = tokio::sync::oneshot::channel::<()>();
    let over = async { over.await.unwrap_or_default() };
    let serving = tokio::spawn(alert::serve(store, settings, Arc::new(|_| ()), over));
    let mails = tokio::task::block_in_place(|| place.host.wait_for(1));
    assert_eq!(subjects(&mails), ["[trainer] views: training for longer than 4s, run 1 of weekly"]);
    drop(ending);
    serving.await.expect("ended");
    kill_process(pid, Signal::CONT).expect("goes on");
    end(child, Signal::KILL);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_improvement_is_told_at_its_epoch() {
    let place = Place::new(
        &format!("epochs = 7\npatience = 100\n{STANDSTILL}"),
        "no_improvement_epochs = 4\nvalidation_to_training_loss = false\nmemory_above_percent = false",
    );
    assert!(place.command(&["run", "weekly"]).status().expect("started").success());
    let [stuck] = place.alerts().await.try_into().expect("one alert");
    let facts: Value = serde_json::from_str(&stuck.facts).expect("JSON");
    assert_eq!((stuck.rule.as_str(), &facts["epoch"]), ("no_improvement_epochs", &json!(5)));
    assert_eq!(stuck.onset, "run 1 attempt 1 epoch 5");
    assert_eq!(stuck.state, AlertState::Resolved, "the training is over");
    let firing: Vec<String> = subjects(&place.host.mails()).into_iter().filter(|s| !s.contains("over:")).collect();
    let said = "[trainer] views: poor convergence: no better validation loss for 4 epochs";
    assert!(firing.len() == 1 && firing[0].starts_with(said), "{firing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_that_part_are_told_at_their_epoch() {
    let place = Place::new(
        "epochs = 8\npatience = 100\nlearning_rate = 0.01\ndropout = 0.0",
        "validation_to_training_loss = 1.5\nvalidation_to_training_loss_epochs = 2\nvalidation_to_training_loss_warm_up = 1\n\
         no_improvement_epochs = false\nmemory_above_percent = false",
    );
    assert!(place.command(&["run", "weekly"]).status().expect("started").success());
    // what the rule should have seen, counted here by itself
    let epochs = place.store().await.epochs(1, "views").await.expect("read");
    let above: Vec<bool> = epochs.iter().map(|row| row.epoch > 1 && row.val_loss / row.loss > 1.5).collect();
    let first = (1..above.len()).find(|&k| above[k - 1] && above[k]).expect("the losses part") + 1;
    let alerts = place.alerts().await;
    assert_eq!(alerts[0].rule, "validation_to_training_loss");
    assert_eq!(alerts[0].onset, format!("run 1 attempt 1 epoch {first}"), "{epochs:?}");
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let mails = place.host.mails();
    assert!(subjects(&mails)[0].contains("× training loss"), "{:?}", subjects(&mails));
    assert_eq!(part(&mails[0], "image/png")["magic"], "89504e470d0a1a0a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_is_told_once_and_is_over_when_one_succeeds() {
    let place = Place::new("epochs = 2", "memory_above_percent = false\nvalidation_to_training_loss = false");
    // no file of ONNX Runtime's
    let failed = place
        .command(&["run", "weekly"])
        .env("RETRAIND_ONNXRUNTIME__LIBRARY", "/nowhere.so")
        .status()
        .expect("started");
    assert!(!failed.success());
    let mails = place.host.wait_for(1);
    assert!(subjects(&mails)[0].starts_with("[trainer] failed: failed to"), "{:?}", subjects(&mails));
    assert!(text(&mails[0]).contains("run_failed") && text(&mails[0]).contains("retraind doctor"));
    assert!(place.command(&["run", "weekly"]).status().expect("started").success());
    let mails = place.host.wait_for(2);
    assert!(subjects(&mails)[1].starts_with("[trainer] over: failed"), "{:?}", subjects(&mails));
    assert!(text(&mails[1]).contains("run 2 went through to its end"));
    assert_eq!((mails.len(), place.alerts().await.len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_refuses_is_told_with_what_stays() {
    let place =
        Place::new("epochs = 2", "memory_above_percent = false\nvalidation_to_training_loss = false\npromotion = true");
    let job = place.dir.path().join("jobs/weekly.toml");
    let run = || place.command(&["run", "weekly"]).status().expect("started").code();
    // `promotion` stands twice in that table: the second one is what this test wants
    let file = fs::read_to_string(&job).expect("read").replace("promotion = false\n", "");
    fs::write(&job, &file).expect("written");
    assert_eq!(run(), Some(0));
    fs::write(&job, file.replace("mae_max = 1000.0", "mae_max = 0.0")).expect("written");
    assert_eq!(run(), Some(3));
    let mails = place.host.wait_for(2);
    assert_eq!(subjects(&mails)[0], "[trainer] views: v0001 came into service as the first one, run 1 of weekly");
    assert!(
        subjects(&mails)[1].starts_with("[trainer] views: the gate refused v0002: MAE 0."),
        "{:?}",
        subjects(&mails)
    );
    let said = text(&mails[1]);
    assert!(said.contains("limit  mae_max 0") && said.contains("v0001 stays in service"), "{said}");
}
