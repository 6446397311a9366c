//! What was expected and what was measured, line by line.

use std::fmt;

/// A line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    scenario: &'static str,
    what: String,
    expected: String,
    measured: String,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Skipped,
}

impl Row {
    /// Something that was tried and came out as expected.
    pub(crate) fn passed(
        scenario: &'static str,
        what: impl Into<String>,
        expected: impl Into<String>,
        measured: impl Into<String>,
    ) -> Self {
        let (what, expected, measured) = (what.into(), expected.into(), measured.into());
        Self { scenario, what, expected, measured, verdict: Verdict::Passed }
    }

    /// A scenario that did not come out as expected.
    pub(crate) fn failed(scenario: &'static str, what: impl Into<String>, error: &anyhow::Error) -> Self {
        let measured = format!("{error:#}");
        Self { verdict: Verdict::Failed, ..Self::passed(scenario, what, "", measured) }
    }

    /// A scenario that could not be tried here, and why.
    pub(crate) fn skipped(scenario: &'static str, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, ..Self::passed(scenario, what, "", why) }
    }

    /// Whether it fails the run.
    pub(crate) fn is_failed(&self) -> bool {
        self.verdict == Verdict::Failed
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Passed => "ok",
            Verdict::Failed => "FAILED",
            Verdict::Skipped => "skipped",
        };
        let Self { scenario, what, expected, measured, .. } = self;
        write!(f, "| {scenario} | {what} | {expected} | {measured} | {verdict} |")
    }
}

/// The whole table, in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = "| | what | expected | measured | |\n|---|---|---|---|---|".to_owned();
    let lines = rows.iter().map(Row::to_string);
    std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
}
