//! No mistake shows a secret, wherever one may stand: at a reload the same lines go to the log.

use super::parse;
use crate::identity::scene::Folder;

const SOMEWHERE: &str = "[upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n[[routes]]\npath = \"/**\"\nupstream = \"app\"\n";
const SECRET: &str = "SUPERSECRET-0123456789-0123456789-01";
const JWT: &str = "[identity.jwt]\nalgorithms = [\"HS256\"]\n";

/// What is said of `config`, which has a mistake.
fn said(config: &str) -> String {
    parse(config, &[]).expect_err(config).to_string()
}

/// Fails, naming every one of `configs` whose mistakes show the secret.
fn none_shows_it(configs: &[(&str, String)]) {
    let shown = configs.iter().filter(|(_, config)| said(config).contains("SUPERSECRET"));
    let shown: Vec<&str> = shown.map(|(name, _)| *name).collect();
    assert!(shown.is_empty(), "the secret is shown: {shown:#?}");
}

#[test]
fn no_mistake_shows_a_secret() {
    let configs = [
        ("a list", format!("{JWT}key = [\"{SECRET}\"]\n")),
        ("several lines", format!("{JWT}key = \"\"\"\n{SECRET}${{NONE}}\"\"\"\n")),
        ("several lines, bad escape", format!("{JWT}key = \"\"\"\n{SECRET}\\q\"\"\"\n")),
        ("another name", format!("{JWT}signing_key = \"{SECRET}\"\n")),
        ("a typo", format!("{JWT}kye = \"{SECRET}\"\n")),
        ("no table", format!("[identity]\njwt = \"{SECRET}\"\n")),
        ("no table either", format!("[identity]\napi_key = \"{SECRET}\"\n")),
        ("keys in place", format!("[identity.api_key]\nheader = \"a\"\nkeys = [\"{SECRET}\"]\n")),
        ("secret as file", format!("{JWT}key_file = \"{SECRET}\"\n")),
    ];
    none_shows_it(&configs.map(|(name, identity)| (name, format!("{SOMEWHERE}{identity}"))));
}

/// Where a section is not written as it is in the examples.
#[test]
fn no_spelling_of_a_section_shows_a_secret() {
    let last = |section: String| format!("{SOMEWHERE}{section}");
    none_shows_it(&[
        ("dotted keys", format!("identity.jwt.kye = \"{SECRET}\"\n{SOMEWHERE}")),
        (
            "an inline table",
            format!("identity = {{ jwt = {{ kye = \"{SECRET}\" }} }}\n{SOMEWHERE}"),
        ),
        ("lines of a dotted key", format!("identity.kye = \"\"\"\n{SECRET}\\q\"\"\"\n{SOMEWHERE}")),
        ("the store", last(format!("[store]\nauth = \"{SECRET}\"\n"))),
        (
            "a mistyped key of the Sentinels",
            last(format!("[store.sentinel]\npasswrd = \"{SECRET}\"\n")),
        ),
        ("a list of passwords", last(format!("[store.sentinel]\npassword = [\"{SECRET}\"]\n"))),
        ("no boolean", last(format!("[store.sentinel]\ntls = \"{SECRET}\"\n"))),
        ("no table of the store", last(format!("[store]\nsentinel = \"{SECRET}\"\n"))),
        ("a node with a login", last(format!("[store]\nnodes = [\"redis://a:{SECRET}@b:1\"]\n"))),
        ("a table within", last(format!("[identity]\njwt = {{ kye = \"{SECRET}\" }}\n"))),
        ("a mistyped section", last(format!("[idenity.jwt]\nkye = \"{SECRET}\"x\n"))),
        ("a long name", last(format!("[identity.{0}{0}]\nkye = \"{SECRET}\"x\n", "abcdefghijk"))),
        ("a quoted section", last(format!("[ \"identity\" . jwt ] # users\nkye = \"{SECRET}\"\n"))),
        ("an array of tables", last(format!("[[identity.jwt]]\nkye = \"{SECRET}\"x\n"))),
        ("blanks", last(format!("[ identity . jwt ]\r\n\tkye\t=\t\"{SECRET}\"\r\n"))),
        ("a secret as the name of a section", last(format!("[identity.{SECRET}]\n"))),
    ]);
}

/// Where a broken file leaves no key that one could go by.
#[test]
fn no_broken_file_shows_a_secret() {
    let broken = |rest: String| format!("{SOMEWHERE}{JWT}{rest}\n");
    none_shows_it(&[
        ("alone", broken(SECRET.to_owned())),
        ("alone, in quotes", broken(format!("\"{SECRET}\""))),
        ("padded", broken(format!("{SECRET}=="))),
        ("as a key", broken(format!("{SECRET} = 1"))),
        ("as a key in quotes", broken(format!("\"{SECRET}\" = 1"))),
        ("behind a harmless key", broken(format!("header = \"a\", kye = \"{SECRET}\""))),
        ("behind an open quote", broken(format!("header = \"a, kye = {SECRET}"))),
        ("behind a comment", broken(format!("# kye = \"{SECRET}\u{1}\""))),
        ("an entry", broken(format!("kye = [\n[\"{SECRET}\" x]\n]"))),
        ("escaped", broken(format!("key_file = \"\\u0053{}\"", &SECRET[1..]))),
        ("a default", broken(format!("key_file = \"${{KEY:-{SECRET}}}\""))),
        ("no place", format!("{SOMEWHERE}[identity.session]\nkey = \"{SECRET}\"\n")),
        (
            "what looks like a section",
            broken(format!("kye = \"\"\"\n[server]\n{SECRET}\\q\n\"\"\"")),
        ),
        ("other quotes", broken(format!("kye = '''\n\"\"\"\n[server]\n{SECRET}\u{1}\n'''"))),
    ]);
}

/// A key written for its hash: the file of keys has secrets of its own.
#[test]
fn no_mistake_in_a_file_of_keys_shows_a_key() {
    let folder = Folder::new();
    let keys = folder
        .write("keys.toml", format!("kesy = 1\n{SECRET} = \"acme\"\n[[keys]]\n{SECRET} = 1\n"));
    let section = format!("[identity.api_key]\nheader = \"x-key\"\nfile = \"{keys}\"\n");
    let said = said(&format!("{SOMEWHERE}{section}"));
    assert!(said.contains("keys.toml:1`: unknown key `kesy`"), "{said}");
    assert!(
        said.contains("keys.toml:2`: unknown key") && said.contains(":4`: unknown key"),
        "{said}"
    );
    assert!(!said.contains("SUPERSECRET"), "{said}");
}

/// Who is told of a mistake wants to see it.
#[test]
fn what_is_no_secret_is_shown() {
    let lines = [
        ("[identity]\n", "on_invalid = \"refuse\""),
        ("[identity.session]\n", "key = \"{id}\""),
        (JWT, "key_file = \"/nowhere/key.pem\""),
        (JWT, "key_file = \"${NOWHERE:-/nowhere}/key.pem\""),
        ("[store.tls]\n", "key = \"/nowhere/key.pem\""),
        ("[store]\n", "kind = \"memcached\""),
        ("[store]\n", "nodes = [\"10.0.0.2\"]"),
        ("[store.sentinel]\n", "servers = [\"10.0.0.1\"]"),
        ("[store.sentinel]\n", "username = \"gate\""),
        ("[store.sentinel]\n", "tls = 1"),
        ("", "quotas = 5"),
        ("[identity]\n[server]\n", "lissten = \"x\""),
    ];
    for (section, line) in lines {
        let said = said(&format!("{section}{line}\n{SOMEWHERE}"));
        assert!(said.contains(line), "{said}");
    }
    let message = said(&format!("{JWT}kye = \"x\"\n"));
    assert!(message.contains("unknown key `kye`") && message.contains("| kye = ***"), "{message}");
}
