//! A small web on loopback: HTTPS servers under the names they have in the world, found by a
//! resolver of their own and trusted by an authority that is made for each test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::http::Http;
use crate::resolve::Lookup;
use crate::*;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }
}

/// An answer.
pub(super) struct Says(pub(super) u16, pub(super) Vec<(&'static str, String)>, pub(super) String);

impl Says {
    pub(super) fn ok(body: impl Into<String>) -> Self {
        Self(200, Vec::new(), body.into())
    }

    pub(super) fn status(status: u16) -> Self {
        Self(status, Vec::new(), String::new())
    }
}

type Answers = Arc<dyn Fn(&Asked) -> Says + Send + Sync>;

/// Servers, and the way to them.
pub(super) struct Web {
    pub(super) names: HashMap<String, Vec<SocketAddr>>,
    pub(super) asked: Arc<Mutex<Vec<Asked>>>,
    authority: (Issuer<'static, KeyPair>, String),
}

impl Web {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let authority = (Issuer::new(params, key), pem);
        Self { names: HashMap::new(), asked: Arc::default(), authority }
    }

    /// One server under these names.
    pub(super) async fn serve(
        &mut self,
        names: &[&str],
        answers: impl Fn(&Asked) -> Says + Send + Sync + 'static,
    ) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for name in names {
            self.names.insert((*name).to_owned(), vec![address]);
        }
        let (acceptor, asked) = (self.acceptor(names), Arc::clone(&self.asked));
        let answers: Answers = Arc::new(answers);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, asked) = (acceptor.clone(), Arc::clone(&asked));
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await.ok()?;
                    converse(stream, &answers, &asked).await
                });
            }
        });
        address
    }

    fn acceptor(&self, names: &[&str]) -> TlsAcceptor {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate: CertificateDer<'static> =
            params.signed_by(&key, &self.authority.0).unwrap().into();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    pub(super) fn authority(&self) -> Vec<u8> {
        self.authority.1.clone().into_bytes()
    }

    /// Trusts the authority and lists the names: they are on loopback here.
    pub(super) fn options(&self) -> Options {
        let allow = self.names.keys().map(|name| name.parse().unwrap()).collect();
        Options { allow, authorities: self.authority(), ..Options::default() }
    }

    /// What finds these servers by their names, and no others.
    pub(super) fn lookup(&self) -> Lookup {
        let names = self.names.clone();
        Arc::new(move |name| {
            let found = names.get(&name).cloned();
            Box::pin(async move { found.ok_or_else(|| std::io::Error::other("no such name")) })
        })
    }

    pub(super) fn http(&self, options: &Options) -> Http {
        Http::looking_up(options, &self.lookup()).unwrap()
    }

    pub(super) fn registry(&self, options: Options) -> Registry {
        Registry::over(self.http(&options), options.mirrors, options.aliases)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers what comes, until the other side hangs up.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answers: &Answers,
    all: &Mutex<Vec<Asked>>,
) -> Option<()> {
    loop {
        let asked = read(&mut stream).await?;
        all.lock().unwrap().push(asked.clone());
        let Says(status, headers, body) = answers(&asked);
        let headers: Vec<_> = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
        let length = body.len();
        let headers = headers.concat();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        let body = if asked.method == "HEAD" { "" } else { &body };
        stream.write_all(body.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut body = vec![0; headers.get("content-length").map_or(0, |n| n.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked {
        method,
        host: headers.get("host").cloned().unwrap_or_default(),
        path: path.to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers,
        body: String::from_utf8(body).ok()?,
    })
}
