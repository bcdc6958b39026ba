//! A PostgreSQL server of the tests' own: made for them, reached by nobody else, gone with them.
//!
//! A shell waits beside the server for the end of its standard input. It comes when [`Cluster`] is dropped, and also
//! when the test process is killed, so nothing stays behind either way.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Runs the server given as arguments until standard input ends, then stops it at once and removes its directory.
const GUARD: &str = r#"directory=$1; shift; "$@" & read -r _; kill -QUIT $!; wait $!; rm -rf "$directory""#;

/// A running server with a data directory of its own. Listens on a Unix socket only, so no port is ever taken.
pub(crate) struct Cluster {
    directory: PathBuf,
    programs: Programs,
    guard: Child,
}

impl Cluster {
    /// Makes and starts a server. Takes about two seconds; stopped and removed on drop.
    ///
    /// A machine without PostgreSQL fails the test: skipping it would pass for tested.
    pub(crate) fn start() -> Self {
        let programs = Programs::find();
        let directory = programs.private_directory();
        let data = directory.join("data");
        programs.run("initdb", |initdb| {
            initdb.arg("--pgdata").arg(&data);
            initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
        });
        let guard = programs.guard(&directory, &data);
        let cluster = Self { directory, programs, guard };
        cluster.wait_until_up();
        cluster
    }

    /// One server for all tests of a process that need not stop it.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The URL of a new, empty database. Its name starts with `database`, so that tests can share a cluster.
    pub(crate) fn url(&self, database: &str) -> String {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{database}_{}", MADE.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://postgres@localhost/{name}?host={}", self.directory.display())
    }

    fn psql(&self, database: &str, statement: &str) {
        self.programs.run("psql", |psql| {
            psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--username=postgres"]);
            psql.arg("--host").arg(&self.directory).args(["--dbname", database, "--command", statement]);
        });
    }

    fn wait_until_up(&self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.programs.succeeds("pg_isready", |ready| {
            ready.arg("--quiet").arg("--host").arg(&self.directory);
        }) {
            let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL does not answer after a minute; its log:\n{}", log());
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Where the server's programs are, and as whom to run them: they refuse to work for root.
struct Programs {
    directory: PathBuf,
    user: Option<(u32, u32)>,
}

impl Programs {
    fn find() -> Self {
        let directory = Self::candidates().into_iter().rev().find(|d| d.join("initdb").exists()).expect(
            "these tests need PostgreSQL's server programs (initdb, postgres), and this machine has none; \
             `make test` installs them",
        );
        let root = id(&["-u"]) == Some(0);
        let user = root.then(|| {
            let ids = |name| Some((id(&["-u", name])?, id(&["-g", name])?));
            ids("postgres")
                .or_else(|| ids("nobody"))
                .expect("root needs a user `postgres` or `nobody` to run PostgreSQL")
        });
        Self { directory, user }
    }

    /// The best last: what `pg_config` names, else Debian's newest version.
    fn candidates() -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
            .unwrap_or_default();
        found.sort_by_key(|bin| {
            let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
            version.and_then(|name| name.parse::<u32>().ok())
        });
        found.extend(output(Command::new("pg_config").arg("--bindir")).map(PathBuf::from));
        found
    }

    /// A new directory that the server's user owns. Under `/tmp`, because a socket's path may hold 107 bytes only.
    fn private_directory(&self) -> PathBuf {
        let directory = tempfile::Builder::new().prefix("retraind-pg-").tempdir_in("/tmp").expect("a directory").keep();
        if let Some((user, group)) = self.user {
            std::os::unix::fs::chown(&directory, Some(user), Some(group)).expect("a directory for PostgreSQL's user");
        }
        directory
    }

    fn guard(&self, directory: &Path, data: &Path) -> Child {
        let log = fs::File::create(directory.join("log")).expect("a log file");
        let mut guard = self.command(Path::new("/bin/sh"));
        guard.args(["-c", GUARD, "sh"]).arg(directory).arg(self.directory.join("postgres"));
        guard.arg("-D").arg(data).arg("-k").arg(directory);
        guard.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50"]);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        // A terminal's Ctrl-C reaches the test process only; the guard then sees its input end.
        guard.process_group(0);
        guard.spawn().expect("a shell")
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // The server's user may not enter the directory that the tests run in.
        command.current_dir("/").env("LC_ALL", "C");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    fn run(&self, program: &str, arguments: impl FnOnce(&mut Command)) {
        let mut command = self.command(&self.directory.join(program));
        arguments(&mut command);
        let output = command.output().expect(program);
        assert!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn succeeds(&self, program: &str, arguments: impl FnOnce(&mut Command)) -> bool {
        let mut command = self.command(&self.directory.join(program));
        arguments(&mut command);
        command.status().is_ok_and(|status| status.success())
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    output(Command::new("id").args(arguments))?.parse().ok()
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
