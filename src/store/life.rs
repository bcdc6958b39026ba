//! A run's life: the states that there are, and the steps between them. One pure function; the compare-and-sets of this
//! room are its SQL, and `tests/store.rs` holds them against it.

use super::RunState;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Its state.
    pub state: RunState,
    /// Its newest attempt; 0 before the first.
    pub attempt: i64,
}

/// What may happen to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An attempt begins.
    Start,
    /// Another process takes over from attempt `.0`.
    NextAttempt(i64),
    /// Attempt `.0` is over and the run is not: it waits for the next one.
    Requeue(i64),
    /// Attempt `.0` ends the run, in the state `.1`.
    End(i64, RunState),
    /// Somebody does not want it any more, and nobody has begun it.
    CancelQueued,
    /// Attempt `.0` writes something down.
    Write(i64),
}

impl Life {
    /// A run that was asked for.
    pub const QUEUED: Self = Self { state: RunState::Queued, attempt: 0 };

    /// Where the run stands after `step`. None: the step is refused, and nothing changes.
    #[must_use]
    pub fn after(self, step: Step) -> Option<Self> {
        let at_work = |attempt| self.state == RunState::Running && attempt == self.attempt;
        let next = Self { state: RunState::Running, attempt: self.attempt + 1 };
        match step {
            Step::Start => (self.state == RunState::Queued).then_some(next),
            Step::NextAttempt(attempt) => at_work(attempt).then_some(next),
            Step::Requeue(attempt) => at_work(attempt).then_some(Self { state: RunState::Queued, ..self }),
            Step::End(attempt, state) => (at_work(attempt) && state.is_final()).then_some(Self { state, ..self }),
            Step::CancelQueued => {
                (self.state == RunState::Queued).then_some(Self { state: RunState::Cancelled, ..self })
            }
            Step::Write(attempt) => at_work(attempt).then_some(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let attempt = 0i64..5;
        let state = prop::sample::select(RunState::ALL);
        let step = prop_oneof![
            3 => Just(Step::Start),
            1 => attempt.clone().prop_map(Step::NextAttempt),
            2 => attempt.clone().prop_map(Step::Requeue),
            1 => (attempt.clone(), state).prop_map(|(attempt, state)| Step::End(attempt, state)),
            1 => Just(Step::CancelQueued),
            2 => attempt.prop_map(Step::Write),
        ];
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        #[test]
        fn final_is_final_and_a_given_up_attempt_does_nothing(steps in steps()) {
            let mut life = Life::QUEUED;
            let mut ended = 0;
            for step in steps {
                let Some(next) = life.after(step) else { continue };
                prop_assert!(!life.state.is_final(), "{step:?} after {life:?}");
                prop_assert!(next.attempt == life.attempt || next.attempt == life.attempt + 1);
                // whoever acts for an attempt acts for the newest one
                if let Step::NextAttempt(attempt) | Step::Requeue(attempt) | Step::End(attempt, _) | Step::Write(attempt) = step {
                    prop_assert_eq!(attempt, life.attempt);
                    prop_assert_eq!(life.state, RunState::Running);
                }
                // work is done by an attempt that no other one shares
                let begins = next.state == RunState::Running && !matches!(step, Step::Write(_));
                prop_assert_eq!(begins, next.attempt == life.attempt + 1);
                ended += usize::from(next.state.is_final());
                life = next;
            }
            prop_assert!(ended <= 1);
        }

        #[test]
        fn every_run_can_be_ended(steps in steps()) {
            let life = steps.into_iter().fold(Life::QUEUED, |life, step| life.after(step).unwrap_or(life));
            let ways = [Step::CancelQueued, Step::End(life.attempt, RunState::Cancelled)];
            prop_assert!(life.state.is_final() || ways.iter().any(|way| life.after(*way).is_some()), "{life:?}");
        }
    }
}
