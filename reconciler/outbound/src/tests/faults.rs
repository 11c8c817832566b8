//! What goes wrong between here and a registry, or is made to. Nothing hangs, nothing passes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::web::{self, Web};
use super::*;
use crate::http::{Http, Request};

/// One try in these tests.
const DEADLINE: Duration = Duration::from_millis(400);

/// A server that does what it is told with the bare connection, after the request's first byte.
async fn bare<F, Fut>(behave: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<()>> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let behave = Arc::new(behave);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let behave = Arc::clone(&behave);
            tokio::spawn(async move {
                let mut some = [0; 1024];
                let _came = stream.read(&mut some).await.ok()?;
                behave(stream).await
            });
        }
    });
    address
}

fn impatient(options: &Options) -> Registry {
    let mut http = Http::new(options).unwrap();
    http.deadline = DEADLINE;
    Registry::over(http, Vec::new(), Vec::new())
}

async fn blob_of(address: SocketAddr) -> (Error, Duration) {
    let name = format!("{address}/hospital/odoo").parse().unwrap();
    let repository = impatient(&LOOPBACK).repository(name);
    let start = Instant::now();
    let error = repository.blob(Digest::of(b"odoo"), 1 << 20).await.unwrap_err();
    (error, start.elapsed())
}

#[tokio::test]
async fn a_half_dead_registry_costs_two_deadlines_and_no_more() {
    let (silent, slow, headers, cut, truncated) = tokio::join!(
        bare(async |stream| {
            std::future::pending::<()>().await;
            drop(stream);
            None
        }),
        // A byte now and then, so that no single read takes long.
        bare(async |mut stream: TcpStream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await.ok()?;
            loop {
                stream.write_all(b"x").await.ok()?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }),
        bare(async |mut stream: TcpStream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await.ok()?;
            loop {
                stream.write_all(b"x-a: b\r\n").await.ok()?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }),
        bare(async |mut stream: TcpStream| stream
            .write_all(b"HTTP/1.1 200 OK\r\nconte")
            .await
            .ok()),
        bare(async |mut stream: TcpStream| {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nodoo";
            stream.write_all(head).await.ok()
        }),
    );
    for (address, why) in [
        (silent, "in time"),
        (slow, "in time"),
        (headers, "in time"),
        (cut, "closed"),
        (truncated, "body"),
    ] {
        let (error, took) = blob_of(address).await;
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert!(took < 2 * DEADLINE + Duration::from_secs(2), "{why}: {took:?}");
    }
}

#[tokio::test]
async fn headers_without_end_are_cut() {
    let many = bare(async |mut stream: TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.ok()?;
        loop {
            stream.write_all(&b"x-a: bbbbbbbbbbbbbbbbbbbbbbbb\r\n".repeat(64)).await.ok()?;
        }
    });
    let one = bare(async |mut stream: TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx-a: ").await.ok()?;
        loop {
            stream.write_all(&[b'x'; 8192]).await.ok()?;
        }
    });
    for address in [many.await, one.await] {
        let (error, _) = blob_of(address).await;
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(!error.to_string().contains("in time"), "it was cut by time only: {error}");
    }
}

#[tokio::test]
async fn a_host_that_says_when_is_asked_then() {
    let asked = Arc::new(AtomicUsize::new(0));
    let later = |when: &'static str, asked: &Arc<AtomicUsize>| {
        let asked = Arc::clone(asked);
        bare(move |mut stream| {
            let asked = Arc::clone(&asked);
            async move {
                let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
                let answer = if first {
                    format!("HTTP/1.1 429 X\r\nretry-after: {when}\r\ncontent-length: 0\r\n\r\n")
                } else {
                    "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"tags\":[\"a\"]}"
                        .replace("13", "14")
                };
                stream.write_all(answer.as_bytes()).await.ok()
            }
        })
    };
    let tags = async |address: SocketAddr| {
        let name = format!("{address}/hospital/odoo").parse().unwrap();
        Registry::new(LOOPBACK).unwrap().repository(name).tags().await
    };
    let address = later("1", &asked).await;
    let start = Instant::now();
    assert_eq!(tags(address).await.unwrap(), ["a"]);
    assert!(start.elapsed() >= Duration::from_secs(1), "it was asked before it wanted to be");
    assert_eq!(asked.swap(0, Ordering::SeqCst), 2);
    // Longer than a request may take: it is said, not waited for.
    let address = later("7200", &asked).await;
    let error = tags(address).await.unwrap_err();
    let when = Some(Duration::from_hours(2));
    assert!(
        matches!(&error, Error::Unavailable { status: 429, retry_after, .. } if *retry_after == when),
        "{error:?}"
    );
    assert!(error.to_string().contains("7200 s"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_asked() {
    let mut web = Web::new();
    let address =
        web.serve(&["registry.example.com"], |_| web::Says::ok(r#"{"tags":["a"]}"#)).await;
    let options = Options { allow: Vec::new(), ..web.options() };
    let inside = [
        ("169.254.169.254:80", "link-local"),
        ("[fd00:ec2::254]:443", "metadata"),
        ("[64:ff9b::a9fe:a9fe]:443", "link-local"),
        ("127.0.0.1:443", "loopback"),
        ("[::ffff:127.0.0.1]:443", "loopback"),
        ("0.0.0.0:443", "reserved"),
    ];
    for (to, why) in inside {
        web.names.insert("inside.example.com".into(), vec![to.parse().unwrap()]);
        let repository =
            web.registry(options.clone()).repository("inside.example.com/a".parse().unwrap());
        let error = repository.tags().await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{to}: {error}");
        assert!(error.to_string().contains(why), "{to}: {error}");
    }
    // Of several addresses only those that may be are connected to, whatever their order.
    let mixed = vec!["169.254.169.254:443".parse().unwrap(), address];
    web.names.insert("registry.example.com".into(), mixed);
    let allow = vec!["registry.example.com".parse().unwrap()];
    let registry = web.registry(Options { allow, ..options });
    let repository = registry.repository("registry.example.com/a".parse().unwrap());
    assert_eq!(repository.tags().await.unwrap(), ["a"]);
}

#[tokio::test]
async fn a_redirect_to_a_name_that_leads_inside_is_not_followed() {
    let mut web = Web::new();
    let answers = |asked: &web::Asked| {
        let to = match asked.path.as_str() {
            "/v2/a/tags/list" => "https://metadata.example.com/latest/meta-data",
            "/v2/b/tags/list" => "https://loopback.example.com:6443/api",
            "/v2/c/tags/list" => "https://other.example.com/v2/c/tags/list",
            _ => "https://registry.example.com/v2/c/tags/list",
        };
        web::Says(302, vec![("location", to.to_owned())], String::new())
    };
    web.serve(&["registry.example.com", "other.example.com"], answers).await;
    let options = web.options();
    web.names.insert("metadata.example.com".into(), vec!["169.254.169.254:443".parse().unwrap()]);
    web.names.insert("loopback.example.com".into(), vec!["127.0.0.1:6443".parse().unwrap()]);
    let registry = web.registry(options);
    for (path, why) in [("a", "link-local"), ("b", "loopback"), ("c", "sixth redirect")] {
        let name = format!("registry.example.com/{path}").parse().unwrap();
        let error = registry.repository(name).tags().await.unwrap_err();
        assert!(error.to_string().contains(why), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_host_is_asked_so_much_at_a_time() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, seen) = (Arc::clone(&now), Arc::clone(&most));
    let address = bare(move |mut stream| {
        let (now, most) = (Arc::clone(&counted), Arc::clone(&seen));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            let answer =
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 11\r\n\r\n{\"tags\":[]}";
            stream.write_all(answer.as_bytes()).await.ok()
        }
    })
    .await;
    // All wait for one host, together far longer than one may take.
    let registry = impatient(&LOOPBACK);
    let asking = (0..400).map(|at| {
        let name = format!("{address}/hospital/image-{at}").parse().unwrap();
        let repository = registry.repository(name);
        tokio::spawn(async move { repository.tags().await })
    });
    for one in asking.collect::<Vec<_>>() {
        assert!(one.await.unwrap().unwrap().is_empty());
    }
    let most = most.load(Ordering::SeqCst);
    assert!((2..=crate::turns::AT_ONCE).contains(&most), "{most} at once");
}

#[tokio::test]
async fn only_known_authorities_are_trusted() {
    let mut web = Web::new();
    web.serve(&["registry.example.com"], |_| web::Says::ok(r#"{"tags":["a"]}"#)).await;
    let name: RepositoryName = "registry.example.com/odoo".parse().unwrap();
    assert_eq!(web.registry(web.options()).repository(name.clone()).tags().await.unwrap(), ["a"]);
    for authorities in [Vec::new(), Web::new().authority()] {
        let registry = web.registry(Options { authorities, ..web.options() });
        let error = registry.repository(name.clone()).tags().await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    for authorities in
        ["nonsense", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"]
    {
        let options = Options { authorities: authorities.into(), ..Options::default() };
        Registry::new(options).unwrap_err();
    }
}

/// A proxy that tunnels to one address, and remembers what it was asked.
async fn proxy(
    to: SocketAddr,
    wants: Option<&'static str>,
) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let all = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let all = Arc::clone(&all);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.ok()?);
                }
                let head = String::from_utf8(head).ok()?;
                all.lock().unwrap().push(head.lines().next()?.to_owned());
                let lower = head.to_ascii_lowercase();
                let shown = lower.lines().find(|line| line.starts_with("proxy-authorization:"));
                if wants.is_some_and(|wants| !head.contains(wants))
                    || shown.is_some() != wants.is_some()
                {
                    let no =
                        b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
                    return stream.write_all(no).await.ok();
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
                let mut there = TcpStream::connect(to).await.ok()?;
                tokio::io::copy_bidirectional(&mut stream, &mut there).await.ok().map(|_| ())
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn the_proxy_is_used_checked_and_its_password_kept() {
    let mut web = Web::new();
    let to = web.serve(&["registry.example.com"], |_| web::Says::ok(r#"{"tags":["a"]}"#)).await;
    // clinic:hunter2
    let (address, asked) = proxy(to, Some("Basic Y2xpbmljOmh1bnRlcjI=")).await;
    let authorities = web.authority();
    // Only the proxy knows the name.
    web.names.clear();
    let name: RepositoryName = "registry.example.com/odoo".parse().unwrap();
    let options = |credentials: &str| Options {
        proxy: Some(format!("http://{credentials}{address}").parse().unwrap()),
        allow: vec![address.to_string().parse().unwrap()],
        authorities: authorities.clone(),
        ..Options::default()
    };
    let good = web.registry(options("clinic:hunter2@"));
    assert_eq!(good.repository(name.clone()).tags().await.unwrap(), ["a"]);
    assert_eq!(*asked.lock().unwrap(), ["CONNECT registry.example.com:443 HTTP/1.1"]);
    let error =
        web.registry(options("clinic:wrong@")).repository(name.clone()).tags().await.unwrap_err();
    let said = format!("{error} {error:?} {:?}", options("clinic:hunter2@"));
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(!said.contains("wrong") && !said.contains("hunter2"), "{said}");

    // What is stated by number is checked here, not by the proxy.
    let before = asked.lock().unwrap().len();
    for inside in ["169.254.169.254/a", "[fd00:ec2::254]/a", "127.0.0.1:1/a"] {
        let error = good.repository(inside.parse().unwrap()).tags().await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{inside}: {error}");
    }
    // What goes without it is looked up here.
    let direct =
        Options { no_proxy: vec!["example.com".parse().unwrap()], ..options("clinic:hunter2@") };
    let error = web.registry(direct).repository(name).tags().await.unwrap_err();
    assert!(error.to_string().contains("no such name"), "{error}");
    assert_eq!(asked.lock().unwrap().len(), before);

    // A proxy is an address like any other.
    let unlisted = Options { allow: Vec::new(), ..options("clinic:hunter2@") };
    let error = Registry::new(unlisted).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    web.names.insert("proxy.example.com".into(), vec![address]);
    let proxy = Some("http://proxy.example.com".parse().unwrap());
    let named = Options { proxy, allow: Vec::new(), ..Options::default() };
    let registry = web.registry(named);
    let error =
        registry.repository("registry.example.com/a".parse().unwrap()).tags().await.unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
}

#[tokio::test]
async fn what_is_written_is_not_sent_twice_or_elsewhere() {
    let registry = StandIn::start().await;
    let url = reqwest::Url::parse(&format!("http://{}/upload", registry.address)).unwrap();
    let http = Http::new(&LOOPBACK).unwrap();
    let write = || crate::http::Write {
        method: reqwest::Method::PUT,
        media_type: "text/plain".into(),
        body: Vec::new(),
    };
    let elsewhere = vec![("location", "/other".to_owned())];
    for answer in [Says::Body(500, Vec::new(), Vec::new()), Says::Body(307, elsewhere, Vec::new())]
    {
        registry.says("/upload", answer);
        let before = registry.asked().len();
        let request = Request { write: Some(write()), ..Request::get(url.clone(), "it", 100) };
        assert!(http.send(request).await.is_err());
        assert_eq!(registry.asked().len() - before, 1);
    }
}

#[tokio::test]
async fn a_token_server_that_is_away_is_asked_by_one_for_all() {
    let silent = bare(async |stream| {
        std::future::pending::<()>().await;
        drop(stream);
        None
    });
    let silent = silent.await;
    let registry = StandIn::start().await;
    let challenge = format!(r#"Bearer realm="http://{silent}/token",service="hospital""#);
    let guarded = Says::Guarded { challenge, wants: "Bearer t0ken".into(), body: Vec::new() };
    registry.says(path("tags/list?n=1000"), guarded);
    let client = impatient(&LOOPBACK);
    let start = Instant::now();
    let asking = (0..20).map(|_| {
        let name = format!("{}/hospital/odoo", registry.address).parse().unwrap();
        let repository = client.repository(name);
        tokio::spawn(async move { repository.tags().await })
    });
    for one in asking.collect::<Vec<_>>() {
        let error = one.await.unwrap().unwrap_err();
        assert!(matches!(&error, Error::Unreachable { host, .. } if *host == silent.to_string()));
    }
    // Twice at most: those who came late try once more.
    assert!(start.elapsed() < 8 * DEADLINE, "{:?}", start.elapsed());
}
