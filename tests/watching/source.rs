//! The recorded counts: rows that no longer come, and a database that cannot be read.

use super::house::{House, alerts, exec, states};
use super::smtp::subjects;
use super::text;
use chrono::{TimeDelta, Utc};
use std::fs;

const HEAD: &str = "timestamp,video_id,view_count,like_count,comment_count\n";

#[test]
fn a_source_that_is_down_hides_that_no_data_comes_and_each_is_told_once() {
    let house = House::new();
    house.place.job("weekly", &exec("true", &alerts("no_new_data_for = \"1h\"\n")));
    house.import(&format!("{HEAD}2020-01-01T00:00:00Z,video-a,1,1,1\n2020-01-01T00:01:00Z,video-a,2,1,1\n"));

    // silenced, so that it is still to be told when the source goes away
    house.place.stdout(&["alerts", "silence", "no_new_data_for", "--job", "weekly", "--for", "2h"], 0);
    let daemon = house.place.daemon();
    house.place.wait_for("the old rows to be noticed", || !house.alerts().is_empty());
    assert_eq!(house.all_subjects(), [""; 0]);
    let list = house.place.stdout(&["alerts"], 0);
    assert!(list.contains("no new data for longer than 1h"), "what is silenced is listed: {list}");
    assert!(list.contains("silenced: no_new_data_for of weekly until "), "{list}");

    daemon.stop();
    let (data, away) = (house.place.path("data.db"), house.place.path("data.away"));
    fs::rename(&data, &away).expect("renamed");
    let daemon = house.place.daemon();
    let mails = house.host.wait_for(2);
    let down = &subjects(&mails)[1];
    assert!(down.starts_with("[trainer] failed to ") && down.contains("data.db"), "{down}");
    // from now on only the source stands in the way
    house.place.stdout(&["alerts", "silence", "no_new_data_for", "--job", "weekly", "--end"], 0);
    let daemon = house.restart(daemon);
    let mails = house.all_mails();
    assert_eq!(subjects(&mails), [down.as_str()]);
    assert!(text(&mails[0]).contains("Reading is tried again by itself"), "{}", text(&mails[0]));
    assert_eq!(house.states(), states(&[("no_new_data_for", "firing"), ("source_down", "firing")]));

    daemon.stop();
    fs::rename(&away, &data).expect("renamed");
    let so_far = house.host.mails().len();
    let daemon = house.place.daemon();
    house.host.wait_for(so_far + 2);
    let mails = house.all_mails();
    let mut found = subjects(&mails)[1..].to_vec();
    found.sort();
    let none = "[trainer] no new data for longer than 1h, weekly";
    assert_eq!(found, [none.to_owned(), down.replace("[trainer] ", "[trainer] over: ")]);
    let none = mails.iter().find(|mail| mail["headers"]["Subject"] == none).expect("found above");
    for fact in ["since  2020-01-01 00:01:00Z", "limit  1h", "value  newest row ", "job    weekly"] {
        assert!(text(none).contains(fact), "{} lacks {fact}", text(none));
    }

    let now = Utc::now() - TimeDelta::minutes(1);
    house.import(&format!("{HEAD}{},video-a,3,1,1\n", now.to_rfc3339()));
    let _daemon = house.restart(daemon);
    house.place.wait_for("the new row to be noticed", || house.states()[0].1 == "resolved");
    let mails = house.all_mails();
    assert_eq!(subjects(&mails)[3..], ["[trainer] over: no new data for longer than 1h, weekly"]);
    assert!(text(&mails[3]).contains("the newest row is 1m"), "{}", text(&mails[3]));
    assert_eq!(house.states(), states(&[("no_new_data_for", "resolved"), ("source_down", "resolved")]));
}

#[test]
fn what_nobody_asks_for_any_more_is_over() {
    let house = House::new();
    house.place.job("weekly", &exec("true", &alerts("no_new_data_for = \"1h\"\n")));
    house.import(&format!("{HEAD}2020-01-01T00:00:00Z,video-a,1,1,1\n"));
    let _daemon = house.place.daemon();
    house.host.wait_for(1);
    house.place.job("weekly", &exec("true", &alerts("")));
    house.place.wait_for("its end", || house.states() == states(&[("no_new_data_for", "resolved")]));
    let mails = house.all_mails();
    assert!(text(&mails[1]).contains("its job asks for it no more"), "{}", text(&mails[1]));
}
