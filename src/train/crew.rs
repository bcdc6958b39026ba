//! Threads that work through numbered tasks together, many thousand times a second.
//!
//! A step of training takes less than a millisecond, so helpers watch for the next one for a while before they sleep.
//! Whoever is free takes the next number: a helper that the system has put aside holds up at most the task in its hands.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};

/// Looks before a helper sleeps: some tens of microseconds of watching, then giving way to others.
const LOOKS: usize = 2_000;
const WATCHED: usize = 1_000;

/// The calling thread and its helpers.
pub(super) struct Crew<'env> {
    work: &'env (dyn Fn(usize, usize) + Sync),
    helpers: Vec<Thread>,
    shared: &'env Shared,
}

/// What the threads of a crew tell each other.
#[derive(Default)]
pub(super) struct Shared {
    /// Which call (upper half), how many tasks it has (16 bits), how many are taken (16 bits).
    ticket: AtomicU64,
    done: AtomicUsize,
    sleeping: AtomicUsize,
    /// Helpers that may take tasks: those with a lower number.
    active: AtomicUsize,
    panicked: AtomicBool,
    over: AtomicBool,
}

const MOST_TASKS: usize = 0xffff;

/// Calls `body` with a crew of `threads`, this one included; `work` is what a thread of the crew (0: this one) does with
/// a number.
pub(super) fn with<R>(
    threads: usize,
    shared: &Shared,
    work: &(dyn Fn(usize, usize) + Sync),
    body: impl FnOnce(&mut Crew<'_>) -> R,
) -> R {
    thread::scope(|scope| {
        let helpers =
            (1..threads).map(|number| scope.spawn(move || help(number - 1, shared, work)).thread().clone()).collect();
        let mut crew = Crew { work, helpers, shared };
        // also when `body` panics: the scope waits for the helpers
        let _end = End(&crew.helpers.clone(), shared);
        body(&mut crew)
    })
}

struct End<'a>(&'a [Thread], &'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.1.over.store(true, Ordering::SeqCst);
        self.0.iter().for_each(Thread::unpark);
    }
}

impl Crew<'_> {
    /// How many threads may work from now on, this one included.
    pub(super) fn set_threads(&mut self, threads: usize) {
        self.shared.active.store(threads - 1, Ordering::Relaxed);
    }

    /// Does tasks `0..n`, in any order, and returns when all are done.
    pub(super) fn run(&mut self, n: usize) {
        assert!(n <= MOST_TASKS, "{n} tasks at once");
        let shared = self.shared;
        shared.done.store(0, Ordering::Relaxed);
        let call = (shared.ticket.load(Ordering::Relaxed) >> 32) + 1;
        shared.ticket.store(call << 32 | (n as u64) << 16, Ordering::SeqCst);
        if n > 1 && shared.active.load(Ordering::Relaxed) > 0 && shared.sleeping.load(Ordering::SeqCst) > 0 {
            let active = shared.active.load(Ordering::Relaxed);
            self.helpers.iter().take(active.min(n - 1)).for_each(Thread::unpark);
        }
        while let Some(task) = shared.take() {
            (self.work)(0, task);
            shared.done.fetch_add(1, Ordering::Release);
        }
        let mut looks = 0usize;
        while shared.done.load(Ordering::Acquire) < n {
            looks += 1;
            if looks < WATCHED { std::hint::spin_loop() } else { thread::yield_now() }
        }
        assert!(!shared.panicked.load(Ordering::Relaxed), "a helper of the training panicked");
    }
}

impl Shared {
    /// The next task of the present call.
    fn take(&self) -> Option<usize> {
        let mut ticket = self.ticket.load(Ordering::Acquire);
        loop {
            let (n, taken) = ((ticket >> 16 & 0xffff) as usize, (ticket & 0xffff) as usize);
            if taken >= n {
                return None;
            }
            match self.ticket.compare_exchange_weak(ticket, ticket + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(taken),
                Err(now) => ticket = now,
            }
        }
    }

    fn has_task(&self) -> bool {
        let ticket = self.ticket.load(Ordering::SeqCst);
        (ticket & 0xffff) < (ticket >> 16 & 0xffff)
    }
}

fn help(number: usize, shared: &Shared, work: &(dyn Fn(usize, usize) + Sync)) {
    let mut looks = 0;
    while !shared.over.load(Ordering::Relaxed) {
        let active = number < shared.active.load(Ordering::Relaxed);
        if active && let Some(task) = shared.take() {
            if catch_unwind(AssertUnwindSafe(|| work(number + 1, task))).is_err() {
                shared.panicked.store(true, Ordering::Relaxed);
            }
            shared.done.fetch_add(1, Ordering::Release);
            looks = 0;
            continue;
        }
        looks += 1;
        if active && looks < WATCHED {
            std::hint::spin_loop();
        } else if active && looks < LOOKS {
            thread::yield_now();
        } else {
            shared.sleeping.fetch_add(1, Ordering::SeqCst);
            // once more after saying so: whoever made a task before has not seen it
            let wanted = active && shared.has_task() || shared.over.load(Ordering::SeqCst);
            if !wanted {
                thread::park();
            }
            shared.sleeping.fetch_sub(1, Ordering::SeqCst);
            looks = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once() {
        for threads in [1, 2, 5] {
            let counts: Vec<AtomicUsize> = (0..40).map(|_| AtomicUsize::new(0)).collect();
            let work = |thread: usize, task: usize| {
                assert!(thread < threads);
                counts[task].fetch_add(1, Ordering::Relaxed);
            };
            let shared = Shared::default();
            with(threads, &shared, &work, |crew| {
                for round in 0..3_000 {
                    crew.set_threads(1 + round % threads);
                    crew.run(round % 41);
                    if round % 1_000 == 0 {
                        // long enough for the helpers to sleep
                        thread::sleep(std::time::Duration::from_millis(20));
                    }
                }
            });
            let expected: Vec<usize> = (0..40).map(|k| (0..3_000).filter(|round| k < round % 41).count()).collect();
            assert_eq!(counts.iter().map(|c| c.load(Ordering::Relaxed)).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_panic_of_a_helper_is_seen() {
        let shared = Shared::default();
        let caller = thread::current().id();
        let work = |_: usize, _: usize| {
            while thread::current().id() == caller && !shared.panicked.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            assert_eq!(thread::current().id(), caller, "on purpose");
        };
        let ended = catch_unwind(AssertUnwindSafe(|| {
            with(2, &shared, &work, |crew| {
                crew.set_threads(2);
                crew.run(2);
            });
        }));
        assert!(ended.is_err());
    }
}
