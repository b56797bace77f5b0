//! Logs are written by everybody who can make a request.

use std::fmt::Write as _;

use serde_json::json;

use super::Scene;

const LIMITS: &str = "
[policies.agents]
quota = 1
window = \"1m\"
partition = [\"ip\", \"header:user-agent\", \"query:q\"]
[policies.per-ip]
quota = 2
window = \"1m\"
[[rules]]
path = \"/**\"
policies = [\"agents\", \"per-ip\"]
";
/// What breaks out of whatever does not escape it.
const AGENT: &str = "</code><script>alert(1)</script><img src=x onerror='x'>\"{{ 7*6 }}{% if %}";

fn good(agent: &str) -> String {
    format!(
        "192.0.2.1 - - [14/Nov/2025:00:00:00 +0000] \"GET /?q=%3Cb%3E HTTP/1.1\" 200 5 \"-\" \"{agent}\"\n"
    )
}

#[test]
fn hostile_lines_are_counted_and_do_no_harm() {
    let scene = Scene::new(LIMITS);
    let mut log = good("a").into_bytes();
    log.extend_from_slice(b"\xff\xfe\x00\x01binary\x1b[31m <script>\n");
    log.extend_from_slice(good(&"x".repeat(64 * 1024)).as_bytes());
    log.extend_from_slice(&vec![b'y'; 10_000_000]);
    log.push(b'\n');
    log.extend_from_slice(good("a").replace("GET /?q=%3Cb%3E HTTP/1.1", "-").as_bytes());
    log.extend_from_slice(good("a").replace("GET /", "\\x16\\x03\\x01/").as_bytes());
    log.extend_from_slice(good("a").replace("192.0.2.1", "client.example.org").as_bytes());
    log.extend_from_slice(good("a").replace("/?q=%3Cb%3E", "/<script>").as_bytes());
    log.extend_from_slice(good(&"x".repeat(60_000)).as_bytes());
    log.extend_from_slice(good("a").trim_end().as_bytes());
    scene.write("log", log);
    let report = scene.report(&["log"]);
    assert_eq!(report["lines"], 10);
    assert_eq!(report["unreadable"], 6);
    assert_eq!(report["requests"], 4);
    assert_eq!(report["malformed"], 1, "a raw `<` in a path is answered with 400");
    assert_eq!(report["denied"], 1);
    let first = report["unreadable_first"].as_array().expect("a list");
    let places: Vec<_> = first.iter().map(|bad| (&bad["file"], &bad["line"])).collect();
    let file = json!("log");
    let expected = [2, 3, 4, 5, 6].map(|line| json!(line));
    assert_eq!(places, expected.iter().map(|line| (&file, line)).collect::<Vec<_>>());
    assert_eq!(first[0]["text"], "\\xff\\xfe\\x00\\x01binary\\x1b[31m <script>");
    let text = scene.says(&["log"]);
    assert!(text.contains("log:3: it is longer than 64 KiB"), "{text}");
    assert!(!text.contains('\u{1b}'), "no terminal is told what to do");
}

#[test]
fn a_page_shows_what_was_logged_and_nothing_of_it_acts() {
    let scene = Scene::new(LIMITS);
    let mut log = String::new();
    for number in 0..4 {
        let line = json!({
            "ip": "192.0.2.1",
            "ts": 1_763_078_400 + number,
            "method": "GET",
            "path": "/?q=<b onmouseover=x>",
            "user_agent": AGENT,
        });
        writeln!(log, "{line}").expect("a text takes everything");
    }
    let line = |path: &str, agent: &str| json!({"ip": "192.0.2.1", "ts": 1_763_078_400, "method": "GET", "path": path, "user_agent": agent});
    let encoded = line("/?q=%3Cb%20onmouseover%3Dx%3E", AGENT);
    writeln!(log, "{encoded}\n{encoded}\n<script>alert(2)</script>")
        .expect("a text takes everything");
    scene.write("<script>log", log);
    let text = scene.says(&["<script>log", "--output", "html", "--out", "page.html"]);
    assert_eq!(text, "");
    let page = scene.read("page.html");
    assert!(page.contains("alert(1)") && page.contains("alert(2)"), "or this test tries nothing");
    let elements = elements(&page);
    assert!(elements.iter().filter(|name| *name == "svg").count() == 4, "two charts a policy");
    for name in &elements {
        let ours = [
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "h1",
            "h2",
            "table",
            "tr",
            "th",
            "td",
            "span",
            "code",
            "figure",
            "figcaption",
            "svg",
            "line",
            "text",
            "rect",
            "polygon",
            "polyline",
            "ul",
            "li",
            "p",
        ];
        assert!(ours.contains(&name.as_str()), "an element `{name}` in the page");
    }
    assert!(!page.to_ascii_lowercase().contains("<script"), "{page}");
}

/// The names of all elements of a page. Fails unless each is closed, and nothing but tags has a `<`
/// or, in an attribute, a quote.
fn elements(page: &str) -> Vec<String> {
    let (mut names, mut open): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let page = page.strip_prefix("<!doctype html>").expect("it begins so");
    for part in page.split('<').skip(1) {
        let (tag, _text) = part.split_once('>').unwrap_or_else(|| panic!("no end: <{part}"));
        let name: String =
            tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_ref(), Some(&name), "<{tag}>");
            continue;
        }
        assert!(!name.is_empty() && tag.matches('"').count() % 2 == 0, "<{tag}>");
        let quoted = tag.split('"').skip(1).step_by(2);
        let outside: String = tag.split('"').step_by(2).collect();
        assert!(quoted.count() == outside.matches('=').count(), "every value in quotes: <{tag}>");
        if !tag.ends_with('/') && name != "meta" {
            open.push(name.clone());
        }
        names.push(name);
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    names
}

#[test]
fn what_cannot_be_read_is_said_with_its_place() {
    let scene = Scene::new(LIMITS);
    scene.write("nothing", "2025 something\nelse\n");
    let complaint = scene.fails(&["nothing"]);
    assert!(complaint.starts_with("error: nothing:1: this line cannot be read: "), "{complaint}");
    assert!(complaint.contains("\n  2025 something\n"), "{complaint}");
    assert!(complaint.contains("help: expected lines in the common or combined format"));
    scene.write("good", good("a"));
    let complaint = scene.fails(&["good", "--format", "json"]);
    assert!(complaint.contains("expected one JSON object a line"), "{complaint}");
    let complaint = scene.fails(&["good", "nowhere"]);
    assert!(complaint.contains("cannot read `nowhere`: No such file"), "{complaint}");
    let complaint = scene.fails(&["good", "--out", "nowhere/page"]);
    assert!(complaint.contains("cannot write `nowhere/page`"), "{complaint}");
    scene.write("endless", "no line\n".repeat(2_000) + &good("a"));
    assert!(scene.fails(&["endless"]).contains("endless:1:"));
    assert_eq!(scene.run(&["good", "--format", "nope"]).status.code(), Some(2));
}

#[test]
fn a_cut_gzip_file_is_an_error_and_not_a_shorter_log() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;
    let scene = Scene::new(LIMITS);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for number in 0..5_000 {
        encoder.write_all(good(&format!("a{number}")).as_bytes()).expect("it takes everything");
    }
    let packed = encoder.finish().expect("it ends");
    scene.write("cut.gz", &packed[..packed.len() * 2 / 3]);
    let complaint = scene.fails(&["cut.gz"]);
    let lines = complaint.strip_prefix("error: cut.gz: the gzip data ends too early, after ");
    let lines = lines.and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    assert!(lines.is_some_and(|lines| (1_000..5_000).contains(&lines)), "{complaint}");
    let mut broken = packed.clone();
    broken[packed.len() / 2] ^= 0xff;
    scene.write("broken.gz", broken);
    assert!(scene.fails(&["broken.gz"]).starts_with("error: broken.gz: it cannot be read on"));
    scene.write("whole", packed);
    assert_eq!(scene.report(&["whole"])["requests"], 5_000);
}
