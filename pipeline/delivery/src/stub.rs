use std::sync::Arc;
use tidegate_schemas::RepositorySpec;
use tidegate_source::Mirror;
#[derive(Clone)]
pub struct Sources;
pub struct Source {
    pub mirror: Arc<Mirror>,
    pub spec: RepositorySpec,
}
impl Sources {
    pub fn resolve(&self, _ns: &str, _name: &str) -> Result<Source, String> {
        Err(String::new())
    }
    pub fn nudge(&self, _ns: &str, _name: &str) {}
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<()> {
        tokio::sync::broadcast::channel(1).1
    }
}
