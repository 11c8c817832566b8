//! Following images: from tags to one digest for each followed repository.
//!
//! A registry that does not answer changes nothing: what was chosen last stays
//! chosen, and the condition says which registry to look at.

use std::collections::{BTreeMap, HashMap};
use tidegate_ids::{Digest, LaneName};
use tidegate_outbound::{Registry, Repository};
use tidegate_release::{Choice, TagInfo, choose, need_creation_time};
use tidegate_schemas::{FollowedImage, FollowedStatus};

/// What is followed, found now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Followed {
    /// The choices, in the pipeline's order.
    pub chosen: Vec<FollowedStatus>,
    /// What could not be learned or chosen, one sentence each.
    pub problems: Vec<String>,
}

impl Followed {
    /// The digests of one lane's images, by canonical repository.
    #[must_use]
    pub fn of_lane(&self, images: &[FollowedImage], lane: &LaneName) -> BTreeMap<String, Digest> {
        images
            .iter()
            .filter(|image| image.lane == *lane)
            .filter_map(|image| {
                let name = canonical(&image.repository);
                self.chosen.iter().find(|c| c.repository == name).map(|c| (name, c.digest))
            })
            .collect()
    }

    /// The tag that an image was found by.
    #[must_use]
    pub fn tag(&self, repository: &str, digest: Digest) -> Option<String> {
        self.chosen
            .iter()
            .find(|c| c.repository == repository && c.digest == digest)
            .and_then(|c| c.tag.clone())
    }
}

/// The canonical name of a repository, or the name as it is where it cannot be read.
pub(crate) fn canonical(repository: &str) -> String {
    repository
        .parse::<tidegate_outbound::RepositoryName>()
        .map_or_else(|_| repository.to_owned(), |name| name.to_string())
}

/// Looks at registries. Creation times are kept by digest: they never change.
#[derive(Default)]
pub struct Follower {
    created: HashMap<(String, Digest), Option<jiff::Timestamp>>,
}

impl Follower {
    /// Looks at every followed image; `held` is what was chosen last. Without a client, for the
    /// reason given, nothing new is chosen.
    pub async fn look(
        &mut self,
        registry: &Result<Registry, String>,
        images: &[FollowedImage],
        held: &[FollowedStatus],
    ) -> Followed {
        let registry = match registry {
            Ok(registry) => registry,
            Err(why) => return Followed { chosen: held.to_vec(), problems: vec![why.clone()] },
        };
        let mut followed = Followed::default();
        for image in images {
            let name = canonical(&image.repository);
            let last = held.iter().find(|h| h.repository == name);
            match self.one(registry, image, last).await {
                Ok((choice, note)) => {
                    followed.chosen.push(choice);
                    followed.problems.extend(note);
                }
                Err(why) => {
                    followed.chosen.extend(last.cloned());
                    followed.problems.push(why);
                }
            }
        }
        followed
    }

    async fn one(
        &mut self,
        registry: &Registry,
        image: &FollowedImage,
        held: Option<&FollowedStatus>,
    ) -> Result<(FollowedStatus, Option<String>), String> {
        let name: tidegate_outbound::RepositoryName =
            image.repository.parse().map_err(|e: tidegate_outbound::Error| e.to_string())?;
        let text = name.to_string();
        let repository = registry.repository(name);
        let found =
            |tag: Option<String>, digest| FollowedStatus { repository: text.clone(), tag, digest };
        if let Some(digest) = image.follow.digest {
            return Ok((found(None, digest), None));
        }
        let tags = self.tags(&repository, &text, image).await?;
        let last = held.and_then(|h| {
            let created = self.created.get(&(text.clone(), h.digest)).copied().flatten();
            h.tag.clone().map(|tag| TagInfo { tag, created })
        });
        match choose(&tags, &image.follow, last.as_ref()).map_err(|e| format!("{text}: {e}"))? {
            Choice::Digest(digest) => Ok((found(None, digest), None)),
            Choice::Held { why, .. } => {
                let held = held.ok_or_else(|| why.clone())?;
                Ok((held.clone(), Some(why)))
            }
            Choice::Tag(tag) => {
                let digest = repository.resolve(&tag).await.map_err(|e| e.to_string())?;
                Ok((found(Some(tag), digest), None))
            }
        }
    }

    async fn tags(
        &mut self,
        repository: &Repository,
        name: &str,
        image: &FollowedImage,
    ) -> Result<Vec<TagInfo>, String> {
        let names = repository.tags().await.map_err(|e| e.to_string())?;
        let mut tags: Vec<_> =
            names.into_iter().map(|tag| TagInfo { tag, created: None }).collect();
        let needed: Vec<String> =
            need_creation_time(&tags, &image.follow).into_iter().map(ToOwned::to_owned).collect();
        for tag in needed {
            let digest = repository.resolve(&tag).await.map_err(|e| e.to_string())?;
            let key = (name.to_owned(), digest);
            let created = match self.created.get(&key) {
                Some(created) => *created,
                None => repository.created(digest).await.map_err(|e| e.to_string())?,
            };
            self.created.insert(key, created);
            if let Some(info) = tags.iter_mut().find(|info| info.tag == tag) {
                info.created = created;
            }
        }
        Ok(tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_harness::Lab;
    use tidegate_schemas::{Follow, Newest};

    fn registry() -> Registry {
        let _first = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let options =
            tidegate_outbound::Options { plain_http_on_loopback: true, ..Default::default() };
        Registry::new(options).unwrap()
    }

    fn image(lab: &Lab, name: &str, follow: Follow) -> FollowedImage {
        let repository = format!("{}/{name}", lab.registry());
        FollowedImage { repository, follow, lane: "app".parse().unwrap() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_newest_dated_tag_is_followed_and_a_digest_stays() {
        let lab = Lab::attach_or_start().unwrap();
        let first: Digest =
            lab.push_image("follow/dated", "17.0-20251120", "first", &[]).unwrap().parse().unwrap();
        let newest =
            Follow { newest: Some(Newest { pattern: "17.0-*".into() }), ..Follow::default() };
        let fixed = Follow { digest: Some(first), ..Follow::default() };
        let images = [image(lab, "follow/dated", newest)];
        let mut follower = Follower::default();
        let before = follower.look(&Ok(registry()), &images, &[]).await;
        assert_eq!(before.chosen[0].tag.as_deref(), Some("17.0-20251120"));
        let second: Digest = lab
            .push_image("follow/dated", "17.0-20251121", "second", &[])
            .unwrap()
            .parse()
            .unwrap();
        let after = follower.look(&Ok(registry()), &images, &before.chosen).await;
        assert_eq!(
            (after.chosen[0].tag.as_deref(), after.chosen[0].digest),
            (Some("17.0-20251121"), second)
        );
        let stays = follower.look(&Ok(registry()), &[image(lab, "follow/dated", fixed)], &[]).await;
        assert_eq!((stays.chosen[0].tag.as_deref(), stays.chosen[0].digest), (None, first));
        assert!(after.problems.is_empty() && stays.problems.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_chosen_stays_chosen_while_nothing_better_is_found() {
        let lab = Lab::attach_or_start().unwrap();
        let held = [FollowedStatus {
            repository: format!("{}/follow/nowhere", lab.registry()),
            tag: Some("1.0.0".into()),
            digest: Digest::of(b"held"),
        }];
        let range = Follow { semver: Some("~1.0".into()), ..Follow::default() };
        let found = Follower::default()
            .look(&Ok(registry()), &[image(lab, "follow/nowhere", range)], &held)
            .await;
        assert_eq!(found.chosen, held);
        assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
    }
}
