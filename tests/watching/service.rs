//! Versions in service: how they came there, and that they have become worse.

use super::house::{House, alerts, states};
use super::smtp::subjects;
use super::{side_by_side, text};
use chrono::{DateTime, TimeDelta};
use std::fmt::Write as _;

#[test]
fn what_evaluations_find_is_told_once() {
    side_by_side(&[
        ("worse", a_version_that_becomes_worse_is_told_once_and_so_is_the_one_that_takes_its_place),
        ("drift", growth_of_another_kind_than_at_training_is_told_once_until_it_is_as_usual),
    ]);
}

/// Rows after those of [`super::rows`] that no model has seen the like of.
fn worse() -> String {
    let mut csv = "timestamp,video_id,view_count,like_count,comment_count\n".to_owned();
    for k in 0..30 {
        writeln!(csv, "2026-01-01T05:{k:02}:00Z,video-a,{},400,400", 1_000_000 + 1000 * k).expect("text");
    }
    csv
}

fn a_version_that_becomes_worse_is_told_once_and_so_is_the_one_that_takes_its_place() {
    let house = House::training(
        "epochs = 2\n",
        "promotion = true\ngate_failed = false\n",
        "[trigger.degradation]\nmae_ratio = 2.0\nevaluations = 2\n",
    );
    house.place.job("evaluation", &format!("[evaluate]\ntargets = [\"views\"]\n{}", alerts("")));
    // no version of this job passes, except where its start says so: what the degradation starts leaves all as it is
    let file = house.place.path("jobs/weekly.toml");
    let strict = std::fs::read_to_string(&file).expect("read").replace("mae_max = 1000.0", "mae_max = 0.0");
    std::fs::write(file, strict).expect("written");
    let trained = ["trigger", "weekly", "--set", "gate.mae_max=1000.0", "--wait"];
    let daemon = house.place.daemon();
    house.place.stdout(&trained, 0);
    let first = "[trainer] views: v0001 came into service as the first one, run 1 of weekly";
    assert_eq!(house.all_subjects(), [first]);

    house.import(&worse());
    let shown = house.place.stdout(&["trigger", "evaluation", "--wait"], 0);
    let row = shown.lines().find(|line| line.contains("v0001")).unwrap_or_else(|| panic!("no version: {shown}"));
    let scores = row.split_whitespace().filter(|word| word.parse::<f64>().is_ok()).count();
    assert!(scores >= 5 && shown.contains("views: MAE ") && shown.contains("times that at promotion"), "{shown}");
    assert_eq!(house.all_subjects(), [first], "one evaluation says nothing yet");
    house.place.stdout(&["trigger", "evaluation", "--wait"], 0);
    house.place.wait_for("the training that follows", || house.place.ended("weekly").len() == 2);
    let follows = &house.place.ended("weekly")[0];
    assert_eq!((&follows["cause"], &follows["state"]), (&"degradation".into(), &"rejected".into()), "{follows:#}");
    let daemon = house.restart(daemon);
    let mails = house.all_mails();
    let [_, worse] = subjects(&mails).try_into().unwrap_or_else(|mails| panic!("one more mail: {mails:?}"));
    let begin = "[trainer] views: v0001 in service has become worse: its MAE is ";
    assert!(worse.starts_with(begin) && worse.ends_with(" times that at promotion, weekly"), "{worse}");
    for fact in ["rule   degradation", "limit  2 (`[trigger.degradation] mae_ratio`)", "retraind rollback views"] {
        assert!(text(&mails[1]).contains(fact), "{} lacks {fact}", text(&mails[1]));
    }
    assert_eq!(house.states(), states(&[("promotion", "resolved"), ("degradation", "firing")]));
    let since = house.alerts()[1]["onset"].clone();
    assert!(since.as_str().is_some_and(|onset| onset.starts_with("v0001 since ")), "{since}");

    house.place.stdout(&trained, 0);
    let trained_by = house.place.ended("weekly")[0]["id"].clone();
    let _daemon = house.restart(daemon);
    let mails = house.all_mails();
    let [_, _, both] = subjects(&mails).try_into().unwrap_or_else(|mails| panic!("one more mail: {mails:?}"));
    let begin =
        "[trainer] 2 alerts: views: v0003 came into service in the place of v0001; over: views: v0001 in service ";
    assert!(both.starts_with(begin), "{both}");
    let said = text(&mails[2]);
    assert!(said.contains("v0003 has taken its place"), "{said}");
    assert!(said.contains("views: v0003 came into service in the place of v0001"), "{said}");
    let expected = [("promotion", "resolved"), ("degradation", "resolved"), ("promotion", "resolved")];
    assert_eq!(house.states(), states(&expected));

    // by hand, there and back: told to the people of the run that trained it
    let hand = "views: v0001 came into service in the place of v0003, run 1 of weekly";
    house.place.stdout(&["promote", "views", "v0001"], 0);
    let mails = house.all_mails();
    assert_eq!(subjects(&mails)[3..], [format!("[trainer] {hand}")]);
    assert!(text(&mails[3]).contains("by hand"), "{}", text(&mails[3]));
    house.place.stdout(&["promote", "views", "v0001"], 0);
    house.place.stdout(&["rollback", "views"], 0);
    let mails = house.all_mails();
    let back = format!("[trainer] views: v0003 came into service in the place of v0001, run {trained_by} of weekly");
    assert_eq!(subjects(&mails)[4..], [back], "what is in service already is no news");
    assert!(text(&mails[4]).contains("by hand, back from v0001"), "{}", text(&mails[4]));
    let promotions: Vec<_> =
        house.alerts().iter().filter(|a| a["rule"] == "promotion").map(|a| a["onset"].clone()).collect();
    assert_eq!(promotions, ["promotion 1", "promotion 2", "promotion 3", "promotion 4"]);
}

#[test]
fn a_version_that_becomes_worse_is_told_of_where_its_job_is_paused() {
    let degradation = "[trigger.degradation]\nmae_ratio = 2.0\nevaluations = 1\n";
    let house = House::training("epochs = 2\n", "", degradation);
    house.place.job("evaluation", &format!("[evaluate]\ntargets = [\"views\"]\n{}", alerts("")));
    let daemon = house.place.daemon();
    house.place.stdout(&["pause", "weekly"], 0);
    house.place.stdout(&["trigger", "weekly", "--wait"], 0);
    house.import(&worse());
    house.place.stdout(&["trigger", "evaluation", "--wait"], 0);
    let mails = house.host.wait_for(1);
    assert!(
        subjects(&mails)[0].starts_with("[trainer] views: v0001 in service has become worse: "),
        "{:?}",
        subjects(&mails)
    );
    let _daemon = house.restart(daemon);
    assert_eq!(house.all_subjects().len(), 1);
    assert_eq!(house.place.ended("weekly").len(), 1, "it is paused");
}

/// Two videos, a row each half hour: so many that grow in the usual way, in another way, and again as usual.
fn recorded(usual: u32, other: u32, usual_again: u32) -> String {
    let mut csv = "timestamp,video_id,view_count,like_count,comment_count\n".to_owned();
    let begin = DateTime::from_timestamp(1_767_225_600, 0).expect("a time");
    for (video, seed) in [("video-a", 1u32), ("video-b", 2)] {
        let (mut views, mut random) = (10_000, seed);
        for step in 0..usual + other + usual_again {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            views += match step {
                step if (usual..usual + other).contains(&step) => step % 2 * 4000,
                _ => 500 + (random >> 16) % 1000,
            };
            let at = (begin + TimeDelta::minutes(30 * i64::from(step))).to_rfc3339();
            writeln!(csv, "{at},{video},{views},{},{}", views / 30, views / 400).expect("text");
        }
    }
    csv
}

fn growth_of_another_kind_than_at_training_is_told_once_until_it_is_as_usual() {
    let house = House::new();
    let small = "targets = [\"views\"]\nrecipe = \"increment\"\nepochs = 1\nhidden = 4\ndense = 4\n";
    house.place.job("weekly", &format!("[retrain]\n{small}[gate]\nmae_max = 1000.0\n{}", alerts("")));
    let drift = alerts("input_drift_above = 0.5\n");
    house.place.job("evaluation", &format!("[evaluate]\ntargets = [\"views\"]\nrows_per_video = 96\n{drift}"));
    house.import(&recorded(432, 0, 0));
    let daemon = house.place.daemon();
    house.place.stdout(&["trigger", "weekly", "--wait"], 0);
    house.import(&recorded(432, 96, 0));
    house.place.stdout(&["trigger", "evaluation", "--wait"], 0);
    let mails = house.host.wait_for(1);
    let begin = "[trainer] views: v0001 in service sees growth of another kind than it was trained on: PSI ";
    let subject = &subjects(&mails)[0];
    assert!(subject.starts_with(begin) && subject.ends_with(", run 2 of evaluation"), "{subject}");
    assert!(text(&mails[0]).contains("limit  PSI 0.5"), "{}", text(&mails[0]));
    house.place.stdout(&["trigger", "evaluation", "--wait"], 0);
    let daemon = house.restart(daemon);
    assert_eq!(house.all_subjects().len(), 1, "it is what it was");
    assert_eq!(house.states(), states(&[("input_drift_above", "firing")]));

    house.import(&recorded(432, 96, 480));
    house.place.stdout(&["trigger", "evaluation", "--wait"], 0);
    let mails = house.all_mails();
    assert_eq!(mails.len(), 2, "{:?}", subjects(&mails));
    assert!(
        subjects(&mails)[1].starts_with(&begin.replace("[trainer] ", "[trainer] over: ")),
        "{:?}",
        subjects(&mails)
    );
    assert!(
        text(&mails[1]).contains("its PSI is 0.") && text(&mails[1]).contains(", within 0.5"),
        "{}",
        text(&mails[1])
    );
    assert_eq!(house.states(), states(&[("input_drift_above", "resolved")]));
    daemon.stop();
}
