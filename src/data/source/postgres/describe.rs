//! What the table holds, in figures for people.

use super::super::{Description, Place};
use super::indexes::{Indexes, each_video, prefer_indexes};
use super::{Columns, Postgres, close};
use crate::data::Error;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

/// More rows than this are estimated: counting a hundred million takes a minute and a half.
const COUNTED: i64 = 10_000_000;

impl Postgres {
    pub(in super::super) async fn describe(&self, place: &Place) -> Result<Description, Error> {
        let mut connection = self.snapshot(place).await?;
        let columns = Columns::of(&mut connection, place).await?;
        let indexes = Indexes::of(&mut connection, place).await?;
        let table = place.table.quoted();
        let estimate = estimate(&mut connection, place).await?.filter(|&(rows, _)| rows > COUNTED);
        // an index counts all rows no faster: asked before indexes are preferred
        let rows = match estimate {
            Some((rows, _)) => rows,
            None => figure(&mut connection, place, &format!("SELECT count(*) FROM {table}")).await?,
        };
        prefer_indexes(&mut connection, place).await?;
        let videos = match estimate {
            _ if indexes.video_time => {
                let each = format!("{} SELECT count(video_id) FROM video", each_video(&table));
                figure(&mut connection, place, &each).await?
            }
            Some((_, videos)) => videos,
            None => figure(&mut connection, place, &format!("SELECT count(DISTINCT video_id) FROM {table}")).await?,
        };
        let newest = if estimate.is_none() || indexes.finds_newest() {
            indexes.newest(&mut connection, place, &columns).await?
        } else {
            None
        };
        let version = sqlx::query_scalar("SELECT current_setting('server_version')").fetch_one(&mut connection).await;
        let version = version.map_err(|error| place.unread(error))?;
        close(connection).await;
        Ok(Description {
            backend: "PostgreSQL",
            version,
            rows: rows as u64,
            videos: videos as u64,
            estimated: estimate.is_some(),
            newest,
            missing_indexes: indexes.missing(place),
        })
    }
}

async fn figure(connection: &mut PgConnection, place: &Place, question: &str) -> Result<i64, Error> {
    let answer = sqlx::query_scalar(AssertSqlSafe(question.to_owned())).fetch_one(connection).await;
    answer.map_err(|error| place.unread(error))
}

/// Rows and videos that the server expects; 0 videos: it has no idea. None: it has not looked at the table.
async fn estimate(connection: &mut PgConnection, place: &Place) -> Result<Option<(i64, i64)>, Error> {
    let estimate: Result<Option<(Option<i64>, i64)>, _> = sqlx::query_as(
        "WITH this AS (
            SELECT relname, nspname,
                -- nobody analyses a partitioned table itself
                CASE WHEN relkind = 'p' THEN (SELECT sum(reltuples) FILTER (WHERE reltuples >= 0)
                         FROM pg_partition_tree(pg_class.oid) JOIN pg_class AS part ON part.oid = relid WHERE isleaf)
                     WHEN reltuples >= 0 THEN reltuples END::bigint AS rows
            FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = to_regclass($1)
         )
         SELECT rows, coalesce((SELECT CASE WHEN n_distinct < 0 THEN -n_distinct * rows ELSE n_distinct END::bigint
                 FROM pg_stats WHERE schemaname = nspname AND tablename = relname AND attname = 'video_id' LIMIT 1), 0)
         FROM this",
    )
    .bind(place.table.quoted())
    .fetch_optional(connection)
    .await;
    let estimate = estimate.map_err(|error| place.unread(error))?;
    Ok(estimate.and_then(|(rows, videos)| Some((rows?, videos))))
}
