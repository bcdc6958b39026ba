//! What the daemon tells systemd, on a real socket.

use super::place::{Place, SLOW};
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// Collects messages until one holds `wanted`; returns all of them.
fn until(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = socket.recv(&mut buffer).unwrap_or_else(|e| panic!("no {wanted} ({e}) but {messages:?}"));
        messages.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
        if messages.last().is_some_and(|message| message.contains(wanted)) {
            return messages;
        }
    }
}

#[test]
fn systemd_is_told_what_happens() {
    let place = Place::new();
    place.job(
        "nightly",
        "[exec]\ncommand = [\"true\"]\n[trigger.cron]\nschedule = \"0 3 * * *\"\ntimezone = \"Europe/Berlin\"\n",
    );
    place.job("slow", SLOW);
    let path = place.path("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_mins(2))).expect("a timeout");
    let daemon = place.start(&[("NOTIFY_SOCKET", &path.display().to_string()), ("WATCHDOG_USEC", "10000000")]);

    until(&socket, "READY=1");
    let status = until(&socket, "STATUS=2 jobs");
    assert!(
        status.iter().any(|message| message.contains("next nightly") && message.contains("Europe/Berlin")),
        "{status:?}"
    );
    // from the loop itself, so more than once
    until(&socket, "WATCHDOG=1");
    until(&socket, "WATCHDOG=1");

    daemon.signal(Signal::HUP);
    let reload = until(&socket, "RELOADING=1").pop().expect("a message");
    let time = reload.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("in one message");
    assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{reload}");
    until(&socket, "READY=1");

    place.stdout(&["trigger", "slow"], 0);
    until(&socket, "run 1 of slow under way");
    place.pid_of(1);
    daemon.signal(Signal::TERM);
    until(&socket, "STOPPING=1");
    let mut daemon = daemon;
    assert!(daemon.wait().success());
}
