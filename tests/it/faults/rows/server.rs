//! Rows in which Redis runs and does not do what it is asked.

use std::net::TcpStream;

use crate::faults::row::Row;
use crate::faults::stage::Single;
use crate::support::redis::{RedisServer, wait_until};

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];
/// Idle clients that take what `maxclients` leaves.
const IDLE: usize = 20;

#[test]
fn asleep() {
    Row::new(3, "DEBUG SLEEP").with(DEBUG).run(
        |scene| {
            let mut connection = scene.redis.connect();
            scene.beside(move || {
                let sleeping = redis::cmd("DEBUG").arg(&["SLEEP", "4"]).exec(&mut connection);
                sleeping.expect("it wakes up");
            });
        },
        Single::join,
    );
}

#[test]
fn paused() {
    Row::new(4, "CLIENT PAUSE").run(
        |scene| scene.redis.command(&["CLIENT", "PAUSE", "4000"]),
        // Answered when the pause is over.
        |scene| scene.redis.reserve_admin(),
    );
}

#[test]
fn clients_killed() {
    Row::new(5, "CLIENT KILL").passing().run(
        |scene| {
            let killed: usize = scene.redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
            assert!(killed >= 2, "{killed}");
        },
        |_| {},
    );
}

#[test]
fn script_forgotten() {
    Row::new(6, "SCRIPT FLUSH")
        .passing()
        .run(|scene| scene.redis.command(&["SCRIPT", "FLUSH"]), |_| {});
}

#[test]
fn busy() {
    Row::new(7, "BUSY script").with(&["--busy-reply-threshold", "100"]).run(
        |scene| {
            scene.redis.reserve_admin();
            let mut connection = scene.redis.connect();
            scene.beside(move || {
                let endless = redis::cmd("EVAL").arg(&["while true do end", "0"]).clone();
                assert!(endless.exec(&mut connection).is_err(), "it is killed");
            });
        },
        |scene| {
            scene.redis.command::<()>(&["SCRIPT", "KILL"]);
            scene.join();
        },
    );
}

#[test]
fn full() {
    Row::new(8, "maxmemory with noeviction").run(
        |scene| scene.redis.command(&["CONFIG", "SET", "maxmemory", "1"]),
        |scene| scene.redis.command(&["CONFIG", "SET", "maxmemory", "0"]),
    );
}

#[test]
fn no_client_let_in() {
    Row::new(9, "maxclients").run(
        |scene| {
            let redis = &scene.redis;
            let own: u64 = redis.command(&["CLIENT", "ID"]);
            let list = || redis.command::<String>(&["CLIENT", "LIST"]);
            let others = list();
            let idle = (0..IDLE).map(|_| TcpStream::connect(redis.address()));
            scene.held.extend(idle.map(|stream| stream.expect("it still lets clients in")));
            let all = IDLE + others.lines().count();
            wait_until("the idle ones to be let in", || list().lines().count() == all);
            let most = (IDLE + 1).to_string();
            redis.command::<()>(&["CONFIG", "SET", "maxclients", &most]);
            let ids = others.lines().filter_map(|line| line.strip_prefix("id=")?.split(' ').next());
            for id in ids.filter(|id| *id != own.to_string()) {
                redis.command::<usize>(&["CLIENT", "KILL", "ID", id]);
            }
        },
        |scene| {
            scene.redis.command::<()>(&["CONFIG", "SET", "maxclients", "10000"]);
            scene.held.clear();
        },
    );
}

#[test]
fn turned_replica() {
    Row::new(10, "turned into a read-only replica").run(
        |scene| {
            let primary = RedisServer::start();
            let port = primary.address().port().to_string();
            scene.redis.command::<()>(&["REPLICAOF", "127.0.0.1", &port]);
            scene.others.push(primary);
        },
        |scene| scene.redis.command(&["REPLICAOF", "NO", "ONE"]),
    );
}

#[test]
fn wrong_password() {
    Row::new(11, "wrong password").run(
        |scene| {
            scene.redis.command::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
            scene.redis.command::<usize>(&["CLIENT", "KILL", "TYPE", "normal"]);
        },
        |scene| scene.redis.command(&["CONFIG", "SET", "requirepass", ""]),
    );
}

#[test]
fn no_permission_to_write() {
    Row::new(12, "no permission for SET").run(
        |scene| scene.redis.command(&["ACL", "SETUSER", "default", "-set"]),
        |scene| scene.redis.command(&["ACL", "SETUSER", "default", "+set"]),
    );
}

#[test]
fn no_permission_for_the_script() {
    Row::new(13, "no permission for EVALSHA").run(
        |scene| scene.redis.command(&["ACL", "SETUSER", "default", "-evalsha"]),
        |scene| scene.redis.command(&["ACL", "SETUSER", "default", "+evalsha"]),
    );
}

#[test]
fn emptied() {
    Row::new(22, "FLUSHALL").passing().run(|scene| scene.redis.command(&["FLUSHALL"]), |_| {});
}
