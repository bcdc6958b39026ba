//! The three counts that are recorded and forecast.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What one model forecasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// `view_count`.
    Views,
    /// `like_count`.
    Likes,
    /// `comment_count`.
    Comments,
}

impl Target {
    /// All of them, in the order of the columns.
    pub const ALL: [Self; 3] = [Self::Views, Self::Likes, Self::Comments];

    /// Place in [`Target::ALL`], and so in every array with an entry per target.
    pub fn index(self) -> usize {
        self as usize
    }

    /// `views`, `likes` or `comments`.
    pub fn name(self) -> &'static str {
        ["views", "likes", "comments"][self.index()]
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("recognise target `{0}`; known: views, likes, comments")]
pub struct UnknownTarget(String);

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|target| target.name() == word).ok_or_else(|| UnknownTarget(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for (index, target) in Target::ALL.into_iter().enumerate() {
            assert_eq!(target.index(), index);
            assert_eq!(target.to_string().parse(), Ok(target));
            assert_eq!(serde_json::to_string(&target).expect("a name"), format!("\"{target}\""));
        }
        let error = "Views".parse::<Target>().expect_err("lower case only");
        assert_eq!(error.to_string(), "recognise target `Views`; known: views, likes, comments");
    }
}
