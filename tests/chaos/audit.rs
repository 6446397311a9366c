//! `workfleet audit` has the last word on every ledger, and must count as the test's own check does.

use serde_json::Value;

use crate::field::Field;
use crate::verdict::Verdict;

/// What it printed.
#[derive(Debug)]
pub(crate) struct Audit {
    succeeded: bool,
    counts: Value,
    complaint: String,
}

/// Runs it on the field's ledger.
pub(crate) async fn of(field: &Field) -> Audit {
    let ledger = field.ledger_file().display().to_string();
    let output = field.stand.command(&["audit", "--json", &ledger]).await;
    Audit {
        succeeded: output.status.success(),
        counts: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Audit {
    /// # Panics
    /// When it found something lost, or counts otherwise.
    #[track_caller]
    pub(crate) fn agrees_with(&self, verdict: &Verdict) {
        assert!(self.succeeded, "{}\n{:#}", self.complaint, self.counts);
        let counts = [
            ("total", verdict.accepted),
            ("completed", verdict.completed),
            ("failed", verdict.failed),
            ("cancelled", verdict.cancelled),
            ("expired", verdict.expired),
            ("waiting", 0),
            ("scheduled", 0),
            ("running", 0),
        ];
        for (name, count) in counts {
            assert_eq!(self.counts[name], count, "{name} of {:#}", self.counts);
        }
    }
}
