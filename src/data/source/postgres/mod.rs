//! The table in PostgreSQL: the user's own, so reading changes nothing there, and columns may be of any fitting type.
//!
//! Rows come by binary COPY, cast by the server to the types that [`Decoder`] knows: three times as fast as rows of the
//! ordinary protocol, and straight into the columns. They come in any order, see [`Arrivals`].

mod import;

use super::copy::{Decoder, Malformed};
use super::{Arrivals, Description, Imported, Place, tell};
use crate::data::merge::merge;
use crate::data::{COUNT_COLUMNS, Error, GROWTH_COLUMNS, Series};
use futures_util::TryStreamExt;
use import::{contents, existing, send, stage};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr};
use std::collections::HashMap;
use std::time::Duration;

/// A PostgreSQL server and how to log in.
#[derive(Clone, Debug)]
pub(super) struct Postgres {
    options: PgConnectOptions,
}

impl Postgres {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| error.to_string())?;
        // Prepared statements are of no use to a connection that is used once, and break behind pgbouncer.
        let options = options.statement_cache_capacity(0).application_name("retraind").disable_statement_logging();
        Ok(Self { options })
    }

    pub(super) async fn check(&self, place: &Place) -> Result<(), Error> {
        let mut connection = self.snapshot(place).await?;
        columns(&mut connection, place).await?;
        close(connection).await;
        Ok(())
    }

    pub(super) async fn read(&self, place: &Place, progress: &mut impl FnMut(u64)) -> Result<Arrivals, Error> {
        let mut connection = self.snapshot(place).await?;
        columns(&mut connection, place).await?;
        let mut arrivals = Arrivals::new();
        let rows = format!("{} FROM {} AS one", select("one"), place.table.quoted());
        receive(&mut connection, place, &rows, &mut arrivals, progress).await?;
        close(connection).await;
        Ok(arrivals)
    }

    pub(super) async fn tail(&self, place: &Place, rows: usize, videos: &[String]) -> Result<Arrivals, Error> {
        let mut connection = self.snapshot(place).await?;
        columns(&mut connection, place).await?;
        let table = place.table.quoted();
        let complete = COUNT_COLUMNS.map(|column| format!("{column} IS NOT NULL")).join(" AND ");
        let wanted = match videos {
            [] => "true".to_owned(),
            some => format!("video_id::text IN ({})", literals(some)),
        };
        let newest = if is_indexed(&mut connection, place).await? {
            // A step through the index finds the next video, and a few more its newest rows.
            format!(
                "WITH RECURSIVE video AS (
                    (SELECT video_id FROM {table} ORDER BY video_id LIMIT 1)
                    UNION ALL
                    SELECT (SELECT next.video_id FROM {table} AS next WHERE next.video_id > video.video_id
                            ORDER BY next.video_id LIMIT 1)
                    FROM video WHERE video.video_id IS NOT NULL
                )
                {} FROM (SELECT video_id FROM video WHERE {wanted}) AS video CROSS JOIN LATERAL (
                    SELECT * FROM {table} AS one WHERE one.video_id = video.video_id AND {complete}
                    ORDER BY one.timestamp DESC LIMIT {rows}
                ) AS newest",
                select("newest"),
            )
        } else {
            format!(
                "{} FROM (
                    SELECT *, row_number() OVER (PARTITION BY video_id ORDER BY timestamp DESC) AS retraind_place
                    FROM {table} WHERE {complete} AND {wanted}
                ) AS newest WHERE retraind_place <= {rows}",
                select("newest"),
            )
        };
        let mut arrivals = Arrivals::new();
        receive(&mut connection, place, &newest, &mut arrivals, &mut |_| {}).await?;
        close(connection).await;
        Ok(arrivals)
    }

    pub(super) async fn describe(&self, place: &Place) -> Result<Description, Error> {
        let mut connection = self.snapshot(place).await?;
        columns(&mut connection, place).await?;
        let figures = format!(
            "SELECT count(*), count(DISTINCT video_id), max(timestamp)::timestamptz, current_setting('server_version')
             FROM {}",
            place.table.quoted()
        );
        let (rows, videos, newest, version): (i64, i64, _, _) = sqlx::query_as(AssertSqlSafe(figures))
            .fetch_one(&mut connection)
            .await
            .map_err(|error| place.unread(error))?;
        let indexed = is_indexed(&mut connection, place).await?;
        close(connection).await;
        Ok(Description { backend: "PostgreSQL", version, rows: rows as u64, videos: videos as u64, newest, indexed })
    }

    pub(super) async fn import(
        &self,
        place: &Place,
        series: &Series,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Imported, Error> {
        let unwritten = |error| place.unwritten(error);
        let mut connection = self.connect(place).await?;
        let table = place.table.quoted();
        let millis = place.timeout.as_millis();
        // The session's time zone is that of timestamps without one, here and in `snapshot`.
        let begin = format!("BEGIN; SET LOCAL TimeZone = 'UTC'; SET LOCAL lock_timeout = {millis}");
        execute(&mut connection, begin).await.map_err(unwritten)?;
        let made = !exists(&mut connection, place).await?;
        if made {
            let create = format!("CREATE TABLE {table} {}", contents("PRIMARY KEY (video_id, timestamp)"));
            execute(&mut connection, create).await.map_err(unwritten)?;
        }
        let types = columns(&mut connection, place).await?;
        // Collectors wait until the import is done: a row that came in between would have the wrong growth.
        let lock = format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE");
        execute(&mut connection, lock).await.map_err(unwritten)?;
        let merged = if made {
            merge(&Series::default(), series)
        } else {
            merge(&existing(&mut connection, place, series).await?, series)
        };
        if made {
            send(&mut connection, &table, &merged.write, progress).await.map_err(unwritten)?;
        } else if !merged.write.is_empty() {
            stage(&mut connection, &table, &types, &merged.write, progress).await.map_err(unwritten)?;
        }
        execute(&mut connection, "COMMIT".to_owned()).await.map_err(unwritten)?;
        close(connection).await;
        Ok(merged.imported)
    }

    async fn connect(&self, place: &Place) -> Result<PgConnection, Error> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        let connected = tokio::time::timeout(PATIENCE, self.options.connect()).await;
        connected.map_err(late).flatten().map_err(|error| place.unread(error))
    }

    /// A connection that sees the database as it is at the first statement, and can't change it.
    async fn snapshot(&self, place: &Place) -> Result<PgConnection, Error> {
        let mut connection = self.connect(place).await?;
        let millis = place.timeout.as_millis();
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
             SET LOCAL TimeZone = 'UTC'; SET LOCAL statement_timeout = {millis}"
        );
        execute(&mut connection, begin).await.map_err(|error| place.unread(error))?;
        Ok(connection)
    }
}

/// The eight columns of a table's alias, in the types that [`Decoder`] knows.
fn select(alias: &str) -> String {
    let numbers = COUNT_COLUMNS.iter().chain(&GROWTH_COLUMNS);
    let numbers = numbers.map(|column| format!("{alias}.{column}::float8")).collect::<Vec<_>>().join(", ");
    format!("SELECT {alias}.timestamp::timestamptz, {alias}.video_id::text, {numbers}")
}

/// Adds the rows of a SELECT.
async fn receive(
    connection: &mut PgConnection,
    place: &Place,
    rows: &str,
    arrivals: &mut Arrivals,
    progress: &mut impl FnMut(u64),
) -> Result<(), Error> {
    let statement = format!("COPY ({rows}) TO STDOUT (FORMAT binary)");
    let unread = |error| place.unread(error);
    let mut pieces = connection.copy_out_raw(&statement).await.map_err(unread)?;
    let mut decoder = Decoder::default();
    while let Some(piece) = pieces.try_next().await.map_err(unread)? {
        decoder
            .take(&piece, |row| {
                let at = row.at.map_err(|value| Stop::Data(place.not_a_time(row.video, value.to_owned())))?;
                let refused = |refused| Stop::Data(place.not_a_count(row.video, at, &refused));
                arrivals.push(row.video, at, row.counts, row.growth).map_err(refused)?;
                tell(arrivals, progress);
                Ok(())
            })
            .map_err(|stop: Stop| stop.into_error(place))?;
    }
    decoder.finish().map_err(|malformed| Stop::from(malformed).into_error(place))
}

/// Why decoding stopped.
enum Stop {
    Data(Error),
    Malformed(Malformed),
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Stop {
    fn into_error(self, place: &Place) -> Error {
        match self {
            Self::Data(error) => error,
            Self::Malformed(malformed) => place.unread(sqlx::Error::Decode(Box::new(malformed))),
        }
    }
}

async fn exists(connection: &mut PgConnection, place: &Place) -> Result<bool, Error> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(place.table.quoted())
        .fetch_one(connection)
        .await
        .map_err(|error| place.unread(error))
}

/// Names of the columns with their types, qualified and quoted.
///
/// Errors: the table is missing, or one of the columns that every table has.
async fn columns(connection: &mut PgConnection, place: &Place) -> Result<HashMap<String, String>, Error> {
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
    Ok(columns.into_iter().collect())
}

/// Whether an index over all rows starts with video and time.
async fn is_indexed(connection: &mut PgConnection, place: &Place) -> Result<bool, Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (
            SELECT 1 FROM pg_index
            JOIN pg_attribute AS first ON first.attrelid = indrelid AND first.attnum = indkey[0]
            JOIN pg_attribute AS second ON second.attrelid = indrelid AND second.attnum = indkey[1]
            WHERE indrelid = to_regclass($1) AND indisvalid AND indpred IS NULL
              AND first.attname = 'video_id' AND second.attname = 'timestamp')",
    )
    .bind(place.table.quoted())
    .fetch_one(connection)
    .await
    .map_err(|error| place.unread(error))
}

/// Texts as SQL, which COPY takes no parameters for. PostgreSQL knows no NUL character in texts.
fn literals(texts: &[String]) -> String {
    let literal = |text: &String| format!("'{}'", text.replace('\0', "").replace('\'', "''"));
    texts.iter().map(literal).collect::<Vec<_>>().join(", ")
}

async fn execute(connection: &mut PgConnection, statements: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements).into_sql_str()).execute(connection).await?;
    Ok(())
}

/// Says goodbye; an open transaction ends with the connection. That it can't be said is no loss.
async fn close(connection: PgConnection) {
    let _ = connection.close().await;
}
