//! Certificates that are replaced while connections come in.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::scene::{self, Scene};
use crate::support::app::App;
use crate::support::certificates::Authority;
use crate::support::redis::wait_until;

const RELOADS: &str = "sluicegate_config_reloads_total";
/// How often the certificate is replaced under load.
const RENEWALS: usize = 20;
const THREADS: usize = 3;
/// Requests between a certificate and its key, where they are put slowly.
const MEANWHILE: usize = 200;
const COMPLAINT: &str = "the certificates stay as they were";

/// Clients that believe the authority of `scene`.
fn believing(scene: &Scene) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&scene.authority.path("ca.pem"))).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // A whole handshake each time.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

fn certificate(path: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&fs::read(path).expect("it is there")).expect("a certificate")
}

/// A request on a connection of its own: the certificate that was shown.
fn ask(config: &Arc<ClientConfig>, address: SocketAddr) -> Result<CertificateDer<'static>, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(|e| told(&e))?;
    let socket = TcpStream::connect(address).map_err(|e| told(&e))?;
    let mut stream = StreamOwned::new(connection, socket);
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).map_err(|e| told(&e))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|e| told(&e))?;
    if !answer.starts_with(b"HTTP/1.1 200 OK\r\n") || !answer.ends_with(b"hello") {
        return Err(format!("an odd answer: {}", String::from_utf8_lossy(&answer)));
    }
    let shown = stream.conn.peer_certificates().and_then(|chain| chain.first());
    shown.cloned().map(CertificateDer::into_owned).ok_or_else(|| "none was shown".to_owned())
}

/// Puts what was signed as `next` in the place of `localhost`: by new files, or into the old ones.
/// `meanwhile` comes between the certificate and its key.
fn put(authority: &Authority, by_rename: bool, meanwhile: impl Fn()) {
    for kind in ["pem", "key"] {
        if kind == "key" {
            meanwhile();
        }
        let [from, to] =
            ["next", "localhost"].map(|name| authority.path(&format!("{name}.{kind}")));
        if by_rename {
            fs::rename(from, to).expect("it is put in place");
        } else {
            let text = fs::read(from).expect("it is there");
            fs::write(to, text).expect("it is written");
        }
    }
}

#[test]
fn no_request_fails_while_a_certificate_is_replaced_again_and_again() {
    let scene = Scene::start("", "");
    let (config, address) = (believing(&scene), scene.tls);
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let load = || {
            while !stop.load(Ordering::Relaxed) {
                ask(&config, address)?;
                asked.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), String>(())
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(load)).collect();
        let meets = |requests: usize| {
            let until = asked.load(Ordering::Relaxed) + requests;
            wait_until("the load to go on", || {
                asked.load(Ordering::Relaxed) >= until
                    || threads.iter().any(thread::ScopedJoinHandle::is_finished)
            });
        };
        for number in 0..RENEWALS {
            scene.authority.sign("next", &["localhost"]);
            let expected = certificate(&scene.authority.path("next.pem"));
            // Half of them so slowly that the gateway meets half a pair.
            let between = if number % 4 < 2 { 0 } else { MEANWHILE };
            put(&scene.authority, number % 2 == 0, || meets(between));
            wait_until("the new certificate to be shown", || {
                ask(&config, address).expect("an answer") == expected
            });
            meets(1);
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), Ok(()));
        }
    });
    assert_eq!(scene.gateway.metric(RELOADS, &["applied"]), RENEWALS as f64);
    println!("{} requests on connections of their own", asked.into_inner());
}

#[test]
fn half_a_pair_changes_nothing_and_is_told_once() {
    let authority = Authority::new();
    authority.sign("localhost", &["localhost"]);
    authority.sign("other", &["other.example"]);
    let both = ["localhost", "other"].map(|name| scene::certificate(&authority, name)).concat();
    let scene = Scene::showing(App::start(), authority, &both, "", "");
    let config = believing(&scene);
    let old = certificate(&scene.authority.path("localhost.pem"));
    scene.authority.sign("next", &["localhost"]);
    let new = certificate(&scene.authority.path("next.pem"));
    let shown = || ask(&config, scene.tls).expect("an answer");
    let copy = |kind: &str| {
        let [from, to] =
            ["next", "localhost"].map(|name| scene.authority.path(&format!("{name}.{kind}")));
        fs::copy(from, to).expect("it is written");
    };
    let rejected = || scene.gateway.metric(RELOADS, &["rejected"]);
    copy("pem");
    wait_until("the complaint", || rejected() == 1.0);
    assert_eq!(shown(), old);
    assert!(scene.gateway.log().contains("the key is not that of the certificate"));
    // The other one is renewed meanwhile: looks that find the half one as it was.
    for renewed in [1.0, 2.0, 3.0] {
        scene.authority.sign("other", &["other.example"]);
        wait_until("the other one to be renewed", || {
            scene.gateway.metric(RELOADS, &["applied"]) == renewed
        });
    }
    assert_eq!((rejected(), scene.gateway.log().matches(COMPLAINT).count()), (1.0, 1));
    assert_eq!(shown(), old);
    // A reload of everything says so as well, and keeps everything.
    scene.gateway.signal("HUP");
    wait_until("the reload to be refused", || rejected() == 2.0);
    assert_eq!(shown(), old);
    copy("key");
    wait_until("the new certificate to be shown", || shown() == new);
    assert_eq!((rejected(), scene.gateway.log().matches(COMPLAINT).count()), (2.0, 1));
    // Each kind of half.
    for (file, text, told) in [
        ("localhost.key", "", "no private key"),
        ("localhost.pem", "-----BEGIN CERTIFICATE-----\nMIIB", "a damaged certificate"),
    ] {
        let (path, before) = (scene.authority.path(file), rejected());
        let good = fs::read_to_string(&path).expect("it is there");
        scene.authority.write(file, text);
        wait_until("the complaint", || rejected() == before + 1.0);
        assert!(scene.gateway.log().contains(told), "{told}");
        assert_eq!(shown(), new);
        fs::remove_file(&path).expect("it is there");
        wait_until("the complaint", || rejected() == before + 2.0);
        assert_eq!(shown(), new);
        fs::write(&path, good).expect("it is written");
    }
}

#[test]
fn what_users_keys_say_and_what_certificates_say_do_not_hinder_each_other() {
    let authority = Authority::new();
    let keys = |id: &str| format!("[[keys]]\nid = \"{id}\"\nsha256 = \"{}\"\n", "0".repeat(64));
    authority.write("keys.toml", &keys("one"));
    let source = format!(
        "[identity.api_key]\nheader = \"x-api-key\"\nfile = \"{}\"\n",
        authority.path("keys.toml")
    );
    let scene = Scene::with(App::start(), authority, "", &source);
    let config = believing(&scene);
    let shown = || ask(&config, scene.tls).expect("an answer");
    let reloads = |result: &str| scene.gateway.metric(RELOADS, &[result]);
    // A broken pair, and keys that change.
    let key = fs::read_to_string(scene.authority.path("localhost.key")).expect("it is there");
    scene.authority.write("localhost.key", "broken");
    wait_until("the complaint", || reloads("rejected") == 1.0);
    scene.authority.write("keys.toml", &keys("another"));
    wait_until("the keys to be in force", || reloads("applied") == 1.0);
    // Broken keys, and a pair that is whole again, and new.
    scene.authority.write("localhost.key", &key);
    scene.authority.write("keys.toml", "broken");
    wait_until("the complaint", || reloads("rejected") == 2.0);
    scene.authority.sign("next", &["localhost"]);
    let new = certificate(&scene.authority.path("next.pem"));
    put(&scene.authority, true, || {});
    wait_until("the new certificate to be shown", || shown() == new);
    // Keys that are put in force do not bring back the certificate that was there before.
    scene.authority.write("keys.toml", &keys("a third"));
    wait_until("the keys to be in force", || reloads("applied") == 3.0);
    assert_eq!(shown(), new);
}

#[test]
fn a_reload_takes_further_certificates_and_says_what_it_cannot() {
    let scene = Scene::start("", "");
    scene.authority.sign("more", &["more.example"]);
    let ends = |name: &str| {
        let label = format!("certificate=\"{name}\"");
        scene.gateway.metric("sluicegate_certificate_expiry_seconds", &[&label])
    };
    // rcgen's year 4096.
    assert!(ends("localhost") > 60e9, "{}", scene.gateway.metrics());
    assert_eq!(ends("more.example"), 0.0);
    let more = scene::certificate(&scene.authority, "more");
    scene.gateway.edit("[store]", &format!("{more}[store]"));
    let listen = format!("listen = [\"{}\"]\n", scene.tls);
    scene.gateway.edit(&listen, &listen.replace("\"]", "\", \"127.0.0.1:1\"]"));
    scene.gateway.signal("HUP");
    wait_until("the certificate to be in force", || ends("more.example") > 60e9);
    let log = scene.gateway.log();
    assert!(log.contains("changed keys stay as they were: that takes a restart"), "{log}");
    assert!(log.contains("tls.listen"), "{log}");
    let to = format!("more.example:{}:127.0.0.1", scene.tls.port());
    let url = format!("https://more.example:{}/", scene.tls.port());
    assert!(scene.curl(&["--resolve", &to, &url], "/").ok);
    // Without the section the listeners go on until the restart.
    let path = scene.gateway.config();
    let text = fs::read_to_string(&path).expect("the configuration");
    let (start, rest) = text.split_once("[tls]").expect("it has one");
    let (_, end) = rest.split_once("[store]").expect("it has one");
    fs::write(path, format!("{start}[store]{end}")).expect("it is written");
    scene.gateway.signal("HUP");
    wait_until("the reload", || scene.gateway.metric(RELOADS, &["applied"]) == 2.0);
    assert!(scene.curl(&[], "/").ok);
}
