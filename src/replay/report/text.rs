//! The report for people.

use std::fmt::{Display, Write as _};

use super::{Finding, Report, Tried, share};
use crate::replay::moment;

/// Width of the first column.
const LABEL: usize = 11;

/// Lines under way.
struct Lines(String);

/// The report as text.
pub(in crate::replay) fn write(report: &Report) -> String {
    let mut lines = Lines(String::new());
    let counts = &report.counts;
    for read in &report.read {
        let (name, lines_read, format) = (read.name.escape_debug(), read.lines, read.format);
        lines.line("read", format_args!("{name} ({format}): {lines_read} lines"));
    }
    if let Some((first, last)) = report.course.span {
        let (first, last) = (moment::written(first), moment::written(last));
        let rate = report.requests_per_second();
        lines.line("time", format_args!("{first} to {last}, {rate:.1} requests a second"));
    }
    let (denied, requests) = (counts.denied, counts.requests);
    lines.line("requests", requests);
    lines.line("refused", format_args!("{denied} ({}) by limits", percent(denied, requests)));
    let [clients, users, paths] = counts.exempt;
    for (number, what) in [
        (counts.malformed, "malformed: the gateway answers 400"),
        (counts.turned_away, "of addresses that `[deny]` names: 403"),
        (clients, "exempt by the client's address"),
        (users, "exempt by the user"),
        (paths, "exempt by the path"),
        (counts.unlimited, "that no rule matches"),
        (counts.routeless, "that no route takes: 404"),
    ] {
        if number > 0 {
            lines.line("", format_args!("{number} {what}"));
        }
    }
    troubles(&mut lines, report);
    for finding in &report.policies {
        policy(&mut lines, finding);
    }
    lines.0.push('\n');
    for note in notes(report) {
        lines.line("note", note);
    }
    let rate = report.lines_per_second();
    lines.line("replayed", format_args!("{rate:.0} lines a second"));
    lines.0
}

/// What the numbers do not say by themselves.
pub(super) fn notes(report: &Report) -> Vec<String> {
    let mut notes = report.notes.clone();
    notes.push(
        "users are those that the log names, and nobody has verified them here; nobody has a tier"
            .to_owned(),
    );
    notes.push("every policy as the file says it; `[rollout]` is left out".to_owned());
    notes
}

/// What went wrong on the way, and what it means.
fn troubles(lines: &mut Lines, report: &Report) {
    let unreadable = report.unreadable();
    if unreadable > 0 {
        lines.line("unreadable", format_args!("{unreadable} lines; the first:"));
        for bad in &report.bad {
            lines.line("", format_args!("{}:{}: {}", bad.file.escape_debug(), bad.line, bad.why));
        }
    }
    if report.course.late > 0 {
        let (late, most) = (report.course.late, report.course.late_most);
        let what = format_args!("{late} lines, by {most} at most: taken for the time before them");
        lines.line("late", what);
    }
    if report.forgotten > 0 {
        let (keys, forgotten) = (report.keys, report.forgotten);
        let what = format_args!(
            "{forgotten} checks of clients beyond the first {keys} keys: none of them was denied \
             for what it had done before"
        );
        lines.line("forgotten", what);
    }
}

fn policy(lines: &mut Lines, finding: &Finding) {
    lines.0.push('\n');
    let mode = if finding.enforced { "enforced" } else { "in shadow mode" };
    lines.line("policy", format_args!("{}, {mode}", finding.name));
    lines.line("limit", format_args!("{}, {}", finding.limit, finding.divided));
    let (checked, denied) = (finding.checked, finding.denied);
    if checked == 0 {
        lines.line("asked", "never");
        return;
    }
    let part = percent(denied, checked);
    lines.line("asked", format_args!("{checked} times, denied {denied} ({part})"));
    if finding.bans > 0 {
        let (bans, banned) = (finding.bans, finding.banned);
        lines.line("banned", format_args!("{bans} times, {banned} requests refused for it"));
    }
    let (keys, keys_denied) = (finding.keys, finding.keys_denied);
    lines.line("clients", format_args!("{keys}, denied {keys_denied}"));
    if let Some(used) = &finding.used {
        let [median, p99, most] =
            [used.median, used.p99, used.most].map(|used| percent(used.into(), 1_000_000));
        lines.line(
            "used",
            format_args!("{median} by half of them at most, {p99} by 99 of 100, {most} by any"),
        );
    }
    lines.line("enough", enough(&finding.trial));
    for (place, top) in finding.top.iter().enumerate() {
        let label = if place == 0 { "denied" } else { "" };
        lines.line(label, format_args!("{:>8} of {:<8} {}", top.denied, top.checked, top.name));
    }
}

/// Which quota would have been enough, in words.
pub(super) fn enough(tried: &Tried) -> String {
    let Some(proposal) = &tried.proposal else {
        let none = if tried.asked == 0 {
            "not known: nobody asked who has no quota of their own"
        } else if tried.curve.is_empty() {
            "no quota that can be counted exactly"
        } else {
            "no quota: each that was tried denies more than 1%"
        };
        return none.to_owned();
    };
    let mut text = format!("quota = {}", proposal.units);
    if let Some(burst) = proposal.burst {
        let _ = write!(text, ", burst = {burst}");
    }
    let _ = write!(text, ": alone it denies {}", percent(proposal.denied, tried.asked));
    if proposal.step == 1 && proposal.units > 1 {
        text.push_str(", and one unit less more than 1%");
    }
    if tried.one_in > 1 {
        let _ = write!(text, " (by one of {} clients)", tried.one_in);
    }
    if tried.beginning {
        let _ = write!(text, " (by the first {} checks)", tried.asked);
    }
    text
}

/// `part` of `whole` in percent, with enough digits to tell it from 0 and from 1%.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let percent = share(part, whole) * 100.0;
    let digits = if percent == 0.0 || percent >= 10.0 { 0 } else { 2 };
    let text = format!("{percent:.digits$}%");
    if text == "0.00%" { "<0.01%".to_owned() } else { text }
}

// === impl Lines ===

impl Lines {
    fn line(&mut self, label: &str, text: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{label:LABEL$} {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Point, Proposal};
    use super::*;

    #[test]
    fn a_small_share_is_not_none() {
        let shares =
            [(0, 9), (1, 1_000_000), (1, 10_000), (1, 8), (9, 9)].map(|(a, b)| percent(a, b));
        assert_eq!(shares, ["0%", "<0.01%", "0.01%", "12%", "100%"]);
    }

    #[test]
    fn what_is_enough_says_no_more_than_was_found() {
        let tried = |step: Option<u64>, curve: Vec<Point>, asked: u64| {
            let proposal = step.map(|step| Proposal { units: 500, burst: None, denied: 0, step });
            enough(&Tried { proposal, curve, asked, one_in: 1, beginning: false })
        };
        assert!(
            tried(Some(1), Vec::new(), 9).ends_with("denies 0%, and one unit less more than 1%")
        );
        assert!(tried(Some(100), Vec::new(), 9).ends_with("denies 0%"));
        assert!(tried(None, Vec::new(), 9).contains("can be counted exactly"));
        let point = Point { units: 1, denied: 9 };
        assert!(tried(None, vec![point], 9).contains("each that was tried denies more than 1%"));
        assert!(tried(None, vec![point], 0).starts_with("not known"));
    }
}
