//! The Tidegate API: group `tidegate.dev`, version `v1alpha1`.
//!
//! The Rust types here are the one definition of every kind; the CRDs in
//! `schemas/crds` are generated from them. Every rule that one object alone can
//! break is a CEL rule, so that `kubectl apply` says it at once. What is
//! persisted (verdicts, findings, health, decisions) is a type of this crate, and
//! the crates that decide return it.

#![allow(clippy::duplicated_attributes, reason = "one printcolumn attribute for each column")]

pub mod admission;
mod approval;
mod class;
mod condition;
mod crds;
mod default;
mod defaults;
mod environment;
mod pipeline;
mod promotion;
mod release;
mod repository;
mod roster;
mod running;
mod sync;
mod trust;

pub use approval::{Approval, ApprovalSpec, Decision};
pub use class::{
    After, ApprovalRule, Drift, EnvironmentClass, EnvironmentClassSpec, Excluded, Gates,
    LanePolicy, OnRegression, Rollback, ScanGate, Subject, VerifiedImages, Watch,
};
pub use condition::{ConditionStatus, condition, set_condition};
pub use crds::crds;
pub use defaults::{Effective, EffectiveEnvironment, EffectiveLane, LanePaths, effective, present};
pub use environment::{Environment, EnvironmentSpec, ImageField, Target};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
pub use pipeline::{
    Candidate, Follow, FollowedImage, FollowedStatus, LaneSpec, Newest, Pipeline, PipelineSource,
    PipelineSpec, PipelineStatus,
};
pub use promotion::{
    Change, CountedApproval, GateName, GateReport, GateState, Held, Interval, JournalEntry, Kind,
    Phase, PlannedCommit, Promotion, PromotionSpec, PromotionStatus, WatchReport,
};
pub use release::{
    CountedStatement, Exception, Finding, Quarantine, Release, ReleaseImage, ReleaseSpec,
    ReleaseStatus, RenderedSet, ScanRecord, SourceCommit, Verdict,
};
pub use repository::{Repository, RepositorySpec, RepositoryStatus, SecretRef, SourceVerification};
pub use roster::{Machine, Person, Roster, RosterSpec};
pub use running::{Unverified, UnverifiedReason};
pub use sync::{
    Applied, Cause, DriftForm, DriftRecord, HeadVerification, Health, HealthReport, ObjectHealth,
    Prune, RefusedHead, Render, Revision, Sync, SyncFailure, SyncSource, SyncSpec, SyncStatus,
};
pub use trust::{
    AttestationRequirement, Authority, BaseImage, BaseImages, BaseSource, CustomRequirement,
    KeyAuthority, KeylessAuthority, Log, Requirement, Revocation, RevokedIdentity, SbomFormat,
    SbomRequirement, Severity, SlsaRequirement, SlsaSource, SourceMatch, StaticDigest, TextMatch,
    TrustPolicy, TrustPolicySpec, TrustedRootRef, VulnerabilityRequirement,
};

/// The API group of every kind.
pub const GROUP: &str = "tidegate.dev";
/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";
/// The namespace the engine runs in, unless `install` was told another one.
pub const SYSTEM_NAMESPACE: &str = "tidegate-system";
/// The locked namespace of the deployer accounts: never a target.
pub const DEPLOYERS_NAMESPACE: &str = "tidegate-deployers";
/// The field manager of everything that Tidegate applies.
pub const FIELD_MANAGER: &str = "tidegate";
