//! How the processor cores given to a run are shared between its trainings.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads for all trainings that run side by side; each has an equal share, and those that go on get what an ended one
/// leaves. How many a training has changes nothing but its speed.
#[derive(Debug)]
pub struct Budget {
    threads: usize,
    running: AtomicUsize,
}

impl Budget {
    /// So many threads for all.
    pub fn new(threads: usize) -> Self {
        Self { threads: threads.max(1), running: AtomicUsize::new(0) }
    }

    /// All of them.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// What each of `trainings` side by side would have.
    pub fn share_of(&self, trainings: usize) -> usize {
        (self.threads / trainings.max(1)).max(1)
    }

    pub(super) fn enter(&self) -> Share<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        Share(self)
    }
}

/// One training's part, given back when dropped.
pub(super) struct Share<'a>(&'a Budget);

impl Share<'_> {
    /// Threads it may use now.
    pub(super) fn threads(&self) -> usize {
        self.0.share_of(self.0.running.load(Ordering::Relaxed))
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_trainings() {
        let budget = Budget::new(16);
        let first = budget.enter();
        assert_eq!(first.threads(), 16);
        let others = [budget.enter(), budget.enter()];
        assert_eq!(first.threads(), 5);
        drop(others);
        assert_eq!(first.threads(), 16);
        assert_eq!(Budget::new(2).share_of(3), 1);
    }
}
