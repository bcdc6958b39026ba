//! What retraind does about a condition, what a person can do, and the commands for it: one entry a rule.

use super::Condition;
use crate::watch::Rule;

/// Fills in what is always said of a rule.
#[expect(clippy::too_many_lines, reason = "a table: one entry a rule")]
pub(super) fn advise(condition: Condition) -> Condition {
    let job = condition.job.as_str();
    let target = condition.target.as_deref().unwrap_or("TARGET");
    let run = condition.run_id.map_or_else(|| "RUN".to_owned(), |run| run.to_string());
    let show = format!("retraind show {run}");
    let cancel = format!("retraind cancel {run}");
    let again = format!("retraind run {job}");
    let (done, advice, commands): (&str, &[&str], Vec<String>) = match condition.rule {
        Rule::TrainingLongerThan => (
            "Nothing: the training goes on.",
            &[
                "Look whether epochs still come; if they do, the limit may be too near for this much data.",
                "Raise training_longer_than in [alerts], train fewer epochs, or cancel the run.",
            ],
            vec![show, cancel],
        ),
        Rule::RunLongerThan => (
            "Nothing: the run goes on until it ends or reaches its time limit.",
            &["Look how far it is; if it does not get on, cancel it."],
            vec![show, cancel],
        ),
        Rule::NoImprovement => (
            "Nothing: the training goes on to its patience or its last epoch, and the weights of its best epoch are kept.",
            &[
                "If the loss was flat from the start, the learning rate may be too small or the newest rows constant.",
                "If it fell and then stayed, fewer `epochs` (in recipe `level` a smaller `patience`) save the time.",
            ],
            vec![show, cancel],
        ),
        Rule::NoBetterThanNaive => (
            "The version is registered with its scores beside those of the naive forecasts.",
            &[
                "`skill_min = 0` in the job's [gate], as in the shipped jobs, keeps such versions out of service.",
                "More data, another recipe or more patience may help; more epochs alone do not.",
            ],
            vec![show, format!("retraind models {target}")],
        ),
        Rule::ValidationToTrainingLoss => (
            "Nothing: the training goes on, the weights of its best epoch are kept, and the gate judges them.",
            &[
                "The network learns the training rows by heart, or the newest rows differ from the older ones.",
                "More dropout, fewer units, or a look at the newest rows may help.",
            ],
            vec![show, cancel],
        ),
        Rule::MemoryAbovePercent => (
            "Nothing: retraind stops no process.",
            &[
                "Where the training holds the memory, a smaller `batch_size` or fewer targets at a time need less.",
                "When memory runs out, the kernel kills a process, and that may be the training.",
            ],
            vec![show, cancel],
        ),
        Rule::RunFailed => (
            "The run has ended and is not tried again; versions in service stay as they are.",
            &["Mend the cause, then start the job again."],
            vec![show, "retraind doctor".to_owned(), again],
        ),
        Rule::GateFailed => (
            "The version is kept and marked as rejected.",
            &["Compare its scores with those in service; bring it into service by hand only if the rule is wrong."],
            vec![show, format!("retraind models {target}")],
        ),
        Rule::Promotion => (
            "The version is in service.",
            &["To go back to the one before, roll back."],
            vec![format!("retraind models {target}"), format!("retraind rollback {target}")],
        ),
        Rule::Degradation => (
            "The version stays in service until a better one passes its gate.",
            &["Train again, or go back to an earlier version."],
            vec![format!("retraind models {target}"), again, format!("retraind rollback {target}")],
        ),
        Rule::InputDrift => (
            "The version stays in service.",
            &[
                "Look at the newest rows: a new kind of video, a collector that counts in another way, or a season.",
                "Where the change is here to stay, train again; the next evaluation compares with the new training.",
            ],
            vec![show, "retraind data".to_owned(), format!("retraind models {target}")],
        ),
        Rule::NoNewData => (
            "Jobs go on by their triggers, with the rows that are there.",
            &["Look whether the collector runs and writes into the table that [source] names."],
            vec!["retraind doctor".to_owned()],
        ),
        Rule::SourceDown => (
            "Reading is tried again by itself.",
            &["Look whether the database runs and lets this host in."],
            vec!["retraind doctor".to_owned()],
        ),
        Rule::JobFileBroken => (
            "The job goes on as the file said before, if it was right before.",
            &["Correct the file; it is read again by itself."],
            vec!["retraind check".to_owned()],
        ),
        Rule::MissedFire => (
            "The job's next start is by its triggers.",
            &["Start the job by hand if it should not wait until then."],
            vec!["retraind status".to_owned(), again],
        ),
        Rule::Paused => (
            "No trigger starts the job any more; `retraind trigger` and `retraind run` still do.",
            &["Look what went wrong, mend it, then let its triggers start it again."],
            vec![format!("retraind runs {job}"), format!("retraind resume {job}")],
        ),
        Rule::OutOfMemory => (
            "The worker is gone; whether the run is tried again is up to its job's retries.",
            &[
                "Give it more memory, or let it need less: a smaller `batch_size`, fewer targets at a time.",
                "The limit is MemoryMax= of the service, or the container's.",
            ],
            vec![show, "retraind doctor".to_owned()],
        ),
        Rule::Test => ("Nothing: this is a test.", &["Nothing: alerts arrive."], vec!["retraind alerts".to_owned()]),
    };
    let (done, advice) = (done.to_owned(), advice.iter().map(|&sentence| sentence.to_owned()).collect());
    Condition { done, advice, commands, ..condition }
}
