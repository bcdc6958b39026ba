//! The program as a person uses it: every command, in a directory of its own, on small data.

mod support;

use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use rustix::process::Signal;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;

const HEADER: &str = "timestamp,video_id,view_count,like_count,comment_count\n";
const JOB: &str = "[retrain]\nepochs = 2\nhidden = 6\ndense = 3\n[gate]\nmae_max = 1.0\n";

/// A run that goes on for minutes.
const LONG: [&str; 6] = ["run", "weekly", "--set", "retrain.epochs=100000", "--set", "retrain.patience=100000"];

/// A directory with a job and, where asked for, data.
struct Place {
    dir: TempDir,
}

impl Place {
    fn empty() -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a directory") };
        fs::create_dir(place.path("jobs")).expect("a directory");
        place.job("weekly", JOB);
        place
    }

    /// Two videos of `rows` rows each, a minute apart.
    fn with_rows(rows: usize) -> Self {
        let place = Self::empty();
        place.import(&csv(&[("video-a", rows), ("video-b", rows)]));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn job(&self, name: &str, text: &str) {
        fs::write(self.path(&format!("jobs/{name}.toml")), text).expect("written");
    }

    fn import(&self, csv: &str) {
        fs::write(self.path("rows.csv"), csv).expect("written");
        self.run(&["import", "rows.csv"]).success();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        Command::from_std(self.process(arguments))
    }

    /// The same, to be started and left alone.
    fn process(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("retraind"));
        command.current_dir(self.dir.path()).args(arguments);
        // whatever is set where the tests run is not what they test
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RETRAIND_")) {
            command.env_remove(name);
        }
        let own = self.path("retraind.toml");
        command.env("RETRAIND_CONFIG", if own.exists() { own } else { PathBuf::from("/dev/null") });
        command
    }

    fn run(&self, arguments: &[&str]) -> assert_cmd::assert::Assert {
        self.command(arguments).assert()
    }

    /// Runs a command that must end with `code` and print one JSON document.
    fn json(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.run(arguments).code(code).get_output().stdout.clone();
        serde_json::from_slice(&output).expect("one JSON document")
    }

    /// Registers one version of each target.
    fn train(&self) -> Value {
        self.json(&["run", "weekly", "--json"], 0)
    }
}

fn csv(videos: &[(&str, usize)]) -> String {
    let mut text = HEADER.to_owned();
    for (video, rows) in videos {
        for k in 0..*rows {
            let (views, likes, comments) = (1000 + 13 * k + k % 7, 100 + 2 * k, 10 + k / 3);
            let (hour, minute) = (k / 60, k % 60);
            writeln!(text, "2026-01-01T{hour:02}:{minute:02}:00Z,{video},{views},{likes},{comments}").expect("text");
        }
    }
    text
}

#[test]
fn import_train_show_predict() {
    let place = Place::with_rows(60);
    let run = place.train();
    assert_eq!(run["state"], "succeeded");
    for key in ["id", "job", "run_key", "state", "cause", "attempt", "started_at", "ended_at", "targets"] {
        assert!(!run[key].is_null(), "{key}");
    }
    let targets = run["targets"].as_array().expect("targets");
    assert_eq!(targets.len(), 3);
    for target in targets {
        assert_eq!((&target["verdict"], &target["version"]), (&"passed".into(), &"v0001".into()));
        assert!(target["metrics"]["mae"].is_f64() && target["metrics"]["naive"]["drift"]["mae"].is_f64());
    }
    assert_eq!(place.json(&["show", "1", "--json"], 0), run, "`show` says what `run` said");

    let all =
        contains("views, LSTM").and(contains("MAE of naive forecasts: repeating the last value")).and(contains("MASE"));
    place.run(&["show", "1"]).success().stdout(all.and(contains("skill against the best of them")));

    let version = place.path("models/views/v0001");
    for file in ["model.onnx", "metadata.json", "scaler.json", "history.json", "job.toml"] {
        assert!(version.join(file).is_file(), "{file}");
    }
    assert_eq!(fs::read_to_string(place.path("models/views/champion")).expect("a champion"), "v0001\n");
    let mode = fs::metadata(&version).expect("a directory").permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "whoever serves forecasts must be able to read it");
    let history: Value = serde_json::from_slice(&fs::read(version.join("history.json")).expect("read")).expect("JSON");
    assert_eq!(history.as_array().map(Vec::len), Some(2));
    for key in ["epoch", "loss", "val_loss", "mae", "val_mae", "seconds"] {
        assert!(history[0][key].is_number(), "{key}");
    }
    let metadata: Value =
        serde_json::from_slice(&fs::read(version.join("metadata.json")).expect("read")).expect("JSON");
    assert_eq!(metadata["performance_threshold"]["mae_max"], 1.0);
    assert!(metadata["performance_threshold"]["skill_min"].is_null());

    let predictions = place.json(&["predict", "--json"], 0);
    assert_eq!(predictions["forecasts"].as_array().map(Vec::len), Some(6));
    assert!(predictions["forecasts"].as_array().expect("a list").iter().all(|f| f["forecast"].as_f64() >= Some(0.0)));
    place
        .run(&["predict", "--target", "likes", "--video", "video-a", "--video", "nobody"])
        .success()
        .stdout(contains("video-a").and(contains("video-b").not()))
        .stderr(contains("no forecast of likes of video nobody: no row of it is recorded"));
    place.run(&["runs"]).success().stdout(contains("succeeded"));
    place.run(&["models"]).success().stdout(contains("v0001").and(contains("yes")));
}

#[test]
fn the_same_seed_registers_the_same_model() {
    let place = Place::with_rows(60);
    let model = |version: &str| fs::read(place.path(&format!("models/views/{version}/model.onnx"))).expect("a model");
    place.train();
    place.train();
    place.run(&["run", "weekly", "--set", "retrain.seed=2"]).success();
    assert!(model("v0001") == model("v0002"), "same data, settings and seed");
    assert!(model("v0001") != model("v0003"), "another seed");
}

#[test]
fn a_refused_version_is_kept_and_the_champion_stays() {
    let place = Place::with_rows(60);
    place.train();
    let refuse = ["run", "weekly", "--set", "gate.mae_max=0.0"];
    place.run(&refuse).code(3).stdout(contains("views: rejected: MAE").and(contains("v0001 stays in service")));
    let listed = place.json(&["models", "views", "--json"], 0);
    assert_eq!((&listed[0]["champion"], &listed[1]["champion"]), (&true.into(), &false.into()));
    assert_eq!(listed[1]["metadata"]["verdict"]["passed"], false);
    assert_eq!(listed[1]["metadata"]["parent_champion"], "v0001");
    place.run(&["promote", "views", "v0002"]).code(3).stderr(contains("--force"));
    place.run(&["promote", "views", "2", "--force"]).success().stdout(contains("in the place of v0001"));
    place.run(&["rollback", "views"]).success().stdout(contains("v0001 is in service again"));
    place.run(&["rollback", "views"]).code(66).stderr(contains("v0001 is the first version that was in service"));
    place.run(&["promote", "views", "v0009"]).code(66).stderr(contains("there is v0001, v0002"));
    place.run(&["promote", "view", "v0001"]).code(2);
    place.run(&["show", "2"]).success().stdout(contains("rejected"));
}

#[test]
fn a_version_number_is_never_given_twice() {
    let place = Place::with_rows(60);
    place.train();
    place.train();
    // an operator makes room, and takes the champion
    fs::remove_dir_all(place.path("models/likes/v0002")).expect("removed");
    place.run(&["models"]).success().stderr(contains("names v0002, which is not there"));
    place.run(&["run", "weekly", "--set", "gate.mae_max=0.0"]).code(3);
    assert!(place.path("models/likes/v0003").is_dir() && !place.path("models/likes/v0002").exists());
    // a directory put under a registered name is not what was registered
    fs::remove_dir_all(place.path("models/likes/v0001")).expect("removed");
    fs::rename(place.path("models/likes/v0003"), place.path("models/likes/v0001")).expect("renamed");
    place.run(&["promote", "likes", "v0001", "--force"]).code(65).stderr(contains("was registered"));
}

#[test]
fn a_champion_file_that_names_nothing_can_be_replaced() {
    let place = Place::with_rows(60);
    place.train();
    for garbage in [&b""[..], b"v0009x", &[0xff, 0xfe]] {
        fs::write(place.path("models/views/champion"), garbage).expect("written");
        place.run(&["predict", "--target", "views"]).code(65).stderr(contains("champion"));
        place.run(&["models"]).success().stderr(contains("champion"));
        place.run(&["promote", "views", "v0001"]).success();
        place.run(&["predict", "--target", "views"]).success();
    }
}

#[test]
fn a_gate_without_limits_is_refused() {
    let place = Place::with_rows(60);
    place.run(&["run", "weekly", "--set", "gate.mae_max=inf"]).code(78).stderr(contains("must be a number"));
    place.job("open", "[retrain]\n[gate]\n");
    place.run(&["check"]).code(78).stderr(contains("sets no rule"));
}

#[test]
fn who_only_looks_leaves_nothing_behind() {
    let place = Place::empty();
    for arguments in [&["runs"][..], &["models"], &["doctor"], &["check"], &["runs", "--json"]] {
        // doctor ends with 69 here: there are no rows
        place.command(arguments).assert().code(predicates::ord::eq(0).or(predicates::ord::eq(69)));
    }
    place.run(&["show", "1"]).code(66);
    let left: Vec<_> =
        fs::read_dir(place.dir.path()).expect("read").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(left, ["jobs"]);
}

#[test]
fn a_run_can_be_cancelled_from_elsewhere() {
    let place = Place::with_rows(60);
    let endless = ["run", "weekly", "--set", "retrain.epochs=100000", "--set", "retrain.patience=100000"];
    let mut command = place.command(&endless);
    let running = std::thread::spawn(move || command.output().expect("it ran"));
    let began = std::time::Instant::now();
    while !place.path("retraind.db").exists() || place.json(&["runs", "--json"], 0)[0]["state"] != "running" {
        assert!(began.elapsed().as_secs() < 60, "it never began");
    }
    place.run(&["run", "weekly"]).code(75).stderr(contains("retraind cancel"));
    place.run(&["cancel", "1"]).success();
    assert_eq!(running.join().expect("no panic").status.code(), Some(1));
    assert_eq!(place.json(&["show", "1", "--json"], 0)["state"], "cancelled");
    place.run(&["cancel", "1"]).code(1).stderr(contains("cancelled"));
}

#[test]
fn secrets_are_not_shown_and_texts_stay_texts() {
    let place = Place::empty();
    for password in ["12345", "true", "007", "[x"] {
        let mut command = place.command(&["check"]);
        command.env("RETRAIND_SMTP__PASSWORD", password).assert().success();
    }
    fs::write(place.path("retraind.toml"), "[smtp]\npasword = \"s3cret\"\npassword = 31337\n").expect("written");
    place
        .run(&["check"])
        .code(78)
        .stderr(contains("did you mean `password`?").and(contains("s3cret").not()).and(contains("31337").not()));
    fs::write(place.path("retraind.toml"), "[state]\nurl = \"mysql://u:s3cret@h\"\n").expect("written");
    place.run(&["check"]).code(78).stderr(contains("[state] url").and(contains("s3cret").not()));
}

#[test]
fn a_damaged_model_is_not_used() {
    let place = Place::with_rows(60);
    place.train();
    let file = place.path("models/views/v0001/model.onnx");
    let whole = fs::read(&file).expect("a model");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&whole[..whole.len() / 2], &flipped, &[]] {
        fs::write(&file, damaged).expect("written");
        place.run(&["predict", "--target", "views"]).code(65).stderr(contains("sha256").and(contains("model.onnx")));
    }
    place.run(&["models"]).success().stdout(contains("damaged"));
    place.run(&["doctor"]).code(69).stdout(contains("1 damaged: views/v0001"));
    place.run(&["rollback", "views"]).code(66);
    place.run(&["predict", "--target", "likes"]).success();
    fs::remove_file(&file).expect("removed");
    place.run(&["predict", "--target", "views"]).code(74).stderr(contains("model.onnx"));
}

#[test]
fn bad_rows_import_nothing_unless_they_are_to_be_skipped() {
    let place = Place::empty();
    let text = format!("{}2026-01-02T00:00:00Z,video-a,many,1,1\n", csv(&[("video-a", 30)]));
    fs::write(place.path("rows.csv"), text).expect("written");
    place
        .run(&["import", "rows.csv"])
        .code(65)
        .stderr(contains("rows.csv:32").and(contains("view_count")).and(contains("many")).and(contains("--skip-bad")));
    place.run(&["run", "weekly"]).code(66).stderr(contains("retraind import"));
    let report = place.json(&["import", "rows.csv", "--skip-bad", "--json"], 0);
    assert_eq!((&report["inserted"], &report["left_out"]), (&30.into(), &1.into()));
    let again = place.json(&["import", "rows.csv", "--skip-bad", "--json"], 0);
    assert_eq!((&again["inserted"], &again["unchanged"]), (&0.into(), &30.into()));
    let open =
        format!("{}2026-01-02T00:00:00Z,\"video-b,1,1,1\n{}", csv(&[("video-a", 3)]), "2026-01-02T00:01:00Z,v,1,1,1\n");
    fs::write(place.path("open.csv"), open).expect("written");
    place.run(&["import", "open.csv", "--skip-bad"]).code(65).stderr(contains("open.csv:5: a quoted field"));
    place.run(&["import", "nowhere.csv"]).code(66).stderr(contains("nowhere.csv"));
}

#[test]
fn too_little_data_is_said() {
    let place = Place::with_rows(20);
    place.run(&["run", "weekly"]).code(65).stderr(contains("40 rows of 2 video(s) give 0 window(s)"));
    place.run(&["show", "1"]).success().stdout(contains("failed").and(contains("0 window(s)")));
    Place::with_rows(21).run(&["run", "weekly"]).success().stdout(contains("v0001"));
    let place = Place::empty();
    place.run(&["run", "weekly"]).code(66).stderr(contains("retraind import FILE.csv"));
    place.run(&["predict"]).code(66).stderr(contains("no version is in service"));
}

#[test]
fn counts_that_do_not_move_and_counts_beyond_32_bits_train() {
    let place = Place::empty();
    let mut text = HEADER.to_owned();
    for k in 0..60u64 {
        writeln!(text, "2026-01-01T00:{k:02}:00Z,big,{},7,0", 10_000_000_000 + k * 1000).expect("text");
    }
    place.import(&text);
    let run = place.train();
    assert_eq!(run["state"], "succeeded");
    let forecast = place.json(&["predict", "--json", "--target", "views"], 0);
    let views = forecast["forecasts"][0]["forecast"].as_f64().expect("a number");
    assert!((9.9e9..1.01e10).contains(&views), "{views}");
    let likes = place.json(&["predict", "--json", "--target", "likes"], 0);
    assert!(likes["forecasts"][0]["forecast"].as_f64().is_some_and(|likes| likes >= 0.0));
    assert!(run["targets"][1]["metrics"]["skill"].is_null(), "a naive forecast is exact");
}

#[test]
fn what_cannot_be_forecast_is_said_for_each_video() {
    let place = Place::empty();
    let rows = csv(&[("gap", 40), ("new", 40), ("short", 12), ("whole", 40)]);
    let known: Vec<&str> = rows.lines().filter(|line| !line.contains(",new,")).collect();
    place.import(&(known.join("\n") + "\n"));
    place.train();
    place.import(&rows);
    place.import(&format!("{HEADER}2026-01-02T00:00:00Z,gap,3000,500,90\n"));
    place.run(&["predict", "--target", "views"]).success().stdout(contains("whole").and(contains("gap").not())).stderr(
        contains("video gap: its last 20 rows have a gap of 23.4 h")
            .and(contains("video new: v0001 of views was trained without this video"))
            .and(contains("video short: 12 rows are recorded and a window is 20")),
    );
    place.run(&["predict", "--video", "short"]).code(66);
    let mut longer = place.command(&["predict", "--target", "views", "--video", "gap"]);
    longer.env("RETRAIND_PREDICT__LONGEST_GAP", "2days").assert().success().stdout(contains("gap"));
}

#[test]
fn postgresql_serves_as_source_and_as_state() {
    let place = Place::empty();
    fs::write(place.path("rows.csv"), csv(&[("video-a", 60), ("video-b", 60)])).expect("written");
    let cluster = support::postgres::Cluster::shared();
    let (state, source) = (cluster.url("state"), cluster.url("source"));
    let run = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("RETRAIND_STATE__URL", &state).env("RETRAIND_SOURCE__URL", &source);
        command.assert().success()
    };
    run(&["import", "rows.csv"]).stdout(contains("120 rows new"));
    let model = |version: &str| fs::read(place.path(&format!("models/views/{version}/model.onnx"))).expect("a model");
    run(&["run", "weekly"]).stdout(contains("passed"));
    run(&["show", "1"]).stdout(contains("succeeded"));
    run(&["predict"]).stdout(contains("video-b"));
    run(&["doctor"]).stdout(contains("PostgreSQL"));
    // the same rows from SQLite give the same model
    place.run(&["import", "rows.csv"]).success();
    place.train();
    assert!(model("v0001") == model("v0002"));
}

#[test]
fn job_files_and_settings_with_mistakes_are_refused_all_at_once() {
    let place = Place::empty();
    place.job("broken", "[retrain]\nepoch = 3\ntargets = [\"views\", \"views\"]\n[gate]\nmea_max = 1\n");
    place.job("never", "[retrain]\n[trigger.cron]\nschedule = \"0 0 31 2 *\"\n");
    place.run(&["check"]).code(78).stderr(
        contains("jobs/broken.toml:2:1: unknown field `epoch`")
            .and(contains("did you mean `epochs`?"))
            .and(contains("jobs/broken.toml:5:1"))
            .and(contains("jobs/never.toml:3:12"))
            .and(contains("never fires")),
    );
    place.run(&["check", "jobs/weekly.toml"]).success();
    place.run(&["run", "broken"]).code(78);
    place.run(&["run", "weakly"]).code(78).stderr(contains("did you mean `weekly`?"));
    place.run(&["run", "../jobs/weekly"]).code(78);
    fs::write(place.path("retraind.toml"), "[registri]\ndir = \"x\"\n[smtp]\nport = 99999\n").expect("written");
    place.run(&["check"]).code(78).stderr(contains("retraind.toml:1:2").and(contains("retraind.toml:4:8")));
    // and the jobs with them, wherever the settings say that they are
    fs::rename(place.path("jobs"), place.path("elsewhere")).expect("moved");
    fs::write(place.path("retraind.toml"), "[jobs]\ndir = \"elsewhere\"\n[smtp]\nport = 99999\n").expect("written");
    place.run(&["check"]).code(78).stderr(contains("retraind.toml:4:8").and(contains("elsewhere/never.toml:3:12")));
    let mut command = place.command(&["models", "--config", "/dev/null"]);
    command.env("RETRAIND_SMPT__PASSWORD", "x").assert().code(78).stderr(contains("smpt"));
    let mut command = place.command(&["models", "--config", "/dev/null"]);
    command.env("RETRAIND_REGISTRY__DIR", "elsewhere").assert().success().stdout(contains("elsewhere"));
}

#[test]
fn a_pipe_among_the_job_files_holds_nobody_up() {
    let place = Place::empty();
    let made = std::process::Command::new("mkfifo").arg(place.path("jobs/pipe.toml")).status();
    assert!(made.expect("started").success());
    for (command, code) in [("check", 78), ("status", 0)] {
        let ended = place.command(&[command]).timeout(std::time::Duration::from_mins(1)).assert().code(code);
        let output = ended.get_output();
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        assert!(said.contains("pipe.toml: is no regular file") && said.contains("weekly"), "{said}");
    }
}

#[test]
fn without_a_working_onnx_runtime_it_says_where_it_looked() {
    let place = Place::with_rows(60);
    fs::write(place.path("garbage.so"), "no library").expect("written");
    for (library, says) in [("nowhere.so", "no such file"), ("garbage.so", "garbage.so")] {
        // it trains while it looks, but not to the end
        let mut command = place.command(&LONG);
        command.env("RETRAIND_ONNXRUNTIME__LIBRARY", library);
        let says_where = contains(says).and(contains("[onnxruntime] library"));
        command.assert().code(69).stderr(says_where.and(contains("epoch 100000/").not()));
        let mut command = place.command(&["doctor"]);
        command.env("ORT_DYLIB_PATH", library);
        command.assert().code(69).stdout(contains(says).and(contains("ORT_DYLIB_PATH")));
    }
    place.run(&["show", "1"]).success().stdout(contains("failed").and(contains("ONNX Runtime")));
}

/// A library that never comes back from loading neither holds up a stop nor stays behind.
#[test]
fn a_library_that_hangs_holds_up_no_stop() {
    let place = Place::with_rows(60);
    fs::write(
        place.path("hang.c"),
        "#include <unistd.h>\n__attribute__((constructor)) void hang(void) { sleep(600); }",
    )
    .expect("written");
    let compiler = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o", "hang.so", "hang.c"])
        .current_dir(place.dir.path())
        .status();
    assert!(compiler.expect("a C compiler").success());
    let library = place.path("hang.so");
    let probing = || {
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        let library = library.to_str().expect("text");
        lines.filter(|line| String::from_utf8_lossy(line).contains(library)).count()
    };
    for signal in [Signal::INT, Signal::KILL] {
        let mut child = place
            .process(&LONG)
            .env("RETRAIND_ONNXRUNTIME__LIBRARY", &library)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        wait_until("it tries the library", || probing() > 0);
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).expect("a signal");
        // less than the ten seconds that a library is given
        wait_until("it ends", || child.try_wait().expect("a child").is_some());
        let ended = child.wait().expect("ended");
        assert_eq!(ended.code(), (signal == Signal::INT).then_some(130), "{ended}");
        wait_until("the probe ends", || probing() == 0);
    }
    place.run(&["runs"]).success().stdout(contains("cancelled"));
}

/// Waits up to eight seconds.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed().as_secs() < 8, "{what}: not within 8 s");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn databases_that_do_not_answer_are_told_from_wrong_ones() {
    let place = Place::with_rows(30);
    for (variable, url, code, says) in [
        ("RETRAIND_SOURCE__URL", "postgres://u:secret@127.0.0.1:1/d", 69, "127.0.0.1"),
        ("RETRAIND_STATE__URL", "postgres://u:secret@127.0.0.1:1/d", 69, "127.0.0.1"),
        ("RETRAIND_SOURCE__URL", "mysql://x", 78, "mysql"),
        ("RETRAIND_STATE__URL", "mysql://x", 78, "url"),
        ("RETRAIND_SOURCE__TABLE", "other", 66, "video_stats_processed"),
        ("RETRAIND_SOURCE__TABLE", "x; drop", 78, "x; drop"),
    ] {
        let mut command = place.command(&["run", "weekly"]);
        let assert = command.env(variable, url).assert().code(code);
        assert.stderr(contains(says).and(contains("secret").not()));
    }
}

#[test]
fn the_demo_does_it_all() {
    let place = Place { dir: tempfile::tempdir().expect("a directory") };
    let small = ["--set", "retrain.epochs=1", "--set", "retrain.hidden=4", "--set", "retrain.dense=2"];
    let demo: Vec<&str> = ["demo", "--dir", "here"].into_iter().chain(small).collect();
    let output = place.run(&demo).success();
    // three versions a target: challengers are v0001 and v0002, the LSTM v0003
    output.stdout(contains("skill").and(contains("v000")).and(contains("Try next")));
    let config = place.path("here/retraind.toml");
    let config = config.to_str().expect("UTF-8");
    place.run(&["--config", config, "check"]).success().stdout(contains("no problems"));
    place.run(&["--config", config, "doctor"]).success().stdout(contains("7,708 rows of 3 video(s)"));
    // somebody's own directory is left alone
    fs::create_dir(place.path("mine")).expect("a directory");
    fs::write(place.path("mine/work.txt"), "mine").expect("written");
    place.run(&["demo", "--dir", "mine"]).code(73).stderr(contains("--dir DIR"));
    // again in the same place: nothing is lost, nothing doubled
    let later = contains("v0004").or(contains("v0005")).or(contains("v0006"));
    place.run(&demo).success().stdout(later);
}

#[test]
fn pages_and_completions_are_written() {
    let place = Place::empty();
    place.run(&["man", "pages"]).success();
    let page = fs::read_to_string(place.path("pages/retraind-run.1")).expect("a page");
    assert!(page.contains("retrain.epochs=10"));
    place.run(&["completions", "bash"]).success().stdout(contains("retraind"));
    for command in
        ["check", "run", "data", "runs", "show", "models", "promote", "rollback", "predict", "import", "doctor", "demo"]
    {
        place.run(&[command, "--help"]).success().stdout(contains("Usage"));
    }
    place.run(&["--version"]).success();
    place.run(&["runn"]).code(2).stderr(contains("'run'"));
}
