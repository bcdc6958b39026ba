//! Trainings under a daemon: one that is stopped, one that gets nowhere, one that gets better again.

use super::house::{House, states};
use super::place::is_alive;
use super::smtp::{part, subjects};
use super::{ENDLESS, STANDSTILL, stop, text};
use chrono::{DateTime, TimeDelta, Utc};
use rustix::process::Pid;
use serde_json::Value;

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no time"))
}

#[test]
fn a_stopped_worker_is_slow_then_out_of_time_and_each_is_told_once() {
    let house = House::training(ENDLESS, "training_longer_than = \"3s\"\n", "[run]\ntimeout = \"10s\"\n");
    let _daemon = house.place.daemon();
    let pid = house.train();
    stop(&house.place.path("retraind.db"), Pid::from_raw(pid as i32).expect("a pid"));
    assert!(house.alerts().is_empty(), "stopped before it was slow");
    let mails = house.host.wait_for(1);
    assert_eq!(subjects(&mails), ["[trainer] views: training for longer than 3s, run 1 of weekly"]);
    assert_eq!(house.place.state_of(1), "running");
    let began: String = house
        .state()
        .query_row("SELECT training_started_at FROM run_targets", [], |row| row.get(0))
        .expect("a training");
    let slow = &house.alerts()[0];
    assert!(time(&slow["first_seen"]) - time(&began.into()) >= TimeDelta::seconds(3), "not before its time: {slow}");

    house.place.wait_for("its time limit", || house.place.state_of(1) == "timed_out");
    house.place.wait_for("its worker to be killed, which hears no SIGTERM", || !is_alive(pid));
    let late = "[trainer] 2 alerts: timed out: it took longer than 10s (`[run] timeout`); \
                over: views: training for longer than 3s, run 1 of weekly";
    let mails = house.all_mails();
    assert_eq!(subjects(&mails)[1..], [late]);
    assert!(text(&mails[1]).contains("run_failed"), "{}", text(&mails[1]));
    assert_eq!(house.states(), states(&[("training_longer_than", "resolved"), ("run_failed", "firing")]));
    assert_eq!(house.number("SELECT COUNT(*) FROM outbox_alerts WHERE notice = 'recovery'"), 1);
}

/// Both hold from epoch 5 on: four epochs after the first one, and the third after two that do not count.
const NOWHERE: &str = "no_improvement_epochs = 4\nvalidation_to_training_loss = 0.0001\n\
    validation_to_training_loss_epochs = 3\nvalidation_to_training_loss_warm_up = 2\n";

/// A training that gets nowhere, its worker, and the one mail that says both.
fn nowhere() -> (House, super::place::Daemon, u32) {
    let house = House::training(&format!("{ENDLESS}{STANDSTILL}"), NOWHERE, "");
    let daemon = house.place.daemon();
    let pid = house.train();
    let mails = house.host.wait_for(1);
    let stuck = "views: poor convergence: no better validation loss for 4 epochs";
    let begin = format!("[trainer] 2 alerts: {stuck}; views: validation loss ");
    assert!(subjects(&mails)[0].starts_with(&begin), "{:?}", subjects(&mails));
    assert!(subjects(&mails)[0].ends_with(" × training loss, run 1 of weekly"), "{:?}", subjects(&mails));
    assert_eq!(text(&mails[0]).matches("Z, epoch 5").count(), 2, "{}", text(&mails[0]));
    assert_eq!(part(&mails[0], "image/png")["magic"], "89504e470d0a1a0a");
    for alert in house.alerts() {
        assert_eq!(alert["onset"], "run 1 attempt 1 epoch 5", "{alert}");
    }
    (house, daemon, pid)
}

const OVER: [(&str, &str); 2] = [("no_improvement_epochs", "resolved"), ("validation_to_training_loss", "resolved")];

#[test]
fn a_training_that_gets_better_again_is_told_once() {
    let (house, daemon, pid) = nowhere();
    // the next daemon reads the same epochs again
    daemon.kill();
    let _daemon = house.place.daemon();
    assert_eq!(house.all_mails().len(), 1, "told already");
    stop(&house.place.path("retraind.db"), Pid::from_raw(pid as i32).expect("a pid"));
    let last = house.number("SELECT MAX(epoch) FROM epochs");
    // what a training that learns again would write: three epochs with a far smaller validation loss
    for epoch in last + 1..=last + 3 {
        house
            .state()
            .execute(
                "INSERT INTO epochs (run_id, attempt, target, epoch, loss, val_loss, mae, val_mae, seconds, fixed_loss)
                 VALUES (1, 1, 'views', ?1, 1.0, 1e-6, 1.0, 1e-3, 0.1, 1.0)",
                [epoch],
            )
            .expect("inserted");
    }
    house.place.wait_for("both to be over", || house.states() == states(&OVER));
    let over = house.alerts();
    let how = |k: usize| over[k]["resolution"].as_str().unwrap_or_default().to_owned();
    assert!(how(0).starts_with(&format!("the validation loss is better again at epoch {}: ", last + 1)), "{}", how(0));
    assert!(how(1).ends_with(&format!("× the training loss at epoch {}", last + 3)), "{}", how(1));
    // its end is no further news of them
    house.place.stdout(&["cancel", "1"], 0);
    house.place.wait_for("its worker to be gone", || !is_alive(pid));
    let mails = house.all_mails();
    let over: Vec<&Value> = mails.iter().skip(1).collect();
    assert_eq!(over.iter().map(|mail| text(mail).matches("over: views: ").count()).sum::<usize>(), 2, "{over:#?}");
    assert!(over.iter().all(|mail| mail["headers"]["In-Reply-To"] == mails[0]["headers"]["Message-ID"]));
    assert_eq!(house.states(), states(&OVER));
}

#[test]
fn the_end_of_a_training_ends_its_alerts_once() {
    let (house, _daemon, pid) = nowhere();
    house.place.stdout(&["cancel", "1"], 0);
    house.place.wait_for("its worker to be gone", || !is_alive(pid));
    let mails = house.host.wait_for(2);
    assert_eq!(text(&mails[1]).matches("over: views: ").count(), 2, "{}", text(&mails[1]));
    assert_eq!(text(&mails[1]).matches("the training ended").count(), 2, "{}", text(&mails[1]));
    assert_eq!(house.all_mails().len(), 2, "{:?}", house.all_subjects());
    assert_eq!(house.states(), states(&OVER));
}

/// Where a rule begins to hold and where it is over, by epoch; one that holds at the end is over by no epoch.
type Spans = Vec<(i64, Option<i64>)>;

/// By the text of the rules and not by the program: one epoch without a better validation loss, one with too large a ratio.
fn expected(epochs: &[(i64, f64, f64)], ratio: f64) -> (Spans, Spans) {
    let spans = |holds: &[bool]| {
        let mut spans: Spans = Vec::new();
        for (k, now) in holds.iter().enumerate() {
            match (*now, spans.last_mut()) {
                (true, None | Some((_, Some(_)))) => spans.push((epochs[k].0, None)),
                (false, Some((_, end @ None))) => *end = Some(epochs[k].0),
                _ => {}
            }
        }
        spans
    };
    let best_before = |k: usize| epochs[..k].iter().map(|epoch| epoch.1).fold(f64::INFINITY, f64::min);
    let stuck: Vec<bool> = (0..epochs.len()).map(|k| epochs[k].1 >= best_before(k)).collect();
    let parted: Vec<bool> = epochs.iter().map(|(_, validation, training)| validation / training > ratio).collect();
    (spans(&stuck), spans(&parted))
}

#[test]
fn whatever_a_real_training_trips_is_told_at_its_epochs() {
    let house = House::training(
        "epochs = 40\npatience = 100\nlearning_rate = 0.05\ndropout = 0.0\n",
        "no_improvement_epochs = 1\nvalidation_to_training_loss = 1.0\nvalidation_to_training_loss_epochs = 1\n\
         validation_to_training_loss_warm_up = 0\n",
        "",
    );
    let _daemon = house.place.daemon();
    house.place.stdout(&["trigger", "weekly", "--wait"], 0);
    let mails = house.all_mails();
    let state = house.state();
    let mut rows = state.prepare("SELECT epoch, val_loss, fixed_loss FROM epochs ORDER BY epoch").expect("prepared");
    let epochs: Vec<(i64, f64, f64)> = rows
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .expect("read")
        .collect::<Result<_, _>>()
        .expect("numbers");
    let (stuck, parted) = expected(&epochs, 1.0);
    assert!(stuck.iter().any(|(_, end)| end.is_some()), "it gets better again: {epochs:?}");

    let alerts = house.alerts();
    for (rule, expected) in [("no_improvement_epochs", stuck), ("validation_to_training_loss", parted)] {
        let found: Spans = alerts
            .iter()
            .filter(|alert| alert["rule"] == rule)
            .map(|alert| {
                let number = |text: &str, before: &str| {
                    let rest = text.split(before).nth(1).unwrap_or_default();
                    rest.split([':', ' ']).next().and_then(|digits| digits.parse().ok())
                };
                let how = alert["resolution"].as_str().unwrap_or_default();
                let end = if how.contains("the training ended") { None } else { number(how, "at epoch ") };
                (number(alert["onset"].as_str().unwrap_or_default(), "epoch ").unwrap_or_default(), end)
            })
            .collect();
        assert_eq!(found, expected, "{rule} in {epochs:?}");
    }
    assert!(alerts.iter().all(|alert| alert["state"] == "resolved" && alert["told"] == "resolved"), "{alerts:#?}");
    // one notice that it holds, and one that it is over unless the first one said that as well
    let notices = |of: &str| house.number(&format!("SELECT COUNT(*) FROM outbox_alerts WHERE notice = '{of}'"));
    assert_eq!(
        notices("firing"),
        alerts.len() as i64 + house.number("SELECT COUNT(*) FROM alerts WHERE rule = 'test'")
    );
    let told: usize = mails.iter().map(|mail| text(mail).matches("\n  since ").count()).sum();
    assert_eq!(told as i64, alerts.iter().filter_map(|alert| alert["n_notices"].as_i64()).sum::<i64>());
    assert!(alerts.iter().all(|alert| matches!(alert["n_notices"].as_i64(), Some(1 | 2))), "{alerts:#?}");
}
