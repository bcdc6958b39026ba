//! What an operator meets: installation, unit, manual pages, and the journal.

use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn program() -> PathBuf {
    assert_cmd::cargo::cargo_bin("retraind")
}

fn text(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An installation below a directory of its own.
struct Installed {
    dir: tempfile::TempDir,
    prefix: &'static str,
}

impl Installed {
    fn with(prefix: &'static str) -> Self {
        let installed = Self { dir: tempfile::tempdir().expect("a directory"), prefix };
        installed.install().success().stdout(contains("installed retraind"));
        installed
    }

    fn script(&self, arguments: &[&str]) -> assert_cmd::assert::Assert {
        let mut command = Command::new(repository("ops/install.sh"));
        command.env_remove("DESTDIR").arg("--destdir").arg(self.dir.path()).args(["--prefix", self.prefix]);
        command.args(arguments).assert()
    }

    fn install(&self) -> assert_cmd::assert::Assert {
        let program = program();
        self.script(&["--binary", program.to_str().expect("UTF-8")])
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    /// Every file with its size, time and permissions.
    fn files(&self) -> Vec<(PathBuf, u64, i64, u32)> {
        let mut found = Vec::new();
        let mut dirs = vec![self.dir.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).expect("a directory") {
                let path = entry.expect("an entry").path();
                let metadata = path.symlink_metadata().expect("there");
                if metadata.is_dir() {
                    dirs.push(path);
                } else {
                    found.push((path, metadata.len(), metadata.mtime_nsec(), metadata.mode() & 0o7777));
                }
            }
        }
        found.sort();
        found
    }
}

#[test]
fn an_installation_can_be_repeated_edited_and_removed() {
    let installed = Installed::with("/usr/local");
    for file in [
        "usr/local/bin/retraind",
        "usr/local/lib/retraind/libonnxruntime.so",
        "usr/local/lib/systemd/system/retraind.service",
        "usr/local/lib/sysusers.d/retraind.conf",
        "usr/local/share/bash-completion/completions/retraind",
        "usr/local/share/zsh/site-functions/_retraind",
        "usr/local/share/fish/vendor_completions.d/retraind.fish",
        "usr/local/share/man/man1/retraind-run.1",
        "usr/local/share/man/man5/retraind.toml.5",
        "usr/local/share/man/man5/retraind-jobs.5",
        "usr/local/share/retraind/retraind.toml",
        "etc/retraind/retraind.toml",
        "etc/retraind/jobs/weekly-retrain.toml",
    ] {
        assert!(installed.path(file).is_file(), "{file}");
    }
    assert!(text(installed.path("etc/retraind/retraind.toml")).contains("dir = \"/etc/retraind/jobs\"\n"));
    // every shipped job is installed
    for job in fs::read_dir(repository("jobs")).expect("jobs").map(|entry| entry.expect("an entry")) {
        if job.path().is_file() {
            assert!(installed.path("etc/retraind/jobs").join(job.file_name()).is_file(), "{:?}", job.file_name());
        }
    }

    // again: not a byte changes, but for the record of it
    let before = installed.files();
    installed.install().success().stdout(contains("/bin/").not());
    assert_eq!(installed.files(), before);

    // an edited file stays as long as the sample does not change; then the new sample is put beside it, once
    let settings = installed.path("etc/retraind/retraind.toml");
    let job = installed.path("etc/retraind/jobs/weekly-retrain.toml");
    let record = installed.path("usr/local/share/retraind/installed");
    fs::write(&settings, "[jobs]\ndir = \"/srv/jobs\"\n").expect("edited");
    fs::remove_file(&job).expect("deleted");
    let kept = contains("kept, since it was edited").not().and(contains("stays deleted"));
    installed.install().success().stdout(kept);
    assert_eq!(text(&settings), "[jobs]\ndir = \"/srv/jobs\"\n");
    assert!(!job.exists());
    // as if an older version had been installed
    let older = text(&record).lines().map(|line| older_sum(line, "/etc/retraind/retraind.toml")).collect::<String>();
    fs::write(&record, older).expect("written");
    installed.install().success().stdout(contains("retraind.toml.new"));
    assert_eq!(text(&settings), "[jobs]\ndir = \"/srv/jobs\"\n");
    assert!(text(settings.with_extension("toml.new")).contains("[registry]"));
    fs::remove_file(settings.with_extension("toml.new")).expect("looked at");
    installed.install().success().stdout(contains(".new").not());

    // what belongs to the program is replaced, and what somebody wrote there is kept beside it
    let unit = installed.path("usr/local/lib/systemd/system/retraind.service");
    let shipped = text(&unit);
    fs::write(&unit, "[Service]\n").expect("edited");
    installed.install().success().stdout(contains("yours is ").and(contains("retraind.service.edited")));
    let edited = unit.with_extension("service.edited");
    assert_eq!((text(&unit), text(&edited).as_str()), (shipped, "[Service]\n"));
    fs::remove_file(edited).expect("looked at");
    installed.install().success().stdout(contains("edited").not());

    // removed: all but what was edited
    installed.script(&["--uninstall"]).success().stdout(contains("kept, since it was edited").and(contains("removed")));
    let left: Vec<PathBuf> = installed.files().into_iter().map(|(path, ..)| path).collect();
    assert_eq!(left, [settings]);
    assert!(!installed.path("usr/local/lib/retraind").exists() && installed.path("usr/local/bin").is_dir());
    installed.script(&["--uninstall"]).code(1).stderr(contains("it is not known what was installed"));
}

fn older_sum(line: &str, path: &str) -> String {
    let sum = if line.ends_with(path) { "0".repeat(64) } else { line[..64].to_owned() };
    format!("{sum}  {}\n", &line[66..])
}

#[test]
fn an_unedited_sample_follows_the_version() {
    let installed = Installed::with("/usr");
    let job = installed.path("etc/retraind/jobs/weekly-retrain.toml");
    let record = installed.path("usr/share/retraind/installed");
    // as if an older version had shipped another text, and nobody had touched it
    fs::write(&job, "# older\n").expect("written");
    let sum = sha256(b"# older\n");
    let older: String = text(&record)
        .lines()
        .map(|line| {
            if line.ends_with("jobs/weekly-retrain.toml") && line.contains("  /etc/") {
                format!("{sum}  {}\n", &line[66..])
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    fs::write(&record, older).expect("written");
    installed.install().success();
    assert_eq!(text(&job), text(repository("jobs/weekly-retrain.toml")));
}

fn sha256(bytes: &[u8]) -> String {
    let output = Command::new("sha256sum").write_stdin(bytes).assert().success().get_output().stdout.clone();
    String::from_utf8(output).expect("text")[..64].to_owned()
}

#[test]
fn a_prefix_of_ones_own_touches_nothing_else() {
    let installed = Installed::with("/opt/retraind");
    assert!(!installed.path("etc").exists() && !installed.path("var").exists());
    let unit = text(installed.path("opt/retraind/lib/systemd/system/retraind.service"));
    assert!(unit.contains("ExecStart=/opt/retraind/bin/retraind daemon") && !unit.contains("/usr/local"));
    installed.script(&["--binary", "/bin/false"]).code(1).stderr(contains("help:"));
    installed.script(&["--prefix", "relative"]).code(1).stderr(contains("not an absolute path"));
    installed.script(&["--nonsense"]).code(2).stderr(contains("usage"));
}

/// Runs a tool that must succeed and say nothing.
fn silent(command: &mut std::process::Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; `make test-tools` brings it"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{command:?}: {}: {said}", output.status);
    output
}

#[test]
fn the_unit_is_right_and_hardened() {
    let dir = tempfile::tempdir().expect("a directory");
    let unit = dir.path().join("retraind.service");
    // systemd looks whether the program is there
    let shipped = text(repository("ops/retraind.service"));
    fs::write(&unit, shipped.replace("/usr/local/bin/retraind", program().to_str().expect("UTF-8"))).expect("written");
    silent(std::process::Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));

    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=15"])
        .arg(&unit)
        .assert()
        .success();
    let report = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let (_, level) = report.rsplit_once("Overall exposure level for retraind.service: ").expect("a verdict");
    let level: f64 = level.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number");
    println!("exposure level {level}");
    assert!(level <= 1.5, "{report}");
    // the price of which must not be the alert on the host's memory
    assert!(!shipped.lines().any(|line| line.trim() == "ProcSubset=pid"));
}

#[test]
fn the_manual_pages_are_right() {
    let dir = tempfile::tempdir().expect("a directory");
    Command::new(program()).arg("man").arg(dir.path()).assert().success();
    let mut n = 0;
    for entry in fs::read_dir(dir.path()).expect("pages") {
        let page = entry.expect("an entry").path();
        let mut groff = std::process::Command::new("groff");
        // -z: only warnings
        silent(groff.args(["-man", "-Kutf8", "-Tutf8", "-ww", "-z"]).arg(&page));
        n += 1;
    }
    assert!(n > 15, "{n} pages");
    let shown = Command::new("groff")
        .args(["-man", "-Kutf8", "-Tutf8", "-P-cbou", "-rLL=100n"])
        .arg(dir.path().join("retraind.1"))
        .assert()
        .success();
    let shown = String::from_utf8_lossy(&shown.get_output().stdout).into_owned();
    let codes = shown.split("EXIT STATUS").nth(1).expect("a section");
    let first: Vec<&str> = codes.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect();
    assert!(first[0].starts_with("0 ") && first[0].ends_with("done") && first[1].starts_with("1 "), "{first:?}");
}

#[test]
fn the_log_has_the_form_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = |format: &str| {
        let mut command = Command::new(program());
        command.current_dir(dir.path()).env("RETRAIND_CONFIG", "/dev/null").env("RETRAIND_LOG_FORMAT", format);
        command.args(["run", "nothing"]).assert().code(78)
    };
    run("text").stderr(contains("error: "));
    let output = run("json");
    let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(!stderr.is_empty());
    for line in stderr.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("one object a line");
        assert_eq!(value["level"], "ERROR");
        assert!(value["message"].as_str().is_some_and(|text| text.contains("jobs")) && value["timestamp"].is_string());
    }
    run("yaml").stderr(contains("RETRAIND_LOG_FORMAT").and(contains("text, json and journal")));
    // the command line goes over the variable
    let mut command = Command::new(program());
    command.current_dir(dir.path()).env("RETRAIND_CONFIG", "/dev/null").env("RETRAIND_LOG_FORMAT", "json");
    command.args(["run", "nothing", "--log-format", "text"]).assert().code(78).stderr(contains("error: "));
    Command::new(program()).args(["runs", "--log-format", "yaml"]).assert().code(2).stderr(contains("possible values"));
}

/// Runs a command whose stderr is "the journal": a file that `JOURNAL_STREAM` names, with a socket of ours in the place of
/// journald's. Gives what the socket and the file received.
fn under_journal(arguments: &str, right: bool) -> (Vec<Fields>, String) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("journal")).expect("a directory");
    let socket = UnixDatagram::bind(dir.path().join("journal/socket")).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
    let stderr = fs::File::create(dir.path().join("stderr")).expect("a file");
    let metadata = stderr.metadata().expect("a file");
    let stream = format!("{}:{}", metadata.dev(), metadata.ino() + u64::from(!right));
    // a mount of its own, so that the path is ours to that process only
    let script = format!(
        "mkdir -p /run/systemd && mount --bind '{}' /run/systemd && exec '{}' {arguments}",
        dir.path().display(),
        program().display()
    );
    let status = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script])
        .current_dir(dir.path())
        .env("RETRAIND_CONFIG", "/dev/null")
        .env_remove("RETRAIND_LOG_FORMAT")
        .env("JOURNAL_STREAM", stream)
        .stdout(Stdio::null())
        .stderr(stderr)
        .status()
        .expect("unshare, from util-linux");
    assert!(status.code().is_some());
    let mut entries = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n) = socket.recv(&mut buffer) {
        if n > 0 {
            entries.push(fields(&buffer[..n]));
        }
    }
    (entries, text(dir.path().join("stderr")))
}

type Fields = BTreeMap<String, String>;

/// Source: `systemd.io/JOURNAL_NATIVE_PROTOCOL`. `NAME=VALUE` and a line break, or `NAME`, a line break, the length in eight
/// bytes, little end first, the value and a line break.
fn fields(mut entry: &[u8]) -> Fields {
    let mut fields = Fields::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    while let Some(end) = entry.iter().position(|byte| *byte == b'\n') {
        let line = text(&entry[..end]);
        entry = &entry[end + 1..];
        let (name, value) = line.split_once('=').map_or_else(
            || {
                let n =
                    usize::try_from(u64::from_le_bytes(entry[..8].try_into().expect("eight bytes"))).expect("short");
                let value = text(&entry[8..8 + n]);
                entry = &entry[8 + n + 1..];
                (line.clone(), value)
            },
            |(name, value)| (name.to_owned(), value.to_owned()),
        );
        fields.insert(name, value);
    }
    fields
}

#[test]
fn the_journal_gets_fields() {
    let (entries, stderr) = under_journal("run nothing", true);
    assert_eq!(stderr, "", "what goes to the journal by its own protocol is not said twice");
    assert_eq!(entries.len(), 1, "{entries:#?}");
    assert_eq!((entries[0]["PRIORITY"].as_str(), entries[0]["SYSLOG_IDENTIFIER"].as_str()), ("3", "retraind"));
    assert!(entries[0]["MESSAGE"].contains("jobs"), "{:?}", entries[0]);
    // redirected: the variable is still there and means another stream
    let (entries, stderr) = under_journal("run nothing", false);
    assert!(entries.is_empty() && stderr.starts_with("error: "), "{entries:?} {stderr}");
}

#[test]
fn secrets_come_from_files_and_credentials() {
    let dir = tempfile::tempdir().expect("a directory");
    let credentials = dir.path().join("credentials");
    fs::create_dir(&credentials).expect("a directory");
    let secret = |path: &Path, text: &str, mode: u32| {
        fs::write(path, text).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    };
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(program());
        command.current_dir(dir.path()).args(arguments).env("RETRAIND_CONFIG", dir.path().join("retraind.toml"));
        variables.iter().for_each(|(name, value)| {
            command.env(name, value);
        });
        command.assert()
    };
    let directory = ("CREDENTIALS_DIRECTORY", credentials.to_str().expect("UTF-8"));
    fs::write(dir.path().join("retraind.toml"), "[source]\nurl_file = \"source\"\n").expect("written");
    fs::create_dir(dir.path().join("jobs")).expect("a directory");

    // from the file that the settings name, without a word of it in what is said
    secret(&dir.path().join("source"), "mysql://ann:s3cret@db/counts\n", 0o600);
    run(&[], &["check"]).code(78).stderr(contains("[source] url").and(contains("s3cret").not()));
    // over it, systemd's credential; over that, the environment
    secret(&credentials.join("source-url"), "sqlite://from-credential.db", 0o400);
    run(&[directory], &["doctor"]).stdout(contains("from-credential.db").and(contains("source.url from")));
    run(&[directory, ("RETRAIND_SOURCE__URL", "sqlite://from-variable.db")], &["doctor"])
        .stdout(contains("from-variable.db").and(contains("from-credential").not()));
    // what everybody can read is no secret
    secret(&dir.path().join("source"), "sqlite://x.db\n", 0o644);
    run(&[], &["check"]).code(78).stderr(contains("chmod o-rwx").and(contains("source.url")));
    secret(&credentials.join("state-url"), "two\nlines\n", 0o600);
    run(&[directory], &["runs"]).code(78).stderr(contains("more than one line"));
    fs::remove_file(credentials.join("state-url")).expect("removed");
    // both at once leave open which is meant
    fs::write(dir.path().join("retraind.toml"), "[source]\nurl = \"sqlite://a.db\"\nurl_file = \"source\"\n")
        .expect("written");
    run(&[], &["check"]).code(78).stderr(contains("both source.url and source.url_file"));
    // a settings file with a password in it that everybody can read works, and is told
    let open = "[source]\nurl = \"postgres://ann:s3cret@127.0.0.1:1/d\"\n";
    secret(&dir.path().join("retraind.toml"), open, 0o644);
    run(&[], &["doctor"]).stdout(contains("holds a password (source.url)").and(contains("s3cret").not()));
    secret(&dir.path().join("retraind.toml"), open, 0o640);
    run(&[], &["doctor"]).stdout(contains("holds a password").not());
}

/// Addresses that are wrong in every way that a person can get them wrong, each with a password in it.
const ADDRESSES: [&str; 14] = [
    "postgres://ann:s3cret@127.0.0.1:1/d",
    "postgresql://ann:s3cret@127.0.0.1:1/d?sslmode=require",
    "postgres://ann:s3cret@nowhere.invalid/d",
    "postgres://ann@127.0.0.1:1/d?password=s3cret",
    "postgres://ann:s3cret@127.0.0.1:port/d",
    "postgres://ann:s3cret@127.0.0.1:1/d?sslmode=nonsense",
    "postgres://ann:s3cret@[::1/d",
    "postgres://ann:s3cret/@127.0.0.1/d",
    "postgres:/ann:s3cret@127.0.0.1/d",
    "postgrs://ann:s3cret@127.0.0.1/d",
    "mysql://ann:s3cret@127.0.0.1/d",
    "ann:s3cret@127.0.0.1/d",
    "sqlite://nowhere/x.db?password=s3cret",
    "s3cret",
];

#[test]
fn no_address_shows_its_password() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("jobs")).expect("a directory");
    fs::write(dir.path().join("jobs/weekly.toml"), "[retrain]\nepochs = 1\n").expect("written");
    fs::write(dir.path().join("rows.csv"), "timestamp,video_id,view_count,like_count,comment_count\n")
        .expect("written");
    let commands: [&[&str]; 7] = [
        &["check"],
        &["doctor"],
        &["run", "weekly"],
        &["runs"],
        &["predict"],
        &["import", "rows.csv"],
        &["models", "--json"],
    ];
    let mut shown = Vec::new();
    for address in ADDRESSES {
        for setting in ["state", "source"] {
            let file = dir.path().join(format!("{setting}.toml"));
            fs::write(&file, format!("[{setting}]\nurl = \"{address}\"\n")).expect("written");
            for arguments in commands {
                let mut by_file = Command::new(program());
                by_file.args(["-vv", "--config"]).arg(&file);
                let mut by_variable = Command::new(program());
                by_variable
                    .env(format!("RETRAIND_{}__URL", setting.to_uppercase()), address)
                    .env("RETRAIND_CONFIG", "/dev/null");
                by_variable.args(["--log-format", "json"]);
                for mut command in [by_file, by_variable] {
                    let output = command.current_dir(dir.path()).args(arguments).output().expect("run");
                    let said = [output.stdout, output.stderr].concat();
                    let said = String::from_utf8_lossy(&said);
                    let lines = said.lines().filter(|line| line.contains("s3cret"));
                    shown.extend(lines.map(|line| format!("{arguments:?} with [{setting}] url = {address}: {line}")));
                }
            }
        }
    }
    assert!(shown.is_empty(), "{shown:#?}");
    // in the wrong place altogether
    for (variable, value) in [
        ("RETRAIND_SOURCE", "postgres://ann:s3cret@db/d"),
        ("RETRAIND_SMTP__PORT", "s3cret"),
        ("RETRAIND_SMTP__PASSWORDD", "s3cret"),
        ("RETRAIND_STATE__URL_FILE", "/nowhere"),
    ] {
        let mut command = Command::new(program());
        command.current_dir(dir.path()).env("RETRAIND_CONFIG", "/dev/null").env(variable, value).arg("runs");
        command.assert().code(78).stderr(contains("s3cret").not());
    }
}
