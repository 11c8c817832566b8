//! One request to a worker, from the first frame to the last: it asks for paths, the snapshot
//! answers, and each answer is counted and recorded.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::{Fault, FaultKind, RenderError};
use crate::limits::Limits;
use crate::protocol::{Answer, Need, Probe, Reply, Request, RequestBody};
use crate::renderer::{Kind, Rendered};
use crate::snapshot::{Closure, Entry, Files};
use crate::worker::Worker;

/// How a conversation that came to its end ended; the worker can take the next request.
pub(crate) type Ended = Result<Rendered, Fault>;

/// Renders `path`. An `Err` leaves the worker in the middle of something: end it.
pub(crate) async fn render(
    worker: &mut Worker,
    files: Arc<dyn Files>,
    path: &str,
    kind: Kind,
    limits: &Limits,
) -> Result<Ended, RenderError> {
    worker.requests += 1;
    let id = worker.requests;
    let body = RequestBody::Render { path, kind: kind.name() };
    worker.send(path, &Request { id, body }).await?;
    let mut reading =
        Reading { files, path, limits, closure: Closure::default(), bytes: 0, paths: 0 };
    loop {
        let reply = worker.receive(path).await?;
        match reply {
            Reply { id: other, .. } if other != id => {
                return Err(broken(path, "an answer to another request"));
            }
            Reply { need: Some(need), .. } => {
                let entry = reading.read(&need).await?;
                let body = RequestBody::Answer(answer(&need, entry));
                worker.send(path, &Request { id, body }).await?;
            }
            Reply { error: Some(fault), .. } => return Ok(Err(fault)),
            Reply { done: true, objects, .. } => {
                return Ok(Ok(Rendered { objects, closure: reading.closure }));
            }
            _ => return Err(broken(path, "a frame without content")),
        }
    }
}

/// Has the worker try what it must not be able to do.
pub(crate) async fn probe(
    worker: &mut Worker,
    read: &str,
    connect: &str,
) -> Result<Vec<Probe>, RenderError> {
    worker.requests += 1;
    let id = worker.requests;
    worker.send("", &Request { id, body: RequestBody::Probe { read, connect } }).await?;
    let reply = worker.receive("").await?;
    reply.probes.filter(|_| reply.id == id).ok_or_else(|| broken("", "no answer to the self-test"))
}

fn answer(need: &Need, entry: Entry) -> Answer<'_> {
    let (file, folder, is_folder) = match entry {
        Entry::File(bytes) => (Some(BASE64.encode(bytes)), None, false),
        Entry::Directory(names) => (None, need.list.then_some(names), true),
        Entry::Missing => (None, None, false),
    };
    Answer { path: &need.path, file, folder, is_folder }
}

fn broken(path: &str, what: &str) -> RenderError {
    RenderError::Protocol { path: path.to_owned(), what: what.to_owned() }
}

/// What one render has read so far.
struct Reading<'a> {
    files: Arc<dyn Files>,
    path: &'a str,
    limits: &'a Limits,
    closure: Closure,
    bytes: usize,
    paths: usize,
}

impl Reading<'_> {
    async fn read(&mut self, need: &Need) -> Result<Entry, RenderError> {
        if !is_inside(&need.path) {
            return Err(broken(self.path, "it asked for a path outside the snapshot"));
        }
        self.paths += 1;
        if self.paths > self.limits.paths {
            return Err(
                self.over(&need.path, &format!("it needs more than {} paths", self.limits.paths))
            );
        }
        let (files, path) = (Arc::clone(&self.files), need.path.clone());
        let read = tokio::task::spawn_blocking(move || files.entry(&path)).await;
        let entry = read.unwrap_or_else(|error| Err(error.to_string())).map_err(|message| {
            RenderError::Snapshot { path: self.path.to_owned(), entry: need.path.clone(), message }
        })?;
        self.record(need, &entry)?;
        Ok(entry)
    }

    fn record(&mut self, need: &Need, entry: &Entry) -> Result<(), RenderError> {
        let path = need.path.clone();
        match entry {
            Entry::File(content) => {
                if content.len() > self.limits.file_bytes {
                    let limit = self.limits.file_bytes >> 10;
                    return Err(self.over(&path, &format!("it is larger than {limit} KiB")));
                }
                self.bytes += content.len();
                if self.bytes > self.limits.total_bytes {
                    let limit = self.limits.total_bytes >> 10;
                    let message = format!("with it, more than {limit} KiB were read");
                    return Err(self.over(&path, &message));
                }
                self.closure.files.insert(path);
            }
            Entry::Directory(_) if need.list => {
                self.closure.listed.insert(path);
            }
            Entry::Directory(_) => {}
            Entry::Missing => {
                self.closure.missing.insert(path);
            }
        }
        Ok(())
    }

    fn over(&self, file: &str, message: &str) -> RenderError {
        let message = format!("{message}, the limit of one render; split the folder");
        let file = Some(file.to_owned());
        let fault = Fault { kind: FaultKind::Limit, message, file, line: None };
        RenderError::Refused { path: self.path.to_owned(), fault }
    }
}

/// Whether a path is one that [`Files::entry`] may be asked.
fn is_inside(path: &str) -> bool {
    path.is_empty()
        || path.split('/').all(|name| !matches!(name, "" | "." | "..") && !name.contains('\0'))
}
