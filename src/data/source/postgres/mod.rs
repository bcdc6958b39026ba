//! The table in PostgreSQL: the user's own, so reading changes nothing there, and columns may be of any fitting type.
//!
//! Rows come by binary COPY: three times as fast as rows of the ordinary protocol, and straight into the columns. They
//! come in any order: sorting them in [`Arrivals`] costs a tenth of what it costs the server, which would write ten
//! million rows to a file for it.

mod columns;
mod describe;
mod import;
mod indexes;

use super::copy::{Decoder, Malformed, Number};
use super::{Arrivals, Imported, Place, tell};
use crate::data::merge::merge;
use crate::data::{COUNT_COLUMNS, Error, Series};
use columns::Columns;
use futures_util::TryStreamExt;
use import::{contents, existing, send, stage};
use indexes::{Indexes, each_video, prefer_indexes};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr};
use std::time::Duration;
use tokio::sync::mpsc;

/// Bytes of rows that change threads at once: enough to make that cheap, few enough to stay in a cache.
const BATCH: usize = 1 << 17;
/// Batches under way; the faster side waits.
const BATCHES: usize = 4;

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
        Columns::of(&mut connection, place).await?;
        close(connection).await;
        Ok(())
    }

    pub(super) async fn read(
        &self,
        place: &Place,
        arrivals: &mut Arrivals,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), Error> {
        // The server sends a message a row. A thread with a runtime of its own takes them off the socket, since a runtime of
        // several threads wakes another one for each packet; meanwhile this task decodes.
        let (send, mut batches) = mpsc::channel(BATCHES);
        let (postgres, owned) = (self.clone(), place.clone());
        let sending = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| owned.unread(error.into()))?;
            runtime.block_on(async {
                tokio::select! {
                    sent = postgres.send_rows(&owned, &send) => sent,
                    // nobody takes the rows any more: the read has failed already
                    () = send.closed() => Ok(()),
                }
            })
        });
        let mut decoder = None;
        while let Some((numbers, batch)) = batches.recv().await {
            let decoder = decoder.get_or_insert_with(|| Decoder::new(numbers));
            decode(decoder, &batch, place, arrivals, progress)?;
        }
        sending.await.unwrap_or_else(|died| std::panic::resume_unwind(died.into_panic()))?;
        finish(decoder.as_ref(), place)
    }

    /// Sends all rows of the table, with the types of their numbers.
    async fn send_rows(&self, place: &Place, send: &mpsc::Sender<([Number; 6], Vec<u8>)>) -> Result<(), Error> {
        let mut connection = self.snapshot(place).await?;
        let columns = Columns::of(&mut connection, place).await?;
        let rows = format!("{} FROM {} AS one", columns.select("one"), place.table.quoted());
        let unread = |error| place.unread(error);
        let mut pieces = connection.copy_out_raw(&copy_out(&rows)).await.map_err(unread)?;
        let mut batch = Vec::with_capacity(BATCH + 1024);
        while let Some(piece) = pieces.try_next().await.map_err(unread)? {
            batch.extend_from_slice(&piece);
            if batch.len() >= BATCH {
                let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH + 1024));
                if send.send((columns.numbers(), full)).await.is_err() {
                    return Ok(());
                }
            }
        }
        drop(pieces);
        let _ = send.send((columns.numbers(), batch)).await;
        close(connection).await;
        Ok(())
    }

    pub(super) async fn tail(&self, place: &Place, rows: usize, videos: &[String]) -> Result<Arrivals, Error> {
        let mut connection = self.snapshot(place).await?;
        let columns = Columns::of(&mut connection, place).await?;
        let table = place.table.quoted();
        let complete = COUNT_COLUMNS.map(|column| format!("{column} IS NOT NULL")).join(" AND ");
        let wanted = match videos {
            [] => "true".to_owned(),
            some => format!("video_id::text IN ({})", literals(some)),
        };
        let newest = if Indexes::of(&mut connection, place).await?.video_time {
            prefer_indexes(&mut connection, place).await?;
            // A step through the index finds the next video, and a few more its newest rows.
            format!(
                "{}
                {} FROM (SELECT video_id FROM video WHERE {wanted}) AS video CROSS JOIN LATERAL (
                    SELECT * FROM {table} AS one WHERE one.video_id = video.video_id AND {complete}
                    ORDER BY one.timestamp DESC LIMIT {rows}
                ) AS newest",
                each_video(&table),
                columns.select("newest"),
            )
        } else {
            format!(
                "{} FROM (
                    SELECT *, row_number() OVER (PARTITION BY video_id ORDER BY timestamp DESC) AS retraind_place
                    FROM {table} WHERE {complete} AND {wanted}
                ) AS newest WHERE retraind_place <= {rows}",
                columns.select("newest"),
            )
        };
        let mut arrivals = Arrivals::new();
        receive(&mut connection, place, (&newest, columns.numbers()), &mut arrivals, &mut |_| {}).await?;
        close(connection).await;
        Ok(arrivals)
    }

    pub(super) async fn import(
        &self,
        place: &Place,
        limit: Duration,
        series: &Series,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Imported, Error> {
        let unwritten = |error| place.unwritten(error);
        let mut connection = self.connect(place).await?;
        let table = place.table.quoted();
        // The session's time zone is that of timestamps without one, here and in `snapshot`. What the import makes for
        // itself must not stand before a table of that name.
        let begin = format!(
            "BEGIN; SET LOCAL TimeZone = 'UTC'; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {};
             SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true)",
            millis(place.timeout),
            millis(limit)
        );
        execute(&mut connection, begin).await.map_err(unwritten)?;
        let made = !exists(&mut connection, place).await?;
        if made {
            let create = format!("CREATE TABLE {table} {}", contents(""));
            execute(&mut connection, create).await.map_err(unwritten)?;
        }
        let columns = Columns::of(&mut connection, place).await?;
        // Collectors wait until the import is done: a row that came in between would have the wrong growth.
        let lock = format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE");
        execute(&mut connection, lock).await.map_err(unwritten)?;
        let merged = if made {
            merge(&Series::default(), series)
        } else {
            merge(&existing(&mut connection, place, &columns, series).await?, series)
        };
        if made {
            send(&mut connection, &table, &merged.write, progress).await.map_err(unwritten)?;
            // Made afterwards, by one sort instead of a search a row.
            let key = format!("ALTER TABLE {table} ADD PRIMARY KEY (video_id, timestamp)");
            execute(&mut connection, key).await.map_err(unwritten)?;
            execute(&mut connection, format!("CREATE INDEX ON {table} (timestamp)")).await.map_err(unwritten)?;
        } else if !merged.write.is_empty() {
            stage(&mut connection, &table, &columns, &merged.write, progress).await.map_err(unwritten)?;
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
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
             SET LOCAL TimeZone = 'UTC'; SET LOCAL statement_timeout = {}",
            millis(place.timeout)
        );
        execute(&mut connection, begin).await.map_err(|error| place.unread(error))?;
        Ok(connection)
    }
}

/// Adds the rows of a SELECT, given with the types of its numbers.
async fn receive(
    connection: &mut PgConnection,
    place: &Place,
    (rows, numbers): (&str, [Number; 6]),
    arrivals: &mut Arrivals,
    progress: &mut impl FnMut(u64),
) -> Result<(), Error> {
    let unread = |error| place.unread(error);
    let mut pieces = connection.copy_out_raw(&copy_out(rows)).await.map_err(unread)?;
    let mut decoder = Decoder::new(numbers);
    while let Some(piece) = pieces.try_next().await.map_err(unread)? {
        decode(&mut decoder, &piece, place, arrivals, progress)?;
    }
    finish(Some(&decoder), place)
}

fn copy_out(rows: &str) -> String {
    format!("COPY ({rows}) TO STDOUT (FORMAT binary)")
}

fn decode(
    decoder: &mut Decoder,
    piece: &[u8],
    place: &Place,
    arrivals: &mut Arrivals,
    progress: &mut impl FnMut(u64),
) -> Result<(), Error> {
    let taken = decoder.take(piece, |row| {
        let at = row.at.map_err(|value| Stop::Data(place.not_a_time(row.video, value.to_owned())))?;
        let refused = |refused| Stop::Data(place.not_a_count(row.video, at, &refused));
        arrivals.push(row.video, at, row.counts, row.growth).map_err(refused)?;
        tell(arrivals, progress);
        Ok(())
    });
    taken.map_err(|stop: Stop| stop.into_error(place))
}

/// Errors: the rows stopped before their end.
fn finish(decoder: Option<&Decoder>, place: &Place) -> Result<(), Error> {
    let finished = decoder.map_or(Ok(()), Decoder::finish);
    finished.map_err(|malformed| Stop::from(malformed).into_error(place))
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

/// A limit as the server takes it: at most 24 days.
fn millis(limit: Duration) -> u128 {
    limit.as_millis().min(i32::MAX as u128)
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
