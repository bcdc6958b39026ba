//! PostgreSQL's binary COPY format, for tuples of eight columns.
//!
//! Source: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format".

/// What every stream starts with: signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// In place of a tuple's number of columns, the end.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// Times are counted from 2000. Unit: microseconds after 1970.
const EPOCH: i64 = 946_684_800_000_000;

/// A row as it comes: a NULL count or growth rate is NaN.
pub(super) struct Tuple<'a> {
    pub(super) video: &'a str,
    /// `Err` for PostgreSQL's `infinity` and `-infinity`, and for NULL.
    pub(super) at: Result<i64, &'static str>,
    pub(super) counts: [f64; 3],
    pub(super) growth: [f64; 3],
}

/// Bytes that are no COPY stream of the eight columns.
#[derive(Debug, thiserror::Error)]
#[error("the server sent something else than the rows asked for: {0}")]
pub(super) struct Malformed(&'static str);

/// How a number is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
}

impl Number {
    /// As a 64-bit float, rounded like the server does. `None`: a number of another size.
    fn decode(self, bytes: &[u8]) -> Option<f64> {
        Some(match self {
            Self::Int2 => i16::from_be_bytes(bytes.try_into().ok()?).into(),
            Self::Int4 => i32::from_be_bytes(bytes.try_into().ok()?).into(),
            Self::Int8 => i64::from_be_bytes(bytes.try_into().ok()?) as f64,
            Self::Float4 => f32::from_be_bytes(bytes.try_into().ok()?).into(),
            Self::Float8 => f64::from_be_bytes(bytes.try_into().ok()?),
        })
    }
}

/// Takes a stream apart that comes in pieces of any size.
pub(super) struct Decoder {
    numbers: [Number; 6],
    /// What the pieces so far left over; small, since a tuple is.
    rest: Vec<u8>,
    started: bool,
    ended: bool,
}

impl Decoder {
    /// For rows whose counts and growth rates are sent like this.
    pub(super) fn new(numbers: [Number; 6]) -> Self {
        Self { numbers, rest: Vec::new(), started: false, ended: false }
    }

    /// Hands on every tuple that is complete now.
    pub(super) fn take<E: From<Malformed>>(
        &mut self,
        piece: &[u8],
        mut row: impl FnMut(Tuple<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut joined = std::mem::take(&mut self.rest);
        // A server sends a tuple a piece, so that this copy is rarely needed.
        let bytes = if joined.is_empty() {
            piece
        } else {
            joined.extend_from_slice(piece);
            &joined
        };
        let used = self.take_complete(bytes, &mut row)?;
        let rest = bytes[used..].to_vec();
        self.rest = rest;
        Ok(())
    }

    /// Errors: the stream stopped before its end.
    pub(super) fn finish(&self) -> Result<(), Malformed> {
        if self.ended { Ok(()) } else { Err(Malformed("it stopped half way")) }
    }

    /// Returns how many bytes were used up.
    fn take_complete<E: From<Malformed>>(
        &mut self,
        bytes: &[u8],
        row: &mut impl FnMut(Tuple<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut cursor = Cursor(bytes);
        if !self.started {
            let Some(header) = cursor.bytes(HEADER.len()) else { return Ok(0) };
            if header != HEADER {
                return Err(Malformed("no COPY header").into());
            }
            self.started = true;
        }
        loop {
            let before = cursor.0;
            match cursor.tuple(self.numbers, &mut self.ended)? {
                Some(tuple) => row(tuple)?,
                None if self.ended => return Ok(bytes.len()),
                None => return Ok(bytes.len() - before.len()),
            }
        }
    }
}

/// What is left of a piece. `None` everywhere: the piece ends too early.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn tuple(&mut self, numbers: [Number; 6], ended: &mut bool) -> Result<Option<Tuple<'a>>, Malformed> {
        let Some(columns) = self.array() else { return Ok(None) };
        if columns == TRAILER {
            *ended = true;
            return Ok(None);
        }
        if columns != 8_i16.to_be_bytes() {
            return Err(Malformed("a row with another number of columns"));
        }
        let Some(fields) = self.fields() else { return Ok(None) };
        let [at, video, values @ ..] = fields;
        let at = match at.map(|bytes| bytes.try_into().map(i64::from_be_bytes)) {
            None => Err("NULL"),
            Some(Ok(i64::MAX)) => Err("infinity"),
            Some(Ok(i64::MIN)) => Err("-infinity"),
            Some(Ok(at)) => Ok(at.saturating_add(EPOCH)),
            Some(Err(_)) => return Err(Malformed("a time of another size")),
        };
        let video = std::str::from_utf8(video.unwrap_or_default()).map_err(|_| Malformed("an id that is no UTF-8"))?;
        let mut decoded = [f64::NAN; 6];
        for ((into, number), value) in decoded.iter_mut().zip(numbers).zip(values) {
            if let Some(bytes) = value {
                *into = number.decode(bytes).ok_or(Malformed("a number of another size"))?;
            }
        }
        let [a, b, c, d, e, f] = decoded;
        Ok(Some(Tuple { video, at, counts: [a, b, c], growth: [d, e, f] }))
    }

    /// The bytes of each field; NULL has none.
    fn fields(&mut self) -> Option<[Option<&'a [u8]>; 8]> {
        let mut fields = [None; 8];
        for field in &mut fields {
            // A length of -1 stands for NULL.
            if let Ok(length) = usize::try_from(i32::from_be_bytes(self.array()?)) {
                *field = Some(self.bytes(length)?);
            }
        }
        Some(fields)
    }
}

/// Starts a stream to send.
pub(super) fn begin(bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(HEADER);
}

/// Adds a row: `timestamptz`, `text`, three `int8`, three `float8`.
pub(super) fn put(bytes: &mut Vec<u8>, at: i64, video: &str, counts: [f64; 3], growth: [f64; 3]) {
    bytes.extend_from_slice(&8_i16.to_be_bytes());
    put_field(bytes, &(at - EPOCH).to_be_bytes());
    put_field(bytes, video.as_bytes());
    for count in counts {
        // Counts that are imported are whole and below 2^53.
        put_field(bytes, &(count as i64).to_be_bytes());
    }
    for rate in growth {
        put_field(bytes, &rate.to_be_bytes());
    }
}

/// Ends a stream.
pub(super) fn end(bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&TRAILER);
}

fn put_field(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as i32).to_be_bytes());
    bytes.extend_from_slice(field);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = (String, Result<i64, &'static str>, [u64; 3], [u64; 3]);

    const FLOATS: [Number; 6] = [Number::Float8; 6];

    fn decode(numbers: [Number; 6], pieces: &[&[u8]]) -> Result<Vec<Row>, Malformed> {
        let (mut decoder, mut rows) = (Decoder::new(numbers), Vec::new());
        for piece in pieces {
            decoder.take(piece, |tuple| {
                let bits = |values: [f64; 3]| values.map(f64::to_bits);
                rows.push((tuple.video.to_owned(), tuple.at, bits(tuple.counts), bits(tuple.growth)));
                Ok::<_, Malformed>(())
            })?;
        }
        decoder.finish()?;
        Ok(rows)
    }

    /// One row.
    fn tuple(bytes: &mut Vec<u8>, fields: [Option<&[u8]>; 8]) {
        bytes.extend(8_i16.to_be_bytes());
        for field in fields {
            match field {
                Some(field) => put_field(bytes, field),
                None => bytes.extend((-1_i32).to_be_bytes()),
            }
        }
    }

    #[test]
    fn nulls_and_infinities() {
        let one = 1.0_f64.to_be_bytes();
        let mut bytes = HEADER.to_vec();
        for at in [Some((-EPOCH).to_be_bytes()), Some(i64::MAX.to_be_bytes()), Some(i64::MIN.to_be_bytes()), None] {
            let at = at.as_ref().map(<[u8; 8]>::as_slice);
            tuple(&mut bytes, [at, Some(b"v"), Some(&one), None, Some(&one), None, Some(&one), None]);
        }
        end(&mut bytes);
        let rows = decode(FLOATS, &[&bytes]).expect("well formed");
        let times: Vec<_> = rows.iter().map(|row| row.1).collect();
        assert_eq!(times, [Ok(0), Err("infinity"), Err("-infinity"), Err("NULL")]);
        let (one, null) = (1.0_f64.to_bits(), f64::NAN.to_bits());
        assert_eq!((rows[0].2, rows[0].3), ([one, null, one], [null, one, null]));
    }

    #[test]
    fn numbers_of_every_size() {
        let numbers = [Number::Int2, Number::Int4, Number::Int8, Number::Float4, Number::Float8, Number::Int8];
        let mut bytes = HEADER.to_vec();
        let field = |bytes: &'static [u8]| Some(bytes);
        tuple(
            &mut bytes,
            [
                field(&[0; 8]),
                field(b"v"),
                field(&[1, 2]),
                field(&[0, 0, 1, 2]),
                field(&[0, 0, 0, 1, 0, 0, 0, 0]),
                field(&[0x3f, 0, 0, 0]),
                field(&[0xbf, 0xe0, 0, 0, 0, 0, 0, 0]),
                field(&[0xff; 8]),
            ],
        );
        end(&mut bytes);
        let row = decode(numbers, &[&bytes]).expect("well formed").remove(0);
        assert_eq!(row.2.map(f64::from_bits), [258.0, 258.0, 4_294_967_296.0]);
        assert_eq!(row.3.map(f64::from_bits), [0.5, -0.5, -1.0]);
        let error = decode([Number::Int4; 6], &[&bytes]).expect_err("two bytes").to_string();
        assert!(error.ends_with("a number of another size"), "{error}");
    }

    #[test]
    fn other_streams_are_refused() {
        let check = |bytes: &[u8], expected: &str| {
            let error = decode(FLOATS, &[bytes]).expect_err(expected).to_string();
            assert!(error.ends_with(expected), "{error}");
        };
        check(b"", "it stopped half way");
        check(HEADER, "it stopped half way");
        check(b"something else of enough bytes", "no COPY header");
        check(&[HEADER, &7_i16.to_be_bytes()].concat(), "a row with another number of columns");
        let mut bytes = HEADER.to_vec();
        tuple(&mut bytes, [Some(b"1234"), None, None, None, None, None, None, None]);
        check(&bytes, "a time of another size");
    }

    proptest! {
        #[test]
        fn pieces_may_be_cut_anywhere(
            rows in prop::collection::vec(("[a-zä]{1,12}", -1i64 << 50..1 << 50, 0u64..1 << 53, any::<f64>()), 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let mut bytes = Vec::new();
            begin(&mut bytes);
            for (video, at, count, rate) in &rows {
                put(&mut bytes, *at, video, [*count as f64; 3], [*rate; 3]);
            }
            end(&mut bytes);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let expected: Vec<Row> = rows
                .iter()
                .map(|(video, at, count, rate)| {
                    (video.clone(), Ok(*at), [(*count as f64).to_bits(); 3], [rate.to_bits(); 3])
                })
                .collect();
            let (int, float) = (Number::Int8, Number::Float8);
            prop_assert_eq!(decode([int, int, int, float, float, float], &pieces).expect("well formed"), expected);
        }
    }
}
