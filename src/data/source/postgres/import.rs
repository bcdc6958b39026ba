//! What an import reads and writes, all of it inside the caller's transaction.

use super::super::table::COLUMNS;
use super::super::{Arrivals, Place, copy};
use super::{Columns, Indexes, execute, receive};
use crate::data::{COUNT_COLUMNS, Error, Series};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

/// Bytes that are sent at once.
const PIECE: usize = 1 << 16;

/// The rows of the videos to import that matter to a merge.
pub(super) async fn existing(
    connection: &mut PgConnection,
    place: &Place,
    columns: &Columns,
    series: &Series,
) -> Result<Series, Error> {
    let table = place.table.quoted();
    let unwritten = |error| place.unwritten(error);
    let since = "CREATE TEMP TABLE pg_temp.retraind_since (video_id text, since timestamptz) ON COMMIT DROP";
    execute(connection, since.to_owned()).await.map_err(unwritten)?;
    // Without an index each video's earlier rows would cost a scan; one scan of all is better.
    let earliest = if Indexes::of(connection, place).await?.video_time {
        let complete = COUNT_COLUMNS.map(|column| format!("{column} IS NOT NULL")).join(" AND ");
        format!(
            "coalesce((SELECT max(timestamp)::timestamptz FROM {table}
                       WHERE video_id = first.id AND timestamp < first.at AND {complete}), first.at)"
        )
    } else {
        "'-infinity'".to_owned()
    };
    let insert =
        format!("INSERT INTO pg_temp.retraind_since SELECT id, {earliest} FROM unnest($1, $2) AS first(id, at)");
    let (ids, first): (Vec<&str>, Vec<_>) = series
        .videos
        .iter()
        .map(|video| (video.id.as_str(), chrono::DateTime::from_timestamp_micros(series.at[video.rows.start])))
        .unzip();
    sqlx::query(AssertSqlSafe(insert)).bind(ids).bind(first).execute(&mut *connection).await.map_err(unwritten)?;
    let mut arrivals = Arrivals::new();
    let rows = format!(
        "{} FROM pg_temp.retraind_since JOIN {table} AS old ON old.video_id = retraind_since.video_id AND old.timestamp >= since",
        columns.select("old")
    );
    receive(connection, place, (&rows, columns.numbers()), &mut arrivals, &mut |_| {}).await?;
    Ok(arrivals.finish().0)
}

/// Writes rows into a table with columns of other types and perhaps no key, by way of one of ours.
pub(super) async fn stage(
    connection: &mut PgConnection,
    table: &str,
    columns: &Columns,
    series: &Series,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), sqlx::Error> {
    let create = format!(
        "CREATE TEMP TABLE pg_temp.retraind_incoming {} ON COMMIT DROP",
        contents(", UNIQUE (video_id, timestamp)")
    );
    execute(connection, create).await?;
    send(connection, "pg_temp.retraind_incoming", series, progress).await?;
    // Cast to the table's own types, so that its indexes serve and a value that does not fit is an error.
    let new = |column: &str| match columns.sql_type(column) {
        Some(of) => format!("new.{column}::{of}"),
        None => format!("new.{column}"),
    };
    let same = ["video_id", "timestamp"].map(|column| format!("old.{column} = {}", new(column))).join(" AND ");
    let set = COLUMNS[2..].iter().map(|column| format!("{column} = {}", new(column))).collect::<Vec<_>>().join(", ");
    let values = COLUMNS.map(new).join(", ");
    execute(
        connection,
        format!(
            "ANALYZE pg_temp.retraind_incoming;
             UPDATE {table} AS old SET {set} FROM pg_temp.retraind_incoming AS new WHERE {same};
             INSERT INTO {table} ({}) SELECT {values} FROM pg_temp.retraind_incoming AS new
             WHERE NOT EXISTS (SELECT 1 FROM {table} AS old WHERE {same})",
            COLUMNS.join(", ")
        ),
    )
    .await
}

/// What a table of ours holds; `more` is empty or goes on after the columns.
pub(super) fn contents(more: &str) -> String {
    format!(
        "(timestamp timestamptz NOT NULL, video_id text NOT NULL, view_count bigint NOT NULL, like_count bigint NOT NULL,
          comment_count bigint NOT NULL, views_growth_rate double precision, likes_growth_rate double precision,
          comments_growth_rate double precision{more})"
    )
}

/// Sends rows into a table of ours.
pub(super) async fn send(
    connection: &mut PgConnection,
    table: &str,
    series: &Series,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), sqlx::Error> {
    let statement = format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", COLUMNS.join(", "));
    let mut stream = connection.copy_in_raw(&statement).await?;
    let mut piece = Vec::with_capacity(PIECE + 1024);
    copy::begin(&mut piece);
    for video in &series.videos {
        for row in video.rows.clone() {
            copy::put(&mut piece, series.at[row], &video.id, series.counts_of(row), series.growth_of(row));
            if piece.len() >= PIECE {
                stream.send(piece.as_slice()).await?;
                piece.clear();
                progress(row as u64 + 1, series.len() as u64);
            }
        }
    }
    copy::end(&mut piece);
    stream.send(piece.as_slice()).await?;
    stream.finish().await?;
    progress(series.len() as u64, series.len() as u64);
    Ok(())
}
