//! Which certificate a client is shown, by the name that it asks for.

use rcgen::{CertificateParams, DnType};

use super::scene::{Scene, certificate};
use crate::support::app::App;
use crate::support::certificates::Authority;

/// Prints the names of the certificate that is shown to whoever asks for each of `hosts`.
fn shown(scene: &Scene, hosts: &[&str]) -> Vec<String> {
    let script = format!(
        "context.check_hostname = False\n\
         for host in {hosts:?}:\n    \
             plain = socket.create_connection(('127.0.0.1', port))\n    \
             tls = context.wrap_socket(plain, server_hostname=host or None)\n    \
             print(','.join(name for _, name in tls.getpeercert()['subjectAltName']))\n"
    );
    scene.python(&script).fine().lines().map(str::to_owned).collect()
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let authority = Authority::new();
    authority.sign("first", &["first.example"]);
    authority.sign("second", &["second.example", "www.second.example"]);
    authority.sign("wild", &["*.wild.example"]);
    authority.sign("special", &["special.wild.example"]);
    let all = ["first", "second", "wild", "special"].map(|name| certificate(&authority, name));
    let scene = Scene::showing(App::start(), authority, &all.concat(), "", "");
    let [first, second, wild, special] = [
        "first.example",
        "second.example,www.second.example",
        "*.wild.example",
        "special.wild.example",
    ];
    for (host, expected) in [
        ("first.example", first),
        ("second.example", second),
        ("WWW.Second.Example", second),
        ("a.wild.example", wild),
        ("special.wild.example", special),
        // A star is one label, and never none.
        ("a.b.wild.example", first),
        ("wild.example", first),
        ("a.special.wild.example", first),
        ("unknown.example", first),
        ("localhost", first),
        // Without a name, as clients are that connect to an address.
        ("", first),
    ] {
        assert_eq!(shown(&scene, &[host]), [expected], "{host}");
    }
}

#[test]
fn of_two_for_a_name_a_client_gets_the_one_that_it_can_check() {
    let authority = Authority::new();
    authority.sign("ecdsa", &["localhost"]);
    let rsa = include_str!("../identity/test_only_rsa_private.pem");
    authority.sign_key("rsa", rsa, "localhost");
    let both = ["ecdsa", "rsa"].map(|name| certificate(&authority, name)).concat();
    let scene = Scene::showing(App::start(), authority, &both, "", "");
    let cipher = |ciphers: &str| {
        let script = format!(
            "context.maximum_version = ssl.TLSVersion.TLSv1_2\n\
             context.set_ciphers('{ciphers}')\n\
             plain = socket.create_connection(('127.0.0.1', port))\n\
             print(context.wrap_socket(plain, server_hostname='localhost').cipher()[0])\n"
        );
        scene.python(&script).fine()
    };
    assert_eq!(cipher("ECDHE-RSA-AES128-GCM-SHA256"), "ECDHE-RSA-AES128-GCM-SHA256\n");
    assert_eq!(cipher("ECDHE-ECDSA-AES128-GCM-SHA256"), "ECDHE-ECDSA-AES128-GCM-SHA256\n");
}

#[test]
fn a_common_name_is_no_host() {
    let authority = Authority::new();
    authority.sign("first", &["first.example"]);
    authority.sign_with("old", &["other.example"], |params: &mut CertificateParams| {
        params.distinguished_name.push(DnType::CommonName, "old.example");
    });
    let both = ["first", "old"].map(|name| certificate(&authority, name)).concat();
    let scene = Scene::showing(App::start(), authority, &both, "", "");
    assert_eq!(
        shown(&scene, &["old.example", "other.example"]),
        ["first.example", "other.example"]
    );
}
