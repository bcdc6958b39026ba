//! What a read left out or filled in.

use serde::Serialize;

/// What one read found, and what it did about rows that are not as they should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReadReport {
    /// Rows that the table gave, those left out included.
    pub rows_read: u64,
    /// Rows left out because they name no video.
    pub without_id: u64,
    /// Videos with anything remarkable, sorted by id.
    pub videos: Vec<VideoReport>,
}

/// What was remarkable about one video's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VideoReport {
    /// The video's id.
    pub id: String,
    /// Rows left out because a count was NULL or not a number.
    pub null_counts: u64,
    /// Rows left out because the one that was kept has the same time and the same counts.
    pub duplicates: u64,
    /// Rows left out because the one that was kept has the same time and higher counts.
    pub conflicts: u64,
    /// Growth rates that were NULL or not finite, computed from the counts instead. A row has three.
    pub growth_computed: u64,
}

impl ReadReport {
    /// Rows left out because a count was NULL or not a number.
    pub fn null_counts_left_out(&self) -> u64 {
        self.videos.iter().map(|video| video.null_counts).sum()
    }

    /// Rows left out because another one of the video has the same time.
    pub fn duplicate_rows_left_out(&self) -> u64 {
        self.videos.iter().map(|video| video.duplicates + video.conflicts).sum()
    }

    /// Growth rates that were computed because the table had none.
    pub fn growth_rates_computed(&self) -> u64 {
        self.videos.iter().map(|video| video.growth_computed).sum()
    }

    /// What a person should know, one sentence for each video and matter. Rows that merely repeat another are only
    /// counted: nothing is lost with them.
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        match self.without_id {
            0 => {}
            1 => sentences.push("1 row without a video id was left out".to_owned()),
            n => sentences.push(format!("{n} rows without a video id were left out")),
        }
        for video in &self.videos {
            let mut say = |n: u64, one: &str, many: &str| {
                if n > 0 {
                    let what = if n == 1 { one } else { many };
                    sentences.push(format!("video {}: {n} {what}", video.id));
                }
            };
            say(
                video.null_counts,
                "row has an empty count and was left out",
                "rows have an empty count and were left out",
            );
            say(
                video.conflicts,
                "row gives other counts for a time that is recorded already; the highest were kept",
                "rows give other counts for times that are recorded already; the highest were kept",
            );
            say(
                video.growth_computed,
                "growth rate was missing and was computed from the counts",
                "growth rates were missing and were computed from the counts",
            );
        }
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_name_the_video() {
        let video = VideoReport { id: "v".to_owned(), null_counts: 1, duplicates: 5, conflicts: 2, growth_computed: 3 };
        let report = ReadReport { rows_read: 20, without_id: 4, videos: vec![video] };
        assert_eq!(
            report.sentences(),
            [
                "4 rows without a video id were left out",
                "video v: 1 row has an empty count and was left out",
                "video v: 2 rows give other counts for times that are recorded already; the highest were kept",
                "video v: 3 growth rates were missing and were computed from the counts",
            ]
        );
        assert_eq!((report.null_counts_left_out(), report.duplicate_rows_left_out()), (1, 7));
        assert_eq!(ReadReport::default().sentences(), Vec::<String>::new());
    }
}
