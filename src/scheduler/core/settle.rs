//! What becomes of a run whose worker is gone.

use super::{Exit, Seen};
use crate::job::Policy;
use crate::store::{Attempt, Claim, Ending, Outcome, Run};
use chrono::{DateTime, TimeDelta, Utc};

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The run has ended, or another attempt has it: nothing to do.
    Over,
    /// It waits for its next attempt.
    Requeue {
        /// How this one ended.
        ending: Ending,
        /// In words.
        error: String,
        /// Not before then.
        not_before: Option<DateTime<Utc>>,
    },
    /// No further attempt.
    End(Outcome),
}

/// Judges a run by its row, what its worker said last (`word`) and what was `seen` of its end.
pub fn settle(
    run: &Run,
    claim: Claim,
    policy: &Policy,
    word: Option<&Attempt>,
    seen: &Seen,
    now: DateTime<Utc>,
) -> Settlement {
    if run.claim() != Some(claim) {
        return Settlement::Over;
    }
    let (ending, error) = match (word, seen) {
        (Some(word), _) => (word.ending, word.error.clone().unwrap_or_default()),
        (None, Seen::Exited(exit)) => (Ending::Died, died(exit)),
        (None, Seen::Ended) => (Ending::Interrupted, "its worker was killed when the daemon stopped".to_owned()),
        (None, Seen::Nothing) => (
            Ending::Interrupted,
            "its worker is gone, and nobody saw it end (killed, or the host restarted)".to_owned(),
        ),
    };
    let (n, most, tries) = match ending {
        Ending::Transient | Ending::Died => (run.n_failures + 1, i64::from(policy.attempts) - 1, "attempt"),
        Ending::Stopped | Ending::Interrupted => {
            (run.n_interruptions + 1, i64::from(policy.interruptions), "interruption")
        }
    };
    if n > most {
        let error = if most == 0 { error } else { format!("{error} ({tries} {n}, and no further one is allowed)") };
        return Settlement::End(Outcome::Failed(error));
    }
    let not_before = match ending {
        Ending::Transient | Ending::Died => {
            TimeDelta::from_std(policy.pause(n as u32)).ok().and_then(|pause| now.checked_add_signed(pause))
        }
        Ending::Stopped | Ending::Interrupted => None,
    };
    Settlement::Requeue { ending, error, not_before }
}

fn died(exit: &Exit) -> String {
    match exit {
        Exit::Signal { out_of_memory: true, .. } => {
            "its worker was killed by the kernel because memory ran out".to_owned()
        }
        Exit::Signal { number, .. } => format!("its worker was killed by signal {number}"),
        Exit::Code(code) => format!("its worker ended with code {code} and without a word; its log may say why"),
        Exit::Unknown => "its worker ended without a word; its log may say why".to_owned(),
    }
}
