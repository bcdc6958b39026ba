//! A run as it happens: a bar a model on a terminal, plain lines elsewhere, on stderr.

use super::output::{Output, measure};
use crate::data::Target;
use crate::event::{Event, Listener};
use crate::train::Epoch;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Draws events.
pub(super) struct Progress {
    output: Output,
    bars: Option<MultiProgress>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reading: Option<ProgressBar>,
    models: BTreeMap<Target, ProgressBar>,
    rows_said: u64,
}

impl Progress {
    pub(super) fn new(output: Output) -> Arc<Self> {
        let bars = output.draws().then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Arc::new(Self { output, bars, state: Mutex::default() })
    }

    pub(super) fn listener(self: &Arc<Self>) -> Listener {
        let progress = Arc::clone(self);
        Arc::new(move |event| progress.show(event))
    }

    fn show(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { run_id, job } => self.say(&format!("run {run_id} of {job}")),
            Event::Reading { rows } => self.reading(&mut state, rows),
            Event::Prepared { rows, videos, train, validation } => {
                if let Some(bar) = state.reading.take() {
                    bar.finish_and_clear();
                }
                self.say(&format!(
                    "{rows} rows of {videos} video(s): {train} windows to train on, {validation} to judge on"
                ));
            }
            Event::Remark(text) => self.say(&format!("note: {text}")),
            Event::Epoch { target, row, of } => self.epoch(&mut state, target, &row, of),
            Event::Judged { target, version, verdict, promoted } => {
                // where it stopped: early stopping leaves epochs undone
                if let Some(bar) = state.models.get(&target) {
                    bar.abandon();
                }
                let service = if promoted { ", in service" } else { "" };
                self.say(&format!("{target}: {version} {verdict}{service}"));
            }
            Event::Alert { target, text } => {
                let of = target.map_or_else(String::new, |target| format!("{target}: "));
                self.aside(|| self.output.warn(&format!("{of}{text}")));
            }
        }
    }

    fn reading(&self, state: &mut State, rows: u64) {
        let Some(bars) = &self.bars else {
            // a line a million rows: enough to see that it goes on
            if rows >= state.rows_said + 1_000_000 {
                state.rows_said = rows;
                self.say(&format!("{rows} rows read"));
            }
            return;
        };
        let bar = state.reading.get_or_insert_with(|| {
            let bar = bars.add(ProgressBar::no_length());
            bar.set_style(style("{spinner} reading  {human_pos} rows, {per_sec}"));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        bar.set_position(rows);
    }

    fn epoch(&self, state: &mut State, target: Target, row: &Epoch, of: usize) {
        let Some(bars) = &self.bars else {
            let (loss, val_loss, seconds) = (measure(row.loss), measure(row.val_loss), row.seconds);
            self.say(&format!(
                "{target}: epoch {}/{of}  loss {loss}  val_loss {val_loss}  val_mae {}  {seconds:.2} s",
                row.epoch,
                measure(row.val_mae)
            ));
            return;
        };
        let above = state.models.range(..target).count();
        let bar = state.models.entry(target).or_insert_with(|| {
            let bar = bars.insert(above, ProgressBar::new(of as u64));
            bar.set_style(style("{prefix:9} {wide_bar} {pos:>3}/{len}  {msg}  {eta}"));
            bar.set_prefix(target.to_string());
            bar
        });
        bar.set_message(format!("loss {} val {}", measure(row.loss), measure(row.val_loss)));
        bar.set_position(row.epoch as u64);
    }

    /// A line that does not tear the bars.
    fn say(&self, text: &str) {
        self.aside(|| self.output.say(text));
    }

    fn aside(&self, print: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // the templates are ours and every one is drawn in the tests
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_right() {
        for template in
            ["{spinner} reading  {human_pos} rows, {per_sec}", "{prefix:9} {wide_bar} {pos:>3}/{len}  {msg}  {eta}"]
        {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
