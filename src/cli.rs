//! The command line.

mod meters;

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use http::{HeaderName, HeaderValue, Method};

use crate::config::{Config, LoadError, Problem};
use crate::explain::{self, Described};
use crate::{demo, replay, server};

/// The configuration where none is named.
const CONFIG_DEFAULT: &str = "gateway.toml";
/// What the demo's own configuration is called.
const CONFIG_BUILT_IN: &str = "(built in)";
/// The configuration of the demo where none is named: the annotated one of this repository.
const CONFIG_DEMO: &str = include_str!("../gateway.toml");

/// A rate-limiting gateway in front of a web application.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration [default: gateway.toml; the demo has one built in]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway; the default
    Run(Start),
    /// Validate the configuration and print every mistake with its place
    Check,
    /// Run the gateway in front of a small sample application
    Demo,
    /// Say what would become of a request: its client, user, route, rules, policies and keys
    Explain(Request),
    /// Show what meters have counted, and hand the counts over
    Meters(meters::Meters),
    /// Say whom the limits would have refused, by access logs; nothing is asked and nothing charged
    Replay(replay::Options),
}

#[derive(Debug, Default, Args)]
struct Start {
    /// Take the place of the gateway that runs; no request is lost. Its socket is
    /// `server.upgrade_socket`, unless another one is given
    #[arg(long, value_name = "SOCKET", require_equals = true)]
    #[expect(clippy::option_option, reason = "absent, without a socket, and with one")]
    upgrade: Option<Option<PathBuf>>,
}

/// A request that is described and not made.
#[derive(Debug, Args)]
struct Request {
    #[arg(long, default_value = "GET")]
    method: Method,
    /// The path, with or without a query
    #[arg(long)]
    path: String,
    /// The address that the request comes from, as the gateway sees it
    #[arg(long)]
    ip: IpAddr,
    /// A header field; any number of them
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Ask Redis how the keys stand; nothing is charged
    #[arg(long)]
    store: bool,
}

// === impl Cli ===

impl Cli {
    /// Does what was asked. Exit codes: 0 success, 1 it failed; wrong usage, 2, ends in the parser.
    pub fn execute(self) -> ExitCode {
        let path = self.config.clone().unwrap_or_else(|| PathBuf::from(CONFIG_DEFAULT));
        let result = match self.command.unwrap_or(Command::Run(Start::default())) {
            Command::Run(how) => run(&path, &how),
            Command::Check => check(&path),
            Command::Demo => run_demo(self.config),
            Command::Explain(request) => explain_request(&path, request),
            Command::Meters(meters) => read(&path).and_then(|(config, _)| meters.execute(&config)),
            Command::Replay(options) => run_replay(&path, &options),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                complain(&reason);
                ExitCode::FAILURE
            }
        }
    }
}

fn run(path: &Path, how: &Start) -> Result<(), String> {
    let config = load(path)?;
    let extras = server::Extras { upgrade: how.upgrade.clone(), ..server::Extras::default() };
    start(config, path.to_owned(), extras)
}

fn check(path: &Path) -> Result<(), String> {
    let config = load(path)?;
    // What only shows when the parts are built is a mistake of the file as well.
    server::build(&config).map_err(|reason| format!("error: {}: {reason}", path.display()))?;
    let count = |number: usize, noun: &str, nouns: &str| match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {nouns}"),
    };
    say(&format!(
        "{} is valid: {}, {}, {}, {}",
        path.display(),
        count(config.policies.len(), "policy", "policies"),
        count(config.rules.len(), "rule", "rules"),
        count(config.routes.len(), "route", "routes"),
        count(config.upstreams.len(), "upstream", "upstreams"),
    ));
    Ok(())
}

fn run_demo(path: Option<PathBuf>) -> Result<(), String> {
    let mut config = match &path {
        Some(path) => load(path)?,
        None => built_in()?,
    };
    let extras = demo::prepare(&mut config).map_err(|reason| format!("error: {reason}"))?;
    // There is no file to read again: SIGHUP says so.
    start(config, path.unwrap_or_else(|| PathBuf::from(CONFIG_BUILT_IN)), extras)
}

fn explain_request(path: &Path, request: Request) -> Result<(), String> {
    let config = load(path)?;
    let Request { method, path, ip: peer, headers, store } = request;
    let described = Described { method, path, peer, headers, store };
    let explained = explain::explain(&config, &described);
    let explanation = explained.map_err(|reason| format!("error: {reason}"))?;
    say(&explanation.text);
    match explanation.unasked {
        Some(fault) => Err(format!("\nerror: how the keys stand is not known: {fault}")),
        None => Ok(()),
    }
}

fn run_replay(path: &Path, options: &replay::Options) -> Result<(), String> {
    let config = load(path)?;
    replay::run(&config, options).map_err(|reason| format!("error: {reason}"))
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is `NAME: VALUE`")?;
    let name = name.trim().parse().map_err(|_| "not the name of a header")?;
    let value = value.trim().parse().map_err(|_| "not the value of a header")?;
    Ok((name, value))
}

fn start(config: Config, path: PathBuf, extras: server::Extras) -> Result<(), String> {
    server::run(config, path, extras).map_err(|error| format!("error: {error}"))
}

/// Loads the file and prints its warnings.
fn load(path: &Path) -> Result<Config, String> {
    let (config, warnings) = read(path)?;
    warn(&warnings);
    if config.rules.is_empty() {
        complain(&format!("warning: {} has no rules: nothing is limited", path.display()));
    }
    Ok(config)
}

/// Loads the file and keeps its warnings.
fn read(path: &Path) -> Result<(Config, Vec<Problem>), String> {
    Config::load(path, 0).map_err(|error| match error {
        LoadError::Invalid(problems) => problems.to_string(),
        error @ LoadError::Read { .. } if path == Path::new(CONFIG_DEFAULT) => format!(
            "error: {error}\n  = help: name a configuration with `--config FILE`, or try \
             `sluicegate demo`, which has one built in"
        ),
        error => format!("error: {error}"),
    })
}

fn built_in() -> Result<Config, String> {
    let no_environment = |_: &str| None;
    let parsed = Config::parse(CONFIG_DEMO, CONFIG_BUILT_IN, &no_environment, 0);
    let (config, warnings) = parsed.map_err(|problems| problems.to_string())?;
    warn(&warnings);
    Ok(config)
}

fn warn(warnings: &[Problem]) {
    for warning in warnings {
        complain(&warning.to_string());
    }
}

/// Writes a line that was asked for. A reader that has gone away is no failure.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
