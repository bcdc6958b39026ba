//! The lines of a file: split by a thread of its own while another takes them in, and their numbers for people.

use super::unreadable;
use crate::data::Error;
use ::csv::{ByteRecord, Position, Reader};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

/// Lines that change threads at once, and how often that is ahead of the thread that takes them.
const BATCH: usize = 512;
const BATCHES: usize = 2;

/// Calls `take` with every line, in their order, until it fails.
pub(super) fn each(
    path: &Path,
    reader: Reader<File>,
    mut take: impl FnMut(&ByteRecord) -> Result<(), Error>,
) -> Result<(), Error> {
    thread::scope(|scope| {
        let (send, lines) = mpsc::sync_channel(BATCHES);
        let (give_back, used) = mpsc::channel();
        scope.spawn(move || split(reader, &used, &send));
        for batch in lines {
            let Lines { records, n } = batch.map_err(|source| unreadable(path, source.into()))?;
            records[..n].iter().try_for_each(&mut take)?;
            // without effect when the last line is split: nobody needs room any more
            let _ = give_back.send(records);
        }
        Ok(())
    })
}

/// Some lines of a file: the first `n` records, the others are room.
struct Lines {
    records: Vec<ByteRecord>,
    n: usize,
}

/// Splits a file into lines and fields for the other thread, until all is read or the other has had enough.
fn split(mut reader: Reader<File>, used: &Receiver<Vec<ByteRecord>>, send: &SyncSender<::csv::Result<Lines>>) {
    loop {
        let mut records = used.try_recv().unwrap_or_else(|_| vec![ByteRecord::new(); BATCH]);
        let (mut n, mut more) = (0, Ok(true));
        while n < BATCH {
            more = reader.read_byte_record(&mut records[n]);
            if !matches!(more, Ok(true)) {
                break;
            }
            n += 1;
        }
        if n > 0 && send.send(Ok(Lines { records, n })).is_err() {
            return;
        }
        match more {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                // when nobody listens any more, another error was there before
                let _ = send.send(Err(error));
                return;
            }
        }
    }
}

/// The line that the text after a record's position begins on, counted from 1: the position is from before what is left of
/// the last line's end, and blank lines, were passed over.
pub(super) fn number(path: &Path, position: Option<&Position>) -> u64 {
    let Some(position) = position else { return 0 };
    // what comes through a pipe cannot be looked at again
    counted(path, position.byte()).ok().flatten().unwrap_or_else(|| position.line())
}

/// The same by looking at the file. None: it is no regular file.
fn counted(path: &Path, begin: u64) -> io::Result<Option<u64>> {
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    let mut reader = BufReader::with_capacity(1 << 18, File::open(path)?);
    let (mut line, mut left) = (1, begin);
    while left > 0 {
        let bytes = reader.fill_buf()?;
        let n = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if n == 0 {
            break;
        }
        line += bytes[..n].split(|&byte| byte == b'\n').count() as u64 - 1;
        reader.consume(n);
        left -= n as u64;
    }
    for byte in reader.bytes() {
        match byte? {
            b'\n' => line += 1,
            b'\r' => {}
            _ => break,
        }
    }
    Ok(Some(line))
}
