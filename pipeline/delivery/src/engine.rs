//! The running engine: what every pass works with, and four tasks for each
//! pipeline: one discovers, one moves promotions on, one looks at what runs, one
//! sums up what was verified. They are apart so that a registry that hangs never holds up a rollback.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};
use tidegate_outbound::Registry;
use tidegate_render::Renderer;
use tidegate_schemas::{
    FollowedImage, Pipeline, PipelineStatus, Promotion, PromotionStatus, Release, ReleaseStatus,
    Verdict, set_condition,
};
use tidegate_source::Person;
use tidegate_sync::{Looked, Sources};
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::audit::auditor;
use crate::clock;
use crate::discover::{self, Inputs};
use crate::images::{Followed, Follower};
use crate::journal::Recent;
use crate::keys::Keys;
use crate::lane::Stated;
use crate::pull::Registries;
use crate::rejudge::Judged;
use crate::trust::{Asked, Rules, Verdicts};
use crate::verified::Lists;
use crate::world::{PipelineKey, Wake, World};
use crate::{Error, beside, promote};

/// How long to wait after a pass that met an error.
const AFTER_ERROR: Duration = Duration::from_secs(2);
/// How long to wait before a registry that was away is asked again to take a summary.
const AFTER_AWAY: Duration = Duration::from_secs(30);
/// The longest time between two looks at the same thing.
const AT_MOST: Duration = Duration::from_hours(1);

/// What the engine is started with.
pub struct Options {
    /// The engine's own namespace: signing keys and trust keys are there.
    pub system_namespace: String,
    /// The library through which tokens are reached that hold signing keys (PKCS #11).
    pub pkcs11_module: Option<PathBuf>,
    /// How often registries are looked at.
    pub image_interval: Duration,
    /// Which Syncs have looked at their target since this process began.
    pub looked: Looked,
}

/// What every pass works with.
pub struct Engine {
    /// The API server, as the engine's own account.
    pub client: Client,
    /// Everything known of the cluster.
    pub world: World,
    /// Repositories.
    pub sources: Sources,
    /// The render workers.
    pub renderer: Arc<Renderer>,
    /// Verdicts on images.
    pub verdicts: Verdicts,
    /// What the rules in force say of images in use.
    pub judged: Judged,
    /// The lists of verified images.
    pub lists: Lists,
    /// Signing keys.
    pub keys: Keys,
    /// The registry client of each pipeline.
    pub registries: Registries,
    /// The uid of the namespace `kube-system`.
    pub cluster_uid: String,
    /// Which Syncs have looked at their target since this process began.
    pub looked: Looked,
    /// When this process began.
    pub since: Timestamp,
    /// What deploy commits state.
    pub stated: Stated,
    image_interval: Duration,
}

/// Who authors deploy commits.
#[must_use]
pub fn author() -> Person {
    Person { name: "Tidegate".to_owned(), email: "tidegate@tidegate.dev".to_owned() }
}

/// Runs until the task is dropped.
///
/// # Errors
/// When the cluster cannot be read at the start.
pub async fn run(
    client: Client,
    sources: Sources,
    renderer: Arc<Renderer>,
    registry: Registry,
    options: Options,
) -> Result<(), Error> {
    let (wakes, woken) = unbounded_channel();
    let mut tasks = JoinSet::new();
    let kube_system: Namespace = Api::all(client.clone())
        .get("kube-system")
        .await
        .map_err(Error::cluster("reading the namespace kube-system"))?;
    let world = World::start(&client, &wakes, &mut tasks).await;
    let registries = Registries::new(&client, registry);
    let engine = Arc::new(Engine {
        verdicts: Verdicts::new(&client, &options.system_namespace),
        judged: Judged::default(),
        lists: Lists::default(),
        keys: Keys::new(&client, &options.system_namespace, options.pkcs11_module),
        cluster_uid: kube_system.uid().unwrap_or_default(),
        looked: options.looked.clone(),
        stated: Stated::default(),
        since: clock::now(),
        image_interval: options.image_interval,
        client,
        world,
        sources: sources.clone(),
        renderer,
        registries,
    });
    let (keys, changed) = (Arc::clone(&engine), wakes.clone());
    tasks.spawn(async move { keys.keys.follow(&changed).await });
    // A repository may serve any pipeline: all of them look, which is cheap where nothing moved.
    tasks.spawn(wake_on(sources.subscribe(), wakes.clone(), |_| Wake::All));
    tasks.spawn(wake_on(options.looked.subscribe(), wakes, |sync| Wake::Namespace(sync.0)));
    dispatch(&engine, woken).await;
    Ok(())
}

/// Wakes pipelines on what a channel tells; on everything where it told more than could be read.
async fn wake_on<T: Clone>(
    mut news: broadcast::Receiver<T>,
    wakes: UnboundedSender<Wake>,
    concerns: impl Fn(T) -> Wake + Send,
) {
    loop {
        let wake = match news.recv().await {
            Ok(news) => concerns(news),
            Err(RecvError::Lagged(_)) => Wake::All,
            Err(RecvError::Closed) => return,
        };
        if wakes.send(wake).is_err() {
            return;
        }
    }
}

/// What works for a pipeline.
struct Crew {
    discover: Arc<Notify>,
    promote: Arc<Notify>,
    summarize: Arc<Notify>,
    audit: Arc<Notify>,
    all: JoinSet<()>,
}

async fn dispatch(engine: &Arc<Engine>, mut woken: UnboundedReceiver<Wake>) {
    let mut running: HashMap<PipelineKey, Crew> = HashMap::new();
    let mut wake = Some(Wake::All);
    while let Some(current) = wake {
        let present: Vec<PipelineKey> =
            engine.world.pipelines.state().iter().map(|p| key_of(p)).collect();
        for gone in running.keys().filter(|k| !present.contains(k)).cloned().collect::<Vec<_>>() {
            if let Some(mut own) = running.remove(&gone) {
                own.all.abort_all();
            }
        }
        for key in present {
            let own = running.entry(key.clone()).or_insert_with(|| start(engine, &key));
            if current.concerns(&key) {
                own.discover.notify_one();
                own.promote.notify_one();
                own.summarize.notify_one();
                own.audit.notify_one();
            }
        }
        wake = woken.recv().await;
    }
}

fn key_of(pipeline: &Pipeline) -> PipelineKey {
    PipelineKey { namespace: pipeline.namespace().unwrap_or_default(), name: pipeline.name_any() }
}

fn start(engine: &Arc<Engine>, key: &PipelineKey) -> Crew {
    let mut own = Crew {
        discover: Arc::default(),
        promote: Arc::default(),
        summarize: Arc::default(),
        audit: Arc::default(),
        all: JoinSet::new(),
    };
    own.all.spawn(discoverer(engine.clone(), key.clone(), own.discover.clone()));
    own.all.spawn(promoter(engine.clone(), key.clone(), own.promote.clone()));
    own.all.spawn(summarizer(engine.clone(), key.clone(), own.summarize.clone()));
    own.all.spawn(auditor(engine.clone(), key.clone(), own.audit.clone()));
    own
}

/// Discovers whenever something concerns the pipeline, and looks at registries on their interval.
/// While nothing that the last outcome rests on has moved, it does nothing.
async fn discoverer(engine: Arc<Engine>, key: PipelineKey, notify: Arc<Notify>) {
    let mut follower = Follower::default();
    let mut choices: Option<(Followed, Vec<FollowedImage>)> = None;
    let mut last: Option<Inputs> = None;
    let mut look_again = clock::now();
    let mut settled = true;
    loop {
        if let Some(pipeline) = engine.world.pipeline(&key) {
            let images = &pipeline.spec.images;
            if clock::now() >= look_again || choices.as_ref().is_none_or(|(_, of)| of != images) {
                let held = pipeline.status.as_ref().map(|s| s.images.clone()).unwrap_or_default();
                let registry = engine.registries.of(&key, &pipeline).await;
                choices = Some((follower.look(&registry, images, &held).await, images.clone()));
                look_again = clock::now() + engine.image_interval;
                last = last.filter(|_| settled);
            }
        }
        let mut pause = clock::until(look_again, clock::now());
        let inputs = choices.as_ref().and_then(|(f, _)| Inputs::now(&engine, &key, f));
        if let Some((followed, _)) = choices.as_ref().filter(|_| last.is_none() || last != inputs) {
            match discover::pass(&engine, &key, followed, clock::now()).await {
                Ok(stands) => {
                    settled = stands;
                    last = inputs;
                }
                Err(error) => {
                    note(&key, "discovering", &error);
                    last = None;
                    pause = pause.min(AFTER_ERROR);
                }
            }
        }
        wait(&notify, pause).await;
    }
}

async fn promoter(engine: Arc<Engine>, key: PipelineKey, notify: Arc<Notify>) {
    let mut recent = Recent::default();
    loop {
        let pause = match promote::pass(&engine, &key, &mut recent).await {
            Ok(Some(next)) => clock::until(next, clock::now()),
            Ok(None) => AT_MOST,
            Err(error) => {
                note(&key, "promoting", &error);
                AFTER_ERROR
            }
        };
        wait(&notify, pause).await;
    }
}

/// Puts verification summaries beside their images, apart from what makes them: a registry that
/// hangs holds up nothing.
async fn summarizer(engine: Arc<Engine>, key: PipelineKey, notify: Arc<Notify>) {
    let mut done = beside::Done::default();
    loop {
        match beside::pass(&engine, &key, &mut done).await {
            Ok(()) => wait(&notify, AT_MOST).await,
            Err(error) => {
                note(&key, "putting verification summaries beside their images", &error);
                // Nothing that wakes the pipeline makes a registry answer sooner.
                let conflict = matches!(error, Error::Conflict { .. });
                tokio::time::sleep(if conflict { AFTER_ERROR } else { AFTER_AWAY }).await;
            }
        }
    }
}

fn note(key: &PipelineKey, doing: &str, error: &Error) {
    if matches!(error, Error::Conflict { .. }) {
        tracing::debug!(pipeline = %key, %error, "{doing}: it is read again");
    } else {
        tracing::warn!(pipeline = %key, %error, "{doing} met an error; it is tried again");
    }
}

/// Waits until something is told, or the pause is over.
pub async fn wait(notify: &Notify, pause: Duration) {
    tokio::select! {
        () = notify.notified() => {}
        () = tokio::time::sleep(pause.min(AT_MOST)) => {}
    }
}

impl Engine {
    /// The trust policies in force.
    pub async fn rules(&self) -> Rules {
        self.verdicts.rules(&self.world.trust.state()).await
    }

    /// The verdict on an image of a pipeline.
    ///
    /// # Errors
    /// One sentence, when it cannot be told now.
    pub async fn verdict(
        &self,
        key: &PipelineKey,
        rules: &Rules,
        asked: &Asked,
        now: Timestamp,
    ) -> Result<Verdict, String> {
        self.verdicts.verdict(&self.registry(key).await, rules, asked, now).await
    }

    /// The verdicts on images of a pipeline, in their order.
    pub async fn verdicts(
        &self,
        key: &PipelineKey,
        rules: &Rules,
        asked: &[Asked],
        now: Timestamp,
    ) -> Vec<Result<Verdict, String>> {
        self.verdicts.verdicts(&self.registry(key).await, rules, asked, now).await
    }

    async fn registry(&self, key: &PipelineKey) -> Result<Registry, String> {
        match self.world.pipeline(key) {
            Some(pipeline) => self.registries.of(key, &pipeline).await,
            None => Err(format!("the pipeline {key} is gone")),
        }
    }

    /// Writes a pipeline's status, if it changed.
    ///
    /// # Errors
    /// When the API server does not take it, or somebody wrote it in between.
    pub async fn write_pipeline(
        &self,
        pipeline: &Pipeline,
        status: PipelineStatus,
    ) -> Result<(), Error> {
        if pipeline.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut changed = pipeline.clone();
        changed.status = Some(status);
        let name = pipeline.name_any();
        let api: Api<Pipeline> =
            Api::namespaced(self.client.clone(), &pipeline.namespace().unwrap_or_default());
        api.replace_status(&name, &PostParams::default(), &changed)
            .await
            .map_err(Error::cluster(format!("the status of Pipeline {name}")))?;
        Ok(())
    }

    /// Says in the pipeline's condition `Delivery` what keeps promotions from moving.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub async fn tell_delivery(
        &self,
        pipeline: &Pipeline,
        troubles: &[String],
    ) -> Result<(), Error> {
        let mut status = pipeline.status.clone().unwrap_or_default();
        let known = tidegate_schemas::condition(&status.conditions, "Delivery");
        if troubles.is_empty() && known.is_none_or(|c| c.status == "True") {
            return Ok(());
        }
        let (reason, message) = if troubles.is_empty() {
            ("Moving", "nothing keeps promotions from moving".to_owned())
        } else {
            ("Troubled", troubles.join("; ").chars().take(4096).collect())
        };
        let generation = pipeline.metadata.generation;
        let holds = troubles.is_empty();
        let conditions = &mut status.conditions;
        set_condition(conditions, "Delivery", holds, reason, message, generation, clock::now());
        match self.write_pipeline(pipeline, status).await {
            // Discovery wrote it in between; the next pass says it.
            Err(Error::Conflict { .. }) => Ok(()),
            other => other,
        }
    }

    /// Writes a promotion's journal. Gives the object as it is then.
    ///
    /// # Errors
    /// When the API server does not take it, or somebody wrote it in between.
    pub async fn write_promotion(
        &self,
        promotion: &Promotion,
        status: PromotionStatus,
    ) -> Result<Promotion, Error> {
        if promotion.status.as_ref() == Some(&status) {
            return Ok(promotion.clone());
        }
        let mut changed = promotion.clone();
        changed.status = Some(status);
        let name = promotion.name_any();
        let api: Api<Promotion> =
            Api::namespaced(self.client.clone(), &promotion.namespace().unwrap_or_default());
        api.replace_status(&name, &PostParams::default(), &changed)
            .await
            .map_err(Error::cluster(format!("the journal of Promotion {name}")))
    }

    /// Writes a release's status.
    ///
    /// # Errors
    /// When the API server does not take it, or somebody wrote it in between.
    pub async fn write_release(
        &self,
        release: &Release,
        status: ReleaseStatus,
    ) -> Result<(), Error> {
        let mut changed = release.clone();
        changed.status = Some(status);
        let name = release.name_any();
        let api: Api<Release> =
            Api::namespaced(self.client.clone(), &release.namespace().unwrap_or_default());
        api.replace_status(&name, &PostParams::default(), &changed)
            .await
            .map_err(Error::cluster(format!("the status of Release {name}")))?;
        Ok(())
    }
}

/// Now, in whole seconds: Git keeps no more.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
