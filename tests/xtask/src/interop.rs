//! `cargo xtask interop cosign`: does Tidegate say of an image what cosign says?
//!
//! Real cosign signs against the lab's private Sigstore, and both judge what then lies in the
//! registry: cosign by its own command, Tidegate by its registry reader and verifier with a
//! `TrustPolicy`. Where cosign accepts and Tidegate does not, the case says why; any other
//! difference is a failure. `--write` keeps what was made for tests that need no lab.

mod attested;
mod cases;
mod fixtures;
mod judge;
mod report;
mod stand;
mod tampered;

use tidegate_harness::Lab;

use crate::error::XtaskError;
use judge::Judged;
use stand::Stand;

/// What to compare with.
#[derive(clap::ValueEnum, Clone, Copy)]
pub(crate) enum Tool {
    /// Sigstore's cosign.
    Cosign,
}

/// Judges every case with both, prints a table, and fails unless they agree as documented.
pub(crate) fn interop(tool: Tool, write: bool) -> Result<(), XtaskError> {
    let Tool::Cosign = tool;
    let lab = Lab::attach_or_start()?;
    let stand = Stand::new(lab)?;
    let cases = cases::all(&stand)?;
    let mut judged = Vec::with_capacity(cases.len());
    for case in cases {
        judged.push(stand.judge(case)?);
    }
    print!("{}", report::Report(&judged));
    let wrong: Vec<_> = judged.iter().filter_map(Judged::wrong).collect();
    if !wrong.is_empty() {
        return Err(XtaskError::Interop(wrong));
    }
    if write {
        fixtures::write(&stand, &judged)?;
    }
    Ok(())
}
