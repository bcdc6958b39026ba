//! Closed sets of words: enums in the program, readable text in the database and in `--json`.

/// Defines an enum whose variants are stored as the given words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every variant, in the order of a life.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word in the database, in messages and in `--json`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::store::Error;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word).ok_or_else(|| {
                    crate::store::Error::UnknownWord { kind: stringify!($name), word: word.to_owned() }
                })
            }
        }

        // How rows are decoded: `#[sqlx(try_from = "String")]`.
        impl TryFrom<String> for $name {
            type Error = crate::store::Error;

            fn try_from(word: String) -> Result<Self, Self::Error> {
                word.parse()
            }
        }
    };
}

pub(crate) use words;

/// A list of sentences in one column, as JSON.
pub(super) fn to_json(sentences: &[String]) -> String {
    serde_json::Value::from(sentences).to_string()
}

pub(super) fn from_json(text: &str) -> Result<Vec<String>, sqlx::Error> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use super::super::RunState;
    use super::*;

    #[test]
    fn words_are_what_json_and_the_database_hold() {
        for state in RunState::ALL {
            assert_eq!(state.as_str().parse::<RunState>().unwrap(), *state);
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn an_unknown_word_is_named() {
        let error = "asleep".parse::<RunState>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "read the state database: `asleep` is no RunState that this version of retraind knows"
        );
    }

    #[test]
    fn sentences_survive_the_round_trip() {
        for list in [vec![], vec!["mae 0.006 > 0.005".to_owned(), "quote \" and é".to_owned()]] {
            assert_eq!(from_json(&to_json(&list)).unwrap(), list);
        }
        assert!(from_json("{").is_err());
    }
}
