//! Whose request it is, whatever it says of itself.

use std::net::IpAddr;

use sluicegate::client::ADDRESS_CLAIMS;

use super::scene::{Kept, Scene};

const TRUSTING: &str = "[client]\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n";
/// Requests with a made-up address.
const SPOOFED: u64 = 1_000;

/// Addresses of one IPv6 network: more when there is time.
fn rotations() -> u64 {
    let soak = std::env::var("SLUICEGATE_SOAK").is_ok_and(|value| value == "1");
    if soak { 10_000 } else { 1_000 }
}

/// A value for a header of that name, another one each time.
fn made_up(name: &str, number: u64) -> String {
    let address = match number % 3 {
        0 => format!("198.51.{}.{}", number / 256 % 256, number % 256),
        1 => format!("2001:db8:{number:x}::1"),
        _ => format!("203.0.113.{}, 192.0.2.{}", number % 256, number / 7 % 256),
    };
    if name == "forwarded" { format!("for=\"{address}\"") } else { address }
}

#[test]
fn c01_a_thousand_spoofed_addresses_are_one_client() {
    let scene = Scene::new("");
    let mut kept = Kept::open(&scene);
    let own = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    for (number, name) in (1..=SPOOFED).zip(ADDRESS_CLAIMS.iter().cycle()) {
        let answer = kept.get(&format!("{name}: {}\r\n", made_up(name, number)));
        assert_eq!((answer.status, answer.counted()), (200, number), "{name}");
    }
    let seen = scene.app.seen();
    assert_eq!(seen.len() as u64, SPOOFED);
    for request in seen {
        for name in ADDRESS_CLAIMS.iter().filter(|name| !own.contains(name)) {
            assert_eq!(request.header(name), None, "{name} reached the application");
        }
        assert_eq!(
            own.map(|name| request.header(name)),
            [Some("127.0.0.1"), Some("a"), Some("http")]
        );
    }
    let entries = scene.gateway.metric("sluicegate_local_entries", &[]);
    assert!(entries <= 1.0, "{entries} buckets");
}

/// What a client writes stands left of what the trusted proxy writes.
#[test]
fn c01_behind_a_proxy_only_its_own_entry_counts() {
    for header in ["x-forwarded-for", "forwarded"] {
        let scene = Scene::new(&format!("{TRUSTING}forwarded_header = \"{header}\"\n"));
        let mut kept = Kept::open(&scene);
        for number in 1..=100 {
            let (made_up, own) = (made_up(header, number), made_up(header, 0));
            let answer = kept.get(&format!("{header}: {made_up}, {own}\r\n"));
            assert_eq!(answer.counted(), number, "{header}");
        }
    }
}

/// Asks with these lines, and expects to be counted with `address`.
fn counts_as(kept: &mut Kept, header: &str, lines: &[&str], address: &str) {
    let plain = match header {
        "forwarded" => format!("forwarded: for=\"{}\"\r\n", bracketed(address)),
        _ => format!("{header}: {address}\r\n"),
    };
    let before = kept.get(&plain).counted();
    let lines = lines.iter().map(|line| format!("{header}: {line}\r\n"));
    let lines = lines.collect::<Vec<_>>().concat();
    let after = kept.get(&lines).counted();
    assert_eq!(after, before + 1, "{lines:?} is not counted with {address}");
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

#[test]
fn c02_lines_ports_brackets_and_garbage_have_one_reading() {
    let scene = Scene::new(TRUSTING);
    let mut kept = Kept::open(&scene);
    let many = format!("{}203.0.113.9", "1.1.1.1,".repeat(3_000));
    let cases: [(&[&str], &str); 14] = [
        (&["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        (&["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
        (&["203.0.113.9, 10.0.0.1", "10.0.0.2"], "203.0.113.9"),
        (&["203.0.113.9:4711"], "203.0.113.9"),
        (&["[2001:db8::7]:443"], "2001:db8::7"),
        (&[" \t203.0.113.9 \t"], "203.0.113.9"),
        (&["1.1.1.1, unknown, 10.0.0.1"], "10.0.0.1"),
        (&["1.1.1.1,, 10.0.0.1"], "10.0.0.1"),
        (&["1.1.1.1, "], "127.0.0.1"),
        (&["1.1.1.1, \u{1f30a}"], "127.0.0.1"),
        (&["1.1.1.1", "garbage"], "127.0.0.1"),
        (&[""], "127.0.0.1"),
        (&["'; DROP TABLE clients; --"], "127.0.0.1"),
        (&[&many], "203.0.113.9"),
    ];
    for (lines, address) in cases {
        counts_as(&mut kept, "x-forwarded-for", lines, address);
    }
    let unreadable = scene.gateway.metric("sluicegate_forwarded_unreadable_total", &[]);
    assert!((unreadable - 7.0).abs() < 0.5, "{unreadable} of 7");
}

#[test]
fn c02_forwarded_is_read_in_all_its_forms() {
    let scene = Scene::new(&format!("{TRUSTING}forwarded_header = \"Forwarded\"\n"));
    let mut kept = Kept::open(&scene);
    let cases: [(&[&str], &str); 10] = [
        (&["for=1.1.1.1, for=203.0.113.9;proto=https;by=10.0.0.1"], "203.0.113.9"),
        (&["for=1.1.1.1", "For=\"203.0.113.9:80\""], "203.0.113.9"),
        (&["host=\"a, for=1.1.1.1\"; for=203.0.113.9"], "203.0.113.9"),
        (&["for=\"[2001:db8::7]:443\""], "2001:db8::7"),
        (&["for=203.0.113.9, for=10.0.0.1"], "203.0.113.9"),
        // An open quote of the client's swallows nothing of the proxy's.
        (&["for=\"1.1.1.1, for=203.0.113.9"], "203.0.113.9"),
        (&["for=1.1.1.1;x=\"\\, for=203.0.113.9"], "203.0.113.9"),
        (&["for=1.1.1.1, for=_hidden"], "127.0.0.1"),
        (&["for=1.1.1.1, for=unknown"], "127.0.0.1"),
        (&["for=203.0.113.9;for=1.1.1.1"], "127.0.0.1"),
    ];
    for (lines, address) in cases {
        counts_as(&mut kept, "forwarded", lines, address);
    }
}

/// It may be refused for its size, and is never more than 32 hops of work.
#[test]
fn c02_ten_thousand_entries_are_answered() {
    let scene = Scene::new(TRUSTING);
    for entry in ["10.0.0.1,", "x,", ",", "::1,"] {
        let answer = scene.get("/", &format!("x-forwarded-for: {}\r\n", entry.repeat(10_000)));
        assert!(matches!(answer.status, 200 | 431), "{entry}: {}", answer.head);
    }
    assert_eq!(scene.get("/", "").status, 200);
}

#[test]
fn c03_who_is_no_proxy_is_not_believed() {
    let scene = Scene::new("[client]\ntrusted_proxies = [\"192.0.2.0/24\"]\n");
    let mut kept = Kept::open(&scene);
    for number in 1..=20 {
        let answer = kept.get(&format!("x-forwarded-for: 192.0.2.{number}\r\n"));
        assert_eq!(answer.counted(), number);
    }
    assert_eq!(scene.app.last().header("x-forwarded-for"), Some("127.0.0.1"));
    let other = reqwest::blocking::Client::builder().no_proxy();
    let other = other.local_address("127.0.0.2".parse::<IpAddr>().expect("an address"));
    let answer = other.build().expect("a client").get(scene.gateway.url("/")).send();
    let answer = answer.expect("the gateway answers");
    assert_eq!(answer.headers()["x-ratelimit-remaining"], "999999", "another client");
}

#[test]
fn c04_a_household_s_addresses_are_one_client() {
    let scene = Scene::new(TRUSTING);
    let mut kept = Kept::open(&scene);
    for number in 1..=rotations() {
        let host = fastrand::u64(..);
        let [a, b, c, d] = [host >> 48, host >> 32 & 0xffff, host >> 16 & 0xffff, host & 0xffff];
        let line = format!("x-forwarded-for: 2001:db8:1:2:{a:x}:{b:x}:{c:x}:{d:x}\r\n");
        assert_eq!(kept.get(&line).counted(), number, "{line}");
    }
    assert_eq!(kept.get("x-forwarded-for: 2001:db8:1:3::1\r\n").counted(), 1);
    // Whoever has an IPv4 address has 65,536 such networks by 6to4.
    for number in 1..=20 {
        let line = format!("x-forwarded-for: 2002:c000:201:{number:x}::1\r\n");
        assert_eq!(kept.get(&line).counted(), number);
    }
    let wider = Scene::new(&format!("{TRUSTING}ipv6_prefix = 48\n"));
    let mut kept = Kept::open(&wider);
    for number in 1..=20 {
        let line = format!("x-forwarded-for: 2001:db8:1:{number:x}::1\r\n");
        assert_eq!(kept.get(&line).counted(), number);
    }
}

#[test]
fn c05_mapped_and_translated_addresses_are_ipv4() {
    let scene = Scene::new(TRUSTING);
    let mut kept = Kept::open(&scene);
    let spellings = [
        "203.0.113.9",
        "::ffff:203.0.113.9",
        "::ffff:cb00:7109",
        "[::ffff:203.0.113.9]:80",
        "64:ff9b::203.0.113.9",
        "64:ff9b::cb00:7109",
    ];
    for (number, spelling) in (1..).zip(spellings) {
        let answer = kept.get(&format!("x-forwarded-for: {spelling}\r\n"));
        assert_eq!(answer.counted(), number, "{spelling}");
    }
    for other in ["::ffff:203.0.113.10", "64:ff9b::203.0.113.11"] {
        let answer = kept.get(&format!("x-forwarded-for: {other}\r\n"));
        assert_eq!(answer.counted(), 1, "{other}: another client");
    }
}

#[test]
fn c06_what_readers_disagree_about_is_no_address() {
    let scene = Scene::new(TRUSTING);
    let mut kept = Kept::open(&scene);
    let odd = [
        "010.0.0.1",
        "192.0.2.01",
        "0xc0.0.2.1",
        "3221225985",
        "192.0.513",
        "192.0.2.1.",
        "fe80::1%eth0",
        "[fe80::1%1]:80",
        "fe80::1%25eth0",
        "192.0.2.1/32",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "[192.0.2.1]",
        "::192.0.2.256",
        "1::2::3",
    ];
    for (number, spelling) in (1..).zip(odd) {
        let answer = kept.get(&format!("x-forwarded-for: {spelling}\r\n"));
        assert_eq!(answer.counted(), number, "{spelling}: it counts as the proxy");
    }
}
