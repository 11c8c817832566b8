//! The objects that a command looks at, wherever they were read: in the cluster, in a
//! folder, or in a test.

use kube::ResourceExt as _;
use serde_json::Value;
use tidegate_ids::{EnvironmentName, LaneName, PipelineName};
use tidegate_schemas::{
    Environment, EnvironmentClass, Phase, Pipeline, Promotion, PromotionStatus, Release,
    Repository, Sync,
};

/// Objects of one namespace, and the classes.
#[derive(Debug, Default)]
pub struct Objects {
    /// Pipelines.
    pub pipelines: Vec<Pipeline>,
    /// Environments.
    pub environments: Vec<Environment>,
    /// Classes.
    pub classes: Vec<EnvironmentClass>,
    /// Repositories.
    pub repositories: Vec<Repository>,
    /// Releases.
    pub releases: Vec<Release>,
    /// Promotions.
    pub promotions: Vec<Promotion>,
    /// Syncs.
    pub syncs: Vec<Sync>,
}

impl Objects {
    /// Takes the object in, where it is of a kind that matters here.
    ///
    /// # Errors
    /// When it is of such a kind and does not have its form.
    pub fn add(&mut self, value: Value) -> Result<(), serde_json::Error> {
        let ours =
            value["apiVersion"].as_str().is_some_and(|v| v.starts_with(tidegate_schemas::GROUP));
        match value["kind"].as_str().filter(|_| ours) {
            Some("Pipeline") => self.pipelines.push(serde_json::from_value(value)?),
            Some("Environment") => self.environments.push(serde_json::from_value(value)?),
            Some("EnvironmentClass") => self.classes.push(serde_json::from_value(value)?),
            Some("Repository") => self.repositories.push(serde_json::from_value(value)?),
            Some("Release") => self.releases.push(serde_json::from_value(value)?),
            Some("Promotion") => self.promotions.push(serde_json::from_value(value)?),
            Some("Sync") => self.syncs.push(serde_json::from_value(value)?),
            _ => {}
        }
        Ok(())
    }

    /// A release by name.
    pub fn release(&self, name: &str) -> Option<&Release> {
        self.releases.iter().find(|r| r.name_any() == name)
    }

    /// A Sync by name.
    pub fn sync(&self, name: &str) -> Option<&Sync> {
        self.syncs.iter().find(|s| s.name_any() == name)
    }

    /// The promotions of one lane of one environment, oldest first.
    pub fn promotions_of(
        &self,
        pipeline: &str,
        environment: &EnvironmentName,
        lane: &LaneName,
    ) -> Vec<&Promotion> {
        let mut found: Vec<&Promotion> = self
            .promotions
            .iter()
            .filter(|p| {
                p.spec.pipeline == *pipeline
                    && p.spec.environment == *environment
                    && p.spec.lane == *lane
            })
            .collect();
        found.sort_by_key(|p| order(p));
        found
    }
}

/// The order in which promotions were made.
pub fn order(promotion: &Promotion) -> (Option<jiff::Timestamp>, u64) {
    (promotion.creation_timestamp().map(|t| t.0), number(&promotion.name_any()))
}

/// The number at the end of a promotion's name; 0 where there is none.
pub fn number(name: &str) -> u64 {
    name.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The name of the next promotion: `{pipeline}-{environment}-{lane}-{n}`.
pub fn next_promotion(
    pipeline: &PipelineName,
    environment: &EnvironmentName,
    lane: &LaneName,
    promotions: &[Promotion],
) -> String {
    let stem = format!("{pipeline}-{environment}-{lane}");
    let highest = promotions
        .iter()
        .map(kube::ResourceExt::name_any)
        .filter(|name| name.rsplit_once('-').is_some_and(|(s, _)| s == stem))
        .map(|name| number(&name))
        .max()
        .unwrap_or(0);
    format!("{stem}-{}", highest + 1)
}

/// Where a promotion stands; waiting, where nothing is written yet.
pub fn phase(promotion: &Promotion) -> Phase {
    promotion.status.as_ref().map_or(Phase::Waiting, |s| s.phase)
}

/// A promotion's journal, where there is one.
pub fn journal(promotion: &Promotion) -> Option<&PromotionStatus> {
    promotion.status.as_ref()
}

/// What a release runs, for people: `odoo:17.0.3, redis:7.4.1`.
pub fn images(release: &Release) -> String {
    let mut names: Vec<String> = release
        .spec
        .images
        .iter()
        .map(|image| {
            let short = image.repository.rsplit('/').next().unwrap_or(&image.repository);
            match &image.tag {
                Some(tag) => format!("{short}:{tag}"),
                None => format!("{short}@{}", image.digest.short()),
            }
        })
        .collect();
    names.sort();
    names.join(", ")
}
