//! What an earlier attempt of the run has left: targets that are done, and how far the others are.

use super::Context;
use crate::data::Target;
use crate::event::{Event, Listener};
use crate::job::Retrain;
use crate::run::{Error, chain};
use crate::store::{Claim, TargetState};
use crate::train;
use chrono::{DateTime, Utc};

/// What is left to do.
pub(super) struct Resumed {
    /// Targets without a version.
    pub(super) targets: Vec<Target>,
    /// Whether the versions that the others have passed their gate.
    pub(super) all_passed: bool,
    /// Later rows are not read: the trainings written down have not seen them.
    pub(super) until: Option<DateTime<Utc>>,
}

impl Resumed {
    /// Everything is to be done in a first attempt.
    pub(super) async fn find(
        context: &Context,
        settings: &Retrain,
        claim: Claim,
        listener: &Listener,
    ) -> Result<Self, Error> {
        let mut resumed = Self { targets: settings.targets.clone(), all_passed: true, until: None };
        if claim.attempt == 1 {
            return Ok(resumed);
        }
        let rows = context.store.targets(claim.run_id).await?;
        resumed.targets.retain(|target| {
            let row = rows.iter().find(|row| row.target == target.to_string());
            let done = row.filter(|row| matches!(row.state, TargetState::Succeeded | TargetState::Rejected));
            if let Some(row) = done {
                resumed.all_passed &= row.state == TargetState::Succeeded;
                let version = row.version.as_deref().unwrap_or("a version");
                listener(Event::Remark(format!("{target}: has {version} from an earlier attempt")));
            }
            done.is_none()
        });
        let dir = context.settings.runs.of(claim.run_id);
        let found = train::checkpoints(&dir).unwrap_or_else(|error| {
            tracing::warn!(dir = %dir.display(), %error, "no checkpoint to go on from");
            Vec::new()
        });
        for path in found {
            match train::peek(&path) {
                // they were all started on the same rows; should they differ, the older ones start over and say so
                Ok(found) => resumed.until = resumed.until.max(found.and_then(|origin| origin.data.last)),
                // said by the training too, when it starts over
                Err(error) => {
                    tracing::warn!(path = %path.display(), error = %chain(&error), "no checkpoint to go on from");
                }
            }
        }
        Ok(resumed)
    }
}
