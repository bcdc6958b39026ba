//! Rows arrive; enough of them start a training, also those that came while no daemon was there.

use super::place::Place;
use super::small;
use super::support::postgres::Cluster;
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

const JOB: &str = "[trigger.data_volume]\nmin_new_rows = 51\npoll = \"1s\"\ncool_down = \"1s\"\n";
/// Long enough for a few looks, each of which would start a training were it time.
const LOOKS: Duration = Duration::from_secs(4);

/// More rows of one series, from the minute `from` of a day on which nothing else was recorded.
fn arrive(place: &Place, minutes: std::ops::Range<u32>) {
    let mut csv = "timestamp,video_id,view_count,like_count,comment_count\n".to_owned();
    for minute in minutes {
        let (hour, minute) = (minute / 60, minute % 60);
        writeln!(csv, "2026-02-01T{hour:02}:{minute:02}:00Z,late,{},{hour},7", 60 * hour + minute).expect("text");
    }
    std::fs::write(place.path("late.csv"), csv).expect("written");
    place.stdout(&["import", "late.csv"], 0);
}

fn causes(place: &Place) -> Vec<Value> {
    place.ended("small").iter().map(|run| run["cause"].clone()).collect()
}

fn enough_new_rows_start_a_training(place: &Place) {
    place.job("small", &format!("{}{JOB}", small::job(&["views"], 2, 5)));
    small::import(place);
    let daemon = place.daemon();
    place.wait_for("the first, as no row was trained on", || causes(place).len() == 1);
    arrive(place, 0..50);
    std::thread::sleep(LOOKS);
    assert_eq!(causes(place), ["data_volume"], "fifty are not more than fifty");
    daemon.stop();
    // nobody looks now
    arrive(place, 50..51);
    let daemon = place.daemon();
    place.wait_for("the second", || causes(place).len() == 2);
    arrive(place, 51..101);
    daemon.kill();
    let _daemon = place.daemon();
    std::thread::sleep(LOOKS);
    assert_eq!(causes(place), ["data_volume", "data_volume"], "fifty since the second, whoever looked when");
    arrive(place, 101..102);
    place.wait_for("the third", || causes(place).len() == 3);
}

#[test]
fn enough_new_rows_start_a_training_in_sqlite() {
    enough_new_rows_start_a_training(&Place::new());
}

#[test]
fn enough_new_rows_start_a_training_in_postgresql() {
    let cluster = Cluster::shared();
    let place = Place::on(Some(cluster.url("volume")));
    let settings = std::fs::read_to_string(place.path("retraind.toml")).expect("read");
    let source = format!("{settings}[source]\nurl = \"{}\"\n", cluster.url("recorded"));
    std::fs::write(place.path("retraind.toml"), source).expect("written");
    enough_new_rows_start_a_training(&place);
}
