//! Triggers: what starts a job. Pure: settings, what was seen and a time go in; due or not, and why, comes out.
//!
//! Whoever asks is the scheduler; this room never knows runs, databases or files.

pub mod after;
pub mod catch_up;
pub mod cron;
pub mod data_volume;
pub mod degradation;

pub use after::After;
pub use catch_up::CatchUp;
pub use cron::{Cron, Schedule};
pub use data_volume::DataVolume;
pub use degradation::Degradation;

use crate::document::Flaw;
use serde::{Deserialize, Serialize};

/// Writes down the triggers there are: the table `[trigger.NAME]` and its settings.
macro_rules! triggers {
    ($($(#[$doc:meta])* $name:ident: $Trigger:ty,)+) => {
        /// `[trigger.…]`: a job may have several.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Triggers {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$Trigger>,)+
        }

        impl Triggers {
            /// What is impossible about them; keys start at the trigger's name.
            pub fn check(&self) -> Vec<Flaw> {
                let mut flaws = Vec::new();
                $(if let Some(trigger) = &self.$name {
                    flaws.extend(trigger.check().into_iter().map(|flaw| flaw.within(stringify!($name))));
                })+
                flaws
            }

            /// One sentence for each that is set, as `retraind jobs` shows them.
            pub fn sentences(&self) -> Vec<String> {
                [$(self.$name.as_ref().map(ToString::to_string),)+].into_iter().flatten().collect()
            }
        }
    };
}

triggers! {
    /// By the clock.
    cron: Cron,
    /// When enough new rows have arrived.
    data_volume: DataVolume,
    /// When the version in service has become worse.
    degradation: Degradation,
    /// When another job has ended.
    after: After,
}

/// Why a trigger is not due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting(pub String);
