//! The table's columns, which may be of any fitting type, and the query that reads them.

use super::super::copy::Number;
use super::super::{Place, table};
use super::exists;
use crate::data::Error;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;

/// Names of a table's columns with their types, qualified and quoted.
pub(super) struct Columns(HashMap<String, String>);

impl Columns {
    /// Errors: the table is missing, or one of the columns that every table has.
    pub(super) async fn of(connection: &mut PgConnection, place: &Place) -> Result<Self, Error> {
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT attname::text, format('%I.%I', nspname, typname) FROM pg_attribute
             JOIN pg_type ON pg_type.oid = atttypid JOIN pg_namespace ON pg_namespace.oid = typnamespace
             WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        )
        .bind(place.table.quoted())
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| place.unread(error))?;
        if columns.is_empty() && !exists(connection, place).await? {
            let tables = "SELECT CASE table_schema WHEN current_schema THEN '' ELSE table_schema || '.' END || table_name
                FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1";
            let found = sqlx::query_scalar(tables).fetch_all(connection).await.map_err(|error| place.unread(error))?;
            return Err(Error::TableMissing { table: place.table.to_string(), url: place.url.clone(), found });
        }
        place.check_columns(&columns.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>())?;
        Ok(Self(columns.into_iter().collect()))
    }

    /// A column's type as SQL.
    pub(super) fn sql_type(&self, column: &str) -> Option<&str> {
        self.0.get(column).map(String::as_str)
    }

    /// The eight columns of a table's alias, cast where their own type is none that [`super::Decoder`] knows: a cast
    /// costs the server more than sending.
    pub(super) fn select(&self, alias: &str) -> String {
        let [at, video, ..] = table::COLUMNS;
        // Not for bpchar, which would come with its blanks.
        let is_text = matches!(self.plain(video).as_deref(), Some("text" | "varchar"));
        let columns = table::COLUMNS.map(|column| {
            let cast = match column {
                _ if column == at => (!self.is_time(at)).then_some("::timestamptz"),
                _ if column == video => (!is_text).then_some("::text"),
                _ => self.number(column).is_none().then_some("::float8"),
            };
            format!("{alias}.{column}{}", cast.unwrap_or_default())
        });
        format!("SELECT {}", columns.join(", "))
    }

    /// How the numbers of [`Self::select`] are sent.
    pub(super) fn numbers(&self) -> [Number; 6] {
        let [_, _, numbers @ ..] = table::COLUMNS;
        numbers.map(|column| self.number(column).unwrap_or(Number::Float8))
    }

    /// `timestamp` is a time of PostgreSQL's own, to the microsecond, with or without zone.
    pub(super) fn is_time(&self, column: &str) -> bool {
        matches!(self.plain(column).as_deref(), Some("timestamptz" | "timestamp"))
    }

    fn number(&self, column: &str) -> Option<Number> {
        match self.plain(column)?.as_str() {
            "int2" => Some(Number::Int2),
            "int4" => Some(Number::Int4),
            "int8" => Some(Number::Int8),
            "float4" => Some(Number::Float4),
            "float8" => Some(Number::Float8),
            _ => None,
        }
    }

    /// The name of a type of PostgreSQL's own, without quotes.
    fn plain(&self, column: &str) -> Option<String> {
        Some(self.0.get(column)?.strip_prefix("pg_catalog.")?.replace('"', ""))
    }
}
