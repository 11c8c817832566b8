//! The frames between client and worker: a big-endian `u32` length and that many bytes of JSON.
//! The same shapes are in `worker/protocol.go`.

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::Fault;
use crate::limits::FRAME_BYTES;

/// The version that the worker must speak.
pub(crate) const VERSION: u32 = 1;

#[derive(Serialize)]
pub(crate) struct Request<'a> {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) body: RequestBody<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RequestBody<'a> {
    Render { path: &'a str, kind: &'static str },
    Probe { read: &'a str, connect: &'a str },
    Answer(Answer<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer<'a> {
    pub(crate) path: &'a str,
    /// base64
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<Vec<String>>,
    pub(crate) is_folder: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reply {
    pub(crate) hello: Option<Hello>,
    pub(crate) id: u64,
    pub(crate) need: Option<Need>,
    pub(crate) objects: Vec<serde_json::Value>,
    pub(crate) done: bool,
    pub(crate) error: Option<Fault>,
    pub(crate) probes: Option<Vec<Probe>>,
}

#[derive(Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    pub(crate) protections: Protections,
}

#[derive(Deserialize)]
pub(crate) struct Need {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) list: bool,
}

/// Which protections a worker set up for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protections {
    /// No program it starts could gain rights.
    pub no_new_privs: bool,
    /// System calls are limited to those of a running Go program.
    pub seccomp: bool,
    /// Files and TCP are denied by Landlock: the version of its interface, 0 if the kernel has
    /// none. seccomp denies both as well.
    pub landlock: u32,
}

impl Protections {
    /// The required protections that are not there, as words; empty when confined.
    pub(crate) fn missing(self) -> String {
        let required = [(self.no_new_privs, "no_new_privs"), (self.seccomp, "seccomp")];
        let missing: Vec<_> =
            required.iter().filter(|(held, _)| !held).map(|(_, name)| *name).collect();
        missing.join(", ")
    }
}

/// One thing that a worker tried in its self-test and must not be able to do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Probe {
    /// What it tried.
    pub attempt: String,
    /// Whether the system refused it.
    pub refused: bool,
    /// What the system said.
    pub outcome: String,
}

pub(crate) async fn write_frame(
    out: &mut (impl AsyncWrite + Unpin),
    message: &Request<'_>,
) -> std::io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4).map_err(std::io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    out.write_all(&frame).await?;
    out.flush().await
}

/// Reads one frame; `UnexpectedEof` when the worker has ended, `InvalidData` when it is not one.
pub(crate) async fn read_frame(input: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Reply> {
    let length = input.read_u32().await? as usize;
    if length > FRAME_BYTES {
        let message = format!("a frame of {length} bytes, over the cap of {FRAME_BYTES}");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
    }
    let mut frame = vec![0; length];
    input.read_exact(&mut frame).await?;
    serde_json::from_slice(&frame)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}
