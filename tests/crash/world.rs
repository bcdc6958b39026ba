//! A directory with jobs that start all the time, a daemon, people who ask for runs, and the blows that fall.

use crate::place::{Daemon, Place};
use crate::plan::{Blow, When, Whom};
use crate::processes::{kill, workers_in, working_in};
use crate::small;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// All jobs. Retries wait for a second, so that they fall into the test's time.
pub(crate) const JOBS: [&str; 5] = ["often", "skipping", "wished", "fragile", "program"];
const TARGETS: [&str; 3] = ["views", "likes", "comments"];
/// How long something may take that happens every few seconds.
const LONG: Duration = Duration::from_mins(1);
/// How long to wait for a version being written before the blow falls anyway.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct World {
    pub(crate) place: Place,
    /// As it stands in /proc.
    dir: PathBuf,
    daemon: Option<Daemon>,
    wishes: Vec<Child>,
    /// Blows by whom they hit.
    pub(crate) struck: BTreeMap<&'static str, usize>,
}

impl World {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let settings = "[daemon]\nmax_running = 3\ngrace = \"2s\"\nstop_grace = \"5s\"\n";
        fs::write(place.path("retraind.toml"), settings).expect("written");
        small::import(&place);
        let patient = "attempts = 1000\ninterruptions = 1000\nretry_delay = \"1s\"\nretry_delay_max = \"1s\"\n\
             pause_after_failures = 0\n";
        let every = |seconds: u32| format!("[trigger.cron]\nschedule = \"*/{seconds} * * * * *\"\n");
        let job = |name: &str, kind: &str, overlap: &str, policy: &str, trigger: &str| {
            place.job(name, &format!("{kind}[run]\noverlap = \"{overlap}\"\n{policy}{trigger}"));
        };
        job("often", &small::job(&["views", "likes"], 150, 11), "queue", patient, &every(2));
        job("skipping", &small::job(&["likes", "comments"], 120, 12), "skip", patient, &every(3));
        job("wished", &small::job(&["views", "comments"], 100, 13), "queue", patient, "");
        let policy = "attempts = 2\ninterruptions = 2\nretry_delay = \"1s\"\npause_after_failures = 0\n";
        job("fragile", &small::job(&["views", "comments"], 200, 14), "skip", policy, &every(4));
        // what is left of an attempt holds the lock, and then the next one of the run, or the next run, says so
        let program = "flock --wait 2 lock sleep 4 || echo twice >> twice";
        job("program", &format!("[exec]\ncommand = [\"sh\", \"-c\", \"{program}\"]\n"), "skip", patient, &every(7));
        let dir = place.path(".").canonicalize().expect("a directory");
        let daemon = Some(place.start(&[]));
        Self { place, dir, daemon, wishes: Vec::new(), struck: BTreeMap::new() }
    }

    /// Lets one blow fall, and starts the daemon again at once.
    pub(crate) fn strike(&mut self, blow: &Blow, look: bool) {
        self.wish(blow);
        match blow.when {
            When::Before => {}
            When::Worker => drop(self.worker(blow)),
            When::Staging => self.wait_for(|world| world.in_registry(is_left_over) > 0),
            When::Version => {
                let is_version = |name: &str| name.starts_with('v');
                let before = self.in_registry(is_version);
                self.wait_for(|world| world.in_registry(is_version) > before);
            }
        }
        sleep(blow.delay);
        let daemon = self.daemon.as_mut().expect("one is always started");
        let ended = daemon.child.try_wait().expect("asked");
        assert!(ended.is_none(), "the daemon ended by itself ({ended:?}): {}", daemon.log());
        let whom = match blow.whom {
            Whom::Worker => {
                let all = matches!(blow.when, When::Staging | When::Version);
                while !if all { self.kill_workers(blow.group) } else { kill(self.worker(blow), blow.group) } {}
                "worker"
            }
            Whom::Daemon => {
                self.kill_daemon();
                "daemon"
            }
            Whom::Both if blow.daemon_first => {
                self.kill_daemon();
                if self.kill_workers(blow.group) { "both" } else { "daemon" }
            }
            Whom::Both => {
                let found = self.kill_workers(blow.group);
                self.kill_daemon();
                if found { "both" } else { "daemon" }
            }
        };
        *self.struck.entry(whom).or_default() += 1;
        if look {
            self.champions_load();
        }
        if self.daemon.is_none() {
            self.daemon = Some(self.place.start(&[]));
        }
    }

    /// Lets everything that was begun come to its end, with nothing new but one last run of each job.
    pub(crate) fn drain(&mut self) {
        let place = &self.place;
        place.wait_for("the last daemon", || !place.status().is_empty());
        for wish in &mut self.wishes {
            place.wait_for("a person's wish", || wish.try_wait().expect("asked").is_some());
        }
        for wish in std::mem::take(&mut self.wishes) {
            let output = wish.wait_with_output().expect("ended");
            // queued, or there was no daemon in that moment
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(matches!(output.status.code(), Some(0 | 69)), "{}: {said}", output.status);
        }
        for job in JOBS {
            place.stdout(&["pause", job, "--because", "the test ends"], 0);
        }
        let open = || {
            let runs = place.json(&["runs", "--json", "--limit", "100000"], 0);
            runs.as_array().expect("a list").iter().filter(|run| run["ended_at"].is_null()).count()
        };
        place.wait_for("every run to end", || open() == 0);
        for job in JOBS {
            let run = place.json(&["trigger", job, "--wait", "--json"], 0);
            assert_eq!((&run["state"], &run["attempt"]), (&"succeeded".into(), &1.into()), "{run:#}");
        }
        let daemon = self.daemon.as_ref().expect("one is always started").child.id();
        let others = || working_in(&self.dir).into_iter().filter(|process| process.pid != daemon).collect::<Vec<_>>();
        place.wait_for(&format!("nobody but the daemon to be left: {:?}", others()), || others().is_empty());
        self.daemon.take().expect("one is always started").stop();
    }

    /// Whoever asks for a forecast gets one, whatever has just been killed.
    fn champions_load(&self) {
        for target in TARGETS {
            if self.place.path(&format!("models/{target}/champion")).exists() {
                let found = self.place.json(&["predict", "--target", target, "--json"], 0);
                assert_eq!(found["forecasts"].as_array().map(Vec::len), Some(2), "{target}: {found:#}");
            }
        }
    }

    /// A person asks for a run; what becomes of the wish is looked at in the end.
    fn wish(&mut self, blow: &Blow) {
        let Some((job, seed)) = blow.wish else { return };
        let mut command = Command::new(env!("CARGO_BIN_EXE_retraind"));
        command.args(["trigger", job, "--set", &format!("retrain.seed={seed}")]).current_dir(&self.dir);
        command.env("RETRAIND_CONFIG", self.place.path("retraind.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        self.wishes.push(command.spawn().expect("it starts"));
    }

    /// One of the workers, once there is one.
    fn worker(&self, blow: &Blow) -> u32 {
        let deadline = Instant::now() + LONG;
        loop {
            let workers = workers_in(&self.dir);
            if !workers.is_empty() {
                return workers[blow.which % workers.len()].pid;
            }
            let log = || self.daemon.as_ref().map(Daemon::log).unwrap_or_default();
            assert!(Instant::now() < deadline, "no worker for a minute; the daemon says: {}", log());
            sleep(Duration::from_millis(3));
        }
    }

    /// Waits until it holds; not for long, as no version may be on its way.
    fn wait_for(&self, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) && Instant::now() < deadline {
            sleep(Duration::from_micros(500));
        }
    }

    /// How many names there are such beside the versions.
    fn in_registry(&self, such: impl Fn(&str) -> bool) -> usize {
        let names = TARGETS.map(|target| names(&self.place.path(&format!("models/{target}"))));
        names.iter().flatten().filter(|name| such(name)).count()
    }

    fn kill_daemon(&mut self) {
        self.daemon.take().expect("one is always started").kill();
    }

    /// Kills all workers. False: there was none.
    fn kill_workers(&self, group: bool) -> bool {
        let killed = workers_in(&self.dir).iter().filter(|worker| kill(worker.pid, group)).count();
        killed > 0
    }
}

/// What a directory holds; nothing where it is not there.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Whether a file or directory of that name is one that was being written.
pub(crate) fn is_left_over(name: &str) -> bool {
    name.starts_with(".staging-") || name.starts_with(".new-")
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.daemon.take());
        for process in working_in(&self.dir) {
            kill(process.pid, false);
        }
        if std::thread::panicking() {
            // to be looked at
            let left = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crash");
            fs::remove_dir_all(&left).unwrap_or_default();
            let copied = Command::new("cp").arg("-a").arg(&self.dir).arg(&left).status();
            eprintln!("what is left lies in {} ({copied:?})", left.display());
        }
    }
}
