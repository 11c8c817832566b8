//! What a person reads of the comparison: a table, our reasons, and why we are stricter where.

use std::fmt;

use super::judge::{Judged, Word};

/// Every case with both answers.
pub(super) struct Report<'a>(pub(super) &'a [Judged]);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table(f)?;
        self.reasons(f)?;
        self.differences(f)?;
        let (all, agreed) = (self.0.len(), self.count(Judged::agree));
        let accepted = self.count(|one| one.ours == Word::Accepted);
        writeln!(
            f,
            "\n{all} cases: {agreed} agreed, {} stricter; {accepted} accepted and {} refused by \
             Tidegate",
            all - agreed,
            all - accepted,
        )
    }
}

impl Report<'_> {
    fn count(&self, which: impl Fn(&Judged) -> bool) -> usize {
        self.0.iter().filter(|one| which(one)).count()
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|one| one.case.name.len()).max().unwrap_or_default();
        writeln!(f, "{:width$}  cosign   Tidegate", "case")?;
        for one in self.0 {
            let remark = match (one.wrong(), one.agree()) {
                (Some(_), _) => "  WRONG",
                (None, true) => "",
                (None, false) => "  stricter",
            };
            let (cosign, ours) = (one.cosign.as_str(), one.ours.as_str());
            writeln!(f, "{:width$}  {cosign}  {ours}{remark}", one.case.name)?;
        }
        Ok(())
    }

    fn reasons(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nWhat Tidegate says where it refuses:")?;
        for one in self.0.iter().filter(|one| one.ours == Word::Refused) {
            writeln!(f, "- {}:", one.case.name)?;
            for reason in &one.reasons {
                writeln!(f, "    {reason}")?;
            }
        }
        Ok(())
    }

    fn differences(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nWhere Tidegate refuses what cosign accepts:")?;
        for one in self.0.iter().filter(|one| !one.agree()) {
            let why = one.case.stricter.unwrap_or("no reason is documented");
            writeln!(f, "- {}: {why}", one.case.name)?;
        }
        Ok(())
    }
}
