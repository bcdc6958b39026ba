//! What there is to tell, by name, and how urgent it is.

use crate::job::Alerts;
use crate::store::words;

words! {
    /// What deserves a person's attention; the names are those of `[alerts]`.
    Rule {
        /// The training of a model goes on for too long.
        TrainingLongerThan = "training_longer_than",
        /// A run goes on for too long.
        RunLongerThan = "run_longer_than",
        /// The validation loss does not get better.
        NoImprovement = "no_improvement_epochs",
        /// A training stopped early and forecasts no better than a naive forecast.
        NoBetterThanNaive = "no_better_than_naive",
        /// The validation loss runs away from the training loss.
        ValidationToTrainingLoss = "validation_to_training_loss",
        /// Memory is nearly used up.
        MemoryAbovePercent = "memory_above_percent",
        /// A run failed, and will not be tried again.
        RunFailed = "run_failed",
        /// The gate refused a version.
        GateFailed = "gate_failed",
        /// A version came into service.
        Promotion = "promotion",
        /// The version in service has become worse.
        Degradation = "degradation",
        /// The version in service sees growth of another kind than it was trained on.
        InputDrift = "input_drift_above",
        /// Nothing has been recorded for too long.
        NoNewData = "no_new_data_for",
        /// The recorded counts cannot be read.
        SourceDown = "source_down",
        /// A job file has problems.
        JobFileBroken = "job_file_broken",
        /// A job was not started when it should have been.
        MissedFire = "missed_fire",
        /// A job is paused: its triggers start no runs.
        Paused = "paused",
        /// The kernel killed a worker for memory.
        OutOfMemory = "out_of_memory",
        /// Somebody tries whether alerts arrive.
        Test = "test",
    }
}

words! {
    /// How urgent it is.
    Severity {
        /// Good to know.
        Info = "info",
        /// Worth a look.
        Warning = "warning",
        /// Something is not being done.
        Critical = "critical",
    }
}

impl Rule {
    /// How urgent it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::Promotion | Self::Test => Severity::Info,
            Self::RunFailed
            | Self::OutOfMemory
            | Self::MemoryAbovePercent
            | Self::SourceDown
            | Self::Paused
            | Self::JobFileBroken => Severity::Critical,
            _ => Severity::Warning,
        }
    }

    /// Whether a job asks for it.
    pub fn is_on(self, limits: &Alerts) -> bool {
        match self {
            Self::TrainingLongerThan => limits.training_longer_than.is_some(),
            Self::RunLongerThan => limits.run_longer_than.is_some(),
            Self::NoImprovement => limits.no_improvement_epochs.is_some(),
            Self::NoBetterThanNaive => limits.no_better_than_naive,
            Self::ValidationToTrainingLoss => limits.validation_to_training_loss.is_some(),
            Self::MemoryAbovePercent => limits.memory_above_percent.is_some(),
            Self::RunFailed => limits.run_failed,
            Self::GateFailed => limits.gate_failed,
            Self::Promotion => limits.promotion,
            Self::Degradation => limits.degradation,
            Self::InputDrift => limits.input_drift_above.is_some(),
            Self::NoNewData => limits.no_new_data_for.is_some(),
            Self::MissedFire => limits.missed_fire,
            Self::OutOfMemory => limits.out_of_memory,
            Self::SourceDown | Self::JobFileBroken | Self::Paused | Self::Test => true,
        }
    }

    /// Happens and is over, so that there is no recovery to tell.
    pub fn is_event(self) -> bool {
        matches!(self, Self::Promotion | Self::MissedFire | Self::OutOfMemory | Self::Test | Self::NoBetterThanNaive)
    }

    /// Whether it is said of a version in service, and over when that is replaced.
    pub fn is_of_a_champion(self) -> bool {
        matches!(self, Self::Degradation | Self::InputDrift)
    }

    /// Whether it can hold only while its run goes on.
    pub fn ends_with_its_run(self) -> bool {
        matches!(
            self,
            Self::TrainingLongerThan
                | Self::RunLongerThan
                | Self::NoImprovement
                | Self::ValidationToTrainingLoss
                | Self::MemoryAbovePercent
        )
    }
}
