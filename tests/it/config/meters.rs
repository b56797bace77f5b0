//! What `[meters]` means.

use std::time::Duration;

use sluicegate::config::{Config, Metered};
use sluicegate::meter::Unique;

use super::parse;

const SOMEWHERE: &str = "[upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n\
    [upstreams.views]\nservers = [\"127.0.0.1:3001\"]\n\
    [[routes]]\npath = \"/**\"\nupstream = \"app\"\n";

fn read(text: &str) -> (Config, Vec<String>) {
    let (config, warnings) =
        parse(&format!("{text}{SOMEWHERE}"), &[("TOKEN", "hunter2")]).expect("a valid file");
    (config, warnings.iter().map(|warning| warning.message().to_owned()).collect())
}

fn meters(text: &str) -> Vec<Metered> {
    let (config, warnings) = read(text);
    assert_eq!(warnings, [""; 0]);
    config.meters
}

#[test]
fn what_a_meter_leaves_out_has_its_default() {
    let meters = meters("[meters.views]\npaths = [\"/a\"]\nunique_by = \"ip\"\n");
    let [Metered { meter, push: None }] = &meters[..] else { panic!("{meters:?}") };
    assert_eq!((meter.name.as_str(), meter.items_max), ("views", 50_000));
    assert_eq!(meter.methods, ["GET"]);
    assert_eq!(meter.unique, Unique::by_address(86_400));
}

#[test]
fn everything_that_a_meter_can_say() {
    let all = "[identity.api_key]\nheader = \"x-key\"\nfile = \"FILE\"\n\
        [meters.views]\npaths = [\"/stories/*\", \"/pages/**\"]\nmethods = [\"GET\", \"HEAD\"]\n\
        unique_by = \"user\"\nunique_for = \"1h\"\nmax_items = 7\nexport = \"push\"\n\
        [meters.views.push]\nupstream = \"views\"\npath = \"/in?x=1\"\nevery = \"90s\"\n\
        host = \"site.example:81\"\nheaders = { authorization = \"Bearer ${TOKEN}\", x-a = \"b\" }\n\
        [meters.clicks]\npaths = [\"/**\"]\nmethods = [\"POST\"]\nunique_by = \"none\"\n";
    let folder = crate::identity::scene::Folder::new();
    let meters = meters(&all.replace("FILE", &folder.api_keys(&[("acme", "key-0123456789")])));
    let [clicks, views] = &meters[..] else { panic!("by name: {meters:?}") };
    assert_eq!((clicks.meter.unique.clone(), clicks.push.is_none()), (Unique::None, true));
    let paths: Vec<&str> =
        views.meter.paths.iter().map(sluicegate::rules::matcher::PathPattern::as_str).collect();
    assert_eq!(paths, ["/stories/*", "/pages/**"]);
    assert_eq!(views.meter.methods, ["GET", "HEAD"]);
    assert_eq!((&views.meter.unique, views.meter.items_max), (&Unique::by_user(3_600), 7));
    let push = views.push.as_ref().expect("it is pushed");
    assert_eq!((push.upstream, push.path.as_str()), (1, "/in?x=1"));
    assert_eq!(push.every, Duration::from_secs(90));
    assert_eq!(push.host.as_ref().expect("a host"), "site.example:81");
    let fields: Vec<_> = push.headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
    assert_eq!(fields[0].1, "Bearer hunter2");
    assert_eq!(fields.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["authorization", "x-a"]);
    assert!(!format!("{meters:?}").contains("hunter2"), "no secret is shown");
}

#[test]
fn a_meter_by_user_without_users_is_doubtful_and_a_push_table_may_wait() {
    let by_user = "[meters.views]\npaths = [\"/a\"]\nunique_by = \"user\"\n";
    let (_, warnings) = read(by_user);
    assert_eq!(warnings, ["no request has a user: the address takes its place"]);
    let meters = meters(
        "[meters.views]\npaths = [\"/a\"]\nunique_by = \"ip\"\nexport = \"pull\"\n\
         [meters.views.push]\nupstream = \"views\"\npath = \"/in\"\n",
    );
    assert_eq!(meters[0].push, None);
}
