//! Channels: messages go in, and somebody has them or does not. A channel is one file and one line in [`CHANNELS`].

mod command;
pub(super) mod email;
mod webhook;

use super::Condition;
use super::message::Message;
use crate::settings::Settings;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Every way to tell people.
pub(super) const CHANNELS: [&Channel; 3] = [&email::CHANNEL, &webhook::CHANNEL, &command::CHANNEL];

/// A way to tell people.
pub(super) struct Channel {
    /// As it stands in the outbox.
    pub(super) name: &'static str,
    /// Who gets a condition this way; nobody where the channel is not set up.
    pub(super) addresses: fn(&Settings, &Condition) -> Vec<String>,
    /// The longest time that one message may take.
    pub(super) limit: fn(&Settings) -> Duration,
    /// Brings a message to one address.
    pub(super) deliver:
        for<'a> fn(&'a Settings, &'a Message, &'a str) -> BoxFuture<'a, std::result::Result<(), Undelivered>>,
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Undelivered {
    /// It may work later.
    Later(String),
    /// Whoever is there does not want it, and will not want it later.
    Refused(String),
}
