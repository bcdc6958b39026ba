//! What the recipe looks at, as plain numbers: features of a training batch and the exported graph are both made from
//! it, so the two cannot look at different things.

use super::Options;

/// Changes whenever the meaning of a feature does.
pub(crate) const FEATURE_VERSION: &str = "increment-2";
/// Days before a point at which the same hours are looked at.
pub const DAYS: usize = 3;
/// Candidate growths that are mixed: the same hours of the last three days; the pace of the last three hours, day, hour;
/// none; yesterday's and how the last half day differs from its.
pub const CANDIDATES: usize = DAYS + 5;
/// Features of a step of the sequence.
pub const SEQUENCE_WIDTH: usize = 3;
/// How the mixture begins: near the same hours of yesterday.
pub const PRIOR: [f32; CANDIDATES] = [1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
/// How far the network may stretch the mixture: by a factor of exp(± this).
pub const STRETCH: f32 = 0.3;
/// A size beyond this says nothing more: it matters through the noise of whole counts alone, and a series larger than all
/// that trained is to look like the large ones among them. Unit: counts.
pub const LARGE: f64 = 100.0;

/// A week. Unit: seconds.
pub const WEEK: i64 = 7 * 86_400;
/// What had passed of its week when 1970 began, on a Thursday. Unit: seconds.
pub const SINCE_MONDAY: i64 = 3 * 86_400;
/// Where in a week the weekend begins, UTC. Unit: seconds.
pub const SATURDAY: i64 = 5 * 86_400;

/// Where to look and what to forecast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Seconds between two grid points.
    pub step: i64,
    /// Grid points a day.
    pub day: usize,
    /// Steps that the LSTM reads.
    pub sequence: usize,
    /// Steps forecast.
    pub horizon: usize,
    /// Points a window needs: the last one and three days before it.
    pub history: usize,
    /// Stretches that features speak of: half an hour to half a day on a grid of 30 minutes. Unit: steps.
    pub anchors: [usize; 4],
    /// Stretches over which the latest growth is looked at. Unit: steps.
    pub lately: [usize; 5],
    /// Whether the day of the week and the weekend are features.
    pub day_of_week: bool,
    /// Steps of an hour.
    pub hour: usize,
    /// Every stretch for which growth ahead is computed, ascending; none is longer than a day. Unit: steps.
    pub spans: Vec<usize>,
}

impl Plan {
    /// The plan on a grid of `step` seconds.
    pub fn new(step: i64, options: &Options) -> Self {
        let day = (86_400 / step) as usize;
        let hour = day / 24;
        let anchors = [1, 2 * hour, 6 * hour, 12 * hour];
        let mut spans: Vec<usize> = (1..=options.horizon.min(day)).chain(anchors).collect();
        if options.horizon > day {
            spans.push(day);
        }
        spans.sort_unstable();
        spans.dedup();
        Self {
            step,
            day,
            // a day before each of its steps is looked at, too
            sequence: options.sequence.clamp(1, 2 * day),
            horizon: options.horizon,
            history: DAYS * day + 1,
            anchors,
            lately: [1, hour, 2 * hour, 4 * hour, 12 * hour],
            day_of_week: options.day_of_week,
            hour,
            spans,
        }
    }

    /// Place of a stretch in [`Plan::spans`].
    pub fn span(&self, steps: usize) -> usize {
        self.spans.binary_search(&steps).expect("a span of the plan")
    }

    /// A horizon as whole days and a rest of at most one: growth over it is the sum of both.
    pub fn days_and_rest(&self, horizon: usize) -> (usize, usize) {
        let days = (horizon - 1) / self.day;
        (days, horizon - days * self.day)
    }

    /// Points a window must have at least; before them, its first value is repeated.
    pub fn least_history(&self) -> usize {
        self.day + 1
    }

    /// Names of the features: first those of a window, then those of a step.
    pub fn features(&self) -> Vec<String> {
        let span = |steps: usize| span(steps as i64 * self.step);
        let mut names: Vec<String> =
            ["pace", "pace_to_day_before", "pace_day_before_to_two", "age"].map(str::to_owned).to_vec();
        for m in self.lately {
            names.extend([format!("growth_{}", span(m)), format!("growth_{}_to_yesterday", span(m))]);
        }
        names.extend(self.anchors.map(|h| format!("time_ahead_{}", span(h))));
        names.extend(["regularity", "share_unchanged", "steps_since_change"].map(str::to_owned));
        for h in self.anchors {
            names.extend([format!("spread_of_days_{}", span(h)), format!("same_hours_{}", span(h))]);
        }
        names.extend(["hour_sin", "hour_cos", "minute_sin", "minute_cos"].map(str::to_owned));
        if self.day_of_week {
            names.extend(["week_sin", "week_cos", "weekend"].map(str::to_owned));
        }
        names.extend(self.anchors.map(|h| format!("size_{}", span(h))));
        names.extend(["step_growth", "step_growth_yesterday", "step_age"].map(str::to_owned));
        names
    }

    /// Features of a window, without those of its steps.
    pub fn n_statics(&self) -> usize {
        self.features().len() - SEQUENCE_WIDTH
    }
}

fn span(seconds: i64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds % 3600 / 60);
    match (hours, minutes) {
        (0, minutes) => format!("{minutes}m"),
        (hours, 0) => format!("{hours}h"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_follow_the_grid() {
        let plan = |step, horizon| Plan::new(step, &Options { horizon, ..Options::default() });
        let half_hour = plan(1800, 1);
        assert_eq!((half_hour.day, half_hour.history, half_hour.sequence), (48, 145, 48));
        assert_eq!((half_hour.anchors, half_hour.lately), ([1, 4, 12, 24], [1, 2, 4, 8, 24]));
        assert_eq!(half_hour.spans, [1, 4, 12, 24]);
        assert_eq!(half_hour.n_statics(), 37);
        let week = Plan::new(1800, &Options { day_of_week: true, ..Options::default() });
        assert_eq!(week.n_statics(), 40);
        assert!(half_hour.features().contains(&"growth_12h_to_yesterday".to_owned()), "{:?}", half_hour.features());
        assert_eq!(plan(1800, 24).spans.len(), 24);
        let far = plan(3600, 60);
        assert_eq!(far.spans, (1..=24).collect::<Vec<_>>());
        assert_eq!((far.days_and_rest(60), far.days_and_rest(24), far.days_and_rest(25)), ((2, 12), (0, 24), (1, 1)));
        assert_eq!(plan(60, 60).spans.len(), 60 + 3);
    }
}
