//! Executors: they run one attempt of a run somewhere and say when it is over. One file each, chosen by `[run] executor`.
//!
//! In: a claim on a run. Out: a process with a group of its own that works on it, and word of its end. This room never knows
//! what a run does, nor what becomes of it.

pub mod local;
