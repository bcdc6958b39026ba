//! A mail server of the tests' own (`tests/smtp_server.py`), with certificates made for it.
#![allow(dead_code, reason = "not every test that includes this file needs all of it")]

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The server's only user.
pub(crate) const USER: &str = "retraind";
pub(crate) const PASSWORD: &str = "pass wörd ✓";

/// A directory with an authority's certificate and, signed by it, that of `localhost`; and the mails taken so far.
pub(crate) struct MailHost {
    pub(crate) dir: TempDir,
}

/// A server that runs; ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl MailHost {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&authority).expect("a certificate");
        let issuer = Issuer::new(params, authority);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key, &issuer).expect("signed");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        write("ca.pem", &certificate.pem());
        write("server.pem", &leaf.pem());
        write("server.key", &key.serialize_pem());
        fs::create_dir(dir.path().join("mails")).expect("a directory");
        Self { dir }
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Starts the server; `options` as in `tests/smtp_server.py`.
    pub(crate) fn start(&self, options: &Value) -> Server {
        let python = target_dir().join("venv/bin/python");
        assert!(python.exists(), "{} is missing; `make test` makes it", python.display());
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp_server.py"))
            .args(["mails", "server.pem", "server.key"].map(|name| self.dir.path().join(name)))
            .arg(options.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // what it says of clients that hang up is no news
            .stderr(Stdio::null())
            .spawn()
            .expect("python starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a port");
        let port = line.trim().parse().unwrap_or_else(|_| panic!("the mail server did not start: {line}"));
        Server { child, port }
    }

    /// The usual one.
    pub(crate) fn starttls(&self) -> Server {
        self.start(&json!({ "tls": "starttls" }))
    }

    /// Mails taken so far, in order, as Python's email package sees them.
    pub(crate) fn mails(&self) -> Vec<Value> {
        let read = |n: usize| fs::read(self.dir.path().join(format!("mails/{n}.json"))).ok();
        (1..).map_while(read).map(|json| serde_json::from_slice(&json).expect("JSON")).collect()
    }

    /// Waits until there are `n` mails.
    pub(crate) fn wait_for(&self, n: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            let mails = self.mails();
            if mails.len() >= n {
                return mails;
            }
            assert!(
                Instant::now() < deadline,
                "{n} mails expected, there are {}: {:#?}",
                mails.len(),
                subjects(&mails)
            );
            sleep(Duration::from_millis(50));
        }
    }

    /// What the server noted.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("mails/log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().expect("ended");
    }
}

pub(crate) fn subjects(mails: &[Value]) -> Vec<String> {
    mails.iter().map(|mail| mail["headers"]["Subject"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The text of the first part of that type.
pub(crate) fn part<'a>(mail: &'a Value, kind: &str) -> &'a Value {
    mail["parts"].as_array().expect("parts").iter().find(|part| part["type"] == kind).unwrap_or(&Value::Null)
}

fn target_dir() -> PathBuf {
    let dir = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::path::absolute(Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)).expect("a path")
}
