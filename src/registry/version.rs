//! Names of versions: `v0001`, `v0002`, …

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The number of a version within its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(u32);

impl Version {
    /// The first version of a target.
    pub const FIRST: Self = Self(1);

    /// The one after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// A directory's name as a version; only the form that [`fmt::Display`] writes counts.
    pub(super) fn from_directory(name: &str) -> Option<Self> {
        name.parse().ok().filter(|version: &Self| version.to_string() == name)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // through `pad`, so that tables can align it
        f.pad(&format!("v{:04}", self.0))
    }
}

impl FromStr for Version {
    type Err = String;

    /// Takes `v0003`, `v3` and `3`.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix('v').unwrap_or(text);
        match digits.parse() {
            Ok(number) if number > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(Self(number)),
            _ => Err(format!("`{text}` is no version; versions are named v0001, v0002, …")),
        }
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for text in ["v0003", "v3", "3"] {
            assert_eq!(text.parse(), Ok(Version(3)));
        }
        for text in ["", "v", "0", "v0", "-1", "+1", "v1.0", "three", "99999999999"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        assert_eq!(Version::from_directory("v0003"), Some(Version(3)));
        assert_eq!(Version::from_directory("v12345"), Some(Version(12_345)));
        assert_eq!(Version::from_directory("v3"), None);
        assert!(Version(9_999) < Version(10_000));
    }
}
