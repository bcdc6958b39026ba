//! Recorded series: where they are kept, how they come in, what one read of them looks like.
//!
//! In: a table in SQLite or PostgreSQL, CSV files, or a seed for the sample. Out: [`Series`], rows sorted and free of
//! gaps in their columns, with a [`ReadReport`] of what was left out or filled in on the way, and a [`DataVersion`].
//! Never knows what the counts are used for: windows, scaling, splits and models are other rooms' business.

mod arrange;
mod csv;
mod error;
mod merge;
mod report;
mod sample;
mod series;
mod source;
mod target;
mod time;

pub use csv::{BadLine, CsvReport, Reading, read_csv, write_csv};
pub use error::Error;
pub use report::{ReadReport, VideoReport};
pub use sample::{SAMPLE_ROWS, sample};
pub use series::{DataVersion, Series, Video, growth_rate};
pub use source::{Description, Imported, MissingIndex, Source, redacted};
pub use target::Target;

/// The counts' column names, in the order of [`Target::ALL`].
const COUNT_COLUMNS: [&str; 3] = ["view_count", "like_count", "comment_count"];
/// Largest count that a 64-bit float still tells from its neighbours, and so the largest that is taken in.
const COUNT_MAX: u64 = 1 << 53;
