//! What about a Redis would break a promise, as far as it says so itself (`INFO`).

/// The oldest major version that the scripts are tested with.
const MAJOR_MIN: u64 = 7;

/// Said of a node of a cluster that the configuration takes for a single Redis.
pub(super) const NODE: &str = "this Redis is a node of a cluster: it takes only some of the keys, \
    and every gateway limits by itself for the others; set `store.topology` to \"cluster\"";

/// How the configuration finds a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It says where it is.
    Named,
    /// Sentinel does.
    Watched,
    /// The map of its cluster does.
    Mapped,
}

/// One sentence for each thing that would break a promise: what is wrong, what it leads to, and the
/// way out.
pub(super) fn advice(info: &str, found: Found) -> Vec<String> {
    let says = |name: &str| said(info, name);
    let version = says("redis_version");
    let is_node = says("cluster_enabled") == "1";
    let all = [
        (is_node && found != Found::Mapped).then(|| NODE.to_owned()),
        old(version),
        // Elsewhere somebody else says which one is the master, and soon says so anew.
        (says("role") == "slave" && found == Found::Named).then(|| {
            let master = says("master_host");
            format!(
                "this Redis is a replica of {master}: it takes no writes, so every gateway limits \
                 by itself; set `store.url` to the master"
            )
        }),
        (says("maxmemory") != "0").then(|| eviction(says("maxmemory_policy"))).flatten(),
    ];
    all.into_iter().flatten().collect()
}

/// What a report of lines `name:value` says of `name`; nothing if it does not.
pub(super) fn said<'a>(report: &'a str, name: &str) -> &'a str {
    let line = report.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map_or("", str::trim)
}

fn old(version: &str) -> Option<String> {
    let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok())?;
    (major < MAJOR_MIN).then(|| {
        format!("this is Redis {version}: the scripts are tested with {MAJOR_MIN}.0 and later")
    })
}

/// What becomes of limits when Redis is full.
fn eviction(policy: &str) -> Option<String> {
    let consequence = match policy {
        "noeviction" => "when Redis is full it takes no writes, and every gateway limits by itself",
        "allkeys-random" | "volatile-random" => {
            "when Redis is full it forgets limits at random, and their clients get a fresh quota"
        }
        "allkeys-lfu" | "volatile-lfu" => {
            "when Redis is full it forgets new limits before old ones, and their clients get a \
             fresh quota"
        }
        _ => return None,
    };
    Some(format!(
        "`maxmemory-policy` is `{policy}`: {consequence}; set it to `volatile-ttl`, which drops \
         first what runs down first"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory:0\r\n\
                        maxmemory_policy:noeviction\r\n# Replication\r\nrole:master\r\n";

    #[test]
    fn a_redis_as_it_comes_needs_no_advice() {
        assert_eq!(advice(GOOD, Found::Named), Vec::<String>::new());
        let full =
            GOOD.replace("maxmemory:0", "maxmemory:1000").replace("noeviction", "volatile-ttl");
        assert_eq!(advice(&full, Found::Named), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_breaks_a_promise_is_one_sentence() {
        let cases = [
            (GOOD.replace("7.0.15", "6.2.1"), "tested with 7.0"),
            (
                GOOD.replace("role:master", "role:slave\r\nmaster_host:10.0.0.1"),
                "replica of 10.0.0.1",
            ),
            (GOOD.replace("maxmemory:0", "maxmemory:1000"), "takes no writes"),
            (
                GOOD.replace("maxmemory:0", "maxmemory:9").replace("noeviction", "allkeys-random"),
                "at random",
            ),
        ];
        for (info, sentence) in cases {
            let found = advice(&info, Found::Named);
            assert!(found.len() == 1 && found[0].contains(sentence), "{found:?}");
        }
    }

    #[test]
    fn advice_depends_on_how_the_server_was_found() {
        let node = GOOD.to_owned() + "# Cluster\r\ncluster_enabled:1\r\n";
        for found in [Found::Named, Found::Watched] {
            assert_eq!(advice(&node, found), [NODE]);
        }
        assert_eq!(advice(&node, Found::Mapped), Vec::<String>::new());
        let replica = GOOD.replace("role:master", "role:slave\r\nmaster_host:10.0.0.1");
        for found in [Found::Watched, Found::Mapped] {
            assert_eq!(advice(&replica, found), Vec::<String>::new(), "who says so knows better");
        }
    }
}
