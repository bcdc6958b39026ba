//! Real trainings that trip each rule, and the mails that come of it: each once, at the right epoch or second.

#[path = "support/smtp.rs"]
mod smtp;

use retraind::alert;
use retraind::settings::Settings;
use retraind::store::{Alert, AlertState, RunState, Store};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use smtp::{MailHost, PASSWORD, Server, USER, part, subjects};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A training that would go on for hours.
const ENDLESS: &str = "epochs = 100000\npatience = 100000\n";

struct Place {
    dir: TempDir,
    host: MailHost,
    _server: Server,
}

impl Place {
    /// A job of one small model, with `retrain` and `alerts` added to its tables.
    fn new(retrain: &str, alerts: &str) -> Self {
        let host = MailHost::new();
        let server = host.start(&json!({ "tls": "starttls" }));
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("jobs")).expect("a directory");
        let job = format!(
            "[retrain]\ntargets = [\"views\"]\nhidden = 4\ndense = 2\n{retrain}\n[gate]\nmae_max = 1000.0\n\
             [alerts]\npromotion = false\nno_better_than_naive = false\n{alerts}\n"
        );
        fs::write(dir.path().join("jobs/weekly.toml"), job).expect("written");
        let settings = format!(
            "[smtp]\nhost = \"localhost\"\nport = {}\nca_file = \"{}\"\nusername = \"{USER}\"\npassword = \"{PASSWORD}\"\n\
             from = \"retraind@example.org\"\nto = [\"ann@example.org\"]\n[alerting]\nhost = \"trainer\"\ngroup_wait = \"1s\"\n",
            server.port,
            host.authority().display()
        );
        fs::write(dir.path().join("retraind.toml"), settings).expect("written");
        let place = Self { dir, host, _server: server };
        // the first video grows steadily, the second one (which `level` validates on) jumps up and down
        let mut csv = "timestamp,video_id,view_count,like_count,comment_count\n".to_owned();
        for (video, n) in [("video-a", 240), ("video-b", 60)] {
            for k in 0..n {
                let views = if video == "video-a" { 1000 + 10 * k } else { 1000 + 900 * (k % 2) };
                writeln!(csv, "2026-01-01T{:02}:{:02}:00Z,{video},{views},{},{}", k / 60, k % 60, 100 + k, k)
                    .expect("text");
            }
        }
        fs::write(place.dir.path().join("rows.csv"), csv).expect("written");
        assert!(place.command(&["import", "rows.csv"]).status().expect("started").success());
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_retraind"));
        command.current_dir(self.dir.path()).args(arguments).env("RETRAIND_CONFIG", "retraind.toml");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn start(&self) -> Child {
        self.command(&["run", "weekly"]).spawn().expect("it starts")
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.dir.path().join("retraind.db").display())
    }

    async fn store(&self) -> Store {
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

    /// Stops a process between two of its transactions: in the middle of one it would keep the database's lock.
    fn stop(&self, pid: Pid) {
        let state = rusqlite::Connection::open(self.dir.path().join("retraind.db")).expect("opened");
        state.busy_timeout(Duration::ZERO).expect("set");
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            kill_process(pid, Signal::STOP).expect("stopped");
            sleep(Duration::from_millis(20)); // until each of its threads has seen it
            if state.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok() {
                return;
            }
            kill_process(pid, Signal::CONT).expect("goes on");
            assert!(Instant::now() < deadline, "it always writes");
            sleep(Duration::from_millis(7));
        }
    }

    async fn alerts(&self) -> Vec<Alert> {
        let mut alerts = self.store().await.alerts(100).await.expect("read");
        alerts.reverse();
        alerts
    }
}

fn end(mut child: Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id() as i32).expect("a pid"), signal).expect("sent");
    child.wait().expect("ended");
}

fn text(mail: &Value) -> &str {
    part(mail, "text/plain")["text"].as_str().expect("text")
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
    place.stop(pid);
    assert!(place.alerts().await.is_empty());
    // as the daemon does it
    let mut settings: Settings =
        toml_edit::de::from_str(&fs::read_to_string(place.dir.path().join("retraind.toml")).expect("read"))
            .expect("settings");
    settings.state.url = place.url();
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
    // steps too small for the weights' 32 bits: nothing ever changes
    let place = Place::new(
        "epochs = 7\npatience = 100\nlearning_rate = 1e-20",
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

/// A cgroup of this test's own with a limit, so that the host is safe; none where none can be made.
struct Cage(PathBuf);

impl Cage {
    fn new(limit: u64) -> Result<Self, String> {
        let name = format!("retraind-test-{}", std::process::id());
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|e| e.to_string())?;
        let v1 = own.lines().find_map(|line| line.split_once(":memory:").map(|(_, path)| path));
        let (parent, file) = match v1 {
            Some(path) => (PathBuf::from(format!("/sys/fs/cgroup/memory{path}")), "memory.limit_in_bytes"),
            None => (PathBuf::from("/sys/fs/cgroup"), "memory.max"),
        };
        let parent = if parent.is_dir() { parent } else { PathBuf::from("/sys/fs/cgroup/memory") };
        let dir = parent.join(name);
        fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let cage = Self(dir);
        fs::write(cage.0.join(file), limit.to_string()).map_err(|e| format!("{file}: {e}"))?;
        Ok(cage)
    }

    /// Runs the command inside: a shell goes in first.
    fn command(&self, place: &Place, arguments: &str) -> Command {
        let script = format!(
            "echo 1000 > /proc/self/oom_score_adj && echo $$ > {}/cgroup.procs && exec {} {arguments}",
            self.0.display(),
            env!("CARGO_BIN_EXE_retraind")
        );
        let mut command = Command::new("sh");
        command.current_dir(place.dir.path()).args(["-c", &script]).env("RETRAIND_CONFIG", "retraind.toml");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&self.0).is_err() && Instant::now() < deadline {
            sleep(Duration::from_millis(50));
        }
    }
}

const MEMORY: &str =
    "no_improvement_epochs = false\nvalidation_to_training_loss = false\ntraining_longer_than = false\n";

#[tokio::test(flavor = "multi_thread")]
async fn memory_near_the_cgroups_limit_is_told_once() {
    let cage = match Cage::new(256 << 20) {
        Ok(cage) => cage,
        Err(why) => return eprintln!("skipped: no cgroup can be made here: {why}"),
    };
    let place = Place::new(&format!("{ENDLESS}batch_size = 64"), &format!("{MEMORY}memory_above_percent = 12"));
    fs::write(
        place.dir.path().join("jobs/weekly.toml"),
        fs::read_to_string(place.dir.path().join("jobs/weekly.toml"))
            .expect("read")
            .replace("hidden = 4", "hidden = 256"),
    )
    .expect("written");
    let child = cage.command(&place, "run weekly").spawn().expect("it starts");
    let mails = place.host.wait_for(1);
    let subject = &subjects(&mails)[0];
    assert!(
        subject.contains("% of the memory is in use (the limit of ") && subject.contains("retraind-test-"),
        "{subject}"
    );
    assert!(text(&mails[0]).contains("retraind holds") && text(&mails[0]).contains("this run"), "{}", text(&mails[0]));
    sleep(Duration::from_secs(3));
    assert_eq!(place.host.mails().len(), 1);
    end(child, Signal::TERM);
    let mails = place.host.wait_for(2);
    assert!(subjects(&mails)[1].contains("over:"), "{:?}", subjects(&mails));
    assert_eq!((mails.len(), place.alerts().await.len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_the_kernel_kills_for_memory_is_told_as_that() {
    let cage = match Cage::new(200 << 20) {
        Ok(cage) => cage,
        Err(why) => return eprintln!("skipped: no cgroup can be made here: {why}"),
    };
    let place = Place::new(ENDLESS, &format!("{MEMORY}memory_above_percent = false"));
    let store = place.store().await;
    let mut settings: Settings =
        toml_edit::de::from_str(&fs::read_to_string(place.dir.path().join("retraind.toml")).expect("read"))
            .expect("settings");
    settings.state.url = place.url();
    let (ending, over) = tokio::sync::oneshot::channel::<()>();
    let over = async { over.await.unwrap_or_default() };
    let serving = tokio::spawn(alert::serve(store.clone(), settings, Arc::new(|_| ()), over));
    let mut child = cage.command(&place, "run weekly").spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_mins(2);
    while store.running_runs().await.expect("read").is_empty() {
        assert!(Instant::now() < deadline, "it did not begin");
        sleep(Duration::from_millis(100));
    }
    // the watcher has seen it by then
    tokio::time::sleep(Duration::from_secs(5)).await;
    let script = format!("echo $$ > {}/cgroup.procs && exec python3 -c \"{HOG}\"", cage.0.display());
    Command::new("sh").args(["-c", &script]).status().expect("started");
    let Some(status) = child.try_wait().expect("asked") else {
        end(child, Signal::KILL);
        panic!("the kernel did not kill the worker");
    };
    assert!(!status.success());
    store.reap(retraind::store::Owner::is_alive).await.expect("reaped");
    let mails = tokio::task::block_in_place(|| place.host.wait_for(1));
    drop(ending);
    serving.await.expect("ended");
    let alerts = place.alerts().await;
    assert!(alerts.iter().any(|alert| alert.rule == "out_of_memory"), "{alerts:?}, {:?}", subjects(&mails));
}

/// Takes nearly all of the group's memory, beside the run, which the kernel would kill first.
const HOG: &str =
    "import time; memory = bytearray(190 << 20); memory[::4096] = b'x' * len(memory[::4096]); time.sleep(2)";
