//! The kinds there are: one line each.

use super::{Alerts, Evaluate, Exec, Policy, Predict, Retrain};
use crate::document::Flaw;
use crate::gate::Rules;
use crate::trigger::Triggers;
use serde::Deserialize;
use serde::ser::SerializeMap;

/// Writes down the kinds there are: the name of the table, its settings.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $Kind:ident,)+) => {
        /// What a job does.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Kind {
            $($(#[$doc])* $Kind($Kind),)+
        }

        impl Kind {
            /// The names of their tables.
            pub const NAMES: [&str; [$(stringify!($name)),+].len()] = [$(stringify!($name)),+];

            /// The name of its table in the job file.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$Kind(_) => stringify!($name),)+
                }
            }

            /// What is impossible about its settings.
            pub(super) fn check(&self) -> Vec<Flaw> {
                match self {
                    $(Self::$Kind(settings) => settings.check(),)+
                }
            }

            pub(super) fn serialize_into<M: SerializeMap>(&self, file: &mut M) -> Result<(), M::Error> {
                match self {
                    $(Self::$Kind(settings) => file.serialize_entry(stringify!($name), settings),)+
                }
            }
        }

        /// A job file as written.
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct Spec {
            #[serde(default)]
            pub(super) description: String,
            $($name: Option<$Kind>,)+
            #[serde(default)]
            pub(super) trigger: Triggers,
            #[serde(default)]
            pub(super) run: Policy,
            pub(super) gate: Option<Rules>,
            #[serde(default)]
            pub(super) alerts: Alerts,
        }

        impl Spec {
            /// The kinds that are written down; one is right.
            pub(super) fn kinds(&mut self) -> Vec<Kind> {
                [$(self.$name.take().map(Kind::$Kind)),+].into_iter().flatten().collect()
            }
        }
    };
}

kinds! {
    /// Train, judge, register, promote.
    retrain: Retrain,
    /// Score the versions in service on the newest rows.
    evaluate: Evaluate,
    /// Forecast with the versions in service and record the forecasts.
    predict: Predict,
    /// Run a program.
    exec: Exec,
}

impl Kind {
    /// Whether its runs train versions, which a gate judges.
    pub fn makes_versions(&self) -> bool {
        matches!(self, Self::Retrain(_))
    }
}
