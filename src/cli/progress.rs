//! A run as it happens: a bar a model on a terminal, plain lines elsewhere, on stderr.

use super::output::Output;
use crate::data::Target;
use crate::evaluate::figure;
use crate::event::{Event, Listener};
use crate::train::Epoch;
use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Draws events.
pub(super) struct Progress {
    output: Output,
    bars: Option<MultiProgress>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reading: Option<ProgressBar>,
    models: BTreeMap<Target, Model>,
    rows_said: u64,
}

impl State {
    fn done_reading(&mut self) {
        if let Some(bar) = self.reading.take() {
            bar.finish_and_clear();
        }
    }
}

/// One model's bar, and what stands beside it.
struct Model {
    bar: ProgressBar,
    val_loss: Option<f64>,
    /// Windows a second.
    rate: Option<f64>,
    windows_before: Option<(Instant, usize)>,
}

impl Model {
    fn new(bars: &MultiProgress, target: Target) -> Self {
        // in the order of the targets, whichever speaks first
        let bar = bars.insert(target.index(), ProgressBar::new(1));
        bar.set_style(style(TRAINING));
        bar.set_prefix(target.to_string());
        Self { bar, val_loss: None, rate: None, windows_before: None }
    }

    /// Moves the bar to so many epochs of `of`.
    fn show(&self, epochs: f64, of: usize, loss: f64) {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        self.bar.set_message(format!(
            "{:.0}/{of} loss {} val_loss {} {} windows/s",
            epochs.floor(),
            figure(loss),
            or_dash(self.val_loss.map(figure)),
            or_dash(self.rate.map(|rate| format!("{rate:.0}")))
        ));
        // in thousandths of an epoch, so that the time left is known within the first
        self.bar.set_length(1000 * of as u64);
        self.bar.set_position((1000.0 * epochs) as u64);
    }
}

const READING: &str = "{spinner} reading  {human_pos} rows, {rate} rows/s";
// a message that does not fit is cut, not wrapped
const TRAINING: &str = "{prefix:9}{bar:12} {wide_msg} {eta} left";

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
                state.done_reading();
                self.say(&format!(
                    "{rows} rows of {videos} video(s): {train} windows to train on, {validation} to judge on"
                ));
            }
            Event::Remark(text) => self.say(&format!("note: {text}")),
            Event::Windows { target, epoch, epochs, done, of, loss } => {
                self.windows(&mut state, target, (epoch, epochs), (done, of), loss);
            }
            Event::Epoch { target, row, of } => self.epoch(&mut state, target, &row, of),
            Event::Judged { target, version, verdict, promoted } => {
                // where it stopped: early stopping leaves epochs undone
                if let Some(model) = state.models.get(&target) {
                    model.bar.abandon();
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
            bar.set_style(style(READING));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        bar.set_position(rows);
    }

    fn epoch(&self, state: &mut State, target: Target, row: &Epoch, of: usize) {
        let Some(bars) = &self.bars else {
            let (loss, val_loss, seconds) = (figure(row.loss), figure(row.val_loss), row.seconds);
            self.say(&format!(
                "{target}: epoch {}/{of}  loss {loss}  val_loss {val_loss}  val_mae {}  {seconds:.2} s",
                row.epoch,
                figure(row.val_mae)
            ));
            return;
        };
        let model = state.models.entry(target).or_insert_with(|| Model::new(bars, target));
        model.val_loss = Some(row.val_loss);
        model.windows_before = None;
        model.show(row.epoch as f64, of, row.loss);
    }

    /// Within an epoch, on a terminal only.
    fn windows(
        &self,
        state: &mut State,
        target: Target,
        (epoch, epochs): (usize, usize),
        (done, of): (usize, usize),
        loss: f64,
    ) {
        let Some(bars) = &self.bars else { return };
        let model = state.models.entry(target).or_insert_with(|| Model::new(bars, target));
        let now = Instant::now();
        if let Some((then, before)) = model.windows_before.replace((now, done)).filter(|(_, before)| *before < done) {
            model.rate = Some((done - before) as f64 / (now - then).as_secs_f64());
        }
        model.show((epoch - 1) as f64 + done as f64 / of as f64, epochs, loss);
    }

    /// Takes the bar of a read away.
    pub(super) fn done_reading(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).done_reading();
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

/// The style of a template; `{rate}` in it is whole numbers a second.
pub(super) fn style(template: &str) -> ProgressStyle {
    // the templates are ours and every one is drawn in the tests
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        // a bar that cannot be drawn is no reason to stop
        let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
    };
    style.with_key("rate", rate).progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_right() {
        for template in [READING, TRAINING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
