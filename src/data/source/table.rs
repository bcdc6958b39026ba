//! The table's name, and the columns that it has.

use crate::data::Error;
use std::fmt;

/// Columns that every table has, in the order in which rows are read.
pub(super) const COLUMNS: [&str; 8] = [
    "timestamp",
    "video_id",
    "view_count",
    "like_count",
    "comment_count",
    "views_growth_rate",
    "likes_growth_rate",
    "comments_growth_rate",
];

/// A name of plain identifiers, so that quoting it is putting it in quotes.
#[derive(Clone, Debug)]
pub(super) struct Table {
    schema: Option<String>,
    pub(super) name: String,
}

impl Table {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        if is_identifier(name) && schema.is_none_or(is_identifier) {
            Ok(Self { schema: schema.map(str::to_owned), name: name.to_owned() })
        } else {
            Err(Error::TableName { table: text.to_owned() })
        }
    }

    /// SQLite files have no schemas.
    pub(super) fn without_schema(&self) -> Result<(), Error> {
        match self.schema {
            None => Ok(()),
            Some(_) => Err(Error::TableName { table: self.to_string() }),
        }
    }

    /// For SQL, in either database.
    pub(super) fn quoted(&self) -> String {
        match &self.schema {
            None => format!("\"{}\"", self.name),
            Some(schema) => format!("\"{schema}\".\"{}\"", self.name),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            None => f.write_str(&self.name),
            Some(schema) => write!(f, "{schema}.{}", self.name),
        }
    }
}

fn is_identifier(word: &str) -> bool {
    // PostgreSQL cuts longer names off without a word.
    const LONGEST: usize = 63;
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    word.len() <= LONGEST
        && word.chars().next().is_some_and(starts)
        && word.chars().all(|c| starts(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(Table::parse(text).ok().map(|table| table.quoted()).as_deref(), expected, "{text}");
        };
        check("video_stats_processed", Some("\"video_stats_processed\""));
        check("Stats2", Some("\"Stats2\""));
        check("public.stats", Some("\"public\".\"stats\""));
        for bad in ["", ".", "a.", ".a", "a.b.c", "2a", "a b", "a\"b", "a;b", "ä", "a-b", &"a".repeat(64)] {
            check(bad, None);
        }
    }
}
