//! gRPC by a client and a server that nobody here wrote (grpcio): calls pass, and are refused in
//! their own terms.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::applications::server::{Server, folder, free_address, python};
use crate::support::certificates::Authority;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{free_port, wait_until};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/grpc");

fn service(arguments: &[String], options: &str) -> Server {
    let address = free_address();
    let mut command = python("service");
    command.current_dir(SOURCES).arg(address.to_string()).args(arguments).env("OPTIONS", options);
    Server::start(command, address, folder())
}

/// What the client has got.
fn tell(address: SocketAddr, story: &[&str]) -> Value {
    let mut command = python("client");
    command.current_dir(SOURCES).arg(address.to_string()).args(story);
    let output = command.output().expect("the client runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&printed).unwrap_or_else(|_| {
        panic!("{story:?}: {printed}{}", String::from_utf8_lossy(&output.stderr))
    })
}

fn gateway(app: SocketAddr, protocol: &str, more: &str) -> Gateway {
    let app = app_at(app).replace("[[routes]]", &format!("{protocol}\n[[routes]]"));
    Gateway::start(&format!("h2c = true\n[store]\nkind = \"local\"\n{app}{more}"))
}

fn h2c(app: &Server, more: &str) -> Gateway {
    gateway(app.address(), "protocol = \"h2c\"", more)
}

fn policy(keys: &str) -> String {
    format!(
        "[policies.calls]\n{keys}\n[[rules]]\npath = \"/test.Echo/**\"\npolicies = [\"calls\"]\n"
    )
}

fn counts(app: &Server) -> Value {
    let counts = tell(app.address(), &["once", "Counts"]);
    serde_json::from_str(counts.as_str().expect("text")).expect("JSON")
}

#[test]
fn every_kind_of_call_passes() {
    let app = service(&[], "{}");
    let direct = tell(app.address(), &["kinds"]);
    assert_eq!(direct["late"], json!(["one", ["DATA_LOSS", "gr\u{fc}\u{df}\u{e9}, 100%"]]));
    assert_eq!(direct["fail"]["code"], "UNAUTHENTICATED");
    assert_eq!(tell(h2c(&app, "").public(), &["kinds"]), direct);
}

/// TLS, and both sides prove who they are.
#[test]
fn every_kind_of_call_passes_over_tls() {
    let authority = Authority::new();
    authority.sign("app", &["app.internal"]);
    authority.sign("gateway", &["gateway.internal"]);
    let files = ["app.pem", "app.key", "ca.pem"].map(|file| authority.path(file));
    let app = service(&files, "{}");
    let keys = format!(
        "protocol = \"h2\"\nserver_name = \"app.internal\"\nca = \"{}\"\n\
         client_certificate = {{ certificate = \"{}\", key = \"{}\" }}",
        authority.path("ca.pem"),
        authority.path("gateway.pem"),
        authority.path("gateway.key"),
    );
    let told = tell(gateway(app.address(), &keys, "").public(), &["kinds"]);
    let plain = service(&[], "{}");
    assert_eq!(told, tell(plain.address(), &["kinds"]));
    let nobody = keys.lines().take(3).collect::<Vec<_>>().join("\n");
    let told = tell(gateway(app.address(), &nobody, "").public(), &["once", "Unary"]);
    assert_eq!(told["code"], "UNAVAILABLE", "without a certificate: {told}");
}

/// A call that ends by its deadline, or is cancelled, ends at the application too.
#[test]
fn deadlines_and_cancellations_arrive() {
    let app = service(&[], "{}");
    let gateway = h2c(&app, "");
    let told = tell(gateway.public(), &["deadline"]);
    let late = "DEADLINE_EXCEEDED";
    assert_eq!(told, json!([late, late, late, "CANCELLED"]));
    wait_until("the application to be told", || counts(&app)["cancelled"] == 4);
}

#[test]
fn a_refused_call_is_exhausted_and_says_when_it_is_not() {
    let app = service(&[], "{}");
    let message = "message = \"Slowly, gr\u{fc}\u{df}e; 100%\"";
    let gateway = h2c(&app, &policy(&format!("quota = 2\nwindow = \"1h\"\n{message}")));
    let began = std::time::Instant::now();
    let told = tell(gateway.public(), &["refused", "4"]);
    assert_eq!(told["first"][0], "echo one");
    assert_eq!(told["first"][1], "echo one");
    let refusals: Vec<&Value> = ["server", "client", "both"]
        .into_iter()
        .flat_map(|kind| told[kind].as_array().expect("a list"))
        .chain(&told["first"].as_array().expect("a list")[2..])
        .collect();
    assert_eq!(refusals.len(), 17);
    for refusal in refusals {
        assert_eq!(refusal["code"], "RESOURCE_EXHAUSTED", "{refusal}");
        assert_eq!(refusal["details"], "Slowly, gr\u{fc}\u{df}e; 100%");
        let metadata = &refusal["metadata"];
        let text = |name: &str| metadata[name].as_str().expect("metadata").to_owned();
        let seconds: u64 = text("retry-after").parse().expect("a number");
        assert!((3_000..=3_700).contains(&seconds), "{seconds}");
        assert_eq!(text("grpc-retry-pushback-ms"), (1_000 * seconds).to_string());
        assert_eq!(retry_delay(&text("grpc-status-details-bin")), seconds);
        assert!(text("ratelimit").contains("\"calls\";r=0"), "{metadata}");
    }
    // Streams that stay open are not waited for. Fifteen times that would be as many seconds.
    println!("all in {:?}", began.elapsed());
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    assert_eq!(counts(&app)["calls"], 2);
}

/// The seconds of the `RetryInfo` in a `google.rpc.Status`, both as hexadecimal digits.
fn retry_delay(status: &str) -> u64 {
    let bytes: Vec<u8> = (0..status.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&status[at..at + 2], 16).expect("digits"))
        .collect();
    let fields = |bytes: &[u8]| {
        let (mut rest, mut found) = (bytes.to_vec(), Vec::new());
        let number = |rest: &mut Vec<u8>| {
            let length = rest.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
            rest.drain(..length).rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
        };
        while !rest.is_empty() {
            let tag = number(&mut rest);
            let value = number(&mut rest);
            let content =
                if tag & 7 == 2 { rest.drain(..value as usize).collect() } else { Vec::new() };
            found.push((tag >> 3, value, content));
        }
        found
    };
    let status = fields(&bytes);
    assert_eq!((status[0].0, status[0].1), (1, 8), "the code");
    assert_eq!(status[1].2, "Slowly, gr\u{fc}\u{df}e; 100%".as_bytes());
    let detail = fields(&status[2].2);
    assert_eq!(detail[0].2, b"type.googleapis.com/google.rpc.RetryInfo");
    let info = fields(&detail[1].2);
    fields(&info[0].2)[0].1
}

/// A client that repeats calls by itself waits as long as it is told, and then it passes. Its own
/// pause is a millisecond, so without being told it would be refused for good.
#[test]
fn a_client_that_repeats_waits_as_it_is_told() {
    let app = service(&[], "{}");
    let gateway = h2c(&app, &policy("quota = 1\nwindow = \"1s\""));
    let told = tell(gateway.public(), &["retried"]);
    assert_eq!(told, json!(["echo one", "echo one", "echo one", "echo one"]));
}

#[test]
fn without_an_application_calls_are_unavailable() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let told = tell(gateway(nobody, "protocol = \"h2c\"", "").public(), &["once", "Unary"]);
    assert_eq!(told["code"], "UNAVAILABLE", "{told}");
    assert!(told["details"].as_str().expect("text").contains("cannot be reached"), "{told}");
}

/// Calls share a connection, and each is charged.
#[test]
fn every_call_of_a_connection_is_charged() {
    let app = service(&[], "{}");
    let gateway = h2c(&app, &policy("quota = 150\nwindow = \"1h\""));
    let told = tell(gateway.public(), &["many", "Unary", "400", "32"]);
    assert_eq!(told["OK"], 150, "{told}");
    assert_eq!(counts(&app)["calls"], 150);
}

/// A server that gives each connection a fifth of a second: what it has not begun is asked again.
#[test]
fn a_server_may_end_its_connections() {
    let options =
        r#"{"grpc.max_connection_age_ms": 200, "grpc.max_connection_age_grace_ms": 10000}"#;
    let app = service(&[], options);
    let gateway = h2c(&app, "");
    let told = tell(gateway.public(), &["many", "Unary", "3000", "8"]);
    assert_eq!(told, json!({ "OK": 3000 }), "{}", gateway.log());
    assert_eq!(counts(&app)["calls"], 3000, "each was done once");
}

/// What fails in gRPC's terms fails: by the status that its code stands for.
#[test]
fn failed_calls_count_as_failures() {
    let app = service(&[], "{}");
    let keys = "quota = 5\nwindow = \"1h\"\ncount = \"failures\"\nfailure_status = [401]";
    let gateway = h2c(&app, &policy(keys));
    assert_eq!(tell(gateway.public(), &["many", "Unary", "20", "4"]), json!({ "OK": 20 }));
    let told = tell(gateway.public(), &["many", "Fail", "8", "1"]);
    assert_eq!(told["UNAUTHENTICATED: not with that password"], 5, "{told}");
    let told = tell(gateway.public(), &["once", "Unary"]);
    assert_eq!(told["code"], "RESOURCE_EXHAUSTED", "{told}");
}

/// What the gateway says of the client is metadata, and nobody else's word is.
#[test]
fn the_application_sees_who_calls() {
    let app = service(&[], "{}");
    let told = tell(h2c(&app, "").public(), &["once", "Seen"]);
    let seen: Value = serde_json::from_str(told.as_str().expect("text")).expect("JSON");
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert!(seen["user-agent"].as_str().expect("one").contains("grpc-python"), "{seen}");
}
