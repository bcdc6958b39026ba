//! Amounts of memory, as people write them: `"512 MiB"`.

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Units, largest first.
const UNITS: [(&str, u64); 7] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("B", 1),
];

/// So many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let example = "a number and a unit, such as \"2 GiB\" or \"500 MB\" (B, MB, GB, KiB, MiB, GiB, TiB)";
            format!("must be {example}, not \"{text}\"")
        };
        let (unit, size) = UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(wrong)?;
        let number: f64 = text.trim_end_matches(unit).trim().parse().map_err(|_| wrong())?;
        let bytes = number * *size as f64;
        if (1.0..1e18).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Bytes {
    /// In the largest unit of 1024 that leaves at least 1, with one digit where that says more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = UNITS.iter().filter(|(unit, _)| unit.ends_with("iB")).find(|(_, size)| self.0 >= *size);
        let Some((unit, size)) = fits else { return write!(f, "{} B", self.0) };
        let number = self.0 as f64 / *size as f64;
        if number < 10.0 && number.fract() > 0.0 {
            write!(f, "{number:.1} {unit}")
        } else {
            write!(f, "{number:.0} {unit}")
        }
    }
}

impl Serialize for Bytes {
    /// Exactly: what is written is read back as the same.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let exact = UNITS.iter().find(|(unit, size)| unit.ends_with("iB") && self.0.is_multiple_of(*size));
        let (unit, size) = exact.unwrap_or(&("B", 1));
        serializer.collect_str(&format_args!("{} {unit}", self.0 / size))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, bytes: u64, shown: &str) {
        let parsed: Bytes = text.parse().expect(text);
        assert_eq!((parsed.0, parsed.to_string().as_str()), (bytes, shown));
        let written = serde_json::to_value(parsed).expect("text");
        assert_eq!(serde_json::from_value::<Bytes>(written).expect("read back"), parsed);
    }

    #[test]
    fn amounts() {
        check("2 GiB", 2 << 30, "2 GiB");
        check("1.5GiB", 3 << 29, "1.5 GiB");
        check("500 MB", 500_000_000, "477 MiB");
        check("100 B", 100, "100 B");
        for wrong in ["", "5", "GiB", "-1 GiB", "0 B", "nan GiB", "2 Gib", "1e30 TiB"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }
}
