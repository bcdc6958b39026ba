//! Alerts on their way to people: a real mail server over TLS with a login, in all the moods that it may have.

#[path = "support/smtp.rs"]
mod smtp;

use chrono::{DateTime, TimeDelta, Utc};
use retraind::alert::{self, Condition, Rule};
use retraind::settings::{Settings, Style, Tls};
use retraind::store::{Claim, Epoch, NewRun, OutboxState, Owner, Store};
use serde_json::{Value, json};
use smtp::{MailHost, PASSWORD, Server, USER, part, subjects};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ANN: &str = "Änn Größe <ann@example.org>";
const BOB: &str = "bob@example.org";

/// A state database, settings that point to a mail server, and a clock of the test's own.
struct Place {
    _dir: TempDir,
    store: Store,
    settings: Settings,
    now: DateTime<Utc>,
}

impl Place {
    async fn new(host: &MailHost, port: u16) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings = Settings::default();
        settings.state.url = format!("sqlite://{}", dir.path().join("retraind.db").display());
        settings.alerting.host = Some("trainer".to_owned());
        settings.smtp.host = Some("localhost".to_owned());
        settings.smtp.port = Some(port);
        settings.smtp.ca_file = Some(host.authority());
        settings.smtp.username = Some(USER.to_owned());
        settings.smtp.password = Some(PASSWORD.to_owned());
        settings.smtp.from = Some("retraind <retraind@example.org>".to_owned());
        settings.smtp.to = vec![ANN.to_owned()];
        let store = Store::open(&settings.state.url).await.expect("opened");
        Self { _dir: dir, store, settings, now: Utc::now() }
    }

    /// A run with some epochs, and what a watcher would say of it.
    async fn diverging(&self, target: &str) -> Condition {
        let known = self.store.running_runs().await.expect("read").into_iter().next();
        let run = if let Some(run) = known {
            run
        } else {
            let new = NewRun {
                run_key: "w/1",
                job: "weekly",
                kind: "retrain",
                cause: "test",
                job_toml: "[retrain]\n",
                scheduled_for: None,
            };
            self.store.begin_run(new, &Owner::this_process().expect("Linux")).await.expect("begun")
        };
        let claim = Claim { run_id: run.id, attempt: run.attempt };
        let epochs: Vec<Epoch> = (1..=9)
            .map(|epoch| {
                let loss = 0.02 / epoch as f64;
                Epoch {
                    attempt: 1,
                    epoch,
                    loss,
                    val_loss: 0.008 + 0.001 * epoch as f64,
                    mae: 0.1,
                    val_mae: 0.1,
                    fixed_loss: loss,
                    seconds: 1.0,
                }
            })
            .collect();
        self.store.record_epochs(claim, target, &epochs).await.expect("recorded");
        let onset = format!("run {} attempt 1 epoch 9", run.id);
        let condition =
            Condition::new(Rule::ValidationToTrainingLoss, "weekly", onset, "validation loss 7.7 × training loss")
                .of_run(run.id, Some(target))
                .measured("7.65 × (1.700e-2 against 2.222e-3)", "2 ×");
        Condition { epoch: Some(9), ..condition }
    }

    async fn raise(&self, condition: &Condition) -> bool {
        alert::raise(&self.store, condition).await.expect("raised")
    }

    /// Lets time pass, then tells and delivers what is due.
    async fn after(&mut self, passed: TimeDelta) -> alert::Deliveries {
        self.now += passed;
        alert::compose(&self.store, &self.settings, self.now, false).await.expect("composed");
        alert::deliver_all(&self.store, &self.settings, self.now).await.expect("tried")
    }

    async fn states(&self) -> Vec<(String, OutboxState, i64)> {
        let rows = self.store.messages().await.expect("read");
        rows.into_iter().map(|row| (row.address, row.state, row.attempts)).collect()
    }

    async fn last_error(&self) -> String {
        let rows = self.store.messages().await.expect("read");
        rows.into_iter().rev().find_map(|row| row.last_error).unwrap_or_default()
    }
}

fn minutes(n: i64) -> TimeDelta {
    TimeDelta::minutes(n)
}

async fn place() -> (MailHost, Server, Place) {
    let host = MailHost::new();
    let server = host.starttls();
    let place = Place::new(&host, server.port).await;
    (host, server, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_as_other_programs_expect_it() {
    let (host, _server, mut place) = place().await;
    let views = place.diverging("views").await;
    assert!(place.raise(&views).await);
    assert_eq!(place.after(minutes(1)).await.sent, 1);
    let resolved = alert::resolve(&place.store, views.rule, "weekly", Some("views"), "it is 1.2 × at epoch 14").await;
    assert!(resolved.expect("resolved"));
    assert_eq!(place.after(minutes(2)).await.sent, 1);

    let mails = host.mails();
    let [firing, over] = mails.as_slice() else { panic!("{:?}", subjects(&mails)) };
    for mail in [firing, over] {
        assert_eq!((&mail["defects"], &mail["header_defects"]), (&json!([]), &json!([])), "{mail:#}");
        assert_eq!(mail["rcpt"], json!(["ann@example.org"]));
        assert_eq!((&mail["encrypted"], &mail["login"]), (&json!(true), &json!(true)));
        assert_eq!(mail["to"], json!([["Änn Größe", "ann@example.org"]]));
        assert_eq!(mail["from"], json!([["retraind", "retraind@example.org"]]));
        let headers = &mail["headers"];
        assert_eq!(headers["Auto-Submitted"], "auto-generated");
        assert_eq!(headers["List-Id"], "retraind alerts <alerts.retraind.trainer>");
        assert_eq!(headers["MIME-Version"], "1.0");
        assert!(headers["Date"].is_string() && mail["longest_line"].as_u64() <= Some(998), "{headers}");
    }
    let run = views.run_id.expect("a run");
    let subject = format!("[trainer] views: validation loss 7.7 × training loss, run {run} of weekly");
    assert_eq!(firing["headers"]["Subject"], Value::from(subject));
    let over_subject = format!("[trainer] over: views: validation loss 7.7 × training loss, run {run} of weekly");
    assert_eq!(over["headers"]["Subject"], Value::from(over_subject));

    // one thread
    let id = &firing["headers"]["Message-ID"];
    assert_eq!((&over["headers"]["In-Reply-To"], &over["headers"]["References"]), (id, id));
    assert_ne!(&over["headers"]["Message-ID"], id);
    assert!(firing["headers"]["In-Reply-To"].is_null());

    // plain text, or a page with its picture
    let kinds: Vec<&str> =
        firing["parts"].as_array().expect("parts").iter().filter_map(|p| p["type"].as_str()).collect();
    assert_eq!(kinds, ["multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"]);
    let (text, page, picture) = (part(firing, "text/plain"), part(firing, "text/html"), part(firing, "image/png"));
    let text = text["text"].as_str().expect("text");
    for expected in [
        "views: validation loss 7.7 × training loss",
        "validation_to_training_loss",
        "limit  2 ×",
        "epoch 9",
        "What retraind did",
        "What you can do",
        &format!("retraind show {run}"),
        "retraind alerts silence validation_to_training_loss --job weekly --for 2h",
    ] {
        assert!(text.contains(expected), "{text}\nlacks {expected}");
    }
    let id = picture["id"].as_str().expect("an id").trim_matches(['<', '>']);
    assert!(page["text"].as_str().expect("text").contains(&format!("src=\"cid:{id}\"")), "the page shows the picture");
    assert_eq!((&picture["magic"], &picture["disposition"]), (&json!("89504e470d0a1a0a"), &json!("inline")));
    assert!(part(over, "text/plain")["text"].as_str().expect("text").contains("it is 1.2 × at epoch 14"));
    if let Ok(dir) = std::env::var("RETRAIND_MAILS") {
        let copy = |from: &str| std::fs::copy(host.dir.path().join("mails").join(from), format!("{dir}/{from}"));
        copy("1.eml").and_then(|_| copy("2.eml")).expect("copied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn implicit_tls_and_plain_to_this_host_do_as_well() {
    for (tls, word) in [(Tls::Implicit, "implicit"), (Tls::None, "none")] {
        let host = MailHost::new();
        let server = host.start(&json!({ "tls": word }));
        let mut place = Place::new(&host, server.port).await;
        place.settings.smtp.tls = tls;
        place.raise(&place.diverging("views").await).await;
        assert_eq!(place.after(minutes(1)).await.sent, 1, "{word}: {}", place.last_error().await);
        assert_eq!(
            (&host.mails()[0]["login"], &host.mails()[0]["encrypted"]),
            (&json!(true), &json!(word == "implicit"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greylisted_mail_is_taken_later() {
    let host = MailHost::new();
    let server = host.start(&json!({ "tls": "starttls", "greylist": 1 }));
    let mut place = Place::new(&host, server.port).await;
    place.raise(&place.diverging("views").await).await;
    assert_eq!(place.after(minutes(1)).await.postponed, 1);
    assert!(
        place.last_error().await.contains("451 4.7.1 greylisted") || place.last_error().await.contains("greylisted")
    );
    assert_eq!(place.after(TimeDelta::seconds(10)).await, alert::Deliveries::default(), "not before its time");
    assert_eq!(place.after(minutes(1)).await.sent, 1);
    assert_eq!(place.states().await, [(ANN.to_owned(), OutboxState::Sent, 2)]);
    assert_eq!(host.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_recipient_stops_nobody() {
    let host = MailHost::new();
    let server = host.start(&json!({ "tls": "starttls", "refuse": ["ann@example.org"] }));
    let mut place = Place::new(&host, server.port).await;
    place.settings.smtp.to.push(BOB.to_owned());
    place.raise(&place.diverging("views").await).await;
    let done = place.after(minutes(1)).await;
    assert_eq!((done.sent, done.dead), (1, 1));
    assert_eq!(place.states().await, [(BOB.to_owned(), OutboxState::Sent, 1), (ANN.to_owned(), OutboxState::Dead, 1)]);
    assert!(place.last_error().await.contains("no such user"), "{}", place.last_error().await);
    assert_eq!(host.mails()[0]["rcpt"], json!([BOB]));
    // who never heard that it began does not hear that it is over
    alert::resolve(&place.store, Rule::ValidationToTrainingLoss, "weekly", Some("views"), "over")
        .await
        .expect("resolved");
    assert_eq!(place.after(minutes(2)).await.sent, 1);
    assert_eq!(host.mails()[1]["rcpt"], json!([BOB]));
    assert_eq!(place.states().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_for_an_hour_gets_everything_in_order_once() {
    let host = MailHost::new();
    // a port where nobody listens
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let mut place = Place::new(&host, port).await;
    let views = place.diverging("views").await;
    place.raise(&views).await;
    place.after(minutes(1)).await;
    alert::resolve(&place.store, views.rule, "weekly", Some("views"), "over").await.expect("resolved");
    let began = Instant::now();
    for _ in 0..59 {
        assert_eq!(place.after(minutes(1)).await.sent, 0);
    }
    let [(_, state, attempts), (_, waiting, untried)] = place.states().await.try_into().expect("two messages");
    assert_eq!(
        (state, waiting, untried),
        (OutboxState::Pending, OutboxState::Pending, 0),
        "the recovery waits its turn"
    );
    assert!((5..=8).contains(&attempts), "{attempts} attempts in an hour");
    let _server = host.start(&json!({ "tls": "starttls", "port": port }));
    for _ in 0..75 {
        place.after(minutes(1)).await;
    }
    assert!(began.elapsed() < Duration::from_mins(20), "an hour of virtual time");
    let mails = host.mails();
    assert_eq!(mails.len(), 2, "{:?}", subjects(&mails));
    assert!(subjects(&mails)[1].contains("over:") && !subjects(&mails)[0].contains("over:"), "{:?}", subjects(&mails));
    assert_eq!(mails[1]["headers"]["In-Reply-To"], mails[0]["headers"]["Message-ID"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_days_a_message_is_given_up_and_its_recovery_with_it() {
    let host = MailHost::new();
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let mut place = Place::new(&host, port).await;
    let views = place.diverging("views").await;
    place.raise(&views).await;
    place.after(minutes(1)).await;
    alert::resolve(&place.store, views.rule, "weekly", Some("views"), "over").await.expect("resolved");
    for _ in 0..130 {
        place.after(TimeDelta::hours(1)).await;
    }
    let states: Vec<OutboxState> = place.states().await.into_iter().map(|row| row.1).collect();
    assert_eq!(states, [OutboxState::Dead, OutboxState::Dropped]);
    let dead = place.store.undelivered_messages().await.expect("read");
    assert_eq!(dead.len(), 1, "`retraind doctor` and `retraind alerts` show it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_holds_nobody_up() {
    let host = MailHost::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    // accepts and keeps silent
    std::thread::spawn(move || listener.incoming().flatten().map(std::mem::ManuallyDrop::new).for_each(|_| ()));
    let mut place = Place::new(&host, port).await;
    place.settings.smtp.timeout = Duration::from_secs(1);
    place.raise(&place.diverging("views").await).await;
    let began = Instant::now();
    assert_eq!(place.after(minutes(1)).await.postponed, 1);
    assert!(began.elapsed() < Duration::from_secs(30));
    let said = place.last_error().await;
    assert!(said.contains("connecting: no answer within 1s"), "{said}");
    assert_eq!(place.states().await, [(ANN.to_owned(), OutboxState::Pending, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_wrong_certificate_gets_no_password() {
    let (host, server, mut place) = place().await;
    place.settings.smtp.ca_file = None;
    place.raise(&place.diverging("views").await).await;
    assert_eq!(place.after(minutes(1)).await.postponed, 1);
    let said = place.last_error().await;
    assert!(said.contains("STARTTLS") && said.contains("certificate"), "{said}");
    // the right authority, and another name than the certificate's
    place.settings.smtp.ca_file = Some(host.authority());
    place.settings.smtp.host = Some("127.0.0.1".to_owned());
    assert_eq!(place.after(minutes(2)).await.postponed, 1);
    let said = place.last_error().await;
    assert!(said.contains("STARTTLS") && said.contains("certificate"), "{said}");
    assert_eq!(host.log(), "", "nothing was said to it");
    // and a server without encryption gets nothing either
    drop(server);
    let plain = host.start(&json!({ "tls": "none" }));
    place.settings.smtp.port = Some(plain.port);
    place.settings.smtp.host = Some("localhost".to_owned());
    assert_eq!(place.after(minutes(5)).await.postponed, 1);
    let said = place.last_error().await;
    assert!(said.contains("STARTTLS is not supported"), "{said}");
    assert_eq!(host.log(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_can_be_mended() {
    let (host, _server, mut place) = place().await;
    place.settings.smtp.password = Some("wrong".to_owned());
    place.raise(&place.diverging("views").await).await;
    assert_eq!(place.after(minutes(1)).await.postponed, 1, "a person can correct it");
    let error = place.last_error().await;
    assert!(error.contains("login") && error.contains("535"), "{error}");
    place.settings.smtp.password = Some(PASSWORD.to_owned());
    assert_eq!(place.after(minutes(2)).await.sent, 1);
    assert_eq!(host.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_beyond_ascii_reach_servers_that_know_no_others() {
    let (host, _server, mut place) = place().await;
    place.settings.alerting.host = Some("Trainér".to_owned());
    place.settings.smtp.from = None;
    place.settings.smtp.to = vec!["Jürgen Müller <juergen@exämple.de>".to_owned()];
    place.raise(&place.diverging("views").await).await;
    assert_eq!(place.after(minutes(1)).await.sent, 1, "{}", place.last_error().await);
    let mail = &host.mails()[0];
    assert_eq!(mail["to"][0], serde_json::json!(["Jürgen Müller", "juergen@xn--exmple-cua.de"]));
    assert_eq!(mail["from"][0], serde_json::json!(["retraind", "retraind@xn--trainr-fva"]));
    assert!(mail["headers"]["Subject"].as_str().is_some_and(|subject| subject.starts_with("[Trainér] ")), "{mail:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn storms_are_one_mail() {
    let (host, _server, mut place) = place().await;
    let targets = ["views", "likes", "comments"];
    for target in targets {
        let condition = place.diverging(target).await;
        assert!(place.raise(&condition).await);
        for _ in 0..20 {
            assert!(!place.raise(&condition).await, "known already");
        }
    }
    for _ in 0..10 {
        place.after(minutes(1)).await;
    }
    let mails = host.mails();
    assert_eq!(mails.len(), 1, "{:?}", subjects(&mails));
    assert!(subjects(&mails)[0].starts_with("[trainer] 3 alerts: views: validation loss"), "{:?}", subjects(&mails));
    // twelve hours later what still holds is told again, in the same thread
    alert::resolve(&place.store, Rule::ValidationToTrainingLoss, "weekly", Some("views"), "over")
        .await
        .expect("resolved");
    place.after(minutes(1)).await;
    place.after(TimeDelta::hours(13)).await;
    let mails = host.mails();
    assert_eq!(mails.len(), 3, "{:?}", subjects(&mails));
    assert!(
        subjects(&mails)[2].contains("still: likes") && !subjects(&mails)[2].contains("views"),
        "{:?}",
        subjects(&mails)
    );
    assert_eq!(mails[2]["headers"]["In-Reply-To"], mails[0]["headers"]["Message-ID"]);
    // the same onset is no new alert, also when it is over
    assert!(!place.raise(&place.diverging("views").await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn severity_and_the_job_say_who_gets_it() {
    let (host, _server, mut place) = place().await;
    place.settings.smtp.to_critical = vec![BOB.to_owned()];
    place.raise(&place.diverging("views").await).await;
    place.raise(&Condition::new(Rule::JobFileBroken, "other", "1", "jobs/other.toml has 1 problem(s)")).await;
    let own = Condition {
        recipients: vec!["carl@example.org".to_owned()],
        ..Condition::missed_fire("third", Utc::now(), "the host was off")
    };
    place.raise(&own).await;
    place.after(minutes(1)).await;
    let to: Vec<Value> = host.mails().iter().map(|mail| mail["rcpt"][0].clone()).collect();
    assert_eq!(to.len(), 3, "{to:?}");
    for expected in ["ann@example.org", BOB, "carl@example.org"] {
        assert!(to.contains(&Value::from(expected)), "{to:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_sending_and_marking_sends_the_same_mail_once_more() {
    let host = MailHost::new();
    let server = host.start(&json!({ "tls": "starttls", "hang_after_data": true }));
    let mut place = Place::new(&host, server.port).await;
    place.settings.smtp.timeout = Duration::from_mins(1);
    let config = host.dir.path().join("retraind.toml");
    let text = format!(
        "[state]\nurl = \"{}\"\n[smtp]\nhost = \"localhost\"\nport = {}\nca_file = \"{}\"\ntimeout = \"1m\"\n\
         username = \"{USER}\"\npassword = \"{PASSWORD}\"\nfrom = \"retraind@example.org\"\nto = [\"{ANN}\"]\n",
        place.settings.state.url,
        server.port,
        host.authority().display()
    );
    std::fs::write(&config, text).expect("written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_retraind"))
        .args(["alerts", "test", "--config"])
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // the server has the whole mail and has not said so
    host.wait_for(1);
    child.kill().expect("SIGKILL");
    child.wait().expect("gone");
    drop(server);
    let server = host.starttls();
    place.settings.smtp.port = Some(server.port);
    assert_eq!(place.after(minutes(1)).await.sent, 0, "it is still leased");
    assert_eq!(place.after(minutes(10)).await.sent, 1);
    assert_eq!(place.after(minutes(10)).await.sent, 0);
    let mails = host.mails();
    assert_eq!(mails.len(), 2, "one duplicate");
    assert_eq!(mails[0]["headers"]["Message-ID"], mails[1]["headers"]["Message-ID"]);
    let of = |name: &str| (mails[0]["headers"][name].clone(), mails[1]["headers"][name].clone());
    for name in ["Subject", "Date", "To", "Content-Type"] {
        assert_eq!(of(name).0, of(name).1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_channels_get_it_signed_and_on_standard_input() {
    let (host, _server, mut place) = place().await;
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("alert.json");
    let script = format!("cat > {}; test -n \"$RETRAIND_MESSAGE_ID\"", out.display());
    place.settings.alerting.command.run = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
    (place.settings.alerting.webhook.url, place.settings.alerting.webhook.secret) =
        (Some(url), Some("s3cret".to_owned()));
    let posts = std::thread::spawn(move || {
        // to follow a redirect would be to give the signature to another host, and to lose the message
        [503, 302, 200].map(|status| request(&listener, status))
    });

    place.raise(&place.diverging("views").await).await;
    let done = place.after(minutes(1)).await;
    assert_eq!(
        (done.sent, done.postponed),
        (2, 1),
        "the mail and the command are not held up: {}",
        place.last_error().await
    );
    assert_eq!(place.after(minutes(2)).await.postponed, 1);
    place.settings.alerting.webhook.style = Style::Slack;
    assert_eq!(place.after(minutes(4)).await.sent, 1);

    let command: Value = serde_json::from_slice(&std::fs::read(out).expect("written")).expect("JSON");
    assert_eq!(command["message"]["items"][0]["condition"]["rule"], "validation_to_training_loss");
    assert_eq!(host.mails().len(), 1);
    let posts = posts.join().expect("served");
    let id =
        |head: &str| head.lines().find(|l| l.to_lowercase().starts_with("x-retraind-message-id")).map(str::to_owned);
    assert!(id(&posts[0].0).is_some() && posts.iter().all(|post| id(&post.0) == id(&posts[0].0)), "the same message");
    let json: Value = serde_json::from_str(&posts[0].1).expect("JSON");
    assert_eq!((&json["severity"], &json["message"]["host"]), (&json!("warning"), &json!("trainer")));
    let slack: Value = serde_json::from_str(&posts[2].1).expect("JSON");
    assert!(slack["text"].as_str().expect("text").starts_with("*[trainer] views: validation loss"));
    for (head, body) in &posts {
        let python = "import hmac, sys; print(hmac.new(b's3cret', sys.stdin.buffer.read(), 'sha256').hexdigest())";
        let mut check = Command::new("python3")
            .args(["-c", python])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        check.stdin.take().expect("piped").write_all(body.as_bytes()).expect("written");
        let digest = String::from_utf8(check.wait_with_output().expect("ended").stdout).expect("UTF-8");
        assert!(head.contains(&format!("sha256={}", digest.trim())), "{head}");
    }
}

/// Takes one HTTP request and answers with a status: head and body.
fn request(listener: &TcpListener, status: u16) -> (String, String) {
    let (mut stream, _) = listener.accept().expect("a connection");
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.expect("a length") {
                let answer = format!(
                    "HTTP/1.1 {status} so\r\ncontent-length: 0\r\nlocation: /login\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).expect("answered");
                return (head.to_owned(), body.to_owned());
            }
        }
        let n = stream.read(&mut chunk).expect("read");
        bytes.extend_from_slice(&chunk[..n]);
    }
}
