//! The consumer of the story site, killed at random moments again and again: each batch is in its
//! database once, by push and by pull. These are the files of the example as they stand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::{counted, counts};
use crate::examples::SECRET;
use crate::examples::address::redis_of_the_story_site;
use crate::examples::tokens::{claims, signed};
use crate::support::app::App;
use crate::support::certificates::Authority;
use crate::support::fault_proxy::{Behaviour, FaultProxy};
use crate::support::gateway::{BINARY, Gateway};
use crate::support::redis::{RedisServer, free_port, wait_until};

const TOKEN: &str = "a-token-of-the-tests";
/// A consumer is killed within so many milliseconds after it has said what it does.
const KILL_WITHIN_MS: u64 = 4;
/// Only a consumer that gets nothing is silent for so long: attempts to push are a minute apart at
/// most.
const SILENT_MAX: Duration = Duration::from_secs(90);

/// The story site with its gateway, and what the test knows of its views.
struct Site {
    gateway: Gateway,
    variables: Vec<(String, String)>,
    database: PathBuf,
    expected: BTreeMap<String, u64>,
    readers: usize,
    /// How often a story was opened.
    opened: u64,
    random: fastrand::Rng,
    _app: App,
    _redis: RedisServer,
    _authority: Authority,
}

/// A consumer and what it says.
struct Consumer {
    child: Child,
    lines: Receiver<String>,
}

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/story-site").join(file)
}

// === impl Site ===

impl Site {
    fn start(name: &str, more: &[(&str, &str)]) -> Self {
        let (redis, url, authority) = redis_of_the_story_site();
        let app = App::start();
        let (ca, at) = (authority.path("ca.pem"), app.address().to_string());
        let own = [
            ("APP", at.as_str()),
            ("REDIS_URL", &url),
            ("REDIS_CA", &ca),
            ("PROXY", "127.0.0.0/8"),
            ("SESSION_SECRET", SECRET),
            ("LIMITS", "off"),
            ("VIEWS_TOKEN", TOKEN),
        ];
        let variables = [&own, more].concat();
        let text = std::fs::read_to_string(example("gateway.toml")).expect("the example");
        let gateway = Gateway::start_whole(&text, &variables);
        gateway.wait_for_store("up");
        let database = gateway.config().with_file_name(format!("{name}.db"));
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            gateway,
            variables: variables.into_iter().map(owned).collect(),
            database,
            expected: BTreeMap::new(),
            readers: 0,
            opened: 0,
            random: fastrand::Rng::with_seed(7),
            _app: app,
            _redis: redis,
            _authority: authority,
        }
    }

    /// A new reader opens a few stories, some of them twice.
    fn read_stories(&mut self) {
        self.readers += 1;
        let token = signed(&claims(&format!("reader-{}", self.readers)));
        for story in 0..5 {
            let path = format!("/api/stories/{story}");
            if self.random.bool() {
                for _ in 0..=self.random.u8(..2) {
                    let request = self.gateway.client().get(self.gateway.url(&path));
                    let request = request.header("cookie", format!("session={token}"));
                    assert_eq!(request.send().expect("an answer").status(), 200);
                    self.opened += 1;
                }
                *self.expected.entry(path).or_default() += 1;
            }
        }
        counted(&self.gateway, self.opened);
    }

    fn consumer(&self, words: &[&str], stdin: Stdio) -> Consumer {
        let mut command = Command::new("python3");
        command.arg(example("consumer.py")).arg(words[0]).arg(&self.database).args(&words[1..]);
        command.envs(self.variables.iter().cloned()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(stdin).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is installed");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let texts = stdout.lines().map_while(Result::ok);
            texts.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Consumer { child, lines }
    }

    /// What is in the database: the views, and how many batches.
    fn taken(&self) -> (BTreeMap<String, u64>, u64) {
        let mut consumer = self.consumer(&["show"], Stdio::null());
        let mut views = BTreeMap::new();
        while let Some(line) = consumer.line() {
            let (item, count) = line.split_once(' ').expect("an item and a count");
            views.insert(item.to_owned(), count.parse().expect("a number"));
        }
        consumer.child.wait().expect("it ends");
        let batches = views.remove("batches").expect("how many batches");
        (views, batches)
    }

    fn metric(&self, name: &str, label: &str) -> f64 {
        self.gateway.metric(name, &[label])
    }
}

// === impl Consumer ===

impl Consumer {
    /// The next line; none when it has ended.
    fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(SILENT_MAX) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the consumer says nothing"),
        }
    }

    fn wait_for(&self, word: &str) -> Option<String> {
        loop {
            let line = self.line()?;
            if line.starts_with(word) {
                return Some(line);
            }
        }
    }

    /// `kill -9`, within a moment.
    fn kill(mut self, random: &mut fastrand::Rng) {
        std::thread::sleep(Duration::from_micros(random.u64(..KILL_WITHIN_MS * 1_000)));
        let _ = self.child.kill();
        self.child.wait().expect("it ends");
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_consumer_that_is_pushed_to_and_crashes_takes_each_batch_once() {
    let at = format!("127.0.0.1:{}", free_port());
    let between = FaultProxy::start(at.parse().expect("an address"));
    let seen_at = between.address().to_string();
    let mut site = Site::start("pushed", &[("VIEWS", &seen_at), ("VIEWS_EVERY", "1s")]);
    let rounds = if std::env::var_os("SLUICEGATE_SOAK").is_some() { 40 } else { 6 };
    for round in 0..rounds {
        // In half of the rounds it takes a batch, and its answer gets lost.
        let lost = round % 2 == 0;
        between.set(if lost { Behaviour::HalfClose } else { Behaviour::Pass });
        site.read_stories();
        let consumer = site.consumer(&["serve", &at], Stdio::null());
        // Else it dies before its transaction, within it, or between that and its answer.
        assert!(consumer.wait_for(if lost { "applied" } else { "taking" }).is_some());
        let mut random = site.random.fork();
        consumer.kill(&mut random);
        between.set(Behaviour::Pass);
        // The next one gets the batch again, or does not, and lives until nothing is left.
        let consumer = site.consumer(&["serve", &at], Stdio::null());
        assert_eq!(consumer.wait_for("listening").as_deref(), Some("listening"));
        let (pending, open) = ("sluicegate_meter_pending_batches", "open      0 views");
        wait_until("all to be taken", || {
            let output = Command::new(BINARY)
                .args(["meters", "--config"])
                .arg(site.gateway.config())
                .envs(site.variables.iter().cloned())
                .output();
            let text = String::from_utf8(output.expect("it runs").stdout).expect("text");
            text.contains(open) && !text.contains("pending") && site.metric(pending, "views") == 0.0
        });
        consumer.kill(&mut random);
    }
    let (views, batches) = site.taken();
    println!("{batches} batches, {views:?}");
    assert_eq!(views, site.expected);
    assert!(batches >= rounds);
    let log = site.gateway.log();
    assert!(!log.contains(TOKEN), "{log}");
}

#[test]
fn a_consumer_that_pulls_and_crashes_takes_each_batch_once() {
    let mut site = Site::start("pulled", &[("VIEWS_EXPORT", "pull")]);
    let rounds = if std::env::var_os("SLUICEGATE_SOAK").is_some() { 200 } else { 24 };
    let config = site.gateway.config().display().to_string();
    let acknowledge = ["pull", BINARY, "meters", "--config", &config, "ack", "views"];
    let mut named = Vec::new();
    for round in 0..=rounds {
        site.read_stories();
        let mut export = Command::new(BINARY);
        export.args(["meters", "--config", &config, "export", "views"]);
        export.envs(site.variables.iter().cloned()).stdout(Stdio::piped());
        let mut export = export.spawn().expect("the binary runs");
        let lines = export.stdout.take().expect("a pipe");
        let mut consumer = site.consumer(&acknowledge, lines.into());
        if round < rounds {
            // Between any two of its steps.
            let word = if site.random.bool() { "taking" } else { "a" };
            named.extend(consumer.wait_for(word));
            let mut random = site.random.fork();
            consumer.kill(&mut random);
        } else {
            while consumer.line().is_some() {}
            assert!(consumer.child.wait().expect("it ends").success());
        }
        export.wait().expect("it ends");
    }
    // What was open while a batch was pending is one more.
    let last = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "'{BINARY}' meters --config '{config}' export views | python3 '{}' pull '{}' \
             '{BINARY}' meters --config '{config}' ack views",
            example("consumer.py").display(),
            site.database.display()
        ))
        .envs(site.variables.iter().cloned())
        .output();
    assert!(last.expect("it runs").status.success());
    let (views, batches) = site.taken();
    println!("{batches} batches of {} attempts, {views:?}", named.len());
    assert_eq!(views, site.expected);
    assert_ne!(views, counts(&[]));
    assert!(batches >= 2);
}
