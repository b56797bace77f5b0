//! Certificates that clients show: who is let in, and who the user is.

use rcgen::{CertificateParams, DnType, SanType, date_time_ymd};
use sha2::{Digest, Sha256};

use super::scene::{Said, Scene};
use crate::support::app::App;
use crate::support::certificates::Authority;
use crate::support::redis::wait_until;

const REQUIRED: &str = "client_ca = \"CA\"\n";
const OPTIONAL: &str = "client_ca = \"CA\"\nclient_certificate = \"optional\"\n";
const BY_USER: &str = "[identity]\nuser_header = \"x-user-id\"\n\
    [identity.client_certificate]\nuser = \"subject_cn\"\n\
    [policies.p]\nquota = 2\nwindow = \"1h\"\npartition = [\"user\"]\n\
    [[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n";

/// A certificate for a client with this common name.
fn client(authority: &Authority, name: &str) {
    authority.sign_with(name, &[], |params| common_name(params, name));
}

fn common_name(params: &mut CertificateParams, name: &str) {
    params.distinguished_name.push(DnType::CommonName, name);
}

/// curl with the certificate `NAME.pem` of `authority`.
fn as_client(scene: &Scene, authority: &Authority, name: &str, more: &[&str]) -> Said {
    let [certificate, key] = ["pem", "key"].map(|kind| authority.path(&format!("{name}.{kind}")));
    scene.curl(&[&["--cert", &certificate, "--key", &key], more].concat(), "/")
}

fn user(scene: &Scene) -> Option<String> {
    scene.app.last().header("x-user-id").map(str::to_owned)
}

fn is_refused(said: &Said) -> bool {
    !said.ok && !said.out.contains("HTTP/")
}

#[test]
fn required_means_that_nobody_comes_without() {
    let scene = Scene::start(REQUIRED, BY_USER);
    client(&scene.authority, "ada");
    let stranger = Authority::new();
    client(&stranger, "eve");
    let ended = |params: &mut CertificateParams| {
        common_name(params, "old");
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    };
    scene.authority.sign_with("old", &[], ended);
    for version in ["--http1.1", "--http2", "--tls-max=1.2"] {
        let version: Vec<&str> = version.split('=').collect();
        let without = scene.curl(&version, "/");
        assert!(is_refused(&without), "{version:?} {without:?}");
        let by_stranger = as_client(&scene, &stranger, "eve", &version);
        assert!(is_refused(&by_stranger), "{version:?} {by_stranger:?}");
        let old = as_client(&scene, &scene.authority, "old", &version);
        assert!(is_refused(&old), "{version:?} {old:?}");
    }
    assert!(scene.app.seen().is_empty());
    for version in ["--http1.1", "--http2"] {
        let said = as_client(&scene, &scene.authority, "ada", &[version]);
        assert!(said.out.contains(" 200"), "{said:?}");
        assert_eq!(user(&scene).as_deref(), Some("ada"));
    }
    // And the scene's own look whether the gateway listens.
    assert_eq!(scene.gateway.metric("sluicegate_tls_handshakes_total", &["\"failed\""]), 10.0);
    assert_eq!(scene.gateway.metric("sluicegate_tls_handshakes_total", &["\"ok\""]), 2.0);
    // The plain listener asks nobody.
    scene.gateway.get("/");
    assert_eq!(user(&scene), None);
}

#[test]
fn optional_divides_limits_by_the_name_and_by_the_address_without() {
    let scene = Scene::start(OPTIONAL, BY_USER);
    for name in ["ada", "bob"] {
        client(&scene.authority, name);
    }
    let status = |said: Said| said.fine().split(' ').nth(1).unwrap_or_default().to_owned();
    let by = |name: &str| status(as_client(&scene, &scene.authority, name, &[]));
    assert_eq!([by("ada"), by("ada"), by("ada")], ["200", "200", "429"]);
    assert_eq!(user(&scene).as_deref(), Some("ada"));
    assert_eq!([by("bob"), by("bob"), by("bob")], ["200", "200", "429"]);
    let anonymous = || status(scene.curl(&["-H", "X-User-Id: ada"], "/"));
    assert_eq!(anonymous(), "200");
    assert_eq!(user(&scene), None, "nobody's word");
    assert_eq!([anonymous(), anonymous()], ["200", "429"]);
    let valid = ["source=\"client_certificate\"", "result=\"valid\""];
    assert_eq!(scene.gateway.metric("sluicegate_identities_total", &valid), 6.0);
    // What is shown and not valid is no anonymous client.
    let stranger = Authority::new();
    client(&stranger, "eve");
    assert!(is_refused(&as_client(&scene, &stranger, "eve", &[])));
}

#[test]
fn each_name_of_a_certificate_can_be_the_user() {
    let authority = Authority::new();
    let text = |text: &str| text.try_into().expect("plain text");
    authority.sign_with("all", &[], |params| {
        common_name(params, "Ada Lovelace");
        params.subject_alt_names = vec![
            SanType::DnsName(text("ada.example.org")),
            SanType::Rfc822Name(text("ada@example.org")),
            SanType::URI(text("spiffe://example.org/ada")),
        ];
    });
    authority.sign_with("two", &["a.example.org", "b.example.org"], |params| {
        common_name(params, "two");
    });
    let pem = std::fs::read_to_string(authority.path("all.pem")).expect("it is there");
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes());
    let der: rustls::pki_types::CertificateDer<'_> = der.expect("a certificate");
    let fingerprint: String =
        Sha256::digest(&der).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let source = |name: &str| {
        format!(
            "[identity]\nuser_header = \"x-user-id\"\n[identity.client_certificate]\nuser = \"{name}\"\n"
        )
    };
    let scene = Scene::with(App::start(), authority, REQUIRED, &source("subject_cn"));
    let mut before = "subject_cn".to_owned();
    for (name, expected, of_two) in [
        ("subject_cn", "Ada Lovelace", Some("two")),
        ("san_dns", "ada.example.org", None),
        ("san_email", "ada@example.org", None),
        ("san_uri", "spiffe://example.org/ada", None),
        ("fingerprint", fingerprint.as_str(), Some("")),
    ] {
        scene.gateway.edit(&source(&before), &source(name));
        before = name.to_owned();
        scene.gateway.signal("HUP");
        wait_until(&format!("{name} to be {expected}"), || {
            as_client(&scene, &scene.authority, "all", &[]).fine();
            user(&scene).as_deref() == Some(expected)
        });
        as_client(&scene, &scene.authority, "two", &[]).fine();
        // One that has several names, or none, is nobody's; a fingerprint everything has.
        match of_two {
            Some("") => assert_eq!(user(&scene).map(|user| user.len()), Some(64)),
            name => assert_eq!(user(&scene).as_deref(), name),
        }
    }
}

#[test]
fn sources_are_asked_in_their_order() {
    let both = |sources: &str| {
        format!(
            "[identity]\n{sources}user_header = \"x-user-id\"\n\
             [identity.header]\nuser = \"x-user-id\"\n\
             [identity.client_certificate]\nuser = \"subject_cn\"\n\
             [client]\ntrusted_proxies = [\"127.0.0.1\"]\n"
        )
    };
    let other = "sources = [\"client_certificate\", \"header\"]\n";
    for (sources, first) in [("", "proxied"), (other, "ada")] {
        let scene = Scene::start(OPTIONAL, &both(sources));
        client(&scene.authority, "ada");
        as_client(&scene, &scene.authority, "ada", &["-H", "x-user-id: proxied"]).fine();
        assert_eq!(user(&scene).as_deref(), Some(first));
        as_client(&scene, &scene.authority, "ada", &[]).fine();
        assert_eq!(user(&scene).as_deref(), Some("ada"));
        scene.curl(&["-H", "x-user-id: proxied"], "/").fine();
        assert_eq!(user(&scene).as_deref(), Some("proxied"));
    }
}

/// Whether a second connection of Python goes on with the session of a first one.
fn resumes(scene: &Scene, name: &str) -> bool {
    let [certificate, key] =
        ["pem", "key"].map(|kind| scene.authority.path(&format!("{name}.{kind}")));
    let script = format!(
        "context.load_cert_chain('{certificate}', '{key}')\n\
         context.maximum_version = ssl.TLSVersion.TLSv1_2\n\
         session = None\n\
         for _ in range(2):\n    \
             plain = socket.create_connection(('127.0.0.1', port))\n    \
             tls = context.wrap_socket(plain, server_hostname='localhost', session=session)\n    \
             tls.sendall(b'GET / HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n')\n    \
             assert tls.recv(1000).startswith(b'HTTP/1.1 200')\n    \
             session, reused = tls.session, tls.session_reused\n\
         print(reused)\n"
    );
    scene.python(&script).fine() == "True\n"
}

#[test]
fn no_session_outlives_what_vouched_for_it() {
    let scene = Scene::start("", "");
    client(&scene.authority, "ada");
    assert!(resumes(&scene, "ada"), "without certificates of clients sessions save handshakes");
    let scene = Scene::start(OPTIONAL, "");
    client(&scene.authority, "ada");
    assert!(!resumes(&scene, "ada"));
}

#[test]
fn other_authorities_and_another_mode_take_no_restart() {
    let scene = Scene::start("client_ca = \"CA\"\nclient_certificate = \"optional\"\n", "");
    let next = Authority::new();
    client(&scene.authority, "ada");
    client(&next, "bob");
    let comes = |authority: &Authority, name| as_client(&scene, authority, name, &[]).ok;
    assert!(comes(&scene.authority, "ada") && !comes(&next, "bob"));
    // The gateway's own certificate goes on to be believed by curl: it knows both.
    let [old, new] = [&scene.authority, &next]
        .map(|one| std::fs::read_to_string(one.path("ca.pem")).expect("it is there"));
    scene.authority.write("clients.pem", &new);
    let ca = scene.authority.path("ca.pem");
    scene.gateway.edit(
        &format!("client_ca = \"{ca}\"\nclient_certificate = \"optional\"\n"),
        &format!("client_ca = \"{}\"\n", scene.authority.path("clients.pem")),
    );
    scene.gateway.signal("HUP");
    wait_until("bob to be let in", || comes(&next, "bob"));
    assert!(!comes(&scene.authority, "ada") && !scene.curl(&[], "/").ok);
    // And the file by itself.
    scene.authority.write("clients.pem", "-----BEGIN CERTIFICATE-----\nbroken");
    wait_until("the complaint", || {
        scene.gateway.metric("sluicegate_config_reloads_total", &["rejected"]) > 0.0
    });
    assert!(comes(&next, "bob"));
    scene.authority.write("clients.pem", &(old + &new));
    wait_until("ada to be let in again", || comes(&scene.authority, "ada"));
    assert!(comes(&next, "bob") && !scene.curl(&[], "/").ok);
}
