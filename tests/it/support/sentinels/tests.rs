//! That the Sentinels do what the methods say.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{Plan, Sentinels};

const LOGIN: &str = "AUTH hunter2\r\n";
/// Time enough for an answer that must not come.
const SHORT: Duration = Duration::from_millis(300);

/// Writes to a server where everybody reaches it: the last line of its answers, or nothing in time.
fn write(all: &Sentinels, server: usize, login: &str) -> Option<String> {
    let mut stream = TcpStream::connect(all.address(server)).ok()?;
    stream.set_read_timeout(Some(SHORT)).ok()?;
    stream.write_all(format!("{login}SET key 1\r\nQUIT\r\n").as_bytes()).ok()?;
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    // The last is the answer to QUIT.
    let lines: Vec<String> = lines.collect();
    lines.len().checked_sub(2).map(|at| lines[at].clone())
}

fn first(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

#[test]
fn a_replica_takes_over_as_planned_and_when_the_master_is_killed() {
    let plan = Plan {
        password: Some("hunter2"),
        user: Some(("sentinel-user", "hunter3")),
        ..Plan::default()
    };
    let mut all = Sentinels::start_with(plan);
    assert_eq!(all.master(), Some(0));
    assert_eq!(write(&all, 0, "").as_deref().map(first), Some("-NOAUTH"));
    assert_eq!(write(&all, 0, LOGIN).as_deref(), Some("+OK"));
    let second = all.planned_failover();
    assert_ne!(second, 0);
    assert_eq!(write(&all, second, LOGIN).as_deref(), Some("+OK"));
    assert_eq!(write(&all, 0, LOGIN).as_deref().map(first), Some("-READONLY"));
    all.wait_until_well();
    assert_eq!(all.kill_master(), second);
    let third = all.wait_for_other_master(second);
    all.restart(second);
    all.wait_for_demotion(second);
    assert_eq!(all.master(), Some(third));
    assert_eq!(all.server(third).try_command::<String>(&["GET", "key"]).ok(), Some("1".to_owned()));
    assert_eq!(all.sentinel(0).command::<String>(&["ACL", "WHOAMI"]), "sentinel-user");
    let stranger = format!("redis://{}", all.addresses()[0]);
    let mut stranger = redis::Client::open(stranger).unwrap().get_connection().unwrap();
    let refused = redis::cmd("PING").exec(&mut stranger).unwrap_err();
    assert_eq!(refused.code(), Some("NOAUTH"));
}

#[test]
fn the_master_stays_when_the_sentinels_go_and_come() {
    let mut all = Sentinels::start();
    let gone = all.addresses();
    all.kill_sentinels();
    assert!(gone.iter().all(|address| TcpStream::connect(address).is_err()));
    assert_eq!(all.master(), None, "nobody says");
    assert_eq!(write(&all, 0, "").as_deref(), Some("+OK"));
    all.restart_sentinels();
    assert_eq!((all.master(), all.addresses()), (Some(0), gone));
}

#[test]
fn a_master_that_is_cut_off_is_replaced_and_takes_writes_until_it_is_found_again() {
    let all = Sentinels::start_with(Plan { partable: true, ..Plan::default() });
    all.cut_off_gateways(0);
    assert_eq!(write(&all, 0, ""), None, "gateways do not reach it");
    all.wait_until_well();
    assert_eq!(all.master(), Some(0), "the Sentinels do");
    all.heal(0);
    assert_eq!(write(&all, 0, "").as_deref(), Some("+OK"), "all do");
    all.cut_off_backstage(0);
    let heir = all.wait_for_other_master(0);
    for master in [0, heir] {
        assert_eq!(write(&all, master, "").as_deref(), Some("+OK"), "both are masters");
    }
    all.heal(0);
    all.wait_for_demotion(0);
    assert_eq!(write(&all, 0, "").as_deref().map(first), Some("-READONLY"));
    all.cut_off(heir);
    assert_eq!(write(&all, heir, ""), None);
    assert_ne!(all.wait_for_other_master(heir), heir);
}
