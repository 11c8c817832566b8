//! A Git server as far as these tests need one: a bare repository made by the real
//! `git`, and Git's own `http-backend` behind a few lines of HTTP.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tidegate_ids::CommitId;
use tidegate_source::{Credentials, Limits, Mirror, Mirrors};

/// Sets one limit.
pub type Change = fn(&mut Limits);

/// A repository `shop` with a work tree beside it, and a folder for mirrors.
pub struct Forge {
    folder: tempfile::TempDir,
}

impl Forge {
    pub fn new() -> Self {
        let forge = Self { folder: tempfile::tempdir().unwrap() };
        run(forge.path(), &["init", "-q", "--bare", "-b", "main", "shop.git"]);
        run(&forge.bare(), &["config", "http.receivepack", "true"]);
        run(forge.path(), &["clone", "-q", "shop.git", "work"]);
        run(&forge.work(), &["checkout", "-q", "-B", "main"]);
        forge
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn bare(&self) -> PathBuf {
        self.path().join("shop.git")
    }

    pub fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    pub fn file_url(&self) -> String {
        format!("file://{}", self.bare().display())
    }

    /// Runs git in the work tree and gives what it printed.
    pub fn git(&self, arguments: &[&str]) -> String {
        run(&self.work(), arguments)
    }

    /// Runs git in the server's repository.
    pub fn server_git(&self, arguments: &[&str]) -> String {
        run(&self.bare(), arguments)
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.work().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Commits one file to main and pushes it.
    pub fn commit(&self, path: &str, content: &str) -> CommitId {
        self.write(path, content);
        self.commit_all(&["-m", &format!("Change {path}")])
    }

    /// Commits the work tree to main with these options and pushes it.
    pub fn commit_all(&self, options: &[&str]) -> CommitId {
        self.git(&["add", "-A"]);
        self.git(&[&["commit", "-q"], options].concat());
        self.git(&["push", "-q", "--force", "origin", "main"]);
        self.head()
    }

    pub fn head(&self) -> CommitId {
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    /// A mirror over `file://`.
    pub fn mirror(&self) -> Arc<Mirror> {
        self.mirrors(|_| {}).mirror(&self.file_url(), Credentials::none()).unwrap()
    }

    pub fn mirrors(&self, change: impl FnOnce(&mut Limits)) -> Mirrors {
        let mut limits = Limits { file_urls: true, ..Limits::default() };
        change(&mut limits);
        Mirrors::new(self.mirrors_folder(), limits).unwrap()
    }

    pub fn mirrors_folder(&self) -> PathBuf {
        self.path().join("mirrors")
    }

    /// The only mirror's folder.
    pub fn mirror_folder(&self) -> PathBuf {
        let mut entries = std::fs::read_dir(self.mirrors_folder()).unwrap();
        entries.next().unwrap().unwrap().path()
    }
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = git(folder).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {error}");
    format!("{}{error}", String::from_utf8_lossy(&output.stdout)).trim().to_owned()
}

/// Git without anybody's configuration.
pub fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Alice");
        command.env(format!("GIT_{who}_EMAIL"), "alice@example.org");
    }
    command
}

/// A Git server over HTTP, stopped when dropped.
pub struct Server {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    listings: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the repositories below a folder; `authorization` is the header it asks for.
    pub fn start(root: &Path, authorization: Option<&'static str>) -> Self {
        let listings = Arc::new(AtomicUsize::new(0));
        let (root, counted) = (root.to_owned(), Arc::clone(&listings));
        Self::listen(listings, move |stream| {
            let _closed_by_client = serve(&stream, &root, authorization, &counted);
        })
    }

    /// Accepts connections and never answers.
    pub fn silent() -> Self {
        let held = Mutex::new(Vec::new());
        Self::listen(Arc::default(), move |stream| held.lock().unwrap().push(stream))
    }

    fn listen(listings: Arc<AtomicUsize>, answer: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                answer(stream.unwrap());
            }
        });
        Self { address, stopping, listings, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/shop.git", self.address)
    }

    /// How often somebody listed the references for a fetch.
    pub fn listings(&self) -> usize {
        self.listings.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _wakes_the_listener = TcpStream::connect(self.address);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(
    stream: &TcpStream,
    root: &Path,
    authorization: Option<&str>,
    listings: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let request: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let [method, target, _] = request.as_slice() else { return Ok(()) };
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let body = body(&mut reader, &headers)?;
    if authorization
        .is_some_and(|expected| headers.get("authorization").is_none_or(|is| is != expected))
    {
        return reply(stream, "401 Unauthorized", &["WWW-Authenticate: Basic realm=\"shop\""], b"");
    }
    if target.ends_with("info/refs?service=git-upload-pack") {
        listings.fetch_add(1, Ordering::SeqCst);
    }
    let output = backend(root, method, target, &headers, &body)?;
    let split = output.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(output.len() - 4);
    let head = String::from_utf8_lossy(&output[..split]).into_owned();
    let status = head.lines().find_map(|l| l.strip_prefix("Status: ")).unwrap_or("200 OK");
    let kept: Vec<&str> = head.lines().filter(|l| !l.starts_with("Status: ")).collect();
    reply(stream, status, &kept, &output[split + 4..])
}

fn body(
    reader: &mut BufReader<&TcpStream>,
    headers: &BTreeMap<String, String>,
) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().unwrap(), 0);
        reader.read_exact(&mut body)?;
    } else if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk)?;
            if length == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }
    Ok(body)
}

fn backend(
    root: &Path,
    method: &str,
    target: &str,
    headers: &BTreeMap<String, String>,
    body: &[u8],
) -> std::io::Result<Vec<u8>> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut command = git(root);
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(kind) = headers.get("content-type") {
        command.env("CONTENT_TYPE", kind);
    }
    if let Some(coding) = headers.get("content-encoding") {
        command.env("HTTP_CONTENT_ENCODING", coding);
    }
    let mut child = command.spawn()?;
    child.stdin.take().unwrap().write_all(body)?;
    Ok(child.wait_with_output()?.stdout)
}

fn reply(
    mut stream: &TcpStream,
    status: &str,
    headers: &[&str],
    body: &[u8],
) -> std::io::Result<()> {
    let headers: String = headers.iter().flat_map(|header| [header, "\r\n"]).collect();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}
