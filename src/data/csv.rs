//! CSV files: one line a row, the columns named in the first.

mod lines;

use super::arrange::Arrivals;
use super::series::Series;
use super::{COUNT_COLUMNS, COUNT_MAX, Error, time};
use ::csv::{ByteRecord, Position, Reader, ReaderBuilder, WriterBuilder};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Lines between two reports of progress.
const PROGRESS_EVERY: u64 = 16_384;
/// Bad lines that are kept to be shown; a file of another kind has millions.
const BAD_LINES_KEPT: usize = 20;

/// What was read from the files, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsvReport {
    /// Lines read in all files, bad ones included, without the first.
    pub lines: u64,
    /// Lines left out because they can't be taken in.
    pub n_bad: u64,
    /// The first twenty of them.
    pub bad: Vec<BadLine>,
    /// Lines left out because the one that was kept has the same video, time and counts.
    pub duplicates: u64,
    /// Lines left out because the one that was kept has the same video and time and higher counts.
    pub conflicts: u64,
}

/// How far reading has come.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Bytes read of all files.
    pub bytes: u64,
    /// Bytes there are.
    pub of: u64,
    /// Lines read.
    pub lines: u64,
}

/// A line that can't be taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// As given.
    pub file: PathBuf,
    /// Where the line starts, counted from 1.
    pub line: u64,
    /// The column, by the name that the import knows.
    pub column: &'static str,
    /// What stands there, shortened.
    pub value: String,
    /// What would work there.
    pub wanted: &'static str,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, value, wanted } = self;
        write!(f, "{}:{line}: ", file.display())?;
        match value.as_str() {
            "" => write!(f, "column `{column}` is empty; {wanted}"),
            value => write!(f, "column `{column}` holds `{value}`; {wanted}"),
        }
    }
}

/// Reads files into series; growth rates are computed. Lines and files may come in any order.
///
/// `progress` is told how far it has come. With `skip_bad`, lines that can't be taken in are left out and reported.
///
/// Errors: the first bad line unless `skip_bad`, a first line that lacks a column, a file that can't be read.
pub fn read_csv(
    paths: &[PathBuf],
    skip_bad: bool,
    mut progress: impl FnMut(Reading),
) -> Result<(Series, CsvReport), Error> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let file = File::open(path).map_err(|source| unreadable(path, source))?;
        let bytes = file.metadata().map_err(|source| unreadable(path, source))?.len();
        files.push((path, file, bytes));
    }
    let total = files.iter().map(|(_, _, bytes)| bytes).sum();
    let (mut done, mut arrivals, mut report) = (0, Arrivals::new(), CsvReport::default());
    progress(Reading { bytes: 0, of: total, lines: 0 });
    for (path, file, bytes) in files {
        let told = |here, lines| progress(Reading { bytes: done + here, of: total, lines });
        read_file(path, file, skip_bad, &mut arrivals, &mut report, told)?;
        done += bytes;
        progress(Reading { bytes: done, of: total, lines: report.lines });
    }
    let (series, read) = arrivals.finish();
    report.duplicates = read.videos.iter().map(|video| video.duplicates).sum();
    report.conflicts = read.videos.iter().map(|video| video.conflicts).sum();
    Ok((series, report))
}

fn read_file(
    path: &Path,
    file: File,
    skip_bad: bool,
    arrivals: &mut Arrivals,
    report: &mut CsvReport,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), Error> {
    // A line with too few fields is a bad line here, not the end of reading.
    let mut reader = ReaderBuilder::new().flexible(true).buffer_capacity(1 << 18).from_reader(file);
    let columns = Columns::find(path, &mut reader)?;
    let take = |record: &ByteRecord| {
        report.lines += 1;
        if report.lines.is_multiple_of(PROGRESS_EVERY) {
            progress(record.position().map_or(0, Position::byte), report.lines);
        }
        // Also where bad lines are skipped: an open quote swallows all the lines up to the next one.
        if record.as_slice().contains(&b'\n') {
            return Err(Error::OpenQuote { file: path.to_owned(), line: lines::number(path, record.position()) });
        }
        let Err(bad) = columns.take(record, arrivals) else { return Ok(()) };
        if !skip_bad {
            return Err(Error::Line(bad.at(path, record.position())));
        }
        report.n_bad += 1;
        if report.bad.len() < BAD_LINES_KEPT {
            report.bad.push(bad.at(path, record.position()));
        }
        Ok(())
    };
    lines::each(path, reader, take)
}

/// Where the wanted columns are.
struct Columns {
    timestamp: usize,
    video_id: usize,
    counts: [usize; 3],
}

/// A field that can't be taken in.
struct BadField<'r> {
    column: &'static str,
    value: &'r [u8],
    wanted: &'static str,
}

impl Columns {
    fn find(path: &Path, reader: &mut Reader<File>) -> Result<Self, Error> {
        let header = reader.byte_headers().map_err(|source| unreadable(path, source.into()))?;
        if header.is_empty() {
            return Err(Error::NoHeader { file: path.to_owned() });
        }
        let names: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        let place = |column: &str| {
            // The platform's own API writes viewCount.
            let same = |name: &String| name.replace('_', "").eq_ignore_ascii_case(&column.replace('_', ""));
            let mut places = (0..names.len()).filter(|&place| same(&names[place]));
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                // Which of them holds the counts is not for us to guess.
                (Some(one), Some(other)) => Err(Error::HeaderTwice {
                    file: path.to_owned(),
                    column: column.to_owned(),
                    found: [names[one].clone(), names[other].clone()],
                }),
                (None, _) => {
                    Err(Error::HeaderMissing { file: path.to_owned(), column: column.to_owned(), found: names.clone() })
                }
            }
        };
        let [views, likes, comments] = COUNT_COLUMNS;
        Ok(Self {
            timestamp: place("timestamp")?,
            video_id: place("video_id")?,
            counts: [place(views)?, place(likes)?, place(comments)?],
        })
    }

    fn take<'r>(&self, record: &'r ByteRecord, arrivals: &mut Arrivals) -> Result<(), BadField<'r>> {
        let field = |column, place| {
            record.get(place).ok_or(BadField { column, value: b"", wanted: "the line has fewer fields than the first" })
        };
        let value = field("timestamp", self.timestamp)?;
        let wanted = "times look like 2023-12-04T13:05:31Z";
        let at = time::parse(value).ok_or(BadField { column: "timestamp", value, wanted })?;
        let value = field("video_id", self.video_id)?;
        let wanted = "ids are UTF-8 text of at least one character";
        let id = std::str::from_utf8(value).ok().filter(|id| !id.is_empty() && !id.contains('\0'));
        let id = id.ok_or(BadField { column: "video_id", value, wanted })?;
        let mut counts = [0.0; 3];
        for ((count, column), place) in counts.iter_mut().zip(COUNT_COLUMNS).zip(self.counts) {
            let value = field(column, place)?;
            let wanted = "counts are whole numbers from 0 to 9007199254740992";
            *count = parse_count(value).ok_or(BadField { column, value, wanted })?;
        }
        // Counts that were parsed are never refused.
        let _ = arrivals.push(id, at, counts, [f64::NAN; 3]);
        Ok(())
    }
}

impl BadField<'_> {
    fn at(self, file: &Path, position: Option<&Position>) -> BadLine {
        const SHOWN: usize = 40;
        let text = String::from_utf8_lossy(self.value);
        let mut value: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
        if text.chars().nth(SHOWN).is_some() {
            value.push('…');
        }
        let line = lines::number(file, position);
        BadLine { file: file.to_owned(), line, column: self.column, value, wanted: self.wanted }
    }
}

/// A whole number; `12.0` is one, since spreadsheets and data frames write counts that way.
fn parse_count(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    let digits = text.iter().try_fold(0u64, |number, digit| {
        (digit.is_ascii_digit() && number <= COUNT_MAX).then(|| number * 10 + u64::from(digit - b'0'))
    });
    if let Some(count) = digits {
        return (!text.is_empty() && count <= COUNT_MAX).then_some(count as f64);
    }
    let count: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    ((0.0..=COUNT_MAX as f64).contains(&count) && count.fract() == 0.0).then_some(count)
}

/// Writes the times and counts of series as a CSV file, over whatever is there.
pub fn write_csv(path: &Path, series: &Series) -> Result<(), Error> {
    let failed = |source: io::Error| Error::Io { doing: "write", path: path.to_owned(), source };
    let file = File::create(path).map_err(failed)?;
    let mut writer = WriterBuilder::new().from_writer(file);
    let header = ["timestamp", "video_id"].into_iter().chain(COUNT_COLUMNS);
    writer.write_record(header).map_err(|source| failed(source.into()))?;
    for video in &series.videos {
        for row in video.rows.clone() {
            let counts = series.counts_of(row).map(|count| count.to_string());
            let at = time::text(series.at[row]);
            let fields = [&at, &video.id].into_iter().chain(&counts);
            writer.write_record(fields).map_err(|source| failed(source.into()))?;
        }
    }
    writer.flush().map_err(failed)
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Io { doing: "read", path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const HEADER: &str = "timestamp,video_id,view_count,like_count,comment_count\n";

    fn read(texts: &[&[u8]], skip_bad: bool) -> Result<(Series, CsvReport), Error> {
        let directory = tempfile::tempdir().expect("a directory");
        let paths: Vec<PathBuf> = (0..texts.len()).map(|k| directory.path().join(format!("{k}.csv"))).collect();
        for (path, text) in paths.iter().zip(texts) {
            fs::write(path, text).expect("a file");
        }
        read_csv(&paths, skip_bad, |_| {})
    }

    /// Checks the counts of all rows, in order.
    fn check(text: &str, expected: &[[f64; 3]]) {
        let (series, report) = read(&[text.as_bytes()], false).unwrap_or_else(|error| panic!("{text}: {error}"));
        let found: Vec<_> = (0..series.len()).map(|row| series.counts_of(row)).collect();
        assert_eq!(found, expected, "{text}");
        assert_eq!(report.n_bad, 0);
    }

    #[test]
    fn columns_in_any_order_and_spelling() {
        let row = "2024-01-01T00:00:00Z";
        check(HEADER, &[]);
        check(&format!("{HEADER}{row},v,1,2,3\n"), &[[1.0, 2.0, 3.0]]);
        check(&format!("{HEADER}{row},v,1,2,3"), &[[1.0, 2.0, 3.0]]);
        check(&format!("\u{feff}{HEADER}{row},v,1,2,3\n"), &[[1.0, 2.0, 3.0]]);
        check(&format!("{HEADER}{row},v,1,2,3\n").replace('\n', "\r\n"), &[[1.0, 2.0, 3.0]]);
        check(&format!("{HEADER}\n\n\"{row}\",\"v\",\"1\",2,3\n\n"), &[[1.0, 2.0, 3.0]]);
        check(&format!("{HEADER}{row},v, 1 ,2.0,3e0\n"), &[[1.0, 2.0, 3.0]]);
        check(
            &format!("commentCount,likeCount,videoId,note,viewCount,timestamp\n3,2,v,x,1,{row}\n"),
            &[[1.0, 2.0, 3.0]],
        );
        check(&format!("{HEADER}{row},v,1,2,3,more\n"), &[[1.0, 2.0, 3.0]]);
        check(
            &format!("{HEADER}{row},v,10000000000,2147483648,9007199254740992\n"),
            &[[1e10, 2_147_483_648.0, 9_007_199_254_740_992.0]],
        );
    }

    fn check_bad(line: &str, expected: &str) {
        let text = format!("{HEADER}2024-01-01T00:00:00Z,v,1,2,3\n{line}\n2024-01-01T00:00:02Z,v,1,2,3\n");
        let error = read(&[text.as_bytes()], false).expect_err(line).to_string();
        let message = error.split_once("0.csv:").expect("names the file").1;
        assert_eq!(message, format!("3: {expected}; correct the line, or leave such lines out with --skip-bad"));
        let (series, report) = read(&[text.as_bytes()], true).expect("skips");
        assert_eq!((series.len(), report.lines, report.n_bad), (2, 3, 1));
    }

    #[test]
    fn bad_lines_are_named() {
        let counts = "counts are whole numbers from 0 to 9007199254740992";
        let time = "2024-01-01T00:00:01Z";
        check_bad(&format!("{time},v,1,,3"), &format!("column `like_count` is empty; {counts}"));
        for bad in ["-1", "12.5", "1e300", "9007199254740993", "many", "NaN", "inf", "1 000", "99999999999999999999999"]
        {
            let expected = format!("column `view_count` holds `{bad}`; {counts}");
            check_bad(&format!("{time},v,{bad},2,3"), &expected);
        }
        check_bad("soon,v,1,2,3", "column `timestamp` holds `soon`; times look like 2023-12-04T13:05:31Z");
        check_bad(
            &format!("{time},,1,2,3"),
            "column `video_id` is empty; ids are UTF-8 text of at least one character",
        );
        check_bad(
            &format!("{time},v,1,2"),
            "column `comment_count` is empty; the line has fewer fields than the first",
        );
        let long = "x".repeat(50);
        check_bad(
            &format!("{long},v,1,2,3"),
            &format!("column `timestamp` holds `{}…`; times look like 2023-12-04T13:05:31Z", "x".repeat(40)),
        );
    }

    #[test]
    fn lines_are_counted_whatever_ends_them() {
        let good = "2024-01-01T00:00:00Z,v,1,2,3\n";
        for (text, line) in [
            (format!("{HEADER}bad,v,1,2,3"), 2),
            (format!("{HEADER}\n\n{good}\nbad,v,1,2,3\n{good}"), 6),
            (format!("{HEADER}{}bad,v,1,2,3\n", good.repeat(1_500)), 1_502),
            (format!("\n{HEADER}{good}\"2024,v\n{good}"), 4),
        ] {
            for text in [text.replace('\n', "\r\n"), text] {
                let error = read(&[text.as_bytes()], false).expect_err("a bad line").to_string();
                assert!(error.contains(&format!("0.csv:{line}")), "{error}: {line}");
            }
        }
    }

    #[test]
    fn bad_headers_are_named() {
        let check = |text: &str, expected: &str| {
            let error = read(&[text.as_bytes()], true).expect_err(text).to_string();
            assert!(error.ends_with(expected), "{error}");
        };
        check(
            "",
            "0.csv: it is empty; its first line must name the columns: timestamp,video_id,view_count,like_count,comment_count",
        );
        check(
            "time,video_id,views\n",
            "0.csv:1: the first line names no column `timestamp` (there: time, video_id, views)",
        );
        check(
            "timestamp;video_id\n",
            "0.csv:1: the first line names no column `timestamp` (there: timestamp;video_id)",
        );
        check("timestamp,views\n", "0.csv:1: the first line names no column `video_id` (there: timestamp, views)");
        check(
            "timestamp,video_id,view_count,like_count,comment_count,viewCount\n",
            "0.csv:1: the first line names two columns for `view_count` (view_count, viewCount); leave one of them out",
        );
        let missing = read_csv(&["no/such.csv".into()], true, |_| {}).expect_err("no file");
        assert_eq!(missing.to_string(), "read no/such.csv");
        assert!(matches!(missing, Error::Io { .. }));
    }

    #[test]
    fn bytes_that_are_no_text() {
        let mut text = HEADER.as_bytes().to_vec();
        text.extend(b"2024-01-01T00:00:00Z,\xff\xfe,1,2,3\n2024-01-01T00:00:00Z,v,1,2,3\n");
        assert!(read(&[&text], false).is_err());
        let (series, report) = read(&[&text], true).expect("skips");
        assert_eq!((series.len(), report.n_bad), (1, 1));
    }

    #[test]
    fn repeated_rows_are_counted() {
        let text = format!("{HEADER}2024-01-01T00:00:00Z,v,1,2,3\n2024-01-01T00:00:00Z,v,1,2,3\n");
        let other = format!("{HEADER}2024-01-01T01:00:00+01:00,v,0,9,9\n");
        let (series, report) = read(&[text.as_bytes(), other.as_bytes()], false).expect("fine");
        assert_eq!((series.counts_of(0), report.duplicates, report.conflicts), ([1.0, 2.0, 3.0], 1, 1));
    }

    #[test]
    fn progress_ends_at_the_total() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.csv");
        write_csv(&path, &super::super::sample(1)).expect("written");
        let mut seen = Vec::new();
        let (series, _) =
            read_csv(&[path.clone(), path.clone()], false, |reading| seen.push((reading.bytes, reading.of)))
                .expect("fine");
        assert!(seen.is_sorted());
        let total = 2 * fs::metadata(&path).expect("a file").len();
        assert_eq!(seen.last(), Some(&(total, total)));
        assert_eq!(series, super::super::sample(1), "a file gives back what was written");
    }

    proptest! {
        #[test]
        fn never_panics(text in prop::collection::vec(prop::sample::select(b"0123456789,\"\n\rvT:-Z. \xff".to_vec()), 0..200)) {
            let mut file = HEADER.as_bytes().to_vec();
            file.extend(text);
            let _ = read(&[&file], true);
            let _ = read(&[&file], false);
        }
    }
}
