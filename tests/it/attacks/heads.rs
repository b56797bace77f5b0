//! Heads of requests that say one thing to the gateway and another to the application.

use super::scene::{Scene, request};

const TENANTS: &str = "[request]\n[client]\ntrusted_proxies = [\"192.0.2.1\"]\n\
                       [identity.header]\nuser = \"x-user-id\"\ntier = \"x-plan\"\n\
                       [policies.tenants]\nquota = 1000\nwindow = \"1h\"\n\
                       partition = [\"ip\", \"header:x-tenant\"]\n\
                       [[rules]]\npath = \"/**\"\nheaders = { x-beta = \"*\" }\npolicies = [\"tenants\"]\n";

#[test]
fn c09_no_way_to_say_a_method_is_free() {
    let scene = Scene::new(
        "[policies.posts]\nquota = 100\nwindow = \"1h\"\n\
         [[rules]]\npath = \"/x\"\nmethods = [\"POST\"]\npolicies = [\"posts\"]\n",
    );
    let mut sent = 0;
    for method in ["GET", "get", "HEAD", "POST", "PURGE", "PROPFIND", "OPTIONS", "X-ANY"] {
        let answer =
            scene.send(request(method, "/x", "host: a\r\ncontent-length: 0\r\n").as_bytes());
        sent += 1;
        assert_eq!((answer.status, scene.charged("all")), (200, sent), "{method}");
    }
    let preflight = "host: a\r\norigin: https://b\r\naccess-control-request-method: POST\r\n";
    assert_eq!(scene.send(request("OPTIONS", "/x", preflight).as_bytes()).status, 200);
    assert_eq!(scene.charged("all"), sent + 1, "a preflight is not free");
    // Whoever names another method in a header neither leaves a rule nor gets that method.
    let posts = scene.charged("posts");
    for name in ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"] {
        let lines = format!("host: a\r\ncontent-length: 0\r\n{name}: GET\r\n");
        assert_eq!(scene.send(request("POST", "/x", &lines).as_bytes()).status, 200);
        assert_eq!(scene.app.last().header(name), None, "{name}");
    }
    assert_eq!(scene.charged("posts"), posts + 3);
    let keeps = Scene::new("[request]\nmethod_override = \"keep\"\n");
    assert_eq!(keeps.get("/", "x-http-method-override: PUT\r\n").status, 200);
    assert_eq!(keeps.app.last().header("x-http-method-override"), Some("PUT"));
}

#[test]
fn c10_a_request_is_for_one_host() {
    let scene = Scene::new(
        "[policies.site]\nquota = 100\nwindow = \"1h\"\n\
         [[rules]]\npath = \"/**\"\nhost = \"example.org\"\npolicies = [\"site\"]\n",
    );
    for (number, host) in (1..).zip([
        "example.org",
        "EXAMPLE.org",
        "example.org.",
        "example.org:80",
        "Example.Org.:8080",
    ]) {
        let answer = scene.send(request("GET", "/", &format!("host: {host}\r\n")).as_bytes());
        assert_eq!((answer.status, scene.charged("site")), (200, number), "{host}");
        assert_eq!(scene.app.last().header("host"), Some(host), "once");
    }
    for lines in [
        "",
        "host:\r\n",
        "host: \r\n",
        "host: a/b\r\n",
        "host: a b\r\n",
        "host: a, b\r\n",
        "host: a:b\r\n",
        "host: a:99999\r\n",
        "host: ::1\r\n",
        "host: u@a\r\n",
        "host: a\r\nhost: a\r\n",
        "host: a\r\nHost: b\r\n",
        "host: a\r\nHOST: a\r\n",
    ] {
        scene.refused_somewhere(request("GET", "/", lines).as_bytes());
    }
    scene.refused(400, "host", &request("GET", "/", ""));
    scene.refused(400, "host", &request("GET", "/", "host: a:b\r\n"));
    let old = scene.send(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.status, 200, "HTTP/1.0 has none");
}

#[test]
fn c17_connection_takes_off_nothing_that_decides() {
    let scene = Scene::new(TENANTS);
    for name in [
        "Host",
        "Authorization",
        "Cookie",
        "X-User-Id",
        "x-plan",
        "X-Tenant",
        "x-beta",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-User",
        "X-Real-IP",
        "True-Client-IP",
        "X-Request-Id",
        "Content-Length",
        "Transfer-Encoding",
        "X_Tenant",
    ] {
        for value in [name.to_owned(), format!("keep-alive, {name}"), format!("close,,{name} ,te")]
        {
            let lines = format!("host: a\r\nx-tenant: 1\r\nconnection: {value}\r\n");
            let request = format!("GET / HTTP/1.1\r\n{lines}\r\n");
            scene.refused(400, "connection", &request);
        }
    }
    let many = (0..20).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(", ");
    for value in [&*many, "\"x-tenant\"", ":path"] {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: {value}\r\n\r\n");
        scene.refused(400, "connection", &request);
    }
    // What concerns this hop alone may be named, and ends here.
    let lines = "te: trailers\r\nx-hop: 1\r\nconnection: te, x-hop\r\n";
    assert_eq!(scene.get("/", lines).status, 200);
    assert_eq!(scene.app.last().header("x-hop"), None);
}

#[test]
fn c18_of_a_name_in_two_spellings_one_reaches_the_application() {
    let lines = "X_Tenant: evil\r\nX-Tenant: 1\r\nX_User_Id: admin\r\nX-Forwarded_For: 1.1.1.1\r\n\
                 x.tenant: 2\r\n";
    let scene = Scene::new(TENANTS);
    assert_eq!(scene.get("/", lines).status, 200);
    let seen = scene.app.last();
    let underscored = seen.headers.iter().filter(|(name, _)| name.contains('_')).count();
    assert_eq!(
        (underscored, seen.header("x-tenant"), seen.header("x.tenant")),
        (0, Some("1"), Some("2"))
    );
    let label = "reason=\"underscore\"";
    let dropped = scene.gateway.metric("sluicegate_headers_dropped_total", &[label]);
    assert!((dropped - 3.0).abs() < 0.5, "{dropped} of 3");
    // They say nothing to rules either.
    let beta = scene.charged("tenants");
    assert_eq!(scene.get("/", "x_beta: 1\r\n").status, 200);
    assert_eq!(scene.charged("tenants"), beta);
    let with = |word: &str| {
        Scene::new(
            &TENANTS.replace("[request]\n", &format!("[request]\nunderscores = \"{word}\"\n")),
        )
    };
    with("reject").refused(400, "underscore", &request("GET", "/", "host: a\r\nx_own: 1\r\n"));
    let keeps = with("keep");
    assert_eq!(keeps.get("/", &format!("{lines}x_own: 1\r\n")).status, 200);
    let seen = keeps.app.last();
    assert_eq!((seen.header("x_own"), seen.header("x_user_id")), (Some("1"), None));
    assert_eq!(seen.header("x-forwarded_for"), None, "what passes for a proxy's never goes on");
}

#[test]
fn c18_a_name_with_a_blank_is_no_name() {
    let scene = Scene::new("");
    for line in ["x tenant: 1", "x-tenant : 1", " x-tenant: 1", "x\ttenant: 1", ": 1", "x(y): 1"] {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{line}\r\n\r\n");
        scene.refused_somewhere(request.as_bytes());
    }
}

#[test]
fn c19_who_somebody_is_is_said_once() {
    let scene = Scene::new(&TENANTS.replace("192.0.2.1", "127.0.0.1"));
    for name in ["X-User-Id", "x-plan", "X-Tenant", "Authorization"] {
        let lines = format!("host: a\r\n{name}: a\r\n{}: b\r\n", name.to_ascii_lowercase());
        scene.refused(400, "duplicate", &request("GET", "/", &lines));
    }
    // One line with a comma is one name, and not that of `a`.
    let scene = Scene::new(
        "[client]\ntrusted_proxies = [\"127.0.0.1\"]\n[identity.header]\nuser = \"x-user-id\"\n\
         [policies.users]\nquota = 1\nwindow = \"1h\"\npartition = [\"user\"]\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"users\"]\n",
    );
    for user in ["a", "a, b", "b, a", "b"] {
        let line = format!("x-user-id: {user}\r\n");
        assert_eq!(scene.get("/", &line).status, 200, "{user}");
        assert_eq!(scene.get("/", &line).status, 429, "{user}");
    }
}

#[test]
fn c20_nobody_names_himself() {
    let config = |proxies: &str| {
        format!(
            "[client]\ntrusted_proxies = [{proxies}]\n[identity.header]\nuser = \"x-user-id\"\n\
             [policies.users]\nquota = 1\nwindow = \"1h\"\npartition = [\"user\"]\n\
             [[rules]]\npath = \"/**\"\npolicies = [\"users\"]\n"
        )
    };
    let scene = Scene::new(&config("\"192.0.2.1\""));
    let statuses: Vec<u16> =
        (0..5).map(|n| scene.get("/", &format!("x-user-id: user-{n}\r\n")).status).collect();
    assert_eq!(statuses, [200, 429, 429, 429, 429], "the address counts");
    assert_eq!(scene.app.last().header("x-user-id"), None);
    let scene = Scene::new(&config("\"127.0.0.1\""));
    let statuses: Vec<u16> =
        (0..3).map(|n| scene.get("/", &format!("x-user-id: user-{n}\r\n")).status).collect();
    assert_eq!(statuses, [200; 3], "a trusted proxy names users");
    assert_eq!(scene.app.last().header("x-user-id"), Some("user-2"));
}

/// Rows of the catalogue that are about bytes are elsewhere; these are about what the head says.
#[test]
fn c16_upgrades_lengths_and_expectations_have_one_reading() {
    let scene = Scene::new("");
    for (value, connection) in [("h2c", "upgrade, http2-settings"), ("foo/2, websocket", "upgrade")]
    {
        let lines = format!("host: a\r\nupgrade: {value}\r\nhttp2-settings: AAMAAABk\r\n");
        let request = format!("GET / HTTP/1.1\r\n{lines}connection: {connection}, close\r\n\r\n");
        assert_eq!(scene.send(request.as_bytes()).status, 200, "{value}");
        let seen = scene.app.last();
        for name in ["upgrade", "http2-settings"] {
            assert_eq!(seen.header(name), None, "{value}: {name}");
        }
    }
    let socket = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    scene.refused(400, "upgrade", &format!("{socket}content-length: 3\r\n\r\nabc"));
    let post = socket.replace("GET", "POST");
    scene.refused(400, "upgrade", &format!("{post}content-length: 0\r\n\r\n"));
    for expectation in ["200-ok", "100-continue, x"] {
        let lines = format!("host: a\r\nexpect: {expectation}\r\n");
        scene.refused(417, "expect", &request("GET", "/", &lines));
    }
    for lines in ["content-length: 3, 3\r\n", "content-length: 3\r\ncontent-length: 3\r\n"] {
        let request = request("POST", "/", &format!("host: a\r\n{lines}"));
        assert_eq!(scene.send(format!("{request}abc").as_bytes()).status, 200, "{lines}");
        let seen = scene.app.last();
        assert_eq!((seen.header("content-length"), &seen.body[..]), (Some("3"), &b"abc"[..]));
    }
}
