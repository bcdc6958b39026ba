//! Times as people and collectors write them, and the one form that we write.
//!
//! Hand-rolled, because parsing a format string costs more than all the rest of taking a row in; chrono reads what is
//! left over, and the tests compare the two.

use chrono::DateTime;

/// Length of the form that we write, `2023-12-04T13:05:31.000000Z`: fixed, so that the order of texts is that of times.
pub(super) const FIXED: usize = 27;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400;
/// 0001-01-01 and the end of 9999: outside of these years the fixed form has no room. Unit: seconds since 1970.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;

/// Microseconds since 1970 of a time such as `2023-12-04T13:05:31Z`: with a `T` or a space between, with or without
/// decimals, zone as `Z`, `UTC`, an offset or nothing (UTC); or of Unix seconds. Digits beyond microseconds are cut off.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let at = parse_common(text).or_else(|| parse_seconds(text)).or_else(|| {
        let text = std::str::from_utf8(text).ok()?;
        let time = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text)).ok()?;
        Some(time.timestamp_micros())
    })?;
    (FIRST..=LAST).contains(&at.div_euclid(SECOND)).then_some(at)
}

/// Microseconds since 1970 of Unix seconds.
pub(super) fn from_seconds(seconds: f64) -> Option<i64> {
    (seconds >= FIRST as f64 && seconds <= LAST as f64).then(|| (seconds * SECOND as f64).round() as i64)
}

fn parse_common(text: &[u8]) -> Option<i64> {
    let (head, tail) = text.split_at_checked(19)?;
    let &[_, _, _, _, b'-', _, _, b'-', _, _, b'T' | b' ', _, _, b':', _, _, b':', _, _] = head else { return None };
    let number = |from: usize, to: usize| digits(&head[from..to]);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (micros, zone) = fraction(tail)?;
    let seconds = days(year, month, day)? * DAY + hour * 3600 + minute * 60 + second - offset(zone)?;
    Some(seconds * SECOND + micros)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

/// Microseconds after a decimal point, and what follows them.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', rest)) = text.split_first() else { return Some((0, text)) };
    let n = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let kept = n.min(6);
    (n > 0).then_some(())?;
    Some((digits(&rest[..kept])? * 10_i64.pow(6 - kept as u32), &rest[n..]))
}

/// Seconds east of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone {
        b"Z" | b"" | b" UTC" | b"UTC" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (digits(rest)?, 0),
        4 => (digits(&rest[..2])?, digits(&rest[2..])?),
        5 if rest[2] == b':' => (digits(&rest[..2])?, digits(&rest[3..])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn parse_seconds(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if !digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return None;
    }
    from_seconds(std::str::from_utf8(text).ok()?.parse().ok()?)
}

/// Days since 1970 of a date. Counts years from March, so that a leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468)
}

/// The fixed form of a time of the years 1 to 9999.
pub(super) fn fixed(at: i64) -> [u8; FIXED] {
    let (seconds, micros) = (at.div_euclid(SECOND), at.rem_euclid(SECOND));
    let (day, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, date) = date(day);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], date);
    put(&mut text[11..13], second / 3600);
    put(&mut text[14..16], second / 60 % 60);
    put(&mut text[17..19], second % 60);
    put(&mut text[20..26], micros);
    text
}

/// The fixed form, as text.
pub(super) fn text(at: i64) -> String {
    // Digits and punctuation only.
    fixed(at).iter().map(|&byte| char::from(byte)).collect()
}

fn put(text: &mut [u8], mut number: i64) {
    for byte in text.iter_mut().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of days since 1970; the reverse of [`days`].
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let date = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        let at = parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is a time"));
        assert_eq!(super::text(at), expected, "{text}");
    }

    #[test]
    fn common_forms() {
        for text in [
            "2023-12-04T13:05:31Z",
            "2023-12-04T13:05:31.000000Z",
            "2023-12-04 13:05:31",
            "2023-12-04 13:05:31+00",
            "2023-12-04 13:05:31 UTC",
            " 2023-12-04T14:05:31+01:00 ",
            "2023-12-04T09:35:31-0330",
            "2023-12-04t13:05:31z",
            "Mon, 4 Dec 2023 13:05:31 +0000",
            "1701695131",
            "1701695131.0",
        ] {
            check(text, "2023-12-04T13:05:31.000000Z");
        }
        check("2025-06-27T05:22:50.751117Z", "2025-06-27T05:22:50.751117Z");
        check("2025-06-27T05:22:50.7511179Z", "2025-06-27T05:22:50.751117Z");
        check("2025-06-27T05:22:50.5Z", "2025-06-27T05:22:50.500000Z");
        check("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z");
        check("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000Z");
        check("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z");
        check("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000000Z");
    }

    #[test]
    fn not_times() {
        for text in [
            "",
            "yesterday",
            "2023-12-04",
            "2023-13-04T13:05:31Z",
            "2023-02-29T13:05:31Z",
            "2023-12-04T24:00:00Z",
            "2023-12-04T13:05:31.Z",
            "2023-12-04T13:05:31 CET",
            "2023-12-04T13:05",
            "0000-06-01T00:00:00Z",
            "1701695131000",
            "12.5.2023",
            "-",
            "NaN",
            "2023-12-04T13:05:31Ä",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_chrono(at in FIRST * SECOND..=LAST * SECOND) {
            let time = DateTime::from_timestamp_micros(at).expect("in range");
            let expected = time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
            prop_assert_eq!(text(at), expected.clone());
            prop_assert_eq!(parse(expected.as_bytes()), Some(at));
            prop_assert_eq!(parse_common(time.to_rfc3339().as_bytes()), Some(at));
        }

        #[test]
        fn order_of_texts_is_order_of_times(a in FIRST * SECOND..=LAST * SECOND, b in FIRST * SECOND..=LAST * SECOND) {
            prop_assert_eq!(fixed(a).cmp(&fixed(b)), a.cmp(&b));
        }

        #[test]
        fn never_panics(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&text);
        }
    }
}
