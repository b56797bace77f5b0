//! The report for programs. Its keys are an interface: `docs/replay.md` has them all.

use serde_json::{Map, Value, json};

use super::{Finding, Report, share, text};
use crate::replay::moment;
use crate::rules::access::Exemption;

/// The report as JSON.
pub(in crate::replay) fn write(report: &Report) -> String {
    let mut text = format!("{:#}", value(report));
    text.push('\n');
    text
}

fn value(report: &Report) -> Value {
    let counts = &report.counts;
    let span = report.course.span.map(|(first, last)| {
        json!({
            "from": moment::written(first),
            "to": moment::written(last),
            "seconds": report.seconds(),
        })
    });
    let exempt = [Exemption::Client, Exemption::User, Exemption::Path];
    let exempt: Map<String, Value> = exempt
        .iter()
        .zip(counts.exempt)
        .map(|(by, number)| (by.name().to_owned(), number.into()))
        .collect();
    json!({
        "lines": report.lines(),
        "unreadable": report.unreadable(),
        "requests": counts.requests,
        "denied": counts.denied,
        "denied_share": share(counts.denied, counts.requests),
        "malformed": counts.malformed,
        "turned_away": counts.turned_away,
        "exempt": exempt,
        "unlimited": counts.unlimited,
        "no_route": counts.routeless,
        "span": span,
        "requests_per_second": report.requests_per_second(),
        "late": {
            "requests": report.course.late,
            "seconds_at_most": report.course.late_most.get() as f64 / 1e6,
        },
        "keys": { "remembered": report.keys, "forgotten_checks": report.forgotten },
        "policies": report.policies.iter().map(policy).collect::<Vec<Value>>(),
        "files": report.read.iter().map(|read| json!({
            "file": read.name,
            "format": read.format,
            "lines": read.lines,
            "requests": read.requests,
            "unreadable": read.unreadable,
        })).collect::<Vec<Value>>(),
        "unreadable_first": report.bad.iter().map(|bad| json!({
            "file": bad.file,
            "line": bad.line,
            "why": bad.why,
            "text": bad.text,
        })).collect::<Vec<Value>>(),
        "notes": text::notes(report),
        "replay": {
            "seconds": report.took.get() as f64 / 1e6,
            "lines_per_second": report.lines_per_second(),
        },
    })
}

fn policy(finding: &Finding) -> Value {
    let tried = &finding.trial;
    let of_million = |used: u32| f64::from(used) / 1e6;
    json!({
        "policy": finding.name,
        "mode": if finding.enforced { "enforce" } else { "shadow" },
        "algorithm": finding.algorithm,
        "quota": finding.quota,
        "window_seconds": finding.window.get() as f64 / 1e6,
        "burst": finding.burst,
        "partition": finding.partition,
        "checked": finding.checked,
        "denied": finding.denied,
        "denied_share": share(finding.denied, finding.checked),
        "banned": finding.banned,
        "bans": finding.bans,
        "clients": finding.keys,
        "clients_denied": finding.keys_denied,
        "most_denied": finding.top.iter().map(|top| json!({
            "client": top.name,
            "checked": top.checked,
            "denied": top.denied,
        })).collect::<Vec<Value>>(),
        "used_share": finding.used.as_ref().map(|used| json!({
            "median": of_million(used.median),
            "p99": of_million(used.p99),
            "max": of_million(used.most),
        })),
        "enough": tried.proposal.map(|proposal| json!({
            "quota": proposal.units,
            "burst": proposal.burst,
            "denied_share": share(proposal.denied, tried.asked),
            "step": proposal.step,
        })),
        "curve": tried.curve.iter().map(|point| json!({
            "quota": point.units,
            "denied_share": share(point.denied, tried.asked),
        })).collect::<Vec<Value>>(),
        "tried": {
            "checks": tried.asked,
            "one_client_in": tried.one_in,
            "beginning_only": tried.beginning,
        },
        "over_time": {
            "from": moment::written(finding.timeline.start),
            "seconds_each": finding.timeline.length.get() as f64 / 1e6,
            "allowed": column(finding, 0),
            "denied": column(finding, 1),
        },
    })
}

fn column(finding: &Finding, at: usize) -> Vec<u64> {
    finding.timeline.spans.iter().map(|span| span[at]).collect()
}
