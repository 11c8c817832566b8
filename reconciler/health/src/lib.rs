//! Health of one object and of many, judged from what the API server says.
//!
//! Rules follow kstatus (`sigs.k8s.io/cli-utils/pkg/kstatus`): deletion first, then an
//! `observedGeneration` that lags behind, `Stalled` and `Reconciling`, the kind's own rule, `Ready`,
//! and otherwise the object is healthy. Workloads are also judged by their pods, because a
//! Deployment says only after its progress deadline what its pods say at once.
//!
//! Everything here is a function of values: the caller reads the cluster and the clock.

mod custom;
mod fields;
mod generic;
mod kinds;
mod pods;
#[cfg(test)]
mod tests;
mod total;
mod workload;

pub use kinds::{Judgement, judge, looks_at_pods, pod_selector, says_something};
pub use pods::Related;
pub use total::{WORST_SHOWN, total};
