//! A gateway with TLS in front of an application, and the clients that come.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::support::app::App;
use crate::support::certificates::Authority;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{free_port, wait_for_listener};

/// A store of the gateway's own.
pub(super) const LOCAL: &str = "[store]\nkind = \"local\"\n";

/// A gateway with TLS.
pub(super) struct Scene {
    pub(super) gateway: Gateway,
    pub(super) authority: Authority,
    pub(super) app: App,
    /// Its listener with TLS.
    pub(super) tls: SocketAddr,
}

/// What a client said at its end.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) ok: bool,
    pub(super) out: String,
    pub(super) err: String,
}

/// `[[tls.certificates]]` of the files `NAME.pem` and `NAME.key`.
pub(super) fn certificate(authority: &Authority, name: &str) -> String {
    let [certificate, key] = ["pem", "key"].map(|kind| authority.path(&format!("{name}.{kind}")));
    format!("[[tls.certificates]]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n")
}

// === impl Scene ===

impl Scene {
    /// With a certificate for `localhost`, further keys of `[tls]`, and other sections.
    pub(super) fn start(keys: &str, config: &str) -> Self {
        Self::with(App::start(), Authority::new(), keys, config)
    }

    /// The same for an application and an authority of the test's own. It signs `localhost`, and
    /// `CA` in `keys` is its file.
    pub(super) fn with(app: App, authority: Authority, keys: &str, config: &str) -> Self {
        authority.sign("localhost", &["localhost"]);
        let shown = certificate(&authority, "localhost");
        let keys = keys.replace("CA", &authority.path("ca.pem"));
        Self::showing(app, authority, &shown, &keys, config)
    }

    /// The same with certificates of the test's own.
    pub(super) fn showing(
        app: App,
        authority: Authority,
        shown: &str,
        keys: &str,
        config: &str,
    ) -> Self {
        let tls = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let gateway = Gateway::start(&format!(
            "[tls]\nlisten = [\"{tls}\"]\n{keys}\n{shown}{LOCAL}{}{config}",
            app_at(app.address())
        ));
        wait_for_listener(tls);
        Self { gateway, authority, app, tls }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.tls.port())
    }

    /// curl, which believes the authority: its answer with the head.
    pub(super) fn curl(&self, arguments: &[&str], path: &str) -> Said {
        let mut command = Command::new("curl");
        let to = format!("localhost:{}:127.0.0.1", self.tls.port());
        command.args(["-sSi", "--max-time", "60", "--resolve", &to, "--noproxy", "*"]);
        command.args(["--cacert", &self.authority.path("ca.pem")]);
        said(command.args(arguments).arg(self.url(path)))
    }

    /// Python, with a `context` that believes the authority, and the gateway's `port`.
    pub(super) fn python(&self, script: &str) -> Said {
        let begin = format!(
            "import http.client, socket, ssl\nport = {}\nca = {:?}\n\
             context = ssl.create_default_context(cafile=ca)\n",
            self.tls.port(),
            self.authority.path("ca.pem"),
        );
        said(Command::new("python3").args(["-c", &(begin + script)]))
    }
}

fn said(command: &mut Command) -> Said {
    let output = command.output().expect("the client runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    Said { ok: output.status.success(), out, err }
}

// === impl Said ===

impl Said {
    /// What it said; fails if it complained.
    pub(super) fn fine(self) -> String {
        assert!(self.ok, "{self:?}");
        self.out
    }

    /// The status line and the header lines, the latter in lower case.
    pub(super) fn has(&self, line: &str) -> bool {
        self.out.lines().any(|found| found.trim_end().eq_ignore_ascii_case(line))
    }
}
