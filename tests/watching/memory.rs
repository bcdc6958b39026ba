//! Memory that runs out, in a cgroup with a limit.

use super::foreground::{Place, end};
use super::house::{House, alerts};
use super::smtp::subjects;
use super::{ENDLESS, text};
use retraind::alert;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A cgroup of this test's own with a limit, so that the host is safe; none where none can be made.
struct Cage(PathBuf);

impl Cage {
    fn new(limit: u64) -> Result<Self, String> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("retraind-test-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
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

    /// Takes nearly all of its memory, beside those in it of whom the kernel would kill one first.
    fn fill(&self) {
        let script = format!("echo $$ > {}/cgroup.procs && exec python3 -c \"{HOG}\"", self.0.display());
        Command::new("sh").args(["-c", &script]).status().expect("started");
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
    // the run takes half of it: more than the host, whose use would be told instead, however busy it is
    let cage = match Cage::new(128 << 20) {
        Ok(cage) => cage,
        Err(why) => return eprintln!("skipped: no cgroup can be made here: {why}"),
    };
    let place = Place::new(
        "epochs = 100000\npatience = 100000\nbatch_size = 64\nthreads = 2\n",
        &format!("{MEMORY}memory_above_percent = 40"),
    );
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
    let settings = place.settings();
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
    cage.fill();
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
    let told = alerts.iter().filter(|alert| alert.rule == "out_of_memory").count();
    assert_eq!(told, 1, "{alerts:?}, {:?}", subjects(&mails));
    assert_eq!(killed(&mails), 1, "{:?}", subjects(&mails));
}

/// How often mails say that the kernel has killed a worker.
fn killed(mails: &[Value]) -> usize {
    mails.iter().map(|mail| text(mail).matches("was killed: no memory was left in its cgroup").count()).sum()
}

#[test]
fn a_daemons_worker_that_the_kernel_kills_for_memory_is_told_of_once() {
    let cage = match Cage::new(200 << 20) {
        Ok(cage) => cage,
        Err(why) => return eprintln!("skipped: no cgroup can be made here: {why}"),
    };
    let house = House::training(ENDLESS, "", "[run]\nattempts = 1\n");
    let daemon = house.place.daemon();
    // its workers begin where it is
    fs::write(cage.0.join("cgroup.procs"), daemon.child.id().to_string()).expect("moved");
    let pid = house.train();
    fs::write(format!("/proc/{pid}/oom_score_adj"), "1000").expect("chosen");
    // the scheduler sees the signal, the watcher the count of the group: both know it by then
    house.look();
    cage.fill();
    house.place.wait_for("its end", || house.place.state_of(1) == "failed");
    let mails = house.all_mails();
    assert_eq!(killed(&mails), 1, "{:?}", subjects(&mails));
    let [memory, failed] = house.alerts().try_into().unwrap_or_else(|alerts| panic!("two alerts: {alerts:?}"));
    assert_eq!((&memory["rule"], &memory["onset"]), (&"out_of_memory".into(), &"run 1 attempt 1 killed".into()));
    assert_eq!((&memory["state"], &failed["rule"]), (&"resolved".into(), &"run_failed".into()), "one is an event");
    daemon.stop();
}

#[test]
fn a_program_that_is_killed_for_memory_before_anybody_looked_is_told_as_that() {
    let cage = match Cage::new(200 << 20) {
        Ok(cage) => cage,
        Err(why) => return eprintln!("skipped: no cgroup can be made here: {why}"),
    };
    let house = House::new();
    let greedy =
        "echo 1000 > /proc/self/oom_score_adj; exec python3 -c 'x = bytearray(400 << 20); x[::4096] = x[::4096]'";
    let job = format!("[exec]\ncommand = [\"sh\", \"-c\", \"{greedy}\"]\n{}", alerts(""));
    house.place.job("greedy", &job);
    let daemon = house.place.daemon();
    fs::write(cage.0.join("cgroup.procs"), daemon.child.id().to_string()).expect("moved");
    // a look in the new place
    house.look();
    for run in [2, 3] {
        house.place.stdout(&["trigger", "greedy", "--wait"], 1);
        house.look();
        let onset = format!("run {} attempt 1 killed", 2 * run - 2);
        let told = house.alerts().iter().filter(|alert| alert["rule"] == "out_of_memory").cloned().collect::<Vec<_>>();
        assert!(told.len() == run - 1 && told[run - 2]["onset"] == onset.as_str(), "{onset}: {told:?}");
    }
    daemon.stop();
}

/// Holds what it takes for two seconds.
const HOG: &str =
    "import time; memory = bytearray(190 << 20); memory[::4096] = b'x' * len(memory[::4096]); time.sleep(2)";
