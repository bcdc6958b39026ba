//! `retraind alerts`: what holds, who hears of it, and whether anything arrives.

use super::house::{House, alerts, exec};
use super::place::Place;
use super::smtp::subjects;

const ARRIVES: &str = "delivered    email ann@example.org\n";

#[test]
fn what_is_silenced_is_listed_and_not_mailed_until_the_silence_ends() {
    let house = House::new();
    let place = &house.place;
    let broken = exec("exit 1", &alerts(""));
    place.job("broken", &broken);
    let nothing = "no alerts; `retraind alerts list --all` shows old ones\n";
    assert_eq!(place.stdout(&["alerts"], 0), nothing);
    assert_eq!(place.stdout(&["alerts", "list", "--all"], 0), "no alerts so far\n");

    let said = place.stdout(&["alerts", "silence", "run_failed", "--for", "2h"], 0);
    let until = said.strip_prefix("run_failed of all jobs is silenced until ").unwrap_or_else(|| panic!("{said}"));
    place.stdout(&["run", "broken"], 1);
    assert_eq!(house.deliver().len(), 0, "{:?}", subjects(&house.host.mails()));
    let list = place.stdout(&["alerts", "list"], 0);
    for word in ["firing", "critical", "run_failed", "broken", "failed: ", ", run 1\n"] {
        assert!(list.contains(word), "{list} lacks {word}");
    }
    assert!(list.ends_with(&format!("silenced: run_failed of all jobs until {until}")), "{list}");
    let report = place.json(&["alerts", "--json"], 0);
    assert_eq!(
        (&report["alerts"][0]["told"], &report["silences"][0]["rule"]),
        (&"nothing".into(), &"run_failed".into())
    );
    assert_eq!(report["alerts"].as_array().map(Vec::len), Some(1), "tests are over at once: {report:#}");

    // it holds still, so it is told now
    let end = ["alerts", "silence", "run_failed", "--end"];
    assert_eq!(place.stdout(&end, 0), "run_failed of all jobs is told again\n");
    assert_eq!(place.stdout(&end, 0), "run_failed of all jobs was not silenced\n");
    let mails = subjects(&house.deliver());
    assert!(mails.len() == 1 && mails[0].starts_with("[trainer] failed: "), "{mails:?}");

    // of one job: another one's failure is mailed
    place.stdout(&["alerts", "silence", "run_failed", "--job", "broken", "--for", "2h"], 0);
    place.job("broken", &exec("true", &alerts("")));
    place.stdout(&["run", "broken"], 0);
    place.job("broken", &broken);
    place.job("other", &broken);
    place.stdout(&["run", "broken"], 1);
    place.stdout(&["run", "other"], 1);
    let mails = subjects(&house.deliver());
    assert_eq!(mails.len(), 2, "neither the recovery nor the second failure of the silenced job: {mails:?}");
    assert!(mails[1].ends_with(", run 4 of other"), "{mails:?}");
    let list = place.stdout(&["alerts", "list", "--all"], 0);
    assert!(list.contains("over 20") && list.contains(", run 1\n") && list.contains(", run 3\n"), "{list}");
    assert!(list.contains("silenced: run_failed of broken until "), "{list}");
}

#[test]
fn a_test_says_what_arrives_and_what_does_not() {
    let mut house = House::new();
    assert_eq!(house.place.stdout(&["alerts", "test"], 0), ARRIVES);
    let mails = house.host.mails();
    assert_eq!(subjects(&mails), ["[trainer] this is a test: alerts arrive"]);
    assert_eq!(mails[0]["headers"]["X-Retraind-Severity"], "info");
    house.close_mail();
    let said = house.place.stdout(&["alerts", "test"], 69);
    assert!(said.starts_with("NOT DELIVERED email ann@example.org: localhost:"), "{said}");
    assert!(said.contains(", connecting: "), "{said}");
    // it waits, and the list says so
    let list = house.place.stdout(&["alerts"], 0);
    for word in ["not delivered", "email ann@example.org", "this is a test: alerts arrive", "connecting"] {
        assert!(list.contains(word), "{list} lacks {word}");
    }
    // nobody to tell
    let said = Place::new().stdout(&["alerts", "test"], 69);
    assert!(said.starts_with("nobody would be told: set [smtp] host and to"), "{said}");
}

#[test]
fn a_silence_without_sense_is_refused() {
    let place = Place::new();
    let said = place.stderr(&["alerts", "silence", "slow", "--for", "2h"], 2);
    assert!(said.contains("there is no such rule; there is: training_longer_than, run_longer_than"), "{said}");
    let said = place.stderr(&["alerts", "silence", "run_failed"], 2);
    assert!(said.contains("--for <TIME>"), "{said}");
    let said = place.stderr(&["alerts", "silence", "run_failed", "--for", "soon"], 2);
    assert!(said.contains("soon"), "{said}");
}
