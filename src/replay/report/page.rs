//! The report as one page that needs nothing else.

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use super::text::{enough, notes, percent};
use super::{Finding, Report, chart};
use crate::replay::moment;

/// The page; all that is filled in is escaped, but for the charts.
const PAGE: &str = include_str!("../page.html");
const NAME: &str = "page";

/// The report as HTML.
pub(in crate::replay) fn write(report: &Report) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let undone = |error: minijinja::Error| format!("the page cannot be written: {error:#}");
    let template = environment.template_from_named_str(NAME, PAGE).map_err(undone)?;
    let policies: Result<Vec<Value>, String> = report.policies.iter().map(policy).collect();
    let counts = &report.counts;
    let span = report.course.span;
    let rows: Vec<Value> = report
        .read
        .iter()
        .map(|read| {
            context! {
                name => read.name.as_str(),
                format => read.format,
                lines => read.lines,
                requests => read.requests,
                unreadable => read.unreadable,
            }
        })
        .collect();
    let bad: Vec<Value> = report
        .bad
        .iter()
        .map(|bad| context! { file => bad.file.as_str(), line => bad.line, why => bad.why, text => bad.text.as_str() })
        .collect();
    let page = context! {
        requests => counts.requests,
        denied => counts.denied,
        denied_share => percent(counts.denied, counts.requests),
        malformed => counts.malformed,
        turned_away => counts.turned_away,
        exempt => counts.exempt.iter().sum::<u64>(),
        unlimited => counts.unlimited,
        routeless => counts.routeless,
        unreadable => report.unreadable(),
        late => report.course.late,
        late_most => report.course.late_most.to_string(),
        keys => report.keys,
        forgotten => report.forgotten,
        from => span.map(|(first, _)| moment::written(first)),
        to => span.map(|(_, last)| moment::written(last)),
        rate => format!("{:.1}", report.requests_per_second()),
        files => rows,
        bad => bad,
        policies => policies?,
        notes => notes(report),
        speed => format!("{:.0}", report.lines_per_second()),
    };
    template.render(page).map_err(undone)
}

fn policy(finding: &Finding) -> Result<Value, String> {
    let used = finding
        .used
        .as_ref()
        .map(|used| [used.median, used.p99, used.most].map(|used| percent(used.into(), 1_000_000)));
    let top: Vec<Value> = finding
        .top
        .iter()
        .map(|top| context! { name => top.name.as_str(), checked => top.checked, denied => top.denied })
        .collect();
    let charts = if finding.checked > 0 {
        Some(context! {
            over_time => Value::from_safe_string(chart::over_time(finding)?),
            curve => Value::from_safe_string(chart::curve(finding)?),
        })
    } else {
        None
    };
    Ok(context! {
        name => finding.name.as_str(),
        enforced => finding.enforced,
        limit => finding.limit.as_str(),
        divided => finding.divided.as_str(),
        checked => finding.checked,
        denied => finding.denied,
        denied_share => percent(finding.denied, finding.checked),
        banned => finding.banned,
        bans => finding.bans,
        keys => finding.keys,
        keys_denied => finding.keys_denied,
        used => used,
        enough => enough(&finding.trial),
        top => top,
        charts => charts,
    })
}
