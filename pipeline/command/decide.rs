//! `tidegate approve` and `tidegate reject`: an Approval of one's own, for exactly what was shown.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt as _};
use tidegate_ids::Digest;
use tidegate_schemas::{
    Approval, ApprovalRule, ApprovalSpec, Decision, Environment, Pipeline, Promotion, effective,
};

use crate::board::standing;
use crate::failure::{Failure, from_api};
use crate::objects::{Objects, phase};
use crate::session::{Connection, Session, list, show};
use crate::story::{headline, image_changes};
use crate::text::safe;

/// At most this many groups fit into an Approval.
const GROUPS: usize = 32;

/// Approves a promotion: exactly the change that is shown.
#[derive(clap::Args, Debug)]
pub struct Approve {
    /// The promotion.
    pub promotion: String,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
    /// Only if the change is still this one (as diff or explain showed it).
    #[arg(long, value_name = "DIGEST")]
    pub change: Option<Digest>,
}

/// Rejects a promotion, for good.
#[derive(clap::Args, Debug)]
pub struct Reject {
    /// The promotion.
    pub promotion: String,
    /// Why.
    #[arg(long)]
    pub reason: String,
    /// Only if the change is still this one (as diff or explain showed it).
    #[arg(long, value_name = "DIGEST")]
    pub change: Option<Digest>,
}

/// What a person says about a promotion.
pub struct Word {
    promotion: String,
    decision: Decision,
    reason: Option<String>,
    change: Option<Digest>,
}

impl From<Approve> for Word {
    fn from(args: Approve) -> Self {
        let Approve { promotion, reason, change } = args;
        Self { promotion, decision: Decision::Approve, reason, change }
    }
}

impl From<Reject> for Word {
    fn from(args: Reject) -> Self {
        let Reject { promotion, reason, change } = args;
        Self { promotion, decision: Decision::Reject, reason: Some(reason), change }
    }
}

/// Creates the Approval.
///
/// # Errors
/// When the promotion has ended, its change moved, or the API server refuses.
pub async fn run(connection: &Connection, word: Word) -> Result<(), Failure> {
    let session = connection.open().await?;
    let promotion: Promotion = session.one(&word.promotion).await?;
    let change = decidable(&promotion, word.change)?;
    show(&shown(&promotion, &session).await?)?;
    let me = whoami(&session.client).await?;
    let rules = rules(&session, &promotion).await;
    let spec = ApprovalSpec {
        promotion: promotion.name_any(),
        promotion_uid: promotion.uid().unwrap_or_default(),
        environment: promotion.spec.environment.clone(),
        change,
        decision: word.decision,
        user: me.username.clone().unwrap_or_default(),
        groups: groups(&me.groups.unwrap_or_default(), rules.as_deref()),
        reason: word.reason,
    };
    let approval = Approval {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", promotion.name_any())),
            ..ObjectMeta::default()
        },
        spec,
    };
    let verb = match word.decision {
        Decision::Approve => "approving",
        Decision::Reject => "rejecting",
    };
    let api: Api<Approval> = session.here();
    let made = api
        .create(&PostParams::default(), &approval)
        .await
        .map_err(|error| from_api(&format!("{verb} {}", promotion.name_any()), &error))?;
    let done = if word.decision == Decision::Approve { "approved" } else { "rejected" };
    show(&format!(
        "{done} as {} ({}); whether it counts: tidegate explain promotion {}\n",
        safe(&made.spec.user),
        safe(&made.name_any()),
        safe(&promotion.name_any())
    ))
}

/// The change to decide on.
fn decidable(promotion: &Promotion, pinned: Option<Digest>) -> Result<Digest, Failure> {
    let name = promotion.name_any();
    if phase(promotion) != tidegate_schemas::Phase::Waiting {
        return Err(Failure::from(format!(
            "{name} does not wait for anybody any more ({})",
            standing(promotion)
        )));
    }
    let Some(change) = promotion.status.as_ref().and_then(|s| s.change) else {
        return Err(Failure::from(format!(
            "what {name} would change is not known yet: try again in a moment, and if that stays so, tidegate explain promotion {name}"
        )));
    };
    match pinned {
        Some(pinned) if pinned != change => Err(Failure::from(format!(
            "what {name} would change has moved: you looked at {pinned}, and it is {change} now; look again with tidegate diff {name}"
        ))),
        _ => Ok(change),
    }
}

async fn shown(promotion: &Promotion, session: &Session) -> Result<String, Failure> {
    let spec = &promotion.spec;
    let status = promotion.status.clone().unwrap_or_default();
    let release: tidegate_schemas::Release = session.one(&spec.release).await?;
    let replaced = match &status.replaces {
        Some(held) => session.here().get_opt(&held.release).await.ok().flatten(),
        None => None,
    };
    let mut lines = vec![
        headline(promotion),
        format!(
            "commit {} by {}: {}",
            release.spec.source.commit.short(),
            release.spec.source.author,
            release.spec.source.title
        ),
    ];
    lines.extend(image_changes(&release, replaced.as_ref()));
    lines.extend(status.replaces.map(|held| format!("replaces {}", held.release)));
    lines.extend(status.change.map(|change| format!("change {change}")));
    Ok(lines.iter().map(|line| safe(line) + "\n").collect())
}

/// Who the API server takes this person for.
///
/// # Errors
/// When it does not answer.
pub async fn whoami(client: &Client) -> Result<UserInfo, Failure> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .map_err(|error| from_api("asking the API server who you are", &error))?;
    Ok(review.status.and_then(|s| s.user_info).unwrap_or_default())
}

/// The rules of the promotion's gate; none where this person may not read the class.
async fn rules(session: &Session, promotion: &Promotion) -> Option<Vec<ApprovalRule>> {
    let pipeline: Pipeline = session.one(promotion.spec.pipeline.as_str()).await.ok()?;
    let objects = Objects {
        environments: list::<Environment>(&session.here()).await.ok()?,
        classes: list(&session.cluster()).await.ok()?,
        ..Objects::default()
    };
    let effective = effective(&pipeline, &objects.environments, &objects.classes).ok()?;
    let lane = effective.environment(&promotion.spec.environment)?.lane(&promotion.spec.lane)?;
    Some(lane.approvals.clone())
}

/// Those of one's groups that the rules name; all of one's own where the rules are not known.
fn groups(mine: &[String], rules: Option<&[ApprovalRule]>) -> Vec<String> {
    let named = |group: &String| {
        rules.is_none_or(|rules| {
            rules.iter().flat_map(|r| &r.from).any(|s| s.group.as_ref() == Some(group))
        })
    };
    mine.iter().filter(|g| !g.starts_with("system:") && named(g)).take(GROUPS).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_groups_that_the_rules_name_are_told() {
        let mine = ["staff", "release-managers", "system:authenticated"].map(str::to_owned);
        let rules: Vec<ApprovalRule> = serde_json::from_value(serde_json::json!([
            {"from": [{"group": "release-managers"}, {"group": "security-officers"}]}
        ]))
        .unwrap();
        assert_eq!(groups(&mine, Some(&rules)), ["release-managers"]);
        assert_eq!(groups(&mine, None), ["staff", "release-managers"]);
        assert!(groups(&mine, Some(&[])).is_empty());
    }
}
