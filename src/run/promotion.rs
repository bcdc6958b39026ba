//! Bringing versions into service and out of it: the registry's champion file and the state database, kept in step.
//!
//! A promotion is a row before it is an action. After a crash in between, [`reconcile`] looks at the champion file,
//! which is the truth, and writes down how it ended.

use super::{Context, Error, metrics};
use crate::alert;
use crate::data::Target;
use crate::error::chain;
use crate::registry::{self, Lock, Metadata, Registry, Version, file};
use crate::store::{self, Claim, NewPromotion, PromotionKind, PromotionState, Settlement, Store};

/// Writes a published version and its metrics into the state database; once is enough, twice does no harm.
pub(super) async fn register(
    store: &Store,
    claim: Option<Claim>,
    metadata: &Metadata,
    metadata_sha256: &str,
) -> Result<(), Error> {
    let (target, version) = (metadata.target.to_string(), metadata.version.to_string());
    // a directory adopted after a crash may come from a database that is not this one
    let run_id = match claim {
        Some(claim) => Some(claim.run_id),
        None => store.run(metadata.run_id).await.ok().filter(|run| run.queued_at <= metadata.created_at).map(|r| r.id),
    };
    let metrics = metrics::row(metadata, &metadata.metrics, "validation", metadata.created_at, run_id);
    let row = store::Version {
        target,
        version,
        run_id,
        created_at: metadata.created_at,
        recipe: metadata.recipe.clone(),
        training_data_version: metadata.training_data_version.sha256.clone(),
        parent_version: metadata.parent_champion.map(|parent| parent.to_string()),
        verdict: metadata.verdict.word().to_owned(),
        reasons: metadata.verdict.rules.iter().map(|rule| rule.reason.clone()).collect(),
        metadata_sha256: metadata_sha256.to_owned(),
    };
    Ok(store.register_version(claim, &row, &[metrics]).await?)
}

/// Brings a version into service by hand. Returns the one that was there before.
pub async fn promote(
    context: &Context,
    target: Target,
    version: Version,
    force: bool,
) -> Result<Option<Version>, Error> {
    reconcile(context).await?;
    let metadata = verified(context, target, version).await?;
    if !metadata.verdict.passed && !force {
        return Err(Error::Refused { target, version, verdict: metadata.verdict.to_string() });
    }
    let cause = if metadata.verdict.passed { "by hand" } else { "by hand, against the gate's verdict (--force)" };
    let previous = bring_into_service(context, None, target, version, cause).await?;
    if previous != Some(version) {
        tell(context, &metadata).await;
    }
    Ok(previous)
}

/// A version's metadata, after its files were compared with it and it with what was registered under that name.
pub async fn verified(context: &Context, target: Target, version: Version) -> Result<Metadata, Error> {
    let metadata = context.registry.verify(target, version)?;
    let found = context.registry.metadata_sha256(target, version)?;
    let rows = context.store.versions(Some(&target.to_string())).await?;
    match rows.into_iter().find(|row| row.version == version.to_string()) {
        Some(row) if row.metadata_sha256 != found => {
            let path = context.registry.path(target, version).join(file::METADATA);
            let problem = format!("its sha256 is {found}, and {} was registered", row.metadata_sha256);
            Err(registry::Error::Damaged { path, target, problem }.into())
        }
        _ => Ok(metadata),
    }
}

/// Brings the champion before the present one back. Returns the two: which left, which came.
pub async fn rollback(context: &Context, target: Target) -> Result<(Version, Version), Error> {
    reconcile(context).await?;
    let none = |reason: &str| Error::NoEarlierChampion { target, reason: reason.to_owned() };
    let champion = context.registry.champion(target)?.ok_or_else(|| none("no version is in service"))?;
    let history = context.store.promotions(Some(&target.to_string())).await?;
    let earlier = champions(&history)
        .into_iter()
        .rev()
        .find(|version| *version != champion)
        .ok_or_else(|| none(&format!("{champion} is the first version that was in service")))?;
    let metadata = verified(context, target, earlier).await?;
    let cause = format!("by hand, back from {champion}");
    swap(context, None, target, earlier, PromotionKind::Rollback, &cause).await?;
    tell(context, &metadata).await;
    Ok((champion, earlier))
}

/// Lets people know. The version is in service by now, whether or not that can be told.
async fn tell(context: &Context, metadata: &Metadata) {
    if let Err(error) = alert::promoted_by_hand(&context.store, metadata).await {
        tracing::warn!(error = %chain(&error), version = %metadata.version, "nobody is told that it came into service");
    }
}

/// The champions that a rollback can still return to, oldest first: each rollback takes away the last one.
fn champions(newest_first: &[store::Promotion]) -> Vec<Version> {
    let mut stack: Vec<Version> = Vec::new();
    for promotion in newest_first.iter().rev().filter(|p| p.state == PromotionState::Done) {
        let Ok(version) = promotion.version.parse() else { continue };
        if promotion.kind == PromotionKind::Rollback {
            while stack.last().is_some_and(|last| *last != version) {
                stack.pop();
            }
        }
        if stack.last() != Some(&version) {
            stack.push(version);
        }
    }
    stack
}

/// Puts a verified version into the champion's place. Returns the one that was there before.
pub(super) async fn bring_into_service(
    context: &Context,
    claim: Option<Claim>,
    target: Target,
    version: Version,
    cause: &str,
) -> Result<Option<Version>, Error> {
    let kind = match context.registry.readable_champion(target)? {
        None => PromotionKind::First,
        Some(_) => PromotionKind::Promote,
    };
    swap(context, claim, target, version, kind, cause).await
}

async fn swap(
    context: &Context,
    claim: Option<Claim>,
    target: Target,
    version: Version,
    kind: PromotionKind,
    cause: &str,
) -> Result<Option<Version>, Error> {
    let Context { store, registry, .. } = context;
    let _lock = locked(registry, target).await?;
    settle_pending(context, target).await?;
    let previous = registry.readable_champion(target)?;
    if previous == Some(version) {
        return Ok(previous);
    }
    let promotion = store
        .begin_promotion(
            claim,
            NewPromotion {
                target: &target.to_string(),
                version: &version.to_string(),
                previous_version: previous.map(|p| p.to_string()).as_deref(),
                kind,
                cause,
            },
        )
        .await?;
    match registry.set_champion(target, version) {
        Ok(()) => store.settle_promotion(promotion.id, Settlement::Done).await?,
        Err(error) => {
            // renamed or not: the file says which
            let done = registry.readable_champion(target)? == Some(version);
            let settlement = if done { Settlement::Done } else { Settlement::Abandoned };
            store.settle_promotion(promotion.id, settlement).await?;
            return Err(error.into());
        }
    }
    Ok(previous)
}

/// Writes down what a crash left open: promotions begun and not settled, versions published and not registered.
pub async fn reconcile(context: &Context) -> Result<(), Error> {
    let Context { store, registry, .. } = context;
    for target in Target::ALL {
        if store.pending_promotions().await?.iter().any(|pending| pending.target == target.to_string()) {
            let _lock = locked(registry, target).await?;
            settle_pending(context, target).await?;
        }
        let known = store.versions(Some(&target.to_string())).await?;
        for version in registry.versions(target)? {
            if known.iter().any(|row| row.version == version.to_string()) {
                continue;
            }
            match registry.verify(target, version) {
                Ok(metadata) => adopt(context, target, version, &metadata).await?,
                Err(error) => {
                    tracing::warn!(%target, %version, %error, "a version in the registry cannot be registered");
                }
            }
        }
    }
    Ok(())
}

/// Settles the target's promotions that a crash left pending, as the champion file says. The caller holds the target's
/// lock, so nobody is in the middle of one.
async fn settle_pending(context: &Context, target: Target) -> Result<(), Error> {
    let champion = context.registry.readable_champion(target)?.map(|version| version.to_string());
    for pending in context.store.pending_promotions().await?.into_iter().filter(|p| p.target == target.to_string()) {
        let done = champion.as_deref() == Some(pending.version.as_str());
        let settlement = if done { Settlement::Done } else { Settlement::Abandoned };
        context.store.settle_promotion(pending.id, settlement).await?;
    }
    Ok(())
}

/// Registers a version that was published and not registered, unless an attempt that had been given up published it.
async fn adopt(context: &Context, target: Target, version: Version, metadata: &Metadata) -> Result<(), Error> {
    let Context { store, registry, .. } = context;
    let run = store.run(metadata.run_id).await.ok().filter(|run| run.queued_at <= metadata.created_at);
    if run.is_some_and(|run| run.attempt != metadata.attempt) {
        let aside = registry.set_aside(target, version)?;
        tracing::warn!(%target, %version, aside = %aside.display(), "an attempt that was given up had published it");
        return Ok(());
    }
    register(store, None, metadata, &registry.metadata_sha256(target, version)?).await?;
    tracing::info!(%target, %version, "registered a version that a crash had left out");
    Ok(())
}

/// Waits for the target's lock without holding up the other tasks.
async fn locked(registry: &Registry, target: Target) -> Result<Lock, Error> {
    let registry = registry.clone();
    match tokio::task::spawn_blocking(move || registry.lock(target)).await {
        Ok(lock) => Ok(lock?),
        Err(_) => Err(Error::Panicked { target }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Utc;

    /// `p3` promotes v0003, `r1` rolls back to v0001; a trailing `?` leaves it abandoned.
    fn check(history: &[&str], expected: &[u32]) {
        let promotions: Vec<store::Promotion> = history
            .iter()
            .enumerate()
            .map(|(id, step)| store::Promotion {
                id: id as i64,
                target: "views".to_owned(),
                version: format!("v000{}", &step[1..2]),
                previous_version: None,
                kind: if step.starts_with('r') { PromotionKind::Rollback } else { PromotionKind::Promote },
                cause: String::new(),
                run_id: None,
                state: if step.ends_with('?') { PromotionState::Abandoned } else { PromotionState::Done },
                begun_at: Utc::now(),
                settled_at: None,
            })
            .rev()
            .collect();
        let expected: Vec<Version> = expected.iter().map(|n| n.to_string().parse().expect("a version")).collect();
        assert_eq!(champions(&promotions), expected, "{history:?}");
    }

    #[test]
    fn rollbacks_go_back_step_by_step() {
        check(&[], &[]);
        check(&["p1", "p2", "p3"], &[1, 2, 3]);
        check(&["p1", "p2", "p3", "r2"], &[1, 2]);
        check(&["p1", "p2", "p3", "r2", "r1"], &[1]);
        check(&["p1", "p2", "r1", "p3"], &[1, 3]);
        check(&["p1", "p2?", "p3"], &[1, 3]);
        check(&["p1", "p2", "p1"], &[1, 2, 1]);
    }
}
