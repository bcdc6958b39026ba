//! Triggers: what starts a job. Pure: settings and a time go in, the next time comes out.

pub mod cron;
